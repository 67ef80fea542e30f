//! `[INVENTORY] WHAT`: the inventory comes first, and may be left out.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::complete::{nodes_and_inventories, plays_and_inventories};
use crate::commands::{Stop, missing};
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

/// Whether a word is an inventory's path and no name: of a node, a play, a unit or a verb of
/// kubectl. Those have neither a dot nor a slash, and an inventory's path has one; an option of
/// kubectl may have both.
fn is_path(word: &str) -> bool {
    word == STDIN || !word.starts_with('-') && word.contains(['.', '/'])
}

/// Whether a word is an inventory's path and not another file's.
fn is_yaml(word: &str) -> bool {
    word == STDIN || word.ends_with(".yaml") || word.ends_with(".yml")
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
    ///
    /// # Errors
    /// If no node is named; `verb` says for what.
    pub fn get(&self, verb: &str) -> Result<(&Path, &str), Stop> {
        let (inventory, rest) = split(&self.target, Some(1), |word| !is_path(word), &self.default);
        let node = rest.first().ok_or_else(|| missing(verb, inventory, "NODE"))?;
        Ok((inventory, node))
    }
}

/// The lab, one of its nodes, and a command.
#[derive(Debug, Args)]
pub struct LabNodeAndCommand {
    /// The node, after the inventory when that is not ./inventory.yaml, and a command to run there;
    /// a login shell without it
    #[arg(value_names = ["INVENTORY", "NODE", "COMMAND"], num_args = 1.., required = true)]
    #[arg(trailing_var_arg = true)]
    #[arg(add = ArgValueCompleter::new(nodes_and_inventories))]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabNodeAndCommand {
    /// The inventory, the node, and the command.
    ///
    /// # Errors
    /// If no node is named; `verb` says for what.
    pub fn get(&self, verb: &str) -> Result<(&Path, &str, &[String]), Stop> {
        let (inventory, rest) = split(&self.target, None, |word| !is_path(word), &self.default);
        match rest.split_first() {
            Some((node, command)) if node != "--" => Ok((inventory, node, after_dashes(command))),
            _ => Err(missing(verb, inventory, "NODE")),
        }
    }
}

/// The lab, and what a program is given.
#[derive(Debug, Args)]
pub struct LabAndArguments {
    /// What the program is given, after the inventory when that is not ./inventory.yaml
    #[arg(value_names = ["INVENTORY", "ARGUMENTS"], num_args = 1.., required = true)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabAndArguments {
    /// The inventory and the arguments.
    pub fn get(&self) -> (&Path, &[String]) {
        let (inventory, rest) = split(&self.target, None, |word| !is_path(word), &self.default);
        (inventory, after_dashes(rest))
    }
}

/// The words without `--` in front of them, which people write there and nobody needs.
fn after_dashes(words: &[String]) -> &[String] {
    match words.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => words,
    }
}

/// The lab and some of its nodes.
#[derive(Debug, Args)]
pub struct LabAndNodes {
    /// The nodes, after the inventory when that is not ./inventory.yaml: names, roles, or patterns;
    /// default: all
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
        split(&self.target, None, |word| !is_path(word), &self.default)
    }

    /// The inventory and the nodes, which have to be named.
    ///
    /// # Errors
    /// If none is named; `verb` says for what.
    pub fn must(&self, verb: &str) -> Result<(&Path, &[String]), Stop> {
        match self.get() {
            (inventory, []) => Err(missing(verb, inventory, "NODE")),
            named => Ok(named),
        }
    }
}

/// The lab and some of its plays.
#[derive(Debug, Args)]
pub struct LabAndPlays {
    /// The plays, after the inventory when that is not ./inventory.yaml; default: all
    #[arg(value_names = ["INVENTORY", "PLAY"], num_args = 0..)]
    #[arg(add = ArgValueCompleter::new(plays_and_inventories))]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabAndPlays {
    /// The inventory and the plays.
    pub fn get(&self) -> (&Path, &[String]) {
        split(&self.target, None, |word| !is_path(word), &self.default)
    }
}

/// The lab, one of its nodes, and perhaps a unit there.
#[derive(Debug, Args)]
pub struct LabNodeAndUnit {
    /// The node, after the inventory when that is not ./inventory.yaml, and a unit of it: `etcd`
    #[arg(value_names = ["INVENTORY", "NODE", "UNIT"], num_args = 1..=3, required = true)]
    #[arg(add = ArgValueCompleter::new(nodes_and_inventories))]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabNodeAndUnit {
    /// The inventory, the node, and the unit.
    ///
    /// # Errors
    /// If no node is named; `verb` says for what.
    pub fn get(&self, verb: &str) -> Result<(&Path, &str, Option<&str>), Stop> {
        let (inventory, rest) = split(&self.target, Some(2), |word| !is_path(word), &self.default);
        let node = rest.first().ok_or_else(|| missing(verb, inventory, "NODE"))?;
        Ok((inventory, node, rest.get(1).map(String::as_str)))
    }
}

/// The lab and a file.
#[derive(Debug, Args)]
pub struct LabAndFile {
    /// The file, after the inventory when that is not ./inventory.yaml
    #[arg(value_names = ["INVENTORY", "FILE"], num_args = 0..=2)]
    target: Vec<String>,
    /// Where the inventory is otherwise.
    #[command(flatten)]
    default: DefaultInventory,
}

impl LabAndFile {
    /// The inventory, and the file if one is named.
    pub fn get(&self) -> (&Path, Option<&Path>) {
        let (inventory, rest) = split(&self.target, Some(1), |word| !is_yaml(word), &self.default);
        (inventory, rest.first().map(Path::new))
    }

    /// The inventory and the file.
    ///
    /// # Errors
    /// If no file is named; `verb` says for what.
    pub fn must(&self, verb: &str) -> Result<(&Path, &Path), Stop> {
        let (inventory, file) = self.get();
        Ok((inventory, file.ok_or_else(|| missing(verb, inventory, "FILE"))?))
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
        let (inventory, rest) = split(&self.target, Some(1), |word| !is_yaml(word), &self.default);
        (inventory, rest.first().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inventory_comes_first_or_is_left_out() {
        let default = DefaultInventory { inventory: "inventory.yaml".into() };
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
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
            let found = split(&all, most, |word| !is_path(word), &default);
            assert_eq!(found, (Path::new(inventory), &*words(rest)), "{line}");
        }
    }
}
