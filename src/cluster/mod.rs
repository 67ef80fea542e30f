//! The resolved, validated model of a lab: every address, CIDR, name, path and version worked out.
//!
//! [`resolve`](resolve::resolve) turns an inventory into a [`Cluster`] or into the list of
//! everything that is wrong with it. All that stands to the right of this module (certificates,
//! templates, plans) reads a `Cluster` and never an inventory, so a default or a derived value is
//! worked out exactly once, here. The types are `Serialize` because templates see them: `{{
//! cluster.network.pods }}` is a field of this file.

pub mod names;
pub mod network;
pub mod resolve;
pub mod roster;
pub mod version;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::inventory::{Problem, load};
pub use version::Version;

/// What a node is for. A node may have several roles; a one-node lab has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs etcd, kube-apiserver, kube-controller-manager and kube-scheduler.
    Controller,
    /// Runs containerd, kubelet, kube-proxy, and the pods.
    Worker,
    /// Runs the nginx stream proxy in front of the API servers.
    Loadbalancer,
    /// Has kubectl and the admin's kubeconfig.
    Client,
}

/// A whole lab, worked out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cluster {
    /// The lab's name: names the lab directory, bridges and contexts.
    pub name: String,
    /// The Kubernetes version that templates follow.
    pub kubernetes: Version,
    /// The cluster's DNS domain, `cluster.local` unless the inventory says otherwise.
    pub domain: String,
    /// Every node, in the inventory's order.
    pub nodes: Vec<Node>,
    /// Pod and service networks.
    pub network: Network,
    /// How clients reach the API servers.
    pub api: Api,
    /// What certificates are made of.
    pub pki: PkiPolicy,
    /// The bundle directory, absolute; `None` means the official releases, from the cache.
    pub bundle: Option<PathBuf>,
    /// Set when labctl makes the nodes itself, on the workstation.
    pub local: Option<LocalNodes>,
    /// The directory for everything the workstation keeps about this lab: `.labctl/<name>` beside
    /// the inventory, absolute.
    #[serde(skip)]
    pub lab_directory: PathBuf,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// The name it has in Kubernetes, in certificates and in messages: a DNS label.
    pub name: String,
    /// The address that other nodes reach it at.
    pub address: Ipv4Addr,
    /// Its roles, sorted, at least one.
    pub roles: Vec<Role>,
    /// Labels for its Node object (workers only).
    pub labels: BTreeMap<String, String>,
    /// The part of the pod network that belongs to it; workers only.
    pub pod_cidr: Option<Ipv4Net>,
    /// How labctl logs in.
    pub ssh: Ssh,
}

/// How labctl logs in to one node: the inventory's defaults with the node's own values over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ssh {
    /// Host name or address to connect to; the node's address unless given.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Login name; commands go through sudo when it is not `root`.
    pub user: String,
    /// Private key file, absolute, `~` resolved. `None`: the agent, then the usual files in
    /// `~/.ssh`.
    pub identity: Option<PathBuf>,
    /// A machine to go through, as `user@host:port` parts.
    pub jump: Option<Jump>,
}

/// A bastion in front of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Jump {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Login name.
    pub user: String,
}

/// Pod and service networks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Network {
    /// The whole pod network; each worker has a part of it.
    pub pods: Ipv4Net,
    /// Prefix length of one worker's part.
    pub node_prefix: u8,
    /// The range of ClusterIPs.
    pub services: Ipv4Net,
    /// The `kubernetes` Service: the first address of `services`.
    pub kubernetes_service: Ipv4Addr,
    /// The `kube-dns` Service: the tenth address of `services`, as every guide and kubeadm has it.
    pub dns_service: Ipv4Addr,
    /// How pods of different nodes reach each other.
    pub mode: PodNetwork,
    /// What kube-proxy programs.
    pub proxy: ProxyMode,
}

impl Network {
    /// What the settings mean.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            bridge: self.mode != PodNetwork::None,
            routes: self.mode == PodNetwork::Routes,
            vxlan: self.mode == PodNetwork::Vxlan,
            allocates_node_cidrs: self.mode == PodNetwork::None,
            nftables: self.proxy == ProxyMode::Nftables,
        }
    }
}

/// What a network has, for playbooks and templates to ask: a mode of its own more, and none of them
/// has to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// labctl joins the pods of each worker with a bridge; otherwise an addon connects all pods.
    pub bridge: bool,
    /// Nodes reach each other's pods by plain routes.
    pub routes: bool,
    /// Nodes reach each other's pods through a VXLAN.
    pub vxlan: bool,
    /// kube-controller-manager gives each Node its pod CIDR.
    pub allocates_node_cidrs: bool,
    /// kube-proxy programs nftables.
    pub nftables: bool,
}

/// How pods of different nodes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PodNetwork {
    /// Plain routes to the other workers' pod CIDRs; nodes share a layer 2 network.
    Routes,
    /// A VXLAN device with static peers; nodes need only reach each other by IP.
    Vxlan,
    /// Nothing: an addon brings its own.
    None,
}

/// What kube-proxy programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// iptables rules, the default of every release.
    Iptables,
    /// nftables rules; generally available from Kubernetes 1.33.
    Nftables,
}

/// How clients reach the API servers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Api {
    /// The host in kubeconfigs: a load balancer's address, or the inventory's own name or address.
    pub host: String,
    /// The port in kubeconfigs, and the one the load balancer listens on.
    pub port: u16,
    /// The name of the load balancer node behind `host`, when it is one of ours.
    pub loadbalancer: Option<String>,
    /// The port every API server listens on: 6443.
    pub server_port: u16,
    /// Names and addresses that clients call the API by beside these, for its certificate.
    pub names: Vec<String>,
}

/// What certificates are made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PkiPolicy {
    /// Key algorithm of everything that is issued.
    pub algorithm: KeyAlgorithm,
    /// Life of a CA certificate, in days.
    pub ca_days: u32,
    /// Life of every other certificate, in days.
    pub leaf_days: u32,
}

/// Key algorithm of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    /// RSA with 2048 bits.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
}

/// The nodes that labctl makes on the workstation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LocalNodes {
    /// The network of the bridge that joins them.
    pub subnet: Ipv4Net,
    /// The bridge's own address on the host: the first of `subnet`.
    pub gateway: Ipv4Addr,
}

/// Reads the inventory at `path` and works the cluster out: the one way from a file to a lab, for
/// every command. The problems beside the cluster are warnings.
///
/// # Errors
/// Everything that is wrong with the file, in its order, each with its line and what would be
/// right.
pub fn open(path: &Path) -> Result<(Cluster, Vec<Problem>), Vec<Problem>> {
    let inventory = load::load(path).map_err(|problem| vec![problem])?;
    resolve::resolve(&inventory)
}

/// As [`open`], for what the file at `path` would say with `text` in it.
///
/// # Errors
/// As [`open`].
pub fn open_with(path: &Path, text: &str) -> Result<(Cluster, Vec<Problem>), Vec<Problem>> {
    let inventory = load::load_with(path, text.as_bytes()).map_err(|problem| vec![problem])?;
    resolve::resolve(&inventory)
}

impl Cluster {
    /// The nodes that have `role`, in the inventory's order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.has(role))
    }

    /// The node called `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// `https://host:port` of the API, as kubeconfigs have it.
    pub fn api_url(&self) -> String {
        format!("https://{}:{}", self.api.host, self.api.port)
    }
}

impl Node {
    /// Whether the node has `role`.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Controller => "controller",
            Role::Worker => "worker",
            Role::Loadbalancer => "loadbalancer",
            Role::Client => "client",
        })
    }
}
