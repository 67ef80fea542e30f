//! `kubectl_apply`: objects in the cluster, applied with kubectl on a controller.
//!
//! kubectl on a node needs no connection from the workstation to the API, and is what a user would
//! run. The applied manifest stays on the controller and is written after a successful apply, so a
//! file with another hash means that it must be applied again.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    Actions, Arguments, AtHand, Desired, Difference, Facts, Question, Site, State, attributes,
    file::{Content, File},
    probe::PathFact,
    quote,
};
use crate::node::record::{self, Kind};

/// `kubectl_apply`: objects in the cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubectlApplyArgs {
    /// The template for the manifest.
    pub from: String,
    /// Whether the manifest must never be displayed; always true if it contains a Secret.
    #[serde(default)]
    pub sensitive: bool,
}

impl Arguments for KubectlApplyArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let name = site.text(&self.from)?;
        let (manifest, secret) = site.template(&name, false)?;
        let sensitive = self.sensitive || secret || manifest.text().is_none_or(contains_a_secret);
        Ok(Desired::KubectlApply(KubectlApply { name, manifest, sensitive }))
    }

    fn template(&self) -> Option<&str> {
        Some(&self.from)
    }
}

/// Objects in the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct KubectlApply {
    /// The manifest's template: `coredns/coredns.yaml`.
    pub name: String,
    /// The manifest.
    pub manifest: Content,
    /// Whether the manifest must never be shown: it contains a Secret, say.
    pub sensitive: bool,
}

/// Whether a manifest, YAML or JSON, has an object of the kind Secret, or a list of them.
///
/// The text is searched instead of parsed: a manifest that is not valid must not be shown either.
/// What only refers to a Secret counts too, which does no harm.
pub(super) fn contains_a_secret(manifest: &str) -> bool {
    const QUOTES: [char; 2] = ['"', '\''];
    let kinds = manifest.split("kind").skip(1);
    kinds.into_iter().any(|rest| {
        let rest = rest.trim_start_matches(QUOTES).trim_start();
        let Some(value) = rest.strip_prefix(':') else { return false };
        // A tag or an anchor may come before the value.
        let mut words = value.split_whitespace().skip_while(|word| word.starts_with(['!', '&']));
        let word = words.next().unwrap_or_default().trim_start_matches(QUOTES);
        let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        ["Secret", "SecretList"].contains(&&word[..end])
    })
}

/// kubectl on a controller, with the node's own API server instead of the load balancer.
pub const KUBECTL: &str =
    "kubectl --kubeconfig=/etc/kubernetes/admin.conf --server=https://127.0.0.1:6443";

impl KubectlApply {
    /// Returns where the manifest is kept on the controller.
    pub fn path(&self) -> String {
        format!("/etc/kubernetes/addons/{}", self.file())
    }

    /// Returns the octal permissions of the manifest on the controller.
    fn mode(&self) -> &'static str {
        if self.sensitive { "600" } else { "644" }
    }

    /// Returns the manifest's file name: `coredns.yaml`.
    fn file(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Returns the manifest as the file that it is on the controller.
    fn kept(&self) -> File {
        File {
            path: self.path(),
            mode: self.mode().to_owned(),
            owner: "root:root".to_owned(),
            content: self.manifest.clone(),
            sensitive: self.sensitive,
            origin: format!("templates/{}.tera", self.name),
        }
    }

    /// Returns a check that passes if every object of the applied manifest exists.
    fn check(&self) -> String {
        format!("{KUBECTL} get -f {} -o name", quote(&self.path()))
    }
}

impl State for KubectlApply {
    fn probe(&self) -> Vec<Question> {
        let (path, sha256) = (self.path(), self.manifest.sha256().to_owned());
        let text = !self.sensitive;
        vec![Question::File { path, sha256, text }, Question::Check(self.check())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        match facts.paths.get(&self.path()) {
            None => return Some(Difference::run("not applied yet")),
            Some(found) if found.sha256.as_deref() != Some(self.manifest.sha256()) => {
                return Some(Difference::run("the manifest changed"));
            }
            // An earlier version may have left a Secret that everybody could read.
            Some(found) => {
                let differs = attributes::attributes_differ(found, self.mode(), "root:root");
                if differs.is_some() {
                    return differs;
                }
            }
        }
        (facts.checks.get(&self.check()) != Some(&true))
            .then(|| Difference::run("objects are missing in the cluster"))
    }

    fn actions(&self, _: &Facts) -> Actions {
        let sha256 = self.manifest.sha256();
        let payloads = match &self.manifest {
            Content::Inline { bytes, .. } => vec![(sha256.to_owned(), Arc::clone(bytes))],
            Content::Blob(_) => Vec::new(),
        };
        Actions {
            script: format!(
                "apply_objects {sha256} {} {} {KUBECTL}\n",
                self.mode(),
                quote(&self.path())
            ),
            payloads,
            unit: Some("kube-apiserver.service".to_owned()),
            ..Actions::default()
        }
    }

    fn shell(&self) -> String {
        format!("{}\n{KUBECTL} apply -f {}", self.kept().shell(), quote(&self.path()))
    }

    fn beside(&self) -> Vec<AtHand> {
        self.kept().beside()
    }

    fn title(&self) -> String {
        format!("kubectl apply {}", self.file())
    }

    fn records(&self) -> &'static [Kind] {
        record::FILES
    }

    // Manifests in two directories of templates can have the same name and would overwrite each
    // other.
    fn subject(&self) -> Option<(String, String)> {
        Some((self.path(), format!("manifest {}", self.manifest.sha256())))
    }

    fn is_judged_at_run_time(&self) -> bool {
        true
    }

    fn settle(&self, facts: &mut Facts) {
        let fact = PathFact {
            kind: "regular file".to_owned(),
            mode: self.mode().to_owned(),
            owner: "root:root".to_owned(),
            size: 0,
            sha256: Some(self.manifest.sha256().to_owned()),
        };
        facts.paths.insert(self.path(), fact);
        facts.other_texts.remove(&self.path());
        facts.checks.insert(self.check(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognised_however_they_are_written() {
        let all = [
            "apiVersion: v1\nkind: Secret\n",
            "kind: ConfigMap\n---\nkind:   'Secret'  # mine\n",
            "{ apiVersion: v1, kind: Secret, data: {} }",
            "{\"kind\":\"Secret\",\"data\":{}}",
            "kind: List\nitems:\n  - kind : \"Secret\"\n",
            "kind: SecretList\n",
            "kind:\n  Secret\n",
            "? kind\n: Secret\n",
            "kind: !!str &it Secret\n",
        ];
        for manifest in all {
            assert!(contains_a_secret(manifest), "{manifest}");
        }
        let none = [
            "",
            "kind: ConfigMap\ndata: { word: Secret }\n",
            "kind: SealedSecret\n",
            "kind: SecretStore\n",
            "kind: Role\nrules: [{ resources: [secrets] }]\n",
            "kind:",
            "volumes: [{ secret: { secretName: kind } }]",
        ];
        for manifest in none {
            assert!(!contains_a_secret(manifest), "{manifest}");
        }
    }
}
