//! The engine: probes nodes, and carries out a plan on them.
//!
//! A run has two halves. [`probe`] asks every node, in one round trip each, about everything that
//! all plays want to know; the plan is then complete before anything changes. [`apply`] goes
//! through the plan: each play on each node is one stream and one script, plays that do not depend
//! on each other run at the same time, and large files are on their way from the first moment,
//! whenever their play's turn may come.
//!
//! The engine decides nothing about what is desired and prints nothing: it takes a plan and emits
//! events.

pub mod apply;
mod cause;
pub mod connect;
pub mod fetch;
pub mod lock;
mod pack;
pub mod probe;
pub mod push;
pub mod script;
pub mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use self::script::{Mark, Turn};
use self::spread::{Peer, Spread};
use crate::cluster::Cluster;
use crate::event::{Event, Events, Failure};
pub use crate::transport::ssh::{Ask, Keyring, Secret};
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
    pub mark: Arc<Mark>,
    /// What people are asked for on the way to nodes, once in a run.
    pub keyring: Arc<Keyring>,
}

/// How large files get to nodes. The default is the plain way: each node gets all that it lacks
/// from this machine, as it is.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// When nodes give to each other.
    pub spread: Spread,
    /// How nodes reach each other, by name.
    pub peers: BTreeMap<String, Peer>,
    /// Whether the nodes are on this machine.
    pub near: bool,
    /// Where packed copies of large files are kept; without, they travel as they are.
    pub packed: Option<PathBuf>,
}

impl Delivery {
    /// The way that suits a cluster. `cache` is where labctl keeps what can be had again.
    pub fn of(cluster: &Cluster, spread: Spread, cache: &Path) -> Self {
        let near = cluster.local.is_some();
        let peers = cluster.nodes.iter().map(|node| {
            let user = node.ssh.user.clone().unwrap_or_else(|| "root".to_owned());
            let port = node.ssh.port.unwrap_or(22);
            (node.name.clone(), Peer { address: node.address, port, user })
        });
        let packed = spread::packs(spread, near).then(|| cache.join("packed"));
        Self { spread, peers: peers.collect(), near, packed }
    }
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
    pub fn marking(self, mark: Mark) -> Self {
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
