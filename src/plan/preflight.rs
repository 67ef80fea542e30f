//! What must hold for nodes before anything is done to them, judged over the facts of all of them.

use std::collections::BTreeMap;

use crate::module::Facts;

/// How far two nodes' clocks may be apart, in seconds. Certificates are valid from a few minutes before they are
/// issued, and etcd warns about rounds that seem to go back in time; beyond this, TLS fails in ways that are hard to
/// read.
pub const CLOCK_SKEW_LIMIT: f64 = 30.0;

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

/// Everything that stands in the way, for all nodes at once. The workstation issues certificates by its own clock, so
/// a node's clock is held against that.
pub fn obstacles(facts: &BTreeMap<String, Facts>) -> Vec<Obstacle> {
    let mut found = Vec::new();
    for (node, facts) in facts {
        if !facts.missing_tools.is_empty() {
            found.push(Obstacle {
                node: node.clone(),
                what: format!("programs are missing: {}", facts.missing_tools.join(", ")),
                help: "labctl needs a systemd distribution with coreutils and tar".to_owned(),
            });
        }
        if let Some(offset) = facts.clock_offset.filter(|offset| offset.abs() > CLOCK_SKEW_LIMIT) {
            let direction = if offset > 0.0 { "ahead of" } else { "behind" };
            found.push(Obstacle {
                node: node.clone(),
                what: format!("its clock is {:.0} s {direction} this machine's; 30 s is the limit", offset.abs()),
                help: "set the clock: timedatectl set-ntp true, or date --set".to_owned(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_clock(offset: f64) -> BTreeMap<String, Facts> {
        BTreeMap::from([("n".to_owned(), Facts { clock_offset: Some(offset), ..Facts::default() })])
    }

    #[test]
    fn clocks_may_differ_a_little_but_not_more() {
        assert_eq!(obstacles(&with_clock(29.0)), []);
        assert_eq!(obstacles(&with_clock(-29.0)), []);
        assert!(obstacles(&with_clock(31.0))[0].what.contains("31 s ahead of"));
        assert!(obstacles(&with_clock(-40.0))[0].what.contains("40 s behind"));
    }
}
