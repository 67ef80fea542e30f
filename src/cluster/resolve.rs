//! Resolves an inventory into a cluster: fills in defaults, derives values and checks every rule.
//!
//! Pure: reads an [`Inventory`] and nothing else. No error ends the checks: a wrong value is
//! reported and left out, and everything that does not depend on it is still checked, so that all
//! problems are reported at once. One file per subject: networks, nodes, login, endpoint.

mod addons;
mod components;
mod endpoint;
mod families;
mod login;
mod networks;
mod nodes;
mod registries;
mod taints;

use std::path::{Component, Path, PathBuf};

use super::{Cluster, KeyAlgorithm, PkiPolicy, Version, names};
use crate::inventory::{Inventory, Located, Position, Problem, Problems, did_you_mean};

/// Returns the cluster that `inventory` describes, with warnings.
///
/// # Errors
/// Returns everything that is wrong with the inventory, its structure included, in file order and
/// together with the warnings.
pub fn resolve(inventory: &Inventory) -> Result<(Cluster, Vec<Problem>), Vec<Problem>> {
    let mut problems = Problems::new(&inventory.file);
    problems.extend(inventory.problems.iter().cloned());
    let cluster = Resolver { inventory, problems: &mut problems }.cluster();
    if cluster.is_none() && !problems.has_errors() {
        // Only an inventory that was not read from a file can lack these without a problem.
        problems.error(
            Position::default(),
            "the inventory is incomplete",
            "it needs `name`, `kubernetes` and `nodes`",
        );
    }
    match cluster {
        Some(cluster) if !problems.has_errors() => Ok((cluster, problems.into_sorted())),
        _ => Err(problems.into_sorted()),
    }
}

/// The inventory that is being resolved, and the problems found so far.
struct Resolver<'i, 'p> {
    inventory: &'i Inventory,
    problems: &'p mut Problems,
}

impl Resolver<'_, '_> {
    fn cluster(&mut self) -> Option<Cluster> {
        let inventory = self.inventory;
        let name = self.name();
        let kubernetes = self.kubernetes();
        let domain = self.domain();
        let bundle = inventory.bundle.as_ref().map(|path| self.path(path, "bundle"));
        let playbooks = inventory.playbooks.as_ref().map(|path| self.path(path, "playbooks"));
        let templates = inventory.templates.as_ref().map(|path| self.path(path, "templates"));
        let pki = self.pki();
        let (addons, manifests) = self.addons();
        let components = self.components();
        let (registries, proxy) = (self.registries(), self.way_out());
        let networks = self.networks(kubernetes);
        let lab_directory =
            inventory.folder.join(".labctl").join(name.as_deref().unwrap_or_default());
        let drafts = self.drafts(&networks);
        let parts = self.pod_cidrs(&drafts, &networks);
        let api = self.api(&drafts, &networks);
        let logins = self.logins(&drafts, &lab_directory);
        Some(Cluster {
            name: name?,
            kubernetes: kubernetes?,
            domain,
            nodes: drafts
                .into_iter()
                .zip(parts)
                .zip(logins)
                .map(|((draft, part), login)| draft.into_node(part, login?))
                .collect::<Option<_>>()?,
            network: networks.network?,
            api: api?,
            pki,
            addons,
            manifests,
            components,
            registries,
            proxy,
            bundle: sound(bundle)?,
            playbooks: sound(playbooks)?,
            templates: sound(templates)?,
            local: networks.local,
            lab_directory,
        })
    }

    fn name(&mut self) -> Option<String> {
        let name = self.inventory.name.as_ref()?;
        if let Err(wrong) = names::check_label(&name.value, names::LONGEST_LAB_NAME) {
            self.problems.error(
                name.at,
                format!("the lab's name `{}` {wrong}", name.value),
                format!(
                    "at most {} lower-case letters, digits and hyphens, such as `sandbox`",
                    names::LONGEST_LAB_NAME
                ),
            );
            return None;
        }
        Some(name.value.clone())
    }

    fn kubernetes(&mut self) -> Option<Version> {
        let text = self.inventory.kubernetes.as_ref()?;
        let supported = format!(
            "versions 1.{}.x to 1.{}.x are supported",
            Version::OLDEST_MINOR,
            Version::NEWEST_MINOR
        );
        match text.value.parse::<Version>() {
            Ok(version) if version.is_supported() => Some(version),
            Ok(version) => {
                self.problems.error(
                    text.at,
                    format!("kubernetes {version} is not supported"),
                    supported,
                );
                None
            }
            Err(wrong) => {
                let help = match text.value.trim_start_matches('v').split('.').count() {
                    2 => {
                        format!("add the patch release, such as \"{}.0\"; {supported}", text.value)
                    }
                    _ => supported,
                };
                self.problems.error(text.at, wrong, help);
                None
            }
        }
    }

    fn domain(&mut self) -> String {
        let Some(domain) = &self.inventory.domain else { return "cluster.local".to_owned() };
        if let Err(wrong) = names::check_domain(&domain.value) {
            let what = format!("the cluster domain `{}` {wrong}", domain.value);
            self.problems.error(
                domain.at,
                what,
                "a DNS name in lower case, such as `cluster.local`",
            );
        }
        domain.value.clone()
    }

    fn pki(&mut self) -> PkiPolicy {
        let pki = &self.inventory.pki;
        let algorithms =
            [("ecdsa-p256", KeyAlgorithm::EcdsaP256), ("rsa-2048", KeyAlgorithm::Rsa2048)];
        let policy = PkiPolicy {
            algorithm: self
                .choice(pki.algorithm.as_ref(), "pki.algorithm", &algorithms)
                .unwrap_or(KeyAlgorithm::EcdsaP256),
            ca_days: pki.ca_days.map_or(3650, |days| days.value),
            leaf_days: pki.leaf_days.map_or(365, |days| days.value),
        };
        if let Some(at) = pki.leaf_days.map(|days| days.at).or(pki.ca_days.map(|days| days.at))
            && policy.leaf_days > policy.ca_days
        {
            self.problems.error(
                at,
                format!(
                    "certificates of {} days would outlive their CA of {} days",
                    policy.leaf_days, policy.ca_days
                ),
                "choose `leaf_days` no larger than `ca_days`",
            );
        }
        policy
    }

    /// Returns the one of `choices` that `text` names; `None` if it is absent or wrong.
    fn choice<T: Copy>(
        &mut self,
        text: Option<&Located<String>>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = text?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text.value) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let help = match did_you_mean(&text.value, words.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("choose one of {}", words.join(", ")),
        };
        self.problems.error(text.at, format!("`{key}` cannot be `{}`", text.value), help);
        None
    }

    /// Returns the absolute path for `text`: below the home directory after `~/`, else below the
    /// inventory's directory.
    fn path(&mut self, text: &Located<String>, key: &str) -> Option<PathBuf> {
        let written = text.value.as_str();
        let wrong = match (written.strip_prefix("~/"), &self.inventory.home) {
            (Some(rest), Some(home)) => return Some(normal(&home.join(rest))),
            (Some(_), None) => {
                ("is in a home directory that is not known", "set HOME, or write the whole path")
            }
            (None, _) if written.is_empty() => ("is empty", "write a path, or leave the key out"),
            (None, _) if written.starts_with('~') => (
                "is in another user's home directory",
                "write the whole path; `~/` is your own home directory",
            ),
            (None, _) => return Some(normal(&self.inventory.folder.join(written))),
        };
        self.problems.error(text.at, format!("`{key}`: the path `{written}` {}", wrong.0), wrong.1);
        None
    }
}

/// Returns a path that is absent or right; `None` for one that is wrong.
#[allow(clippy::option_option, reason = "absent, wrong, or a path")]
fn sound(path: Option<Option<PathBuf>>) -> Option<Option<PathBuf>> {
    path.map_or(Some(None), |path| path.map(Some))
}

/// Returns `path` without `.` and `..`, without looking at the file system.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}
