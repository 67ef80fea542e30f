//! A lab as an SVG that needs nothing else: text in the reader's own fonts, and colours that are
//! light or dark as the reader's page is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Health, NodeBox, Picture};

/// Lengths in pixels.
const MARGIN: usize = 24;
const BOX_WIDTH: usize = 196;
const LINE: usize = 17;
const PADDING: usize = 10;
const BETWEEN_BOXES: usize = 16;
const BETWEEN_GROUPS: usize = 104;
/// Above the boxes of a group: its title and ports.
const HEAD: usize = 46;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.group { font-weight: 600 }
.faint { fill: #59636e; font-size: 12px }
rect { fill: #f6f8fa; stroke: #818b98 }
.name { font-weight: 600 }
.well { stroke: #1a7f37; stroke-width: 2 }
.ill { stroke: #cf222e; stroke-width: 3 }
.silent { stroke-dasharray: 4 }
.wire { fill: none; stroke: #818b98 }
marker path { fill: #818b98 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .faint { fill: #9198a1 } rect { fill: #151b23; stroke: #656c76 }
}
";

/// Where a box is drawn.
#[derive(Clone, Copy)]
struct Spot {
    x: usize,
    y: usize,
    height: usize,
    column: usize,
}

/// Returns the drawing.
pub fn draw(picture: &Picture) -> String {
    let top = MARGIN + 22 + picture.notes.len() * LINE + 16;
    let mut spots: BTreeMap<usize, Spot> = BTreeMap::new();
    let (mut boxes, mut bottom) = (String::new(), top);
    let mut free: BTreeMap<usize, usize> = BTreeMap::new();
    for group in &picture.groups {
        let column = group.column;
        let x = MARGIN + column * (BOX_WIDTH + BETWEEN_GROUPS);
        let begin = free.get(&column).copied().unwrap_or(top);
        text(&mut boxes, "group", x, begin + 14, group.title);
        text(&mut boxes, "faint", x, begin + 30, group.ports);
        let mut y = begin + HEAD;
        for one in &group.boxes {
            let height = 2 * PADDING + (1 + one.lines.len()) * LINE - 4;
            node(&mut boxes, one, x, y, height);
            spots.insert(one.id, Spot { x, y, height, column });
            y += height + BETWEEN_BOXES;
        }
        free.insert(column, y + BETWEEN_BOXES);
        bottom = bottom.max(y);
    }
    let columns = picture.groups.iter().map(|group| group.column + 1).max().unwrap_or(1);
    let width = 2 * MARGIN + columns * (BOX_WIDTH + BETWEEN_GROUPS) - BETWEEN_GROUPS + 60;
    let height = bottom + MARGIN - BETWEEN_BOXES;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n<style>\n{STYLE}\
         </style>\n<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
         markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\"/></marker>\
         </defs>\n",
        escaped(&picture.title)
    );
    text(&mut svg, "title", MARGIN, MARGIN + 14, &picture.title);
    for (index, note) in picture.notes.iter().enumerate() {
        text(&mut svg, "faint", MARGIN, MARGIN + 36 + index * LINE, note);
    }
    let mut labelled: Vec<(usize, usize, &str)> = Vec::new();
    for wire in &picture.wires {
        let (Some(&from), Some(&to)) = (spots.get(&wire.from), spots.get(&wire.to)) else {
            continue;
        };
        // Many wires of one kind need one label.
        let kind = (from.column, wire.to, wire.label.as_str());
        let label = (!labelled.contains(&kind)).then_some(wire.label.as_str());
        labelled.push(kind);
        connect(&mut svg, from, to, label);
    }
    svg + &boxes + "</svg>\n"
}

fn node(svg: &mut String, one: &NodeBox, x: usize, y: usize, height: usize) {
    let class = match one.health {
        None => "",
        Some(Health::Well) => " class=\"well\"",
        Some(Health::Ill) => " class=\"ill\"",
        Some(Health::Silent) => " class=\"silent\"",
    };
    let _ = writeln!(
        svg,
        "<rect{class} x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{height}\" rx=\"6\"/>"
    );
    text(svg, "name", x + PADDING, y + PADDING + 12, &one.name);
    for (index, line) in one.lines.iter().enumerate() {
        text(svg, "faint", x + PADDING, y + PADDING + 12 + (index + 1) * LINE, line);
    }
}

/// Draws a wire from the side of a box to the near side of another.
fn connect(svg: &mut String, from: Spot, to: Spot, label: Option<&str>) {
    let (start, end) = (from.x + BOX_WIDTH, to.x);
    let (first, last) = (from.y + from.height / 2, to.y + to.height / 2);
    let middle = usize::midpoint(start, end);
    let _ = writeln!(
        svg,
        "<path class=\"wire\" marker-end=\"url(#head)\" d=\"M{start} {first} C{middle} {first} \
         {middle} {last} {end} {last}\"/>"
    );
    if let Some(label) = label {
        text(svg, "faint", end - 52, last.saturating_sub(6), label);
    }
}

fn text(svg: &mut String, class: &str, x: usize, y: usize, what: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(what));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
