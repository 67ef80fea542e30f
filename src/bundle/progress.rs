//! The progress of a bundle in bytes, reported often enough to watch and seldom enough to log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::STEP;
use crate::event::{Event, Events};

/// Minimum time between two progress events.
const INTERVAL: Duration = Duration::from_millis(100);

/// Sums up the bytes of many downloads in one stream of events.
#[derive(Debug)]
pub struct Progress {
    events: Events,
    state: Mutex<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    done: u64,
    total: u64,
    told: Option<Instant>,
}

impl Progress {
    /// Starts without any bytes done or expected.
    pub fn new(events: &Events) -> Self {
        Self { events: events.clone(), state: Mutex::default() }
    }

    /// Adds to the total.
    pub fn expect(&self, bytes: u64) {
        self.change(None, |state| state.total += bytes);
    }

    /// Adds `bytes` of `detail` to what is done.
    pub fn advance(&self, bytes: u64, detail: &str) {
        self.change(Some(detail), |state| {
            state.done += bytes;
            // A server reported no size, or a wrong one.
            state.total = state.total.max(state.done);
        });
    }

    /// Takes back bytes that have to be downloaded again.
    pub fn retreat(&self, bytes: u64) {
        self.change(None, |state| state.done = state.done.saturating_sub(bytes));
    }

    /// Emits an event with the current state, even if the last one was just before.
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

    fn change(&self, detail: Option<&str>, change: impl FnOnce(&mut Counters)) {
        let due = {
            let mut state = self.lock();
            change(&mut state);
            state.told.is_none_or(|told| told.elapsed() >= INTERVAL)
        };
        if let Some(detail) = detail.filter(|_| due) {
            self.tell(detail);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counters> {
        // Counters are never half updated, so a poisoned lock still has valid ones.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
