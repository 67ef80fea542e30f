//! Playbooks: ordered sets of plays that bring nodes to a desired state, as data.
//!
//! This module defines the types of the YAML; [`load`] reads it, [`component`] combines plays with
//! component files, and [`standard`] contains the compiled-in playbooks. Strings here are still
//! templates; the plan renders them per node.

pub mod component;
mod extend;
pub mod graph;
pub mod load;
mod on;
pub mod part;
pub mod standard;
mod task;
mod wrong;

use serde::Deserialize;

use crate::module::Arguments as _;
pub use on::On;
pub use task::{Component, Task};
pub use wrong::PlaybookError;

/// The playbook that brings a lab up.
pub const UP: &str = "up";

/// An ordered set of plays.
#[derive(Debug, Clone, PartialEq)]
pub struct Playbook {
    /// Its name: the verb that runs it.
    pub name: String,
    /// What it is for, in a sentence or two.
    pub why: String,
    /// The plays.
    pub plays: Vec<Play>,
}

impl Playbook {
    /// Returns the templates that its tasks use; a name may still contain a variable.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.plays.iter().flat_map(|play| &play.tasks).filter_map(|task| task.module.template())
    }

    /// What is wrong with the add-ons that an inventory asks for, if anything is. Only a playbook
    /// that has some can judge them: most do not bring a lab up.
    pub fn unknown_addon(&self, wanted: &[String]) -> Option<String> {
        let addons = self.plays.iter().filter(|play| play.addon).map(|play| play.name.as_str());
        let known: Vec<&str> = addons.collect();
        if known.is_empty() && self.name != UP {
            return None;
        }
        let unknown = wanted.iter().find(|addon| !known.contains(&addon.as_str()))?;
        let known = match &known[..] {
            [] => "it has none".to_owned(),
            known => format!("there are {}", known.join(", ")),
        };
        Some(format!("`addons`: the playbook `{}` has no add-on `{unknown}`; {known}", self.name))
    }

    /// Returns the first sentence of `why`.
    pub fn summary(&self) -> String {
        let why = one_line(&self.why);
        why.split_once(". ").map(|(first, _)| format!("{first}.")).unwrap_or(why)
    }
}

/// Joins the lines of a text that YAML folded.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tasks for the nodes of some roles, with the plays it comes after.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// Its name, unique in the playbook.
    pub name: String,
    /// The nodes that it is for.
    pub on: On,
    /// The plays that must have finished on all of their nodes.
    pub after: Vec<String>,
    /// Whether its nodes run in parallel or one by one.
    pub strategy: Strategy,
    /// A condition over the cluster and the node; the play is skipped where it is false.
    pub when: Option<String>,
    /// Whether it is an add-on, which only labs have whose inventory names it.
    pub addon: bool,
    /// Why the play exists, for a learner.
    pub why: String,
    /// What each node gets that follows from the inventory: files before the tasks, images after
    /// them.
    pub delivers: Vec<Delivers>,
    /// The desired states in order: its own tasks, and those that it gathers from components.
    pub tasks: Vec<Task>,
}

/// Files that follow from the inventory, so that no task has to list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivers {
    /// The certificates, keys and kubeconfigs for a node of these roles.
    Certificates,
    /// What containerd has to know of each registry of the inventory.
    Registries,
    /// The images of the bundle that no component needs, but add-ons of the lab's own name.
    Images,
}

/// The order in which a play runs on its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// All nodes at the same time.
    #[default]
    Parallel,
    /// One node at a time, including its waits. Nodes on which none of the play's units is running
    /// yet come first and together: nothing can be interrupted there, and the first members of an
    /// etcd cluster only become ready together.
    Rolling,
}
