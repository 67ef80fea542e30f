//! What must hold for nodes before anything is done to them, judged over the facts of all of them.

use std::collections::BTreeMap;

use super::{DesiredPlay, tasks_of};
use crate::module::file::Content;
use crate::module::{Desired, Facts, Question};

/// How far two nodes' clocks may be apart, in seconds: beyond this, TLS and etcd fail in ways that are hard to read.
pub const CLOCK_SKEW_LIMIT: f64 = 30.0;

/// How far a node's clock may be from the workstation's, in seconds. Certificates are valid from five minutes before
/// they are issued, by the workstation's clock.
pub const WORKSTATION_SKEW_LIMIT: f64 = 240.0;

/// Who founded the etcd cluster that a controller is in; see the template of that name.
const FOUNDERS: &str = "/etc/etcd/bootstrap.env";
/// There once a member has been healthy.
const MEMBER: &str = "/etc/etcd/member.env";
/// There while a member has its data.
const DATA: &str = "/var/lib/etcd/member";

/// A reason not to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The node that it is about.
    pub node: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

/// What [`obstacles`] wants to know of every node, beside what the plan asks.
pub fn questions() -> [Question; 3] {
    [Question::Text(FOUNDERS.to_owned()), Question::Text(MEMBER.to_owned()), Question::Path(DATA.to_owned())]
}

/// Everything that stands in the way, for all nodes at once.
pub fn obstacles(desired: &[DesiredPlay], facts: &BTreeMap<String, Facts>) -> Vec<Obstacle> {
    let mut found = Vec::new();
    for (node, facts) in facts {
        if !facts.missing_tools.is_empty() {
            found.push(Obstacle {
                node: node.clone(),
                what: format!("programs are missing: {}", facts.missing_tools.join(", ")),
                help: "labctl needs a systemd distribution with coreutils and tar".to_owned(),
            });
        }
    }
    found.extend(clocks(facts));
    found.extend(etcd(desired, facts));
    found
}

/// Clocks that disagree with each other or with the workstation's. Of two nodes, the one that is further from the
/// workstation is told of.
fn clocks(facts: &BTreeMap<String, Facts>) -> Vec<Obstacle> {
    const HELP: &str = "set the clock: timedatectl set-ntp true, or date --set";
    let offsets: Vec<(&String, f64)> =
        facts.iter().filter_map(|(node, facts)| facts.clock_offset.map(|offset| (node, offset))).collect();
    let mut found = Vec::new();
    for (node, offset) in &offsets {
        let direction = |apart: f64| if apart > 0.0 { "ahead of" } else { "behind" };
        let other = offsets
            .iter()
            .filter(|(_, other)| (offset - other).abs() > CLOCK_SKEW_LIMIT && other.abs() <= offset.abs())
            .max_by(|one, other| (offset - one.1).abs().total_cmp(&(offset - other.1).abs()));
        let what = if let Some((other, its)) = other {
            let apart = offset - its;
            format!("its clock is {:.0} s {} that of {other}; 30 s is the limit", apart.abs(), direction(apart))
        } else if offset.abs() > WORKSTATION_SKEW_LIMIT {
            format!("its clock is {:.0} s {} this machine's; 240 s is the limit", offset.abs(), direction(*offset))
        } else {
            continue;
        };
        found.push(Obstacle { node: (*node).clone(), what, help: HELP.to_owned() });
    }
    found
}

/// An etcd cluster that exists must not be founded a second time: not by controllers that the inventory got later, and
/// not by a member that has lost its data. Every controller is told of, because none of them can go on alone.
fn etcd(desired: &[DesiredPlay], facts: &BTreeMap<String, Facts>) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let controllers: Vec<(&String, &Facts, String)> =
        facts.iter().filter_map(|(node, facts)| Some((node, facts, desired_founders(desired, node)?))).collect();
    for (node, facts, _) in &controllers {
        if facts.texts.contains_key(MEMBER) && !facts.paths.contains_key(DATA) {
            found.push(Obstacle {
                node: (*node).clone(),
                what: format!("it was a member of this lab's etcd, and its data in {DATA} is gone"),
                help: format!(
                    "on another controller, `etcdctl member remove` it and `member add` it again; then remove {MEMBER} \
                     here and say ETCD_INITIAL_CLUSTER_STATE=existing in {FOUNDERS}"
                ),
            });
        }
    }
    let other = controllers.iter().find_map(|(_, facts, wanted)| {
        let founded_by = facts.texts.contains_key(MEMBER).then(|| founders(facts.texts.get(FOUNDERS)?))??;
        (founded_by != *wanted).then_some(founded_by)
    });
    if let Some(founded_by) = other {
        for (node, _, wanted) in &controllers {
            found.push(Obstacle {
                node: (*node).clone(),
                what: format!("this lab's etcd has the members {founded_by}, and the inventory wants {wanted}"),
                help:
                    "labctl cannot change the members of an etcd that is there yet: put the controllers back as they \
                       were, or take the lab down and up again"
                        .to_owned(),
            });
        }
    }
    found
}

/// The members that the plan wants etcd to be founded by, on a controller.
fn desired_founders(desired: &[DesiredPlay], node: &str) -> Option<String> {
    tasks_of(desired, node).find_map(|task| match &task.desired {
        Desired::File(file) if file.path == FOUNDERS => match &file.content {
            Content::Inline { bytes, .. } => founders(std::str::from_utf8(bytes).ok()?),
            Content::Blob(_) => None,
        },
        _ => None,
    })
}

/// The list of members in an environment file.
fn founders(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::file::File;
    use crate::plan::{DesiredNode, DesiredTask};
    use crate::playbook::Strategy;

    fn clocks_at(offsets: &[f64]) -> BTreeMap<String, Facts> {
        let facts = |offset: &f64| Facts { clock_offset: Some(*offset), ..Facts::default() };
        offsets.iter().enumerate().map(|(i, offset)| (format!("n{i}"), facts(offset))).collect()
    }

    fn said(obstacles: Vec<Obstacle>) -> Vec<String> {
        obstacles.into_iter().map(|it| format!("{}: {}", it.node, it.what)).collect()
    }

    #[test]
    fn clocks_may_differ_a_little_but_not_more() {
        assert_eq!(said(obstacles(&[], &clocks_at(&[-14.0, 0.0, 15.0]))), [""; 0]);
        assert_eq!(
            said(obstacles(&[], &clocks_at(&[-25.0, 26.0]))),
            ["n1: its clock is 51 s ahead of that of n0; 30 s is the limit"]
        );
        assert_eq!(
            said(obstacles(&[], &clocks_at(&[0.0, 1.0, -40.0]))),
            ["n2: its clock is 41 s behind that of n1; 30 s is the limit"]
        );
    }

    #[test]
    fn nodes_that_agree_may_be_a_little_off_the_workstation() {
        assert_eq!(said(obstacles(&[], &clocks_at(&[100.0, 101.0]))), [""; 0]);
        let far = said(obstacles(&[], &clocks_at(&[-300.0])));
        assert_eq!(far, ["n0: its clock is 300 s behind this machine's; 240 s is the limit"]);
    }

    /// Controllers that the plan wants to found etcd as `wanted`.
    fn founding(wanted: &str, nodes: &[&str]) -> Vec<DesiredPlay> {
        let file = File {
            path: FOUNDERS.to_owned(),
            mode: "644".to_owned(),
            owner: "root:root".to_owned(),
            content: Content::inline(format!("ETCD_INITIAL_CLUSTER={wanted}\n").into_bytes()),
            sensitive: false,
            origin: String::new(),
        };
        let task = DesiredTask { title: String::new(), why: None, desired: Desired::File(file) };
        let on = |node: &&str| DesiredNode { node: (*node).to_owned(), tasks: vec![task.clone()] };
        let nodes = nodes.iter().map(on).collect();
        let (name, why) = ("etcd".to_owned(), String::new());
        vec![DesiredPlay { name, why, after: Vec::new(), strategy: Strategy::Rolling, nodes }]
    }

    fn member(founded_by: &str, data: bool) -> Facts {
        let mut facts = Facts::default();
        facts.texts.insert(FOUNDERS.to_owned(), format!("ETCD_INITIAL_CLUSTER={founded_by}\n"));
        facts.texts.insert(MEMBER.to_owned(), "ETCD_INITIAL_CLUSTER_STATE=existing\n".to_owned());
        if data {
            facts.paths.insert(DATA.to_owned(), crate::module::probe::PathFact::default());
        }
        facts
    }

    #[test]
    fn an_etcd_that_exists_is_not_founded_again_by_new_controllers() {
        let facts = BTreeMap::from([
            ("c0".to_owned(), member("c0=x", true)),
            ("c1".to_owned(), Facts::default()),
            ("w0".to_owned(), Facts::default()),
        ]);
        let refused = said(obstacles(&founding("c0=x,c1=y", &["c0", "c1"]), &facts));
        let why = "this lab's etcd has the members c0=x, and the inventory wants c0=x,c1=y";
        assert_eq!(refused, [format!("c0: {why}"), format!("c1: {why}")]);
        assert_eq!(said(obstacles(&founding("c0=x", &["c0"]), &facts)), [""; 0], "as it was founded is fine");
    }

    #[test]
    fn a_first_run_that_was_cut_off_may_go_on() {
        let mut begun = member("c0=x,c1=y", false);
        begun.texts.remove(MEMBER);
        let facts = BTreeMap::from([("c0".to_owned(), begun), ("c1".to_owned(), Facts::default())]);
        assert_eq!(said(obstacles(&founding("c0=x,c1=y", &["c0", "c1"]), &facts)), [""; 0]);
    }

    #[test]
    fn a_member_that_lost_its_data_does_not_start_anew() {
        let facts = BTreeMap::from([("c0".to_owned(), member("c0=x", false))]);
        let refused = said(obstacles(&founding("c0=x", &["c0"]), &facts));
        assert_eq!(refused, ["c0: it was a member of this lab's etcd, and its data in /var/lib/etcd/member is gone"]);
    }
}
