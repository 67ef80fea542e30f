//! Components: one file contains everything that makes up etcd or kubelet, however many plays use
//! it.
//!
//! A playbook's own file lists its plays in order. A play without tasks there takes them from the
//! component file of the same name: `up/etcd.yaml` has the tasks of the play `etcd` in `up.yaml`,
//! and also what etcd needs in earlier plays. Plays gather that: a play with `gathers: binaries`
//! gets the binaries of all components that are only on its own nodes. So each component is in one
//! place, and everything that can start early does.

use std::sync::Arc;

use serde::Deserialize;

use super::{Component, Delivers, On, Play, Strategy, Task};
use crate::module::Module;

/// The sections of components that a play can gather.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// `prepare`.
    Prepare,
    /// `binaries`.
    Binaries,
    /// `images`: on the gathering play's nodes, wherever the component itself is at work.
    Images,
}

impl Section {
    const ALL: [(Section, &'static str); 3] = [
        (Section::Prepare, "prepare"),
        (Section::Binaries, "binaries"),
        (Section::Images, "images"),
    ];

    /// Its tasks in a component.
    fn of(self, component: &Component) -> &[Task] {
        match self {
            Section::Prepare => &component.prepare,
            Section::Binaries => &component.binaries,
            Section::Images => &component.images,
        }
    }
}

/// A play as written in the playbook's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlayEntry {
    pub name: String,
    #[serde(alias = "hosts")]
    on: On,
    #[serde(default)]
    pub after: Vec<String>,
    #[serde(default)]
    pub before: Vec<String>,
    #[serde(default)]
    strategy: Strategy,
    when: Option<String>,
    #[serde(default)]
    addon: bool,
    #[serde(default)]
    why: String,
    gathers: Option<Section>,
    #[serde(default)]
    delivers: Vec<Delivers>,
    pub tasks: Option<Vec<Task>>,
}

impl PlayEntry {
    /// Whether the play has no tasks of its own, so that it needs a component file.
    pub fn lacks_tasks(&self) -> bool {
        self.tasks.is_none() && self.gathers.is_none() && self.delivers.is_empty()
    }

    /// When it is played: an add-on only where the inventory asks for it.
    fn condition(&self) -> Option<String> {
        let asked_for = self.addon.then(|| format!("'{}' in cluster.addons", self.name));
        both(asked_for, self.when.clone())
    }
}

/// Builds the plays: each with its own or its component's tasks, and with what it gathers.
///
/// # Errors
/// If a section is gathered by no play or by more than one, or contains a task that cannot be
/// gathered.
pub(super) fn put_together(
    entries: Vec<(PlayEntry, Option<Component>)>,
) -> Result<Vec<Play>, String> {
    let mut parts: Vec<(PlayEntry, Option<Arc<Component>>)> = Vec::with_capacity(entries.len());
    for (entry, component) in entries {
        let named = component
            .map(|component| Arc::new(Component { name: entry.name.clone(), ..component }));
        parts.push((entry, named));
    }
    let mut gathered: Vec<Vec<Task>> = parts.iter().map(|_| Vec::new()).collect();
    for (entry, component) in &parts {
        let Some(component) = component else { continue };
        for (section, name) in Section::ALL {
            if section.of(component).is_empty() {
                continue;
            }
            let gathers = |(other, _): &(PlayEntry, _)| {
                other.gathers == Some(section)
                    && (section == Section::Images || entry.on.is_within(&other.on))
            };
            let plays: Vec<usize> =
                (0..parts.len()).filter(|&index| gathers(&parts[index])).collect();
            let [play] = plays[..] else {
                let number =
                    if plays.is_empty() { "no play gathers" } else { "more than one play gathers" };
                return Err(format!(
                    "{number} the section `{name}` of `{}`, which runs on {}",
                    entry.name, entry.on
                ));
            };
            for task in section.of(component) {
                gathered[play].push(part_of(component, entry, section, task)?);
            }
        }
    }
    let with_tasks = parts.into_iter().zip(gathered);
    Ok(with_tasks.map(|((entry, component), gathered)| play(entry, component, gathered)).collect())
}

/// Converts a task of a component's section for a play that also runs on other nodes.
fn part_of(
    component: &Arc<Component>,
    entry: &PlayEntry,
    section: Section,
    task: &Task,
) -> Result<Task, String> {
    if task.once {
        return Err(format!(
            "`{}` has a task with `once` in a section that other plays gather; move it to `tasks`",
            entry.name
        ));
    }
    let is_image = matches!(task.module, Module::Image(_));
    if section == Section::Images && !is_image {
        return Err(format!("`{}` has a task in `images` that is not an `image`", entry.name));
    }
    let mut task = Task { component: Some(Arc::clone(component)), ..task.clone() };
    if section != Section::Images {
        task.on.push(entry.on.clone());
    }
    task.when = both(entry.condition(), task.when);
    Ok(task)
}

fn both(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("({one}) and ({other})")),
        (one, other) => one.or(other),
    }
}

fn play(entry: PlayEntry, component: Option<Arc<Component>>, gathered: Vec<Task>) -> Play {
    let when = entry.condition();
    let own = match (&entry.tasks, &component) {
        (Some(tasks), _) => tasks.clone(),
        (None, Some(component)) => {
            let part =
                |task: &Task| Task { component: Some(Arc::clone(component)), ..task.clone() };
            component.tasks.iter().map(part).collect()
        }
        (None, None) => Vec::new(),
    };
    let why = if entry.why.is_empty() {
        component.map(|it| it.why.clone()).unwrap_or_default()
    } else {
        entry.why
    };
    let tasks = own.into_iter().chain(gathered).collect();
    let PlayEntry { name, on, after, strategy, addon, delivers, .. } = entry;
    Play { name, on, after, strategy, when, addon, why, delivers, tasks }
}
