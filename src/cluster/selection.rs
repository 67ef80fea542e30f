//! Which nodes a word on the command line means: a node's name, a role, `all`, a range as in an
//! inventory, or a pattern as shells have it.

use glob::Pattern;

use super::{Cluster, Node, Role};
use crate::inventory::names_in;

impl Cluster {
    /// Returns the nodes that `word` means, in inventory order: the node of that name if there is
    /// one, the nodes of a role (`worker`, `workers`), those of a range (`worker-[0-4]`), or those
    /// whose names fit a pattern (`worker-*`).
    ///
    /// # Errors
    /// The name or the pattern that no node fits: of a range, the first such name.
    pub fn selected(&self, word: &str) -> Result<Vec<&Node>, String> {
        if let Some(node) = self.node(word) {
            return Ok(vec![node]);
        }
        if let Some(names) = names_in(word).filter(|_| !word.contains(['*', '?'])) {
            if let Some(missing) = names.iter().find(|name| self.node(name).is_none()) {
                return Err(missing.clone());
            }
            return Ok(self.nodes.iter().filter(|node| names.contains(&node.name)).collect());
        }
        let found: Vec<&Node> = self.nodes.iter().filter(|node| fits(node, word)).collect();
        if found.is_empty() { Err(word.to_owned()) } else { Ok(found) }
    }
}

/// Whether a node is among those that `word` means when no node has that name.
fn fits(node: &Node, word: &str) -> bool {
    if word == "all" {
        return true;
    }
    let singular = word.strip_suffix('s').unwrap_or(word);
    if let Some(role) = Role::ALL.into_iter().find(|role| role.to_string() == singular) {
        return node.has(role);
    }
    word.contains(['*', '?', '['])
        && Pattern::new(word).is_ok_and(|pattern| pattern.matches(&node.name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::cluster;

    #[test]
    fn a_word_means_a_node_a_role_a_range_or_a_pattern() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("inventory.yaml");
        let nodes = [("controller-0", "controller"), ("worker-0", "worker")]
            .into_iter()
            .chain([("worker-1", "worker"), ("worker-10", "worker"), ("lb", "loadbalancer")])
            .enumerate()
            .map(|(n, (name, role))| {
                format!("  - {{ name: {name}, address: 192.0.2.{}, roles: [{role}] }}\n", n + 1)
            });
        let text =
            format!("name: t\nkubernetes: \"1.34.4\"\nnodes:\n{}", nodes.collect::<String>());
        let (cluster, _) = cluster::open_with(Path::new(&path), &text).expect("an inventory");
        let selected = |word: &str| {
            let names = |nodes: Vec<&cluster::Node>| {
                nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>().join(" ")
            };
            cluster.selected(word).map(names)
        };
        let workers = "worker-0 worker-1 worker-10";
        for (word, right) in [
            ("worker-1", "worker-1"),
            ("worker", workers),
            ("workers", workers),
            ("loadbalancers", "lb"),
            ("worker-[0-1]", "worker-0 worker-1"),
            ("worker-*", workers),
            ("worker-?", "worker-0 worker-1"),
            ("worker-[0-9]*", workers),
            ("worker-[12]", "worker-1"),
            ("*-1*", "worker-1 worker-10"),
            ("all", "controller-0 worker-0 worker-1 worker-10 lb"),
        ] {
            assert_eq!(selected(word).as_deref(), Ok(right), "{word}");
        }
        for (word, missing) in [
            ("worker-2", "worker-2"),
            ("", ""),
            ("s", "s"),
            ("client", "client"),
            ("nix-*", "nix-*"),
            ("worker-[0-2]", "worker-2"),
            ("worker-[2-0]", "worker-[2-0]"),
            ("[", "["),
        ] {
            assert_eq!(selected(word), Err(missing.to_owned()), "{word}");
        }
    }

    #[test]
    fn a_nodes_name_comes_before_a_role() {
        let text = "name: t\nkubernetes: \"1.34.4\"\nnodes:\n  - { name: all, address: 192.0.2.1, \
            roles: [controller] }\n  - { name: worker, address: 192.0.2.2, roles: [worker] }\n  - \
            { name: w, address: 192.0.2.3, roles: [worker] }\n";
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("inventory.yaml");
        let (cluster, _) = cluster::open_with(&path, text).expect("an inventory");
        for word in ["all", "worker"] {
            let nodes = cluster.selected(word).expect("a node");
            assert_eq!(nodes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), [word]);
        }
        assert_eq!(cluster.selected("workers").expect("nodes").len(), 2);
    }
}
