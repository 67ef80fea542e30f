//! Compares what is desired with what was found, and makes the plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::preview::preview;
use super::{Change, DesiredPlay, DesiredTask, Plan, PlannedNode, PlannedPlay};
use crate::event::Preview;
use crate::module::{Desired, Difference, Facts, State};

/// Compares desired states with facts. Nothing is known about a node without facts, so everything
/// on it differs.
pub fn plan(desired: &[DesiredPlay], facts: &BTreeMap<String, Facts>) -> Plan {
    let nothing = Facts::default();
    let mut plays: Vec<PlannedPlay> = Vec::with_capacity(desired.len());
    // Whether a play, or one that it comes after, changes anything anywhere.
    let mut stirred: Vec<bool> = Vec::with_capacity(desired.len());
    for play in desired {
        let before = play.after.iter().any(|&earlier| stirred[earlier]);
        let nodes: Vec<PlannedNode> = play
            .nodes
            .iter()
            .map(|on| node(&on.node, &on.tasks, facts.get(&on.node).unwrap_or(&nothing), before))
            .collect();
        stirred.push(
            before || nodes.iter().any(|node| node.changes.iter().any(|change| change.found)),
        );
        plays.push(PlannedPlay {
            name: play.name.clone(),
            after: play.after.clone(),
            strategy: play.strategy,
            nodes,
        });
    }
    Plan { plays }
}

/// Whether a task is about a unit that is running.
fn runs(task: &DesiredTask, facts: &Facts) -> bool {
    let Desired::Unit(unit) = &*task.desired else { return false };
    facts.units.get(&unit.name).is_some_and(|found| found.active == "active")
}

/// Plans one play on one node. `stirred` is true if something that the play comes after changes.
fn node(name: &str, tasks: &[DesiredTask], facts: &Facts, stirred: bool) -> PlannedNode {
    let mut changes: Vec<Change> = Vec::new();
    let mut unchanged = 0;
    for task in tasks {
        let difference = task.desired.diff(facts);
        let again = || stirred || changes.iter().any(|change| change.found);
        let (difference, found) = match difference {
            Some(difference) => (difference, true),
            // A check that passed before an earlier change proves nothing about the state
            // afterwards.
            None if task.desired.is_judged_at_run_time() && again() => {
                (Difference::run("checked again when it is reached"), false)
            }
            None => {
                unchanged += 1;
                continue;
            }
        };
        changes.push(Change {
            title: task.title.clone(),
            preview: if found {
                preview(&task.desired, difference.kind, facts)
            } else {
                Preview::default()
            },
            why: difference.why,
            found,
            actions: task.desired.actions(facts),
            desired: Arc::clone(&task.desired),
        });
    }
    PlannedNode {
        node: name.to_owned(),
        changes,
        unchanged,
        fresh: !tasks.iter().any(|task| runs(task, facts)),
    }
}
