//! A lab in Graphviz syntax.

use std::fmt::Write as _;

use super::{Health, NodeBox, Picture};

/// Returns the drawing.
pub fn draw(picture: &Picture) -> String {
    let mut text = String::from("digraph lab {\n  rankdir=LR\n  node [shape=box, style=rounded]\n");
    let label: Vec<&str> =
        std::iter::once(&picture.title).chain(&picture.notes).map(String::as_str).collect();
    let _ = writeln!(text, "  labelloc=t\n  label={}", quoted(&label.join("\n")));
    for (index, group) in picture.groups.iter().enumerate() {
        let title = quoted(&format!("{}\n{}", group.title, group.ports));
        let _ = writeln!(text, "  subgraph cluster_{index} {{\n    label={title}");
        for one in &group.boxes {
            let lines = std::iter::once(&one.name).chain(&one.lines);
            let lines: Vec<&str> = lines.map(String::as_str).collect();
            let label = quoted(&lines.join("\n"));
            let _ = writeln!(text, "    n{} [label={label}{}]", one.id, style(one));
        }
        text.push_str("  }\n");
    }
    for wire in &picture.wires {
        let _ = writeln!(text, "  n{} -> n{} [label={}]", wire.from, wire.to, quoted(&wire.label));
    }
    text.push_str("}\n");
    text
}

fn style(one: &NodeBox) -> &'static str {
    match one.health {
        None => "",
        Some(Health::Well) => ", color=forestgreen",
        Some(Health::Ill) => ", color=crimson, penwidth=2",
        Some(Health::Silent) => ", color=gray, style=\"rounded,dashed\"",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
