//! Expands a playbook for a cluster into the desired state of each node: renders strings, looks up
//! content, unrolls loops, and adds the hashes of what units use.

mod files;
mod images;
mod place;
mod registries;

use std::collections::BTreeMap;

use self::place::{Lab, Place};
use super::coherence::{refuse_contradictions, tell_units_what_they_use};
use super::delivered::Delivered;
use super::{DesiredNode, DesiredPlay, DesiredTask, ExpandError};
use crate::bundle::Bundle;
use crate::cluster::{Cluster, Node};
use crate::module::directory::Directory;
use crate::module::file::{Blob, File};
use crate::module::user::User;
use crate::module::{Arguments as _, Desired, Shared, Site, State};
use crate::pki::list;
use crate::pki::store::Pki;
use crate::playbook::{Delivers, Play, Playbook, Task};
use crate::render::{Context, Renderer, context::Artefacts};
use crate::secret::Secret;

/// Home directory of etcd's user: its data.
const ETCD_HOME: &str = "/var/lib/etcd";
/// Why there is a user for etcd.
const WHY_ETCD: &str = "etcd runs as a user of its own, which can read its own keys and data, and \
    no other secret of the machine.";

/// Everything that tasks can refer to apart from the playbook and the inventory.
pub struct Materials<'a> {
    /// The lab.
    pub cluster: &'a Cluster,
    /// Its certificates and keys.
    pub pki: &'a Pki,
    /// Its kubeconfigs by name.
    pub kubeconfigs: &'a BTreeMap<String, Secret>,
    /// The bundle with its binaries and images.
    pub bundle: &'a Bundle,
    /// The templates.
    pub renderer: &'a Renderer,
    /// Values of the bundle and the PKI for templates.
    pub artefacts: &'a Artefacts,
    /// Large secret files that this run passes to the playbook, by their names there:
    /// `backup/snapshot.db`.
    pub handed: &'a BTreeMap<String, Blob>,
}

/// Expands every play for every node.
///
/// # Errors
/// Returns the first task that refers to something that does not exist, renders to an invalid path,
/// CIDR or address, or contradicts another task.
pub fn expand(
    playbook: &Playbook,
    materials: &Materials<'_>,
) -> Result<Vec<DesiredPlay>, ExpandError> {
    let lab = Lab::new(materials);
    let mut delivered = Delivered::default();
    let mut plays: Vec<DesiredPlay> = Vec::with_capacity(playbook.plays.len());
    for play in &playbook.plays {
        let earlier = |name: &String| playbook.plays.iter().position(|it| it.name == *name);
        plays.push(DesiredPlay {
            name: play.name.clone(),
            why: play.why.clone(),
            after: play.after.iter().filter_map(earlier).collect(),
            strategy: play.strategy,
            nodes: nodes_of(play, &lab, &mut delivered)?,
        });
    }
    refuse_contradictions(&plays)?;
    delivered.tell_units(&mut plays);
    tell_units_what_they_use(&mut plays)?;
    Ok(plays)
}

/// What a play wants of each of its nodes; nodes of which it wants nothing are left out.
fn nodes_of<'a>(
    play: &'a Play,
    lab: &Lab<'a>,
    delivered: &mut Delivered<'a>,
) -> Result<Vec<DesiredNode>, ExpandError> {
    let shared: Vec<Shared> = play.tasks.iter().map(|_| Shared::default()).collect();
    let cluster = lab.materials.cluster;
    let mut nodes = Vec::new();
    // What is done once is done on a node that the run is for.
    let first = cluster.nodes.iter().find(|it| play.on.includes(it) && lab.is_in_limit(it));
    for node in cluster.nodes.iter().filter(|node| play.on.includes(node)) {
        let is_first = first.is_some_and(|first| first.name == node.name);
        let expansion = Expansion { play, node, lab, shared: &shared, is_first };
        let tasks = expansion.tasks(delivered)?;
        if !tasks.is_empty() {
            nodes.push(DesiredNode { node: node.name.clone(), tasks });
        }
    }
    Ok(nodes)
}

/// One play on one node.
struct Expansion<'a, 'l> {
    play: &'a Play,
    node: &'a Node,
    lab: &'l Lab<'a>,
    /// What nodes share of each task.
    shared: &'l [Shared],
    /// Whether tasks that are done once are done here.
    is_first: bool,
}

impl<'a> Expansion<'a, '_> {
    /// Puts the place before what is wrong.
    fn at(&self, task: impl ToString) -> impl Fn(String) -> ExpandError {
        let (play, node, task) = (self.play.name.clone(), self.node.name.clone(), task.to_string());
        move |what| ExpandError { play: play.clone(), task: task.clone(), node: node.clone(), what }
    }

    fn holds(&self, condition: Option<&String>, context: &Context) -> Result<bool, String> {
        let Some(condition) = condition else { return Ok(true) };
        let condition = self.lab.materials.renderer.condition(condition, context);
        condition.map_err(|error| error.to_string())
    }

    fn tasks(&self, delivered: &mut Delivered<'a>) -> Result<Vec<DesiredTask>, ExpandError> {
        let mut tasks = Vec::new();
        let own = self.lab.common.on(self.node, None);
        if !self.holds(self.play.when.as_ref(), &own).map_err(self.at(""))? {
            return Ok(tasks);
        }
        for delivers in &self.play.delivers {
            tasks.extend(match delivers {
                Delivers::Certificates => self.certificates()?,
                Delivers::Registries => self.registries(&own)?,
                // They need the runtime, which the tasks start.
                Delivers::Images => continue,
            });
        }
        for task in self.files() {
            delivered.note_file(&self.node.name, &self.play.name, &task.desired);
            tasks.push(task);
        }
        for (index, task) in self.play.tasks.iter().enumerate() {
            if task.once && !self.is_first || !task.on.iter().all(|on| on.includes(self.node)) {
                continue;
            }
            let name = task.name.clone();
            let at =
                self.at(name.unwrap_or_else(|| format!("{} ({})", index + 1, task.module.kind())));
            let shared = &self.shared[index];
            for place in self.lab.places(self.node, task.each, &own, shared) {
                let Some(done) = self.task(task, &place).map_err(&at)? else { continue };
                delivered.note(&self.node.name, task, &done.desired);
                tasks.push(done);
            }
        }
        if self.play.delivers.contains(&Delivers::Images) {
            tasks.extend(self.images());
        }
        Ok(tasks)
    }

    /// A task at one place; none where its condition is false.
    fn task(&self, task: &Task, place: &Place<'_>) -> Result<Option<DesiredTask>, String> {
        if !self.holds(task.when.as_ref(), &place.context)? {
            return Ok(None);
        }
        let desired = task.module.expand(place)?;
        let title = match &task.name {
            Some(name) => place.text(name)?,
            None => desired.title(),
        };
        Ok(Some(DesiredTask { title, why: task.why.clone(), desired: desired.into() }))
    }

    /// Returns the certificates, keys and kubeconfigs of the node, and their directories.
    fn certificates(&self) -> Result<Vec<DesiredTask>, ExpandError> {
        let files = list::files_of(self.node);
        let owned_by = |user: &str| format!("{user}:{user}");
        let directory = |path| {
            let (mode, owner) = ("755".to_owned(), owned_by(list::ROOT));
            Desired::Directory(Directory { path, mode, owner })
        };
        let mut all: Vec<(Desired, Option<&str>)> =
            list::directories_of(&files).into_iter().map(|path| (directory(path), None)).collect();
        if files.iter().any(|file| file.owner == list::ETCD_USER) {
            let (name, home) = (list::ETCD_USER.to_owned(), ETCD_HOME.to_owned());
            all.push((Desired::User(User { name, home }), Some(WHY_ETCD)));
        }
        for list::Placed { from: origin, to: path, is_private, owner, why } in files {
            let (content, sensitive) = self.lab.artefact(&origin).map_err(self.at(&path))?;
            let (mode, owner) = (if is_private { "600" } else { "644" }, owned_by(owner));
            let file = File { path, mode: mode.to_owned(), owner, content, sensitive, origin };
            all.push((Desired::File(file), why));
        }
        let task = |(desired, why): (Desired, Option<&str>)| DesiredTask {
            title: desired.title(),
            why: why.map(str::to_owned),
            desired: desired.into(),
        };
        Ok(all.into_iter().map(task).collect())
    }
}
