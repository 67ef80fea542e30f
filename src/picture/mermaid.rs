//! A lab in Mermaid syntax, which code hosts render in Markdown.

use std::fmt::Write as _;

use super::{Health, NodeBox, Picture};

/// Returns the drawing.
pub fn draw(picture: &Picture) -> String {
    let mut text = format!("---\ntitle: {}\n---\ngraph LR\n", quoted(&picture.title));
    for (index, group) in picture.groups.iter().enumerate() {
        let title = format!("{}<br/>{}", group.title, group.ports);
        let _ = writeln!(text, "  subgraph g{index}[\"{title}\"]");
        for one in &group.boxes {
            let lines = std::iter::once(&one.name).chain(&one.lines).map(|line| quoted(line));
            let label = lines.collect::<Vec<_>>().join("<br/>");
            let _ = writeln!(text, "    n{}[\"{label}\"]{}", one.id, class(one));
        }
        text.push_str("  end\n");
    }
    for wire in &picture.wires {
        let _ = writeln!(text, "  n{} -->|\"{}\"| n{}", wire.from, wire.label, wire.to);
    }
    let _ = writeln!(text, "  notes[\"{}\"]", picture.notes.join("<br/>"));
    text.push_str("  style notes fill:none,stroke:none\n");
    if picture.groups.iter().flat_map(|group| &group.boxes).any(|one| one.health.is_some()) {
        text.push_str("  classDef well stroke:#2da44e,stroke-width:2px\n");
        text.push_str("  classDef ill stroke:#cf222e,stroke-width:3px\n");
        text.push_str("  classDef silent stroke:#8c959f,stroke-dasharray:4\n");
    }
    text
}

fn class(one: &NodeBox) -> &'static str {
    match one.health {
        None => "",
        Some(Health::Well) => ":::well",
        Some(Health::Ill) => ":::ill",
        Some(Health::Silent) => ":::silent",
    }
}

fn quoted(text: &str) -> String {
    text.replace('"', "#quot;")
}
