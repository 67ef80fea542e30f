//! The content of an inventory file, read strictly, with the position of every word.
//!
//! [`load`](load::load) turns the file into an [`Inventory`]: the shape is checked here (known
//! keys, right types, nothing missing, nothing twice), the meaning in [`cluster`](crate::cluster),
//! which works every default and derived value out. Values stay as they were written, each with its
//! [`Position`], so that a problem found much later can still name the line and column that it
//! comes from. Nothing ends at the first mistake: problems of shape travel in
//! [`Inventory::problems`] and come out together with those of meaning.

mod decode;
pub mod edit;
pub mod load;
pub mod positions;
mod problem;
mod tree;

use std::path::PathBuf;

pub use positions::Position;
pub use problem::{Problem, Problems, Severity, did_you_mean};

/// A value of the inventory, with its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its position.
    pub at: Position,
}

/// An inventory as it was written: nothing is filled in yet.
///
/// A field is `None` when its key was left out, and also when its value was of the wrong type; in
/// the second case [`Inventory::problems`] has the error.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// The file, as it was named on the command line: what messages begin with.
    pub file: PathBuf,
    /// The directory of the file, absolute: relative paths of the inventory start here.
    pub folder: PathBuf,
    /// The user's home directory, for paths that begin with `~/`.
    pub home: Option<PathBuf>,
    /// `name`: the lab's name.
    pub name: Option<Located<String>>,
    /// `kubernetes`: the version.
    pub kubernetes: Option<Located<String>>,
    /// `domain`: the cluster's DNS domain.
    pub domain: Option<Located<String>>,
    /// `bundle`: the bundle directory.
    pub bundle: Option<Located<String>>,
    /// `local`: labctl makes the nodes on the workstation.
    pub local: Option<Located<LocalSection>>,
    /// `ssh`: how to log in to every node that has no `ssh` of its own.
    pub ssh: SshSection,
    /// `network`: pod and service networks.
    pub network: NetworkSection,
    /// `api`: how clients reach the API servers.
    pub api: ApiSection,
    /// `pki`: what certificates are made of.
    pub pki: PkiSection,
    /// `nodes`: the machines; its position is that of the key.
    pub nodes: Option<Located<Vec<NodeEntry>>>,
    /// What is wrong with the file's shape. An inventory with an error in here never becomes a
    /// cluster.
    pub problems: Vec<Problem>,
}

/// The `local` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalSection {
    /// `subnet`: the network that joins the local nodes, a CIDR.
    pub subnet: Option<Located<String>>,
}

/// An `ssh` section, of the inventory or of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshSection {
    /// `host`: what to connect to instead of the node's address; only in a node's own section.
    pub host: Option<Located<String>>,
    /// `port`: TCP port.
    pub port: Option<Located<u16>>,
    /// `user`: login name.
    pub user: Option<Located<String>>,
    /// `identity`: private key file.
    pub identity: Option<Located<String>>,
    /// `jump`: a machine to go through, `[user@]host[:port]`, or `none`.
    pub jump: Option<Located<String>>,
}

/// The `network` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSection {
    /// `pods`: the whole pod network, a CIDR.
    pub pods: Option<Located<String>>,
    /// `services`: the range of ClusterIPs, a CIDR.
    pub services: Option<Located<String>>,
    /// `node_prefix`: prefix length of one worker's part of the pod network, in bits.
    pub node_prefix: Option<Located<u8>>,
    /// `mode`: how pods of different nodes reach each other.
    pub mode: Option<Located<String>>,
    /// `proxy`: what kube-proxy programs.
    pub proxy: Option<Located<String>>,
}

/// The `api` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiSection {
    /// `endpoint`: the name of a node, or a name or address of the user's own.
    pub endpoint: Option<Located<String>>,
    /// `port`: the port in kubeconfigs.
    pub port: Option<Located<u16>>,
    /// `names`: what else the API is called by.
    pub names: Option<Located<Vec<Located<String>>>>,
}

/// The `pki` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PkiSection {
    /// `algorithm`: of every key.
    pub algorithm: Option<Located<String>>,
    /// `ca_days`: life of a CA certificate.
    pub ca_days: Option<Located<u32>>,
    /// `leaf_days`: life of every other certificate.
    pub leaf_days: Option<Located<u32>>,
}

/// One entry of `nodes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeEntry {
    /// Where the entry begins.
    pub at: Position,
    /// `name`.
    pub name: Option<Located<String>>,
    /// `address`.
    pub address: Option<Located<String>>,
    /// `roles`; its position is that of the list.
    pub roles: Option<Located<Vec<Located<String>>>>,
    /// `labels`: keys and values for the Node object, in the file's order.
    pub labels: Vec<(Located<String>, Located<String>)>,
    /// `pod_cidr`: this worker's part of the pod network, when it is not to be worked out.
    pub pod_cidr: Option<Located<String>>,
    /// `ssh`: what this node does otherwise than the inventory's section.
    pub ssh: SshSection,
}

impl<T> Located<T> {
    /// `value` at the position `at`.
    pub fn new(value: T, at: Position) -> Self {
        Self { value, at }
    }
}
