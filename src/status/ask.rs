//! What a node is asked: the values that stand above `src/node/status.sh`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::cluster::{Cluster, Node, PodNetwork, Role, names, network};
use crate::module::quote;
use crate::node::STATUS;
use crate::pki::list;

/// Directories that programs write to. A full or read-only file system under one stops them.
const PLACES: &[&str] = &[
    "/etc/kubernetes",
    "/var/lib/labctl",
    "/var/lib/etcd",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log",
];

/// How many others a node tries to reach: enough that each is tried by several, and few enough in a
/// large lab.
const TRIED: usize = 3;

/// What is read of the API, by its path.
pub const READY: &str = "/readyz";
/// The API server's version.
pub const VERSION: &str = "/version";
/// All Nodes.
pub const NODES: &str = "/api/v1/nodes?limit=500";
/// All pods.
pub const PODS: &str = "/api/v1/pods?limit=500";
/// Cluster DNS.
pub const DNS: &str = "/apis/apps/v1/namespaces/kube-system/deployments/coredns";

/// The units of a node where no playbook says which: those of its roles.
pub fn units_of(node: &Node) -> BTreeSet<String> {
    let programs: &[(&[Role], &str)] = &[
        (&[Role::Controller], "etcd"),
        (&[Role::Controller], "kube-apiserver"),
        (&[Role::Controller], "kube-controller-manager"),
        (&[Role::Controller], "kube-scheduler"),
        (&[Role::Worker], "containerd"),
        (&[Role::Worker], "kubelet"),
        (&[Role::Worker], "kube-proxy"),
        (&[Role::Loadbalancer, Role::Controller], "nginx"),
    ];
    let of_roles = programs.iter().filter(|(roles, _)| roles.iter().any(|role| node.has(*role)));
    of_roles.map(|(_, program)| format!("{program}.service")).collect()
}

/// The script for a node whose units are `units`.
pub fn script(cluster: &Cluster, node: &Node, units: &BTreeSet<String>) -> String {
    let server = format!("https://127.0.0.1:{}", cluster.api.server_port);
    let has_etcd = units.contains("etcd.service");
    let api: Vec<String> = match node.has(Role::Controller) {
        true => [READY, VERSION, NODES, PODS, DNS].map(|path| format!("{server}{path}")).into(),
        false => Vec::new(),
    };
    let has_bridge = cluster.network.mode != PodNetwork::None;
    let of_family = |pods: fn(&Node) -> Option<IpNet>| {
        let own = pods(node).map(first).filter(|_| has_bridge);
        let peers = own.map(|_| peers(cluster, node, pods)).unwrap_or_default();
        (own.map(|own| own.to_string()).into_iter().collect(), peers)
    };
    let (own, its_peers) = of_family(|node| node.pod_cidr);
    let (second_own, second_peers) = of_family(|node| node.second_pod_cidr);
    let values = [
        ("units", units.iter().cloned().collect()),
        ("certificates", list::paths_of_certificates()),
        ("places", PLACES.iter().map(|place| (*place).to_owned()).collect()),
        ("health", health(units)),
        ("paths", paths(cluster, node)),
        ("own", own),
        ("peers", its_peers),
        ("second_own", second_own),
        ("second_peers", second_peers),
        ("api", api),
        ("etcd", has_etcd.then(|| "yes".to_owned()).into_iter().collect()),
    ];
    let line = |(name, words): (&str, Vec<String>)| {
        let words = words.join(" ");
        if words.is_empty() { format!("{name}=\n") } else { format!("{name}={}\n", quote(&words)) }
    };
    values.into_iter().map(line).collect::<String>() + STATUS
}

/// The address of a worker's bridge, which is the gateway of its pods.
pub fn first(pods: IpNet) -> IpAddr {
    network::first_address(pods).unwrap_or_else(|| pods.network())
}

/// Where programs say how they are, on the node itself.
fn health(units: &BTreeSet<String>) -> Vec<String> {
    HEALTH
        .iter()
        .filter(|(unit, _)| units.contains(*unit))
        .map(|(_, url)| (*url).to_owned())
        .collect()
}

/// Units that say how they are, and where.
pub const HEALTH: &[(&str, &str)] = &[
    ("kubelet.service", "http://127.0.0.1:10248/healthz"),
    ("kube-proxy.service", "http://127.0.0.1:10256/healthz"),
    ("kube-controller-manager.service", "https://127.0.0.1:10257/healthz"),
    ("kube-scheduler.service", "https://127.0.0.1:10259/healthz"),
];

/// The API's endpoint, and from controllers and load balancers the API servers beside it.
fn paths(cluster: &Cluster, node: &Node) -> Vec<String> {
    let endpoint = format!("{}{READY}", cluster.api_url());
    let direct = node.has(Role::Controller) || node.has(Role::Loadbalancer);
    let others = if direct { others(cluster, node, Role::Controller) } else { Vec::new() };
    let others = others.into_iter().map(|other| server_url(cluster, other));
    let mut urls: Vec<String> = std::iter::once(endpoint).chain(others).collect();
    urls.dedup();
    urls
}

/// Where the API server of a controller says whether it is ready, from other nodes.
pub fn server_url(cluster: &Cluster, controller: &Node) -> String {
    let address = controller.address.to_string();
    format!("https://{}:{}{READY}", names::in_url(&address), cluster.api.server_port)
}

/// Where workers answer at an address of the pod network.
fn peers(cluster: &Cluster, node: &Node, pods: fn(&Node) -> Option<IpNet>) -> Vec<String> {
    let others = others(cluster, node, Role::Worker).into_iter();
    others.filter_map(|other| pods(other).map(peer_url)).collect()
}

/// Where a worker answers at the gateway of its pods: its kubelet, which refuses plain HTTP.
/// That way only the connection has a bound, which a busy program does not come to.
pub fn peer_url(pods: IpNet) -> String {
    format!("http://{}:10250/", names::in_url(&first(pods).to_string()))
}

/// The next nodes of a role after `node`, in a ring.
fn others<'a>(cluster: &'a Cluster, node: &Node, role: Role) -> Vec<&'a Node> {
    let all: Vec<&Node> = cluster.with_role(role).collect();
    let at = all.iter().position(|it| it.name == node.name);
    let from = at.map_or(0, |at| at + 1);
    let ring = all.iter().cycle().skip(from).take(all.len() - usize::from(at.is_some()));
    ring.take(TRIED).copied().collect()
}
