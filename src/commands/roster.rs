//! The roster in the lab directory: read before a run, written as soon as work on nodes starts.

use std::path::Path;

use super::exit::{Exit, Stop};
use super::next;
use super::options::Options;
use super::session::lab_of;
use crate::cluster::roster::{Drift, Roster};
use crate::cluster::{Cluster, Node};
use crate::event::{Event, Events};
use crate::inventory::STDIN;
use crate::lab::LabDirectory;
use crate::module::quote;
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
    let mut drifts = roster.drift(cluster, &quote(&file));
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
    refuse(&read(&lab_of(cluster)).drift(cluster, &quote(&file)), &file, reporter)
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

/// Reports unfinished removals and how to finish them. Returns whether an `up` with these options
/// does.
pub fn report_removals(cluster: &Cluster, options: &Options, events: &Events) -> bool {
    let whole = Options { limit: Vec::new(), until: None, ..options.clone() };
    // A removal ends with the entry in the inventory.
    let is_file = options.inventory != Path::new(STDIN);
    for member in read(&lab_of(cluster)).leaving() {
        let message = if is_file {
            let up = next::command("up", &whole);
            format!("the removal of {} is unfinished; `{up}` finishes it", member.name)
        } else {
            format!(
                "the removal of {} is unfinished; `labctl up` with the inventory as a file \
                finishes it",
                member.name
            )
        };
        events.emit(Event::Warning { node: None, message });
    }
    is_file && options.limit.is_empty() && options.until.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::named::tests::cluster;

    #[test]
    fn a_removal_is_finished_by_an_up_of_the_whole_file() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut cluster = cluster();
        cluster.lab_directory = folder.path().join("lab");
        change(&lab_of(&cluster), |roster| {
            roster.leaves(cluster.node("worker-0").expect("a node"), false, false);
        })
        .expect("a roster");
        let limited = Options { limit: vec!["worker-1".to_owned()], ..Options::of("lab.yaml") };
        let begun = Options { until: Some("etcd".to_owned()), ..Options::of("lab.yaml") };
        let (up, file) = ("`labctl up lab.yaml`", "`labctl up` with the inventory as a file");
        for (options, finishes, how) in [
            (Options::of("lab.yaml"), true, up),
            (limited, false, up),
            (begun, false, up),
            (Options::of(STDIN), false, file),
        ] {
            let (events, mut heard) = Events::channel();
            assert_eq!(report_removals(&cluster, &options, &events), finishes, "{options:?}");
            let said = heard.try_recv().expect("an event").event;
            let Event::Warning { message, .. } = said else { panic!("{said:?}") };
            let right = format!("the removal of worker-0 is unfinished; {how} finishes it");
            assert_eq!(message, right);
        }
    }
}
