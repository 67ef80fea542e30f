//! A plan, read before it is run: what would be made and what would be altered, on which nodes.

use super::stream::Paint;
use super::text::{clean, count, pad, widest};
use crate::event::PlannedChange;

/// Titles longer than this stand out of the column instead of pushing it away from all the others.
const WIDEST_TASK: usize = 56;

/// What a change does to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Make,
    Alter,
    Remove,
}

impl Sign {
    /// Read from why the task is not as desired: what is missing is made, what is present is removed.
    fn of(change: &PlannedChange) -> Self {
        if change.why.starts_with("missing") {
            Self::Make
        } else if change.why.starts_with("present") {
            Self::Remove
        } else {
            Self::Alter
        }
    }

    fn mark(self, paint: Paint) -> String {
        match self {
            Self::Make => paint.good("+"),
            Self::Alter => paint.warn("~"),
            Self::Remove => paint.bad("-"),
        }
    }
}

/// The counts: `38 to make, 12 to alter on 6 nodes; 150 as desired`.
pub(super) fn counts(changes: &[PlannedChange], unchanged: usize) -> String {
    let desired = format!("{unchanged} as desired");
    if changes.is_empty() {
        return format!("nothing to do, {desired}");
    }
    let number = |sign: Sign| changes.iter().filter(|change| Sign::of(change) == sign).count();
    let parts: Vec<String> = [(Sign::Make, "to make"), (Sign::Alter, "to alter"), (Sign::Remove, "to remove")]
        .into_iter()
        .filter(|(sign, _)| number(*sign) > 0)
        .map(|(sign, words)| format!("{} {words}", number(sign)))
        .collect();
    let mut nodes: Vec<&str> = changes.iter().map(|change| change.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    format!("{} on {}; {desired}", parts.join(", "), count(nodes.len(), "node"))
}

/// Every change, by node and play. Nodes with the very same changes share one list: ten workers read as one.
pub(super) fn list(changes: &[PlannedChange], paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    for (nodes, changes) in by_nodes(changes) {
        lines.push(paint.strong(&nodes.join(", ")));
        let column = widest(changes.iter().map(|change| change.task.as_str())).min(WIDEST_TASK);
        let mut play = "";
        for change in changes {
            if change.play != play {
                play = &change.play;
                lines.push(format!("  {play}"));
            }
            let task = pad(&clean(&change.task), column);
            lines.push(format!("    {} {task}  {}", Sign::of(change).mark(paint), paint.faint(&clean(&change.why))));
        }
        lines.push(String::new());
    }
    lines.pop();
    lines
}

/// Changes in the order of the plan, under the nodes that have exactly these.
fn by_nodes(changes: &[PlannedChange]) -> Vec<(Vec<&str>, Vec<&PlannedChange>)> {
    let mut nodes: Vec<(&str, Vec<&PlannedChange>)> = Vec::new();
    for change in changes {
        match nodes.iter_mut().find(|(node, _)| *node == change.node) {
            Some((_, own)) => own.push(change),
            None => nodes.push((&change.node, vec![change])),
        }
    }
    let same = |a: &[&PlannedChange], b: &[&PlannedChange]| {
        let key = |change: &PlannedChange| (change.play.clone(), change.task.clone(), change.why.clone());
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| key(a) == key(b))
    };
    let mut groups: Vec<(Vec<&str>, Vec<&PlannedChange>)> = Vec::new();
    for (node, own) in nodes {
        match groups.iter_mut().find(|(_, other)| same(other, &own)) {
            Some((names, _)) => names.push(node),
            None => groups.push((vec![node], own)),
        }
    }
    groups
}
