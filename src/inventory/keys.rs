//! The keys that an inventory can have, by section: the one table that the loader, the JSON Schema
//! and the reference in `docs/inventory.md` are made from.

mod login;

pub use login::{JUMP, NODE_SSH, SSH};

/// A mapping with known keys, in the order of its reference.
#[derive(Debug, PartialEq, Eq)]
pub struct KeySection {
    /// Where it is in an inventory, as in `nodes.ssh`; empty at the top.
    pub name: &'static str,
    /// What it is for, in one sentence.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [KnownKey],
}

/// A key of a section.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// The key.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: ValueKind,
    /// What holds without the key, in Markdown.
    pub default: &'static str,
    /// What it means, in Markdown.
    pub about: &'static str,
}

/// What the value of a key looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Text: what it means is checked later.
    Text,
    /// A path, relative to the inventory's directory.
    File,
    /// A network, as in `10.240.0.0/24`.
    Cidr,
    /// An IP address.
    Address,
    /// A whole number, from and to.
    Number(u32, u32),
    /// One such value, or a list of two: one for each IP family.
    PerFamily(&'static ValueKind),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of these words, at least one.
    Choices(&'static [&'static str]),
    /// A mapping of names to texts; a name without a value means empty text.
    Labels,
    /// A mapping of names to paths on the workstation.
    Files,
    /// A mapping of flags to single values, lists or mappings of those, or nothing.
    Flags,
    /// Any mapping.
    Any,
    /// Jump hosts: a text, a mapping, or a list of both.
    Jumps,
    /// A section.
    Section(&'static KeySection),
    /// A mapping of names to sections; of these names, when there are some.
    Named(&'static [&'static str], &'static KeySection),
    /// A list of sections, at least one.
    List(&'static KeySection),
}

impl KeySection {
    /// Returns the key called `name`.
    pub fn key(&self, name: &str) -> Option<&'static KnownKey> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Returns the names of its keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

impl KnownKey {
    /// Whether its section cannot do without.
    pub fn is_required(&self) -> bool {
        self.default == REQUIRED
    }
}

/// The default of a key that is required.
const REQUIRED: &str = "required";

const fn key(
    name: &'static str,
    kind: ValueKind,
    default: &'static str,
    about: &'static str,
) -> KnownKey {
    KnownKey { name, kind, default, about }
}

/// All sections, in the order of the reference.
pub const SECTIONS: &[&KeySection] = &[
    &INVENTORY, &DEFAULTS, &LOCAL, &SSH, &NODE_SSH, &JUMP, &NETWORK, &API, &PKI, &COMPONENT,
    &REGISTRY, &PROXY, &NODE,
];

/// The programs that `components` can be about.
pub const PROGRAMS: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
];

/// What a node can be for.
pub const ROLES: &[&str] = &["controller", "worker", "loadbalancer", "client"];

/// At the top.
pub const INVENTORY: KeySection = KeySection {
    name: "",
    about: "a lab: its machines, its networks, its Kubernetes version",
    keys: &[
        key(
            "name",
            ValueKind::Text,
            REQUIRED,
            "the lab's name, used for its lab directory and its context in kubeconfigs; at most \
            40 lower-case letters, digits and hyphens",
        ),
        key(
            "kubernetes",
            ValueKind::Text,
            REQUIRED,
            "the whole version, in quotes: `\"1.36.3\"`; 1.20 to 1.37",
        ),
        key("domain", ValueKind::Text, "`cluster.local`", "the cluster's DNS domain"),
        key(
            "bundle",
            ValueKind::File,
            "official releases, cached",
            "the directory with binaries and images; see [bundles.md](bundles.md)",
        ),
        key(
            "playbooks",
            ValueKind::File,
            "the standard ones",
            "the directory of playbooks that replace standard ones; `--playbooks` takes precedence",
        ),
        key(
            "templates",
            ValueKind::File,
            "the standard ones",
            "the directory of templates that replace standard ones; `--templates` takes precedence",
        ),
        key(
            "clusters",
            ValueKind::Number(1, 250),
            "none",
            "how many clusters `labctl workshop` makes of this file; see [below](#workshops)",
        ),
        key(
            "local",
            ValueKind::Section(&LOCAL),
            "none",
            "labctl creates the nodes on the workstation",
        ),
        key(
            "ssh",
            ValueKind::Section(&SSH),
            "see below",
            "how to log in, unless a node says otherwise",
        ),
        key("network", ValueKind::Section(&NETWORK), "see below", "networks inside the cluster"),
        key("api", ValueKind::Section(&API), "see below", "where clients reach the API"),
        key("pki", ValueKind::Section(&PKI), "see below", "algorithm and validity of certificates"),
        key(
            "addons",
            ValueKind::Texts,
            "none",
            "what the lab has beside what every lab has: `metrics-server`, or manifests of your \
            own; see [below](#add-ons)",
        ),
        key(
            "components",
            ValueKind::Named(PROGRAMS, &COMPONENT),
            "none",
            "flags and configuration of the lab's programs, by their names",
        ),
        key(
            "registries",
            ValueKind::Named(&[], &REGISTRY),
            "none",
            "mirrors, CAs and credentials of registries, by their hosts",
        ),
        key(
            "proxy",
            ValueKind::Section(&PROXY),
            "none",
            "the HTTP proxy that the nodes pull images through",
        ),
        key(
            "defaults",
            ValueKind::Section(&DEFAULTS),
            "none",
            "what every node has that says nothing else",
        ),
        key("nodes", ValueKind::List(&NODE), REQUIRED, "the machines"),
    ],
};

/// In `defaults`.
pub const DEFAULTS: KeySection = KeySection {
    name: "defaults",
    about: "what every node has that says nothing else",
    keys: &[
        key("roles", ValueKind::Choices(ROLES), "none", "the roles of nodes without `roles`"),
        key(
            "labels",
            ValueKind::Labels,
            "none",
            "labels of every worker, beside its own; its own value of the same label takes \
            precedence",
        ),
        key(
            "taints",
            ValueKind::Texts,
            "none",
            "taints of workers without `taints`; `taints: []` on a node that shall have none",
        ),
    ],
};

/// In `local`.
pub const LOCAL: KeySection = KeySection {
    name: "local",
    about: "labctl creates the nodes on the workstation",
    keys: &[
        key(
            "subnet",
            ValueKind::PerFamily(&ValueKind::Cidr),
            REQUIRED,
            "the network of the bridge that joins the nodes; the workstation gets its first \
            address; two for [both IP families](#ipv6)",
        ),
        key(
            "packages",
            ValueKind::Texts,
            "none",
            "packages of the distribution that the nodes have as well: they reach no package \
            server. The base image is built again with them, once",
        ),
    ],
};

/// In `network`.
pub const NETWORK: KeySection = KeySection {
    name: "network",
    about: "networks inside the cluster",
    keys: &[
        key(
            "pods",
            ValueKind::PerFamily(&ValueKind::Cidr),
            "`10.200.0.0/16`",
            "all pods; two for [both IP families](#ipv6)",
        ),
        key(
            "services",
            ValueKind::PerFamily(&ValueKind::Cidr),
            "`10.32.0.0/24`",
            "Services; the first address is the API's, the tenth is DNS; /12 to /28, in IPv6 /108 \
            to /124",
        ),
        key(
            "node_prefix",
            ValueKind::PerFamily(&ValueKind::Number(1, 128)),
            "`24`, longer when `pods` is smaller than a /22; in IPv6 `64`, and a /62",
            "prefix length of each worker's part of `pods`",
        ),
        key(
            "mode",
            ValueKind::Choice(&["routes", "vxlan", "none"]),
            "`routes`",
            "how pods reach other nodes: plain routes, tunnels, or a plugin that you install",
        ),
        key(
            "mtu",
            ValueKind::Number(576, 9216),
            "`1500`",
            "the largest packet that passes between nodes, in bytes; pods send packets as large, \
            less 50 for the tunnel with `mode: vxlan`",
        ),
        key(
            "proxy",
            ValueKind::Choice(&["iptables", "nftables"]),
            "`iptables`",
            "the mode of kube-proxy; nftables needs Kubernetes 1.33",
        ),
    ],
};
/// In `api`.
pub const API: KeySection = KeySection {
    name: "api",
    about: "where clients reach the API",
    keys: &[
        key(
            "endpoint",
            ValueKind::Text,
            "the first load balancer, else the first controller",
            "a node's name or address, or a DNS name or address of your own",
        ),
        key(
            "port",
            ValueKind::Number(1, 65535),
            "`6443`; `8443` when a load balancer is also a controller",
            "the port in kubeconfigs",
        ),
        key(
            "names",
            ValueKind::Texts,
            "none",
            "more names and addresses for the API servers' certificate",
        ),
    ],
};
/// In `pki`.
pub const PKI: KeySection = KeySection {
    name: "pki",
    about: "algorithm and validity of certificates",
    keys: &[
        key(
            "algorithm",
            ValueKind::Choice(&["ecdsa-p256", "rsa-2048"]),
            "`ecdsa-p256`",
            "the algorithm of every key",
        ),
        // At most a hundred years, because the dates in a certificate have four-digit years.
        key(
            "ca_days",
            ValueKind::Number(1, 36_500),
            "`3650`",
            "validity of CA certificates in days",
        ),
        key(
            "leaf_days",
            ValueKind::Number(1, 36_500),
            "`365`",
            "validity of all other certificates in days; `up` reissues them in their last 30 days",
        ),
    ],
};
/// In an entry of `components`.
pub const COMPONENT: KeySection = KeySection {
    name: "components",
    about: "what a program of the lab is run with",
    keys: &[
        key(
            "flags",
            ValueKind::Flags,
            "none",
            "flags without hyphens; one that labctl sets is replaced, `null` removes it",
        ),
        key(
            "config",
            ValueKind::Any,
            "none",
            "merged into the program's configuration file; `null` removes a key; not for etcd, \
            kube-apiserver and kube-controller-manager, which have none",
        ),
        key(
            "files",
            ValueKind::Files,
            "none",
            "a name in `/etc/kubernetes/PROGRAM/`, and the file on the workstation that is put \
            there; only root may read it; not for etcd and containerd",
        ),
    ],
};
/// In an entry of `registries`.
pub const REGISTRY: KeySection = KeySection {
    name: "registries",
    about: "what containerd has to know of a registry",
    keys: &[
        key(
            "mirrors",
            ValueKind::Texts,
            "none",
            "URLs to ask before the registry itself, in order; one with a path is asked without \
            `/v2` before it",
        ),
        key(
            "ca",
            ValueKind::File,
            "the node's own CAs",
            "the CA that has signed its certificate and those of its mirrors",
        ),
        key(
            "credentials",
            ValueKind::File,
            "none",
            "a file whose first line is `user:password`; nobody else may read it",
        ),
    ],
};
/// In `proxy`.
pub const PROXY: KeySection = KeySection {
    name: "proxy",
    about: "the HTTP proxy that the nodes pull images through",
    keys: &[
        key("http", ValueKind::Text, "none", "the proxy for `http` URLs"),
        key("https", ValueKind::Text, "none", "the proxy for `https` URLs"),
        key(
            "no",
            ValueKind::Texts,
            "none",
            "hosts, domains and networks that are reached without it, beside the lab's own",
        ),
    ],
};
/// In an entry of `nodes`.
pub const NODE: KeySection = KeySection {
    name: "nodes",
    about: "a machine, or a range of machines",
    keys: &[
        key(
            "name",
            ValueKind::Text,
            REQUIRED,
            "its name in Kubernetes, certificates and messages: a DNS label; `worker-[0-4]` is \
            five nodes",
        ),
        key(
            "address",
            ValueKind::PerFamily(&ValueKind::Address),
            REQUIRED,
            "its address for the other nodes, or one of each IP family; in a range that of the \
            first, the others count on",
        ),
        key(
            "roles",
            ValueKind::Choices(ROLES),
            "those of `defaults`, else required",
            "one or more of `controller`, `worker`, `loadbalancer`, `client`",
        ),
        key(
            "labels",
            ValueKind::Labels,
            "none",
            "labels of its Node object, kept as they are here and removed with their line; \
            workers only",
        ),
        key(
            "taints",
            ValueKind::Texts,
            "none",
            "taints of its Node object, likewise: `key=value:Effect` or `key:Effect`",
        ),
        key(
            "pod_cidr",
            ValueKind::PerFamily(&ValueKind::Cidr),
            "from the number at the end of its name",
            "its part of `network.pods`; with `mode: none`, kube-controller-manager chooses; not \
            in a range",
        ),
        key("ssh", ValueKind::Section(&NODE_SSH), "the inventory's", "its own login settings"),
    ],
};
