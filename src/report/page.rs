//! A run's timeline as one self-contained HTML file: an SVG chart with the details as tooltips.

use super::gantt::{head, length, mark_label, step};
use super::text::{bytes, clean, count};
use crate::timeline::{Bar, Timeline, What};

/// Width of the column for names, in pixels.
const NAMES: u64 = 190;
/// Width of the chart, in pixels.
const CHART: u64 = 900;
/// Height of a row, in pixels.
const ROW: u64 = 18;

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2330; --paper: #fff; --faint: #8a93a3; --line: \
    #e4e7ec; --bar: #5b8def; \
--critical: #e0861a; --bad: #d6455d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --paper: #14181f; --faint: #8a93a3; \
    --line: #2a313c; } }
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: \
    2rem; }
h1 { font-size: 1.1rem; font-weight: 600; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .faint { fill: var(--faint); } svg .lane { font-weight: 600; } svg line { stroke: var(--line); }
.bar { fill: var(--bar); } .critical { fill: var(--critical); } .bad { fill: var(--bad); }
.bar:hover { opacity: .7; }
li span { color: var(--faint); } b { color: var(--critical); }";

/// The whole page.
pub(super) fn page(timeline: &Timeline) -> String {
    let title = escape(&head(timeline));
    let (chart, height) = rows(timeline);
    let width = NAMES + CHART + 80;
    let path: String =
        timeline.critical.iter().filter_map(|index| timeline.bars.get(*index)).map(item).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta \
        charset=\"utf-8\">\n<title>{title}</title>\n<style>\n{STYLE}\n</style>\n\
         <h1>{title}</h1>\n<svg width=\"{width}\" height=\"{height}\" \
        role=\"img\">\n{}{chart}</svg>\n\
         <h1><b>Critical path</b></h1>\n<p>The run had to wait for each of these, one after the \
         other; making anything else faster does not make the run \
        shorter.</p>\n<ol>\n{path}</ol>\n</html>\n",
        ruler(timeline, height)
    )
}

/// Draws every lane with its bars; returns them with the chart's height.
fn rows(timeline: &Timeline) -> (String, u64) {
    let mut text = String::new();
    let mut y = ROW * 2;
    for lane in std::iter::once(None).chain(timeline.nodes.iter().map(|node| Some(node.as_str()))) {
        let mut bars: Vec<(usize, &Bar)> = timeline.lane(lane).collect();
        if bars.is_empty() {
            continue;
        }
        bars.sort_by_key(|(index, bar)| (bar.start, bar.end, *index));
        text.push_str(&format!(
            "<text class=\"lane\" x=\"0\" y=\"{y}\">{}</text>\n",
            escape(lane.unwrap_or("workstation"))
        ));
        for (index, bar) in bars {
            y += ROW;
            text.push_str(&row(timeline, index, bar, y));
        }
        y += ROW * 3 / 2;
    }
    (text, y)
}

fn row(timeline: &Timeline, index: usize, bar: &Bar, y: u64) -> String {
    let class = match (bar.failed, timeline.is_critical(index)) {
        (true, _) => "bar bad",
        (false, true) => "bar critical",
        (false, false) => "bar",
    };
    let (x, width) =
        (at(timeline, bar.start), (at(timeline, bar.end) - at(timeline, bar.start)).max(1));
    let (top, height, after) = (y - ROW + 7, ROW - 6, x + width + 6);
    format!(
        "<text class=\"faint\" x=\"12\" y=\"{y}\">{}</text>\n<rect class=\"{class}\" x=\"{x}\" \
        y=\"{top}\" width=\"{width}\" \
         height=\"{height}\" rx=\"2\"><title>{}</title></rect>\n<text class=\"faint\" \
        x=\"{after}\" y=\"{y}\">{}</text>\n",
        escape(&clean(bar.title())),
        escape(&details(bar)),
        length(bar.took()),
    )
}

/// Returns the tooltip of a bar.
fn details(bar: &Bar) -> String {
    let place = bar.node.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
    let mut lines = vec![format!(
        "{}{place}: {}, from {} to {}",
        bar.title(),
        length(bar.took()),
        length(bar.start),
        length(bar.end)
    )];
    if let What::Push(size) = bar.what {
        lines.push(bytes(size));
    }
    if !bar.tasks.is_empty() {
        lines.push(count(bar.tasks.len(), "task"));
        lines.extend(bar.tasks.iter().map(|task| {
            let mark = if task.changed { "" } else { " (unchanged)" };
            format!("{}  {}{mark}", length(task.took), clean(&task.title))
        }));
    }
    lines.join("\n")
}

fn item(bar: &Bar) -> String {
    let place = bar.node.as_deref().unwrap_or("workstation");
    format!(
        "<li>{} {} <span>{}</span></li>\n",
        length(bar.took()),
        escape(&clean(bar.title())),
        escape(place)
    )
}

/// Draws round times, each with a line down the whole chart.
fn ruler(timeline: &Timeline, height: u64) -> String {
    let step = step(timeline.took.max(1), 10);
    let marks = (0..).map(|n| n * step).take_while(|mark| *mark <= timeline.took);
    marks
        .map(|mark| {
            let x = at(timeline, mark);
            let label = mark_label(mark);
            format!(
                "<line x1=\"{x}\" x2=\"{x}\" y1=\"{ROW}\" y2=\"{height}\"/><text \
                class=\"faint\" x=\"{x}\" y=\"12\">{label}</text>\n"
            )
        })
        .collect()
}

fn at(timeline: &Timeline, moment: u64) -> u64 {
    NAMES + moment.min(timeline.took) * CHART / timeline.took.max(1)
}

/// Escapes text for HTML, because names come from inventories and playbooks and may contain
/// anything.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
