//! What a look at the machines comes to before anything is done to them: for each answer that a
//! machine may give, whether a run is refused, warned of, or fine.

mod boot;
mod firewall;
mod machine;
mod networks;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use labctl::cluster::Cluster;
use labctl::module::probe::{PathFact, UnitFact};
use labctl::module::{Desired, Facts, State};
use labctl::plan::preflight::{Findings, Obstacle, findings};
use labctl::plan::{DesiredPlay, Tasks};
use labctl::playbook::standard;

use crate::support::labs;
use crate::support::workshop::Workshop;

/// A lab whose machines are as desired, and what they answer beside that.
#[derive(Clone)]
struct Stage {
    cluster: Cluster,
    desired: Vec<DesiredPlay>,
    facts: BTreeMap<String, Facts>,
}

impl Stage {
    fn of(cluster: Cluster) -> Self {
        let workshop = Workshop::new(cluster);
        let playbook = standard::find("up", None).expect("a playbook");
        let desired = workshop.expand(&playbook).expect("a plan");
        let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
        for on in desired.iter().flat_map(|play| &play.nodes) {
            let facts = facts.entry(on.node.clone()).or_default();
            on.tasks.iter().for_each(|task| task.desired.settle(facts));
        }
        Self { cluster: workshop.cluster, desired, facts }
    }

    /// The lab of the guides, on machines that were there before.
    fn own_machines() -> Self {
        static STAGE: LazyLock<Stage> =
            LazyLock::new(|| Stage::of(Cluster { local: None, ..labs::sandbox() }));
        STAGE.clone()
    }

    /// The lab of the guides, on the workstation.
    fn local() -> Self {
        static STAGE: LazyLock<Stage> = LazyLock::new(|| Stage::of(labs::sandbox()));
        STAGE.clone()
    }

    fn on(&mut self, node: &str) -> &mut Facts {
        self.facts.get_mut(node).expect("a node")
    }

    /// A node answers a question about what else is on its machine.
    fn answer(&mut self, node: &str, question: &str, lines: &[&str]) {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.on(node).surroundings.insert(question.to_owned(), lines);
    }

    /// A node says what its machine is like.
    fn machine(&mut self, node: &str, key: &str, value: &str) {
        self.on(node).machine.insert(key.to_owned(), value.to_owned());
    }

    /// A unit of somebody else's runs on a node.
    fn runs(&mut self, node: &str, unit: &str) {
        let fact = UnitFact { active: "active".to_owned(), ..UnitFact::default() };
        self.on(node).units.insert(unit.to_owned(), fact);
    }

    /// labctl has changed something on a node before.
    fn worked_on(&mut self, node: &str) {
        let record = PathFact { size: 1, ..PathFact::default() };
        self.on(node).paths.insert("/var/lib/labctl/record".to_owned(), record);
    }

    /// Forgets what was asked for some of a node's tasks: they are still to be done.
    fn unsettle(&mut self, node: &str, which: impl Fn(&Desired) -> bool) {
        let tasks: Vec<Desired> = Tasks::of(&self.desired)
            .desired(node)
            .filter(|desired| which(desired))
            .cloned()
            .collect();
        let facts = self.on(node);
        for question in tasks.iter().flat_map(State::probe) {
            use labctl::module::Question as Asked;
            match question {
                Asked::Check(check) | Asked::Test(check) => drop(facts.checks.remove(&check)),
                Asked::File { path, .. } | Asked::Path(path) => drop(facts.paths.remove(&path)),
                Asked::Images => facts.images.clear(),
                _ => {}
            }
        }
    }

    fn findings(&self) -> Findings {
        findings(&self.cluster, Some("amd64"), &self.desired, &self.facts)
    }

    /// What is found when a node gives this answer.
    fn said(&self, node: &str, question: &str, lines: &[&str]) -> Findings {
        let mut stage = self.clone();
        stage.answer(node, question, lines);
        stage.findings()
    }

    /// Why this answer of a node is refused; nothing if it is not.
    fn refused(&self, node: &str, question: &str, lines: &[&str]) -> Vec<String> {
        told(&self.said(node, question, lines).obstacles)
    }

    /// What is warned of for this answer of a node, without the questions that it left open.
    fn warned(&self, node: &str, question: &str, lines: &[&str]) -> Vec<String> {
        let mut all = told(&self.said(node, question, lines).warnings);
        all.retain(|warning| !warning.contains("could not be judged"));
        all
    }
}

fn told(obstacles: &[Obstacle]) -> Vec<String> {
    obstacles.iter().map(|it| format!("{}: {}", it.node, it.what)).collect()
}

#[test]
fn machines_that_answer_nothing_are_not_judged() {
    for stage in [Stage::own_machines(), Stage::local()] {
        assert_eq!(stage.findings(), Findings::default());
    }
}

#[test]
fn a_question_without_an_answer_is_named_and_refuses_nothing() {
    let found = Stage::own_machines().said("worker-0", "memory", &["8000000"]);
    assert_eq!(found.obstacles, []);
    let [warning] = &found.warnings[..] else { panic!("{found:?}") };
    assert!(warning.what.starts_with("could not be judged: its addresses, its routes"));
    assert!(!warning.what.contains("its memory"), "{}", warning.what);
    // Nobody depends on a client's ports and routes.
    assert_eq!(Stage::own_machines().said("client-0", "memory", &["8000000"]), Findings::default());
}

#[test]
fn a_playbook_that_starts_nothing_asks_for_nothing() {
    let mut stage = Stage::own_machines();
    for name in ["down", "remove-node"] {
        let playbook = standard::find(name, None).expect("a playbook");
        let workshop = Workshop::new(stage.cluster.clone());
        stage.desired = workshop.expand(&playbook).expect("a plan");
        stage.answer("worker-0", "addresses", &["eth0 10.0.0.5/24"]);
        stage.answer("worker-0", "listeners", &["10250 - k3s"]);
        stage.answer("worker-0", "routes", &["10.200.0.0/16 via 192.0.2.1 dev eth0"]);
        stage.answer("worker-0", "kernel", &["no 6.1.0"]);
        stage.machine("worker-0", "architecture", "aarch64");
        assert_eq!(stage.findings(), Findings::default(), "{name}");
    }
}

#[test]
fn a_warning_of_many_nodes_is_said_once() {
    let warning = |node: &str, what: &str| Obstacle {
        node: node.to_owned(),
        what: what.to_owned(),
        help: "look".to_owned(),
    };
    let all = [warning("a", "one"), warning("b", "two"), warning("c", "one")];
    assert_eq!(
        labctl::plan::preflight::told(&all),
        [(vec!["a", "c"], "one; look".to_owned()), (vec!["b"], "two; look".to_owned())]
    );
}
