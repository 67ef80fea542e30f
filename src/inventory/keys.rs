//! The keys that an inventory can have, by section, in the order of its reference.

/// At the top.
pub const INVENTORY: &[&str] = &[
    "name",
    "kubernetes",
    "domain",
    "bundle",
    "playbooks",
    "templates",
    "local",
    "ssh",
    "network",
    "api",
    "pki",
    "addons",
    "components",
    "registries",
    "proxy",
    "nodes",
];
/// In `local`.
pub const LOCAL: &[&str] = &["subnet", "packages"];
/// In the lab's `ssh`.
pub const SSH: &[&str] = &[
    "user",
    "port",
    "identity",
    "jump",
    "connect_timeout",
    "host_keys",
    "become",
    "become_password_file",
    "become_password_command",
];
/// In a node's `ssh`: as in the lab's, and where to log in.
pub const NODE_SSH: &[&str] = &{
    let mut keys = ["host"; SSH.len() + 1];
    let mut at = 0;
    while at < SSH.len() {
        keys[at + 1] = SSH[at];
        at += 1;
    }
    keys
};
/// In an entry of `jump`.
pub const JUMP: &[&str] = &["host", "user", "port", "identity"];
/// In `network`.
pub const NETWORK: &[&str] = &["pods", "services", "node_prefix", "mode", "mtu", "proxy"];
/// In `api`.
pub const API: &[&str] = &["endpoint", "port", "names"];
/// In `pki`.
pub const PKI: &[&str] = &["algorithm", "ca_days", "leaf_days"];
/// In an entry of `components`.
pub const COMPONENT: &[&str] = &["flags", "config", "files"];
/// In an entry of `registries`.
pub const REGISTRY: &[&str] = &["mirrors", "ca", "credentials"];
/// In `proxy`.
pub const PROXY: &[&str] = &["http", "https", "no"];
/// In an entry of `nodes`.
pub const NODE: &[&str] = &["name", "address", "roles", "labels", "taints", "pod_cidr", "ssh"];

/// Keys that are required where they are allowed.
pub const REQUIRED: &[&str] = &["name", "kubernetes", "nodes", "address", "roles", "subnet"];
