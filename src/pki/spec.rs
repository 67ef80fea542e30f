//! The certificates that a cluster needs, and their contents: identities, names, addresses, usages,
//! validity.
//!
//! Pure: from a [`Cluster`] to a list. The layout is kubeadm's
//! (<https://kubernetes.io/docs/setup/best-practices/certificates/>), and the identities are those
//! that the API server requires: the Node authorizer recognises a kubelet only as
//! `system:node:NAME` in `system:nodes`
//! (<https://kubernetes.io/docs/reference/access-authn-authz/node/>), and RBAC's default bindings
//! are for `system:kube-controller-manager`, `system:kube-scheduler`, `system:node-proxier` and
//! `system:masters` (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>).

use std::net::{IpAddr, Ipv4Addr};

use time::Duration;

pub use super::list::{CA, ETCD_CA, FRONT_PROXY_CA, Usage};
use super::list::{CERTIFICATES, CertEntry, CertNames};
use crate::cluster::{Cluster, KeyAlgorithm, Node, Role};

/// One certificate that a cluster needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertSpec {
    /// Path in the lab's pki directory, without extension: `apiserver`, `nodes/worker-0/kubelet`.
    pub name: String,
    /// Name of the CA that signs it; `None` for a CA, which signs itself.
    pub issuer: Option<&'static str>,
    /// Common name of the subject: for the API server, the client's user name.
    pub common_name: String,
    /// Organization of the subject: for the API server, the client's group.
    pub organization: Option<String>,
    /// DNS names among the subject alternative names, without duplicates.
    pub dns_names: Vec<String>,
    /// Addresses among the subject alternative names, without duplicates.
    pub ip_addresses: Vec<IpAddr>,
    /// Extended key usages, sorted; empty for a CA.
    pub usages: Vec<Usage>,
    /// The algorithm of its key.
    pub algorithm: KeyAlgorithm,
    /// Its validity, limited by that of its CA.
    pub life: Duration,
}

impl CertSpec {
    /// Whether this is a CA.
    pub fn is_ca(&self) -> bool {
        self.issuer.is_none()
    }

    /// Returns the certificate's file name in the pki directory.
    pub fn certificate_file(&self) -> String {
        format!("{}.crt", self.name)
    }

    /// Returns the private key's file name in the pki directory.
    pub fn key_file(&self) -> String {
        format!("{}.key", self.name)
    }

    /// Returns the node that it belongs to; `None` if all nodes of a role share it.
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix("nodes/")?.split_once('/').map(|(node, _)| node)
    }

    /// Returns its usual name, whichever node it is for: `apiserver`, `kubelet`, `etcd/server`.
    pub fn kind(&self) -> &str {
        let own = self.name.strip_prefix("nodes/").and_then(|rest| rest.split_once('/'));
        own.map_or(&self.name, |(_, kind)| kind)
    }

    /// Returns the client certificate of an API user, optionally in a group.
    pub fn user(cluster: &Cluster, user: &str, group: Option<&str>, life: Duration) -> Self {
        Self {
            name: user.to_owned(),
            issuer: Some(CA),
            common_name: user.to_owned(),
            organization: group.map(str::to_owned),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            usages: vec![Usage::Client],
            algorithm: cluster.pki.algorithm,
            life,
        }
    }
}

/// Returns every certificate that `cluster` needs, in a stable order: the CAs, what all nodes
/// share, then node by node.
///
/// A CA comes before everything that it signs.
pub fn specs(cluster: &Cluster) -> Vec<CertSpec> {
    let (own, shared): (Vec<&CertEntry>, Vec<&CertEntry>) =
        CERTIFICATES.iter().partition(|entry| entry.is_per_node());
    let mut specs: Vec<CertSpec> = shared.iter().map(|entry| entry.spec(cluster, None)).collect();
    for node in &cluster.nodes {
        specs.extend(
            own.iter()
                .filter(|entry| entry.is_on(node))
                .map(|entry| entry.spec(cluster, Some(node))),
        );
    }
    specs
}

impl CertEntry {
    /// Returns the certificate of this entry: the shared one, or the node's own.
    fn spec(&self, cluster: &Cluster, node: Option<&Node>) -> CertSpec {
        let names = match (self.names, node) {
            (CertNames::None, _) => AlternativeNames::default(),
            (CertNames::Api, _) => apiserver_names(cluster),
            (CertNames::Node, node) => node.map(kubelet_names).unwrap_or_default(),
            (CertNames::NodeAndLoopback, node) => node.map(etcd_names).unwrap_or_default(),
        };
        let days = if self.issuer.is_none() { cluster.pki.ca_days } else { cluster.pki.leaf_days };
        CertSpec {
            name: self.in_lab(node),
            issuer: self.issuer,
            common_name: self.user_of(node),
            organization: self.organization.map(str::to_owned),
            dns_names: names.dns,
            ip_addresses: names.ip,
            usages: self.usages.to_vec(),
            algorithm: cluster.pki.algorithm,
            life: Duration::days(days.into()),
        }
    }
}

/// Subject alternative names under construction: keeps the order, drops duplicates.
#[derive(Default)]
struct AlternativeNames {
    dns: Vec<String>,
    ip: Vec<IpAddr>,
}

impl AlternativeNames {
    fn dns(&mut self, name: &str) {
        if !self.dns.iter().any(|known| known == name) {
            self.dns.push(name.to_owned());
        }
    }

    fn ip(&mut self, address: impl Into<IpAddr>) {
        let address = address.into();
        if !self.ip.contains(&address) {
            self.ip.push(address);
        }
    }

    /// Adds a host that may be a name or an address.
    fn host(&mut self, host: &str) {
        match host.parse::<IpAddr>() {
            Ok(address) => self.ip(address),
            Err(_) => self.dns(host),
        }
    }

    fn node(&mut self, node: &Node) {
        self.dns(&node.name);
        node.addresses().for_each(|address| self.ip(address));
    }

    fn loopback(&mut self) {
        self.dns("localhost");
        self.ip(Ipv4Addr::LOCALHOST);
    }
}

/// Returns every name of an API server: for pods, nodes, the load balancer and itself.
fn apiserver_names(cluster: &Cluster) -> AlternativeNames {
    let mut names = AlternativeNames::default();
    names.dns("kubernetes");
    names.dns("kubernetes.default");
    names.dns("kubernetes.default.svc");
    names.dns(&format!("kubernetes.default.svc.{}", cluster.domain));
    names.ip(cluster.network.kubernetes_service);
    names.loopback();
    for node in &cluster.nodes {
        if node.has(Role::Controller) || node.has(Role::Loadbalancer) {
            names.node(node);
        }
    }
    names.host(&cluster.api.host);
    for name in &cluster.api.names {
        names.host(name);
    }
    names
}

fn etcd_names(node: &Node) -> AlternativeNames {
    let mut names = AlternativeNames::default();
    names.node(node);
    names.loopback();
    names
}

/// Returns the kubelet's names. `kubectl logs` and `exec` need the address, because API servers
/// prefer it over the name.
fn kubelet_names(node: &Node) -> AlternativeNames {
    let mut names = AlternativeNames::default();
    names.node(node);
    names
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pki::fixture;

    fn spec<'a>(specs: &'a [CertSpec], name: &str) -> &'a CertSpec {
        specs
            .iter()
            .find(|spec| spec.name == name)
            .unwrap_or_else(|| panic!("no certificate called {name}"))
    }

    #[test]
    fn a_lab_has_every_certificate_once_and_each_ca_before_what_it_signs() {
        let specs = specs(&fixture::cluster());
        let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "ca",
                "etcd/ca",
                "front-proxy-ca",
                "apiserver",
                "apiserver-kubelet-client",
                "apiserver-etcd-client",
                "etcd/healthcheck-client",
                "front-proxy-client",
                "controller-manager",
                "scheduler",
                "kube-proxy",
                "admin",
                "nodes/controller-0/etcd/server",
                "nodes/controller-0/etcd/peer",
                "nodes/worker-0/kubelet",
            ]
        );
    }

    #[test]
    fn the_api_server_certificate_has_all_names() {
        let mut cluster = fixture::cluster();
        cluster.domain = "lab.example".to_owned();
        cluster.api.host = "api.example.org".to_owned();
        let specs = specs(&cluster);
        let apiserver = spec(&specs, "apiserver");
        assert_eq!(
            apiserver.dns_names,
            [
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.lab.example",
                "localhost",
                "lb-0",
                "controller-0",
                "api.example.org",
            ]
        );
        let addresses: Vec<_> = apiserver.ip_addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.32.0.1", "127.0.0.1", "10.240.0.5", "10.240.0.10"]);
    }

    #[test]
    fn a_node_of_both_ip_families_has_both_addresses_in_its_certificates() {
        let mut cluster = fixture::cluster();
        for (number, node) in cluster.nodes.iter_mut().enumerate() {
            node.second_address = format!("fd00:240::{number}").parse().ok();
        }
        let specs = specs(&cluster);
        let addresses = |name: &str| -> Vec<String> {
            spec(&specs, name).ip_addresses.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            addresses("apiserver"),
            ["10.32.0.1", "127.0.0.1", "10.240.0.5", "fd00:240::", "10.240.0.10", "fd00:240::1"]
        );
        assert_eq!(addresses("nodes/worker-0/kubelet"), ["10.240.0.20", "fd00:240::2"]);
    }

    #[test]
    fn an_endpoint_that_is_a_known_address_is_not_listed_twice() {
        let specs = specs(&fixture::cluster());
        for spec in &specs {
            let names: BTreeSet<_> = spec.dns_names.iter().collect();
            let addresses: BTreeSet<_> = spec.ip_addresses.iter().collect();
            assert_eq!(names.len(), spec.dns_names.len(), "{}: a name stands twice", spec.name);
            assert_eq!(
                addresses.len(),
                spec.ip_addresses.len(),
                "{}: an address stands twice",
                spec.name
            );
        }
    }

    #[test]
    fn a_kubelet_has_the_identity_for_the_node_authorizer() {
        let specs = specs(&fixture::cluster());
        let kubelet = spec(&specs, "nodes/worker-0/kubelet");
        assert_eq!(kubelet.common_name, "system:node:worker-0");
        assert_eq!(kubelet.organization.as_deref(), Some("system:nodes"));
        assert_eq!(kubelet.dns_names, ["worker-0"]);
        assert_eq!(kubelet.ip_addresses, [IpAddr::from([10, 240, 0, 20])]);
        assert_eq!(kubelet.usages, [Usage::Server, Usage::Client]);
    }

    #[test]
    fn one_node_with_all_roles_has_the_certificates_of_all_roles() {
        let mut cluster = fixture::cluster();
        cluster.nodes.retain(|node| node.name == "controller-0");
        cluster.nodes[0].roles =
            vec![Role::Controller, Role::Worker, Role::Loadbalancer, Role::Client];
        let specs = specs(&cluster);
        for name in [
            "nodes/controller-0/etcd/server",
            "nodes/controller-0/etcd/peer",
            "nodes/controller-0/kubelet",
            "apiserver",
        ] {
            spec(&specs, name);
        }
    }

    #[test]
    fn only_etcds_own_ca_signs_for_etcd() {
        for spec in specs(&fixture::cluster()).iter().filter(|spec| !spec.is_ca()) {
            let about_etcd = spec.name.contains("etcd");
            assert_eq!(spec.issuer == Some(ETCD_CA), about_etcd, "{}", spec.name);
        }
    }
}
