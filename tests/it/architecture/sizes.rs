//! No file, no function and no line is longer than one can read.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::scan::{files_below, root, sources, tokens};

/// Longer than this, a file is more than one thing: a source, a test, a playbook, a template.
const LONGEST_FILE: usize = 500;

/// Longer than this, a function is more than one thing.
const LONGEST_FUNCTION: usize = 60;

/// What fits on a screen beside something else.
const WIDEST_LINE: usize = 100;

/// Words that are this long, such as addresses of downloads, cannot be broken.
const LONG_WORD: usize = 60;

/// Files with wider lines, with the reason; a name that ends in a slash is a directory. This list
/// may only become shorter.
const WIDE_FILES: &[(&str, &str)] = &[
    ("Makefile", "`make help` and the docs read a target and what it does from one line"),
    ("benches/certificates/openssl/", "others' tools, as they were when they were measured"),
    ("benches/cold-up/by-hand", "others' tools, as they were when they were measured"),
    ("benches/report.awk", "lines of the table and the plot that it writes"),
    ("benches/tasks/", "others' tools, as they were when they were measured"),
    ("benches/trivial/", "others' tools, as they were when they were measured"),
    ("src/lib.rs", "the drawing of the layers"),
    ("templates/", "nodes get these lines as they are: another break would restart programs"),
    ("tests/bundle/build", "one call of a compiler per line"),
];

/// Source files that are longer all the same, with the reason. This list may only become shorter.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that are longer all the same, with the reason. This list may only become shorter.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    ("engine/apply.rs: go", "one loop over what can happen next in a run"),
    ("engine/apply.rs: listen", "one arm per line that a node can send"),
    ("engine/apply.rs: start_play", "one play on one node, from script to verdict"),
    ("engine/spread/mod.rs: gather", "one loop over what nodes report"),
    ("report/plain.rs: lines", "one arm per event of a run"),
    ("report/view.rs: note", "one arm per event of a run"),
    ("transport/shell.rs: exec", "one command's whole life in a shell"),
];

#[test]
fn no_source_file_is_longer_than_one_can_read() {
    let lines = sources().map(|source| (source.path.clone(), source.text.lines().count()));
    let long: BTreeMap<String, usize> = lines.filter(|(_, it)| *it > LONGEST_FILE).collect();
    compare(&long, LONG_FILES, LONGEST_FILE, "lines");
}

#[test]
fn no_function_is_longer_than_one_can_read() {
    let mut long = BTreeMap::new();
    for source in sources() {
        for (name, lines) in functions(&source.shipped) {
            if lines > LONGEST_FUNCTION {
                long.insert(format!("{}: {name}", source.path), lines);
            }
        }
    }
    compare(&long, LONG_FUNCTIONS, LONGEST_FUNCTION, "lines");
}

#[test]
fn no_other_file_is_longer_than_one_can_read() {
    let mut long = Vec::new();
    for folder in ["tests", "playbooks", "templates", "inventories"] {
        for path in files_below(&root().join(folder)) {
            let ours = path.extension().is_some_and(|it| {
                ["rs", "yaml", "tera", "sh", "md", "go"].iter().any(|e| it == *e)
            });
            let lines = if ours {
                fs::read_to_string(&path).map_or(0, |text| text.lines().count())
            } else {
                0
            };
            if lines > LONGEST_FILE {
                long.push(format!("{} has {lines} lines", path.display()));
            }
        }
    }
    assert!(long.is_empty(), "more than {LONGEST_FILE} lines: is it one thing? {long:#?}");
}

#[test]
fn no_line_is_wider_than_one_can_read() {
    let mut wide: BTreeMap<String, usize> = BTreeMap::new();
    for path in written_by_hand() {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let Some(widest) = text.lines().filter(|it| !may_be_wide(it)).map(width).max() else {
            continue;
        };
        if widest > WIDEST_LINE {
            let path = path.strip_prefix(root()).expect("it is below the root").to_string_lossy();
            let known = WIDE_FILES.iter().map(|(name, _)| *name);
            let mut known =
                known.filter(|name| path == *name || name.ends_with('/') && path.starts_with(name));
            wide.insert(known.next().unwrap_or(&path).to_owned(), widest);
        }
    }
    compare(&wide, WIDE_FILES, WIDEST_LINE, "columns");
}

/// Everything that people write and read: not what is generated, expected, or prose.
fn written_by_hand() -> Vec<PathBuf> {
    let folders = ["src", "playbooks", "templates", "inventories", "benches", ".ci", "tests"];
    let mut files: Vec<PathBuf> =
        folders.iter().flat_map(|folder| files_below(&root().join(folder))).collect();
    files.extend(["Makefile", "build.rs"].map(|name| root().join(name)));
    files.retain(|path| {
        let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        let of_tests = path.strip_prefix(root().join("tests")).ok().map(|path| {
            let first = path.components().next().map(|it| it.as_os_str().to_string_lossy());
            ["golden", "cli", "inventory"].iter().any(|it| first.as_deref() == Some(it))
        });
        let code = ["", "rs", "sh", "yaml", "tera", "awk", "py"].contains(&kind);
        code && of_tests != Some(true)
    });
    files
}

/// The row of a table in a comment, and what has a word that cannot be broken.
fn may_be_wide(line: &str) -> bool {
    line.trim_start().trim_start_matches('/').starts_with("! |")
        || line.split_whitespace().any(|word| width(word) >= LONG_WORD)
}

fn width(line: &str) -> usize {
    line.chars().count()
}

#[test]
fn a_function_is_measured_from_its_name_to_its_last_brace() {
    let code = "fn one() {}\ntrait T {\n    fn none(&self) -> u8;\n}\n\
                impl X {\n    fn three<T: Fn()>(\n        x: [u8; 3],\n    ) { if true { }  }\n}\n";
    let found: Vec<(String, usize)> = functions(code);
    assert_eq!(found, [("one".to_owned(), 1), ("three".to_owned(), 3)]);
}

/// Fails for what is long without a reason, and for a reason that nothing needs any more.
fn compare(long: &BTreeMap<String, usize>, reasons: &[(&str, &str)], most: usize, unit: &str) {
    let without: Vec<String> = long
        .iter()
        .filter(|(name, _)| !reasons.iter().any(|(known, _)| known == name))
        .map(|(name, size)| format!("{name} has {size} {unit}"))
        .collect();
    assert!(without.is_empty(), "more than {most} {unit}: is it one thing? {without:#?}");
    let unneeded: Vec<&str> =
        reasons.iter().map(|(name, _)| *name).filter(|name| !long.contains_key(*name)).collect();
    assert!(unneeded.is_empty(), "these are short enough now: {unneeded:#?}");
    let silent: Vec<&str> =
        reasons.iter().filter(|(_, why)| why.len() < 20).map(|(name, _)| *name).collect();
    assert!(silent.is_empty(), "these need a reason: {silent:#?}");
}

/// Every function with a body in `code`, and how many lines it has.
fn functions(code: &str) -> Vec<(String, usize)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for at in 0..tokens.len().saturating_sub(1) {
        let name = &tokens[at + 1].1;
        if tokens[at].1 != "fn" || !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            continue;
        }
        let (mut nested, mut braces) = (0, 0);
        for (line, token) in &tokens[at..] {
            match token.as_str() {
                "(" | "[" => nested += 1,
                ")" | "]" => nested -= 1,
                ";" if nested == 0 && braces == 0 => break,
                "{" => braces += 1,
                "}" => {
                    braces -= 1;
                    if braces == 0 {
                        found.push((name.clone(), line - tokens[at].0 + 1));
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found
}
