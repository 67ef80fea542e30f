//! Whose nodes are: asked before an operation changes anything, wherever.

use std::collections::BTreeMap;

use super::exit::Stop;
use super::session::lab_of;
use crate::cluster::{Cluster, Node};
use crate::engine::{Connections, Run, connect::connect, probe::probe};
use crate::event::{Event, Events, Failure};
use crate::module::Facts;
use crate::pki::{identity::Holding, store};
use crate::plan::ownership;
use crate::plan::preflight::Obstacle;

/// Checks that `nodes` belong to this lab before a verb changes anything on the workstation, and
/// reports those that do not. A node that cannot be reached is reported when it is needed. Records
/// the lab's current keys before any of them changes.
///
/// # Errors
/// When there are any, or the lab directory cannot be read.
pub async fn must_be_ours(cluster: &Cluster, nodes: &[&Node], run: &Run) -> Result<(), Stop> {
    let quiet = Run { events: Events::channel().0, ..run.clone() };
    let connections = connect(cluster, nodes, &quiet).await;
    connected_must_be_ours(cluster, &connections, run).await
}

/// Like [`must_be_ours`], over existing connections.
///
/// # Errors
/// When there are any, or the lab directory cannot be read.
pub async fn connected_must_be_ours(
    cluster: &Cluster,
    connections: &Connections,
    run: &Run,
) -> Result<(), Stop> {
    let quiet = Run { events: Events::channel().0, ..run.clone() };
    let facts = probe(connections, |_| ownership::questions(), &quiet).await;
    let lab = lab_of(cluster);
    let holding = store::holding(cluster, &lab).map_err(Stop::failed)?;
    if refuse_strangers(&holding, &facts, run).is_empty() {
        return store::remember(&holding, &lab).map_err(Stop::failed);
    }
    Err(Stop::failed("some nodes do not belong to this lab, so nothing was changed")
        .help("see the messages above for each of them and what to do"))
}

/// Reports nodes that belong to another lab or cluster, and returns their names.
pub fn refuse_strangers(
    holding: &Holding,
    facts: &BTreeMap<String, Facts>,
    run: &Run,
) -> Vec<String> {
    let strangers = ownership::strangers(holding, facts, &run.taken_over);
    let names = strangers.iter().map(|obstacle| obstacle.node.clone()).collect();
    for obstacle in strangers {
        run.events.emit(Event::TaskFailed(preflight_failure(obstacle)));
    }
    names
}

/// An obstacle as the failure of a run.
pub fn preflight_failure(obstacle: Obstacle) -> Failure {
    Failure {
        node: obstacle.node,
        play: String::new(),
        task: "preflight".to_owned(),
        command: None,
        code: None,
        reason: obstacle.what,
        stderr: Vec::new(),
        journal: Vec::new(),
        help: Some(obstacle.help),
    }
}
