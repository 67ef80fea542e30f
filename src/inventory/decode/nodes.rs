//! Decodes `nodes`, with what `defaults` says of all of them, and with ranges as single nodes.

use super::{Decoder, Fields};
use crate::inventory::keys::{DEFAULTS, NODE, NODE_SSH};
use crate::inventory::positions::Path;
use crate::inventory::range::expand;
use crate::inventory::tree::Tree;
use crate::inventory::{Located, NodeEntry};

/// Keys and values, in file order.
type Labels = Vec<(Located<String>, Located<String>)>;

/// What `defaults` says.
#[derive(Default)]
struct Defaults {
    /// Whether it has roles, right or wrong.
    has_roles: bool,
    roles: Option<Located<Vec<Located<String>>>>,
    labels: Labels,
    taints: Option<Located<Vec<Located<String>>>>,
}

impl Decoder<'_> {
    pub(super) fn nodes(&mut self, fields: &Fields<'_>) -> Option<Located<Vec<NodeEntry>>> {
        let defaults = self.defaults(fields);
        let (elements, path) = self.list(fields, "nodes")?;
        let at = self.positions.key(&path);
        let mut nodes = Vec::new();
        for (index, tree) in elements.iter().enumerate() {
            let Some(entry) = self.node(tree, &path.index(index), &defaults) else { continue };
            nodes.extend(expand(NodeEntry { index, ..entry }, &mut self.problems));
        }
        Some(Located::new(nodes, at))
    }

    fn defaults(&mut self, fields: &Fields<'_>) -> Defaults {
        let Some(fields) = self.section(fields, "defaults", &DEFAULTS) else {
            return Defaults::default();
        };
        Defaults {
            has_roles: fields.get("roles").is_some(),
            roles: self.texts(&fields, "roles"),
            labels: self.labels(&fields),
            taints: self.texts(&fields, "taints"),
        }
    }

    fn node(&mut self, tree: &Tree, path: &Path, defaults: &Defaults) -> Option<NodeEntry> {
        let fields = self.mapping(tree, path, &NODE)?;
        self.require(&fields, "name", "name: worker-0");
        self.require(&fields, "address", "address: 10.240.0.20");
        if !defaults.has_roles {
            self.require(&fields, "roles", "roles: [worker]");
        }
        let mut node = NodeEntry {
            at: fields.at,
            name: self.text(&fields, "name"),
            address: self.per_family(&fields, "address"),
            roles: self.texts(&fields, "roles"),
            labels: self.labels(&fields),
            taints: self.texts(&fields, "taints"),
            pod_cidr: self.per_family(&fields, "pod_cidr"),
            ssh: self.ssh(&fields, &NODE_SSH),
            ..NodeEntry::default()
        };
        if fields.get("roles").is_none() {
            node.roles = defaults.roles.clone();
        }
        let roles = node.roles.iter().flat_map(|roles| &roles.value);
        // Other nodes have no Node object.
        if roles.into_iter().any(|role| role.value == "worker") {
            let own = |key: &str| node.labels.iter().any(|(known, _)| known.value == key);
            let more = defaults.labels.iter().filter(|(key, _)| !own(&key.value)).cloned();
            node.labels = more.chain(node.labels.iter().cloned()).collect();
            if fields.get("taints").is_none() {
                node.taints = defaults.taints.clone();
            }
        }
        Some(node)
    }

    fn labels(&mut self, fields: &Fields<'_>) -> Labels {
        let mut read = Vec::new();
        for (key, tree, path) in self.entries_of(fields, "labels") {
            // A label without a value is valid, and this is YAML's way to write it.
            let value = match tree {
                Tree::Null => Some(Located::new(String::new(), key.at)),
                tree => self.text_at(tree, &path),
            };
            read.extend(value.map(|value| (key, value)));
        }
        read
    }
}
