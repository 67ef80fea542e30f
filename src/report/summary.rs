//! The closing part of a run: the result per node, the duration per play, the verdict, and what to
//! run next.

use std::time::SystemTime;

use super::record::{PlayTimes, RunReport};
use super::stream::Paint;
use super::text::{between, bytes, clean, count, fit, pad, pad_left, took, widest};
use crate::event::{NodeSummary, RunSummary};

/// The minimum and maximum width of the timeline's bars.
const BAR: std::ops::RangeInclusive<usize> = 12..=40;

/// Returns the table of nodes and the timeline of plays; empty if the run changed nothing and is
/// not `verbose`.
pub(super) fn tables(report: &RunReport, width: usize, verbose: bool, paint: Paint) -> Vec<String> {
    let Some(summary) = &report.summary else { return Vec::new() };
    let quiet = report.ok() && report.changed() == 0 && !verbose;
    let mut lines = Vec::new();
    if !quiet && !summary.nodes.is_empty() {
        lines.push(String::new());
        lines.extend(nodes(summary, verbose, paint));
    }
    let others = others(report, summary, paint);
    if !others.is_empty() {
        lines.push(String::new());
        lines.extend(others);
    }
    if !report.plays.is_empty() && !quiet {
        lines.push(String::new());
        lines.extend(timeline(&report.plays, width, paint));
    }
    lines.iter().map(|line| fit(line, width.saturating_sub(1))).collect()
}

/// One row per node.
fn nodes(summary: &RunSummary, verbose: bool, paint: Paint) -> Vec<String> {
    type Cell = fn(&NodeSummary) -> String;
    let mut columns: Vec<(&str, bool, Cell)> = vec![
        ("node", false, |node| node.node.clone()),
        ("roles", false, |node| node.roles.clone()),
        ("address", false, |node| node.address.clone()),
        ("changed", true, |node| node.changed.to_string()),
        ("unchanged", true, |node| node.unchanged.to_string()),
    ];
    // A column that is empty in every successful run is only shown in the others,
    // and before those that may be cut at the edge.
    if summary.nodes.iter().any(|node| node.failed.is_some()) {
        columns
            .push(("failed", false, |node| node.failed.as_deref().map(clean).unwrap_or_default()));
    }
    if verbose {
        columns.push(("round trips", true, |node| node.round_trips.to_string()));
        columns.push(("sent", true, |node| bytes(node.bytes_sent)));
        columns.push(("received", true, |node| bytes(node.bytes_received)));
    }
    let mut lines = vec![String::new(); summary.nodes.len() + 1];
    for (title, number, cell) in columns {
        let cells: Vec<String> = summary.nodes.iter().map(cell).collect();
        let column = widest(cells.iter().map(String::as_str).chain([title]));
        let align = |text: &str| if number { pad_left(text, column) } else { pad(text, column) };
        lines[0].push_str(&format!("  {}", paint.faint(&align(title))));
        for ((line, text), node) in lines[1..].iter_mut().zip(&cells).zip(&summary.nodes) {
            let text = match title {
                "node" if node.failed.is_some() => paint.bad(&align(text)),
                "failed" => paint.bad(&align(text)),
                "changed" | "unchanged" if text == "0" => paint.faint(&align(text)),
                _ => align(text),
            };
            line.push_str(&format!("  {text}"));
        }
    }
    lines.iter().map(|line| line.trim_end().to_string()).collect()
}

/// Returns one row per task that changed the other nodes because nodes joined or left.
fn others(report: &RunReport, summary: &RunSummary, paint: Paint) -> Vec<String> {
    let stays = |name: &str| summary.nodes.iter().any(|node| node.node == name && !node.turnover);
    if summary.nodes.iter().all(|node| !node.turnover) {
        return Vec::new();
    }
    let mut rows: Vec<(&str, Vec<&str>)> = Vec::new();
    for (task, node) in report.changes.iter().filter(|(_, node)| stays(node)) {
        match rows.iter_mut().find(|(known, _)| known == task) {
            Some((_, nodes)) => nodes.push(node),
            None => rows.push((task, vec![node])),
        }
    }
    let title = "changed on the other nodes";
    let column = widest(rows.iter().map(|(task, _)| *task).chain([title]));
    let all = summary.nodes.iter().filter(|node| !node.turnover).count();
    let row = |(task, nodes): (&str, Vec<&str>)| {
        let mut nodes: Vec<&str> = summary
            .nodes
            .iter()
            .map(|node| node.node.as_str())
            .filter(|it| nodes.contains(it))
            .collect();
        nodes.dedup();
        let nodes =
            if nodes.len() == all && all > 2 { format!("all {all}") } else { nodes.join(", ") };
        format!("  {}  {nodes}", pad(&clean(task), column))
    };
    let head = paint.faint(&format!("  {}  on", pad(title, column)));
    if rows.is_empty() {
        return vec![paint.faint("  nothing changed on the other nodes")];
    }
    std::iter::once(head).chain(rows.into_iter().map(row)).collect()
}

/// Returns one row per play, from its first start to its last end, drawn to scale to show what ran
/// in parallel.
fn timeline(plays: &[PlayTimes], width: usize, paint: Paint) -> Vec<String> {
    let mut plays: Vec<&PlayTimes> = plays.iter().collect();
    plays.sort_by_key(|play| (play.start, play.end));
    let start = plays.iter().map(|play| play.start).min().unwrap_or(SystemTime::UNIX_EPOCH);
    let end = plays.iter().map(|play| play.end).max().unwrap_or(start);
    let span = between(start, end).as_millis().max(1);

    let names = widest(plays.iter().map(|play| play.play.as_str()).chain(["play"]));
    let times: Vec<String> = plays.iter().map(|play| took(play.took())).collect();
    let time = widest(times.iter().map(String::as_str).chain(["took"]));
    let number: Vec<String> = plays.iter().map(|play| play.nodes.len().to_string()).collect();
    // Two blanks before each column, and one column free at the edge.
    let room = width.saturating_sub(names + "nodes".len() + time + 9).min(*BAR.end());
    // With one play there is nothing to compare.
    let bar = if room < *BAR.start() || plays.len() < 2 { 0 } else { room };

    let head = format!("  {}  nodes  {}", pad("play", names), pad_left("took", time));
    let mut lines = vec![paint.faint(&head)];
    for ((play, took), number) in plays.iter().zip(&times).zip(&number) {
        let name = pad(&play.play, names);
        let failed = !play.failed.is_empty();
        let name = if failed { paint.bad(&name) } else { name };
        let line = format!("  {name}  {}  {}", pad_left(number, 5), pad_left(took, time));
        let scaled = |moment: SystemTime| {
            usize::try_from(between(start, moment).as_millis() * bar as u128 / span)
                .unwrap_or(0)
                .min(bar)
        };
        let (from, to) = (scaled(play.start), scaled(play.end));
        // A very short play still gets a mark.
        let from = from.min(bar.saturating_sub(1));
        let drawn =
            if bar == 0 { String::new() } else { "━".repeat((to.saturating_sub(from)).max(1)) };
        let drawn = if failed { paint.bad(&drawn) } else { paint.active(&drawn) };
        lines.push(format!("{line}  {}{drawn}", " ".repeat(from)).trim_end().to_string());
    }
    lines
}

/// Returns the sentence with the outcome.
pub(super) fn verdict(report: &RunReport, paint: Paint) -> String {
    let Some(summary) = &report.summary else {
        return paint.bad(if report.verb.is_empty() {
            "Failed."
        } else {
            "Failed before the end."
        });
    };
    let time = took(summary.took);
    let checks = report.checks_passed + report.checks_failed;
    if report.cancelled() {
        let made = format!("{} made", count(report.changed(), "change"));
        return format!("{} after {time}: {made}{}.", paint.warn("Stopped"), not_done(report));
    }
    if report.checks_failed > 0 {
        let failed =
            paint.bad(&format!("{} of {} failed", report.checks_failed, count(checks, "check")));
        return format!("{failed} in {time}.");
    }
    if !report.ok() {
        let failed: Vec<&str> = summary
            .nodes
            .iter()
            .filter(|node| node.failed.is_some())
            .map(|node| node.node.as_str())
            .collect();
        let place = match failed.len() {
            0 => String::new(),
            number => format!(" on {number} of {}", count(summary.nodes.len(), "node")),
        };
        let made = format!("{} made", count(report.changed(), "change"));
        return format!("{}{place} after {time}: {made}{}.", paint.bad("Failed"), not_done(report));
    }
    if checks > 0 {
        return format!("{} in {time}.", paint.good(&format!("{} passed", count(checks, "check"))));
    }
    if report.changed() > 0 {
        let nodes = summary.nodes.iter().filter(|node| node.changed > 0).count();
        let changes = count(report.changed(), "change");
        return format!("{} in {time}: {changes} on {}.", paint.good("Done"), count(nodes, "node"));
    }
    if report.steps_changed > 0 || summary.nodes.is_empty() {
        return format!("{} in {time}.", paint.good("Done"));
    }
    let tasks: usize = summary.nodes.iter().map(|node| node.unchanged).sum();
    let (tasks, nodes) = (count(tasks, "task"), count(summary.nodes.len(), "node"));
    format!("{}: {tasks} on {nodes} unchanged, checked in {time}.", paint.good("No changes"))
}

fn not_done(report: &RunReport) -> String {
    let plays: std::collections::BTreeSet<&str> = report.skipped().map(|(play, _)| play).collect();
    if plays.is_empty() {
        String::new()
    } else {
        format!(", {} not done everywhere", count(plays.len(), "play"))
    }
}

/// Returns what to run next.
pub(super) fn next(hints: &[String], paint: Paint) -> Vec<String> {
    if hints.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), paint.faint("Next:")];
    lines.extend(hints.iter().map(|hint| format!("  {}", paint.active(hint))));
    lines
}
