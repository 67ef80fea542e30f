//! Conditions that must hold before anything is done to nodes, checked with the facts of all of
//! them.

use std::collections::BTreeMap;

use super::{DesiredPlay, tasks_of};
use crate::cluster::{Cluster, Role};
use crate::machine::Etcd;
use crate::machine::etcd::{DATA, MEMBER};
use crate::module::unit::Unit;
use crate::module::{Desired, Facts};

/// Maximum difference between two nodes' clocks, in seconds: beyond this, TLS and etcd fail with
/// misleading errors.
pub const CLOCK_SKEW_LIMIT: f64 = 30.0;

/// Maximum difference between a node's clock and the workstation's, in seconds. Certificates are
/// valid from five minutes before they are issued, by the workstation's clock.
pub const WORKSTATION_SKEW_LIMIT: f64 = 240.0;

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

/// Returns all obstacles, for all nodes at once.
pub fn obstacles(
    cluster: &Cluster,
    desired: &[DesiredPlay],
    facts: &BTreeMap<String, Facts>,
) -> Vec<Obstacle> {
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
    let members = cluster
        .with_role(Role::Controller)
        .filter(|node| facts.contains_key(&node.name) && starts_etcd(desired, &node.name));
    let members: Vec<(&str, &Etcd)> =
        members.map(|node| (node.name.as_str(), &node.facts.etcd)).collect();
    found.extend(etcd(&cluster.founding().members, &members));
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

/// Whether the plan has etcd run on this node.
fn starts_etcd(desired: &[DesiredPlay], node: &str) -> bool {
    let is_etcd = |unit: &Unit| unit.name == "etcd.service" && unit.started;
    tasks_of(desired, node)
        .any(|task| matches!(&task.desired, Desired::Unit(unit) if is_etcd(unit)))
}

/// Checks for obstacles of etcd: members that lost their data, and a bootstrap that was interrupted
/// and then changed. `wanted` are the members that the inventory wants.
fn etcd(wanted: &str, controllers: &[(&str, &Etcd)]) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let alone = controllers.len() == 1;
    for (node, _) in controllers.iter().filter(|(_, etcd)| etcd.member && !etcd.data) {
        let help = if alone {
            format!(
                "restore the data from a backup; or, if it is no longer needed, remove \
                {MEMBER} there and run `up` again for an empty cluster"
            )
        } else {
            format!(
                "`labctl node remove {node}`, then `labctl node add` it again: it joins the \
                others with nothing"
            )
        };
        let what = format!("it was a member of this lab's etcd, and its data in {DATA} is gone");
        found.push(Obstacle { node: (*node).to_owned(), what, help });
    }
    // No member was ever healthy, and those that have started wait for other members than those in
    // the inventory.
    let begun = controllers.iter().find_map(|(_, etcd)| {
        let list = etcd.founders.as_deref().filter(|_| etcd.data)?;
        (list != wanted).then_some(list)
    });
    if let Some(begun) = begun.filter(|_| !controllers.iter().any(|(_, etcd)| etcd.member)) {
        let with_data = controllers.iter().filter(|(_, etcd)| etcd.data).count();
        let waiting = with_data * 2 <= begun.split(',').count();
        for (node, _) in controllers.iter().filter(|_| waiting) {
            found.push(Obstacle {
                node: (*node).to_owned(),
                what: format!(
                    "this lab's etcd is being founded by {begun}, and the inventory \
                    wants {wanted}"
                ),
                help: "put the controllers back as they were, run `up`, and change them then; or \
                    take the lab down and up again"
                    .to_owned(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks_at(offsets: &[f64]) -> BTreeMap<String, Facts> {
        let facts = |offset: &f64| Facts { clock_offset: Some(*offset), ..Facts::default() };
        offsets.iter().enumerate().map(|(i, offset)| (format!("n{i}"), facts(offset))).collect()
    }

    fn said(obstacles: Vec<Obstacle>) -> Vec<String> {
        obstacles.into_iter().map(|it| format!("{}: {}", it.node, it.what)).collect()
    }

    #[test]
    fn clocks_may_differ_a_little_but_not_more() {
        assert_eq!(said(clocks(&clocks_at(&[-14.0, 0.0, 15.0]))), [""; 0]);
        assert_eq!(
            said(clocks(&clocks_at(&[-25.0, 26.0]))),
            ["n1: its clock is 51 s ahead of that of n0; 30 s is the limit"]
        );
        assert_eq!(
            said(clocks(&clocks_at(&[0.0, 1.0, -40.0]))),
            ["n2: its clock is 41 s behind that of n1; 30 s is the limit"]
        );
    }

    #[test]
    fn nodes_that_agree_may_be_a_little_off_the_workstation() {
        assert_eq!(said(clocks(&clocks_at(&[100.0, 101.0]))), [""; 0]);
        let far = said(clocks(&clocks_at(&[-300.0])));
        assert_eq!(far, ["n0: its clock is 300 s behind the workstation's; 240 s is the limit"]);
    }

    fn of_etcd(wanted: &str, controllers: &[(&str, Etcd)]) -> Vec<String> {
        let controllers: Vec<(&str, &Etcd)> =
            controllers.iter().map(|(node, etcd)| (*node, etcd)).collect();
        said(etcd(wanted, &controllers))
    }

    fn begun(founders: &str) -> Etcd {
        let text = format!("ETCD_INITIAL_CLUSTER={founders}\nETCD_INITIAL_CLUSTER_STATE=new\n");
        Etcd::of(Some(&text), false, true)
    }

    #[test]
    fn etcd_may_begin_go_on_and_be_joined() {
        let member = |founders| Etcd { member: true, ..begun(founders) };
        for (wanted, controllers) in [
            ("c0,c1", vec![("c0", Etcd::default()), ("c1", Etcd::default())]),
            ("c0,c1", vec![("c0", begun("c0,c1")), ("c1", Etcd::default())]),
            ("c0,c1,c2", vec![("c0", member("c0")), ("c1", Etcd::default())]),
            // Alone it needed nobody: an etcd, though nobody noted that it was healthy.
            ("c0,c1", vec![("c0", begun("c0")), ("c1", Etcd::default())]),
        ] {
            assert_eq!(of_etcd(wanted, &controllers), [""; 0], "{controllers:?}");
        }
    }

    #[test]
    fn an_interrupted_bootstrap_that_was_changed_is_refused() {
        let why = "this lab's etcd is being founded by c0,c1, and the inventory wants c0,c2";
        let refused = of_etcd("c0,c2", &[("c0", begun("c0,c1")), ("c2", Etcd::default())]);
        assert_eq!(refused, [format!("c0: {why}"), format!("c2: {why}")]);
    }

    #[test]
    fn a_member_that_lost_its_data_does_not_start_empty() {
        let lost = Etcd { member: true, data: false, ..begun("c0=x") };
        let refused = of_etcd("c0=x", &[("c0", lost)]);
        assert_eq!(
            refused,
            ["c0: it was a member of this lab's etcd, and its data in /var/lib/etcd/member is \
                gone"]
        );
    }
}
