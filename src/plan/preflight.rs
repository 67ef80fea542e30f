//! Conditions that must hold before anything is done to nodes, checked with the facts of all of
//! them.

use std::collections::BTreeMap;

use super::{DesiredPlay, tasks_of};
use crate::module::file::Content;
use crate::module::{Desired, Facts, Question};

/// Maximum difference between two nodes' clocks, in seconds: beyond this, TLS and etcd fail with
/// misleading errors.
pub const CLOCK_SKEW_LIMIT: f64 = 30.0;

/// Maximum difference between a node's clock and the workstation's, in seconds. Certificates are
/// valid from five minutes before they are issued, by the workstation's clock.
pub const WORKSTATION_SKEW_LIMIT: f64 = 240.0;

/// How a member of etcd first starts; see the template of that name.
const FOUNDERS: &str = "/etc/etcd/bootstrap.env";
/// Exists once a member has been healthy.
const MEMBER: &str = "/etc/etcd/member.env";
/// Exists while a member has its data.
const DATA: &str = "/var/lib/etcd/member";
/// How a member first starts that may only join, until it has asked the existing members.
const JOINING: &str = "# This node joins an etcd that is there; the list of its members comes \
    when it does.\n\
                       ETCD_INITIAL_CLUSTER_STATE=existing\n";

/// A reason not to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The node concerned.
    pub node: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

/// Returns what [`obstacles`] needs to know about every node, in addition to the plan's questions.
pub fn questions() -> [Question; 3] {
    [
        Question::Text(FOUNDERS.to_owned()),
        Question::Text(MEMBER.to_owned()),
        Question::Path(DATA.to_owned()),
    ]
}

/// Returns all obstacles, for all nodes at once.
pub fn obstacles(desired: &[DesiredPlay], facts: &BTreeMap<String, Facts>) -> Vec<Obstacle> {
    let mut found = Vec::new();
    for (node, facts) in facts {
        if !facts.missing_tools.is_empty() {
            found.push(Obstacle {
                node: node.clone(),
                what: format!("missing programs: {}", facts.missing_tools.join(", ")),
                help: "labctl needs a systemd distribution with coreutils and tar".to_owned(),
            });
        }
    }
    found.extend(clocks(facts));
    found.extend(etcd(desired, facts));
    found
}

/// Checks for clocks that differ from each other or from the workstation's. Of two nodes, the one
/// that is further from the workstation is reported.
fn clocks(facts: &BTreeMap<String, Facts>) -> Vec<Obstacle> {
    const HELP: &str = "set the clock: timedatectl set-ntp true, or date --set";
    let offsets: Vec<(&String, f64)> = facts
        .iter()
        .filter_map(|(node, facts)| facts.clock_offset.map(|offset| (node, offset)))
        .collect();
    let mut found = Vec::new();
    for (node, offset) in &offsets {
        let direction = |apart: f64| if apart > 0.0 { "ahead of" } else { "behind" };
        let other = offsets
            .iter()
            .filter(|(_, other)| {
                (offset - other).abs() > CLOCK_SKEW_LIMIT && other.abs() <= offset.abs()
            })
            .max_by(|one, other| (offset - one.1).abs().total_cmp(&(offset - other.1).abs()));
        let what = if let Some((other, its)) = other {
            let apart = offset - its;
            format!(
                "its clock is {:.0} s {} that of {other}; 30 s is the limit",
                apart.abs(),
                direction(apart)
            )
        } else if offset.abs() > WORKSTATION_SKEW_LIMIT {
            format!(
                "its clock is {:.0} s {} the workstation's; 240 s is the limit",
                offset.abs(),
                direction(*offset)
            )
        } else {
            continue;
        };
        found.push(Obstacle { node: (*node).clone(), what, help: HELP.to_owned() });
    }
    found
}

/// Checks for obstacles of etcd: members that lost their data, and a bootstrap that was interrupted
/// and then changed.
fn etcd(desired: &[DesiredPlay], facts: &BTreeMap<String, Facts>) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let controllers: Vec<(&String, &Facts, String)> = facts
        .iter()
        .filter_map(|(node, facts)| Some((node, facts, desired_founders(desired, node)?)))
        .collect();
    let alone = controllers.len() == 1;
    for (node, ..) in
        controllers.iter().filter(|(_, facts, _)| was_member(facts) && !has_data(facts))
    {
        let help = if alone {
            format!(
                "restore the data from a backup; or, if it is no longer needed, remove \
                {MEMBER} there and \
                 run `up` again for an empty cluster"
            )
        } else {
            format!(
                "`labctl node remove {node}`, then `labctl node add` it again: it joins the \
                others with nothing"
            )
        };
        let what = format!("it was a member of this lab's etcd, and its data in {DATA} is gone");
        found.push(Obstacle { node: (*node).clone(), what, help });
    }
    // No member was ever healthy, and those that have started wait for other members than those in
    // the inventory.
    let begun = controllers.iter().find_map(|(_, facts, wanted)| {
        let list = founders(facts.texts.get(FOUNDERS).filter(|_| has_data(facts))?)?;
        (list != *wanted).then_some(list)
    });
    if let Some(begun) =
        begun.filter(|_| !controllers.iter().any(|(_, facts, _)| was_member(facts)))
    {
        let with_data = controllers.iter().filter(|(_, facts, _)| has_data(facts)).count();
        let waiting = with_data * 2 <= begun.split(',').count();
        for (node, _, wanted) in controllers.iter().filter(|_| waiting) {
            found.push(Obstacle {
                node: (*node).clone(),
                what: format!(
                    "this lab's etcd is being founded by {begun}, and the inventory \
                    wants {wanted}"
                ),
                help: "put the controllers back as they were, run `up`, and change them then; or \
                    take the lab down and \
                       up again"
                    .to_owned(),
            });
        }
    }
    found
}

/// Decides for every controller, over the facts of all, whether it may found etcd. The plan wants
/// the founding file on all of them, and it stays
///
/// - as it is where a member has its data: it was decided when that member first started;
/// - wanted where every controller was reached and none has been a member: they found together, and
///   those that had begun before go on;
/// - without a list of members everywhere else: such a controller can only join an etcd that is
///   there.
///
/// `controllers` are all of the lab's, including those that this run leaves out.
pub fn settle_founding(
    controllers: &[&str],
    desired: &mut [DesiredPlay],
    facts: &BTreeMap<String, Facts>,
) {
    let founding = controllers.iter().all(|node| {
        let wanted = desired_founders(desired, node);
        facts.get(*node).is_some_and(|facts| {
            let list = || facts.texts.get(FOUNDERS).and_then(|text| founders(text));
            !was_member(facts) && (!has_data(facts) || list() == wanted)
        })
    });
    for on in desired.iter_mut().flat_map(|play| &mut play.nodes) {
        let facts = facts.get(&on.node);
        let decided =
            facts.is_some_and(|facts| has_data(facts) && facts.texts.contains_key(FOUNDERS));
        on.tasks.retain(|task| !(decided && is_founding(&task.desired)));
        for task in on.tasks.iter_mut().filter(|_| !founding) {
            if let Desired::File(file) = &mut task.desired
                && file.path == FOUNDERS
            {
                file.content = Content::inline(JOINING.as_bytes());
            }
        }
    }
}

fn is_founding(desired: &Desired) -> bool {
    matches!(desired, Desired::File(file) if file.path == FOUNDERS)
}

fn was_member(facts: &Facts) -> bool {
    facts.texts.contains_key(MEMBER)
}

fn has_data(facts: &Facts) -> bool {
    facts.paths.contains_key(DATA)
}

/// Returns the initial members that the plan contains for a controller.
fn desired_founders(desired: &[DesiredPlay], node: &str) -> Option<String> {
    tasks_of(desired, node).find_map(|task| match &task.desired {
        Desired::File(file) if file.path == FOUNDERS => match &file.content {
            Content::Inline { bytes, .. } => founders(std::str::from_utf8(bytes).ok()?),
            Content::Blob(_) => None,
        },
        _ => None,
    })
}

/// Returns the initial members in a file, if it bootstraps a cluster.
fn founders(text: &str) -> Option<String> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value("ETCD_INITIAL_CLUSTER")
        .filter(|_| value("ETCD_INITIAL_CLUSTER_STATE") == Some("new"))
        .map(str::to_owned)
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
        assert_eq!(far, ["n0: its clock is 300 s behind the workstation's; 240 s is the limit"]);
    }

    fn founding_file(founders: &str) -> String {
        format!("ETCD_INITIAL_CLUSTER={founders}\nETCD_INITIAL_CLUSTER_STATE=new\n")
    }

    /// Controllers that the plan wants to found etcd as `wanted`.
    fn founding(wanted: &str, nodes: &[&str]) -> Vec<DesiredPlay> {
        let file = File {
            path: FOUNDERS.to_owned(),
            mode: "644".to_owned(),
            owner: "root:root".to_owned(),
            content: Content::inline(founding_file(wanted).into_bytes()),
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
        facts.texts.insert(FOUNDERS.to_owned(), founding_file(founded_by));
        facts.texts.insert(MEMBER.to_owned(), "ETCD_INITIAL_CLUSTER_STATE=existing\n".to_owned());
        if data {
            facts.paths.insert(DATA.to_owned(), crate::module::probe::PathFact::default());
        }
        facts
    }

    /// What is left to put into the founding file of each node: the founders, `joins`, or `-` for
    /// "left alone".
    fn settled(wanted: &str, names: &[&str], facts: &[(&str, Facts)]) -> Vec<String> {
        let facts: BTreeMap<String, Facts> =
            facts.iter().map(|(node, facts)| ((*node).to_owned(), facts.clone())).collect();
        let mut desired = founding(wanted, names);
        assert_eq!(said(obstacles(&desired, &facts)), [""; 0]);
        settle_founding(names, &mut desired, &facts);
        let text = |node: &&str| match tasks_of(&desired, node).next() {
            None => "-".to_owned(),
            Some(_) => desired_founders(&desired, node).unwrap_or_else(|| "joins".to_owned()),
        };
        names.iter().map(text).collect()
    }

    fn begun(founders: &str, data: bool) -> Facts {
        let mut facts = member(founders, data);
        facts.texts.remove(MEMBER);
        facts
    }

    #[test]
    fn controllers_without_data_bootstrap_etcd_together() {
        let bare = Facts::default;
        assert_eq!(
            settled("c0,c1", &["c0", "c1"], &[("c0", bare()), ("c1", bare())]),
            ["c0,c1", "c0,c1"]
        );
        // One that cannot be seen, because of --limit or a dead machine, may have an etcd.
        assert_eq!(settled("c0,c1", &["c0", "c1"], &[("c1", bare())]), ["joins", "joins"]);
    }

    #[test]
    fn a_controller_joins_an_existing_etcd_and_members_are_left_alone() {
        let facts =
            [("c0", member("c0", true)), ("c1", Facts::default()), ("c2", Facts::default())];
        assert_eq!(settled("c0,c1,c2", &["c0", "c1", "c2"], &facts), ["-", "joins", "joins"]);
        // The founding file of an earlier time allows nothing any more.
        let facts = [("c0", member("c0", true)), ("c1", begun("c0,c1", false))];
        assert_eq!(settled("c0,c1", &["c0", "c1"], &facts), ["-", "joins"]);
        // A member whose file is gone cannot start, and cannot found either.
        let mut lost = member("c0", true);
        lost.texts.remove(FOUNDERS);
        assert_eq!(settled("c0", &["c0"], &[("c0", lost)]), ["joins"]);
    }

    #[test]
    fn an_interrupted_first_run_resumes_the_bootstrap() {
        let facts = [("c0", begun("c0,c1", true)), ("c1", Facts::default())];
        assert_eq!(settled("c0,c1", &["c0", "c1"], &facts), ["-", "c0,c1"]);
        // Alone it needs nobody, so what was begun is an etcd, also when nobody came to note that
        // it was healthy.
        let facts = [("c0", begun("c0", true)), ("c1", Facts::default())];
        assert_eq!(settled("c0,c1", &["c0", "c1"], &facts), ["-", "joins"]);
    }

    #[test]
    fn an_interrupted_bootstrap_that_was_changed_is_refused() {
        let facts = BTreeMap::from([
            ("c0".to_owned(), begun("c0,c1", true)),
            ("c2".to_owned(), Facts::default()),
        ]);
        let why = "this lab's etcd is being founded by c0,c1, and the inventory wants c0,c2";
        let refused = said(obstacles(&founding("c0,c2", &["c0", "c2"]), &facts));
        assert_eq!(refused, [format!("c0: {why}"), format!("c2: {why}")]);
    }

    #[test]
    fn a_member_that_lost_its_data_does_not_start_empty() {
        let facts = BTreeMap::from([("c0".to_owned(), member("c0=x", false))]);
        let refused = said(obstacles(&founding("c0=x", &["c0"]), &facts));
        assert_eq!(
            refused,
            ["c0: it was a member of this lab's etcd, and its data in /var/lib/etcd/member is \
                gone"]
        );
    }
}
