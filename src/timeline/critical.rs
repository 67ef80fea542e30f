//! The critical path: back from what ended last, each bar to the one that it waited for.

use super::{Bar, What};
use crate::event::Awaited;

/// How far apart, in milliseconds, the end of one bar and the start of the next may be noted
/// although one is the other's cause: events are written one after the other.
const SLACK: u64 = 5;

/// The bars on the critical path, first to last. `awaited` says of each bar what it waited for
/// last, where it is known.
pub(super) fn path(bars: &[Bar], awaited: &[Option<Awaited>]) -> Vec<usize> {
    let mut path = Vec::new();
    let mut next = latest(bars, |_, _| true);
    while let Some(index) = next {
        path.push(index);
        let bar = &bars[index];
        // Only ever backwards in time: a log with odd moments must not send this round in circles.
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

/// The bar that a play says it waited for.
fn cause(bars: &[Bar], bar: &Bar, told: &Awaited, before: &dyn Fn(usize) -> bool) -> Option<usize> {
    latest(bars, |index, other| match told {
        Awaited::Play(play) => before(index) && other.what == What::Play(play.clone()),
        Awaited::Node(node) => {
            before(index) && other.what == bar.what && other.node.as_ref() == Some(node)
        }
        // Some of the files may be enough for this play while the rest is still on its way.
        Awaited::Push => {
            matches!(other.what, What::Push(_))
                && other.node == bar.node
                && other.start <= bar.start
        }
        Awaited::Plan => before(index) && !matches!(other.what, What::Play(_) | What::Push(_)),
        Awaited::Turn => before(index) && matches!(other.what, What::Play(_)),
    })
}

/// Whether a bar of one kind can be what another, which does not say what it waited for, waited
/// for: a push waits for the plan, a probe for its own node's connection, and everything else for
/// whatever ended before it.
fn comes_before(other: &Bar, bar: &Bar) -> bool {
    match bar.what {
        What::Push(_) => !matches!(other.what, What::Push(_) | What::Play(_)),
        What::Probe => other.node.is_none() || other.node == bar.node,
        What::Connect => matches!(other.what, What::Step(_)),
        What::Step(_) | What::Play(_) | What::Check(_) => true,
    }
}

/// Of the bars that `wanted` picks, the one that ended last.
fn latest(bars: &[Bar], wanted: impl Fn(usize, &Bar) -> bool) -> Option<usize> {
    let picked = bars.iter().enumerate().filter(|(index, bar)| wanted(*index, bar));
    picked.max_by_key(|(index, bar)| (bar.end, *index)).map(|(index, _)| index)
}
