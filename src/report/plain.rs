//! Plain lines for pipes, files and CI: one for each play that changes something on a node, and one
//! for whatever else a person should know, each with its time since the start of the run. With `-v`
//! every task has a line.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, SystemTime};

use super::record::Census;
use super::stream::{Paint, Stream};
use super::text::{between, bytes, bytes_of, clean, count, took};
use super::thin::Thin;
use super::{failure, plan};
use crate::event::{Event, PlayOutcome, Stamped};

/// Writes a run as lines.
#[derive(Debug)]
pub(super) struct Plain {
    stream: Stream,
    verbose: bool,
    diff: bool,
    started: Option<SystemTime>,
    thin: Thin,
    census: Census,
    /// How many tasks of a play have changed something on a node, by play and node.
    changed: BTreeMap<(String, String), usize>,
}

impl Plain {
    /// Writes to `stream`; `verbose` also reports unchanged tasks, `diff` the lines that differ.
    pub fn new(stream: Stream, verbose: bool, diff: bool) -> Self {
        // One line per ten seconds is enough to show that a slow push is making progress.
        let thin = Thin::new(Duration::from_secs(10));
        let (census, changed) = Default::default();
        Self { stream, verbose, diff, started: None, thin, census, changed }
    }

    /// Reports one event.
    pub fn event(&mut self, stamped: &Stamped) -> io::Result<()> {
        let started = *self.started.get_or_insert(stamped.time);
        let mut lines =
            if self.thin.passes(stamped) { self.lines(&stamped.event) } else { Vec::new() };
        if let Some(counted) = self.census.note(stamped) {
            lines.push(format!("nodes: {} ({})", counted.sentence(), took(counted.took)));
        }
        let moment = between(started, stamped.time).as_secs_f64();
        let text: String = lines
            .iter()
            .map(|line| format!("{}\n", format!("[{moment:6.1}s] {line}").trim_end()))
            .collect();
        if text.is_empty() { Ok(()) } else { self.stream.write(&text) }
    }

    fn lines(&mut self, event: &Event) -> Vec<String> {
        let line = match event {
            Event::RunStarted { verb, lab, nodes } if nodes.is_empty() => format!("{verb} {lab}"),
            Event::RunStarted { verb, lab, nodes } => {
                format!("{verb} {lab}: {}", count(nodes.len(), "node"))
            }
            Event::StepEnded { step, detail, took: time, .. } => {
                format!("{step}: {} ({})", clean(detail), took(*time))
            }
            Event::NodeConnected { node, took: time } if self.verbose => {
                format!("{node}: connected ({})", took(*time))
            }
            Event::NodeProbed { node, took: time } if self.verbose => {
                format!("{node}: probed ({})", took(*time))
            }
            Event::Planned { changes, unchanged, .. } => {
                let listed = self.verbose || self.diff;
                let mut lines = if listed {
                    plan::list(changes, self.diff, Paint::new(false))
                } else {
                    Vec::new()
                };
                lines.push(format!("plan: {}", plan::counts(changes, *unchanged)));
                return lines;
            }
            Event::Pushing { node, sent, total } if sent >= total => {
                format!("{node}: pushed {}", bytes(*total))
            }
            Event::Pushing { node, sent, total } => {
                format!("{node}: pushing {}", bytes_of(*sent, *total))
            }
            Event::TaskEnded { play, node, task, changed: true, took: time } => {
                *self.changed.entry((play.clone(), node.clone())).or_default() += 1;
                if !self.verbose {
                    return Vec::new();
                }
                format!("{node} {play}: {} ({})", clean(task), took(*time))
            }
            Event::TaskEnded { play, node, task, changed: false, .. } if self.verbose => {
                format!("{node} {play}: {} (as desired)", clean(task))
            }
            Event::TaskFailed(failed) => format!("FAILED: {}", failure::line(failed)),
            Event::PlayEnded { play, node, outcome, took: time } if self.verbose => match outcome {
                PlayOutcome::Done => format!("{node} {play}: done ({})", took(*time)),
                PlayOutcome::Failed => format!("{node} {play}: failed ({})", took(*time)),
                PlayOutcome::Skipped => format!("{node} {play}: skipped"),
            },
            Event::PlayEnded { play, node, outcome, took: time } => {
                let changed = self.changed.get(&(play.clone(), node.clone())).copied();
                let Some(changed) = changed else { return Vec::new() };
                let failed = if *outcome == PlayOutcome::Failed { ", then failed" } else { "" };
                format!("{node} {play}: {}{failed} ({})", count(changed, "change"), took(*time))
            }
            Event::Check { name, failure: None, took: time } => {
                format!("passed: {} ({})", clean(name), took(*time))
            }
            Event::Check { name, failure: Some(why), took: time } => {
                let why: Vec<String> = why.lines().map(clean).collect();
                format!("FAILED: {} ({}): {}", clean(name), took(*time), why.join("; "))
            }
            Event::Warning { node: Some(node), message } => {
                format!("warning: {node}: {}", clean(message))
            }
            Event::Warning { node: None, message } => format!("warning: {}", clean(message)),
            Event::Cancelling => {
                "stopping: running tasks may finish, nothing new starts".to_string()
            }
            _ => return Vec::new(),
        };
        vec![line]
    }
}
