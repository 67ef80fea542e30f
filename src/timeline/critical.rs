//! The critical path: follows each bar back to the one that it waited for, starting from the last
//! one to end.

use super::{Bar, What};
use crate::event::Awaited;

/// Maximum difference in milliseconds between the end of one bar and the start of the bar that it
/// triggered. Events are written one after the other, so their times are not exactly equal.
const SLACK: u64 = 5;

/// Returns the bars on the critical path, first to last. `awaited` contains what each bar waited
/// for last, if known.
pub(super) fn path(bars: &[Bar], awaited: &[Option<Awaited>]) -> Vec<usize> {
    let mut path = Vec::new();
    let mut next = latest(bars, |_, _| true);
    while let Some(index) = next {
        path.push(index);
        let bar = &bars[index];
        // Only backwards in time: a log with odd times must not cause an endless loop.
        let before = |other: usize| {
            let earlier = (bars[other].start, other) < (bar.start, index);
            earlier && bars[other].end <= bar.start + SLACK
        };
        let told = awaited.get(index).and_then(Option::as_ref);
        next = told
            .and_then(|told| cause(bars, bar, told, &before))
            .or_else(|| latest(bars, |other, at| before(other) && comes_before(at, bar)));
    }
    path.reverse();
    path
}

/// Returns the bar that a play waited for.
fn cause(bars: &[Bar], bar: &Bar, told: &Awaited, before: &dyn Fn(usize) -> bool) -> Option<usize> {
    latest(bars, |index, other| match told {
        Awaited::Play(play) => before(index) && other.what == What::Play(play.clone()),
        Awaited::Node(node) => {
            before(index) && other.what == bar.what && other.node.as_ref() == Some(node)
        }
        // Some of the files may be enough for this play while the others are still being sent.
        Awaited::Push => {
            matches!(other.what, What::Push(_))
                && other.node == bar.node
                && other.start <= bar.start
        }
        Awaited::Plan => before(index) && !matches!(other.what, What::Play(_) | What::Push(_)),
        Awaited::Turn => before(index) && matches!(other.what, What::Play(_)),
    })
}

/// Whether a bar can be the cause of another one that does not record what it waited for: a push
/// waits for the plan, a probe for its own node's connection, and everything else for whatever
/// ended before it.
fn comes_before(other: &Bar, bar: &Bar) -> bool {
    match bar.what {
        What::Push(_) => !matches!(other.what, What::Push(_) | What::Play(_)),
        What::Probe => other.node.is_none() || other.node == bar.node,
        What::Connect => matches!(other.what, What::Step(_)),
        What::Step(_) | What::Play(_) | What::Check(_) => true,
    }
}

/// Returns the one that ended last of the bars that `wanted` selects.
fn latest(bars: &[Bar], wanted: impl Fn(usize, &Bar) -> bool) -> Option<usize> {
    let picked = bars.iter().enumerate().filter(|(index, bar)| wanted(*index, bar));
    picked.max_by_key(|(index, bar)| (bar.end, *index)).map(|(index, _)| index)
}
