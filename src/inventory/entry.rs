//! How a new node is written in an inventory, and what that is read back as.

use super::tree::Tree;

/// A node to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Its name.
    pub name: String,
    /// Its address; two if it has one of each IP family.
    pub addresses: Vec<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Labels for its Node object.
    pub labels: Vec<(String, String)>,
}

impl NewNode {
    /// Returns the value of its `address`: one, or a list.
    pub fn address(&self) -> String {
        match &self.addresses[..] {
            [one] => scalar(one),
            both => list(both),
        }
    }

    /// Returns its entry, on one line.
    pub fn entry(&self) -> String {
        let (name, address, roles) = (scalar(&self.name), self.address(), list(&self.roles));
        let labels = match self.labels[..] {
            [] => String::new(),
            _ => format!(", labels: {}", labels(&self.labels)),
        };
        format!("{{ name: {name}, address: {address}, roles: {roles}{labels} }}")
    }
}

/// Returns the nodes in a text's tree.
pub(super) fn nodes_of(tree: &mut Tree) -> Option<&mut Vec<Tree>> {
    let Tree::Map(entries) = tree else { return None };
    entries.iter_mut().find_map(|(key, value)| match (key, value) {
        (Tree::Text(key), Tree::List(nodes)) if key == "nodes" => Some(nodes),
        _ => None,
    })
}

fn text(text: &str) -> Tree {
    Tree::Text(text.to_owned())
}

/// Returns the tree that parsing the new node's entry should give.
pub(super) fn tree_of(node: &NewNode) -> Tree {
    let address = match &node.addresses[..] {
        [one] => text(one),
        both => Tree::List(both.iter().map(|one| text(one)).collect()),
    };
    let roles = Tree::List(node.roles.iter().map(|role| text(role)).collect());
    let mut entries =
        vec![(text("name"), text(&node.name)), (text("address"), address), (text("roles"), roles)];
    if !node.labels.is_empty() {
        let labels = node.labels.iter().map(|(key, value)| (text(key), text(value)));
        entries.push((text("labels"), Tree::Map(labels.collect())));
    }
    Tree::Map(entries)
}

pub(super) fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| scalar(word)).collect::<Vec<_>>().join(", "))
}

pub(super) fn labels(labels: &[(String, String)]) -> String {
    let pairs = labels.iter().map(|(key, value)| format!("{}: {}", scalar(key), scalar(value)));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

/// Returns a scalar that YAML reads as this text, in quotes if necessary.
pub(super) fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    let address = text.parse::<std::net::Ipv4Addr>().is_ok();
    let safe =
        address || text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    if safe && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
