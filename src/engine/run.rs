//! What every part of a run shares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::delivery::Delivery;
use super::script::{Belonging, Turn};
use crate::event::{Event, Events, Failure};
use crate::transport::ssh::Keyring;
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
    /// Whether a plan tells the whole text of files that are to be made. Most are told once, and
    /// read never.
    pub new_texts: bool,
    /// How large files get to nodes.
    pub delivery: Arc<Delivery>,
    /// Nodes that are meant to become the lab's, whoever they belong to.
    pub taken_over: Arc<BTreeSet<String>>,
    /// Which run this is, among all that could be at a node.
    pub turn: Arc<Turn>,
    /// What nodes are told of the lab that they belong to.
    pub mark: Arc<Belonging>,
    /// What people are asked for on the way to nodes, once in a run.
    pub keyring: Arc<Keyring>,
}

/// One kept connection a node.
pub type Connections = BTreeMap<String, Transport>;

impl Run {
    /// A run that works on at most `forks` nodes at a time.
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
        }
    }

    /// The same, with what people are asked for on the way to nodes.
    pub fn asking(self, keyring: Arc<Keyring>) -> Self {
        Self { keyring, ..self }
    }

    /// The same, with whether a plan tells the whole text of files that are to be made.
    pub fn telling_new_texts(self, new_texts: bool) -> Self {
        Self { new_texts, ..self }
    }

    /// The same, with large files delivered in this way.
    pub fn delivering(self, delivery: Delivery) -> Self {
        Self { delivery: Arc::new(delivery), ..self }
    }

    /// The same, with nodes that are meant to become the lab's, whoever they belong to.
    pub fn taking_over(self, nodes: impl IntoIterator<Item = String>) -> Self {
        Self { taken_over: Arc::new(nodes.into_iter().collect()), ..self }
    }

    /// The same, with what nodes are told of the lab that they belong to.
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

    /// Waits until the user asks to stop; for ever, when nobody can any more.
    pub async fn stopping(&self) {
        if self.cancelled.clone().wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells that a node failed outside of any task.
    pub fn node_failed(&self, node: &str, doing: &str, error: &TransportError) {
        self.events.emit(Event::TaskFailed(failure(node, "", doing, error)));
    }
}

/// A transport's error as a failed task.
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
