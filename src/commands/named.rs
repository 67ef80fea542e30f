//! Nodes and other things that a command line names: those that are meant, or what there is
//! instead.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cluster::{Cluster, Node};
use crate::commands::exit::{Exit, Stop};
use crate::inventory::did_you_mean;
use crate::module::quote;

/// How many names a message lists: as many as a playbook has plays, and not a thousand nodes.
const MOST: usize = 30;

/// Returns the nodes that `--limit` selects, in inventory order; all of them without one.
pub fn limited<'a>(cluster: &'a Cluster, limit: &[String]) -> Result<Vec<&'a Node>, Stop> {
    if limit.is_empty() {
        return Ok(cluster.nodes.iter().collect());
    }
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    for word in limit {
        let nodes = cluster.selected(word).or_else(|missing| Ok(vec![node(cluster, &missing)?]));
        meant.extend(nodes?.iter().map(|node| node.name.as_str()));
    }
    Ok(cluster.nodes.iter().filter(|node| meant.contains(node.name.as_str())).collect())
}

/// Returns the nodes that a command line names, and of these only what `--limit` leaves; all of the
/// lab without either.
pub fn named_within<'a>(
    cluster: &'a Cluster,
    named: &[String],
    limit: &[String],
) -> Result<Vec<&'a Node>, Stop> {
    let (mut nodes, within) = (limited(cluster, named)?, limited(cluster, limit)?);
    let within: BTreeSet<&str> = within.iter().map(|node| node.name.as_str()).collect();
    nodes.retain(|node| within.contains(node.name.as_str()));
    if nodes.is_empty() {
        return Err(Stop::bad(format!(
            "--limit {} leaves out {}",
            limit.join(","),
            named.join(", ")
        ))
        .help("name nodes that it has, or leave it out; LABCTL_LIMIT sets it, too"));
    }
    Ok(nodes)
}

/// Returns the names of the nodes that words mean, in inventory order; none without any.
pub fn names(cluster: &Cluster, words: &[String]) -> Result<Vec<String>, Stop> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    Ok(limited(cluster, words)?.iter().map(|node| node.name.clone()).collect())
}

/// Returns the node called `name`.
pub fn node<'a>(cluster: &'a Cluster, name: &str) -> Result<&'a Node, Stop> {
    known(name, "node", "in this lab", cluster.nodes.iter().map(|node| node.name.as_str()))?;
    cluster.node(name).ok_or_else(|| Stop::silent(Exit::Bad))
}

/// Returns the one node that a word means.
pub fn one<'a>(cluster: &'a Cluster, word: &str) -> Result<&'a Node, Stop> {
    let nodes = limited(cluster, &[word.to_owned()])?;
    let [node] = nodes[..] else {
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let what = format!("`{word}` means several nodes: {}", listed(&names));
        return Err(Stop::bad(what)
            .help("name one of them; `labctl exec` runs a command on several at once"));
    };
    Ok(node)
}

/// Refuses a name that is none of `all`; `what` is what has such names, and `place` where: "in this
/// lab".
pub fn known<'a>(
    name: &str,
    what: &str,
    place: &str,
    all: impl Iterator<Item = &'a str>,
) -> Result<(), Stop> {
    let all: Vec<&str> = all.collect();
    if all.contains(&name) {
        return Ok(());
    }
    let meant = did_you_mean(name, all.iter().copied())
        .map(|meant| format!("did you mean {meant}? "))
        .unwrap_or_default();
    let help = format!("{meant}the {what}s are {}", listed(&all));
    Err(Stop::bad(format!("there is no {what} `{name}` {place}")).help(help))
}

/// The error of a line that names an inventory, and not what `verb` needs: `what`, as its usage
/// says.
pub fn missing(verb: &str, inventory: &Path, what: &str) -> Stop {
    let inventory = quote(&inventory.display().to_string()).into_owned();
    Stop::bad(format!("no {} is named", what.to_lowercase()))
        .help(format!("it comes after the inventory: `labctl {verb} {inventory} {what}`"))
}

/// Names in a sentence: not more than a person would read.
fn listed(all: &[&str]) -> String {
    if all.len() <= MOST + 1 {
        return all.join(", ");
    }
    format!("{} and {} more", all[..MOST].join(", "), all.len() - MOST)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;
    use crate::cluster;

    /// A lab of three nodes.
    pub fn cluster() -> Cluster {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("inventory.yaml");
        let node = |name: &str, last: u8, role: &str| {
            format!("  - {{ name: {name}, address: 192.0.2.{last}, roles: [{role}] }}\n")
        };
        let nodes = [
            node("worker-1", 3, "worker"),
            node("controller-0", 1, "controller"),
            node("worker-0", 2, "worker"),
        ];
        fs::write(&path, format!("name: t\nkubernetes: \"1.34.4\"\nnodes:\n{}", nodes.concat()))
            .expect("a file");
        cluster::open(&path).expect("an inventory without mistakes").0
    }

    fn limit(cluster: &Cluster, names: &[&str]) -> Result<Vec<String>, Stop> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        limited(cluster, &names).map(|nodes| nodes.iter().map(|node| node.name.clone()).collect())
    }

    #[test]
    fn a_limit_keeps_the_inventorys_order() {
        let cluster = cluster();
        assert_eq!(limit(&cluster, &[]).expect("all"), ["worker-1", "controller-0", "worker-0"]);
        assert_eq!(
            limit(&cluster, &["worker-0", "worker-1", "worker-0"]).expect("two"),
            ["worker-1", "worker-0"]
        );
    }

    #[test]
    fn a_limit_to_an_unknown_node_is_refused_with_a_suggestion() {
        let cluster = cluster();
        let stop =
            limit(&cluster, &["worker-0", "controler-0"]).expect_err("there is no such node");
        assert_eq!(stop.exit, Exit::Bad);
        assert_eq!(
            stop.error.expect("an error").to_string(),
            "there is no node `controler-0` in this lab"
        );
        let help = "did you mean controller-0? the nodes are worker-1, controller-0, worker-0";
        assert_eq!(stop.help.as_deref(), Some(help));
        // `--limit ""` and a superfluous comma do not mean "all".
        assert!(limit(&cluster, &[""]).is_err());
    }

    #[test]
    fn a_limit_may_be_a_role_or_a_pattern() {
        let cluster = cluster();
        for words in [&["workers"][..], &["worker-*"], &["worker-[0-1]"], &["worker-1", "worker"]] {
            assert_eq!(limit(&cluster, words).expect("two"), ["worker-1", "worker-0"], "{words:?}");
        }
        let stop = limit(&cluster, &["worker-[0-2]"]).expect_err("there is no worker-2");
        assert_eq!(stop.text(), "there is no node `worker-2` in this lab");
    }

    #[test]
    fn of_nodes_that_are_named_a_limit_leaves_some() {
        let cluster = cluster();
        let within = |named: &[&str], limit: &[&str]| {
            let words =
                |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
            let nodes = named_within(&cluster, &words(named), &words(limit));
            nodes.map(|nodes| nodes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" "))
        };
        for (named, limit, right) in [
            (&[][..], &[][..], "worker-1 controller-0 worker-0"),
            (&["workers"], &[], "worker-1 worker-0"),
            (&[], &["workers"], "worker-1 worker-0"),
            (&["all"], &["worker-0"], "worker-0"),
            (&["workers"], &["worker-0", "controller-0"], "worker-0"),
        ] {
            assert_eq!(within(named, limit).expect("nodes"), right, "{named:?} {limit:?}");
        }
        let none = within(&["worker-1"], &["worker-0"]).expect_err("none is left");
        assert_eq!(none.text(), "--limit worker-0 leaves out worker-1");
        assert_eq!(none.exit, Exit::Bad);
    }

    #[test]
    fn one_node_may_be_named_by_a_word_that_means_no_other() {
        let cluster = cluster();
        assert_eq!(one(&cluster, "controllers").expect("one").name, "controller-0");
        let several = one(&cluster, "worker-*").expect_err("two");
        assert_eq!(several.text(), "`worker-*` means several nodes: worker-1, worker-0");
    }

    #[test]
    fn a_message_lists_some_of_many_names() {
        let many: Vec<String> = (0..33).map(|n| format!("n{n}")).collect();
        let all: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(listed(&all).ends_with("n28, n29 and 3 more"), "{}", listed(&all));
        assert!(listed(&all[..31]).ends_with("n29, n30"));
    }
}
