//! All shell scripts that run on nodes, and the grammar of the node record. `make check` runs
//! shellcheck on them.

pub mod record;

/// Says what a machine is like; part of a probe.
pub const MACHINE: &str = include_str!("machine.sh");

/// Says what else is on a machine; part of a probe.
pub const SURROUNDINGS: &str = include_str!("surroundings.sh");

/// The beginning of every script that changes a node: functions for files, directories and units,
/// and for running tasks.
pub const PRELUDE: &str = include_str!("prelude.sh");

/// Functions that write the node record: what labctl creates or changes, before it does.
pub const RECORD: &str = include_str!("record.sh");

/// Keeps two runs from changing one node at a time.
pub const TURN: &str = include_str!("turn.sh");

/// Functions for entries in `/etc/hosts` and routes, of which only a part is ours.
pub const SETS: &str = include_str!("sets.sh");

/// Functions for the lab's own add-ons: manifests on controllers, objects in the cluster.
pub const ADDONS: &str = include_str!("addons.sh");

/// Undoes what the record lists.
pub const UNDO: &str = include_str!("undo.sh");

/// Answers the questions of a plan about a node.
pub const PROBE: &str = concat!(include_str!("head.sh"), include_str!("probe.sh"));

/// Runs the checks of a probe.
pub const CHECKS: &str = include_str!("checks.sh");

/// Removes the directories of runs that were killed.
pub const RUNS: &str = include_str!("runs.sh");

/// Unpacks a play's stream and runs its script; needs [`RUNS`] before it.
pub const APPLY: &str = include_str!("apply.sh");

/// Where a local node sees its directory of the workstation into which blobs are put for it, only
/// to be read.
pub const BESIDE: &str = "/run/labctl-beside";

/// Receives blobs into the store.
pub const RECEIVE: &str = include_str!("receive.sh");

/// Makes a snapshot of etcd.
pub const SNAPSHOT: &str = include_str!("snapshot.sh");

/// Says which versions a lab runs; needs the port of the API server as `$port`.
pub const VERSIONS: &str = include_str!("versions.sh");

/// The checks of the smoke test.
pub const SMOKE: &str = include_str!("smoke.sh");

/// Prints the journal of a lab's units.
pub const LOGS: &str = include_str!("logs.sh");

/// Prints what a bug report needs of a node.
pub const SUPPORT: &str = concat!(include_str!("head.sh"), include_str!("support.sh"));

/// Says how a node is, for `labctl status`.
pub const STATUS: &str = concat!(include_str!("head.sh"), include_str!("status.sh"));

/// Lets nodes pass files on to each other during a run; needs [`RUNS`] before it.
pub const GATE: &str = include_str!("gate.sh");

/// Starts a local node in its own namespaces, on the workstation.
pub const LAUNCH: &str = include_str!("launch.sh");
