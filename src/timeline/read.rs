//! Reads a run log: JSON lines, one event each, written by this or another version of labctl.
//!
//! Reads only the events that a timeline needs. Skips all other lines, and an incomplete last line
//! of a killed run.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Bar, TimedTask, Timeline, What, critical, is_failure};
use crate::event::{Awaited, PlayOutcome};

/// Why a file is not a run log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It does not begin like a run log.
    #[error("not a run log: its first line is not the start of a run")]
    NoStart,
    /// A line in the middle is invalid.
    #[error("line {line} is not an event: {why}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// The parser's error.
        why: String,
    },
}

#[derive(Deserialize)]
struct LogLine {
    time_ms: u64,
    #[serde(flatten)]
    event: LoggedEvent,
}

/// The events that a timeline needs.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum LoggedEvent {
    RunStarted {
        verb: String,
        lab: String,
        nodes: Vec<String>,
    },
    StepEnded {
        step: String,
        ms: u64,
    },
    NodeConnected {
        node: String,
        ms: u64,
    },
    NodeProbed {
        node: String,
        ms: u64,
    },
    Pushing {
        node: String,
        sent: u64,
        total: u64,
    },
    PlayStarted {
        play: String,
        node: String,
        awaited: Option<Awaited>,
    },
    TaskEnded {
        play: String,
        node: String,
        task: String,
        changed: bool,
        ms: u64,
    },
    PlayEnded {
        play: String,
        node: String,
        outcome: PlayOutcome,
    },
    Check {
        name: String,
        failure: Option<String>,
        ms: u64,
    },
    RunEnded {
        ok: bool,
    },
    #[serde(other)]
    Other,
}

/// A play that has started on a node.
struct Begun {
    start: u64,
    awaited: Awaited,
    tasks: Vec<TimedTask>,
}

/// The state while reading.
#[derive(Default)]
struct Reader {
    timeline: Timeline,
    /// What each bar waited for last, parallel to the bars.
    awaited: Vec<Option<Awaited>>,
    plays: BTreeMap<(String, String), Begun>,
    pushes: BTreeMap<String, u64>,
    now: u64,
}

/// Reads a run log.
///
/// # Errors
/// If the text is not a run log.
pub fn read(text: &str) -> Result<Timeline, LogError> {
    let mut reader = Reader::default();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let parsed = match serde_json::from_str::<LogLine>(line) {
            Ok(parsed) => parsed,
            Err(_) if index == 0 => return Err(LogError::NoStart),
            // The run was killed while writing.
            Err(_) if index + 1 == lines.len() => break,
            Err(error) => return Err(LogError::Line { line: index + 1, why: error.to_string() }),
        };
        match (index, parsed.event) {
            (0, LoggedEvent::RunStarted { verb, lab, nodes }) => {
                reader.timeline =
                    Timeline { verb, lab, nodes, began_ms: parsed.time_ms, ..Timeline::default() };
            }
            (0, _) => return Err(LogError::NoStart),
            (_, event) => reader.note(parsed.time_ms, event),
        }
    }
    if lines.is_empty() { Err(LogError::NoStart) } else { Ok(reader.finish()) }
}

impl Reader {
    fn note(&mut self, time: u64, event: LoggedEvent) {
        // A clock that was set back during a run must not cause bars of negative length.
        self.now = time.saturating_sub(self.timeline.began_ms).max(self.now);
        let now = self.now;
        match event {
            LoggedEvent::StepEnded { step, ms } => self.ended(None, What::Step(step), ms),
            LoggedEvent::NodeConnected { node, ms } => self.ended(Some(node), What::Connect, ms),
            LoggedEvent::NodeProbed { node, ms } => self.ended(Some(node), What::Probe, ms),
            LoggedEvent::Check { name, failure, ms } => {
                self.ended(None, What::Check(name), ms);
                self.timeline
                    .bars
                    .last_mut()
                    .into_iter()
                    .for_each(|bar| bar.failed = failure.is_some());
            }
            LoggedEvent::Pushing { node, sent, total } => {
                let start = *self.pushes.entry(node.clone()).or_insert(now);
                if sent >= total {
                    self.pushes.remove(&node);
                    self.bar(Some(node), What::Push(total), start, None);
                }
            }
            LoggedEvent::PlayStarted { play, node, awaited } => {
                let awaited = awaited.unwrap_or(Awaited::Plan);
                self.plays.insert((play, node), Begun { start: now, awaited, tasks: Vec::new() });
            }
            LoggedEvent::TaskEnded { play, node, task, changed, ms } => {
                if let Some(begun) = self.plays.get_mut(&(play, node)) {
                    begun.tasks.push(TimedTask { title: task, took: ms, changed });
                }
            }
            LoggedEvent::PlayEnded { play, node, outcome } => {
                self.play_ended(play, node, is_failure(outcome))
            }
            LoggedEvent::RunEnded { ok } => self.timeline.ok = Some(ok),
            LoggedEvent::RunStarted { .. } | LoggedEvent::Other => {}
        }
    }

    /// Adds a bar that ends now and took `ms`.
    fn ended(&mut self, node: Option<String>, what: What, ms: u64) {
        self.bar(node, what, self.now.saturating_sub(ms), None);
    }

    fn play_ended(&mut self, play: String, node: String, failed: bool) {
        // A play that had nothing to do, or was skipped, never started.
        let Some(begun) = self.plays.remove(&(play.clone(), node.clone())) else { return };
        self.bar(Some(node), What::Play(play), begun.start, Some(begun.awaited));
        if let Some(bar) = self.timeline.bars.last_mut() {
            bar.failed = failed;
            bar.tasks = begun.tasks;
        }
    }

    fn bar(&mut self, node: Option<String>, what: What, start: u64, awaited: Option<Awaited>) {
        self.timeline.bars.push(Bar {
            node,
            what,
            start,
            end: self.now,
            failed: false,
            tasks: Vec::new(),
        });
        self.awaited.push(awaited);
    }

    fn finish(mut self) -> Timeline {
        // Whatever a killed run was doing lasted until its last known event.
        for (play, node) in self.plays.keys().cloned().collect::<Vec<_>>() {
            self.play_ended(play, node, true);
        }
        for (node, start) in std::mem::take(&mut self.pushes) {
            self.bar(Some(node), What::Push(0), start, None);
        }
        let mut timeline = self.timeline;
        timeline.took = self.now;
        timeline.critical = critical::path(&timeline.bars, &self.awaited);
        timeline
    }
}
