//! The timeline of a run: its log as bars, with the critical path.
//!
//! A run's log contains every event with its time. This module converts them to [`Bar`]s, one for
//! each thing that took time: a step on the workstation, a connection, a probe, a push, a play on a
//! node, a check. [`Timeline::critical`] lists the bars that the run had to wait for, one after the
//! other: shortening any other bar does not shorten the run. Pure: text in, data out; `report`
//! draws it.

mod critical;
mod read;

pub use read::{LogError, read};

use serde::Serialize;

use crate::event::PlayOutcome;

/// A run as bars.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Timeline {
    /// The verb: `up`, `down`, ...
    pub verb: String,
    /// The lab's name.
    pub lab: String,
    /// When it started, in milliseconds since the Unix epoch. All other times are relative to this.
    pub began_ms: u64,
    /// Its duration in milliseconds; for an interrupted run, until its last event.
    pub took: u64,
    /// Whether everything was done; `None` for an interrupted run.
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
    /// The node that it happened on; `None` for the workstation.
    pub node: Option<String>,
    /// What it is.
    pub what: What,
    /// When it started, in milliseconds since the run's start.
    pub start: u64,
    /// When it ended, in milliseconds since the run's start.
    pub end: u64,
    /// Whether it failed.
    pub failed: bool,
    /// The tasks of a play, in order.
    pub tasks: Vec<TimedTask>,
}

/// What took time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "of", rename_all = "snake_case")]
pub enum What {
    /// A step on the workstation.
    Step(String),
    /// Connecting to a node.
    Connect,
    /// Probing a node.
    Probe,
    /// Sending large files to a node, with their size in bytes.
    Push(u64),
    /// A play.
    Play(String),
    /// A check of a smoke test.
    Check(String),
}

/// A task of a play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimedTask {
    /// Its title.
    pub title: String,
    /// Duration in milliseconds.
    pub took: u64,
    /// Whether it changed something.
    pub changed: bool,
}

impl Bar {
    /// Returns its duration in milliseconds.
    pub fn took(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Returns a title for the reader.
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
    /// Returns the bars of one lane by their start; `None` for the workstation.
    pub fn lane<'a>(&'a self, node: Option<&'a str>) -> impl Iterator<Item = (usize, &'a Bar)> {
        self.bars.iter().enumerate().filter(move |(_, bar)| bar.node.as_deref() == node)
    }

    /// Whether a bar is on the critical path.
    pub fn is_critical(&self, bar: usize) -> bool {
        self.critical.contains(&bar)
    }
}

/// Whether this outcome is a failure.
fn is_failure(outcome: PlayOutcome) -> bool {
    outcome == PlayOutcome::Failed
}
