//! The labs that rendering is tested with, built by hand: one node that is everything, the lab of
//! the guides, and one that is highly available, with a VXLAN, nftables and machines of the user's
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use labctl::cluster::{
    Api, Cluster, KeyAlgorithm, LocalNodes, Network, Node, PkiPolicy, PodNetwork, ProxyMode, Role,
    Ssh, Version,
};
use labctl::render::Artefacts;
use labctl::render::context::{Restore, Upgrading};

/// Two controllers, a load balancer, two workers and a client, on this machine.
pub fn sandbox() -> Cluster {
    let nodes = vec![
        node("lb-0", 5, &[Role::Loadbalancer]),
        node("controller-0", 10, &[Role::Controller]),
        node("controller-1", 11, &[Role::Controller]),
        worker("worker-0", 20, 0, &[("disk", "ssd")]),
        worker("worker-1", 21, 1, &[]),
        node("client-0", 30, &[Role::Client]),
    ];
    lab("sandbox", nodes, "10.240.0.5", 6443)
}

/// One node with every role, on this machine. The load balancer has a port beside the API server's.
pub fn single() -> Cluster {
    let mut node = worker("single", 10, 0, &[]);
    node.roles = vec![Role::Controller, Role::Worker, Role::Loadbalancer, Role::Client];
    lab("single", vec![node], "10.240.0.10", 7443)
}

/// Three controllers, a load balancer and three workers: machines that were there before, joined by
/// a VXLAN, with every add-on.
pub fn ha() -> Cluster {
    let nodes = vec![
        node("lb-0", 5, &[Role::Loadbalancer]),
        node("controller-0", 10, &[Role::Controller]),
        node("controller-1", 11, &[Role::Controller]),
        node("controller-2", 12, &[Role::Controller]),
        worker("worker-0", 20, 0, &[("disk", "ssd"), ("zone", "a")]),
        worker("worker-1", 21, 1, &[]),
        worker("worker-2", 22, 2, &[]),
    ];
    let mut cluster = lab("ha", nodes, "10.240.0.5", 6443);
    cluster.local = None;
    cluster.network.mode = PodNetwork::Vxlan;
    cluster.network.proxy = ProxyMode::Nftables;
    cluster.addons = vec!["metrics-server".to_owned()];
    cluster
}

/// What a bundle of today brings.
pub fn artefacts() -> Artefacts {
    let map = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    Artefacts {
        images: map(&[
            ("pause", "registry.k8s.io/pause:3.10"),
            ("coredns", "registry.k8s.io/coredns/coredns:v1.12.4"),
            ("metrics-server", "registry.k8s.io/metrics-server/metrics-server:v0.8.0"),
        ]),
        versions: map(&[
            ("containerd", "2.2.0"),
            ("etcd", "3.6.5"),
            ("etcdutl", "3.6.5"),
            ("image/pause", "3.10"),
        ]),
        token_key: "bm90IGEga2V5IGVpdGhlcg".to_owned(),
        bootstrap_token: "0123456789abcdef".into(),
        encryption_keys: vec![(
            "key1".into(),
            "bm90IGEgc2VjcmV0LCB1c2VkIGluIHRlc3RzIG9ubHk=".into(),
        )],
        restore: Some(Restore {
            id: "20261121T105500".to_owned(),
            hash: 1,
            revision: 2,
            keys: 3,
            size: 4,
            sha256: "aa".repeat(32),
        }),
        leaving: None,
        addons: Vec::new(),
        imports: BTreeSet::from(["registry.example/pause:1.2.3".to_owned()]),
        upgrading: Some(Upgrading {
            nodes: vec!["worker-0".to_owned(), "worker-1".to_owned()],
            forced: false,
        }),
        limit: Vec::new(),
        registries: BTreeMap::new(),
        files: BTreeMap::new(),
    }
}

fn lab(name: &str, nodes: Vec<Node>, api_host: &str, api_port: u16) -> Cluster {
    let loadbalancer =
        nodes.iter().find(|node| node.has(Role::Loadbalancer)).map(|node| node.name.clone());
    Cluster {
        name: name.to_owned(),
        kubernetes: Version { major: 1, minor: 34, patch: 4 },
        domain: "cluster.local".to_owned(),
        nodes,
        network: Network {
            pods: "10.200.0.0/16".parse().expect("a network"),
            node_prefix: 24,
            services: "10.32.0.0/24".parse().expect("a network"),
            kubernetes_service: Ipv4Addr::new(10, 32, 0, 1).into(),
            dns_service: Ipv4Addr::new(10, 32, 0, 10).into(),
            second: None,
            mode: PodNetwork::Routes,
            mtu: 1500,
            proxy: ProxyMode::Iptables,
        },
        api: Api {
            host: api_host.to_owned(),
            port: api_port,
            loadbalancer,
            server_port: 6443,
            names: Vec::new(),
        },
        pki: PkiPolicy { algorithm: KeyAlgorithm::EcdsaP256, ca_days: 3650, leaf_days: 365 },
        addons: Vec::new(),
        manifests: Vec::new(),
        components: labctl::cluster::SettingsByProgram::default(),
        registries: Vec::new(),
        proxy: None,
        bundle: None,
        playbooks: None,
        templates: None,
        local: Some(LocalNodes {
            subnet: "10.240.0.0/24".parse().expect("a network"),
            gateway: Ipv4Addr::new(10, 240, 0, 1).into(),
            second: None,
            packages: Vec::new(),
        }),
        lab_directory: format!("/labs/.labctl/{name}").into(),
    }
}

fn node(name: &str, last: u8, roles: &[Role]) -> Node {
    let address = Ipv4Addr::new(10, 240, 0, last);
    let ssh = Ssh::to(address.to_string());
    Node {
        name: name.to_owned(),
        address: address.into(),
        second_address: None,
        roles: roles.to_vec(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        pod_cidr: None,
        second_pod_cidr: None,
        facts: labctl::machine::Machine::default(),
        ssh,
    }
}

fn worker(name: &str, last: u8, part: u8, labels: &[(&str, &str)]) -> Node {
    let mut node = node(name, last, &[Role::Worker]);
    node.labels =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    node.pod_cidr = Some(format!("10.200.{part}.0/24").parse().expect("a network"));
    node
}
