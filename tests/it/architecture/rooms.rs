//! The tables: which room may import what, which library is named where, and what is pure.

use super::scan::Source;

/// The rooms from left to right. Each may import only what its row names, and a row can name only
/// rooms above it: that keeps the flow one-way, whatever is added to the table.
pub const ROOMS: &[Room] = &[
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
    room("secret", &[], "it is bytes that are never shown; whose they are, it does not know"),
    room(
        "machine",
        &[],
        "what is known of a node's machine is the same for whoever asks: the model, the modules \
        and the templates",
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
        &["event", "machine", "node"],
        "it is the vocabulary of desired states, which knows neither labs nor playbooks; what \
        kind of change it takes is a word of the events, how packages are installed one of the \
        machine's family",
    ),
    room(
        "cluster",
        &["inventory", "lab", "machine"],
        "everything is worked out from the inventory, once, and from nothing else; what is known \
        of the machines it only keeps",
    ),
    room(
        "pki",
        &["cluster", "inventory", "lab", "secret"],
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
        &["cluster", "node", "secret"],
        "what is in a backup follows from the lab alone; who takes or restores one is not its \
        business",
    ),
    room(
        "render",
        &["cluster", "machine", "secret"],
        "a file is made of a template and the cluster, so that a render is the same anywhere",
    ),
    room(
        "playbook",
        &["cluster", "inventory", "module"],
        "it is the vocabulary of the YAML: roles and modules, still unrendered; of the inventory's \
        room it needs only who finds the word that was meant",
    ),
    room(
        "plan",
        &["bundle", "cluster", "event", "machine", "module", "pki", "playbook", "render", "secret"],
        "it is pure: whatever it needs of a node is a fact that somebody else has found",
    ),
    room(
        "transport",
        &["cluster", "secret"],
        "it carries commands and bytes, and knows nothing of tasks",
    ),
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
        &["cluster", "engine", "event", "module", "node", "transport"],
        "it looks at a lab from the outside in, so it must not know how the lab was made",
    ),
    room(
        "timeline",
        &["event"],
        "it reads what a run has told; how it is drawn is the report's business",
    ),
    room(
        "picture",
        &["cluster"],
        "what is to be seen of a lab follows from its model; how its nodes are, it is told",
    ),
    room(
        "status",
        &["cluster", "module", "node", "pki"],
        "what is wrong with a lab follows from what its nodes answer; who asks them is not its \
        business",
    ),
    room(
        "report",
        &["event", "status", "timeline"],
        "it tells what happened, from events and what was judged of them, and decides nothing",
    ),
    room(
        "commands",
        &[
            "backup",
            "bundle",
            "cluster",
            "engine",
            "event",
            "inventory",
            "lab",
            "local",
            "machine",
            "module",
            "picture",
            "pki",
            "plan",
            "playbook",
            "render",
            "report",
            "secret",
            "smoke",
            "status",
            "timeline",
        ],
        "it wires rooms together; a connection or a byte on the wire is the engine's work",
    ),
    room(
        "cli",
        &["commands", "engine", "inventory", "report"],
        "it defines what can be typed, and hands it to an operation in that one's own words",
    ),
];

/// Libraries that may be named in these files or folders only, so that one can be replaced without
/// a search.
pub const LIBRARIES: &[(&str, &[&str])] = &[
    ("rcgen", &["pki/issue.rs"]),
    ("tera", &["render/"]),
    ("similar", &["plan/preview.rs"]),
    ("glob", &["cluster/selection.rs"]),
    ("russh", &["transport/ssh/"]),
    ("indicatif", &["report/"]),
    ("ratatui", &["report/watch.rs"]),
    ("pdf_writer", &["report/workshop.rs"]),
    // A local node's console log is quoted in errors, and there without its colours.
    ("console", &["report/", "local/error.rs"]),
    ("reqwest", &["bundle/"]),
    ("zeroize", &["secret.rs", "pki/issue.rs", "pki/kubeconfig.rs"]),
    (
        "serde_yaml",
        &[
            "inventory/load.rs",
            "playbook/load.rs",
            "bundle/lock.rs",
            "commands/manifests.rs",
            "pki/merge.rs",
            "render/merge.rs",
        ],
    ),
    ("toml_edit", &["render/merge.rs"]),
    ("saphyr_parser", &["inventory/positions.rs"]),
    ("x509_parser", &["pki/inspect.rs"]),
    // `Output` is what `--output` takes, so it says itself how it is written.
    ("clap", &["cli/", "main.rs", "report/mod.rs"]),
];

/// Words of the outside world: what a room needs to touch a machine, and those that may.
pub const TOUCHING: &[&str] = &[
    "process::Command",
    "net::TcpStream",
    "net::UnixStream",
    "net::TcpListener",
    "net::UdpSocket",
];
pub const MAY_TOUCH: &[&str] = &[
    "transport/",
    "local/",
    // A program of the bundle is asked which flags it knows.
    "bundle/flags.rs",
    // `labctl ssh` becomes the OpenSSH client: a terminal, and the escape keys that people know.
    "commands/kubectl.rs",
    "commands/ssh.rs",
    // The cluster that works on a workshop is reached as its user reaches it: with kubectl.
    "commands/workshop/driver.rs",
    // Each cluster of a workshop is a run of labctl of its own.
    "commands/workshop/run.rs",
];

/// The pure middle: functions of what they are given.
pub const PURE: &[&str] = &[
    "cluster/",
    "machine/",
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
    "pki/reissue.rs",
    "pki/rotation.rs",
    "status/",
    "bundle/releases.rs",
    "timeline/",
];
/// What a function of its arguments alone has no use for.
pub const IMPURE: &[&str] = &[
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

/// A top-level module, what it may import, and why no more.
pub struct Room {
    pub name: &'static str,
    pub imports: &'static [&'static str],
    pub because: &'static str,
}

const fn room(name: &'static str, imports: &'static [&'static str], because: &'static str) -> Room {
    Room { name, imports, because }
}

impl Source {
    /// The room that the file belongs to; `lib.rs` and `main.rs` belong to none.
    pub fn room(&self) -> Option<&'static Room> {
        let name = self.modules.first()?;
        Some(
            ROOMS
                .iter()
                .find(|room| room.name == name)
                .unwrap_or_else(|| panic!("{} has no row", self.place())),
        )
    }
}
