//! What is wrong with a lab, of what its nodes have answered: each finding with the command that
//! mends it, worst first.

mod cluster;
pub mod docket;
mod members;
mod node;
mod ways;

use self::docket::{Docket, Known};
use super::ask;
use super::objects::{List, NodeObject, ServerVersion};
use super::{FORMAT, Finding, LabStatus, NodeStatus};
use crate::cluster::{Node, Role};

/// How the lab is.
pub fn judge(known: &Known<'_>) -> LabStatus {
    let mut findings = Docket { known, all: Vec::new() };
    node::judge(&mut findings);
    let etcd = members::judge(&mut findings);
    let api = ways::judge(&mut findings);
    let pods = cluster::judge(&mut findings);
    let findings = findings.sorted();
    let Known { cluster, nodes, .. } = known;
    LabStatus {
        format: FORMAT,
        lab: cluster.name.clone(),
        kubernetes: cluster.kubernetes.to_string(),
        api_url: cluster.api_url(),
        well: findings.is_empty(),
        nodes: nodes.iter().map(|node| row(known, node, &findings)).collect(),
        findings,
        etcd,
        api,
        pods,
        drift: known.drift.clone(),
    }
}

fn row(known: &Known<'_>, node: &Node, findings: &[Finding]) -> NodeStatus {
    let answer = known.answer(&node.name);
    let objects: Option<List<NodeObject>> = known.object(ask::NODES);
    let object =
        objects.and_then(|list| list.items.into_iter().find(|it| it.metadata.name == node.name));
    let ready = object.as_ref().map(|object| object.is_ready());
    let version = object.map(|object| object.status.node_info.kubelet_version).or_else(|| {
        answer?.object::<ServerVersion>(ask::VERSION).map(|version| version.git_version)
    });
    let wanted = known.units.get(&node.name).cloned().unwrap_or_default();
    let active = answer.map_or(0, |answer| {
        let active = wanted.iter().filter_map(|unit| answer.units.get(unit));
        active.filter(|state| state.active == "active").count()
    });
    NodeStatus {
        name: node.name.clone(),
        address: node.address.to_string(),
        roles: node.roles.iter().map(Role::to_string).collect(),
        reached: answer.is_some(),
        ready,
        version: version.map(|version| version.trim_start_matches('v').to_owned()),
        units: (active, wanted.len()),
        certificate_days: answer.and_then(|answer| node::soonest(answer, known.now)),
        disk_percent: answer.and_then(|answer| answer.room.iter().map(|room| room.used).max()),
        up_seconds: answer.and_then(|answer| answer.up),
        findings: findings.iter().filter(|it| it.node.as_deref() == Some(&node.name)).count(),
    }
}
