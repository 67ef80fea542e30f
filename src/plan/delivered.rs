//! What components put on nodes, and the units that use all of it because their tasks list nothing
//! else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::DesiredPlay;
use crate::module::unit::Used;
use crate::module::{Desired, Module};
use crate::playbook::Task;

/// A node and a component.
type NodeComponent<'a> = (&'a str, &'a str);

/// Collected while tasks are expanded, over all plays.
#[derive(Debug, Default)]
pub(super) struct Delivered<'a> {
    /// The paths of the component's files on the node, and of the certificates that it reads.
    paths: BTreeMap<NodeComponent<'a>, BTreeSet<String>>,
    /// The units of the component that use all of these.
    units: BTreeSet<(NodeComponent<'a>, String)>,
}

impl<'a> Delivered<'a> {
    /// Records the result of expanding `task` on `node`.
    pub fn note(&mut self, node: &'a str, task: &'a Task, desired: &Desired) {
        let Some(component) = &task.component else { return };
        let place = (node, component.name.as_str());
        match (desired, &task.module) {
            (Desired::File(file), _) => {
                self.paths.entry(place).or_default().insert(file.path.clone());
            }
            (Desired::Unit(unit), Module::Unit(args)) if args.uses.is_none() => {
                self.units.insert((place, unit.name.clone()));
                self.paths.entry(place).or_default().extend(component.certificate_paths());
            }
            _ => {}
        }
    }

    /// Records a file that a component has from the inventory and not from a task.
    pub fn note_file(&mut self, node: &'a str, component: &'a str, desired: &Desired) {
        if let Desired::File(file) = desired {
            self.paths.entry((node, component)).or_default().insert(file.path.clone());
        }
    }

    /// Sets `uses` of each unit without one to what its component has on the node.
    pub fn tell_units(self, plays: &mut [DesiredPlay]) {
        let mut uses: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for (place, unit) in &self.units {
            let paths = self.paths.get(place).into_iter().flatten();
            uses.entry((place.0, unit)).or_default().extend(paths.map(String::as_str));
        }
        for on in plays.iter_mut().flat_map(|play| &mut play.nodes) {
            for task in &mut on.tasks {
                let Desired::Unit(unit) = Arc::make_mut(&mut task.desired) else { continue };
                let Some(paths) = uses.get(&(on.node.as_str(), unit.name.as_str())) else {
                    continue;
                };
                unit.uses.extend(
                    paths
                        .iter()
                        .map(|path| Used { path: (*path).to_owned(), sha256: String::new() }),
                );
            }
        }
    }
}
