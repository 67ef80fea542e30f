//! What a probe found of the nodes' machines: asked with everything else, and known before the next
//! plan is made.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Node};
use crate::machine::etcd::{BOOTSTRAP, DATA, MEMBER};
use crate::machine::{Etcd, Machine, Machines};
use crate::module::{Facts, Question};

/// What to ask of every node.
pub fn questions() -> [Question; 4] {
    [
        Question::Machine,
        Question::Text(BOOTSTRAP.to_owned()),
        Question::Text(MEMBER.to_owned()),
        Question::Path(DATA.to_owned()),
    ]
}

/// The machines as these answers have them.
pub fn found(facts: &BTreeMap<String, Facts>) -> Machines {
    facts.iter().map(|(node, facts)| (node.clone(), machine(facts))).collect()
}

fn machine(facts: &Facts) -> Machine {
    let bootstrap = facts.texts.get(BOOTSTRAP).map(String::as_str);
    let (member, data) = (facts.texts.contains_key(MEMBER), facts.paths.contains_key(DATA));
    Machine { etcd: Etcd::of(bootstrap, member, data), ..Machine::read(&facts.machine) }
}

/// The lab with this knowledge of its machines. Those that were not asked are as they were, but
/// their etcd may have come to anything meanwhile.
pub fn learn(cluster: &Cluster, found: &Machines) -> Cluster {
    let learned = |node: &Node| match found.get(&node.name) {
        Some(machine) => machine.clone(),
        None => Machine { etcd: Etcd::unseen(), ..node.facts.clone() },
    };
    cluster.knowing(&cluster.nodes.iter().map(|node| (node.name.clone(), learned(node))).collect())
}
