//! From what is desired to nodes that are so: connect, probe, plan, apply.

use std::collections::BTreeMap;

use super::exit::Stop;
use super::inputs::Prepared;
use super::options::Options;
use super::ownership::{preflight_failure, refuse_strangers};
use super::session::{Outcome, lab_of, limited};
use crate::cluster::{Cluster, Node, Role};
use crate::engine::{Connections, Run, apply::apply, connect::connect, probe::probe, script::Belonging};
use crate::event::Event;
use crate::lab::LabDirectory;
use crate::module::Facts;
use crate::pki::{identity::Holding, store};
use crate::plan::{self, DesiredPlay, Plan, preflight};

/// Connects, probes, plans and applies.
pub async fn converge(
    cluster: &Cluster,
    desired: Vec<DesiredPlay>,
    options: &Options,
    run: &Run,
) -> Result<Outcome, Stop> {
    converge_on(cluster, &limited(cluster, &options.limit)?, desired, run, None, |_, held| Ok(held))
        .await
}

/// As [`converge`] on `nodes`, with certificates that are saved before anything changes. `begin`
/// gets the nodes that were reached, once they are.
pub async fn converge_saving(
    cluster: &Cluster,
    nodes: &[&Node],
    desired: Prepared,
    run: &Run,
    begin: impl FnOnce(&[&Node]) -> Result<(), Stop>,
) -> Result<Outcome, Stop> {
    let Prepared { plays, unsaved } = desired;
    let save = |reached: &[&Node], holding| {
        let holding = unsaved.save(cluster, nodes, reached, holding, &run.events)?;
        begin(reached)?;
        Ok(holding)
    };
    converge_on(cluster, nodes, plays, run, None, save).await
}

/// As [`converge`], on `nodes`. They must belong to the lab whose keys `whose` knows, or the lab
/// directory; `begin` gets those that were reached, before anything is done to them, with the keys
/// that they were compared with, and returns the keys that the lab has from then on.
pub async fn converge_on(
    cluster: &Cluster,
    nodes: &[&Node],
    desired: Vec<DesiredPlay>,
    run: &Run,
    whose: Option<Holding>,
    begin: impl FnOnce(&[&Node], Holding) -> Result<Holding, Stop>,
) -> Result<Outcome, Stop> {
    let desired = select(desired, nodes);
    let Planned { plan, connections, strangers, holding } =
        make_plan(cluster, nodes, desired, run, whose).await?;
    let reached = connections.len();
    let mut outcome = Outcome { ok: reached == nodes.len(), connections, ..Outcome::default() };
    if !strangers.is_empty() {
        outcome.applied.failed =
            strangers.into_iter().map(|node| (node, "preflight".to_owned())).collect();
        return Ok(outcome);
    }
    for node in nodes.iter().filter(|node| !outcome.connections.contains_key(&node.name)) {
        outcome.applied.failed.insert(node.name.clone(), "connect".to_owned());
    }
    if reached == 0 {
        return Ok(outcome);
    }
    let at_hand: Vec<&Node> =
        nodes.iter().copied().filter(|node| outcome.connections.contains_key(&node.name)).collect();
    let holding = begin(&at_hand, holding)?;
    for on in plan.plays.iter().flat_map(|play| &play.nodes) {
        *outcome.unchanged.entry(on.node.clone()).or_default() += on.unchanged;
    }
    if !plan.is_empty() {
        let run = run.clone().marking(mark(&holding, &lab_of(cluster))?);
        let mut applied = apply(plan, &outcome.connections, &run).await;
        outcome.ok &= applied.ok;
        applied.failed.append(&mut outcome.applied.failed);
        outcome.applied = applied;
    }
    Ok(outcome)
}

/// Keeps only what concerns `nodes`.
pub fn select(mut plays: Vec<DesiredPlay>, nodes: &[&Node]) -> Vec<DesiredPlay> {
    for play in &mut plays {
        play.nodes.retain(|on| nodes.iter().any(|node| node.name == on.node));
    }
    plays
}

/// What nodes are told of the lab, once its keys are in the lab directory.
fn mark(holding: &Holding, lab: &LabDirectory) -> Result<Belonging, Stop> {
    store::remember(holding, lab).map_err(Stop::failed)?;
    let text = (!holding.is_empty()).then(|| holding.mark().text().trim_end().to_owned());
    Ok(Belonging { text, related: holding.related().map(str::to_owned).collect() })
}

/// A plan, and who can be worked on.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Connections to the nodes that can be worked on; none where anything must not be touched.
    pub connections: Connections,
    /// Nodes that belong to somebody else.
    pub strangers: Vec<String>,
    /// The keys that the nodes were compared with.
    pub holding: Holding,
}

/// Connects, probes and plans.
pub async fn make_plan(
    cluster: &Cluster,
    nodes: &[&Node],
    mut desired: Vec<DesiredPlay>,
    run: &Run,
    whose: Option<Holding>,
) -> Result<Planned, Stop> {
    let mut connections = connect(cluster, nodes, run).await;
    let facts = probe(&connections, |node| plan::questions(&desired, node), run).await;
    let kept = || store::holding(cluster, &lab_of(cluster)).map_err(Stop::failed);
    let holding = whose.map_or_else(kept, Ok)?;
    let strangers = refuse_strangers(&holding, &facts, run);
    if !strangers.is_empty() {
        let (plan, connections) = (Plan::default(), Connections::new());
        return Ok(Planned { plan, connections, strangers, holding });
    }
    refuse_obstacles(&desired, &facts, &mut connections, run);
    connections.retain(|node, _| facts.contains_key(node));
    let controllers: Vec<&str> =
        cluster.with_role(Role::Controller).map(|node| node.name.as_str()).collect();
    preflight::settle_founding(&controllers, &mut desired, &facts);
    let plan = plan::diff::plan(&desired, &facts);
    // What a node that could not be reached needs, nobody knows; one that does not exist yet needs
    // everything.
    let names = nodes.iter().map(|node| node.name.clone());
    let left_out: Vec<String> = names.filter(|name| !connections.contains_key(name)).collect();
    let mut changes = if run.new_texts { plan.changes_with_new_texts() } else { plan.changes() };
    changes.retain(|change| !left_out.contains(&change.node));
    if nodes.is_empty() || !connections.is_empty() {
        let (unchanged, judged_again) = (plan.unchanged(), plan.judged_again());
        run.events.emit(Event::Planned { changes, unchanged, judged_again, left_out });
    }
    Ok(Planned { plan, connections, strangers, holding })
}

/// Tells of what stands in the way on a node, and leaves that node alone.
fn refuse_obstacles(
    desired: &[DesiredPlay],
    facts: &BTreeMap<String, Facts>,
    connections: &mut Connections,
    run: &Run,
) {
    for obstacle in preflight::obstacles(desired, facts) {
        connections.remove(&obstacle.node);
        run.events.emit(Event::TaskFailed(preflight_failure(obstacle)));
    }
}
