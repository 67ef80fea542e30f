//! What a probe found of the nodes' machines: asked with everything else, and known before the next
//! plan is made.

use std::collections::BTreeMap;

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

/// What is known of machines that a run cannot ask: as it was, but their etcd may have come to
/// anything meanwhile.
pub fn unseen(machine: &Machine) -> Machine {
    Machine { etcd: Etcd::unseen(), ..machine.clone() }
}
