//! What is asked of `init`.

use std::path::PathBuf;

/// What is asked of `init`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Machines to log in to, as `[user@]host[:port]`; none for local nodes.
    pub hosts: Vec<String>,
    /// How many nodes of a kind.
    pub shape: Shape,
    /// A shipped lab to begin with.
    pub like: Option<Model>,
    /// The lab's name.
    pub name: Option<String>,
    /// The file to write; `-` prints it.
    pub to: PathBuf,
    /// The private key for the machines.
    pub identity: Option<PathBuf>,
    /// Whether machines with unknown host keys are trusted.
    pub accept_new_host_keys: bool,
}

/// How many nodes of a kind; none for as many as fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Nodes with the control plane.
    pub controllers: Option<usize>,
    /// Nodes with pods.
    pub workers: Option<usize>,
}

/// A shipped lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Two controllers, two workers, a load balancer, a client.
    Sandbox,
    /// Three controllers, three workers, a load balancer.
    Ha,
    /// One node with every role.
    Single,
    /// Three nodes, with plain routes between their pods.
    Multinode,
}
