//! Clocks: certificates and etcd fail with misleading errors where they differ.

use std::collections::BTreeMap;

use super::finding::Obstacle;
use crate::module::Facts;

/// Maximum difference between two nodes' clocks, in seconds: beyond this, TLS and etcd fail with
/// misleading errors.
const CLOCK_SKEW_LIMIT: f64 = 30.0;

/// Maximum difference between a node's clock and the workstation's, in seconds. Certificates are
/// valid from five minutes before they are issued, by the workstation's clock.
const WORKSTATION_SKEW_LIMIT: f64 = 240.0;

/// Checks for clocks that differ from each other or from the workstation's. Of two nodes, the one
/// that is further from the workstation is reported.
pub(super) fn clocks(facts: &BTreeMap<String, Facts>) -> Vec<Obstacle> {
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
}
