//! Where the time of a run went: its log read back as bars, and the critical path among them.
//!
//! A run's log holds every event with its moment. Here the events become [`Bar`]s, one for each
//! thing that took time: a step on the workstation, a connection, a probe, a push, a play on a
//! node, a check. [`Timeline::critical`] are the bars that the run could not have ended without,
//! each waiting for the one before it: making any other bar shorter makes the run no shorter. Pure:
//! text in, data out; `report` draws it.

mod critical;
mod read;

pub use read::{LogError, read};

use serde::Serialize;

use crate::event::PlayOutcome;

/// A run, as bars.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Timeline {
    /// The verb: `up`, `down`, ...
    pub verb: String,
    /// The lab's name.
    pub lab: String,
    /// When it began, in milliseconds since the Unix epoch. All other moments count from here.
    pub began_ms: u64,
    /// Its length in milliseconds; of a run that was cut off, until its last event.
    pub took: u64,
    /// Whether everything was done; `None` for a run that was interrupted.
    pub ok: Option<bool>,
    /// The nodes, in the inventory's order.
    pub nodes: Vec<String>,
    /// Everything that took time, by lane and then by start.
    pub bars: Vec<Bar>,
    /// The bars on the critical path, first to last, as indices into `bars`.
    pub critical: Vec<usize>,
}

/// One thing that took time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bar {
    /// The node that it happened on; `None` is the workstation.
    pub node: Option<String>,
    /// What it is.
    pub what: What,
    /// When it began, in milliseconds since the run's start.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// Whether it ended badly.
    pub failed: bool,
    /// The tasks of a play, in order.
    pub tasks: Vec<Task>,
}

/// What took time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum What {
    /// A step on the workstation.
    Step(String),
    /// Connecting to a node.
    Connect,
    /// Asking a node everything that the plan needs to know.
    Probe,
    /// Large files on their way to a node; so many bytes.
    Push(u64),
    /// A play.
    Play(String),
    /// A check of a smoke test.
    Check(String),
}

/// A task of a play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its title.
    pub title: String,
    /// Milliseconds.
    pub took: u64,
    /// Whether it changed something.
    pub changed: bool,
}

impl Bar {
    /// Its length in milliseconds.
    pub fn took(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// What a reader knows it by.
    pub fn title(&self) -> &str {
        match &self.what {
            What::Step(name) | What::Play(name) | What::Check(name) => name,
            What::Connect => "connect",
            What::Probe => "probe",
            What::Push(_) => "push binaries",
        }
    }
}

impl Timeline {
    /// The bars of one lane, by their start; `None` is the workstation's.
    pub fn lane<'a>(&'a self, node: Option<&'a str>) -> impl Iterator<Item = (usize, &'a Bar)> {
        self.bars.iter().enumerate().filter(move |(_, bar)| bar.node.as_deref() == node)
    }

    /// Whether a bar is on the critical path.
    pub fn is_critical(&self, bar: usize) -> bool {
        self.critical.contains(&bar)
    }
}

/// Whether a play that ended like this ended badly.
fn is_failure(outcome: PlayOutcome) -> bool {
    outcome == PlayOutcome::Failed
}
