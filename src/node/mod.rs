//! All shell scripts that run on nodes, and the grammar of the node record. `make check` runs
//! shellcheck on them.

pub mod record;

/// The beginning of every script that changes a node: functions for files, directories and units,
/// and for running tasks.
pub const PRELUDE: &str = include_str!("prelude.sh");

/// Functions that write the node record: what labctl creates or changes, before it does.
pub const RECORD: &str = include_str!("record.sh");

/// Keeps two runs from changing one node at a time.
pub const TURN: &str = include_str!("turn.sh");

/// Functions for entries in `/etc/hosts` and routes, of which only a part is ours.
pub const SETS: &str = include_str!("sets.sh");

/// Undoes what the record lists.
pub const UNDO: &str = include_str!("undo.sh");

/// Lets nodes pass files on to each other during a run.
pub const GATE: &str = include_str!("gate.sh");

/// Starts a local node in its own namespaces, on the workstation.
pub const LAUNCH: &str = include_str!("launch.sh");
