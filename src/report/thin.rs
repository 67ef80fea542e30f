//! Thins progress: a push that reports every megabyte is good for a moving bar and bad for a file
//! of lines.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::text::between;
use crate::event::{Event, Stamped};

/// Lets every event pass, except progress that comes too soon after the last of its kind.
#[derive(Debug)]
pub(super) struct Thin {
    every: Duration,
    last: BTreeMap<String, SystemTime>,
}

impl Thin {
    /// One progress event per node or step in each `every`.
    pub fn new(every: Duration) -> Self {
        Self { every, last: BTreeMap::new() }
    }

    /// Whether this one is worth a line. The last progress (all of it done) always is.
    pub fn passes(&mut self, stamped: &Stamped) -> bool {
        let Some((key, complete)) = progress(&stamped.event) else { return true };
        let due = self.last.get(key).is_none_or(|last| between(*last, stamped.time) >= self.every);
        if due || complete {
            self.last.insert(key.to_string(), stamped.time);
        }
        due || complete
    }
}

/// For progress: what it is the progress of, and whether all is done.
fn progress(event: &Event) -> Option<(&str, bool)> {
    match event {
        Event::Pushing { node, sent, total } => Some((node, sent >= total)),
        Event::StepProgress { step, done, total, .. } => Some((step, done >= total)),
        _ => None,
    }
}

/// Whether an event only says how far something is.
pub(super) fn is_progress(event: &Event) -> bool {
    progress(event).is_some()
}
