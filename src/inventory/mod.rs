//! The content of an inventory file, parsed strictly, with the position of every value.
//!
//! [`load`](load::load) parses the file into an [`Inventory`] and checks its structure (known keys,
//! right types, nothing missing, no duplicates). [`cluster`](crate::cluster) checks the meaning and
//! computes defaults and derived values. Values stay as they were written, each with its
//! [`Position`], so that a problem found later can still be reported with line and column. No error
//! ends the checks: structural problems are collected in [`Inventory::problems`] and reported
//! together with semantic ones.

mod decode;
pub mod edit;
mod entry;
pub mod keys;
pub mod load;
pub mod positions;
mod problem;
mod range;
mod scan;
pub mod schema;
mod tree;
pub mod variables;

use std::path::PathBuf;

pub use positions::Position;
pub use problem::{Problem, Problems, STDIN, Severity, called, did_you_mean};
pub use range::{count_on, names_in};

/// A value of the inventory with its position in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its position.
    pub at: Position,
}

/// An inventory as written, without defaults.
///
/// A field is `None` if its key was left out or its value has the wrong type; in the second case
/// [`Inventory::problems`] contains the error.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// The file as named on the command line, for messages.
    pub file: PathBuf,
    /// The file's directory, absolute; relative paths in the inventory start here.
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
    /// `playbooks`: the directory of playbooks that replace standard ones.
    pub playbooks: Option<Located<String>>,
    /// `templates`: the directory of templates that replace standard ones.
    pub templates: Option<Located<String>>,
    /// `clusters`: how many clusters a workshop makes of the file.
    pub clusters: Option<Located<u16>>,
    /// `local`: labctl creates the nodes on the workstation.
    pub local: Option<Located<LocalSection>>,
    /// `ssh`: how to log in to nodes; a node's own `ssh` takes precedence.
    pub ssh: SshSection,
    /// `network`: pod and service networks.
    pub network: NetworkSection,
    /// `api`: how clients reach the API servers.
    pub api: ApiSection,
    /// `pki`: algorithm and validity of certificates.
    pub pki: PkiSection,
    /// `addons`: what the lab has beside what every lab has; its position is that of the list.
    pub addons: Option<Located<Vec<Located<String>>>>,
    /// `components`: what the programs of the lab are run with, in file order.
    pub components: Vec<ComponentEntry>,
    /// `registries`: where images come from, in file order.
    pub registries: Vec<RegistryEntry>,
    /// `proxy`: what images are pulled through.
    pub proxy: Option<ProxySection>,
    /// `nodes`: the machines, with the position of the key.
    pub nodes: Option<Located<Vec<NodeEntry>>>,
    /// Errors in the structure of the file. An inventory with errors never becomes a cluster.
    pub problems: Vec<Problem>,
}

/// The `local` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalSection {
    /// `subnet`: the networks of the local nodes, a CIDR for each IP family.
    pub subnet: Vec<Located<String>>,
    /// `packages`: packages of the distribution that the nodes have beside what all have.
    pub packages: Option<Located<Vec<Located<String>>>>,
}

/// An `ssh` section, of the inventory or of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshSection {
    /// `host`: where to connect instead of the node's address; only in a node's own section.
    pub host: Option<Located<String>>,
    /// `port`: TCP port.
    pub port: Option<Located<u16>>,
    /// `user`: login name.
    pub user: Option<Located<String>>,
    /// `identity`: private key file.
    pub identity: Option<Located<String>>,
    /// `jump`: the machines to go through.
    pub jump: Option<Located<Vec<JumpEntry>>>,
    /// `connect_timeout`: seconds for reaching a machine and logging in.
    pub connect_timeout: Option<Located<u16>>,
    /// `host_keys`: `strict` or `accept-new`.
    pub host_keys: Option<Located<String>>,
    /// `become`: `sudo` or `doas`.
    pub become_with: Option<Located<String>>,
    /// `become_password_file`: a file with the password of that.
    pub become_password_file: Option<Located<String>>,
    /// `become_password_command`: a command that prints it.
    pub become_password_command: Option<Located<String>>,
}

/// One entry of `jump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JumpEntry {
    /// `[user@]host[:port]`, several of them with commas between, or `none`.
    Text(Located<String>),
    /// `host`, `user`, `port` and `identity` by themselves.
    Parts(Box<SshSection>),
}

/// The `network` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSection {
    /// `pods`: the whole pod network, a CIDR for each IP family.
    pub pods: Vec<Located<String>>,
    /// `services`: the range of ClusterIPs, a CIDR for each IP family.
    pub services: Vec<Located<String>>,
    /// `node_prefix`: prefix length in bits of one worker's part of the pod network, for each IP
    /// family.
    pub node_prefix: Vec<Located<u8>>,
    /// `mode`: how pods of different nodes reach each other.
    pub mode: Option<Located<String>>,
    /// `mtu`: the largest packet that passes between nodes, in bytes.
    pub mtu: Option<Located<u16>>,
    /// `proxy`: the mode of kube-proxy.
    pub proxy: Option<Located<String>>,
}

/// The `api` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiSection {
    /// `endpoint`: the name of a node, or another name or address.
    pub endpoint: Option<Located<String>>,
    /// `port`: the port in kubeconfigs.
    pub port: Option<Located<u16>>,
    /// `names`: additional names of the API.
    pub names: Option<Located<Vec<Located<String>>>>,
}

/// The `pki` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PkiSection {
    /// `algorithm`: the algorithm of all keys.
    pub algorithm: Option<Located<String>>,
    /// `ca_days`: validity of CA certificates in days.
    pub ca_days: Option<Located<u32>>,
    /// `leaf_days`: validity of all other certificates in days.
    pub leaf_days: Option<Located<u32>>,
}

/// One entry of `components`.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentEntry {
    /// The program.
    pub name: Located<String>,
    /// `flags`: the values as they are typed; `None` for a flag that is taken away.
    pub flags: Vec<(Located<String>, Option<String>)>,
    /// `config`: the top-level keys of its configuration file.
    pub config: Vec<(Located<String>, serde_json::Value)>,
    /// `files`: names on the nodes, and paths on the workstation.
    pub files: Vec<(Located<String>, Located<String>)>,
}

/// One entry of `registries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryEntry {
    /// Its host.
    pub host: Located<String>,
    /// `mirrors`: URLs to ask before it.
    pub mirrors: Option<Located<Vec<Located<String>>>>,
    /// `ca`: a file with the CA of its certificate.
    pub ca: Option<Located<String>>,
    /// `credentials`: a file with a name and a password.
    pub credentials: Option<Located<String>>,
}

/// The `proxy` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxySection {
    /// `http`: the proxy for `http` URLs.
    pub http: Option<Located<String>>,
    /// `https`: the proxy for `https` URLs.
    pub https: Option<Located<String>>,
    /// `no`: what is reached without it.
    pub no: Option<Located<Vec<Located<String>>>>,
}

/// One entry of `nodes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeEntry {
    /// Position of the entry.
    pub at: Position,
    /// Its index in the list of nodes.
    pub index: usize,
    /// The name as it is written, if it is a range: this is one of its nodes.
    pub range: Option<String>,
    /// `name`.
    pub name: Option<Located<String>>,
    /// `address`: one for each IP family.
    pub address: Vec<Located<String>>,
    /// `roles`, with the position of the list.
    pub roles: Option<Located<Vec<Located<String>>>>,
    /// `labels`: keys and values for the Node object, in file order.
    pub labels: Vec<(Located<String>, Located<String>)>,
    /// `taints`: as kubectl has them, with the position of the list.
    pub taints: Option<Located<Vec<Located<String>>>>,
    /// `pod_cidr`: this worker's part of the pod network, for each IP family; computed if absent.
    pub pod_cidr: Vec<Located<String>>,
    /// `ssh`: this node's own settings, which take precedence over the inventory's.
    pub ssh: SshSection,
}

impl<T> Located<T> {
    /// Returns `value` with the position `at`.
    pub fn new(value: T, at: Position) -> Self {
        Self { value, at }
    }
}
