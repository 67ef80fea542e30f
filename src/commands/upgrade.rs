//! `upgrade`: takes the lab to another version of Kubernetes, one minor release at a time, while it
//! serves.
//!
//! What the nodes run is the state, and asked of them; the inventory has the version to come to.
//! So an upgrade that was interrupted anywhere is finished by the same command.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::bring_up::fit_for_local_nodes;
use super::components::refuse_unknown_flags;
use super::converge::{converge, converge_saving};
use super::etcd::backup;
use super::exit::{Exit, Stop};
use super::inputs::{Inputs, bundle};
use super::node::text::{imagine, refuse_stdin, save, text_of};
use super::options::Options;
use super::ownership::connected_must_be_ours;
use super::prepared::desired;
use super::runbook::Runbook;
use super::session::{Outcome, Working, exit_of, lab_of, must_have_a_ca, open, under_lock};
use super::{next, roster};
use crate::backup::archive;
use crate::bundle::{self, Bundle};
use crate::cluster::running::{DeprecatedApi, VersionsFound};
use crate::cluster::skew::{self, CannotUpgrade};
use crate::cluster::{Cluster, Node, Role, Version};
use crate::engine::{Run, connect::connect, versions::versions};
use crate::event::Event;
use crate::inventory::edit;
use crate::lab::cache_directory;
use crate::playbook::{Playbook, part::PlayPart};
use crate::render::context::Upgrading;
use crate::report::Reporter;

/// Where to go, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The version to come to; none for the inventory's.
    pub to: Option<String>,
    /// How many workers to upgrade at a time.
    pub at_once: NonZeroUsize,
    /// Whether to continue although pods do not move, and to delete those without a controller.
    pub force: bool,
    /// Where to put the backup; none for a new file beside the lab directory.
    pub backup: Option<PathBuf>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { to: None, at_once: NonZeroUsize::MIN, force: false, backup: None }
    }
}

/// The playbooks of an upgrade.
struct Playbooks {
    up: Playbook,
    /// Its part before the workers, and theirs.
    control_plane: Playbook,
    workers: Playbook,
    drain: Playbook,
    comes_back: Playbook,
}

/// Takes the lab to another version.
pub async fn upgrade(
    upgrade: &Upgrade,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let path = &options.inventory;
    options.refuse_limit(
        "`upgrade` cannot be combined with --limit: all nodes come to the same version",
        "leave out --limit; --at-once says how many workers to upgrade at a time",
    )?;
    let (text, cluster) = aim(upgrade.to.as_deref(), path, reporter)?;
    roster::refuse_drift_of_nodes(&cluster, path, reporter)?;
    must_have_a_ca(&cluster, options)?;
    let up = options.playbook("up", &cluster)?;
    let playbooks = Playbooks {
        control_plane: up.part(PlayPart::ControlPlane),
        workers: up.part(PlayPart::Workers),
        up,
        drain: options.playbook("upgrade-drain", &cluster)?,
        comes_back: options.playbook("upgrade-return", &cluster)?,
    };
    fit_for_local_nodes(&cluster)?;
    let work =
        UpgradeWork { cluster: &cluster, playbooks: &playbooks, upgrade, options, text: &text };
    let report =
        under_lock("upgrade", &cluster, options, reporter, |working| work.carry_out(working))
            .await?;
    let then = if report.ok() { "smoke" } else { "upgrade" };
    reporter.close(&report, &[next::command(then, options)]);
    Ok(exit_of(&report))
}

/// Returns the inventory's text with the version to come to, and the lab that it describes.
fn aim(to: Option<&str>, path: &Path, reporter: &Reporter) -> Result<(String, Cluster), Stop> {
    let text = text_of(path)?;
    let Some(to) = to else { return Ok((text, open(path, reporter)?)) };
    refuse_stdin(path, "upgrade --to")?;
    let to: Version = to.parse().map_err(Stop::bad)?;
    if !to.is_supported() {
        let (oldest, newest) = (Version::OLDEST_MINOR, Version::NEWEST_MINOR);
        let what =
            format!("labctl does not know Kubernetes {to}: it knows 1.{oldest} to 1.{newest}");
        return Err(Stop::bad(what).help("a newer labctl may know it"));
    }
    let text = edit::set_version(&text, &to.to_string()).map_err(|error| {
        let by_hand = format!("set `kubernetes: \"{to}\"` in it, and run `labctl upgrade` again");
        Stop::bad(error).help(by_hand)
    })?;
    let cluster = imagine(path, &text, &format!("with {to}"), reporter)?;
    Ok((text, cluster))
}

/// An upgrade, decided.
struct UpgradeWork<'a> {
    /// The lab with the version to come to.
    cluster: &'a Cluster,
    playbooks: &'a Playbooks,
    upgrade: &'a Upgrade,
    options: &'a Options,
    /// The inventory's text with that version.
    text: &'a str,
}

/// One step of an upgrade: the lab with one version on the way, and what that is installed from.
struct UpgradeStep {
    cluster: Cluster,
    bundle: Bundle,
}

impl UpgradeWork<'_> {
    async fn carry_out(&self, working: Working) -> Result<Outcome, Stop> {
        let answers = self.ask(&working.run).await?;
        let running = answers.running(self.cluster);
        let at_hand = bundle::at_hand(self.cluster, &cache_directory());
        let versions = skew::steps(&running, self.cluster.kubernetes, &at_hand).map_err(refused)?;
        let steps = self.complete(&versions, &answers, &working).await?;
        self.tell_of_what_goes(&answers, &working);
        if !steps.is_empty() {
            self.back_up(&working).await?;
        }
        // From here on `up` refuses until the upgrade is whole.
        roster::change(&lab_of(self.cluster), |roster| {
            running.iter().for_each(|(node, version)| roster.runs(node, *version));
        })?;
        save(&self.options.inventory, self.text)?;
        let mut sum = Outcome { ok: true, ..Outcome::default() };
        for step in &steps {
            if !self.take(step, &answers, &working, &mut sum).await? {
                break;
            }
        }
        Ok(sum)
    }

    /// Asks the controllers what the lab runs.
    async fn ask(&self, run: &Run) -> Result<VersionsFound, Stop> {
        let controllers: Vec<&Node> = self.cluster.with_role(Role::Controller).collect();
        let connections = connect(self.cluster, &controllers, run).await;
        connected_must_be_ours(self.cluster, &connections, run).await?;
        versions(self.cluster, &connections).await.map_err(|(node, why)| {
            Stop::failed(format!("the control plane of {node} is not well: {why}"))
                .help("an upgrade begins with a lab that is well; see `labctl smoke`")
        })
    }

    /// Has the bundle of every step at hand before anything is touched.
    async fn complete(
        &self,
        versions: &[Version],
        answers: &VersionsFound,
        working: &Working,
    ) -> Result<Vec<UpgradeStep>, Stop> {
        let mut steps = Vec::new();
        for version in versions {
            let cluster = Cluster { kubernetes: *version, ..self.cluster.clone() };
            let bundle = bundle(&cluster, &working.events).await?;
            let inventory = &self.options.inventory;
            refuse_unknown_flags(&cluster, &bundle, inventory, &working.events).await?;
            steps.push(UpgradeStep { cluster, bundle });
        }
        let of =
            |step: &UpgradeStep| step.bundle.files.get("etcd").map(|file| file.version.clone());
        let etcds: Vec<String> =
            answers.etcd.clone().into_iter().chain(steps.iter().filter_map(of)).collect();
        let etcds: Vec<&str> = etcds.iter().map(String::as_str).collect();
        skew::refuse_etcd_jump(&etcds).map_or(Ok(steps), |refusal| Err(refused(refusal)))
    }

    /// Names the APIs that are in use and that a version on the way no longer serves.
    fn tell_of_what_goes(&self, answers: &VersionsFound, working: &Working) {
        let gone = |it: &&DeprecatedApi| it.removed <= self.cluster.kubernetes.minor;
        for DeprecatedApi { removed, resource, version } in answers.deprecated.iter().filter(gone) {
            let message = format!(
                "somebody asks for {resource} of {version}, which 1.{removed} no longer serves; \
                what does so must change before"
            );
            working.events.emit(Event::Warning { node: None, message });
        }
    }

    async fn back_up(&self, working: &Working) -> Result<(), Stop> {
        let file = match &self.upgrade.backup {
            Some(file) => file.clone(),
            None => {
                // Not in the lab directory: that goes with a lab of local nodes.
                let (lab, to) = (&self.cluster.name, self.cluster.kubernetes);
                let name = backup::file_name(&format!("{lab}-before-{to}"));
                lab_of(self.cluster).root().with_file_name(name)
            }
        };
        archive::check_place(&file, false).map_err(Stop::failed)?;
        // As it is, with the version that the data is of.
        let path = &self.options.inventory;
        let inventory = std::fs::read(path)
            .map_err(|error| Stop::failed(format!("cannot read {}: {error}", path.display())))?;
        let taken = backup::take(self.cluster, inventory, &file, &[], working.clone()).await?;
        if taken.ok {
            return Ok(());
        }
        Err(Stop::failed("there is no backup, and so no upgrade")
            .help("mend what is said above, and run the same command again"))
    }

    /// Brings the lab to the version of one step. Returns whether to continue.
    async fn take(
        &self,
        step: &UpgradeStep,
        answers: &VersionsFound,
        working: &Working,
        sum: &mut Outcome,
    ) -> Result<bool, Stop> {
        let version = step.cluster.kubernetes;
        let all: Vec<&Node> = step.cluster.nodes.iter().collect();
        let title = format!("Kubernetes {version}");
        let announce = |what: &str| working.step(&title, what, || Ok(()));
        announce("the control plane")?;
        if !self.part(step, &self.playbooks.control_plane, &all, working, sum).await? {
            return Ok(false);
        }
        let workers: Vec<&Node> = step
            .cluster
            .with_role(Role::Worker)
            .filter(|node| answers.kubelets.get(&node.name).is_none_or(|it| *it < version))
            .collect();
        let alone = step.cluster.with_role(Role::Worker).count() <= self.upgrade.at_once.get();
        for group in workers.chunks(self.upgrade.at_once.get()) {
            let names: Vec<&str> = group.iter().map(|node| node.name.as_str()).collect();
            announce(&names.join(", "))?;
            // The only workers keep their pods: there is nowhere to go.
            if !alone && !self.ask_cluster(&self.playbooks.drain, step, group, working, sum).await?
            {
                return Ok(false);
            }
            if !self.part(step, &self.playbooks.workers, group, working, sum).await?
                || !self.ask_cluster(&self.playbooks.comes_back, step, group, working, sum).await?
            {
                return Ok(false);
            }
        }
        announce("what runs on the workers")?;
        if !self.part(step, &self.playbooks.up, &all, working, sum).await? {
            return Ok(false);
        }
        // Nodes that an earlier, interrupted upgrade emptied.
        let all_workers: Vec<&Node> = step.cluster.with_role(Role::Worker).collect();
        let back = &self.playbooks.comes_back;
        let whole = self.ask_cluster(back, step, &all_workers, working, sum).await?;
        if whole {
            roster::runs(&step.cluster, all.into_iter())?;
        }
        Ok(whole)
    }

    /// Runs a part of `up` on `nodes`.
    async fn part(
        &self,
        step: &UpgradeStep,
        playbook: &Playbook,
        nodes: &[&Node],
        working: &Working,
        sum: &mut Outcome,
    ) -> Result<bool, Stop> {
        let cluster = &step.cluster;
        let desired = desired(None, cluster, playbook, step.bundle.clone(), self.options)?;
        let begin = |reached: &[&Node]| roster::remember(cluster, reached);
        let outcome = converge_saving(cluster, nodes, desired, &working.run, begin).await?;
        Ok(sum.and_part(outcome) && !working.run.is_cancelled())
    }

    /// Runs a playbook that asks the cluster for something about `group`.
    async fn ask_cluster(
        &self,
        playbook: &Playbook,
        step: &UpgradeStep,
        group: &[&Node],
        working: &Working,
        sum: &mut Outcome,
    ) -> Result<bool, Stop> {
        let nodes = group.iter().map(|node| node.name.clone()).collect();
        let upgrading = Upgrading { nodes, forced: self.upgrade.force };
        let inputs = Inputs::new(&step.cluster, self.options)?.upgrading(upgrading);
        let runbook = Runbook::new(inputs, playbook, &step.cluster)?;
        let outcome = converge(&step.cluster, runbook, self.options, &working.run).await?;
        Ok(sum.and_part(outcome) && !working.run.is_cancelled())
    }
}

fn refused(CannotUpgrade { what, help }: CannotUpgrade) -> Stop {
    Stop::bad(what).help(help)
}
