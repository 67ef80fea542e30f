//! One node as the judges see it: what the plan wants of it, and what it has answered.

use super::finding::{Findings, Obstacle};
use crate::cluster::{Cluster, Node};
use crate::machine::Surroundings;
use crate::module::{Desired, Facts};
use crate::plan::ownership::{mark_file, record_file};

/// A node to be judged.
pub(super) struct Judged<'a> {
    /// The lab, with what is known of its machines.
    pub cluster: &'a Cluster,
    /// The node.
    pub node: &'a Node,
    /// What it has answered.
    pub facts: &'a Facts,
    /// What is desired on it.
    pub desired: Vec<&'a Desired>,
}

impl<'a> Judged<'a> {
    /// What else is on its machine.
    pub fn around(&self) -> Surroundings<'a> {
        Surroundings(&self.facts.surroundings)
    }

    /// Whether labctl has changed anything on it before. What is there may then be the lab's own.
    pub fn worked_on(&self) -> bool {
        let recorded = self.facts.paths.get(&record_file()).is_some_and(|record| record.size > 0);
        recorded || self.facts.texts.contains_key(&mark_file())
    }

    /// Whether the plan has this unit run on it.
    pub fn starts(&self, name: &str) -> bool {
        self.desired
            .iter()
            .any(|it| matches!(it, Desired::Unit(unit) if unit.name == name && unit.started))
    }

    /// Whether the plan makes it a node of a cluster, as opposed to a client or a load balancer, or
    /// a playbook that starts nothing.
    pub fn is_for_cluster(&self) -> bool {
        ["etcd.service", "kube-apiserver.service", "kubelet.service"]
            .iter()
            .any(|unit| self.starts(unit))
    }

    /// Notes a reason not to start.
    pub fn refuse(&self, found: &mut Findings, what: String, help: String) {
        found.obstacles.push(Obstacle { node: self.node.name.clone(), what, help });
    }

    /// Notes something that a person should know.
    pub fn warn(&self, found: &mut Findings, what: String, help: String) {
        found.warnings.push(Obstacle { node: self.node.name.clone(), what, help });
    }

    /// Notes a reason not to start on a machine that labctl has not touched. Elsewhere it is a
    /// warning: the lab runs with it, or is in a network of the workstation's own.
    pub fn refuse_new(&self, found: &mut Findings, what: String, help: String) {
        if self.worked_on() || self.cluster.local.is_some() {
            self.warn(found, what, help);
        } else {
            self.refuse(found, what, help);
        }
    }
}
