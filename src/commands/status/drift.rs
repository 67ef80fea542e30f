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
use crate::module::{Desired, Facts, Question, State as _};
use crate::plan::{self, DesiredPlay, DesiredTask};
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

    /// What a plan asks of a node, without what only a run needs: whether it may begin, and what it
    /// waits for. How programs are is asked by `status` itself, and quicker.
    pub fn questions(&self, node: &str) -> BTreeSet<Question> {
        questions(self.runbook.plays(), node)
    }

    /// The units that are started on a node.
    pub fn units(&self, node: &str) -> BTreeSet<String> {
        plan::tasks_of(self.runbook.plays(), node)
            .filter_map(|task| match &*task.desired {
                Desired::Unit(unit) if unit.started => Some(unit.name.clone()),
                _ => None,
            })
            .collect()
    }

    /// Whether the plays need to know of a node what `earlier` ones did not ask. Another content of
    /// the same file is no other question: what is there was answered.
    fn lacks(&self, node: &str, earlier: &[DesiredPlay]) -> bool {
        let place = |question: &Question| match question {
            Question::File { path, .. } | Question::Path(path) => Question::Path(path.clone()),
            other => other.clone(),
        };
        let asked: BTreeSet<Question> = questions(earlier, node).iter().map(place).collect();
        self.questions(node).iter().any(|question| !asked.contains(&place(question)))
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
            Ok(Some(earlier)) if facts.keys().any(|node| self.lacks(node, &earlier)) => {
                let why = "machines are not as the last run found them; `labctl plan` asks again";
                return Deviation::Unknown(why.to_owned());
            }
            Ok(_) => {}
        }
        let mut desired = self.runbook.plays().to_vec();
        for play in &mut desired {
            play.nodes.retain(|on| facts.contains_key(&on.node));
            play.nodes.iter_mut().for_each(|on| on.tasks.retain(is_a_state));
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
fn is_a_state(task: &DesiredTask) -> bool {
    !matches!(*task.desired, Desired::Wait(_))
}

fn questions(plays: &[DesiredPlay], node: &str) -> BTreeSet<Question> {
    let tasks = plan::tasks_of(plays, node).filter(|task| is_a_state(task));
    tasks.flat_map(|task| task.desired.probe()).chain(plan::machines::questions()).collect()
}
