//! What every operation on a lab is given, in types of its own: an operation does not know how it
//! was typed.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::exit::Stop;
use crate::cluster::Cluster;
use crate::engine::Spread;
use crate::playbook::{Playbook, standard};

/// Why `node` takes no `--limit`.
pub(super) const WHOLE_LAB: &str =
    "`node` concerns the whole lab, so it cannot be combined with --limit";

/// A lab, and how to work on it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The inventory.
    pub inventory: PathBuf,
    /// The directory of playbooks that replace standard ones.
    pub playbooks: Option<PathBuf>,
    /// The directory of templates that replace standard ones.
    pub templates: Option<PathBuf>,
    /// The nodes to work on, by name; none for all of them.
    pub limit: Vec<String>,
    /// The play to end after; none for the whole playbook.
    pub until: Option<String>,
    /// Nodes to change although they belong to another lab.
    pub take_over: Vec<String>,
    /// How many nodes to work on at once.
    pub forks: NonZeroUsize,
    /// When nodes pass large files on to each other.
    pub spread: Spread,
    /// Whether every question is answered with yes.
    pub yes: bool,
    /// Whether to show how text files differ.
    pub diff: bool,
}

impl Options {
    /// The directory of playbooks: the one that was typed, else the inventory's.
    pub(super) fn playbooks_of<'a>(&'a self, cluster: &'a Cluster) -> Option<&'a Path> {
        self.playbooks.as_deref().or(cluster.playbooks.as_deref())
    }

    /// The playbook called `name`: the user's own, the lab's own, or the standard one. It has the
    /// add-ons that the inventory asks for.
    pub(super) fn playbook(&self, name: &str, cluster: &Cluster) -> Result<Playbook, Stop> {
        let playbook = standard::find(name, self.playbooks_of(cluster)).map_err(Stop::bad)?;
        with_addons(playbook, cluster)
    }

    /// Refuses `--limit` for an operation that is for the whole lab.
    pub(super) fn refuse_limit(&self, why: &str, help: &str) -> Result<(), Stop> {
        if self.limit.is_empty() { Ok(()) } else { Err(Stop::bad(why.to_owned()).help(help)) }
    }
}

/// Refuses a playbook without an add-on that the inventory asks for.
pub(super) fn with_addons(playbook: Playbook, cluster: &Cluster) -> Result<Playbook, Stop> {
    let unknown = playbook.unknown_addon(&cluster.addons);
    unknown.map_or(Ok(playbook), |unknown| Err(Stop::bad(unknown)))
}

#[cfg(test)]
impl Options {
    /// An inventory with nothing else said.
    pub(super) fn of(inventory: &str) -> Self {
        Self {
            inventory: inventory.into(),
            playbooks: None,
            templates: None,
            limit: Vec::new(),
            until: None,
            take_over: Vec::new(),
            forks: NonZeroUsize::MIN,
            spread: Spread::Auto,
            yes: false,
            diff: false,
        }
    }
}
