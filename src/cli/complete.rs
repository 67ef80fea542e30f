//! What is offered for a word that is being typed: names of nodes and of plays are those of the lab
//! that the line is about.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};

use crate::commands;
use crate::inventory::load;

/// The nodes that begin with what was typed.
pub(super) fn nodes(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning(current, inventories().iter().find_map(|path| nodes_in(path)).unwrap_or_default())
}

/// The same, and inventories.
pub(super) fn nodes_and_inventories(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = nodes(current);
    found.extend(inventories_there(current));
    found
}

/// The plays of the lab's playbook.
pub(super) fn plays(current: &OsStr) -> Vec<CompletionCandidate> {
    let inventory = inventories().into_iter().find(|path| path.is_file());
    let plays = commands::explain::plays(inventory.as_deref());
    beginning(current, plays.into_iter().map(|play| (play, String::new())).collect())
}

/// The same, and inventories.
pub(super) fn plays_and_inventories(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = plays(current);
    found.extend(inventories_there(current));
    found
}

/// The standard playbooks.
pub(super) fn playbooks(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = commands::playbook::names().into_iter();
    beginning(current, names.map(|name| (name, String::new())).collect())
}

/// The standard playbooks, and files.
pub(super) fn playbooks_and_files(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = playbooks(current);
    found.extend(inventories_there(current));
    found
}

/// Files that end as inventories do, and directories on the way to them.
fn inventories_there(current: &OsStr) -> Vec<CompletionCandidate> {
    PathCompleter::file().filter(is_yaml).complete(current)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// The inventories that the line may be about: those that it has, else the default one.
fn inventories() -> Vec<PathBuf> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1).map(PathBuf::from);
    let mut typed: Vec<PathBuf> = words.filter(|word| is_yaml(word) && word.is_file()).collect();
    let default = std::env::var_os("LABCTL_INVENTORY").filter(|value| !value.is_empty());
    typed.push(default.map_or_else(|| "inventory.yaml".into(), PathBuf::from));
    typed
}

/// The nodes of an inventory with their roles, however much else of it is wrong.
fn nodes_in(path: &Path) -> Option<Vec<(String, String)>> {
    if !path.is_file() {
        return None;
    }
    let nodes = load::load(path).ok()?.nodes?.value.into_iter();
    let named = nodes.filter_map(|node| {
        let roles = node.roles.map(|roles| roles.value).unwrap_or_default();
        let roles: Vec<String> = roles.into_iter().map(|role| role.value).collect();
        Some((node.name?.value, roles.join(", ")))
    });
    Some(named.collect())
}

fn beginning(current: &OsStr, all: Vec<(String, String)>) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let fitting = all.into_iter().filter(|(name, _)| name.starts_with(&*current));
    let candidate = |(name, about): (String, String)| {
        let about = Some(about).filter(|about| !about.is_empty());
        CompletionCandidate::new(name).help(about.map(Into::into))
    };
    fitting.map(candidate).collect()
}
