//! `plan`: shows what `up`, or another playbook, would do, and writes nothing, neither on a node
//! nor on the workstation.

use super::bring_up::way_up;
use super::components::refuse_unknown_flags;
use super::converge::{Planned, make_plan};
use super::exit::{Exit, Stop};
use super::inputs::{Inputs, bundle_planned, ensured, report_issued};
use super::named::{limited, names};
use super::options::Options;
use super::runbook::Runbook;
use super::session::{lab_of, looking, open, refuse_lost_nodes};
use super::{next, roster};
use crate::cluster::{Cluster, Node};
use crate::engine::Run;
use crate::event::{Event, Events, Preparation};
use crate::playbook::Playbook;
use crate::report::{Reporter, RunReport};

/// Shows what `up` would do.
pub async fn plan(options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&options.inventory, reporter)?;
    let playbook = way_up(&cluster, options)?;
    roster::refuse_drift(&cluster, &options.inventory, reporter)?;
    let shown = ShownPlan { playbook, then: next::command("up", options), is_up: true };
    show(&cluster, &shown, options, reporter).await
}

/// A playbook whose changes are shown.
pub struct ShownPlan {
    /// The playbook.
    pub playbook: Playbook,
    /// The command that makes the changes.
    pub then: String,
    /// Whether that is `up`, which starts local nodes and finishes removals.
    pub is_up: bool,
}

/// Shows what a playbook would do.
pub async fn show(
    whole: &Cluster,
    shown: &ShownPlan,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    refuse_lost_nodes(whole)?;
    let roster = roster::read(&lab_of(whole));
    let cluster = if shown.is_up { roster.staying(whole) } else { whole.clone() };
    let nodes = limited(&cluster, &options.limit)?;
    let taken_over = names(&cluster, &options.take_over)?;
    let (events, receiver) = Events::channel();
    let reporting = reporter.spawn(receiver, None);
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let run = looking(options, events.clone(), cancelled)
        .telling_new_texts(options.diff)
        .taking_over(taken_over);
    events.emit(Event::RunStarted {
        verb: "plan".to_owned(),
        lab: cluster.name.clone(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    });
    if shown.is_up {
        roster::report_removals(whole, options, &events);
    }
    let looked = look(&cluster, &nodes, shown, options, &run).await;
    drop((run, events));
    let report = reporting.await.map_err(Stop::failed)?;
    let unfinished = shown.is_up && roster.leaving().next().is_some();
    Ok(conclude(&looked?, unfinished, &report, &shown.then, reporter))
}

/// What a look at the nodes came to.
struct Looked {
    planned: Planned,
    /// How many nodes should have been reached.
    reachable: usize,
}

/// Connects to the nodes that run, and plans for them.
async fn look(
    cluster: &Cluster,
    nodes: &[&Node],
    shown: &ShownPlan,
    options: &Options,
    run: &Run,
) -> Result<Looked, Stop> {
    let events = &run.events;
    let bundle = bundle_planned(cluster, events).await?;
    refuse_unknown_flags(cluster, &bundle, &options.inventory, events).await?;
    let ensured = ensured(cluster, &lab_of(cluster))?;
    let inputs = Inputs::new(cluster, options)?.with(ensured.pki, bundle)?;
    let runbook = Runbook::new(inputs, &shown.playbook, cluster)?;
    let stopped = if shown.is_up { stopped_local_nodes(cluster) } else { Vec::new() };
    // On a node that does not exist yet, everything has to be done.
    let runs = |node: &Node| stopped.iter().all(|(name, _)| *name != node.name);
    let reachable: Vec<&Node> = nodes.iter().copied().filter(|node| runs(node)).collect();
    let planned = make_plan(cluster, (nodes, &reachable), runbook, run, None).await?;
    // If the plan is refused, the certificates that it would issue are misleading.
    if planned.strangers.is_empty() {
        report_issued(&ensured.issued, events);
    }
    for (node, made) in &stopped {
        events.emit(Event::Preparation(Preparation::LocalNode { node: node.clone(), made: *made }));
    }
    Ok(Looked { planned, reachable: reachable.len() })
}

fn conclude(
    looked: &Looked,
    unfinished: bool,
    report: &RunReport,
    then: &str,
    reporter: &Reporter,
) -> Exit {
    let reached = looked.planned.connections.len();
    if reached < looked.reachable {
        // A plan without the nodes that did not answer is still useful; one without any node is
        // not.
        if reached > 0 {
            reporter.plan(report, &[])
        } else {
            reporter.close(report, &[])
        }
        return Exit::Failed;
    }
    if looked.planned.plan.is_empty() && report.preparations.is_empty() && !unfinished {
        reporter.plan(report, &[]);
        return Exit::Done;
    }
    reporter.plan(report, &[then.to_owned()]);
    Exit::Pending
}

/// Returns the local nodes that `up` would start, each with whether it would have to be created
/// first.
fn stopped_local_nodes(cluster: &Cluster) -> Vec<(String, bool)> {
    if cluster.local.is_none() {
        return Vec::new();
    }
    let there = crate::local::nodes(&lab_of(cluster));
    let found = |name: &str| there.iter().find(|local| local.name == name);
    let stopped = cluster
        .nodes
        .iter()
        .filter(|node| found(&node.name).is_none_or(|local| local.pid.is_none()));
    stopped.map(|node| (node.name.clone(), found(&node.name).is_none())).collect()
}
