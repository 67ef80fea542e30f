//! What `up` would change, asked and judged as `plan` does, with what is at hand.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Cluster;
use crate::commands::bring_up::way_up;
use crate::commands::exit::Stop;
use crate::commands::inputs::{Inputs, bundle_planned, ensured};
use crate::commands::options::Options;
use crate::commands::runbook::Runbook;
use crate::commands::session::lab_of;
use crate::engine::survey::{Surveyed, Unanswered};
use crate::event::Events;
use crate::module::{Desired, Facts, Question, State};
use crate::plan::{self, Tasks};
use crate::status::{Deviation, DriftedTask};

/// What the playbook wants of the lab.
pub struct Desire<'a> {
    runbook: Runbook<'a>,
}

impl<'a> Desire<'a> {
    /// Works it out.
    ///
    /// # Errors
    /// Why it cannot be worked out: there is no bundle, for instance. The status of a lab is
    /// worth a look all the same.
    pub async fn of(cluster: &'a Cluster, options: &Options) -> Result<Self, String> {
        Self::worked_out(cluster, options).await.map_err(|stop| stop.text())
    }

    async fn worked_out(cluster: &'a Cluster, options: &Options) -> Result<Self, Stop> {
        let playbook = way_up(cluster, options)?;
        let events = Events::channel().0;
        let bundle = bundle_planned(cluster, &events).await?;
        let pki = ensured(cluster, &lab_of(cluster))?.pki;
        let inputs = Inputs::new(cluster, options)?.with(pki, bundle)?;
        Ok(Self { runbook: Runbook::new(inputs, &playbook, cluster)? })
    }

    /// What it wants of each node.
    pub fn tasks(&self) -> Tasks<'_> {
        Tasks::of(self.runbook.plays())
    }

    /// What differs on the nodes that have answered.
    pub fn drift(
        &mut self,
        surveyed: &BTreeMap<String, Result<Surveyed, Unanswered>>,
    ) -> Deviation {
        let facts: BTreeMap<String, Facts> = surveyed
            .iter()
            .filter_map(|(node, looked)| Some((node.clone(), looked.as_ref().ok()?.facts.clone()?)))
            .collect();
        if facts.is_empty() {
            return Deviation::Unknown("no node has answered in time".to_owned());
        }
        match self.runbook.learn(&plan::machines::found(&facts)) {
            Err(stop) => return Deviation::Unknown(stop.text()),
            Ok(Some(earlier)) if lacks(&self.tasks(), &Tasks::of(&earlier), facts.keys()) => {
                let why = "machines are not as the last run found them; `labctl plan` asks again";
                return Deviation::Unknown(why.to_owned());
            }
            Ok(_) => {}
        }
        let mut desired = self.runbook.plays().to_vec();
        for play in &mut desired {
            play.nodes.retain(|on| facts.contains_key(&on.node));
            play.nodes.iter_mut().for_each(|on| on.tasks.retain(|it| is_a_state(&it.desired)));
        }
        let changes = plan::diff::plan(&desired, &facts).changes();
        let task = |change: crate::event::PlannedChange| DriftedTask {
            node: change.node,
            task: format!("{}: {}", change.play, change.task),
            why: change.why,
        };
        Deviation::Changes(changes.into_iter().map(task).collect())
    }
}

/// Whether a task is about how a node is, and not about when a run may continue.
fn is_a_state(desired: &Desired) -> bool {
    !matches!(desired, Desired::Wait(_))
}

/// What a plan asks of a node, without what only a run needs: whether it may begin, and what it
/// waits for. How programs are is asked by `status` itself, and quicker.
pub fn questions(tasks: &Tasks<'_>, node: &str) -> BTreeSet<Question> {
    let desired = tasks.desired(node).filter(|desired| is_a_state(desired));
    desired.flat_map(State::probe).chain(plan::machines::questions()).collect()
}

/// The units that are started on a node.
pub fn units(tasks: &Tasks<'_>, node: &str) -> BTreeSet<String> {
    let started = |desired: &Desired| match desired {
        Desired::Unit(unit) if unit.started => Some(unit.name.clone()),
        _ => None,
    };
    tasks.desired(node).filter_map(started).collect()
}

/// Whether the plays need to know of a node what `earlier` ones did not ask. Another content of the
/// same file is no other question: what is there was answered.
fn lacks<'a>(
    tasks: &Tasks<'_>,
    earlier: &Tasks<'_>,
    mut nodes: impl Iterator<Item = &'a String>,
) -> bool {
    let place = |question: Question| match question {
        Question::File { path, .. } => Question::Path(path),
        other => other,
    };
    nodes.any(|node| {
        let asked: BTreeSet<Question> = questions(earlier, node).into_iter().map(place).collect();
        questions(tasks, node).into_iter().any(|question| !asked.contains(&place(question)))
    })
}
