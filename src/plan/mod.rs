//! Plans: all the changes that a run would make, worked out before anything changes.
//!
//! Two pure steps lead to a plan. [`expand`] turns a playbook and a cluster into what is desired on
//! each node, and [`diff`] holds that against the facts that the nodes' probes found. Neither has
//! I/O, a clock or randomness.

mod coherence;
mod delivered;
pub mod diff;
pub mod expand;
pub mod explain;
pub mod files;
pub mod ownership;
pub mod preflight;
mod preview;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::event::{PlannedChange, Preview};
use crate::module::{Actions, Desired, Question, State};
use crate::playbook::Strategy;

/// A play with everything worked out for each of its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredPlay {
    /// The play's name.
    pub name: String,
    /// Why it exists.
    pub why: String,
    /// The plays it comes after, as indices into the same list; always smaller than its own.
    pub after: Vec<usize>,
    /// How it goes over its nodes.
    pub strategy: Strategy,
    /// What is desired on each node.
    pub nodes: Vec<DesiredNode>,
}

/// What one play wants of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredNode {
    /// The node.
    pub node: String,
    /// What is desired, in order.
    pub tasks: Vec<DesiredTask>,
}

/// One task for one node.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredTask {
    /// Its title in reports.
    pub title: String,
    /// Why it exists, when the playbook says so.
    pub why: Option<String>,
    /// What is desired.
    pub desired: Desired,
}

/// A task that cannot be worked out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("play {play}{}{}: {what}", of(task), on(node))]
pub struct ExpandError {
    /// The play.
    pub play: String,
    /// The task, by title or by number; empty when it is the play itself.
    pub task: String,
    /// The node, when it only concerns one.
    pub node: String,
    /// What is wrong.
    pub what: String,
}

fn of(task: &str) -> String {
    if task.is_empty() { String::new() } else { format!(", task {task}") }
}

fn on(node: &str) -> String {
    if node.is_empty() { String::new() } else { format!(" on {node}") }
}

/// All the changes that a run would make.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Every play, in the playbook's order, also those with nothing to do.
    pub plays: Vec<PlannedPlay>,
}

/// What one play would change.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPlay {
    /// The play's name.
    pub name: String,
    /// The plays it comes after, as indices.
    pub after: Vec<usize>,
    /// How it goes over its nodes.
    pub strategy: Strategy,
    /// What would change on each of its nodes.
    pub nodes: Vec<PlannedNode>,
}

/// What one play would change on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedNode {
    /// The node.
    pub node: String,
    /// What would change, in order.
    pub changes: Vec<Change>,
    /// Tasks that are as desired.
    pub unchanged: usize,
    /// Whether none of the play's units runs on the node: then nothing can be interrupted there,
    /// and a rolling play need not take it on its own.
    pub fresh: bool,
}

/// The difference between desired and found, for one task on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The task's title.
    pub title: String,
    /// What differs.
    pub why: String,
    /// Whether the difference was found. Otherwise the task only has to be judged again when its
    /// turn comes, because something before it changes.
    pub found: bool,
    /// What it looks like.
    pub preview: Preview,
    /// What to do.
    pub actions: Actions,
    /// The same by hand; nodes share a text that is the same on them.
    pub shell: Arc<str>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.plays.iter().all(|play| play.nodes.iter().all(|node| node.changes.is_empty()))
    }

    /// Every change that was found, in the playbook's order, as reports have it.
    pub fn changes(&self) -> Vec<PlannedChange> {
        self.changes_as(|change| change.preview.clone())
    }

    /// The same with the whole text of files that are to be made.
    pub fn changes_with_new_texts(&self) -> Vec<PlannedChange> {
        self.changes_as(|change| {
            let preview = change.preview.clone();
            Preview { diff: preview.diff.or_else(|| preview::of_new_text(change)), ..preview }
        })
    }

    fn changes_as(&self, seen: impl Fn(&Change) -> Preview) -> Vec<PlannedChange> {
        let mut all = Vec::new();
        for play in &self.plays {
            for node in &play.nodes {
                all.extend(node.changes.iter().filter(|change| change.found).map(|change| {
                    PlannedChange {
                        node: node.node.clone(),
                        play: play.name.clone(),
                        task: change.title.clone(),
                        why: change.why.clone(),
                        preview: seen(change),
                    }
                }));
            }
        }
        all
    }

    /// How many tasks are only judged again when their turn comes.
    pub fn judged_again(&self) -> usize {
        let nodes = self.plays.iter().flat_map(|play| &play.nodes);
        nodes.flat_map(|node| &node.changes).filter(|change| !change.found).count()
    }

    /// How many tasks are as desired already.
    pub fn unchanged(&self) -> usize {
        self.plays.iter().flat_map(|play| &play.nodes).map(|node| node.unchanged).sum()
    }
}

/// Everything that a plan wants to know about one node.
pub fn questions(plays: &[DesiredPlay], node: &str) -> BTreeSet<Question> {
    tasks_of(plays, node)
        .flat_map(|task| task.desired.probe())
        .chain(preflight::questions())
        .chain(ownership::questions())
        .collect()
}

/// Every task for one node, in the playbook's order.
pub fn tasks_of<'a>(
    plays: &'a [DesiredPlay],
    node: &'a str,
) -> impl Iterator<Item = &'a DesiredTask> {
    plays
        .iter()
        .flat_map(|play| &play.nodes)
        .filter(move |on| on.node == node)
        .flat_map(|on| &on.tasks)
}
