//! The resolved, validated model of a lab: every address, CIDR, name, path and version.
//!
//! [`resolve`](resolve::resolve) turns an inventory into a [`Cluster`], or into a list of
//! everything that is wrong with it. All later stages (certificates, templates, plans) use a
//! `Cluster` and never an inventory, so that each default or derived value is computed exactly
//! once, here. The types are `Serialize` because templates use them: `{{ cluster.network.pods }}`
//! is a field in this file.

pub mod components;
pub mod login;
pub mod names;
pub mod network;
pub mod registries;
pub mod resolve;
pub mod roster;
pub mod running;
mod selection;
pub mod skew;
pub mod version;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::inventory::variables::Lookup;
use crate::inventory::{Problem, count_on, load};
use crate::machine::{Machine, Machines, etcd::Founding};
pub use components::SettingsByProgram;
pub use login::{Escalation, Jump, PasswordSource, Ssh, Tool};
use network::IpFamily;
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

/// A lab with all values computed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cluster {
    /// The lab's name, also used for the lab directory, bridges and contexts.
    pub name: String,
    /// The Kubernetes version.
    pub kubernetes: Version,
    /// The cluster's DNS domain; `cluster.local` by default.
    pub domain: String,
    /// Every node, in inventory order.
    pub nodes: Vec<Node>,
    /// Pod and service networks.
    pub network: Network,
    /// How clients reach the API servers.
    pub api: Api,
    /// Algorithm and validity of certificates.
    pub pki: PkiPolicy,
    /// The add-ons that the inventory asks for, by the names of their plays.
    pub addons: Vec<String>,
    /// The add-ons of the lab's own: manifests on the workstation, in order.
    #[serde(skip)]
    pub manifests: Vec<Manifests>,
    /// What its programs are run with, beside what labctl sets.
    pub components: SettingsByProgram,
    /// The registries that the inventory says something of.
    pub registries: Vec<registries::Registry>,
    /// What containerd pulls images through, if anything.
    pub proxy: Option<registries::Proxy>,
    /// The bundle directory, absolute; `None` for the official releases in the cache.
    pub bundle: Option<PathBuf>,
    /// The directory of playbooks that replace standard ones, absolute.
    pub playbooks: Option<PathBuf>,
    /// The directory of templates that replace standard ones, absolute.
    pub templates: Option<PathBuf>,
    /// Set if labctl creates the nodes on the workstation.
    pub local: Option<LocalNodes>,
    /// The lab directory: `.labctl/<name>` beside the inventory, absolute.
    #[serde(skip)]
    pub lab_directory: PathBuf,
}

/// The extensions of manifests.
pub const MANIFESTS: &[&str] = &["yaml", "yml", "json"];

/// An add-on of the lab's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifests {
    /// Its name: the file's or directory's, without extension.
    pub name: String,
    /// A manifest, or a directory of manifests; absolute.
    pub path: PathBuf,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// Its name in Kubernetes, in certificates and in messages: a DNS label.
    pub name: String,
    /// The address at which other nodes reach it, of the lab's first IP family.
    pub address: IpAddr,
    /// Its address of the second IP family, if the lab has two.
    pub second_address: Option<IpAddr>,
    /// Its roles, sorted; at least one.
    pub roles: Vec<Role>,
    /// Labels for its Node object (workers only).
    pub labels: BTreeMap<String, String>,
    /// Taints for its Node object (workers only).
    pub taints: Vec<Taint>,
    /// Its part of the pod network (workers only).
    pub pod_cidr: Option<IpNet>,
    /// Its part of the pod network of the second IP family (workers of a lab with two).
    pub second_pod_cidr: Option<IpNet>,
    /// How labctl logs in.
    pub ssh: Ssh,
    /// What is known of its machine: as the last run found it, or as assumed.
    pub facts: Machine,
}

/// A taint: it keeps pods away that do not tolerate it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Pod and service networks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Network {
    /// The whole pod network; each worker has a part of it.
    pub pods: IpNet,
    /// Prefix length of one worker's part.
    pub node_prefix: u8,
    /// The range of ClusterIPs.
    pub services: IpNet,
    /// The `kubernetes` Service: the first address of `services`.
    pub kubernetes_service: IpAddr,
    /// The `kube-dns` Service: the tenth address of `services`, as in kubeadm.
    pub dns_service: IpAddr,
    /// The networks of the second IP family, if the lab has two.
    pub second: Option<SecondNetwork>,
    /// How pods of different nodes reach each other.
    pub mode: PodNetwork,
    /// The largest packet that passes between nodes, in bytes.
    pub mtu: u16,
    /// The mode of kube-proxy.
    pub proxy: ProxyMode,
}

/// The networks of a lab's second IP family. The `kubernetes` and `kube-dns` Services have
/// addresses of the first one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SecondNetwork {
    /// The whole pod network.
    pub pods: IpNet,
    /// Prefix length of one worker's part.
    pub node_prefix: u8,
    /// The range of ClusterIPs.
    pub services: IpNet,
}

/// The networks of one IP family, for what is done in each of them alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NetworkOfFamily {
    /// Whether this is IPv6.
    pub ipv6: bool,
    /// Whether this is the second family of the lab.
    pub second: bool,
    /// The whole pod network.
    pub pods: IpNet,
    /// Prefix length of one worker's part.
    pub node_prefix: u8,
    /// The range of ClusterIPs.
    pub services: IpNet,
}

/// What a VXLAN adds to a packet, in bytes: headers of IPv4 (20), UDP (8), VXLAN (8) and Ethernet
/// (14).
const VXLAN_OVERHEAD: u16 = 50;
/// The largest packet of an Ethernet, in bytes, unless somebody has set another.
pub const ETHERNET_MTU: u16 = 1500;

impl Network {
    /// Returns the networks of each IP family, the first family first.
    pub fn families(&self) -> Vec<NetworkOfFamily> {
        let Self { pods, node_prefix, services, .. } = *self;
        let first = SecondNetwork { pods, node_prefix, services };
        let all = std::iter::once((false, first)).chain(self.second.map(|it| (true, it)));
        all.map(|(second, it)| NetworkOfFamily {
            ipv6: network::family(it.pods) == IpFamily::Ipv6,
            second,
            pods: it.pods,
            node_prefix: it.node_prefix,
            services: it.services,
        })
        .collect()
    }

    /// Returns what the settings imply.
    pub fn capabilities(&self) -> Capabilities {
        let families = self.families();
        Capabilities {
            ipv4: families.iter().any(|it| !it.ipv6),
            ipv6: families.iter().any(|it| it.ipv6),
            dual_stack: families.len() > 1,
            families,
            bridge: self.mode != PodNetwork::None,
            routes: self.mode == PodNetwork::Routes,
            vxlan: self.mode == PodNetwork::Vxlan,
            allocates_node_cidrs: self.mode == PodNetwork::None,
            nftables: self.proxy == ProxyMode::Nftables,
            pod_mtu: match self.mode {
                PodNetwork::Vxlan => self.mtu - VXLAN_OVERHEAD,
                PodNetwork::Routes | PodNetwork::None => self.mtu,
            },
        }
    }
}

/// Capabilities of a network, for conditions in playbooks and templates, so that those need no
/// change for a new mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Pods and Services have IPv4 addresses.
    pub ipv4: bool,
    /// Pods and Services have IPv6 addresses.
    pub ipv6: bool,
    /// They have both.
    pub dual_stack: bool,
    /// The networks of each IP family.
    pub families: Vec<NetworkOfFamily>,
    /// labctl connects the pods of each worker by a bridge; otherwise an add-on connects all pods.
    pub bridge: bool,
    /// Nodes reach each other's pods by plain routes.
    pub routes: bool,
    /// Nodes reach each other's pods through a VXLAN.
    pub vxlan: bool,
    /// kube-controller-manager allocates each Node's pod CIDR.
    pub allocates_node_cidrs: bool,
    /// kube-proxy programs nftables.
    pub nftables: bool,
    /// The largest packet that pods send, in bytes: the network's, without what a tunnel adds.
    pub pod_mtu: u16,
}

/// How pods of different nodes reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PodNetwork {
    /// Plain routes to the other workers' pod CIDRs; nodes must share a layer 2 network.
    Routes,
    /// A VXLAN device with static peers; nodes need only reach each other by IP.
    Vxlan,
    /// Nothing; an add-on connects the pods.
    None,
}

/// The mode of kube-proxy.
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
    /// The host in kubeconfigs: a load balancer's address, or the name or address in the inventory.
    pub host: String,
    /// The port in kubeconfigs, and the one the load balancer listens on.
    pub port: u16,
    /// The name of the load balancer node behind `host`, if it is one of the lab's nodes.
    pub loadbalancer: Option<String>,
    /// The port every API server listens on: 6443.
    pub server_port: u16,
    /// Additional names and addresses of the API, for its certificate.
    pub names: Vec<String>,
}

/// Algorithm and validity of certificates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PkiPolicy {
    /// Key algorithm of all certificates.
    pub algorithm: KeyAlgorithm,
    /// Validity of CA certificates in days.
    pub ca_days: u32,
    /// Validity of all other certificates in days.
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

/// The nodes that labctl creates on the workstation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LocalNodes {
    /// The network of their bridge.
    pub subnet: IpNet,
    /// The bridge's own address on the host: the first of `subnet`.
    pub gateway: IpAddr,
    /// The bridge's network of the second IP family, if the lab has two.
    pub second: Option<SecondSubnet>,
    /// Packages of the distribution that they have beside what every local node has, sorted.
    pub packages: Vec<String>,
}

/// The network of the second IP family that local nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondSubnet {
    /// The network of their bridge.
    pub subnet: IpNet,
    /// The bridge's own address on the host: the first of `subnet`.
    pub gateway: IpAddr,
}

impl LocalNodes {
    /// Returns each network of the bridge, with the bridge's own address in it.
    pub fn subnets(&self) -> impl Iterator<Item = (IpNet, IpAddr)> + use<> {
        let second = self.second.map(|it| (it.subnet, it.gateway));
        [(self.subnet, self.gateway)].into_iter().chain(second)
    }

    /// Returns, for each network of the bridge, the address for one more node: the first that is
    /// not `taken` after those of its `peers`, else the first at all; `None` if all are taken.
    pub fn next_addresses(
        &self,
        peers: &[IpAddr],
        taken: &[IpAddr],
    ) -> Vec<(IpNet, Option<IpAddr>)> {
        let next = |(subnet, gateway): (IpNet, IpAddr)| {
            let is_free = |address: &IpAddr| {
                let is_last = address.is_ipv4() && *address == subnet.broadcast();
                let is_own = [gateway, subnet.network()].contains(address) || is_last;
                !is_own && !peers.contains(address) && !taken.contains(address)
            };
            let highest = peers.iter().filter(|it| subnet.contains(*it)).max().copied();
            let counted = |first| (1..).map_while(move |n| count_on(first, n));
            let after = counted(highest.unwrap_or(gateway)).take_while(|it| subnet.contains(it));
            let anywhere = counted(subnet.network()).take_while(|it| subnet.contains(it));
            (subnet, after.chain(anywhere).find(is_free))
        };
        self.subnets().map(next).collect()
    }
}

/// Reads the inventory at `path` and resolves the cluster. All commands use this function. The
/// problems that are returned with a cluster are warnings.
///
/// # Errors
/// Returns everything that is wrong with the file, in file order, each with line and remedy.
pub fn open(path: &Path) -> Result<(Cluster, Vec<Problem>), Vec<Problem>> {
    let inventory = load::load(path).map_err(|problem| vec![problem])?;
    resolve::resolve(&inventory)
}

/// Like [`open`], with variables from `lookup`.
///
/// # Errors
/// Same as [`open`].
pub fn open_as(path: &Path, lookup: Lookup<'_>) -> Result<(Cluster, Vec<Problem>), Vec<Problem>> {
    let inventory = load::load_as(path, lookup).map_err(|problem| vec![problem])?;
    resolve::resolve(&inventory)
}

/// Like [`open`], as if the file at `path` contained `text`.
///
/// # Errors
/// Same as [`open`].
pub fn open_with(path: &Path, text: &str) -> Result<(Cluster, Vec<Problem>), Vec<Problem>> {
    let inventory = load::load_with(path, text.as_bytes()).map_err(|problem| vec![problem])?;
    resolve::resolve(&inventory)
}

impl Cluster {
    /// Returns the nodes that have `role`, in inventory order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.has(role))
    }

    /// Returns the node called `name`.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The same lab with this knowledge of its machines; of others, with what it has.
    pub fn knowing(&self, machines: &Machines) -> Self {
        let mut cluster = self.clone();
        for node in &mut cluster.nodes {
            if let Some(machine) = machines.get(&node.name) {
                node.facts.clone_from(machine);
            }
        }
        cluster
    }

    /// How etcd begins, as far as is known of the controllers.
    pub fn founding(&self) -> Founding {
        Founding::of(self.with_role(Role::Controller).map(|node| {
            let address = node.address.to_string();
            let url = format!("https://{}:2380", names::in_url(&address));
            (format!("{}={url}", node.name), &node.facts.etcd)
        }))
    }

    /// Returns the API's URL, `https://host:port`, as in kubeconfigs.
    pub fn api_url(&self) -> String {
        format!("https://{}:{}", names::in_url(&self.api.host), self.api.port)
    }
}

impl Node {
    /// Returns its address of each IP family that it has one of, the lab's first family first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        [self.address].into_iter().chain(self.second_address)
    }

    /// Returns its parts of the pod networks, the lab's first IP family first.
    pub fn pod_cidrs(&self) -> impl Iterator<Item = IpNet> + use<> {
        self.pod_cidr.into_iter().chain(self.second_pod_cidr)
    }

    /// Whether the node has `role`.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Controller, Role::Worker, Role::Loadbalancer, Role::Client];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_local_node_has_the_next_address_that_is_free() {
        let text = "name: t\nkubernetes: \"1.34.4\"\nlocal: { subnet: 192.0.2.0/29 }\nnodes:\n  \
            - { name: a, address: 192.0.2.3, roles: [controller, worker] }\n";
        let folder = tempfile::tempdir().expect("a directory");
        let (cluster, _) = open_with(&folder.path().join("t.yaml"), text).expect("an inventory");
        let local = cluster.local.as_ref().expect("local nodes");
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let next = |peers: &[IpAddr], taken: &[IpAddr]| local.next_addresses(peers, taken)[0].1;
        let mut peers = vec![address(3)];
        assert_eq!(next(&peers, &[]), Some(address(4)));
        assert_eq!(next(&peers, &[address(4), address(6)]), Some(address(5)));
        assert_eq!(next(&[], &peers), Some(address(2)), "the first of its kind");
        // .0 is the network, .1 the bridge, .7 everybody: after .6 comes .2.
        for right in [4, 5, 6, 2] {
            let found = next(&peers, &[]).expect("a free one");
            assert_eq!(found, address(right));
            peers.push(found);
        }
        assert_eq!(next(&peers, &[]), None);
    }
}
