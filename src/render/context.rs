//! What templates and playbooks can refer to: the typed way into tera's variables.
//!
//! [`VARIABLES`] is the list of them with a sentence each; `labctl render` shows it, and a test
//! holds it to what [`Context::new`] puts in.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::cluster::{Cluster, Node, Role};

/// The variables of every template, in the order in which they are explained.
pub const VARIABLES: &[(&str, &str)] = &[
    ("cluster", "the whole lab: name, domain, network, api, pki, ..."),
    (
        "network",
        "what the network has: bridge, routes, vxlan, allocates_node_cidrs, nftables, each true \
        or false",
    ),
    ("minor", "the Kubernetes minor release as a number: 34 for 1.34.2"),
    ("node", "the node that the file is for: name, address, roles, labels, pod_cidr"),
    ("peer", "the other node, in a task that is repeated with `each:`"),
    ("nodes", "every node of the lab"),
    ("controllers", "the nodes with the role controller"),
    ("workers", "the nodes with the role worker"),
    ("loadbalancers", "the nodes with the role loadbalancer"),
    ("clients", "the nodes with the role client"),
    ("limit", "the names of the nodes that the run is for: all of them, unless --limit names some"),
    (
        "leaving",
        "the node that is taken out of the lab, in the playbook that does it: also gone, forced",
    ),
    ("local", "whether labctl made the nodes on this machine, as containers"),
    ("kubectl", "kubectl on a controller, as the administrator"),
    ("etcdctl", "etcdctl on a controller, with the certificates that etcd asks for"),
    ("images", "references of the bundle's images by name: images.pause, images.coredns"),
    ("versions", "versions of the bundle's files by name: versions.containerd"),
    ("token_key", "id of the key that signs service account tokens now, as tokens name it"),
    ("encryption_key", "the key that Secrets are encrypted with in etcd, base64"),
    (
        "restore",
        "what is restored, in the playbook of that name: restore.id, hash, revision, keys, size, \
        sha256",
    ),
];

/// The administrator's kubectl on a controller.
const KUBECTL: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
/// etcdctl on a controller; which member it asks is for `--endpoints` to say.
const ETCDCTL: &str = "etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt \
                       --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
                       --key /etc/kubernetes/pki/etcd/healthcheck-client.key";

/// What comes from outside the cluster model: the bundle's images and versions, and the lab's
/// secret key.
#[derive(Clone, PartialEq, Default)]
pub struct Artefacts {
    /// Image references by short name: `pause` is `registry.k8s.io/pause:3.10`.
    pub images: BTreeMap<String, String>,
    /// Component versions, without a `v`, by the file's name in the bundle: `containerd` is
    /// `2.2.0`.
    pub versions: BTreeMap<String, String>,
    /// Id of the key that signs service account tokens now: the `kid` in their heads.
    pub token_key: String,
    /// The key that Secrets are encrypted with in etcd: 32 random bytes in base64.
    pub encryption_key: String,
    /// The snapshot that is being restored, in a run that does that.
    pub restore: Option<Restore>,
    /// The node that is being taken out of the lab, if one is.
    pub leaving: Option<Leaving>,
    /// The names that `--limit` gives; empty for all nodes.
    pub limit: Vec<String>,
}

/// A snapshot of etcd that nodes are given back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restore {
    /// What tells this restore from every other.
    pub id: String,
    /// The snapshot's hash, as etcd's own tool works it out.
    pub hash: u32,
    /// The newest revision in it.
    pub revision: u64,
    /// How many keys it holds.
    pub keys: u64,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
}

/// A node that is taken out of the lab, and how.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Leaving {
    /// The node.
    #[serde(flatten)]
    pub node: Node,
    /// Whether its machine is lost.
    pub gone: bool,
    /// Whether it goes also when etcd or a pod stands in the way.
    pub forced: bool,
}

impl fmt::Debug for Artefacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artefacts")
            .field("images", &self.images)
            .field("versions", &self.versions)
            .field("token_key", &self.token_key)
            .field("encryption_key", &"(secret)")
            .field("restore", &self.restore)
            .field("leaving", &self.leaving)
            .field("limit", &self.limit)
            .finish()
    }
}

/// The variables for one node, and for one of its peers where a task is repeated.
#[derive(Clone)]
pub struct Context {
    variables: tera::Context,
}

impl Context {
    /// What a file on `node` can be made of.
    pub fn new(cluster: &Cluster, node: &Node, peer: Option<&Node>, artefacts: &Artefacts) -> Self {
        Self::of_lab(cluster, artefacts).on(node, peer)
    }

    /// The same on this node, and for this peer. What nodes have in common is shared, not made
    /// again: in a large lab that is a list of thousands of nodes, for each of thousands of nodes.
    pub fn on(&self, node: &Node, peer: Option<&Node>) -> Self {
        let mut variables = self.variables.clone();
        variables.insert("node", node);
        // Absent, not null: a template that uses `peer` outside of `each:` is a mistake and must
        // say so.
        match peer {
            Some(peer) => variables.insert("peer", peer),
            None => drop(variables.remove("peer")),
        }
        Self { variables }
    }

    /// The same for this peer, whatever node it is a peer of.
    pub fn of_peer(&self, peer: &Node) -> Self {
        let mut variables = self.variables.clone();
        variables.insert("peer", peer);
        Self { variables }
    }

    /// What all nodes of a lab have in common: everything but `node` and `peer`.
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
        // Absent where no node leaves, like `peer`.
        if let Some(leaving) = &artefacts.leaving {
            variables.insert("leaving", leaving);
        }
        variables.insert("local", &cluster.local.is_some());
        variables.insert("kubectl", KUBECTL);
        variables.insert("etcdctl", ETCDCTL);
        variables.insert("images", &artefacts.images);
        variables.insert("versions", &artefacts.versions);
        variables.insert("token_key", &artefacts.token_key);
        variables.insert("encryption_key", &artefacts.encryption_key);
        if let Some(restore) = &artefacts.restore {
            variables.insert("restore", restore);
        }
        Self { variables }
    }

    /// tera's own form, for the renderer alone.
    pub(super) fn variables(&self) -> &tera::Context {
        &self.variables
    }
}

impl fmt::Debug for Context {
    /// Names only: a value may be the encryption key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            VARIABLES.iter().map(|(name, _)| name).filter(|name| self.variables.contains_key(name));
        f.debug_set().entries(names).finish()
    }
}
