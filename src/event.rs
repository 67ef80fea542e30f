//! The contract between the engine and the report: everything worth reporting about a run, as data.
//!
//! The engine (and what prepares its work: local nodes, bundle, certificates) emits events and
//! never prints; the report prints and never decides. The same events, one JSON object a line, are
//! the run log and `--output json`.

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
        /// The nodes it will work on, in order.
        nodes: Vec<String>,
    },
    /// A step on the workstation starts, before or after the work on the nodes: `local nodes`,
    /// `bundle`, `certificates`.
    StepStarted {
        /// Its name, fit for a line of its own.
        step: String,
    },
    /// The progress of a step, when it is known.
    StepProgress {
        /// The step's name.
        step: String,
        /// Done so far, in the step's own unit.
        done: u64,
        /// All there is to do.
        total: u64,
        /// What is being worked on now.
        detail: String,
    },
    /// A step succeeded.
    StepEnded {
        /// The step's name.
        step: String,
        /// What came of it: `6 nodes running`, `20 issued`.
        detail: String,
        /// Whether anything was changed by it.
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
    /// A node was asked everything that the plan needs to know.
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
        /// Nodes that could not be probed, or that an obstacle was found on: nothing is done there.
        left_out: Vec<String>,
    },
    /// Bytes being sent to a node's blob store.
    Pushing {
        /// The node.
        node: String,
        /// Bytes sent so far.
        sent: u64,
        /// Bytes to send in all.
        total: u64,
    },
    /// A large file has arrived in a node's blob store, whole.
    Delivered {
        /// The node.
        node: String,
        /// The file's name in the bundle.
        blob: String,
        /// Its length in bytes.
        size: u64,
        /// The node that passed it on; none when it came from the workstation.
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
        /// What it had to wait for last.
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
        /// Whether it changed the node (a `wait` that was over at once did not).
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
        /// The node it is about, if it is about one.
        node: Option<String>,
        /// The sentence.
        message: String,
    },
    /// The user asked to stop: running tasks may finish, nothing new starts.
    Cancelling,
    /// A run ended.
    RunEnded(RunSummary),
}

/// One change of a plan, as a person reads it.
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
    /// What it looks like.
    #[serde(flatten)]
    pub preview: Preview,
}

/// What a change looks like before it is made. It holds no secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Preview {
    /// What is done.
    pub kind: ChangeKind,
    /// What gets another value, beside the content: mode, owner, size, a certificate's last day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<NewValue>,
    /// What a running unit has not taken up yet, a sentence each: `/etc/... changed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// Whether the content changes and is secret, so that it is not shown.
    #[serde(skip_serializing_if = "is_false")]
    pub secret: bool,
    /// The lines that differ, as `diff -u` writes them, where the content is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// What a change does to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is not there, and is made.
    Make,
    /// It is there, and is made otherwise.
    #[default]
    Alter,
    /// A unit that does not run is started.
    Start,
    /// A running unit is stopped and started.
    Restart,
    /// A running unit reads its files again.
    Reload,
    /// A running unit is stopped.
    Stop,
    /// A command is run.
    Run,
    /// A condition has to come true.
    Wait,
}

/// Something that gets another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewValue {
    /// What: `mode`, `owner`, `size` (in bytes), `sha256`, `valid until`.
    pub what: String,
    /// What it is; `None` when there is nothing yet.
    pub from: Option<String>,
    /// What it will be.
    pub to: String,
}

/// Something that is done on the workstation, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Preparation {
    /// The files that the lab is built from are fetched.
    Bundle {
        /// How many.
        files: usize,
        /// Where to.
        folder: std::path::PathBuf,
    },
    /// A certificate or a key is issued.
    Certificate {
        /// Its name: `apiserver`, `nodes/worker-0/kubelet`.
        name: String,
        /// Why: `new`, `ends on 2026-03-01`, `names: add 10.0.0.5`.
        why: String,
        /// Whether there is one already that is replaced.
        replaced: bool,
    },
    /// A local node is made, or one that does not run is started.
    LocalNode {
        /// The node.
        node: String,
        /// Whether there is no such node yet. Then nothing on it can be as desired already.
        made: bool,
    },
}

/// Everything that is known about a failed task.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The node.
    pub node: String,
    /// The play; empty when the node failed before any play (connection, probe, push).
    pub play: String,
    /// The task's title, or what labctl was doing.
    pub task: String,
    /// The command that failed, as a person would type it; never a secret.
    pub command: Option<String>,
    /// Its exit code.
    pub code: Option<i32>,
    /// What went wrong, when no command is to blame.
    pub reason: String,
    /// The last lines of its output.
    pub stderr: Vec<String>,
    /// The last journal lines of the unit that it is about.
    pub journal: Vec<String>,
    /// What to do next, when labctl knows.
    pub help: Option<String>,
}

/// What a play on a node had to wait for last before it could begin. Followed back from the end of
/// a run, these are its critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", content = "name", rename_all = "snake_case")]
pub enum Awaited {
    /// Nothing but the plan.
    Plan,
    /// A play that it comes after, to end on all of that play's nodes.
    Play(String),
    /// A node that its rolling play takes before this one.
    Node(String),
    /// Its large files, to arrive in the node's blob store.
    Push,
    /// A place among the nodes that are worked on at a time.
    Turn,
}

/// How a play ended on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlayOutcome {
    /// All of its tasks are as desired now.
    Done,
    /// One of its tasks failed.
    Failed,
    /// It never began: something that it comes after failed, or the run was cancelled.
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
    /// The run's length.
    #[serde(rename = "ms", serialize_with = "millis")]
    pub took: Duration,
    /// The full log of the run.
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
    /// Tasks that were as desired.
    pub unchanged: usize,
    /// The failed task's title.
    pub failed: Option<String>,
    /// SSH round trips (one exec each).
    pub round_trips: u64,
    /// Bytes sent to the node: questions, scripts, and what they put in place.
    pub bytes_sent: u64,
    /// Bytes that the node answered.
    pub bytes_received: u64,
    /// Whether the node came into the lab in this run, or left it: then what changed on the other
    /// nodes is because of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub turnover: bool,
}

/// One certificate that was found, as a person and a program read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertificateFound {
    /// The node that it is on; `None` for the lab directory.
    pub node: Option<String>,
    /// The file, as a path on the node or under the lab directory.
    pub file: String,
    /// Whom it is for.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Subject alternative names, DNS names first.
    pub names: Vec<String>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// The first second in which it is valid, RFC 3339.
    pub not_before: String,
    /// The last second in which it is valid, RFC 3339.
    pub not_after: String,
    /// Whole days until it ends; negative when it has ended.
    pub days_left: i64,
    /// Seconds until it ends; negative when it has ended.
    pub seconds_left: i64,
}

/// An event with its moment, as the run log keeps it.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// Milliseconds since the Unix epoch.
    #[serde(rename = "time_ms", serialize_with = "epoch_millis")]
    pub time: SystemTime,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Where events go: a cheap handle that every part of a run can keep a copy of.
#[derive(Debug, Clone)]
pub struct Events(tokio::sync::mpsc::UnboundedSender<Stamped>);

impl Events {
    /// A sender and the receiving end, which the report drains.
    pub fn channel() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Stamped>) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Emits something that happened now. Work continues even when the report is gone.
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
