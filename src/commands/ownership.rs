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

/// Asks `nodes` whose they are, before a verb changes anything on the workstation. Reports those
/// that are not this lab's; a node that cannot be reached is reported when it is needed. Notes down
/// the keys that the lab has now, before any of them changes.
///
/// # Errors
/// When there are any, or the lab directory cannot be read.
pub async fn must_be_ours(cluster: &Cluster, nodes: &[&Node], run: &Run) -> Result<(), Stop> {
    let quiet = Run { events: Events::channel().0, ..run.clone() };
    let connections = connect(cluster, nodes, &quiet).await;
    connected_must_be_ours(cluster, &connections, run).await
}

/// As [`must_be_ours`], over connections that are there already.
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
    Err(Stop::failed("nodes belong to somebody else, so nothing was changed")
        .help("each of them is named above, with what can be done"))
}

/// Reports nodes that belong to somebody else, by name.
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
