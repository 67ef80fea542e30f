//! A run's timeline for a terminal: one row per step, node by node, drawn to scale.

use std::time::Duration;

use super::stream::Paint;
use super::text::{bytes, clean, count, fit, pad, pad_left, took, widest};
use crate::timeline::{Bar, Timeline, What};

/// The maximum width of the chart; the rows of a wider one are hard to follow.
const CHART: usize = 72;
/// The minimum width of a useful chart.
const NARROWEST: usize = 16;
/// Steps that take less than this fraction of the run are left out unless `verbose`.
const WORTH_A_ROW: u64 = 100;

/// Returns the chart with the critical path below it.
pub(super) fn chart(timeline: &Timeline, width: usize, verbose: bool, paint: Paint) -> Vec<String> {
    let shortest = if verbose { 0 } else { timeline.took / WORTH_A_ROW };
    let shown = |index: usize, bar: &Bar| {
        bar.took() >= shortest || bar.failed || timeline.is_critical(index)
    };
    let names = widest(timeline.bars.iter().map(|bar| bar.title())).min(28);
    let times = widest(
        timeline
            .bars
            .iter()
            .map(|bar| length(bar.took()))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str),
    );
    let room = width.saturating_sub(names + times + 8).clamp(NARROWEST, CHART);
    let scale = Scale { span: timeline.took.max(1), columns: room };

    let mut lines = vec![paint.strong(&head(timeline)), String::new()];
    lines.push(paint.faint(&format!("{}{}", " ".repeat(names + times + 6), scale.ruler())));
    let lanes = std::iter::once(None).chain(timeline.nodes.iter().map(|node| Some(node.as_str())));
    for lane in lanes {
        let mut bars: Vec<(usize, &Bar)> =
            timeline.lane(lane).filter(|(index, bar)| shown(*index, bar)).collect();
        bars.sort_by_key(|(index, bar)| (bar.start, bar.end, *index));
        if bars.is_empty() {
            continue;
        }
        lines.push(paint.strong(lane.unwrap_or("workstation")));
        for (index, bar) in bars {
            let critical = timeline.is_critical(index);
            let mark = if critical { paint.warn("▶") } else { " ".to_owned() };
            let title = pad(&fit(&clean(bar.title()), names), names);
            let drawn = scale.bar(bar);
            let (title, drawn) = match (bar.failed, critical) {
                (true, _) => (paint.bad(&title), paint.bad(&drawn)),
                (false, true) => (paint.warn(&title), paint.warn(&drawn)),
                (false, false) => (title, paint.active(&drawn)),
            };
            let time = paint.faint(&pad_left(&length(bar.took()), times));
            lines.push(format!(
                "{mark} {title}  {time}  {}{drawn}",
                " ".repeat(scale.column(bar.start))
            ));
        }
    }
    let hidden =
        timeline.bars.iter().enumerate().filter(|(index, bar)| !shown(*index, bar)).count();
    if hidden > 0 {
        let shorter = format!(
            "{} shorter than {} left out; -v shows all",
            count(hidden, "row"),
            length(shortest)
        );
        lines.push(paint.faint(&shorter));
    }
    lines.push(String::new());
    lines.extend(critical_path(timeline, paint));
    lines
}

/// Returns what the run waited for, first to last, each with its duration.
fn critical_path(timeline: &Timeline, paint: Paint) -> Vec<String> {
    let bars: Vec<&Bar> =
        timeline.critical.iter().filter_map(|index| timeline.bars.get(*index)).collect();
    let sum: u64 = bars.iter().map(|bar| bar.took()).sum();
    let all = length(timeline.took);
    let mut lines = vec![format!(
        "{} {} of {all}",
        paint.warn("▶ critical path:"),
        length(sum.min(timeline.took))
    )];
    for bar in bars {
        let place =
            bar.node.as_deref().map(|node| format!("  {}", paint.faint(node))).unwrap_or_default();
        let size = match bar.what {
            What::Push(size) if size > 0 => format!(" {}", bytes(size)),
            _ => String::new(),
        };
        lines.push(format!(
            "  {}  {}{size}{place}",
            pad_left(&length(bar.took()), 7),
            clean(bar.title())
        ));
        // Often one task takes nearly all of a play's time.
        let longest =
            bar.tasks.iter().max_by_key(|task| task.took).filter(|task| task.took * 2 > bar.took());
        if let Some(task) = longest.filter(|task| task.took >= 200) {
            lines.push(paint.faint(&format!(
                "           {} of it: {}",
                length(task.took),
                clean(&task.title)
            )));
        }
    }
    lines
}

/// Returns one row per run.
pub(super) fn list(runs: &[(String, Timeline)], paint: Paint) -> Vec<String> {
    let names = widest(runs.iter().map(|(name, _)| name.as_str()).chain(["run"]));
    let verbs = widest(runs.iter().map(|(_, run)| run.verb.as_str()).chain(["verb"]));
    let mut lines = vec![paint.faint(&format!(
        "{}  {}  {:>8}  outcome",
        pad("run", names),
        pad("verb", verbs),
        "took"
    ))];
    lines.extend(runs.iter().map(|(name, run)| {
        let end = match run.ok {
            Some(true) => paint.good("done"),
            Some(false) => paint.bad("not done"),
            None => paint.warn("interrupted"),
        };
        format!(
            "{}  {}  {}  {end}",
            pad(name, names),
            pad(&run.verb, verbs),
            pad_left(&length(run.took), 8)
        )
    }));
    lines
}

/// Returns a heading with verb, lab, start and outcome.
pub(super) fn head(timeline: &Timeline) -> String {
    let nodes = count(timeline.nodes.len(), "node");
    let end = match timeline.ok {
        Some(true) => String::new(),
        Some(false) => ", not done".to_owned(),
        None => ", interrupted".to_owned(),
    };
    format!(
        "{} of {}, {}: {} on {nodes}{end}",
        timeline.verb,
        timeline.lab,
        moment(timeline.began_ms),
        length(timeline.took)
    )
}

/// Formats a time as `2026-11-21 10:12:03 UTC`.
fn moment(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1000).unwrap_or_default();
    let format =
        time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    moment.format(format).unwrap_or_default()
}

/// Formats milliseconds as a readable duration.
pub(super) fn length(millis: u64) -> String {
    took(Duration::from_millis(millis))
}

/// Formats a round time for a ruler: `0`, `50ms`, `2s`.
pub(super) fn mark_label(millis: u64) -> String {
    if millis == 0 { "0".to_owned() } else { length(millis).replace(".0s", "s") }
}

/// Converts times to columns.
struct Scale {
    span: u64,
    columns: usize,
}

impl Scale {
    fn column(&self, moment: u64) -> usize {
        let column = u128::from(moment) * self.columns as u128 / u128::from(self.span);
        usize::try_from(column).unwrap_or(0).min(self.columns.saturating_sub(1))
    }

    /// Draws at least one mark, so that very short steps are visible too.
    fn bar(&self, bar: &Bar) -> String {
        let (from, to) = (self.column(bar.start), self.column(bar.end));
        "━".repeat((to - from.min(to)).max(1))
    }

    /// Writes round times above their columns.
    fn ruler(&self) -> String {
        let mut line = String::new();
        let step = step(self.span, self.columns / 10);
        for mark in (0..).map(|n| n * step).take_while(|mark| *mark < self.span) {
            let column = self.column(mark);
            if column >= line.chars().count() {
                line = pad(&line, column);
                line.push_str(&mark_label(mark));
                line.push(' ');
            }
        }
        line.trim_end().to_owned()
    }
}

/// Returns the smallest round number of milliseconds that divides `span` into at most `parts`
/// parts.
pub(super) fn step(span: u64, parts: usize) -> u64 {
    let parts = u64::try_from(parts.max(1)).unwrap_or(1);
    let round = [1, 2, 5].iter().flat_map(|lead| (0..9).map(move |zeros| lead * 10_u64.pow(zeros)));
    let mut steps: Vec<u64> = round.collect();
    steps.sort_unstable();
    steps.into_iter().find(|step| span / step <= parts).unwrap_or(span.max(1))
}
