//! The result of a run, collected from its events: what the closing part prints and what the caller
//! decides by.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::text::between;
use crate::event::{Event, Failure, PlannedChange, PlayOutcome, Preparation, RunSummary, Stamped};

/// Everything about a run that is needed after its last event.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// The verb: `up`, `down`, ...; empty if the run never started.
    pub verb: String,
    /// The lab's name.
    pub lab: String,
    /// Steps on the workstation that changed something.
    pub steps_changed: usize,
    /// Work that is done on the workstation first.
    pub preparations: Vec<Preparation>,
    /// Every planned change.
    pub planned: Vec<PlannedChange>,
    /// Tasks that were already as desired.
    pub unchanged: usize,
    /// Tasks that are checked again when they are reached.
    pub judged_again: usize,
    /// Nodes that the plan skips.
    pub left_out: Vec<String>,
    /// Tasks that changed something, as (task, node), in the order in which they ended.
    pub changes: Vec<(String, String)>,
    /// Every failed task.
    pub failures: Vec<Failure>,
    /// Checks that passed.
    pub checks_passed: usize,
    /// Checks that failed.
    pub checks_failed: usize,
    /// Plays that ran, by their first start.
    pub plays: Vec<PlayTimes>,
    /// The engine's summary; `None` if it stopped before it could write one.
    pub summary: Option<RunSummary>,
    /// The path of the run log.
    pub log: Option<PathBuf>,
    skipped: BTreeSet<(String, String)>,
}

/// The duration of one play over all its nodes: from the first start to the last end.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayTimes {
    /// The play.
    pub play: String,
    /// The nodes on which it changed something.
    pub nodes: Vec<String>,
    /// The nodes on which it failed.
    pub failed: Vec<String>,
    /// When the first node began.
    pub start: SystemTime,
    /// When the last node ended.
    pub end: SystemTime,
}

impl PlayTimes {
    /// Returns the time from the first start to the last end.
    pub fn took(&self) -> Duration {
        between(self.start, self.end)
    }
}

impl RunReport {
    /// Whether the run did everything that was planned and every check passed.
    pub fn ok(&self) -> bool {
        self.failures.is_empty()
            && self.checks_failed == 0
            && self.summary.as_ref().is_some_and(|summary| summary.ok)
    }

    /// Whether the user stopped it.
    pub fn cancelled(&self) -> bool {
        self.summary.as_ref().is_some_and(|summary| summary.cancelled)
    }

    /// Returns the number of tasks that changed something, over all nodes.
    pub fn changed(&self) -> usize {
        self.summary.iter().flat_map(|summary| &summary.nodes).map(|node| node.changed).sum()
    }

    /// Returns plays that were planned but never started, as (play, node).
    pub fn skipped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.skipped.iter().map(|(play, node)| (play.as_str(), node.as_str()))
    }

    /// Processes one event.
    pub(super) fn note(&mut self, stamped: &Stamped) {
        match &stamped.event {
            Event::RunStarted { verb, lab, .. } => {
                self.verb.clone_from(verb);
                self.lab.clone_from(lab);
            }
            Event::StepEnded { changed: true, .. } => self.steps_changed += 1,
            Event::Preparation(preparation) => self.preparations.push(preparation.clone()),
            Event::Planned { changes, unchanged, judged_again, left_out } => {
                self.planned.clone_from(changes);
                (self.unchanged, self.judged_again) = (*unchanged, *judged_again);
                self.left_out.clone_from(left_out);
            }
            Event::PlayStarted { play, node, .. } => self.play_started(play, node, stamped.time),
            Event::PlayEnded { play, node, outcome, .. } => {
                self.play_ended(play, node, *outcome, stamped.time)
            }
            Event::TaskEnded { task, node, changed: true, .. } => {
                self.changes.push((task.clone(), node.clone()))
            }
            Event::TaskFailed(failure) => self.failures.push(failure.clone()),
            Event::Check { failure: None, .. } => self.checks_passed += 1,
            Event::Check { failure: Some(_), .. } => self.checks_failed += 1,
            Event::RunEnded(summary) => self.summary = Some(summary.clone()),
            Event::StepStarted { .. }
            | Event::StepProgress { .. }
            | Event::StepEnded { .. }
            | Event::NodeConnecting { .. }
            | Event::NodeConnected { .. }
            | Event::NodeProbed { .. }
            | Event::Pushing { .. }
            | Event::Delivered { .. }
            | Event::TaskStarted { .. }
            | Event::TaskEnded { .. }
            | Event::Warning { .. }
            | Event::Cancelling => {}
        }
    }

    fn play_started(&mut self, play: &str, node: &str, time: SystemTime) {
        let times = match self.plays.iter_mut().find(|times| times.play == play) {
            Some(times) => times,
            None => {
                let times = PlayTimes {
                    play: play.into(),
                    nodes: Vec::new(),
                    failed: Vec::new(),
                    start: time,
                    end: time,
                };
                self.plays.push(times);
                self.plays.last_mut().expect("just pushed")
            }
        };
        times.nodes.push(node.into());
    }

    fn play_ended(&mut self, play: &str, node: &str, outcome: PlayOutcome, time: SystemTime) {
        let times = self
            .plays
            .iter_mut()
            .find(|times| times.play == play && times.nodes.iter().any(|n| n == node));
        match (times, outcome) {
            (Some(times), _) => {
                times.end = times.end.max(time);
                if outcome == PlayOutcome::Failed {
                    times.failed.push(node.into());
                }
            }
            // A play that never started has no duration; it is counted, so that it is not taken for
            // done.
            (None, PlayOutcome::Skipped) => {
                self.skipped.insert((play.into(), node.into()));
            }
            (None, PlayOutcome::Done | PlayOutcome::Failed) => {}
        }
    }
}

/// Counts nodes until all of them were probed or failed: one line for sixty nodes instead of sixty.
#[derive(Debug, Default)]
pub(super) struct Census {
    expected: usize,
    probed: usize,
    lost: usize,
    since: Option<SystemTime>,
    told: bool,
}

/// The result of a census.
#[derive(Debug, PartialEq)]
pub(super) struct Counted {
    /// Nodes that answered.
    pub probed: usize,
    /// Nodes that were expected to answer.
    pub expected: usize,
    /// The time from the first connection to the last answer.
    pub took: Duration,
}

impl Census {
    /// Processes one event; returns `Some` once, when the last node has answered or failed.
    pub fn note(&mut self, stamped: &Stamped) -> Option<Counted> {
        match &stamped.event {
            Event::RunStarted { nodes, .. } => self.expected = nodes.len(),
            Event::NodeConnecting { .. } => self.begin(stamped.time),
            // If no event reported the start of connecting, derive it from how long the connection
            // took.
            Event::NodeConnected { took, .. } => {
                self.begin(stamped.time.checked_sub(*took).unwrap_or(stamped.time))
            }
            Event::NodeProbed { .. } => self.probed += 1,
            Event::TaskFailed(failure) if failure.play.is_empty() => self.lost += 1,
            _ => return None,
        }
        let complete = self.probed > 0 && self.probed + self.lost >= self.expected;
        if !complete || std::mem::replace(&mut self.told, true) {
            return None;
        }
        let took = between(self.since.unwrap_or(stamped.time), stamped.time);
        Some(Counted { probed: self.probed, expected: self.expected, took })
    }

    fn begin(&mut self, time: SystemTime) {
        self.since = Some(self.since.map_or(time, |since| since.min(time)));
    }
}

impl Counted {
    /// `6 nodes probed`, `5 of 6 nodes probed`.
    pub fn sentence(&self) -> String {
        let nodes = super::text::count(self.expected, "node");
        if self.probed >= self.expected {
            format!("{nodes} probed")
        } else {
            format!("{} of {nodes} probed", self.probed)
        }
    }
}
