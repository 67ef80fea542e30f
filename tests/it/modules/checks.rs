//! Checks and conditions, as a probe and a play run them.

use std::collections::{BTreeMap, BTreeSet};

use labctl::engine::probe;
use labctl::module::Question;

use super::*;

#[tokio::test]
async fn a_check_may_be_longer_than_an_argument() {
    let machine = Machine::new();
    // With a word about each node of a lab of thousands.
    let long = |check: &str| format!("{check} # {}", "worker ".repeat(30_000));
    let desired = [command("touch /done", &long("[ -e /done ]")), wait(&long("test -e /done"), 5)];
    machine.settles(&desired).await;
    assert_eq!(machine.sh("ls /done"), "/done");
}

#[tokio::test]
async fn a_check_that_hangs_or_cannot_be_read_says_nothing_of_the_others() {
    let machine = Machine::new();
    let checks = ["sleep 100", "if", "exit 3", "cat", "! true", "true"];
    let mut asked: BTreeSet<Question> =
        checks.into_iter().map(|text| Question::Check(text.to_owned())).collect();
    asked.insert(Question::Test("[ -e /etc ]".to_owned()));
    let facts = probe::ask(&machine.transport(), &asked).await.expect("a whole answer");
    let right = [
        ("! true", false),
        ("[ -e /etc ]", true),
        ("cat", true),
        ("exit 3", false),
        ("if", false),
        ("true", true),
    ];
    let right = right.map(|(check, passed)| (check.to_owned(), passed));
    assert_eq!(facts.checks, BTreeMap::from(right), "one that hangs has no answer");
}
