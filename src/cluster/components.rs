//! The programs that a lab runs: what an inventory may say of each, and what it says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::inventory::Position;

/// A program that labctl installs and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its name: that of its file in the bundle, and of its unit.
    pub name: &'static str,
    /// Whether it reads a configuration file that the inventory may add to.
    pub has_config: bool,
    /// Flags that labctl sets and depends on, each with what to use instead.
    pub own_flags: &'static [(&'static str, &'static str)],
    /// Paths in its configuration file, with `/` between keys, likewise.
    pub own_config: &'static [(&'static str, &'static str)],
}

/// What to use instead of paths of certificates and keys.
const CERTIFICATES: &str = "labctl issues all certificates; see `pki` and `labctl certs`";
/// Instead of a kubeconfig.
const KUBECONFIG: &str = "labctl writes all kubeconfigs; `api` has the endpoint in them";
/// Instead of an address.
const ADDRESS: &str = "use the `address` of the node";
/// Instead of a port that labctl asks.
const PORT: &str = "labctl asks for its health there; leave it as it is";
/// Instead of a path of etcd's.
const MEMBERS: &str = "labctl works out the members; they follow from `nodes`";
/// Instead of the range of pods.
const PODS: &str = "use `network.pods`";
/// Instead of the range of Services.
const SERVICES: &str = "use `network.services`";
/// Instead of the cluster's domain.
const DOMAIN: &str = "use `domain`";
/// Instead of the kind of a configuration file.
const KIND: &str = "labctl writes what the version of Kubernetes needs";

/// Every program, in the order in which a lab starts them.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "etcd",
        has_config: false,
        own_flags: &[
            ("advertise-client-urls", ADDRESS),
            ("cert-file", CERTIFICATES),
            ("client-cert-auth", CERTIFICATES),
            ("config-file", "etcd ignores all flags beside it; use `flags`"),
            ("data-dir", "labctl keeps and restores etcd's data in /var/lib/etcd"),
            ("initial-advertise-peer-urls", ADDRESS),
            ("initial-cluster", MEMBERS),
            ("initial-cluster-state", MEMBERS),
            ("initial-cluster-token", MEMBERS),
            ("key-file", CERTIFICATES),
            ("listen-client-urls", ADDRESS),
            ("listen-peer-urls", ADDRESS),
            ("name", "use the `name` of the node"),
            ("peer-cert-file", CERTIFICATES),
            ("peer-client-cert-auth", CERTIFICATES),
            ("peer-key-file", CERTIFICATES),
            ("peer-trusted-ca-file", CERTIFICATES),
            ("trusted-ca-file", CERTIFICATES),
        ],
        own_config: &[],
    },
    Program {
        name: "kube-apiserver",
        has_config: false,
        own_flags: &[
            ("advertise-address", ADDRESS),
            ("bind-address", ADDRESS),
            ("client-ca-file", CERTIFICATES),
            ("encryption-provider-config", "labctl makes the key; see `labctl etcd backup`"),
            ("etcd-cafile", CERTIFICATES),
            ("etcd-certfile", CERTIFICATES),
            ("etcd-keyfile", CERTIFICATES),
            ("etcd-servers", MEMBERS),
            ("kubelet-certificate-authority", CERTIFICATES),
            ("kubelet-client-certificate", CERTIFICATES),
            ("kubelet-client-key", CERTIFICATES),
            ("proxy-client-cert-file", CERTIFICATES),
            ("proxy-client-key-file", CERTIFICATES),
            ("requestheader-allowed-names", CERTIFICATES),
            ("requestheader-client-ca-file", CERTIFICATES),
            ("secure-port", "use `api.port` for the port in kubeconfigs"),
            ("service-account-issuer", DOMAIN),
            ("service-account-key-file", CERTIFICATES),
            ("service-account-signing-key-file", CERTIFICATES),
            ("service-cluster-ip-range", SERVICES),
            ("tls-cert-file", CERTIFICATES),
            ("tls-private-key-file", CERTIFICATES),
        ],
        own_config: &[],
    },
    Program {
        name: "kube-controller-manager",
        has_config: false,
        own_flags: &[
            ("allocate-node-cidrs", "use `network.mode`"),
            ("authentication-kubeconfig", KUBECONFIG),
            ("authorization-kubeconfig", KUBECONFIG),
            ("cluster-cidr", PODS),
            ("cluster-name", "use `name`"),
            ("cluster-signing-cert-file", CERTIFICATES),
            ("cluster-signing-key-file", CERTIFICATES),
            ("kubeconfig", KUBECONFIG),
            ("node-cidr-mask-size", "use `network.node_prefix`"),
            ("requestheader-client-ca-file", CERTIFICATES),
            ("root-ca-file", CERTIFICATES),
            ("secure-port", PORT),
            ("service-account-private-key-file", CERTIFICATES),
            ("service-cluster-ip-range", SERVICES),
            ("tls-cert-file", CERTIFICATES),
            ("tls-private-key-file", CERTIFICATES),
        ],
        own_config: &[],
    },
    Program {
        name: "kube-scheduler",
        has_config: true,
        own_flags: &[
            ("authentication-kubeconfig", KUBECONFIG),
            ("authorization-kubeconfig", KUBECONFIG),
            ("config", "use `config`, which is merged into that file"),
            ("kubeconfig", KUBECONFIG),
            ("secure-port", PORT),
            ("tls-cert-file", CERTIFICATES),
            ("tls-private-key-file", CERTIFICATES),
        ],
        own_config: &[
            ("apiVersion", KIND),
            ("clientConnection/kubeconfig", KUBECONFIG),
            ("kind", KIND),
        ],
    },
    Program {
        name: "containerd",
        has_config: true,
        own_flags: &[
            ("address", "the kubelet reaches it there; leave it as it is"),
            ("config", "use `config`, which is merged into that file"),
            ("root", "labctl removes its images and containers from /var/lib/containerd"),
            ("state", "labctl removes its state from /run/containerd"),
        ],
        own_config: &[
            ("grpc/address", "the kubelet reaches it there; leave it as it is"),
            ("root", "labctl removes its images and containers from /var/lib/containerd"),
            ("state", "labctl removes its state from /run/containerd"),
            ("version", "labctl writes what the version of containerd needs"),
        ],
    },
    Program {
        name: "kubelet",
        has_config: true,
        own_flags: &[
            ("bootstrap-kubeconfig", KUBECONFIG),
            ("client-ca-file", CERTIFICATES),
            ("cluster-dns", SERVICES),
            ("cluster-domain", DOMAIN),
            ("config", "use `config`, which is merged into that file"),
            ("container-runtime", "labctl runs containerd"),
            ("container-runtime-endpoint", "labctl runs containerd"),
            ("hostname-override", "use the `name` of the node"),
            ("kubeconfig", KUBECONFIG),
            ("node-ip", ADDRESS),
            ("node-labels", "use the `labels` of the node"),
            ("register-with-taints", "use the `taints` of the node"),
            ("root-dir", "labctl removes the kubelet's data from /var/lib/kubelet"),
            ("tls-cert-file", CERTIFICATES),
            ("tls-private-key-file", CERTIFICATES),
        ],
        own_config: &[
            ("apiVersion", KIND),
            ("authentication/x509/clientCAFile", CERTIFICATES),
            ("cgroupDriver", "it must agree with containerd's; leave it as it is"),
            ("clusterDNS", SERVICES),
            ("clusterDomain", DOMAIN),
            ("containerRuntimeEndpoint", "labctl runs containerd"),
            ("kind", KIND),
            ("registerWithTaints", "use the `taints` of the node"),
            ("resolvConf", "labctl leaves out resolvers that pods cannot reach"),
            ("tlsCertFile", CERTIFICATES),
            ("tlsPrivateKeyFile", CERTIFICATES),
        ],
    },
    Program {
        name: "kube-proxy",
        has_config: true,
        own_flags: &[
            ("cluster-cidr", PODS),
            ("config", "use `config`, which is merged into that file"),
            ("hostname-override", "use the `name` of the node"),
            ("kubeconfig", KUBECONFIG),
            ("proxy-mode", "use `network.proxy`"),
        ],
        own_config: &[
            ("apiVersion", KIND),
            ("clientConnection/kubeconfig", KUBECONFIG),
            ("clusterCIDR", PODS),
            ("hostnameOverride", "use the `name` of the node"),
            ("kind", KIND),
            ("mode", "use `network.proxy`"),
        ],
    },
];

/// What an inventory says of every program; nothing of most.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SettingsByProgram(pub BTreeMap<String, ProgramSettings>);

/// What an inventory says of one program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgramSettings {
    /// Flags, with their values as they are typed; `None` for one that is taken away.
    pub flags: BTreeMap<String, Option<String>>,
    /// What is merged into its configuration file; null for a key that is taken away.
    pub config: Map<String, Value>,
    /// Files for it, by their names on the nodes: their paths on the workstation.
    #[serde(skip)]
    pub files: BTreeMap<String, PathBuf>,
    /// Where each flag is in the inventory.
    #[serde(skip)]
    pub flags_at: BTreeMap<String, Position>,
}

impl Default for SettingsByProgram {
    /// Nothing of any program. Each has an entry, because templates ask for it.
    fn default() -> Self {
        let nothing = |program: &Program| (program.name.to_owned(), ProgramSettings::default());
        Self(PROGRAMS.iter().map(nothing).collect())
    }
}

impl Program {
    /// Returns the program called `name`.
    pub fn named(name: &str) -> Option<&'static Program> {
        PROGRAMS.iter().find(|program| program.name == name)
    }

    /// Returns what to use instead of a flag, if labctl depends on that.
    pub fn instead_of_flag(&self, flag: &str) -> Option<&'static str> {
        self.own_flags.iter().find(|(own, _)| *own == flag).map(|(_, instead)| *instead)
    }

    /// Returns the first path in `value`, which is that of `key`, that labctl depends on, with what
    /// to use instead.
    pub fn instead_of_config(
        &self,
        key: &str,
        value: &Value,
    ) -> Option<(&'static str, &'static str)> {
        self.own_config.iter().copied().find(|(path, _)| {
            let mut keys = path.split('/');
            if keys.next() != Some(key) {
                return false;
            }
            let mut value = Some(value);
            for key in keys {
                // Where a mapping is replaced by something else, all that was in it goes.
                value = match value {
                    Some(Value::Object(map)) => map.get(key),
                    other => other,
                };
            }
            value.is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_that_labctl_depends_on_is_found_at_any_depth() {
        let kubelet = Program::named("kubelet").expect("a program");
        let found = |key, value| kubelet.instead_of_config(key, &value).map(|(path, _)| path);
        assert_eq!(found("maxPods", json!(42)), None);
        assert_eq!(found("clusterDomain", json!("x")), Some("clusterDomain"));
        assert_eq!(found("authentication", json!({ "anonymous": { "enabled": true } })), None);
        for value in [json!({ "x509": { "clientCAFile": "x" } }), json!({ "x509": null }), json!(1)]
        {
            assert_eq!(found("authentication", value), Some("authentication/x509/clientCAFile"));
        }
    }
}
