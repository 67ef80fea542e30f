//! The engine: probes nodes, and carries out a plan on them.
//!
//! A run has two halves. [`probe`] asks every node, in one round trip each, about everything that all plays want to
//! know; the plan is then complete before anything changes. [`apply`] goes through the plan: each play on each node is
//! one stream and one script, plays that do not depend on each other run at the same time, and large files are on
//! their way from the first moment, whenever their play's turn may come.
//!
//! The engine decides nothing about what is desired and prints nothing: it takes a plan and emits events.

pub mod apply;
pub mod connect;
pub mod fetch;
pub mod lock;
pub mod probe;
pub mod push;
pub mod script;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::event::{Event, Events, Failure};
use crate::transport::{Transport, TransportError};

/// What every part of a run shares.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where what happens is told.
    pub events: Events,
    /// How many nodes are worked on at the same time.
    pub forks: Arc<Semaphore>,
    /// Turns true when the user asks to stop: what runs may end, nothing new begins.
    pub cancelled: watch::Receiver<bool>,
    /// Whether a plan tells the whole text of files that are to be made. Most are told once, and read never.
    pub new_texts: bool,
}

/// One kept connection a node.
pub type Connections = BTreeMap<String, Transport>;

impl Run {
    /// A run that works on at most `forks` nodes at a time.
    pub fn new(events: Events, forks: usize, cancelled: watch::Receiver<bool>) -> Self {
        Self { events, forks: Arc::new(Semaphore::new(forks.max(1))), cancelled, new_texts: false }
    }

    /// The same, with whether a plan tells the whole text of files that are to be made.
    pub fn telling_new_texts(self, new_texts: bool) -> Self {
        Self { new_texts, ..self }
    }

    /// Whether the user asked to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Tells that a node failed outside of any task.
    pub fn node_failed(&self, node: &str, doing: &str, error: &TransportError) {
        self.events.emit(Event::TaskFailed(failure(node, "", doing, error)));
    }
}

/// A transport's error as a failed task.
fn failure(node: &str, play: &str, task: &str, error: &TransportError) -> Failure {
    Failure {
        node: node.to_owned(),
        play: play.to_owned(),
        task: task.to_owned(),
        command: None,
        code: None,
        reason: error.to_string(),
        stderr: Vec::new(),
        journal: Vec::new(),
        help: error.help.clone(),
    }
}
