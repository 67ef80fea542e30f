//! From what is desired to nodes that are so: connect, probe, plan, apply.

use std::collections::{BTreeMap, BTreeSet};

use super::exit::Stop;
use super::machines;
use super::named::limited;
use super::options::Options;
use super::ownership::{preflight_failure, refuse_strangers};
use super::prepared::Prepared;
use super::runbook::Runbook;
use super::session::{Outcome, lab_of};
use crate::cluster::{Cluster, Node};
use crate::engine::{
    Connections, Run, apply::apply, connect::connect, probe::probe, script::Belonging,
};
use crate::event::Event;
use crate::lab::LabDirectory;
use crate::machine::{Machine, Machines};
use crate::module::{Facts, Question};
use crate::pki::{identity::Holding, store};
use crate::plan::{self, DesiredPlay, Plan, Tasks, preflight};

/// Connects, probes, plans and applies.
pub async fn converge(
    cluster: &Cluster,
    runbook: Runbook<'_>,
    options: &Options,
    run: &Run,
) -> Result<Outcome, Stop> {
    converge_on(cluster, &limited(cluster, &options.limit)?, runbook, run, None, |_, held| Ok(held))
        .await
}

/// As [`converge`] on `nodes`, with certificates that are saved before anything changes. `begin`
/// gets the nodes that were reached, once they are.
pub async fn converge_saving(
    cluster: &Cluster,
    nodes: &[&Node],
    desired: Prepared<'_>,
    run: &Run,
    begin: impl FnOnce(&[&Node]) -> Result<(), Stop>,
) -> Result<Outcome, Stop> {
    let Prepared { runbook, unsaved } = desired;
    let save = |reached: &[&Node], holding| {
        let holding = unsaved.save(cluster, nodes, reached, holding, &run.events)?;
        begin(reached)?;
        Ok(holding)
    };
    converge_on(cluster, nodes, runbook, run, None, save).await
}

/// As [`converge`], on `nodes`. They must belong to the lab whose keys `whose` knows, or the lab
/// directory; `begin` gets those that were reached, before anything is done to them, with the keys
/// that they were compared with, and returns the keys that the lab has from then on.
pub async fn converge_on(
    cluster: &Cluster,
    nodes: &[&Node],
    runbook: Runbook<'_>,
    run: &Run,
    whose: Option<Holding>,
    begin: impl FnOnce(&[&Node], Holding) -> Result<Holding, Stop>,
) -> Result<Outcome, Stop> {
    let Planned { plan, connections, strangers, holding, found } =
        make_plan(cluster, (nodes, nodes), runbook, run, whose).await?;
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
    machines::remember(cluster, &found)?;
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
fn select(mut plays: Vec<DesiredPlay>, nodes: &[&Node]) -> Vec<DesiredPlay> {
    for play in &mut plays {
        play.nodes.retain(|on| nodes.iter().any(|node| node.name == on.node));
    }
    plays
}

/// Returns the mark that is written to nodes, once the lab's keys are in the lab directory.
fn mark(holding: &Holding, lab: &LabDirectory) -> Result<Belonging, Stop> {
    store::remember(holding, lab).map_err(Stop::failed)?;
    let text = (!holding.is_empty()).then(|| holding.mark().text().trim_end().to_owned());
    Ok(Belonging { text, related: holding.related().map(str::to_owned).collect() })
}

/// A plan, with the nodes that can be worked on.
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Connections to the nodes that can be worked on; empty if nothing may be touched.
    pub connections: Connections,
    /// Nodes that belong to another lab or cluster.
    pub strangers: Vec<String>,
    /// The keys that the nodes were compared with.
    pub holding: Holding,
    /// The machines as they were found.
    pub found: Machines,
}

/// Connects, probes and plans for `nodes`, of which those in `reachable` can be asked.
pub async fn make_plan(
    cluster: &Cluster,
    (nodes, reachable): (&[&Node], &[&Node]),
    mut runbook: Runbook<'_>,
    run: &Run,
    whose: Option<Holding>,
) -> Result<Planned, Stop> {
    let mut connections = connect(cluster, reachable, run).await;
    let tasks = Tasks::of(runbook.plays());
    let mut facts = probe(&connections, |node| tasks.questions(node), run).await;
    let kept = || store::holding(cluster, &lab_of(cluster)).map_err(Stop::failed);
    let holding = whose.map_or_else(kept, Ok)?;
    let strangers = refuse_strangers(&holding, &facts, run);
    if !strangers.is_empty() {
        let (plan, connections, found) = Default::default();
        return Ok(Planned { plan, connections, strangers, holding, found });
    }
    let mut found = plan::machines::found(&facts);
    // Local nodes that are still to be made are bare.
    for node in nodes.iter().filter(|node| !reachable.iter().any(|it| it.name == node.name)) {
        found.insert(node.name.clone(), Machine::default());
    }
    if let Some(earlier) = runbook.learn(&found)? {
        ask_the_rest(&earlier, runbook.plays(), &connections, &mut facts, run).await;
    }
    let desired = select(runbook.plays().to_vec(), nodes);
    let lab = (runbook.known(), runbook.architecture());
    refuse_obstacles(lab, &desired, &facts, &mut connections, run);
    connections.retain(|node, _| facts.contains_key(node));
    let mut plan = plan::diff::plan(&desired, &facts);
    // A teardown makes nodes nobody's.
    if !plan::takes_down(&desired) {
        plan::ownership::hand_over(&mut plan, &holding, &facts, &run.taken_over);
    }
    // Nothing is known about a node that cannot be reached; a node that does not exist yet needs
    // everything.
    let names = reachable.iter().map(|node| node.name.clone());
    let left_out: Vec<String> = names.filter(|name| !connections.contains_key(name)).collect();
    let mut changes = if run.new_texts { plan.changes_with_new_texts() } else { plan.changes() };
    changes.retain(|change| !left_out.contains(&change.node));
    if reachable.is_empty() || !connections.is_empty() {
        let (unchanged, judged_again) = (plan.unchanged(), plan.judged_again());
        run.events.emit(Event::Planned { changes, unchanged, judged_again, left_out });
    }
    found.retain(|node, _| connections.contains_key(node));
    Ok(Planned { plan, connections, strangers, holding, found })
}

/// Asks what the plays need to know now and did not when nodes were asked: nothing, where machines
/// are as they were known.
async fn ask_the_rest(
    earlier: &[DesiredPlay],
    plays: &[DesiredPlay],
    connections: &Connections,
    facts: &mut BTreeMap<String, Facts>,
    run: &Run,
) {
    let (tasks, earlier) = (Tasks::of(plays), Tasks::of(earlier));
    let rest = |node: &str| &tasks.questions(node) - &earlier.questions(node);
    let open: BTreeMap<String, BTreeSet<Question>> = facts
        .keys()
        .map(|node| (node.clone(), rest(node)))
        .filter(|(_, it)| !it.is_empty())
        .collect();
    let asked = connections.iter().filter(|(node, _)| open.contains_key(*node));
    let asked: Connections = asked.map(|(node, it)| (node.clone(), it.clone())).collect();
    let mut later = probe(&asked, |node| open.get(node).cloned().unwrap_or_default(), run).await;
    for node in open.keys() {
        // One that does not answer any more is not planned for.
        if let (Some(before), Some(after)) = (facts.remove(node), later.remove(node)) {
            facts.insert(node.clone(), before.with(after));
        }
    }
}

/// Reports obstacles on nodes and skips those nodes; and what a person should know.
fn refuse_obstacles(
    (cluster, architecture): (&Cluster, Option<&str>),
    desired: &[DesiredPlay],
    facts: &BTreeMap<String, Facts>,
    connections: &mut Connections,
    run: &Run,
) {
    let found = preflight::findings(cluster, architecture, desired, facts);
    for obstacle in found.obstacles {
        connections.remove(&obstacle.node);
        run.events.emit(Event::TaskFailed(preflight_failure(obstacle)));
    }
    for (nodes, message) in preflight::told(&found.warnings) {
        run.events.emit(match &nodes[..] {
            [node] => Event::Warning { node: Some((*node).to_owned()), message },
            many => {
                Event::Warning { node: None, message: format!("{}: {message}", many.join(", ")) }
            }
        });
    }
}
