//! The runbook as a shell script: run on the workstation, it does by hand what `labctl up` does.
//!
//! Plays follow one another, and the nodes of a play are worked on at the same time: the first
//! members of etcd start together or not at all. Nodes with the same commands share them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::hand::Hand;
use super::{DesiredNode, DesiredPlay};
use crate::module::quote;
use crate::playbook::one_line;

/// What the script's commands are made of.
const FUNCTIONS: &str = include_str!("by_hand.sh");
/// The end of a node's commands in the script.
const END: &str = "COMMANDS";
/// Why a node gets a file that no play puts there.
pub const WHOSE: &str =
    "Whose the nodes are. Without this, labctl takes them for a cluster of somebody else's.";
/// Width of a comment.
const WIDTH: usize = 98;

/// How a node is reached: the words of a command that runs its last word there.
#[derive(Debug, Clone)]
pub struct WayIn {
    /// The node's name.
    pub node: String,
    /// The words after `ssh`, up to the host.
    pub ssh: Vec<String>,
    /// What makes a command root's, for a login that is not.
    pub root: Option<&'static str>,
}

/// Returns the script for the plays that `wanted` selects, on the nodes of `ways`.
pub fn script(
    title: &str,
    plays: &[DesiredPlay],
    ways: &[WayIn],
    hand: &Hand<'_>,
    wanted: impl Fn(&DesiredPlay) -> bool,
) -> String {
    let mut text = format!("#!/bin/sh\n# {title}\n{}\n", head(ways));
    if let Some(whose) = hand.whose() {
        let names: Vec<&str> = ways.iter().map(|way| way.node.as_str()).collect();
        let names = names.join(" ");
        let _ =
            write!(text, "\n# {WHOSE}\non {} <<'{END}'\n{whose}{END}\ntogether\n", quote(&names));
    }
    let mut given = BTreeSet::new();
    for play in plays.iter().filter(|play| wanted(play)) {
        let on = |on: &&DesiredNode| ways.iter().any(|way| way.node == on.node);
        let nodes: Vec<&DesiredNode> = play.nodes.iter().filter(on).collect();
        if !nodes.is_empty() {
            text.push_str(&of_play(play, &nodes, hand, &mut given));
        }
    }
    text
}

/// The functions, and how the nodes are reached.
fn head(ways: &[WayIn]) -> String {
    let names: Vec<&str> = ways.iter().map(|way| way.node.as_str()).collect();
    let mut text = format!("{FUNCTIONS}\nall={}\n", quote(&names.join(" ")));
    text.push_str("# One connection to each node serves the whole script.\n");
    text.push_str("to() { # node, command, more options of ssh...\n  node=$1 command=$2\n");
    text.push_str("  shift 2\n  set -- -o ControlMaster=auto -o ControlPersist=60 \\\n");
    text.push_str("    -o \"ControlPath=$desk/%C\" \"$@\"\n  case $node in\n");
    for way in ways {
        let words: Vec<_> = way.ssh.iter().map(|word| quote(word)).collect();
        let command = match way.root {
            Some(root) => format!("\"{root} sh -c $(quoted \"$command\")\""),
            None => "\"$command\"".to_owned(),
        };
        let (node, words) = (quote(&way.node), words.join(" "));
        let _ = writeln!(text, "    {node}) ssh \"$@\" {words} {command} ;;");
    }
    text.push_str("  esac\n}\n");
    text
}

fn of_play(
    play: &DesiredPlay,
    nodes: &[&DesiredNode],
    hand: &Hand<'_>,
    given: &mut BTreeSet<(String, String)>,
) -> String {
    let mut text = format!("\n# ---- {} ----\n", play.name);
    text.push_str(&comment(&play.why));
    let _ = writeln!(text, "play {}", quote(&play.name));
    // Nodes by their commands and by what they lack for them, in the order of the first of each.
    let mut parts: Vec<(String, BTreeMap<String, String>, Vec<&str>)> = Vec::new();
    for on in nodes {
        let (commands, mut files) = of_node(on, hand);
        files.retain(|name, _| given.insert((on.node.clone(), name.clone())));
        match parts.iter_mut().find(|(it, lacks, _)| *it == commands && *lacks == files) {
            Some((_, _, all)) => all.push(&on.node),
            None => parts.push((commands, files, vec![&on.node])),
        }
    }
    for (commands, files, nodes) in parts {
        let nodes = nodes.join(" ");
        let nodes = quote(&nodes);
        if !files.is_empty() {
            let _ = write!(text, "give {nodes}");
            for (name, path) in files {
                let _ = write!(text, " \\\n  {}", quote(&format!("{name}={path}")));
            }
            text.push('\n');
        }
        let _ = writeln!(text, "on {nodes} <<'{END}'\n{commands}{END}");
    }
    text.push_str("together\n");
    text
}

/// The commands for one node, and the files beside them with their paths on the workstation.
fn of_node(on: &DesiredNode, hand: &Hand<'_>) -> (String, BTreeMap<String, String>) {
    let (mut text, mut files) = (String::new(), BTreeMap::new());
    for task in &on.tasks {
        let typed = hand.typed(task);
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}# {}", task.title);
        text.push_str(&comment(task.why.as_deref().unwrap_or_default()));
        text.push_str(&typed.commands);
        let path = |(name, path): (String, std::path::PathBuf)| (name, path.display().to_string());
        files.extend(typed.files.into_iter().map(path));
    }
    (text, files)
}

/// A text as lines of comment.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in one_line(text).split(' ').filter(|word| !word.is_empty()) {
        if line.len() + word.len() + 1 > WIDTH {
            let _ = writeln!(lines, "#{line}");
            line.clear();
        }
        let _ = write!(line, " {word}");
    }
    if !line.is_empty() {
        let _ = writeln!(lines, "#{line}");
    }
    lines
}
