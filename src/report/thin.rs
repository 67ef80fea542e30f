//! Thins out progress: one event per megabyte suits a progress bar, but not a file of lines.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::text::between;
use crate::event::{Event, Stamped};

/// Passes every event except progress that comes too soon after the last of its kind.
#[derive(Debug)]
pub(super) struct Thin {
    every: Duration,
    last: BTreeMap<String, SystemTime>,
}

impl Thin {
    /// Passes one progress event per node or step in each `every`.
    pub fn new(every: Duration) -> Self {
        Self { every, last: BTreeMap::new() }
    }

    /// Whether to print this one. The last progress event (everything done) always passes.
    pub fn passes(&mut self, stamped: &Stamped) -> bool {
        let Some((key, complete)) = progress(&stamped.event) else { return true };
        let due = self.last.get(key).is_none_or(|last| between(*last, stamped.time) >= self.every);
        if due || complete {
            self.last.insert(key.to_string(), stamped.time);
        }
        due || complete
    }
}

/// For progress, returns its subject and whether everything is done.
fn progress(event: &Event) -> Option<(&str, bool)> {
    match event {
        Event::Pushing { node, sent, total } => Some((node, sent >= total)),
        Event::StepProgress { step, done, total, .. } => Some((step, done >= total)),
        _ => None,
    }
}

/// Whether an event only reports progress.
pub(super) fn is_progress(event: &Event) -> bool {
    progress(event).is_some()
}
