//! The only list of a lab's certificates, one entry each. It determines what is issued
//! ([`spec`](super::spec)), which files each node gets, what `certs list` looks for, which
//! kubeconfigs there are, and what `recover` reads back.

use crate::cluster::{Node, Role};

/// Name of the CA that clients, API servers and kubelets trust.
pub const CA: &str = "ca";
/// Name of the CA of etcd members and their clients. It is separate so that no API client can reach
/// etcd.
pub const ETCD_CA: &str = "etcd/ca";
/// Name of the CA for the aggregation layer's proxy client. It is separate because its certificates
/// can impersonate any user.
pub const FRONT_PROXY_CA: &str = "front-proxy-ca";

/// What a certificate may be used for (extended key usage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// TLS server authentication.
    Server,
    /// TLS client authentication.
    Client,
}

/// The key that encrypts Secrets in etcd: base64 text.
pub const ENCRYPTION_KEY: &str = "encryption.key";
/// The key that signs service account tokens; the same on every controller.
pub const SERVICE_ACCOUNT_KEY: &str = "sa.key";
/// Its public half, with which API servers verify tokens.
pub const SERVICE_ACCOUNT_PUBLIC_KEY: &str = "sa.pub";
/// Only the CA's current certificate: kube-controller-manager signs with it and accepts only one.
pub const SIGNER: &str = "ca-signer.crt";

/// The user that etcd runs as. Its members' keys are this user's, and no other file is.
pub const ETCD_USER: &str = "etcd";
/// The user that all other files belong to.
pub const ROOT: &str = "root";

/// The directory of kubeconfigs on a node; certificates are in its subdirectory.
const KUBERNETES: &str = "/etc/kubernetes";

const CONTROLLERS: &[Role] = &[Role::Controller];
const WORKERS: &[Role] = &[Role::Worker];
const CLUSTER: &[Role] = &[Role::Controller, Role::Worker];
const ADMINISTRATORS: &[Role] = &[Role::Controller, Role::Client];

/// Every certificate of a lab. A CA comes before everything that it signs; nodes get their files in
/// this order.
pub const CERTIFICATES: &[CertEntry] = &[
    CertEntry::ca(CA, "kubernetes").on(CLUSTER).key_on(CONTROLLERS),
    CertEntry::ca(ETCD_CA, "etcd-ca").on(CONTROLLERS),
    CertEntry::ca(FRONT_PROXY_CA, "front-proxy-ca").on(CONTROLLERS),
    CertEntry::leaf("apiserver", CA, "kube-apiserver")
        .on(CONTROLLERS)
        .used_as(&[Usage::Server])
        .reached_at(CertNames::Api),
    CertEntry::leaf("apiserver-kubelet-client", CA, "kube-apiserver-kubelet-client")
        .on(CONTROLLERS),
    CertEntry::leaf("apiserver-etcd-client", ETCD_CA, "kube-apiserver-etcd-client").on(CONTROLLERS),
    // kubeadm's name for etcdctl's identity on a controller.
    CertEntry::leaf("etcd/healthcheck-client", ETCD_CA, "kube-etcd-healthcheck-client")
        .on(CONTROLLERS),
    CertEntry::leaf("front-proxy-client", FRONT_PROXY_CA, "front-proxy-client").on(CONTROLLERS),
    // These two use the API server on the same node, so that a controller depends neither on the
    // load balancer nor on other controllers.
    CertEntry::user("controller-manager", "system:kube-controller-manager", Server::Beside)
        .on(CONTROLLERS),
    CertEntry::user("scheduler", "system:kube-scheduler", Server::Beside).on(CONTROLLERS),
    CertEntry::user("kube-proxy", "system:kube-proxy", Server::Endpoint)
        .in_group("system:node-proxier")
        .on(WORKERS),
    CertEntry::user("admin", "admin", Server::Endpoint)
        .in_group("system:masters")
        .on(ADMINISTRATORS),
    // An etcd member is a client of itself (the gRPC gateway) and of its peers.
    CertEntry::leaf("etcd/server", ETCD_CA, "{node}")
        .on(CONTROLLERS)
        .read_by(ETCD_USER)
        .used_as(&[Usage::Server, Usage::Client])
        .reached_at(CertNames::NodeAndLoopback),
    CertEntry::leaf("etcd/peer", ETCD_CA, "{node}")
        .on(CONTROLLERS)
        .read_by(ETCD_USER)
        .used_as(&[Usage::Server, Usage::Client])
        .reached_at(CertNames::NodeAndLoopback),
    // Client of the API server, and server of logs, exec and metrics.
    CertEntry::leaf("kubelet", CA, "system:node:{node}")
        .in_group("system:nodes")
        .on(WORKERS)
        .used_as(&[Usage::Server, Usage::Client])
        .reached_at(CertNames::Node)
        .with_kubeconfig(Server::Endpoint),
];

/// Files other than certificates and their keys: name, roles, and an explanation.
const OTHERS: &[(&str, &[Role], Option<&str>)] = &[
    (
        SIGNER,
        CONTROLLERS,
        Some(
            "While the CA is being replaced, ca.crt holds two; kube-controller-manager signs with \
            one and takes no second.",
        ),
    ),
    (SERVICE_ACCOUNT_PUBLIC_KEY, CONTROLLERS, None),
    (SERVICE_ACCOUNT_KEY, CONTROLLERS, None),
];

/// One certificate of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertEntry {
    /// Its usual name, and the name of its file on nodes without extension.
    pub name: &'static str,
    /// Name of the CA that signs it; `None` for a CA.
    pub issuer: Option<&'static str>,
    /// Common name of the subject; with `{node}` in it, each node has its own certificate.
    common_name: &'static str,
    /// Organization of the subject.
    pub organization: Option<&'static str>,
    /// Extended key usages, sorted.
    pub usages: &'static [Usage],
    /// Its subject alternative names.
    pub names: CertNames,
    /// The roles of the nodes that get it.
    on: &'static [Role],
    /// The roles of the nodes that get its key.
    key_on: &'static [Role],
    /// The user that its key belongs to on nodes: who reads it, apart from root.
    owner: &'static str,
    /// Whether nodes have it as a file, with its key in another one.
    is_file: bool,
    /// The server in its kubeconfig, if it has one.
    pub kubeconfig: Option<Server>,
}

/// The names and addresses in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertNames {
    /// None: it is only used by a client.
    None,
    /// All names of an API server.
    Api,
    /// The node's.
    Node,
    /// The node's and the loopback address.
    NodeAndLoopback,
}

/// The API server in a kubeconfig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The lab's endpoint.
    Endpoint,
    /// The one on the same node.
    Beside,
}

impl CertEntry {
    const fn leaf(name: &'static str, issuer: &'static str, common_name: &'static str) -> Self {
        Self {
            name,
            issuer: Some(issuer),
            common_name,
            organization: None,
            usages: &[Usage::Client],
            names: CertNames::None,
            on: &[],
            key_on: &[],
            owner: ROOT,
            is_file: true,
            kubeconfig: None,
        }
    }

    const fn ca(name: &'static str, common_name: &'static str) -> Self {
        Self { issuer: None, usages: &[], ..Self::leaf(name, name, common_name) }
    }

    /// Returns the entry of an API user that only has a kubeconfig.
    const fn user(name: &'static str, user: &'static str, server: Server) -> Self {
        Self { is_file: false, kubeconfig: Some(server), ..Self::leaf(name, CA, user) }
    }

    const fn on(self, roles: &'static [Role]) -> Self {
        Self { on: roles, key_on: roles, ..self }
    }

    const fn key_on(self, roles: &'static [Role]) -> Self {
        Self { key_on: roles, ..self }
    }

    const fn read_by(self, owner: &'static str) -> Self {
        Self { owner, ..self }
    }

    const fn in_group(self, organization: &'static str) -> Self {
        Self { organization: Some(organization), ..self }
    }

    const fn used_as(self, usages: &'static [Usage]) -> Self {
        Self { usages, ..self }
    }

    const fn reached_at(self, names: CertNames) -> Self {
        Self { names, ..self }
    }

    const fn with_kubeconfig(self, server: Server) -> Self {
        Self { kubeconfig: Some(server), ..self }
    }

    /// Whether each node has its own certificate.
    pub fn is_per_node(&self) -> bool {
        self.common_name.contains("{node}")
    }

    /// Whether `node` has it.
    pub fn is_on(&self, node: &Node) -> bool {
        has_any(node, self.on)
    }

    /// Whether all controllers have the same one, as a file or in a kubeconfig.
    pub fn is_shared_by_controllers(&self) -> bool {
        !self.is_per_node() && self.on.contains(&Role::Controller)
    }

    /// Whether it is a file on nodes, with its key in another one.
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// Returns its name in the lab directory, below `pki`, without extension.
    pub fn in_lab(&self, node: Option<&Node>) -> String {
        match node.filter(|_| self.is_per_node()) {
            Some(node) => format!("nodes/{}/{}", node.name, self.name),
            None => self.name.to_owned(),
        }
    }

    /// Returns the common name of its subject, which is the user for an API server.
    pub fn user_of(&self, node: Option<&Node>) -> String {
        self.common_name.replace("{node}", node.map_or("", |node| &node.name))
    }

    /// Returns the paths of the certificate and its key on a node.
    pub fn pair(&self) -> [String; 2] {
        [format!("{}.crt", self.name), format!("{}.key", self.name)].map(|name| on_node(&name))
    }

    /// Returns the path of its kubeconfig on a node.
    pub fn kubeconfig_path(&self) -> String {
        format!("{KUBERNETES}/{}.conf", self.name)
    }
}

fn has_any(node: &Node, roles: &[Role]) -> bool {
    roles.iter().any(|role| node.has(*role))
}

/// Returns the path on a node of a file in the lab's `pki` directory that all nodes share.
pub fn on_node(name: &str) -> String {
    format!("{KUBERNETES}/pki/{name}")
}

/// A file for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name in playbooks: `pki/NAME` or `kubeconfig/NAME`.
    pub from: String,
    /// Its path on the node.
    pub to: String,
    /// Whether it contains a private key.
    pub is_private: bool,
    /// The user that it belongs to, and the name of the group.
    pub owner: &'static str,
    /// Why it is there, if that is not obvious.
    pub why: Option<&'static str>,
}

/// Returns every file with a certificate or a key for `node`.
pub fn files_of(node: &Node) -> Vec<Placed> {
    let mut files = Vec::new();
    let mut add = |from: String, to: String, is_private, owner, why| {
        files.push(Placed { from, to, is_private, owner, why })
    };
    for entry in CERTIFICATES {
        let in_lab = entry.in_lab(Some(node));
        let [certificate, key] = entry.pair();
        if entry.is_file && entry.is_on(node) {
            add(format!("pki/{in_lab}.crt"), certificate, false, ROOT, None);
        }
        if entry.is_file && has_any(node, entry.key_on) {
            add(format!("pki/{in_lab}.key"), key, true, entry.owner, None);
        }
        if entry.kubeconfig.is_some() && entry.is_on(node) {
            add(format!("kubeconfig/{in_lab}.conf"), entry.kubeconfig_path(), true, ROOT, None);
        }
    }
    for (name, roles, why) in OTHERS {
        if has_any(node, roles) {
            add(format!("pki/{name}"), on_node(name), name.ends_with(".key"), ROOT, *why);
        }
    }
    files
}

/// Returns the directories of these files, parents first.
pub fn directories_of(files: &[Placed]) -> Vec<String> {
    let mut all = std::collections::BTreeSet::new();
    for file in files {
        for (end, _) in file.to.match_indices('/').skip(2) {
            all.insert(file.to[..end].to_owned());
        }
    }
    all.into_iter().collect()
}

/// Returns the paths of all files that contain certificates on any node of a lab.
pub fn paths_of_certificates() -> Vec<String> {
    let files =
        CERTIFICATES.iter().filter(|entry| entry.is_file).map(|entry| entry.pair()[0].clone());
    let kubeconfigs = CERTIFICATES
        .iter()
        .filter(|entry| entry.kubeconfig.is_some())
        .map(CertEntry::kubeconfig_path);
    files.chain([on_node(SIGNER)]).chain(kubeconfigs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::fixture;

    fn files(name: &str) -> Vec<String> {
        let cluster = fixture::cluster();
        files_of(cluster.node(name).expect("a node")).into_iter().map(|file| file.to).collect()
    }

    #[test]
    fn a_node_gets_what_it_needs_and_nothing_more() {
        let worker = [
            "/etc/kubernetes/pki/ca.crt",
            "/etc/kubernetes/kube-proxy.conf",
            "/etc/kubernetes/pki/kubelet.crt",
            "/etc/kubernetes/pki/kubelet.key",
            "/etc/kubernetes/kubelet.conf",
        ];
        assert_eq!(files("worker-0"), worker);
        assert_eq!(files("lb-0"), [""; 0]);
        assert_eq!(files("controller-0").len(), 26);
        for entry in CERTIFICATES.iter().filter(|entry| entry.issuer.is_none()) {
            assert_eq!(
                entry.key_on, CONTROLLERS,
                "only controllers hold the key of {}",
                entry.name
            );
        }
    }

    #[test]
    fn only_the_keys_of_a_member_belong_to_etcd() {
        let cluster = fixture::cluster();
        let files = files_of(cluster.node("controller-0").expect("a node"));
        let etcds: Vec<&str> =
            files.iter().filter(|file| file.owner != ROOT).map(|file| file.to.as_str()).collect();
        let keys = ["/etc/kubernetes/pki/etcd/server.key", "/etc/kubernetes/pki/etcd/peer.key"];
        assert_eq!(etcds, keys);
    }

    #[test]
    fn what_is_said_of_authorities_elsewhere_is_said_of_all_of_them() {
        let authorities: Vec<&str> = CERTIFICATES
            .iter()
            .filter(|entry| entry.issuer.is_none())
            .map(|entry| entry.name)
            .collect();
        assert_eq!(authorities, crate::pki::rotation::AUTHORITIES);
    }

    #[test]
    fn keys_are_private_and_directories_come_before_what_is_in_them() {
        let cluster = fixture::cluster();
        let files = files_of(cluster.node("controller-0").expect("a node"));
        for file in &files {
            assert_eq!(
                file.is_private,
                file.to.ends_with(".key") || file.to.ends_with(".conf"),
                "{file:?}"
            );
        }
        let expected = ["/etc/kubernetes", "/etc/kubernetes/pki", "/etc/kubernetes/pki/etcd"];
        assert_eq!(directories_of(&files), expected);
    }
}
