//! What runs on nodes: every shell script of labctl's own, and the grammar of the record that they
//! keep. All of it goes through shellcheck (`make check`).

pub mod record;

/// Begins every script that changes a node: files, directories, units, and how tasks are run.
pub const PRELUDE: &str = include_str!("prelude.sh");

/// Writes the node record: what labctl makes or changes, before it does.
pub const RECORD: &str = include_str!("record.sh");

/// Names in `/etc/hosts` and routes, of which only a part is ours.
pub const SETS: &str = include_str!("sets.sh");

/// Undoes what the record lists.
pub const UNDO: &str = include_str!("undo.sh");

/// Lets nodes give files to each other, for the time of one run.
pub const GATE: &str = include_str!("gate.sh");

/// Starts a local node in namespaces of its own, on the workstation.
pub const LAUNCH: &str = include_str!("launch.sh");
