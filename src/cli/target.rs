//! `[INVENTORY] WHAT`: the inventory comes first, and may be left out.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::complete::nodes_and_inventories;
use crate::inventory::STDIN;

/// The inventory for verbs that take it before something else.
#[derive(Debug, Args)]
pub struct DefaultInventory {
    /// The inventory, when it is not the first word
    #[arg(
        long = "inventory",
        value_name = "INVENTORY",
        default_value = "inventory.yaml",
        hide = true
    )]
    #[arg(env = "LABCTL_INVENTORY", hide_env_values = true)]
    inventory: PathBuf,
}

/// Splits the words after a verb into the inventory and the rest. The first word is the inventory
/// when there are more words than the verb has a use for, `most`, or when it cannot be one of them.
pub fn split<'a>(
    words: &'a [String],
    most: Option<usize>,
    can_be_one: impl Fn(&str) -> bool,
    default: &'a DefaultInventory,
) -> (&'a Path, &'a [String]) {
    let too_many = most.is_some_and(|most| words.len() > most);
    match words.split_first() {
        Some((first, rest)) if too_many || !can_be_one(first) => (Path::new(first), rest),
        _ => (&default.inventory, words),
    }
}

/// The lab and one of its nodes.
#[derive(Debug, Args)]
pub struct LabAndNode {
    /// The node, after the inventory when that is not ./inventory.yaml
    #[arg(value_names = ["INVENTORY", "NODE"], num_args = 1..=2, required = true)]
    #[arg(add = ArgValueCompleter::new(nodes_and_inventories))]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabAndNode {
    /// The inventory and the node.
    pub fn get(&self) -> (&Path, &str) {
        one(&self.target, &self.default)
    }
}

/// The lab and some of its nodes.
#[derive(Debug, Args)]
pub struct LabAndNodes {
    /// The nodes, after the inventory when that is not ./inventory.yaml; default: all
    #[arg(value_names = ["INVENTORY", "NODE"], num_args = 0..)]
    #[arg(add = ArgValueCompleter::new(nodes_and_inventories))]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabAndNodes {
    /// The inventory and the nodes.
    pub fn get(&self) -> (&Path, &[String]) {
        // A node's name has neither a dot nor a slash, and an inventory's path has one.
        let can_be_node = |word: &str| word != STDIN && !word.contains(['.', '/']);
        split(&self.target, None, can_be_node, &self.default)
    }
}

/// The lab, one of its nodes, and perhaps a unit there.
#[derive(Debug, Args)]
pub struct LabNodeAndUnit {
    /// The node, after the inventory when that is not ./inventory.yaml, and a unit of it: `etcd`
    #[arg(value_names = ["INVENTORY", "NODE", "UNIT"], num_args = 1..=3, required = true)]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabNodeAndUnit {
    /// The inventory, the node, and the unit.
    pub fn get(&self) -> (&Path, &str, Option<&str>) {
        // A node's name has neither a dot nor a slash, and an inventory's path has one.
        let is_name = |word: &str| !word.contains(['.', '/']);
        let (inventory, rest) = split(&self.target, Some(2), is_name, &self.default);
        let node = rest.first().map_or("", String::as_str);
        (inventory, node, rest.get(1).map(String::as_str))
    }
}

/// The lab and a file.
#[derive(Debug, Args)]
pub struct LabAndFile {
    /// The file, after the inventory when that is not ./inventory.yaml
    #[arg(value_names = ["INVENTORY", "FILE"], num_args = 1..=2, required = true)]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabAndFile {
    /// The inventory and the file.
    pub fn get(&self) -> (&Path, &Path) {
        let (inventory, file) = one(&self.target, &self.default);
        (inventory, Path::new(file))
    }
}

/// The lab and one of its runs.
#[derive(Debug, Args)]
pub struct LabAndRun {
    /// The inventory (a .yaml file), and the run: a name from --list, or the path of a run log;
    /// default: the last run
    #[arg(value_names = ["INVENTORY", "RUN"], num_args = 0..=2)]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabAndRun {
    /// The inventory and the run, if one was named.
    pub fn get(&self) -> (&Path, Option<&str>) {
        let can_be_run =
            |word: &str| word != STDIN && !(word.ends_with(".yaml") || word.ends_with(".yml"));
        let (inventory, rest) = split(&self.target, Some(1), can_be_run, &self.default);
        (inventory, rest.first().map(String::as_str))
    }
}

/// The inventory and the one thing that has to be named.
fn one<'a>(words: &'a [String], default: &'a DefaultInventory) -> (&'a Path, &'a str) {
    let (inventory, rest) = split(words, Some(1), |_| true, default);
    (inventory, rest.first().map_or("", String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_comes_first_or_is_left_out() {
        let default = DefaultInventory { inventory: "inventory.yaml".into() };
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let is_name = |word: &str| word != STDIN && !word.contains(['.', '/']);
        for (line, most, inventory, rest) in [
            ("", None, "inventory.yaml", ""),
            ("prod.yaml", None, "prod.yaml", ""),
            ("labs/prod", None, "labs/prod", ""),
            ("- a", None, "-", "a"),
            ("a b", None, "inventory.yaml", "a b"),
            ("prod.yaml a b", None, "prod.yaml", "a b"),
            ("a", Some(1), "inventory.yaml", "a"),
            ("prod a", Some(1), "prod", "a"),
        ] {
            let all = words(line);
            let found = split(&all, most, is_name, &default);
            assert_eq!(found, (Path::new(inventory), &*words(rest)), "{line}");
        }
    }
}
