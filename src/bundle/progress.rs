//! The progress of a bundle: bytes done of bytes to do, reported often enough to watch and seldom
//! enough to log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::STEP;
use crate::event::{Event, Events};

/// Between two events about bytes.
const INTERVAL: Duration = Duration::from_millis(100);

/// Counts the bytes of many downloads into one stream of events.
#[derive(Debug)]
pub struct Progress {
    events: Events,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    done: u64,
    total: u64,
    told: Option<Instant>,
}

impl Progress {
    /// Nothing done, nothing known.
    pub fn new(events: &Events) -> Self {
        Self { events: events.clone(), state: Mutex::default() }
    }

    /// There is more to do than was known.
    pub fn expect(&self, bytes: u64) {
        self.change(None, |state| state.total += bytes);
    }

    /// Bytes of `detail` are done.
    pub fn advance(&self, bytes: u64, detail: &str) {
        self.change(Some(detail), |state| {
            state.done += bytes;
            // A server that told no length, or a wrong one.
            state.total = state.total.max(state.done);
        });
    }

    /// Bytes that were done have to be done again.
    pub fn retreat(&self, bytes: u64) {
        self.change(None, |state| state.done = state.done.saturating_sub(bytes));
    }

    /// Tells where things stand, whatever was told last.
    pub fn tell(&self, detail: &str) {
        let (done, total) = {
            let mut state = self.lock();
            state.told = Some(Instant::now());
            (state.done, state.total)
        };
        self.events.emit(Event::StepProgress {
            step: STEP.into(),
            done,
            total,
            detail: detail.into(),
        });
    }

    fn change(&self, detail: Option<&str>, change: impl FnOnce(&mut State)) {
        let due = {
            let mut state = self.lock();
            change(&mut state);
            state.told.is_none_or(|told| told.elapsed() >= INTERVAL)
        };
        if let Some(detail) = detail.filter(|_| due) {
            self.tell(detail);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Counters are never half changed, so a poisoned lock holds good ones.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
