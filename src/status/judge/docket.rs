//! What is judged, and what was found so far.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::cluster::{Cluster, Node, Role};
use crate::pki::identity::Holding;
use crate::pki::inspect::Certificate;
use crate::status::answer::NodeAnswer;
use crate::status::{Deviation, FaultKind, Finding};

/// What is known of a lab when it is judged.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The lab.
    pub cluster: &'a Cluster,
    /// The nodes that were looked at, in inventory order.
    pub nodes: Vec<&'a Node>,
    /// The inventory as it is typed after a verb.
    pub inventory: String,
    /// The units that each node should run, by its name.
    pub units: BTreeMap<String, BTreeSet<String>>,
    /// What nodes have answered.
    pub answers: BTreeMap<String, NodeAnswer>,
    /// Why the others have not; a local node that does not run is [`Silence::Stopped`].
    pub silent: BTreeMap<String, Silence>,
    /// The keys of the lab directory.
    pub holding: Holding,
    /// The CAs of the lab directory.
    pub authorities: Vec<Certificate>,
    /// What `up` would change.
    pub drift: Deviation,
    /// The workstation's time when nodes were asked.
    pub now: OffsetDateTime,
}

/// Why a node has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// It is a local node, and does not run.
    Stopped,
    /// There is no connection to it, for this reason.
    NoConnection(String),
    /// It could not be asked over its connection, for this reason.
    NoAnswer(String),
}

/// The findings so far.
pub(super) struct Docket<'a> {
    /// What is judged.
    pub known: &'a Known<'a>,
    /// In the order in which they were found.
    pub all: Vec<Finding>,
}

impl Docket<'_> {
    pub fn add(
        &mut self,
        kind: FaultKind,
        node: Option<&str>,
        what: impl Into<String>,
        mend: String,
    ) {
        let (node, what) = (node.map(str::to_owned), what.into());
        self.all.push(Finding { kind, node, what, mend, hint: None });
    }

    /// Adds what else helps with the last finding.
    pub fn hint(&mut self, hint: impl Into<String>) {
        if let Some(last) = self.all.last_mut() {
            last.hint = Some(hint.into());
        }
    }

    /// Whether one of these is known of a node, and explains what else is wrong there.
    pub fn has(&self, node: &str, kinds: &[FaultKind]) -> bool {
        let of_node = self.all.iter().filter(|finding| finding.node.as_deref() == Some(node));
        of_node.into_iter().any(|finding| kinds.contains(&finding.kind))
    }

    /// Whether a unit of a node is known not to run.
    pub fn has_unit(&self, node: &str, unit: &str) -> bool {
        self.all.iter().any(|finding| {
            let of_node = finding.node.as_deref() == Some(node) && finding.kind == FaultKind::Unit;
            of_node && finding.what.starts_with(unit)
        })
    }

    /// Worst first; of a kind, in the order of the inventory.
    pub fn sorted(mut self) -> Vec<Finding> {
        let nodes = &self.known.cluster.nodes;
        let place = |finding: &Finding| {
            let at = finding.node.as_ref();
            at.map_or(0, |name| {
                nodes.iter().position(|node| node.name == *name).map_or(usize::MAX, |at| at + 1)
            })
        };
        self.all.sort_by_key(|finding| (finding.kind, place(finding)));
        self.all
    }
}

impl Known<'_> {
    /// `labctl VERB INVENTORY`, with `words` after it.
    pub fn command(&self, verb: &str, words: &str) -> String {
        let line = format!("labctl {verb} {} {words}", self.inventory);
        line.trim_end().to_owned()
    }

    /// A command on a node.
    pub fn on(&self, node: &str, command: &str) -> String {
        self.command("exec", &format!("{node} -- {command}"))
    }

    /// What a node has answered.
    pub fn answer(&self, node: &str) -> Option<&NodeAnswer> {
        self.answers.get(node)
    }

    /// What the first API server that answered says is at `path`.
    pub fn object<T: serde::de::DeserializeOwned>(&self, path: &str) -> Option<T> {
        let controllers = self.nodes.iter().filter(|node| node.has(Role::Controller));
        controllers.into_iter().find_map(|node| self.answer(&node.name)?.object(path))
    }

    /// Whether a node should run a unit.
    pub fn runs(&self, node: &str, unit: &str) -> bool {
        self.units.get(node).is_some_and(|units| units.contains(unit))
    }

    /// Whether plays other than the standard ones make the lab: it may do without some of them.
    pub fn is_custom(&self) -> bool {
        self.cluster.playbooks.is_some()
    }
}
