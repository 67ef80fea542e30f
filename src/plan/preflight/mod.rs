//! Conditions that must hold before anything is done to nodes, checked with the facts of all of
//! them.
//!
//! Each judge looks at one node and one subject, and only at what the plan is about to do there:
//! a playbook that starts no etcd does not ask for etcd's ports. What a node has not answered is
//! not judged.

mod addresses;
mod boot;
mod clocks;
mod cni;
mod etcd;
pub mod finding;
mod firewall;
mod judged;
mod kernel;
mod networks;
mod packages;
mod ports;
mod room;
mod units;

use std::collections::BTreeMap;

use super::{DesiredPlay, Tasks};
use crate::cluster::{Cluster, Role};
use crate::machine::Etcd;
use crate::module::{Content, Desired, Facts, Question};
pub use finding::{Findings, Obstacle};
use judged::Judged;

/// The judges of what else is on a node's machine.
const JUDGES: &[fn(&Judged<'_>, &mut Findings)] = &[
    addresses::judge,
    kernel::judge,
    units::judge,
    ports::judge,
    cni::judge,
    networks::judge,
    room::judge,
    packages::judge,
    firewall::judge,
    boot::judge,
    unanswered,
];

/// Returns what to ask of a node for which this is desired: nothing where no judge would look at
/// the answers, because nothing is installed, started or set.
pub fn questions<'a>(mut desired: impl Iterator<Item = &'a Desired>) -> Vec<Question> {
    if !desired.any(is_judged) {
        return Vec::new();
    }
    vec![
        Question::Surroundings,
        Question::Names(cni::DIRECTORY.to_owned()),
        Question::Names(units::DATA.to_owned()),
        Question::Unit(firewall::FIREWALLD.to_owned()),
        Question::Unit(boot::NETWORKD.to_owned()),
    ]
}

/// Whether there is a judge of this kind of thing. What only writes a few lines says itself when it
/// cannot.
fn is_judged(desired: &Desired) -> bool {
    match desired {
        // Its size counts.
        Desired::File(file) => matches!(file.content, Content::Blob(_)),
        Desired::Unit(_)
        | Desired::Image(_)
        | Desired::Package(_)
        | Desired::Routes(_)
        | Desired::Sysctl(_)
        | Desired::KernelModule(_) => true,
        Desired::Directory(_)
        | Desired::Command(_)
        | Desired::Hosts(_)
        | Desired::KubectlApply(_)
        | Desired::Addons(_)
        | Desired::Wait(_)
        | Desired::Undo(_)
        | Desired::Link(_)
        | Desired::User(_) => false,
    }
}

/// Returns everything that was found, on all nodes at once. `architecture` is the one of the
/// files that are installed, if any are.
pub fn findings(
    cluster: &Cluster,
    architecture: Option<&str>,
    desired: &[DesiredPlay],
    facts: &BTreeMap<String, Facts>,
) -> Findings {
    let mut found = Findings::default();
    for (node, facts) in facts {
        if !facts.missing_tools.is_empty() {
            found.obstacles.push(Obstacle {
                node: node.clone(),
                what: format!("missing programs: {}", facts.missing_tools.join(", ")),
                help: "labctl needs a systemd distribution with coreutils and tar".to_owned(),
            });
        }
    }
    found.obstacles.extend(clocks::clocks(facts));
    let tasks = Tasks::of(desired);
    let nodes: Vec<Judged<'_>> = cluster
        .nodes
        .iter()
        .filter_map(|node| {
            let facts = facts.get(&node.name)?;
            Some(Judged { cluster, node, facts, desired: tasks.desired(&node.name).collect() })
        })
        .collect();
    let members: Vec<(&str, &Etcd)> = nodes
        .iter()
        .filter(|on| on.node.has(Role::Controller) && on.starts("etcd.service"))
        .map(|on| (on.node.name.as_str(), &on.node.facts.etcd))
        .collect();
    found.obstacles.extend(etcd::etcd(&cluster.founding().members, &members));
    for on in &nodes {
        kernel::judge_architecture(on, architecture, &mut found);
        JUDGES.iter().for_each(|judge| judge(on, &mut found));
    }
    found
}

/// Returns each warning once, with the nodes that it holds for.
pub fn told(warnings: &[Obstacle]) -> Vec<(Vec<&str>, String)> {
    let mut told: Vec<(Vec<&str>, String)> = Vec::new();
    for warning in warnings {
        let message = format!("{}; {}", warning.what, warning.help);
        match told.iter_mut().find(|(_, it)| *it == message) {
            Some((nodes, _)) => nodes.push(&warning.node),
            None => told.push((vec![&warning.node], message)),
        }
    }
    told
}

/// A question without an answer is worth a word, and nothing else.
fn unanswered(on: &Judged<'_>, found: &mut Findings) {
    let open = on.around().unanswered();
    if !open.is_empty() && on.is_for_cluster() {
        let what = format!("could not be judged: {}", open.join(", "));
        on.warn(found, what, "labctl continues without these checks".to_owned());
    }
}
