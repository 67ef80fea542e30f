//! What every part of a run shares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::delivery::Delivery;
use super::script::{Belonging, Turn};
use crate::cluster::Cluster;
use crate::event::{Event, Events, Failure};
use crate::transport::ssh::Keyring;
use crate::transport::{Transport, TransportError};

/// What every part of a run shares.
#[derive(Debug, Clone)]
pub struct Run {
    /// The destination of events.
    pub events: Events,
    /// Limits the number of nodes that are worked on in parallel.
    pub forks: Arc<Semaphore>,
    /// Becomes true when the user asks to stop: running tasks may finish, nothing new starts.
    pub cancelled: watch::Receiver<bool>,
    /// Whether the plan's events include the whole text of new files, which is rarely needed.
    pub new_texts: bool,
    /// How large files get to nodes.
    pub delivery: Arc<Delivery>,
    /// Nodes that may change hands, whichever lab they belong to.
    pub taken_over: Arc<BTreeSet<String>>,
    /// Which run this is, among all that could be at a node.
    pub turn: Arc<Turn>,
    /// What is written to nodes about the lab that they belong to.
    pub mark: Arc<Belonging>,
    /// What people are asked for on the way to nodes, once in a run.
    pub keyring: Arc<Keyring>,
    /// Returns the nodes of a lab that are known not to run, so that nobody waits for an answer.
    pub stopped: fn(&Cluster) -> BTreeSet<String>,
}

/// One open connection per node.
pub type Connections = BTreeMap<String, Transport>;

impl Run {
    /// Returns a run that works on at most `forks` nodes in parallel.
    pub fn new(events: Events, forks: usize, cancelled: watch::Receiver<bool>) -> Self {
        let forks = Arc::new(Semaphore::new(forks.max(1)));
        Self {
            events,
            forks,
            cancelled,
            new_texts: false,
            delivery: Arc::default(),
            taken_over: Arc::default(),
            turn: Arc::default(),
            mark: Arc::default(),
            keyring: Arc::default(),
            stopped: |_| BTreeSet::new(),
        }
    }

    /// The same, with nodes that are known not to run.
    pub fn passing_over(self, stopped: fn(&Cluster) -> BTreeSet<String>) -> Self {
        Self { stopped, ..self }
    }

    /// The same, with what people are asked for on the way to nodes.
    pub fn asking(self, keyring: Arc<Keyring>) -> Self {
        Self { keyring, ..self }
    }

    /// Sets whether the plan's events include the whole text of new files.
    pub fn telling_new_texts(self, new_texts: bool) -> Self {
        Self { new_texts, ..self }
    }

    /// Sets how large files are delivered.
    pub fn delivering(self, delivery: Delivery) -> Self {
        Self { delivery: Arc::new(delivery), ..self }
    }

    /// Sets the nodes that may change hands.
    pub fn taking_over(self, nodes: impl IntoIterator<Item = String>) -> Self {
        Self { taken_over: Arc::new(nodes.into_iter().collect()), ..self }
    }

    /// Sets what is written to nodes about the lab.
    pub fn marking(self, mark: Belonging) -> Self {
        Self { mark: Arc::new(mark), ..self }
    }

    /// The same, known to nodes as this run.
    pub fn known_as(self, turn: Turn) -> Self {
        Self { turn: Arc::new(turn), ..self }
    }

    /// Whether the user asked to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Waits until the user asks to stop; forever if that is no longer possible.
    pub async fn stopping(&self) {
        if self.cancelled.clone().wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Reports that a node failed outside any task.
    pub fn node_failed(&self, node: &str, doing: &str, error: &TransportError) {
        self.events.emit(Event::TaskFailed(failure(node, "", doing, error)));
    }
}

/// Converts a transport error to a failed task.
pub(super) fn failure(node: &str, play: &str, task: &str, error: &TransportError) -> Failure {
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
