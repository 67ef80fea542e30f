//! All shell that nodes are sent goes through shellcheck: the scripts of `src/node`, what the tasks
//! of the standard playbooks make of them, their checks, and templates that are scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use labctl::engine::script::{Belonging, Turn, script};
use labctl::module::Desired;
use labctl::module::probe;
use labctl::plan::{DesiredPlay, Tasks, diff, files};
use labctl::playbook::standard;
use labctl::smoke;

use crate::support::labs;
use crate::support::workshop::Workshop;

/// What shellcheck has against a script; nothing is right. `but` are warnings that do not hold for
/// it.
fn against(text: &str, but: &str) -> String {
    let mut shellcheck = Command::new("shellcheck")
        .args(["--shell=sh", "--format=gcc", "--severity=info", "--exclude", but, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("shellcheck is there: `make prerequisites` installs it");
    let mut input = shellcheck.stdin.take().expect("a pipe");
    let text = text.to_owned();
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = shellcheck.wait_with_output().expect("an answer");
    writing.join().expect("it is written").expect("shellcheck reads all of it");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All standard playbooks for the sandbox.
fn plays() -> Vec<DesiredPlay> {
    let workshop = Workshop::new(labs::sandbox());
    let expand = |name| workshop.expand(&standard::find(name, None).expect("a playbook"));
    standard::names().flat_map(|name| expand(name).expect("it expands")).collect()
}

fn nodes() -> Vec<String> {
    labs::sandbox().nodes.into_iter().map(|node| node.name).collect()
}

#[test]
fn the_scripts_of_the_nodes_are_clean() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/node");
    let mut scripts = 0;
    let entries = |folder| std::fs::read_dir(folder).expect("a directory").flatten();
    for entry in entries(folder.clone()).chain(entries(folder.join("family"))) {
        if entry.path().extension().is_some_and(|it| it == "sh") {
            scripts += 1;
            let text = std::fs::read_to_string(entry.path()).expect("a script");
            // Variables of the scripts that stand above it.
            assert_eq!(against(&text, "SC2154"), "", "{}", entry.path().display());
        }
    }
    assert!(scripts > 8, "{scripts} scripts");
}

#[test]
fn what_the_tasks_of_the_standard_playbooks_run_is_clean() {
    // One task of each title: those of other nodes differ in names and addresses.
    let mut titles = BTreeSet::new();
    let planned = diff::plan(&plays(), &BTreeMap::new()).plays;
    let changes = planned.into_iter().flat_map(|play| play.nodes).flat_map(|node| node.changes);
    let changes: Vec<_> = changes.filter(|it| titles.insert(it.title.clone())).collect();
    assert!(changes.len() > 100, "{} tasks", changes.len());
    // Each task is a function, called by name: `run 7`.
    let text = script(&changes, &Turn::default(), &Belonging::default());
    assert_eq!(against(&text, "SC2329,SC2317,SC2034,SC2016"), "");
}

#[test]
fn checks_and_conditions_of_the_standard_playbooks_are_clean() {
    let (plays, nodes) = (plays(), nodes());
    let tasks = Tasks::of(&plays);
    let desired = nodes.iter().flat_map(|node| tasks.desired(node));
    let checks: BTreeSet<String> = desired
        .filter_map(|desired| match desired {
            Desired::Command(it) => Some(it.unless.clone()),
            Desired::Wait(it) => Some(it.until.clone()),
            _ => None,
        })
        .collect();
    assert!(checks.len() > 10, "{} checks", checks.len());
    let mut text = String::new();
    for (number, check) in checks.iter().enumerate() {
        let _ = writeln!(text, "check_{number}() {{\n{check}\n}}");
    }
    assert_eq!(against(&text, "SC2329,SC2317"), "");
}

#[test]
fn probes_smoke_checks_and_rendered_scripts_are_clean() {
    let (plays, nodes) = (plays(), nodes());
    let asked = Tasks::of(&plays).questions(&nodes[0]);
    // What is quoted is a script for another shell, which the test above looks at.
    assert_eq!(against(&probe::script(&asked), "SC2016,SC1003"), "");
    for check in smoke::checks(&labs::sandbox()) {
        // Not every check has every variable that some function of the script reads.
        assert_eq!(against(&check.script, "SC2329,SC2317,SC2034,SC2154"), "", "{}", check.name);
    }
    let mut scripts = 0;
    for file in nodes.iter().flat_map(|node| files::files_of(&plays, node)) {
        let text = String::from_utf8_lossy(file.bytes.unwrap_or_default());
        if text.starts_with("#!/bin/sh") {
            scripts += 1;
            // Functions that are called by the name in a variable; what awk reads.
            assert_eq!(against(&text, "SC2317,SC2016"), "", "{}", file.path);
        }
    }
    assert!(scripts > 0, "no template is a script");
}
