//! The runbook as Markdown: what is done, why, and the commands to do it by hand.
//!
//! Nodes of one role get almost the same tasks. A task that is identical on several nodes is
//! printed once, with the names of the nodes unless these are all of the play's.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use super::hand::{ByHand, Hand};
use super::openssl::MadeByHand;
use super::script::WHOSE;
use super::{DesiredPlay, DesiredTask};
use crate::playbook::{Strategy, one_line};

/// Plays explained.
#[derive(Debug, Default)]
pub struct Explained {
    /// The text.
    pub text: String,
    /// The files of the lab's `pki` that the commands read.
    pub pki: BTreeSet<String>,
}

/// Explains the plays that `wanted` selects, for `nodes`. Plays that are only for other nodes are
/// left out.
pub fn explain(
    plays: &[DesiredPlay],
    nodes: &[&str],
    hand: &Hand<'_>,
    wanted: impl Fn(&DesiredPlay) -> bool,
) -> Explained {
    let mut all = Explained::default();
    for play in plays.iter().filter(|play| wanted(play)) {
        let text = explain_play(play, plays, nodes, hand, &mut all.pki);
        if !all.text.is_empty() && !text.is_empty() {
            all.text.push('\n');
        }
        all.text.push_str(&text);
    }
    all
}

/// What a reader has to know before the first play.
pub fn preface(lab: &str, bundle: &str, pki: &str, hand: &Hand<'_>) -> String {
    let whose = hand.whose().map(|whose| format!("{WHOSE}\n\n{}\n", indented(&whose)));
    let whose = whose.unwrap_or_default();
    format!(
        "\
# The lab {lab} by hand

What `labctl up` does, play by play, as commands to type as root on each node: `labctl ssh` opens \
a shell there. The plays are in an order in which they can be done one after the other. The nodes \
of a play are worked on at the same time: the members of etcd wait for each other. `labctl explain \
--format shell` prints all of it as a script.

The commands are typed in a directory on the node that has the files that they name:

- `bundle/NAME`: the file of that name in the bundle {bundle}, as `labctl bundle list` has it
- `pki/NAME`: the file of that name in {pki}; only what the commands name, because a worker has no \
business with a CA's key

{whose}"
    )
}

/// The chapter on certificates: how those in `root`'s `pki` are made by hand; `are_there` when they
/// have been made.
pub fn certificates(root: &str, are_there: bool, made: &[MadeByHand]) -> String {
    let place = if are_there {
        format!(
            "The lab has its own in {root}/pki, which the commands would replace: try them in \
            another directory."
        )
    } else {
        format!(
            "Typed in {root}, they make the lab's; the plays below have what is there when \
            `labctl explain` runs, so run it again then."
        )
    };
    let mut text = format!(
        "\
# Keys and certificates

What labctl issues on the workstation before the first play, by hand with OpenSSL 3. {place}
"
    );
    for MadeByHand { name, what, commands } in made {
        let _ = write!(text, "\n## {name}\n\n{what}\n\n{}", indented(commands));
    }
    text.push('\n');
    text
}

/// Commands as Markdown has them.
fn indented(commands: &str) -> String {
    let line = |line: &str| format!("    {line}").trim_end().to_owned() + "\n";
    commands.lines().map(line).collect()
}

fn explain_play(
    play: &DesiredPlay,
    plays: &[DesiredPlay],
    nodes: &[&str],
    hand: &Hand<'_>,
    pki: &mut BTreeSet<String>,
) -> String {
    let nodes: HashSet<&str> = nodes.iter().copied().collect();
    let hosts: Vec<&str> =
        play.nodes.iter().map(|on| on.node.as_str()).filter(|host| nodes.contains(host)).collect();
    if hosts.is_empty() && !play.nodes.is_empty() {
        return String::new();
    }
    let mut text = format!("# {}\n\n", play.name);
    if !play.why.is_empty() {
        let _ = writeln!(text, "{}\n", one_line(&play.why));
    }
    let after: Vec<&str> = play.after.iter().map(|&earlier| plays[earlier].name.as_str()).collect();
    let after =
        if after.is_empty() { "nothing: it starts at once".to_owned() } else { after.join(", ") };
    let _ = writeln!(text, "- after: {after}");
    let on = if hosts.is_empty() { "no node of this lab".to_owned() } else { hosts.join(", ") };
    let rolling = if play.strategy == Strategy::Rolling && hosts.len() > 1 {
        ", one after the other"
    } else {
        ""
    };
    let _ = writeln!(text, "- on: {on}{rolling}");
    for told in merged(play, &nodes, hand, pki) {
        let place = if told.nodes == hosts {
            String::new()
        } else {
            format!(" (on {})", told.nodes.join(", "))
        };
        let _ = writeln!(text, "\n## {}{place}\n", told.task.title);
        if let Some(why) = &told.task.why {
            let _ = writeln!(text, "{}\n", one_line(why));
        }
        text.push_str(&indented(&told.commands));
    }
    text
}

/// A task with the nodes on which it is identical.
struct SharedTask<'a> {
    task: &'a DesiredTask,
    commands: String,
    nodes: Vec<&'a str>,
}

/// Tasks with the same title but different content, in the order in which they were found.
struct Alike<'a> {
    title: &'a str,
    told: Vec<SharedTask<'a>>,
    places: HashMap<(Option<&'a str>, String), usize>,
}

impl<'a> Alike<'a> {
    fn add(&mut self, node: &'a str, task: &'a DesiredTask, commands: String) {
        let key = (task.why.as_deref(), commands.clone());
        let place = *self.places.entry(key).or_insert(self.told.len());
        match self.told.get_mut(place) {
            Some(told) => told.nodes.push(node),
            None => self.told.push(SharedTask { task, commands, nodes: vec![node] }),
        }
    }
}

/// Merges the tasks of all nodes into one list that preserves the order on each node, and notes the
/// files of the lab's `pki` that they read.
fn merged<'a>(
    play: &'a DesiredPlay,
    hosts: &HashSet<&str>,
    hand: &Hand<'_>,
    pki: &mut BTreeSet<String>,
) -> Vec<SharedTask<'a>> {
    let mut all: Vec<Alike<'a>> = Vec::new();
    for on in play.nodes.iter().filter(|on| hosts.contains(on.node.as_str())) {
        let mut place = 0;
        for task in &on.tasks {
            match all[place..].iter().position(|alike| alike.title == task.title) {
                Some(index) => place += index,
                None => {
                    all.insert(
                        place,
                        Alike { title: &task.title, told: Vec::new(), places: HashMap::new() },
                    );
                }
            }
            let ByHand { commands, files } = hand.typed(task);
            pki.extend(files.keys().filter_map(|it| it.strip_prefix("pki/")).map(str::to_owned));
            all[place].add(&on.node, task, commands);
            place += 1;
        }
    }
    all.into_iter().flat_map(|alike| alike.told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{Desired, sysctl::Sysctl};
    use crate::pki::Pki;
    use crate::plan::DesiredNode;

    fn task(key: &str, value: &str) -> DesiredTask {
        let desired = Desired::Sysctl(Sysctl { key: key.to_owned(), value: value.to_owned() });
        DesiredTask { title: key.to_owned(), why: None, desired: desired.into() }
    }

    fn play(nodes: &[(&str, &[(&str, &str)])]) -> DesiredPlay {
        let nodes = nodes.iter().map(|(node, tasks)| DesiredNode {
            node: (*node).to_owned(),
            tasks: tasks.iter().map(|(key, value)| task(key, value)).collect(),
        });
        let (name, why) = ("settings".to_owned(), "So that it\n  works.".to_owned());
        DesiredPlay {
            name,
            why,
            after: Vec::new(),
            strategy: Strategy::Rolling,
            nodes: nodes.collect(),
        }
    }

    fn headings(text: &str) -> Vec<&str> {
        text.lines().filter(|line| line.starts_with("## ")).collect()
    }

    #[test]
    fn a_task_of_several_nodes_is_printed_once_in_every_nodes_order() {
        let play = play(&[
            ("a", &[("x", "1"), ("y", "1"), ("z", "1")]),
            ("b", &[("x", "1"), ("y", "2"), ("z", "1")]),
            ("c", &[("w", "1"), ("z", "1")]),
        ]);
        let pki = Pki::default();
        let hand = Hand::new("pki".into(), &pki, Vec::new(), BTreeSet::new());
        let text = explain(std::slice::from_ref(&play), &["a", "b", "c"], &hand, |_| true).text;
        assert!(text.starts_with("# settings\n\nSo that it works.\n\n- after: nothing"), "{text}");
        assert!(text.contains("- on: a, b, c, one after the other\n"), "{text}");
        assert_eq!(
            headings(&text),
            ["## w (on c)", "## x (on a, b)", "## y (on a)", "## y (on b)", "## z"]
        );
        let one = explain(&[play], &["b"], &hand, |_| true).text;
        assert_eq!(headings(&one), ["## x", "## y", "## z"]);
        assert!(one.contains("- on: b\n"), "{one}");
    }
}
