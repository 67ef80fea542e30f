//! The contract between the engine and the report: everything worth reporting about a run, as data.
//!
//! The engine, and what prepares its work (local nodes, bundle, certificates), emits events and
//! never prints; the report prints and never decides. The run log and `--output json` contain the
//! same events, one JSON object per line.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// One thing that happened in a run.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run starts.
    RunStarted {
        /// The verb: `up`, `down`, `smoke`, ...
        verb: String,
        /// The lab's name.
        lab: String,
        /// The nodes that it will work on, in order.
        nodes: Vec<String>,
    },
    /// A step on the workstation starts, before or after the work on the nodes: `local nodes`,
    /// `bundle`, `certificates`.
    StepStarted {
        /// Its name, suitable for a line of its own.
        step: String,
    },
    /// Progress of a step, if it is known.
    StepProgress {
        /// The step's name.
        step: String,
        /// Done so far, in the step's own unit.
        done: u64,
        /// The total.
        total: u64,
        /// What it is working on now.
        detail: String,
    },
    /// A step succeeded.
    StepEnded {
        /// The step's name.
        step: String,
        /// The result: `6 nodes running`, `20 issued`.
        detail: String,
        /// Whether it changed anything.
        changed: bool,
        /// How long it took.
        #[serde(rename = "ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A connection to a node is being made.
    NodeConnecting {
        /// The node.
        node: String,
    },
    /// A node's SSH connection is established.
    NodeConnected {
        /// The node.
        node: String,
        /// From the first packet to authenticated.
        #[serde(rename = "ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A node has answered all questions of the plan.
    NodeProbed {
        /// The node.
        node: String,
        /// The round trip.
        #[serde(rename = "ms", serialize_with = "millis")]
        took: Duration,
    },
    /// Work on the workstation before any node is changed: pending in a plan, done in a run.
    Preparation(Preparation),
    /// What the run will do, complete before anything changes.
    Planned {
        /// Every change, in playbook order.
        changes: Vec<PlannedChange>,
        /// Tasks that are already as desired.
        unchanged: usize,
        /// Tasks that are unchanged so far and are checked again when reached, because an earlier
        /// task changes something they use.
        judged_again: usize,
        /// Nodes that are skipped, because they could not be probed or have an obstacle.
        left_out: Vec<String>,
    },
    /// Bytes being sent to a node's blob store.
    Pushing {
        /// The node.
        node: String,
        /// Bytes sent so far.
        sent: u64,
        /// Total bytes to send.
        total: u64,
    },
    /// A large file has arrived completely in a node's blob store.
    Delivered {
        /// The node.
        node: String,
        /// The file's name in the bundle.
        blob: String,
        /// Its length in bytes.
        size: u64,
        /// The node that passed it on; none if it came from the workstation.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// A play starts on a node that has something to change.
    PlayStarted {
        /// The play.
        play: String,
        /// The node.
        node: String,
        /// Tasks to be applied.
        tasks: usize,
        /// What it waited for last.
        awaited: Awaited,
    },
    /// A task starts.
    TaskStarted {
        /// The play.
        play: String,
        /// The node.
        node: String,
        /// The task's title.
        task: String,
    },
    /// A task succeeded.
    TaskEnded {
        /// The play.
        play: String,
        /// The node.
        node: String,
        /// The task's title.
        task: String,
        /// Whether it changed the node (a `wait` whose condition was already true did not).
        changed: bool,
        /// How long it took.
        #[serde(rename = "ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A task failed; the node does nothing more in this run.
    TaskFailed(Failure),
    /// A play ended on a node.
    PlayEnded {
        /// The play.
        play: String,
        /// The node.
        node: String,
        /// How it ended.
        outcome: PlayOutcome,
        /// How long it took.
        #[serde(rename = "ms", serialize_with = "millis")]
        took: Duration,
    },
    /// One check of a smoke test.
    Check {
        /// What was checked, as a sentence.
        name: String,
        /// `None` when it passed; otherwise why it failed.
        failure: Option<String>,
        /// How long it took.
        #[serde(rename = "ms", serialize_with = "millis")]
        took: Duration,
    },
    /// A warning: something to know that does not stop the run.
    Warning {
        /// The node that it is about, if any.
        node: Option<String>,
        /// The sentence.
        message: String,
    },
    /// The user asked to stop: running tasks may finish, nothing new starts.
    Cancelling,
    /// A run ended.
    RunEnded(RunSummary),
}

/// One planned change, in readable form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedChange {
    /// The node.
    pub node: String,
    /// The play.
    pub play: String,
    /// The task's title.
    pub task: String,
    /// What differs: `missing`, `content differs`, `restart: /etc/... changed`.
    pub why: String,
    /// Details of the change.
    #[serde(flatten)]
    pub preview: Preview,
}

/// A preview of a change. It contains no secrets.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Preview {
    /// The kind of change.
    pub kind: ChangeKind,
    /// Values that change in addition to the content: mode, owner, size, the expiry of a
    /// certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<NewValue>,
    /// What a running unit has not loaded yet, one sentence each: `/etc/... changed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// Whether the content changes but is secret, so that it is not shown.
    #[serde(skip_serializing_if = "is_false")]
    pub secret: bool,
    /// The lines that differ, in the format of `diff -u`, if the content is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It does not exist and is created.
    Make,
    /// It exists and is changed.
    #[default]
    Alter,
    /// A unit that is not running is started.
    Start,
    /// A running unit is stopped and started.
    Restart,
    /// A running unit reloads its files.
    Reload,
    /// A running unit is stopped.
    Stop,
    /// A command is run.
    Run,
    /// A condition must become true.
    Wait,
}

/// A value that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewValue {
    /// What: `mode`, `owner`, `size` (in bytes), `sha256`, `valid until`.
    pub what: String,
    /// The current value; `None` if there is none yet.
    pub from: Option<String>,
    /// The new value.
    pub to: String,
}

/// Something that is done on the workstation, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Preparation {
    /// The files that the lab is built from are downloaded.
    Bundle {
        /// The number of files.
        files: usize,
        /// The destination.
        folder: std::path::PathBuf,
    },
    /// A certificate or a key is issued.
    Certificate {
        /// Its name: `apiserver`, `nodes/worker-0/kubelet`.
        name: String,
        /// The reason: `new`, `expires on 2026-03-01`, `names: add 10.0.0.5`.
        why: String,
        /// Whether it replaces an existing one.
        replaced: bool,
    },
    /// A local node is created, or a stopped one is started.
    LocalNode {
        /// The node.
        node: String,
        /// Whether the node does not exist yet. Then nothing on it can be as desired.
        made: bool,
    },
}

/// Everything known about a failed task.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The node.
    pub node: String,
    /// The play; empty if the node failed before any play (connection, probe, push).
    pub play: String,
    /// The task's title, or what labctl was doing.
    pub task: String,
    /// The failed command, as one would type it; never contains a secret.
    pub command: Option<String>,
    /// Its exit code.
    pub code: Option<i32>,
    /// What went wrong, if no command failed.
    pub reason: String,
    /// The last lines of its output.
    pub stderr: Vec<String>,
    /// The last journal lines of the unit concerned.
    pub journal: Vec<String>,
    /// What to do next, if labctl knows.
    pub help: Option<String>,
}

/// What a play on a node waited for last before it could start. Followed back from the end of a
/// run, these form its critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", content = "name", rename_all = "snake_case")]
pub enum Awaited {
    /// Only the plan.
    Plan,
    /// An earlier play, on all of its nodes.
    Play(String),
    /// An earlier node of the same rolling play.
    Node(String),
    /// The node's large files, until they arrived in its blob store.
    Push,
    /// A free slot, because only a limited number of nodes is worked on at a time.
    Turn,
}

/// The outcome of a play on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlayOutcome {
    /// All of its tasks are as desired.
    Done,
    /// One of its tasks failed.
    Failed,
    /// It never started: an earlier play failed, or the run was cancelled.
    Skipped,
}

/// The end of a run, for the closing table.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// Whether everything that was planned was done.
    pub ok: bool,
    /// Whether the run was stopped by the user.
    pub cancelled: bool,
    /// One row per node, in the inventory's order.
    pub nodes: Vec<NodeSummary>,
    /// The duration of the run.
    #[serde(rename = "ms", serialize_with = "millis")]
    pub took: Duration,
    /// The path of the run log.
    pub log: Option<std::path::PathBuf>,
}

/// One node's row in the closing table.
#[derive(Debug, Clone, Serialize)]
pub struct NodeSummary {
    /// The node.
    pub node: String,
    /// Its roles, comma-separated.
    pub roles: String,
    /// Its address.
    pub address: String,
    /// Tasks that changed something.
    pub changed: usize,
    /// Tasks that were already as desired.
    pub unchanged: usize,
    /// The failed task's title.
    pub failed: Option<String>,
    /// SSH round trips (one exec each).
    pub round_trips: u64,
    /// Bytes sent to the node: questions, scripts and files.
    pub bytes_sent: u64,
    /// Bytes received from the node.
    pub bytes_received: u64,
    /// Whether the node joined or left the lab in this run, which causes the changes on the other
    /// nodes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub turnover: bool,
}

/// A certificate that was found, in readable form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertificateFound {
    /// The node that it is on; `None` for the lab directory.
    pub node: Option<String>,
    /// The file: a path on the node, or relative to the lab directory.
    pub file: String,
    /// The subject.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// Subject alternative names, DNS names first.
    pub names: Vec<String>,
    /// Whether it is a CA certificate.
    pub is_ca: bool,
    /// The first second of its validity, RFC 3339.
    pub not_before: String,
    /// The last second of its validity, RFC 3339.
    pub not_after: String,
    /// Whole days until it expires; negative if it has expired.
    pub days_left: i64,
    /// Seconds until it expires; negative if it has expired.
    pub seconds_left: i64,
}

/// An event with its time, as in the run log.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// Milliseconds since the Unix epoch.
    #[serde(rename = "time_ms", serialize_with = "epoch_millis")]
    pub time: SystemTime,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// The destination of events: a cheap handle that every part of a run can clone.
#[derive(Debug, Clone)]
pub struct Events(tokio::sync::mpsc::UnboundedSender<Stamped>);

impl Events {
    /// Returns a sender, and the receiver for the report.
    pub fn channel() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Stamped>) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Emits an event that happened now. Does nothing if the report is gone.
    pub fn emit(&self, event: Event) {
        let _ = self.0.send(Stamped { time: SystemTime::now(), event });
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

fn millis<S: serde::Serializer>(took: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(took.as_millis().try_into().unwrap_or(u64::MAX))
}

fn epoch_millis<S: serde::Serializer>(time: &SystemTime, s: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    millis(&since, s)
}
