//! Plans: all the changes that a run would make, computed before anything changes.
//!
//! A plan is made in two pure steps. [`expand`] turns a playbook and a cluster into the desired
//! state of each node, and [`diff`] compares that with the facts from the nodes' probes. Neither
//! has I/O, a clock or randomness.

mod coherence;
mod delivered;
pub mod diff;
pub mod expand;
pub mod explain;
pub mod files;
pub mod hand;
pub mod machines;
pub mod openssl;
pub mod ownership;
pub mod preflight;
mod preview;
pub mod script;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::event::{PlannedChange, Preview};
use crate::module::{Actions, Desired, Question, State};
use crate::playbook::Strategy;

/// A play, expanded for each of its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredPlay {
    /// The play's name.
    pub name: String,
    /// Why it exists.
    pub why: String,
    /// The plays that it comes after, as indices into the same list; always smaller than its own.
    pub after: Vec<usize>,
    /// The order in which it runs on its nodes.
    pub strategy: Strategy,
    /// What is desired on each node.
    pub nodes: Vec<DesiredNode>,
}

/// The part of one play for one node.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredNode {
    /// The node.
    pub node: String,
    /// The desired states, in order.
    pub tasks: Vec<DesiredTask>,
}

/// One task for one node.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredTask {
    /// Its title in reports.
    pub title: String,
    /// Why it exists, if the playbook contains a reason.
    pub why: Option<String>,
    /// What is desired; the change that comes of it shares it.
    pub desired: Arc<Desired>,
}

/// An error while expanding a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("play {play}{}{}: {what}", of(task), on(node))]
pub struct ExpandError {
    /// The play.
    pub play: String,
    /// The task, by title or by number; empty if the play itself is wrong.
    pub task: String,
    /// The node, if it only concerns one.
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
    /// Every play in playbook order, including those with nothing to do.
    pub plays: Vec<PlannedPlay>,
}

/// What one play would change.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPlay {
    /// The play's name.
    pub name: String,
    /// The plays that it comes after, as indices.
    pub after: Vec<usize>,
    /// The order in which it runs on its nodes.
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
    /// Number of tasks that are as desired.
    pub unchanged: usize,
    /// Whether none of the play's units is running on the node: then nothing can be interrupted
    /// there, and a rolling play need not treat it separately.
    pub fresh: bool,
}

/// The difference between desired and found, for one task on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The task's title.
    pub title: String,
    /// What differs.
    pub why: String,
    /// Whether a difference was found. Otherwise the task only has to be checked again when it is
    /// reached, because an earlier task changes something.
    pub found: bool,
    /// A preview for the reader.
    pub preview: Preview,
    /// The actions.
    pub actions: Actions,
    /// What is desired.
    pub desired: Arc<Desired>,
}

impl Change {
    /// Returns the commands to do it by hand. They are worked out when someone asks: those of a set
    /// name every node of the lab, on every node.
    pub fn shell(&self) -> String {
        self.desired.shell()
    }
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.plays.iter().all(|play| play.nodes.iter().all(|node| node.changes.is_empty()))
    }

    /// Returns every difference that was found, in playbook order, for reports.
    pub fn changes(&self) -> Vec<PlannedChange> {
        self.changes_as(|change| change.preview.clone())
    }

    /// The same, with the whole text of new files.
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

    /// Returns the number of tasks that are only checked again when they are reached.
    pub fn judged_again(&self) -> usize {
        let nodes = self.plays.iter().flat_map(|play| &play.nodes);
        nodes.flat_map(|node| &node.changes).filter(|change| !change.found).count()
    }

    /// Returns the number of tasks that are already as desired.
    pub fn unchanged(&self) -> usize {
        self.plays.iter().flat_map(|play| &play.nodes).map(|node| node.unchanged).sum()
    }
}

/// Whether plays take off nodes what the record lists.
pub fn takes_down(plays: &[DesiredPlay]) -> bool {
    let mut tasks = plays.iter().flat_map(|play| &play.nodes).flat_map(|on| &on.tasks);
    tasks.any(|task| matches!(*task.desired, Desired::Undo(_)))
}

/// The tasks of every node, sorted once: each play lists its nodes, and to look through all of them
/// for every node of a large lab takes longer than all the rest of a plan.
pub struct Tasks<'a>(HashMap<&'a str, Vec<&'a DesiredTask>>);

impl<'a> Tasks<'a> {
    /// The tasks of these plays.
    pub fn of(plays: &'a [DesiredPlay]) -> Self {
        let mut tasks: HashMap<&str, Vec<&DesiredTask>> = HashMap::new();
        for on in plays.iter().flat_map(|play| &play.nodes) {
            tasks.entry(&on.node).or_default().extend(&on.tasks);
        }
        Self(tasks)
    }

    /// Every task for one node, in playbook order.
    pub fn on(&self, node: &str) -> &[&'a DesiredTask] {
        self.0.get(node).map_or(&[], Vec::as_slice)
    }

    /// What is desired of one node, in playbook order.
    pub fn desired(&self, node: &str) -> impl Iterator<Item = &'a Desired> + Clone {
        self.on(node).iter().copied().map(|task| &*task.desired)
    }

    /// Everything that a plan needs to know about one node.
    pub fn questions(&self, node: &str) -> BTreeSet<Question> {
        let desired = self.desired(node);
        desired
            .clone()
            .flat_map(State::probe)
            .chain(machines::questions())
            .chain(ownership::questions())
            .chain(preflight::questions(desired))
            .collect()
    }
}
