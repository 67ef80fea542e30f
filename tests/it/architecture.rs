//! Holds the drawing in `src/lib.rs`: who may import whom, which library is named where, and what
//! no file may do.
//!
//! The sources are read as text, with comments and strings blanked out, and every path that begins
//! with `crate` or `super` is followed to the top-level module that it ends in. That is coarser
//! than a compiler and enough: a path that is written in no file is not used either.

mod scan;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use labctl::cli::Cli;

use scan::{blanked, imports};

/// The rooms from left to right. Each may import only what its row names, and a row can name only
/// rooms above it: that keeps the flow one-way, whatever is added to the table.
const ROOMS: &[Room] = &[
    room(
        "inventory",
        &[],
        "it stands at the very left: it says what a file says, and nothing about what it means",
    ),
    room(
        "lab",
        &[],
        "it knows paths and permissions; what is written there is its callers' business",
    ),
    room(
        "event",
        &[],
        "it is the contract between a run and its report, and neither may be seen from it",
    ),
    room(
        "node",
        &[],
        "it is text that runs on nodes, and the grammar of the record there; it knows nothing of \
        tasks",
    ),
    room(
        "module",
        &["event", "node"],
        "it is the vocabulary of desired states, which knows neither labs nor playbooks; what \
        kind of change it takes is \
         a word of the events",
    ),
    room(
        "cluster",
        &["inventory", "lab"],
        "everything is worked out from the inventory, once, and from nothing else",
    ),
    room(
        "pki",
        &["cluster", "inventory", "lab"],
        "certificates follow from the cluster alone, and are kept in the lab directory; of the \
        inventory's room it needs \
         only who knows where things stand in a YAML text, to put a kubeconfig into somebody's own",
    ),
    room(
        "bundle",
        &["cluster", "event"],
        "a bundle is made for a version; it must not know what is done with its files",
    ),
    room(
        "backup",
        &["cluster"],
        "what is in a backup follows from the lab alone; who takes or restores one is not its \
        business",
    ),
    room(
        "render",
        &["cluster"],
        "a file is made of a template and the cluster, so that a render is the same anywhere",
    ),
    room(
        "playbook",
        &["cluster", "module"],
        "it is the vocabulary of the YAML: roles and modules, still unrendered",
    ),
    room(
        "plan",
        &["bundle", "cluster", "event", "module", "pki", "playbook", "render"],
        "it is pure: whatever it needs of a node is a fact that somebody else has found",
    ),
    room("transport", &["cluster"], "it carries commands and bytes, and knows nothing of tasks"),
    room(
        "local",
        &["cluster", "event", "lab", "node"],
        "a local node is a machine like any other once it answers on SSH",
    ),
    room(
        "engine",
        &["cluster", "event", "lab", "module", "node", "plan", "playbook", "transport"],
        "it carries out a plan; where contents came from is decided when it gets one",
    ),
    room(
        "smoke",
        &["cluster", "engine", "event", "module", "transport"],
        "it looks at a lab from the outside in, so it must not know how the lab was made",
    ),
    room(
        "timeline",
        &["event"],
        "it reads what a run has told; how it is drawn is the report's business",
    ),
    room(
        "report",
        &["event", "timeline"],
        "it tells what happened, from events alone, and decides nothing",
    ),
    room("cli", &["report"], "it defines what can be typed; what a verb does lies in `commands`"),
    room(
        "commands",
        &[
            "backup",
            "bundle",
            "cli",
            "cluster",
            "engine",
            "event",
            "inventory",
            "lab",
            "local",
            "module",
            "pki",
            "plan",
            "playbook",
            "render",
            "report",
            "smoke",
            "timeline",
        ],
        "it wires rooms together; a connection or a byte on the wire is the engine's work",
    ),
];

/// Libraries that may be named in these files or folders only, so that one can be replaced without
/// a search.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("rcgen", &["pki/issue.rs"]),
    ("tera", &["render/"]),
    ("similar", &["plan/preview.rs"]),
    ("russh", &["transport/ssh/"]),
    ("indicatif", &["report/"]),
    // A local node's console log is quoted in errors, and there without its colours.
    ("console", &["report/", "local/error.rs"]),
    ("reqwest", &["bundle/"]),
    ("serde_yaml", &["inventory/load.rs", "playbook/load.rs", "bundle/lock.rs", "pki/merge.rs"]),
    ("saphyr_parser", &["inventory/positions.rs"]),
    ("x509_parser", &["pki/inspect.rs"]),
    // `Output` is what `--output` takes, so it says itself how it is written.
    ("clap", &["cli/", "main.rs", "commands/mod.rs", "report/mod.rs"]),
];

/// Words of the outside world: what a room needs to touch a machine, and those that may.
const TOUCHING: &[&str] = &[
    "process::Command",
    "net::TcpStream",
    "net::UnixStream",
    "net::TcpListener",
    "net::UdpSocket",
];
const MAY_TOUCH: &[&str] = &[
    "transport/",
    "local/",
    // `labctl ssh` becomes the OpenSSH client: a terminal, and the escape keys that people know.
    "commands/ssh.rs",
];

/// The pure middle: functions of what they are given.
const PURE: &[&str] = &[
    "cluster/",
    "module/",
    "node/",
    "plan/",
    "playbook/mod.rs",
    "pki/spec.rs",
    "pki/identity.rs",
    "pki/inspect.rs",
    "pki/kubeconfig.rs",
    "pki/list.rs",
    "pki/merge.rs",
    "pki/rotation.rs",
    "bundle/releases.rs",
    "timeline/",
];
/// What a function of its arguments alone has no use for.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "tokio",
    "rand",
    "SystemTime::now",
    "Instant::now",
    "now_utc",
    "std::net::Tcp",
];

/// Longer than this, a file is more than one thing.
const LONGEST_FILE: usize = 580;

/// A top-level module, what it may import, and why no more.
struct Room {
    name: &'static str,
    imports: &'static [&'static str],
    because: &'static str,
}

const fn room(name: &'static str, imports: &'static [&'static str], because: &'static str) -> Room {
    Room { name, imports, because }
}

#[test]
fn every_room_imports_only_what_stands_to_its_left() {
    let mut broken = String::new();
    for source in sources() {
        let Some(room) = source.room() else { continue };
        for (line, to) in imports(&source.code, &source.modules) {
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
fn no_file_is_longer_than_one_can_read() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "playbooks", "templates", "inventories"] {
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

/// A source file of the crate.
struct Source {
    /// Below `src`, with `/`.
    path: String,
    /// As it is.
    text: String,
    /// With comments and strings blanked out, line for line.
    code: String,
    /// The same without the unit tests, which may do what the code that they try may not.
    shipped: String,
    /// The module that it is, from the crate's root.
    modules: Vec<String>,
}

impl Source {
    fn place(&self) -> String {
        format!("src/{}", self.path)
    }

    /// The room that the file belongs to; `lib.rs` and `main.rs` belong to none.
    fn room(&self) -> Option<&'static Room> {
        let name = self.modules.first()?;
        Some(
            ROOMS
                .iter()
                .find(|room| room.name == name)
                .unwrap_or_else(|| panic!("{} has no row", self.place())),
        )
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path == *place || place.ends_with('/') && self.path.starts_with(place)
        })
    }

    /// The lines in which `word` stands, and not as the end of a longer one.
    fn lines_with<'a>(&'a self, word: &str) -> impl Iterator<Item = usize> + use<'a> {
        let word = word.to_owned();
        self.shipped.lines().enumerate().filter_map(move |(number, line)| {
            let whole =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            line.match_indices(&word).any(|(at, _)| whole(at)).then_some(number + 1)
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> impl Iterator<Item = Source> {
    let src = root().join("src");
    files_below(&src).into_iter().filter(|path| path.extension().is_some_and(|it| it == "rs")).map(
        move |path| {
            let text = fs::read_to_string(&path).expect("a source file can be read");
            let path =
                path.strip_prefix(&src).expect("it lies below src").to_string_lossy().into_owned();
            let mut modules: Vec<String> =
                path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if modules.last().is_some_and(|last| last == "mod")
                || matches!(path.as_str(), "lib.rs" | "main.rs")
            {
                modules.pop();
            }
            let code = blanked(&text);
            // Unit tests stand at the end of their file.
            let shipped = code
                .split_once("#[cfg(test)]\nmod tests {")
                .map_or(code.as_str(), |(shipped, _)| shipped)
                .to_owned();
            Source { path, text, code, shipped, modules }
        },
    )
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // A lab directory is nobody's source, and may be another user's.
        if path.is_dir() && entry.file_name() != ".labctl" {
            found.extend(files_below(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}
