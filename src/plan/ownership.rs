//! Which lab a node belongs to: asked in every probe, and checked before anything on any node
//! changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::preflight::finding::Obstacle;
use super::{Change, Plan, PlannedNode, PlannedPlay};
use crate::event::Preview;
use crate::module::command::Command;
use crate::module::{Desired, Facts, Question, STATE_FOLDER, State as _};
use crate::pki::identity::{Holding, Mark, OnNode, Stranger};
use crate::playbook::Strategy;

/// The CA's certificate on a node.
const CA: &str = "/etc/kubernetes/pki/ca.crt";
/// The directory with the keys that cannot be recreated, on controllers.
const PKI: &str = "/etc/kubernetes/pki";
/// Those of them whose file is the key itself.
const KEYS: [&str; 4] = ["ca.key", "etcd/ca.key", "front-proxy-ca.key", "sa.key"];
/// The configuration directory of every kind of cluster.
const KUBERNETES: &str = "/etc/kubernetes";
/// What packages put there before there is a cluster.
const PACKAGED: [&str; 1] = ["manifests"];

/// Paths that are evidence of a cluster, with the tool that creates them.
const SIGNS: &[(&str, &str)] = &[
    ("/etc/kubernetes/manifests/kube-apiserver.yaml", "kubeadm, or another tool with static pods"),
    ("/var/lib/kubelet/kubeadm-flags.env", "kubeadm"),
    ("/etc/kubernetes/kubeadm-config.yaml", "kubespray"),
    ("/etc/ssl/etcd/ssl", "kubespray"),
    ("/etc/rancher/k3s", "k3s"),
    ("/var/lib/rancher/k3s", "k3s"),
    ("/etc/rancher/rke2", "RKE2"),
    ("/var/lib/rancher/rke2", "RKE2"),
    ("/var/lib/k0s", "k0s"),
    ("/var/snap/microk8s", "MicroK8s"),
    ("/var/lib/kubernetes", "a cluster made by hand"),
    ("/var/lib/etcd/member", "an etcd"),
    ("/var/lib/etcd/default/member", "an etcd"),
];

/// Returns the file in which a node stores the lab that it belongs to.
pub fn mark_file() -> String {
    format!("{STATE_FOLDER}/lab")
}

/// Returns the file with the node record.
pub(super) fn record_file() -> String {
    format!("{STATE_FOLDER}/record")
}

/// Returns what [`strangers`] needs to know about every node.
pub fn questions() -> BTreeSet<Question> {
    let signs = SIGNS.iter().map(|(path, _)| (*path).to_owned());
    let keys = KEYS.iter().map(|name| format!("{PKI}/{name}"));
    let paths = signs.chain(keys).chain([record_file()]).map(Question::Path);
    let texts = [mark_file(), CA.to_owned()].map(Question::Text);
    paths.chain(texts).chain([Question::Names(KUBERNETES.to_owned())]).collect()
}

/// Converts the probe's answers for the comparison with the lab directory.
fn on_node(facts: &Facts) -> OnNode {
    let there = |path: &str| facts.paths.get(path);
    let mut signs: Vec<&'static str> =
        SIGNS.iter().map(|(path, _)| *path).filter(|path| there(path).is_some()).collect();
    let configured = facts.names.get(KUBERNETES).into_iter().flatten();
    if configured.filter(|name| !PACKAGED.contains(&name.as_str())).count() > 0 {
        signs.push(KUBERNETES);
    }
    let keys = KEYS.iter().filter_map(|name| {
        let sha256 = there(&format!("{PKI}/{name}"))?.sha256.clone()?;
        Some(((*name).to_owned(), sha256))
    });
    OnNode {
        mark: facts
            .texts
            .get(&mark_file())
            .map(|text| Mark::parse(text))
            .filter(|mark| !mark.lab.is_empty()),
        recorded: there(&record_file()).is_some_and(|record| record.size > 0),
        ca: facts.texts.get(CA).cloned(),
        keys: keys.collect(),
        signs,
    }
}

/// Returns nodes that belong to another lab or cluster, and why. `taken_over` are those that may
/// change hands.
pub fn strangers(
    holding: &Holding,
    facts: &BTreeMap<String, Facts>,
    taken_over: &BTreeSet<String>,
) -> Vec<Obstacle> {
    let judged = facts.iter().filter(|(node, _)| !taken_over.contains(*node));
    judged
        .filter_map(|(node, facts)| {
            let stranger = holding.judge(&on_node(facts)).err()?;
            let (what, help) = told(node, &stranger);
            Some(Obstacle { node: node.clone(), what, help })
        })
        .collect()
}

/// Adds what makes nodes that change hands this lab's, where a plan has nothing else for them: a
/// node is marked with the first change.
pub fn hand_over(
    plan: &mut Plan,
    holding: &Holding,
    facts: &BTreeMap<String, Facts>,
    taken_over: &BTreeSet<String>,
) {
    if holding.is_empty() {
        return;
    }
    let mark = holding.mark();
    let is_anothers = |node: &&String| {
        let on_node = facts.get(*node).and_then(|facts| on_node(facts).mark);
        on_node.is_some_and(|it| it != mark)
    };
    let changes = |node: &String| {
        let mut on = plan.plays.iter().flat_map(|play| &play.nodes).filter(|on| on.node == *node);
        on.any(|on| on.changes.iter().any(|change| change.found))
    };
    let nodes: Vec<PlannedNode> = taken_over
        .iter()
        .filter(is_anothers)
        .filter(|node| !changes(node))
        .map(|node| PlannedNode {
            node: node.clone(),
            changes: vec![marking(&holding.lab)],
            unchanged: 0,
            fresh: true,
        })
        .collect();
    if !nodes.is_empty() {
        let name = "ownership".to_owned();
        plan.plays.push(PlannedPlay { name, after: vec![], strategy: Strategy::Parallel, nodes });
    }
}

/// A change that marks a node and does nothing else: every change does that first.
fn marking(lab: &str) -> Change {
    let nothing = Command { run: ":".to_owned(), unless: "false".to_owned() };
    Change {
        title: format!("mark it as a node of {lab}"),
        why: "it is marked as another lab's".to_owned(),
        found: true,
        preview: Preview::default(),
        actions: nothing.actions(&Facts::default()),
        desired: Arc::new(Desired::Command(nothing)),
    }
}

fn told(node: &str, stranger: &Stranger) -> (String, String) {
    let means_it = format!("or, if it is to change hands, add --take-over {node}");
    let lab = |lab: &Option<String>| match lab {
        Some(lab) => format!("the lab `{lab}`"),
        None => "a lab that labctl made".to_owned(),
    };
    match stranger {
        Stranger::KeysLost { lab: whose, missing } => (
            format!(
                "it runs {}, and the lab directory does not have its {}",
                lab(whose),
                missing.join(", ")
            ),
            format!("`labctl recover` reads the keys back from the lab's controllers; {means_it}"),
        ),
        Stranger::OtherKeys { lab: whose, differing } => (
            format!(
                "it runs {} with another {} than the lab directory has",
                lab(whose),
                differing.join(", ")
            ),
            format!(
                "if the lab directory is out of date, move its pki directory away and run `labctl \
                recover`; {means_it}"
            ),
        ),
        Stranger::OtherLab(whose) => (
            format!("it belongs to another lab: `{whose}`"),
            format!("correct its address here; take it down with that lab's inventory; {means_it}"),
        ),
        Stranger::OtherCluster(signs) => {
            let maker =
                SIGNS.iter().find(|(path, _)| signs.contains(path)).map(|(_, maker)| *maker);
            let maker = maker.unwrap_or("a cluster that labctl did not make");
            (
                format!("it belongs to somebody else: {maker} ({})", signs.join(", ")),
                format!("reset it with the tool that made it, choose another machine; {means_it}"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::probe::PathFact;
    use crate::secret::Secret;

    fn paths(paths: &[&str]) -> Facts {
        let mut facts = Facts::default();
        for path in paths {
            facts.paths.insert((*path).to_owned(), PathFact { size: 1, ..PathFact::default() });
        }
        facts
    }

    fn said(facts: Facts, taken_over: &[&str]) -> Vec<String> {
        let facts = BTreeMap::from([("cp".to_owned(), facts)]);
        let taken_over = taken_over.iter().map(|node| (*node).to_owned()).collect();
        strangers(&Holding::default(), &facts, &taken_over).into_iter().map(|it| it.what).collect()
    }

    #[test]
    fn evidence_of_another_cluster_is_refused_with_the_tool_that_made_it() {
        for (path, maker) in SIGNS {
            assert_eq!(
                said(paths(&[path]), &[]),
                [format!("it belongs to somebody else: {maker} ({path})")]
            );
            assert_eq!(said(paths(&[path]), &["cp"]), [""; 0]);
            // Evidence does not count if labctl has a record there.
            assert_eq!(said(paths(&[path, "/var/lib/labctl/record"]), &[]), [""; 0]);
        }
    }

    #[test]
    fn a_non_empty_kubernetes_directory_belongs_to_another_cluster() {
        let mut facts = Facts::default();
        facts.names.insert(KUBERNETES.to_owned(), vec!["manifests".to_owned()]);
        assert_eq!(said(facts.clone(), &[]), [""; 0], "a package of the kubelet makes it");
        facts.names.insert(
            KUBERNETES.to_owned(),
            vec!["manifests".to_owned(), "scheduler.conf".to_owned()],
        );
        let whose =
            "it belongs to somebody else: a cluster that labctl did not make (/etc/kubernetes)";
        assert_eq!(said(facts, &[]), [whose]);
    }

    #[test]
    fn a_node_that_changes_hands_is_marked_even_when_nothing_else_differs() {
        let key = |name: &str| (name.to_owned(), Secret::from("a key"));
        let content = BTreeMap::from(["ca.key", "sa.key"].map(key));
        let holding = Holding::new("mine", &content, &Mark::default());
        let theirs = Holding::new("theirs", &content, &Mark::default());
        let planned = |holding: &Holding, mark: &Mark, taken: &[&str]| {
            let mut facts = Facts::default();
            facts.texts.insert(mark_file(), mark.text());
            let facts = BTreeMap::from([("cp".to_owned(), facts)]);
            let taken = taken.iter().map(|node| (*node).to_owned()).collect();
            let mut plan = Plan::default();
            hand_over(&mut plan, holding, &facts, &taken);
            plan.changes().into_iter().map(|it| (it.node, it.task)).collect::<Vec<_>>()
        };
        assert_eq!(
            planned(&holding, &theirs.mark(), &["cp", "gone"]),
            [("cp".to_owned(), "mark it as a node of mine".to_owned())]
        );
        assert_eq!(planned(&holding, &theirs.mark(), &[]), []);
        assert_eq!(planned(&holding, &holding.mark(), &["cp"]), [], "it is ours already");
        let none = Holding::new("mine", &BTreeMap::new(), &Mark::default());
        assert_eq!(planned(&none, &theirs.mark(), &["cp"]), [], "there is nothing to mark it with");
    }

    #[test]
    fn an_empty_record_is_no_record() {
        let mut facts = paths(&["/var/lib/etcd/member"]);
        facts.paths.insert("/var/lib/labctl/record".to_owned(), PathFact::default());
        assert_eq!(said(facts, &[]).len(), 1);
    }

    #[test]
    fn a_marked_node_whose_keys_are_missing_suggests_recover() {
        let mut facts = Facts::default();
        let mark = "lab sandbox\nkey ca.key 00\nkey sa.key 11\n";
        facts.texts.insert(mark_file(), mark.to_owned());
        let holding = Holding::new("sandbox", &BTreeMap::new(), &Mark::default());
        let facts = BTreeMap::from([("cp".to_owned(), facts)]);
        let found = strangers(&holding, &facts, &BTreeSet::new());
        let what =
            "it runs the lab `sandbox`, and the lab directory does not have its ca.key, sa.key";
        assert_eq!(found[0].what, what);
        assert!(
            found[0].help.starts_with("`labctl recover` reads the keys back"),
            "{}",
            found[0].help
        );
    }
}
