//! Draws the plays of a playbook as a graph, in Mermaid or Graphviz syntax.

use std::fmt::Write as _;

use super::{Play, Playbook};

/// Returns the graph in Mermaid syntax, which code hosts render in Markdown.
pub fn mermaid(playbook: &Playbook) -> String {
    let mut text = String::from("graph LR\n");
    for (index, play) in playbook.plays.iter().enumerate() {
        // Play names are up to the user: a quoted label may be anything, but an id may not be
        // `end`, for example.
        let _ = writeln!(text, "  p{index}[\"{}<br/>{}\"]", quoted(&play.name, "#quot;"), play.on);
    }
    for (index, play) in playbook.plays.iter().enumerate() {
        for earlier in earlier(playbook, play) {
            let _ = writeln!(text, "  p{earlier} --> p{index}");
        }
    }
    text
}

/// Returns the graph in Graphviz syntax.
pub fn dot(playbook: &Playbook) -> String {
    let mut text = String::from("digraph plays {\n  rankdir=LR\n  node [shape=box]\n");
    for play in &playbook.plays {
        let name = quoted(&play.name, "\\\"");
        let _ = writeln!(text, "  \"{name}\" [label=\"{name}\\n{}\"]", play.on);
    }
    for play in &playbook.plays {
        for earlier in earlier(playbook, play) {
            let earlier = quoted(&playbook.plays[earlier].name, "\\\"");
            let _ = writeln!(text, "  \"{earlier}\" -> \"{}\"", quoted(&play.name, "\\\""));
        }
    }
    text.push_str("}\n");
    text
}

/// Returns the indices of the plays that `play` comes after.
fn earlier<'a>(playbook: &'a Playbook, play: &'a Play) -> impl Iterator<Item = usize> + 'a {
    let index = |name: &String| playbook.plays.iter().position(|other| other.name == *name);
    play.after.iter().filter_map(index)
}

fn quoted(name: &str, quote: &str) -> String {
    name.replace('\\', "/").replace('"', quote).replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load::parse;

    #[test]
    fn names_of_plays_cannot_break_the_drawing() {
        let text = "name: x\nplays:\n- { name: 'end', hosts: all, tasks: [] }\n\
                    - { name: 'a \"b\"', hosts: worker, after: [end], tasks: [] }\n";
        let playbook = parse("x.yaml", text).expect("a playbook");
        let expected =
            "graph LR\n  p0[\"end<br/>all\"]\n  p1[\"a #quot;b#quot;<br/>worker\"]\n  p0 --> p1\n";
        assert_eq!(mermaid(&playbook), expected);
        assert!(dot(&playbook).contains(r#"  "end" -> "a \"b\"""#), "{}", dot(&playbook));
    }
}
