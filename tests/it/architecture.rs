//! Holds the drawing in `src/lib.rs`: who may import whom, which library is named where, and what
//! no file may do.

mod circles;
mod names;
mod rooms;
mod scan;
mod sizes;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use clap::CommandFactory as _;
use labctl::cli::Cli;

use self::rooms::{IMPURE, LIBRARIES, MAY_TOUCH, PURE, ROOMS, TOUCHING};
use self::scan::{Named, Source, blanked, files_below, named, root, sources};

#[test]
fn every_room_imports_only_what_stands_to_its_left() {
    let mut broken = String::new();
    for source in sources() {
        let Some(room) = source.room() else { continue };
        for Named { line, path, bare, .. } in named(&source.code, &source.modules) {
            let Some(to) = path.first().filter(|_| !bare) else { continue };
            if to == room.name
                || room.imports.contains(&to.as_str())
                || !ROOMS.iter().any(|room| room.name == to)
            {
                continue;
            }
            let _ = writeln!(
                broken,
                "{}:{line}: `{}` imports `{to}`, and may not: {}",
                source.place(),
                room.name,
                room.because
            );
        }
    }
    assert!(broken.is_empty(), "\n{broken}\nSee the drawing in src/lib.rs.");
}

#[test]
fn the_table_itself_goes_one_way() {
    for (index, room) in ROOMS.iter().enumerate() {
        for import in room.imports {
            let at = ROOMS.iter().position(|other| other.name == *import);
            assert!(
                at.is_some_and(|at| at < index),
                "`{}` names `{import}`, which is not above it",
                room.name
            );
        }
    }
}

#[test]
fn the_drawing_and_the_table_have_every_top_level_module() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs can be read");
    let declared: BTreeSet<&str> = blanked(&lib)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(|name| {
            ROOMS
                .iter()
                .find(|room| room.name == name)
                .map_or_else(|| panic!("{name} has no row"), |r| r.name)
        })
        .collect();
    let rows: BTreeSet<&str> = ROOMS.iter().map(|room| room.name).collect();
    assert_eq!(rows, declared, "the table here and the modules of src/lib.rs differ");
    let drawing = lib.split("```").nth(1).expect("src/lib.rs begins with a drawing");
    let drawn: BTreeSet<&str> =
        drawing.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing: Vec<_> = declared.difference(&drawn).collect();
    assert!(missing.is_empty(), "the drawing in src/lib.rs does not show {missing:?}");
}

#[test]
fn a_library_is_named_where_it_belongs_and_nowhere_else() {
    for (library, places) in LIBRARIES {
        let instead = format!("only {} may name it", places.join(", "));
        refuse(&[&format!("{library}::")], |source| !source.is_in(places), &instead);
    }
}

#[test]
fn only_transport_and_local_touch_machines() {
    refuse(TOUCHING, |source| !source.is_in(MAY_TOUCH), "that is for transport or local to do");
}

#[test]
fn the_middle_is_pure() {
    refuse(IMPURE, |source| source.is_in(PURE), "let the caller pass in what it is for");
}

#[test]
fn only_the_report_prints() {
    let printing = ["println!", "print!", "eprintln!", "eprint!", "stdout()", "stderr()"];
    refuse(&printing, |source| !source.is_in(&["report/"]), "emit an event, or return it");
}

#[test]
fn nothing_unfinished_is_left_in_the_sources() {
    refuse(&["todo!", "dbg!", "unimplemented!"], |_| true, "finish it, or leave it out");
}

#[test]
fn a_verb_that_is_named_can_be_typed() {
    let command = Cli::command();
    let verbs: BTreeSet<&str> = command.get_subcommands().map(|verb| verb.get_name()).collect();
    let mut broken = Vec::new();
    for folder in ["src", "playbooks", "templates", "inventories", "README.md"] {
        let path = root().join(folder);
        for path in if path.is_dir() { files_below(&path) } else { vec![path] } {
            let text = fs::read_to_string(&path).unwrap_or_default();
            for (at, begin) in text.match_indices("`labctl ") {
                let verb = text[at + begin.len()..]
                    .split(|c: char| !c.is_ascii_lowercase())
                    .next()
                    .unwrap_or_default();
                if !verb.is_empty() && !verbs.contains(verb) {
                    broken.push(format!("{}: `labctl {verb}`", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "there are no such verbs: {broken:#?}");
}

#[test]
fn every_module_says_first_what_it_is_for() {
    let silent: Vec<String> = sources()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.place())
        .collect();
    assert!(silent.is_empty(), "these do not begin with a `//!` sentence: {silent:?}");
}

#[test]
fn the_scan_sees_what_a_compiler_would() {
    let top = ["engine".to_owned(), "apply".to_owned()];
    let found = |code: &str| {
        let named = named(&blanked(code), &top).into_iter().filter(|it| !it.bare);
        named.map(|it| it.path.join(".")).collect::<Vec<_>>()
    };
    assert_eq!(found("use crate::plan::Plan;"), ["plan.Plan"]);
    assert_eq!(
        found("use crate::{plan::{self, Plan, diff::*}, report as text, event};"),
        ["plan", "plan.Plan", "plan.diff", "report", "event"]
    );
    assert_eq!(found("let x = crate::report::text::<u8>();"), ["report.text"]);
    assert_eq!(found("use super::Run; use self::go::x;"), ["engine.Run", "engine.apply.go.x"]);
    assert_eq!(found("use super::super::report::Reporter;"), ["report.Reporter"]);
    assert_eq!(
        found("mod tests { use super::super::Run; } use super::super::cli;"),
        ["engine.Run", "cli"]
    );
    // Who may name something is no import.
    assert_eq!(found("pub(crate) fn f() {} pub(in crate::engine) fn g() {}"), [""; 0]);
    assert_eq!(
        found(
            "// crate::report\n/* crate::cli /* x */ */ let s = \"crate::cli\"; let r = \
            r#\"crate::\"cli\"#;"
        ),
        [""; 0]
    );
    assert_eq!(found("fn f<'a>(x: &'a str) -> char { '\"' } use crate::lab;"), ["lab"]);
    let offered = named("pub use a::b; pub(crate) use super::c; use super::d;", &top);
    assert_eq!(offered.iter().map(|it| it.reexport).collect::<Vec<_>>(), [true, true, false]);
}

/// Fails, naming every place, when one of `words` stands in a source file that `concerns` picks.
fn refuse(words: &[&str], concerns: impl Fn(&Source) -> bool, instead: &str) {
    let mut broken = String::new();
    for source in sources().filter(concerns) {
        for word in words {
            for line in source.lines_with(word) {
                let _ = writeln!(broken, "{}:{line}: {word}: {instead}", source.place());
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}
