//! A small lab for the unit tests in this directory, built without an inventory.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::IpNet;
use time::OffsetDateTime;

use crate::cluster::{
    Api, Cluster, KeyAlgorithm, Network, Node, PkiPolicy, PodNetwork, ProxyMode, Role, Ssh, Version,
};

/// Returns a load balancer, a controller and a worker; P-256, ten years and one year.
pub(crate) fn cluster() -> Cluster {
    let net = |text: &str| text.parse::<IpNet>().expect("a CIDR");
    Cluster {
        name: "sandbox".to_owned(),
        kubernetes: Version { major: 1, minor: 34, patch: 2 },
        domain: "cluster.local".to_owned(),
        nodes: vec![
            node("lb-0", 5, Role::Loadbalancer),
            node("controller-0", 10, Role::Controller),
            node("worker-0", 20, Role::Worker),
        ],
        network: Network {
            pods: net("10.200.0.0/16"),
            node_prefix: 24,
            services: net("10.32.0.0/24"),
            kubernetes_service: Ipv4Addr::new(10, 32, 0, 1).into(),
            dns_service: Ipv4Addr::new(10, 32, 0, 10).into(),
            second: None,
            mode: PodNetwork::Routes,
            mtu: 1500,
            proxy: ProxyMode::Iptables,
        },
        api: Api {
            host: "10.240.0.5".to_owned(),
            port: 6443,
            loadbalancer: Some("lb-0".to_owned()),
            server_port: 6443,
            names: Vec::new(),
        },
        pki: PkiPolicy { algorithm: KeyAlgorithm::EcdsaP256, ca_days: 3650, leaf_days: 365 },
        addons: Vec::new(),
        manifests: Vec::new(),
        components: crate::cluster::SettingsByProgram::default(),
        registries: Vec::new(),
        proxy: None,
        bundle: None,
        playbooks: None,
        templates: None,
        local: None,
        lab_directory: PathBuf::from("/lab"),
    }
}

/// Returns a node at 10.240.0.`host` with one role.
pub(crate) fn node(name: &str, host: u8, role: Role) -> Node {
    let address = Ipv4Addr::new(10, 240, 0, host);
    Node {
        name: name.to_owned(),
        address: address.into(),
        second_address: None,
        roles: vec![role],
        labels: BTreeMap::new(),
        taints: Vec::new(),
        pod_cidr: None,
        second_pod_cidr: None,
        ssh: Ssh::to(address.to_string()),
        facts: Default::default(),
    }
}

/// Returns 1 June 2025, noon: the current time of the unit tests.
pub(crate) fn now() -> OffsetDateTime {
    time::macros::datetime!(2025-06-01 12:00 UTC)
}
