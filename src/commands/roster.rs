//! The roster in the lab directory: read before a run, written as soon as work on nodes starts.

use std::path::Path;

use super::exit::{Exit, Stop};
use super::next;
use super::options::Options;
use super::session::lab_of;
use crate::cluster::roster::{Drift, Roster};
use crate::cluster::{Cluster, Node};
use crate::event::{Event, Events};
use crate::lab::LabDirectory;
use crate::report::Reporter;

/// Returns the lab's roster; an empty one if there is none that can be read.
pub fn read(lab: &LabDirectory) -> Roster {
    std::fs::read(lab.roster()).ok().and_then(|bytes| Roster::read(&bytes)).unwrap_or_default()
}

/// Changes the lab's roster.
pub fn change(lab: &LabDirectory, change: impl FnOnce(&mut Roster)) -> Result<(), Stop> {
    let mut roster = read(lab);
    let was = roster.clone();
    change(&mut roster);
    if roster == was {
        return Ok(());
    }
    let path = lab.roster();
    let error = |error| Stop::failed(format!("cannot write {}: {error}", path.display()));
    lab.write_private(&path, roster.text().as_bytes()).map_err(error)
}

/// Records nodes that are being worked on.
pub fn remember(cluster: &Cluster, nodes: &[&Node]) -> Result<(), Stop> {
    change(&lab_of(cluster), |roster| nodes.iter().for_each(|node| roster.remember(node)))
}

/// Refuses an inventory with a change that no run can follow: of its nodes, or of its version.
pub fn refuse_drift(cluster: &Cluster, inventory: &Path, reporter: &Reporter) -> Result<(), Stop> {
    let file = inventory.display().to_string();
    let roster = read(&lab_of(cluster));
    let mut drifts = roster.drift(cluster, &file);
    drifts.extend(roster.jump(cluster));
    refuse(&drifts, &file, reporter)
}

/// As [`refuse_drift`], for an operation that gets the lab to its version itself.
pub fn refuse_drift_of_nodes(
    cluster: &Cluster,
    inventory: &Path,
    reporter: &Reporter,
) -> Result<(), Stop> {
    let file = inventory.display().to_string();
    refuse(&read(&lab_of(cluster)).drift(cluster, &file), &file, reporter)
}

/// Records that nodes have been brought to the cluster's version of Kubernetes.
pub fn runs<'a>(cluster: &Cluster, nodes: impl Iterator<Item = &'a Node>) -> Result<(), Stop> {
    change(&lab_of(cluster), |roster| {
        nodes.for_each(|node| roster.runs(&node.name, cluster.kubernetes));
    })
}

/// Refuses a lab whose nodes run another version than the inventory has: only an upgrade changes
/// it, in the order that Kubernetes wants.
pub fn refuse_other_version(cluster: &Cluster, options: &Options) -> Result<(), Stop> {
    let Some(other) = read(&lab_of(cluster)).other_version(cluster) else { return Ok(()) };
    let what = format!("the lab runs {other}, and the inventory has {}", cluster.kubernetes);
    let upgrade = next::command("upgrade", options);
    Err(Stop::bad(what).help(format!("`{upgrade}` brings all nodes to the inventory's version")))
}

/// Refuses if there is any drift.
pub fn refuse(drifts: &[Drift], subject: &str, reporter: &Reporter) -> Result<(), Stop> {
    if drifts.is_empty() {
        return Ok(());
    }
    let said: Vec<String> =
        drifts.iter().map(|drift| format!("{}\nhelp: {}", drift.what, drift.help)).collect();
    reporter.problems(subject, &said);
    Err(Stop::silent(Exit::Bad))
}

/// Reports unfinished removals and how to finish them.
pub fn report_removals(cluster: &Cluster, finishes: bool, events: &Events) {
    for member in read(&lab_of(cluster)).leaving() {
        let how = if finishes {
            "`labctl up` finishes it"
        } else {
            "`labctl up` without --limit finishes it"
        };
        let message = format!("the removal of {} is unfinished; {how}", member.name);
        events.emit(Event::Warning { node: None, message });
    }
}
