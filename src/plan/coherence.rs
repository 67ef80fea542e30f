//! Checks across the tasks of a node: they must not contradict each other, and a unit uses what all
//! tasks that mention it list.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DesiredNode, DesiredPlay, DesiredTask, ExpandError};
use crate::module::unit::{Unit, Used};
use crate::module::{Desired, State};

/// The desired files on each node, by path, with their hashes.
type Files = BTreeMap<String, BTreeMap<String, String>>;

/// Refuses two tasks that want different states of the same thing: whichever runs last would win
/// every time.
pub(super) fn refuse_contradictions(plays: &[DesiredPlay]) -> Result<(), ExpandError> {
    let mut seen: BTreeMap<(&str, String), (&str, String)> = BTreeMap::new();
    for play in plays {
        for on in &play.nodes {
            for task in &on.tasks {
                let Some((thing, state)) = task.desired.subject() else { continue };
                let this = (play.name.as_str(), state);
                if let Some((other, earlier)) = seen.insert((&on.node, thing.clone()), this.clone())
                    && earlier != this.1
                {
                    return Err(ExpandError {
                        play: play.name.clone(),
                        task: task.title.clone(),
                        node: on.node.clone(),
                        what: contradiction(other, &play.name, &thing),
                    });
                }
            }
        }
    }
    Ok(())
}

fn contradiction(other: &str, play: &str, thing: &str) -> String {
    let place =
        if other == play { "earlier in this play".to_owned() } else { format!("by play {other}") };
    format!(
        "{thing} is defined differently {place}: change or remove one of the \
        two tasks"
    )
}

/// Replaces the paths in every unit's `uses` by the files at those paths, with their hashes. A unit
/// in several tasks uses what all of them list; otherwise each would restart it because of the
/// other, forever.
pub(super) fn tell_units_what_they_use(plays: &mut [DesiredPlay]) -> Result<(), ExpandError> {
    let mut files: Files = BTreeMap::new();
    for (on, task) in tasks(plays) {
        if let Desired::File(file) = &*task.desired {
            let sha256 = file.content.sha256().to_owned();
            files.entry(on.node.clone()).or_default().insert(file.path.clone(), sha256);
        }
    }
    let none = BTreeMap::new();
    let mut uses: BTreeMap<(String, String), Vec<Used>> = BTreeMap::new();
    for play in &*plays {
        for (on, task) in tasks(std::slice::from_ref(play)) {
            let Desired::Unit(unit) = &*task.desired else { continue };
            let found = used_by(unit, files.get(&on.node).unwrap_or(&none)).map_err(|what| {
                ExpandError {
                    play: play.name.clone(),
                    task: task.title.clone(),
                    node: on.node.clone(),
                    what,
                }
            })?;
            uses.entry((on.node.clone(), unit.name.clone())).or_default().extend(found);
        }
    }
    for all in uses.values_mut() {
        all.sort();
        all.dedup();
    }
    for on in plays.iter_mut().flat_map(|play| &mut play.nodes) {
        for task in &mut on.tasks {
            let Desired::Unit(unit) = Arc::make_mut(&mut task.desired) else { continue };
            unit.uses =
                uses.get(&(on.node.clone(), unit.name.clone())).cloned().unwrap_or_default();
        }
    }
    Ok(())
}

fn tasks(plays: &[DesiredPlay]) -> impl Iterator<Item = (&DesiredNode, &DesiredTask)> {
    plays
        .iter()
        .flat_map(|play| &play.nodes)
        .flat_map(|on| on.tasks.iter().map(move |task| (on, task)))
}

/// Returns the unit's own file with its drop-ins, and the files that its task lists.
fn used_by(unit: &Unit, files: &BTreeMap<String, String>) -> Result<Vec<Used>, String> {
    let used =
        |(path, sha256): (&String, &String)| Used { path: path.clone(), sha256: sha256.clone() };
    let below = |folder: &str| {
        let folder = folder.to_owned();
        files.iter().filter(move |(path, _)| path.starts_with(&folder)).map(used)
    };
    let own = format!("/etc/systemd/system/{}", unit.name);
    let mut all: Vec<Used> = files.get_key_value(&own).map(used).into_iter().collect();
    all.extend(below(&format!("{own}.d/")));
    for wanted in &unit.uses {
        let before = all.len();
        if wanted.path.ends_with('/') {
            all.extend(below(&wanted.path));
        } else {
            all.extend(files.get_key_value(&wanted.path).map(used));
        }
        if all.len() == before {
            let (unit, path) = (&unit.name, &wanted.path);
            return Err(format!(
                "{unit} uses {path}, but no task creates it; add one, or remove it from `uses`"
            ));
        }
    }
    Ok(all)
}
