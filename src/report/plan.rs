//! A plan: what would be created and changed, on which nodes, and how it differs.

use super::stream::Paint;
use super::text::{bytes, clean, count, pad, widest};
use crate::event::{ChangeKind, NewValue, PlannedChange, Preparation};

/// Longer titles overflow the column instead of widening it for all others.
const WIDEST_TASK: usize = 56;

/// Every kind of change with its words for counting, in sentence order.
const COUNTED: [(&str, &[ChangeKind]); 7] = [
    ("to make", &[ChangeKind::Make]),
    ("to alter", &[ChangeKind::Alter]),
    ("to start", &[ChangeKind::Start]),
    ("to restart", &[ChangeKind::Restart, ChangeKind::Reload]),
    ("to stop", &[ChangeKind::Stop]),
    ("to run", &[ChangeKind::Run]),
    ("to wait for", &[ChangeKind::Wait]),
];

fn mark(kind: ChangeKind, paint: Paint) -> String {
    match kind {
        ChangeKind::Make | ChangeKind::Start => paint.good("+"),
        ChangeKind::Alter | ChangeKind::Restart | ChangeKind::Reload => paint.warn("~"),
        ChangeKind::Stop => paint.bad("-"),
        ChangeKind::Run | ChangeKind::Wait => paint.active(">"),
    }
}

/// Returns the counts: `38 to make, 12 to alter on 6 nodes; 150 as desired`.
pub(super) fn counts(changes: &[PlannedChange], unchanged: usize) -> String {
    let desired = format!("{unchanged} as desired");
    if changes.is_empty() {
        return format!("nothing to do, {desired}");
    }
    let number = |kinds: &[ChangeKind]| {
        changes.iter().filter(|change| kinds.contains(&change.preview.kind)).count()
    };
    let parts: Vec<String> = COUNTED
        .iter()
        .map(|(words, kinds)| (number(kinds), words))
        .filter(|(number, _)| *number > 0)
        .map(|(number, words)| format!("{number} {words}"))
        .collect();
    let mut nodes: Vec<&str> = changes.iter().map(|change| change.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    format!("{} on {}; {desired}", parts.join(", "), count(nodes.len(), "node"))
}

/// Counts the preparations on the workstation: `3 certificates to issue, 1 local node to start`.
pub(super) fn counts_here(preparations: &[Preparation]) -> Option<String> {
    let number =
        |wanted: fn(&Preparation) -> bool| preparations.iter().filter(|it| wanted(it)).count();
    let parts = [
        (number(|it| matches!(it, Preparation::Bundle { .. })), "bundle", "to fetch"),
        (number(|it| matches!(it, Preparation::Certificate { .. })), "certificate", "to issue"),
        (number(|it| matches!(it, Preparation::LocalNode { .. })), "local node", "to start"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, noun, words)| format!("{} {words}", count(number, noun)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Lists the preparations on the workstation.
pub(super) fn list_here(preparations: &[Preparation], paint: Paint) -> Vec<String> {
    if preparations.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![paint.strong("workstation")];
    let mut group = "";
    let names = preparations
        .iter()
        .map(|it| if let Preparation::Certificate { name, .. } = it { name } else { "" });
    let column = widest(names).min(WIDEST_TASK);
    for preparation in preparations {
        let (of, kind, what, why) = match preparation {
            Preparation::Bundle { files, folder } => (
                "bundle",
                ChangeKind::Make,
                count(*files, "file"),
                format!("fetched into {}", folder.display()),
            ),
            Preparation::Certificate { name, why, replaced } => {
                let kind = if *replaced { ChangeKind::Alter } else { ChangeKind::Make };
                ("certificates", kind, pad(name, column), why.clone())
            }
            Preparation::LocalNode { node, made: true } => {
                ("local nodes", ChangeKind::Make, node.clone(), "made and started".to_owned())
            }
            Preparation::LocalNode { node, made: false } => {
                ("local nodes", ChangeKind::Start, node.clone(), "started".to_owned())
            }
        };
        if of != group {
            group = of;
            lines.push(format!("  {of}"));
        }
        lines.push(format!("    {} {what}  {}", mark(kind, paint), paint.faint(&clean(&why))));
    }
    lines
}

/// Lists every change by node and play, with the lines that differ if `diffs`. Nodes with the same
/// changes share one list, so that ten workers read as one.
pub(super) fn list(changes: &[PlannedChange], diffs: bool, paint: Paint) -> Vec<String> {
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
            let why = paint.faint(&clean(&why(change)));
            lines.push(format!("    {} {task}  {why}", mark(change.preview.kind, paint)));
            lines.extend(details(change, diffs, paint));
        }
        lines.push(String::new());
    }
    lines.pop();
    lines
}

/// Returns the reason on one line, with the size of a new file and a note if the content is secret.
fn why(change: &PlannedChange) -> String {
    let mut why = change.why.clone();
    let made = change.preview.kind == ChangeKind::Make;
    if let Some(size) = change.preview.values.iter().find(|value| made && value.what == "size") {
        why.push_str(&format!(", {}", shown(size, &size.to)));
    }
    if change.preview.secret {
        why.push_str(" (secret)");
    }
    why
}

fn shown(value: &NewValue, text: &str) -> String {
    match text.parse() {
        Ok(number) if value.what == "size" => bytes(number),
        _ => text.to_owned(),
    }
}

/// Returns what is printed below a change: its values, what a unit has not loaded yet, the lines
/// that differ.
fn details(change: &PlannedChange, diffs: bool, paint: Paint) -> Vec<String> {
    const INDENT: &str = "        ";
    let mut lines = Vec::new();
    for value in &change.preview.values {
        // The reason already contains this, or it is printed beside it.
        let Some(from) = &value.from else { continue };
        if change.why == format!("{} {from} should be {}", value.what, value.to) {
            continue;
        }
        let (from, to) = (clean(&shown(value, from)), clean(&shown(value, &value.to)));
        lines.push(format!("{INDENT}{} {} → {}", value.what, paint.bad(&from), paint.good(&to)));
    }
    // A single reason is already in the line itself.
    if change.preview.because.len() > 1 {
        lines.extend(
            change
                .preview
                .because
                .iter()
                .map(|why| format!("{INDENT}{}", paint.faint(&clean(why)))),
        );
    }
    for line in change.preview.diff.iter().filter(|_| diffs).flat_map(|diff| diff.lines()) {
        let text = legible(line);
        let text = match line.as_bytes().first() {
            Some(b'+') => paint.good(&text),
            Some(b'-') => paint.bad(&text),
            Some(b'@') => paint.active(&text),
            _ => paint.faint(&text),
        };
        lines.push(format!("{INDENT}{text}"));
    }
    lines
}

/// Makes a line of text safe for a terminal and shows trailing blanks as dots.
fn legible(line: &str) -> String {
    let (mark, text) = line.split_at_checked(1).unwrap_or((line, ""));
    let text: String = console::strip_ansi_codes(text)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let visible = text.trim_end();
    format!("{mark}{visible}{}", "·".repeat(text.len() - visible.len()))
}

/// Groups changes by the nodes that have exactly the same ones, in the order of the plan.
fn by_nodes(changes: &[PlannedChange]) -> Vec<(Vec<&str>, Vec<&PlannedChange>)> {
    let mut nodes: Vec<(&str, Vec<&PlannedChange>)> = Vec::new();
    for change in changes {
        match nodes.iter_mut().find(|(node, _)| *node == change.node) {
            Some((_, own)) => own.push(change),
            None => nodes.push((&change.node, vec![change])),
        }
    }
    let same = |a: &PlannedChange, b: &PlannedChange| {
        (&a.play, &a.task, &a.why, &a.preview) == (&b.play, &b.task, &b.why, &b.preview)
    };
    let all_same = |a: &[&PlannedChange], b: &[&PlannedChange]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
    };
    let mut groups: Vec<(Vec<&str>, Vec<&PlannedChange>)> = Vec::new();
    for (node, own) in nodes {
        match groups.iter_mut().find(|(_, other)| all_same(other, &own)) {
            Some((names, _)) => names.push(node),
            None => groups.push((vec![node], own)),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_blanks_are_visible_and_control_characters_are_not_printed() {
        assert_eq!(legible("+a  "), "+a··");
        assert_eq!(legible("-"), "-");
        assert_eq!(legible(" \u{1b}[2J\tx\u{7}"), "  x·");
    }
}
