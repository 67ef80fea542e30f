//! Every verb, every option and every key of an inventory has a story, or says here that it has
//! none yet: something new without one is red.

use std::collections::BTreeSet;

use clap::CommandFactory;
use labctl::inventory::keys;

/// What no story runs with success and looks at, each with the reason. This list may only become
/// shorter.
const NO_STORY_YET: &[&str] = &[];

/// Every verb as it is typed, with each of its own options; global options stand alone.
fn surface() -> BTreeSet<String> {
    fn add(command: &clap::Command, before: &str, found: &mut BTreeSet<String>) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            if let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long)) {
                let global = arg.is_global_set();
                if !global || before.is_empty() {
                    found.insert(format!("{before} --{long}").trim().to_owned());
                }
            }
        }
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let name = format!("{before} {}", verb.get_name()).trim().to_owned();
            if verb.get_subcommands().next().is_none() {
                found.insert(name.clone());
            }
            add(verb, &name, found);
        }
    }
    let mut found = BTreeSet::new();
    add(&labctl::cli::Cli::command(), "", &mut found);
    found.extend(keys());
    found
}

/// Every key of an inventory, with its section; not those that are a section themselves.
fn keys() -> BTreeSet<String> {
    // A jump host as a mapping has no keys but those of `ssh`.
    let sections = || keys::SECTIONS.iter().filter(|section| **section != &keys::JUMP);
    let is_section = |key: &str| sections().any(|section| section.name == key);
    let named = |section: &&keys::KeySection| -> Vec<String> {
        let prefix = if section.name.is_empty() { "" } else { "." };
        section.names().map(|key| format!("{}{prefix}{key}", section.name)).collect()
    };
    let keys = sections().flat_map(named).filter(|key| !is_section(key));
    keys.map(|key| format!("inventory {key}")).collect()
}

#[test]
fn every_verb_option_and_key_has_a_story() {
    let surface = surface();
    assert!(surface.len() > 100, "{surface:?}");
    let told: BTreeSet<String> = include_str!("../stories.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split('\t').next().expect("a name").to_owned())
        .collect();
    let none: BTreeSet<String> = NO_STORY_YET.iter().map(|it| (*it).to_owned()).collect();
    let listed: BTreeSet<String> = told.union(&none).cloned().collect();
    let untold: Vec<&String> = surface.difference(&listed).collect();
    assert!(untold.is_empty(), "no story: add one, and name it in tests/stories.txt: {untold:#?}");
    let gone: Vec<&String> = listed.difference(&surface).collect();
    assert!(gone.is_empty(), "there is no such verb or option: {gone:#?}");
    let both: Vec<&String> = told.intersection(&none).collect();
    assert!(both.is_empty(), "these have a story, so they are not without one: {both:#?}");
}

/// A story that is named is there: the function, in the file.
#[test]
fn every_story_that_is_named_is_there() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for line in include_str!("../stories.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (_, story) = line.split_once('\t').unwrap_or_else(|| panic!("`{line}` names no story"));
        let (file, what) =
            story.split_once(": ").unwrap_or_else(|| panic!("`{line}` names no file"));
        let text =
            std::fs::read_to_string(tests.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        // However it is broken into lines.
        let dense = |text: &str| text.split_whitespace().collect::<String>();
        let (text, what) = (dense(&text).replace(",]", "]"), dense(what));
        assert!(text.contains(&what), "{file} has no `{what}`, which `{line}` names");
    }
}
