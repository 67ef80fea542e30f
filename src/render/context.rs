//! The variables that templates and playbooks can use, as a typed layer over tera's.
//!
//! [`VARIABLES`] lists them with a short description each, which `labctl render` prints. A test
//! compares the list with what [`Context::new`] sets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::cluster::registries::Registry;
use crate::cluster::{Cluster, Node, Role};
use crate::machine::Family;
use crate::secret::Secret;

/// The variables of every template with their descriptions, in the order in which they are printed.
pub const VARIABLES: &[(&str, &str)] = &[
    ("cluster", "the whole lab: name, domain, network, api, pki, ..."),
    (
        "network",
        "the network's capabilities: bridge, routes, vxlan, allocates_node_cidrs, nftables, ipv4, \
        ipv6, dual_stack, each true or false; network.pod_mtu; and network.families, each with \
        ipv6, second, pods, node_prefix, services",
    ),
    ("minor", "the Kubernetes minor release as a number: 34 for 1.34.2"),
    (
        "node",
        "the node that the file is for: name, address, roles, labels, pod_cidr, facts; in a lab \
        of both IP families also second_address and second_pod_cidr",
    ),
    ("os", "what differs between families of systems: os.nginx_user, os.nginx_modules"),
    ("etcd", "how etcd begins: etcd.founds, whether the controllers found it, and etcd.members"),
    ("peer", "the other node, in a task that is repeated with `each:`"),
    ("nodes", "every node of the lab"),
    ("controllers", "the nodes with the role controller"),
    ("workers", "the nodes with the role worker"),
    ("loadbalancers", "the nodes with the role loadbalancer"),
    ("clients", "the nodes with the role client"),
    ("limit", "the names of the nodes to work on: all of them, unless --limit selects some"),
    ("limited_workers", "the workers among the nodes to work on"),
    (
        "leaving",
        "the node that leaves the lab, in the playbook that removes it, with gone and forced",
    ),
    (
        "upgrading",
        "the workers that an upgrade is at, in its playbooks: upgrading.nodes, their names, and \
        upgrading.forced",
    ),
    ("local", "whether labctl made the nodes on this machine, as containers"),
    ("kubectl", "kubectl on a controller, as the administrator"),
    ("curl", "curl on a node that has the lab's CA, and trusts it"),
    ("etcdctl", "etcdctl on a controller, with the client certificate that etcd requires"),
    ("images", "references of the bundle's images by name: images.pause, images.coredns"),
    ("versions", "versions of the bundle's files by name: versions.containerd"),
    ("token_key", "id of the key that currently signs service account tokens (their `kid`)"),
    (
        "encryption_keys",
        "the keys of Secrets in etcd, each with name and secret (base64); the first one encrypts, \
        all of them decrypt",
    ),
    (
        "bootstrap_token",
        "the token that a machine can join with, for playbooks that use one: bootstrap_token.id, \
        bootstrap_token.secret",
    ),
    ("registries", "the registries of the inventory, each with host, mirrors, has_ca, user"),
    ("registry", "the registry that `containerd/hosts.toml` is for"),
    (
        "restore",
        "the snapshot, in the playbook `restore`: restore.id, hash, revision, keys, size, \
        sha256",
    ),
];

/// The administrator's kubectl on a controller.
const KUBECTL: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
/// curl on a node, without proxies and for not longer than a moment.
const CURL: &str = "curl -qfsS -m 5 --noproxy '*' --cacert /etc/kubernetes/pki/ca.crt";

/// etcdctl on a controller, without `--endpoints`.
const ETCDCTL: &str = "etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt \
                       --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
                       --key /etc/kubernetes/pki/etcd/healthcheck-client.key";

/// The public half of the bootstrap token, by which its Secret is found.
const BOOTSTRAP_ID: &str = "labctl";

/// Values that are not part of the cluster model: the bundle's images and versions, and the lab's
/// encryption keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Artefacts {
    /// Image references by short name, such as `registry.k8s.io/pause:3.10` for `pause`.
    pub images: BTreeMap<String, String>,
    /// Component versions without a `v`, by the file's name in the bundle, such as `2.2.0` for
    /// `containerd`.
    pub versions: BTreeMap<String, String>,
    /// Id of the key that currently signs service account tokens: the `kid` in their headers.
    pub token_key: String,
    /// The keys of Secrets in etcd, by name: 32 random bytes in base64 each, the one that encrypts
    /// first.
    pub encryption_keys: Vec<(String, Secret)>,
    /// The secret half of the bootstrap token.
    pub bootstrap_token: Secret,
    /// The snapshot to restore, in a run of `restore`.
    pub restore: Option<Restore>,
    /// The node that leaves the lab, if any.
    pub leaving: Option<Leaving>,
    /// The workers that an upgrade is at, if any.
    pub upgrading: Option<Upgrading>,
    /// The names that were given to `--limit`; empty for all nodes.
    pub limit: Vec<String>,
    /// What the files say that the inventory names for its registries, by their hosts.
    pub registries: BTreeMap<String, RegistryAccess>,
    /// The files that the inventory names for programs, by program and name.
    pub files: BTreeMap<String, BTreeMap<String, Secret>>,
    /// The add-ons of the lab's own, in order.
    pub addons: Vec<OwnAddon>,
    /// References of images that workers import, where the bundle has them, although no component
    /// needs them.
    pub imports: BTreeSet<String>,
}

/// An add-on of the lab's own, as its files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAddon {
    /// Its name.
    pub name: String,
    /// All its objects, as one YAML text.
    pub manifest: Secret,
    /// The images that they name, each once.
    pub images: Vec<String>,
}

/// How a registry is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryAccess {
    /// The CA of its certificate, PEM.
    pub ca: Option<String>,
    /// The name to log in with; empty for none.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// A registry, for templates.
#[derive(Serialize)]
struct RegistryView<'a> {
    #[serde(flatten)]
    registry: &'a Registry,
    /// Whether it has a CA of its own.
    has_ca: bool,
    /// The host that asks for credentials.
    contacted: &'a str,
    user: &'a str,
    password: &'a str,
}

impl<'a> RegistryView<'a> {
    fn new(registry: &'a Registry, artefacts: &'a Artefacts) -> Self {
        let access = artefacts.registries.get(&registry.host);
        Self {
            registry,
            has_ca: registry.ca.is_some(),
            contacted: registry.contacted(),
            user: access.map_or("", |access| &access.user),
            password: access.and_then(|it| it.password.expose_text()).unwrap_or_default(),
        }
    }
}

/// A snapshot of etcd to restore on the nodes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restore {
    /// Unique id of this restore.
    pub id: String,
    /// The snapshot's hash, as `etcdutl` computes it.
    pub hash: u32,
    /// The newest revision in the snapshot.
    pub revision: u64,
    /// Number of keys in the snapshot.
    pub keys: u64,
    /// Size in bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
}

/// A node that leaves the lab, and how.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leaving {
    /// The node.
    #[serde(flatten)]
    pub node: Node,
    /// Whether its machine is lost.
    pub gone: bool,
    /// Whether to remove it even if etcd or a pod prevents an orderly removal.
    pub forced: bool,
}

/// The workers that an upgrade is at, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upgrading {
    /// Their names.
    pub nodes: Vec<String>,
    /// Whether to continue although pods do not move, and to delete those without a controller.
    pub forced: bool,
}

/// The variables for one node, and for one of its peers in a repeated task.
#[derive(Clone)]
pub struct Context {
    variables: tera::Context,
}

impl Context {
    /// Returns the variables for files on `node`.
    pub fn new(cluster: &Cluster, node: &Node, peer: Option<&Node>, artefacts: &Artefacts) -> Self {
        Self::of_lab(cluster, artefacts).on(node, peer)
    }

    /// Returns the same variables for another node and peer. What all nodes have in common is
    /// shared instead of copied: in a large lab that is a list of thousands of nodes, for each of
    /// thousands of nodes.
    pub fn on(&self, node: &Node, peer: Option<&Node>) -> Self {
        let mut variables = self.variables.clone();
        variables.insert("node", node);
        variables.insert("os", &Family::named(&node.facts.family).os);
        // Absent, not null: a template that uses `peer` outside `each:` must fail.
        match peer {
            Some(peer) => variables.insert("peer", peer),
            None => drop(variables.remove("peer")),
        }
        Self { variables }
    }

    /// Returns the same variables for another peer.
    pub fn of_peer(&self, peer: &Node) -> Self {
        let mut variables = self.variables.clone();
        variables.insert("peer", peer);
        Self { variables }
    }

    /// Returns the same variables for a registry.
    pub fn of_registry(&self, registry: &Registry, artefacts: &Artefacts) -> Self {
        let mut variables = self.variables.clone();
        variables.insert("registry", &RegistryView::new(registry, artefacts));
        Self { variables }
    }

    /// Returns what all nodes of a lab have in common: everything except `node` and `peer`.
    pub fn of_lab(cluster: &Cluster, artefacts: &Artefacts) -> Self {
        let with_role = |role| cluster.with_role(role).collect::<Vec<_>>();
        let mut variables = tera::Context::new();
        variables.insert("cluster", cluster);
        variables.insert("network", &cluster.network.capabilities());
        variables.insert("minor", &cluster.kubernetes.minor);
        variables.insert("nodes", &cluster.nodes);
        variables.insert("controllers", &with_role(Role::Controller));
        variables.insert("workers", &with_role(Role::Worker));
        variables.insert("loadbalancers", &with_role(Role::Loadbalancer));
        variables.insert("clients", &with_role(Role::Client));
        let in_limit =
            |node: &&Node| artefacts.limit.is_empty() || artefacts.limit.contains(&node.name);
        let names: Vec<&str> =
            cluster.nodes.iter().filter(in_limit).map(|node| node.name.as_str()).collect();
        variables.insert("limit", &names);
        let workers = cluster.with_role(Role::Worker).filter(in_limit);
        variables.insert("limited_workers", &workers.collect::<Vec<_>>());
        variables.insert("etcd", &cluster.founding());
        // Absent when no node leaves, like `peer`.
        if let Some(leaving) = &artefacts.leaving {
            variables.insert("leaving", leaving);
        }
        if let Some(upgrading) = &artefacts.upgrading {
            variables.insert("upgrading", upgrading);
        }
        variables.insert("local", &cluster.local.is_some());
        variables.insert("kubectl", KUBECTL);
        variables.insert("curl", CURL);
        variables.insert("etcdctl", ETCDCTL);
        variables.insert("images", &artefacts.images);
        variables.insert("versions", &artefacts.versions);
        variables.insert("token_key", &artefacts.token_key);
        // The template language keeps copies of its own.
        let keys = artefacts.encryption_keys.iter().map(|(name, secret)| {
            let secret = secret.expose_text().unwrap_or_default();
            BTreeMap::from([("name", name.as_str()), ("secret", secret)])
        });
        variables.insert("encryption_keys", &keys.collect::<Vec<_>>());
        let token = artefacts.bootstrap_token.expose_text().unwrap_or_default();
        let token = BTreeMap::from([("id", BOOTSTRAP_ID), ("secret", token)]);
        variables.insert("bootstrap_token", &token);
        let registries = cluster.registries.iter();
        let views: Vec<_> = registries.map(|it| RegistryView::new(it, artefacts)).collect();
        variables.insert("registries", &views);
        if let Some(restore) = &artefacts.restore {
            variables.insert("restore", restore);
        }
        Self { variables }
    }

    /// Returns tera's own form, for the renderer only.
    pub(super) fn variables(&self) -> &tera::Context {
        &self.variables
    }
}

impl fmt::Debug for Context {
    /// Prints only names, because a value may be an encryption key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            VARIABLES.iter().map(|(name, _)| name).filter(|name| self.variables.contains_key(name));
        f.debug_set().entries(names).finish()
    }
}
