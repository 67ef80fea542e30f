//! Which versions of Kubernetes a lab goes through on its way to another one, and which it cannot
//! go to.
//!
//! The [version skew policy](https://kubernetes.io/releases/version-skew-policy/): API servers of
//! one lab differ by one minor release at most, and are never older than what talks to them; so an
//! upgrade takes one minor release at a time, the control plane before the workers. A kubelet may
//! be older by up to three minor releases (two before 1.28).

use std::collections::BTreeMap;

use super::Version;

/// What every node runs: the API server's version on a controller, the kubelet's on a worker, and
/// the older one on a node that is both.
pub type Running = BTreeMap<String, Version>;

/// A version that the lab cannot go to, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotUpgrade {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

/// The last patch release of minor releases that get no more of them, for steps of an upgrade that
/// nobody chose.
const LAST: [(u16, u16); 13] = [
    (20, 15),
    (21, 14),
    (22, 17),
    (23, 17),
    (24, 17),
    (25, 16),
    (26, 15),
    (27, 16),
    (28, 15),
    (29, 15),
    (30, 14),
    (31, 14),
    (32, 13),
];

/// Returns the versions that a lab goes through until it has `to`: one for each minor release, and
/// `to` as the last. Where it stands between two versions, finishing that step is the first. In
/// between it takes the newest patch level that is in `at_hand`, or the minor release's last.
///
/// # Errors
/// If the lab has a newer version, or nodes whose versions do not go together.
pub fn steps(
    running: &Running,
    to: Version,
    at_hand: &[Version],
) -> Result<Vec<Version>, CannotUpgrade> {
    let (Some(oldest), Some(newest)) = (running.values().min(), running.values().max()) else {
        return Ok(vec![to]);
    };
    if *newest > to {
        return Err(downgrade(*newest, to));
    }
    let allowed = if newest.minor < 28 { 2 } else { 3 };
    if newest.minor - oldest.minor > allowed {
        return Err(CannotUpgrade {
            what: format!(
                "the lab runs {newest} and, on {}, {oldest}: an API server of {newest} does not \
                speak with a kubelet that old",
                names_with(running, *oldest)
            ),
            help: "remove these nodes with `labctl node remove`, upgrade, and add them again"
                .to_owned(),
        });
    }
    let mut steps = Vec::new();
    if oldest < newest && newest.minor < to.minor {
        steps.push(*newest);
    }
    for minor in newest.minor + 1..to.minor {
        steps.push(best(minor, at_hand)?);
    }
    if *oldest < to {
        steps.push(to);
    }
    Ok(steps)
}

/// The version to take of a minor release in between.
fn best(minor: u16, at_hand: &[Version]) -> Result<Version, CannotUpgrade> {
    let last = || LAST.iter().find(|(it, _)| *it == minor).map(|(_, patch)| *patch);
    let patch = at_hand.iter().filter(|it| it.minor == minor).map(|it| it.patch).max();
    match patch.or_else(last) {
        Some(patch) => Ok(Version { major: 1, minor, patch }),
        None => Err(CannotUpgrade {
            what: format!("the upgrade goes through 1.{minor}, and there is no bundle of it"),
            help: format!(
                "put one beside the others, as BUNDLES/1.{minor}.N, or upgrade to a version of \
                1.{minor} first"
            ),
        }),
    }
}

/// Whether `up` may bring a lab that runs these versions to `to`: within one minor release, or to
/// the next. Returns what is wrong where it may not.
pub fn refuse_jump(running: &Running, to: Version) -> Option<CannotUpgrade> {
    let (oldest, newest) = (running.values().min()?, running.values().max()?);
    if *newest > to {
        return Some(downgrade(*newest, to));
    }
    if oldest.minor + 1 >= to.minor {
        return None;
    }
    Some(CannotUpgrade {
        what: format!(
            "the lab runs {oldest}, and {to} is {} minor releases ahead: Kubernetes is upgraded \
            one at a time",
            to.minor - oldest.minor
        ),
        help: "`labctl upgrade` takes one after another".to_owned(),
    })
}

fn downgrade(newest: Version, to: Version) -> CannotUpgrade {
    CannotUpgrade {
        what: format!("the lab runs {newest}, and Kubernetes cannot go back to {to}"),
        help: format!(
            "set `kubernetes: \"{newest}\"` in the inventory; what an upgrade changed is undone \
            by a backup from before it: `labctl down`, then `labctl up` and `labctl etcd restore` \
            with the inventory that is in it"
        ),
    }
}

fn names_with(running: &Running, version: Version) -> String {
    let names = running.iter().filter(|(_, it)| **it == version).map(|(name, _)| name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// Refuses bundles whose etcd skips a minor release: etcd is upgraded one at a time as well
/// ([its guide](https://etcd.io/docs/latest/upgrades/)). `etcds` are the versions of the steps in
/// order, the running one first.
pub fn refuse_etcd_jump(etcds: &[&str]) -> Option<CannotUpgrade> {
    let minor = |text: &str| -> Option<u16> { text.split('.').nth(1)?.parse().ok() };
    etcds.windows(2).find_map(|pair| {
        let (from, to) = (minor(pair[0])?, minor(pair[1])?);
        let what = format!("the bundles go from etcd {} to {}", pair[0], pair[1]);
        let help = "take bundles whose etcd goes one minor release at a time, and never back";
        (to > from + 1 || to < from).then(|| CannotUpgrade { what, help: help.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    fn running(nodes: &[(&str, &str)]) -> Running {
        nodes.iter().map(|(name, text)| ((*name).to_owned(), version(text))).collect()
    }

    fn told(running: &Running, to: &str, at_hand: &[&str]) -> Result<Vec<String>, String> {
        let at_hand: Vec<Version> = at_hand.iter().map(|text| version(text)).collect();
        steps(running, version(to), &at_hand)
            .map(|steps| steps.iter().map(Version::to_string).collect())
            .map_err(|refusal| refusal.what)
    }

    #[test]
    fn an_upgrade_takes_every_minor_release_once() {
        let lab = running(&[("controller-0", "1.30.14"), ("worker-0", "1.30.14")]);
        let at_hand = ["1.31.0", "1.33.13", "1.33.9", "1.34.4", "1.30.2"];
        assert_eq!(
            told(&lab, "1.35.4", &at_hand).expect("steps"),
            ["1.31.0", "1.32.13", "1.33.13", "1.34.4", "1.35.4"]
        );
        assert_eq!(told(&lab, "1.30.15", &[]).expect("steps"), ["1.30.15"]);
        assert!(told(&lab, "1.30.14", &[]).expect("steps").is_empty());
    }

    #[test]
    fn what_was_begun_is_finished_first() {
        let lab = running(&[("controller-0", "1.31.0"), ("worker-0", "1.30.14")]);
        assert_eq!(told(&lab, "1.32.2", &[]).expect("steps"), ["1.31.0", "1.32.2"]);
        assert_eq!(told(&lab, "1.31.0", &[]).expect("steps"), ["1.31.0"]);
        // A patch release later, nothing is lost by going there at once.
        assert_eq!(told(&lab, "1.31.9", &[]).expect("steps"), ["1.31.9"]);
    }

    #[test]
    fn there_is_no_way_back() {
        let lab = running(&[("controller-0", "1.31.0"), ("worker-0", "1.30.14")]);
        let what = "the lab runs 1.31.0, and Kubernetes cannot go back to 1.30.14";
        assert_eq!(told(&lab, "1.30.14", &[]).expect_err("refused"), what);
        assert_eq!(refuse_jump(&lab, version("1.30.14")).expect("refused").what, what);
    }

    #[test]
    fn a_release_that_nobody_has_is_asked_for() {
        let lab = running(&[("controller-0", "1.34.4")]);
        let what = "the upgrade goes through 1.35, and there is no bundle of it";
        assert_eq!(told(&lab, "1.36.3", &[]).expect_err("refused"), what);
    }

    #[test]
    fn a_kubelet_that_was_left_behind_is_named() {
        let lab = running(&[("controller-0", "1.34.4"), ("worker-7", "1.30.14")]);
        assert!(told(&lab, "1.35.4", &[]).expect_err("refused").contains("on worker-7, 1.30.14"));
        let older = running(&[("controller-0", "1.27.1"), ("worker-7", "1.24.17")]);
        assert!(told(&older, "1.28.0", &[]).is_err());
        let within = running(&[("controller-0", "1.28.1"), ("worker-7", "1.25.16")]);
        assert_eq!(told(&within, "1.28.1", &[]).expect("steps"), ["1.28.1"]);
    }

    #[test]
    fn up_goes_to_the_next_minor_release_and_no_further() {
        let lab = running(&[("controller-0", "1.33.1"), ("worker-0", "1.33.1")]);
        for fine in ["1.33.1", "1.33.9", "1.34.4"] {
            assert_eq!(refuse_jump(&lab, version(fine)), None, "{fine}");
        }
        let refusal = refuse_jump(&lab, version("1.36.3")).expect("refused");
        assert!(refusal.what.contains("3 minor releases ahead"), "{}", refusal.what);
        assert_eq!(refuse_jump(&Running::new(), version("1.36.3")), None, "a new lab");
    }

    #[test]
    fn etcd_goes_one_minor_release_at_a_time() {
        assert_eq!(refuse_etcd_jump(&["3.5.21", "3.6.16", "3.6.16", "3.7.0"]), None);
        assert!(refuse_etcd_jump(&["3.5.21", "3.7.0"]).is_some());
        assert!(refuse_etcd_jump(&["3.6.16", "3.5.21"]).is_some());
    }

    proptest! {
        #[test]
        fn steps_go_up_by_one_minor_release_and_end_where_they_should(
            versions in proptest::collection::vec((20u16..33, 0u16..9), 1..6),
            to in (20u16..34, 0u16..9),
        ) {
            let lab: Running = versions.iter().enumerate().map(|(number, (minor, patch))| {
                (format!("n{number}"), Version { major: 1, minor: *minor, patch: *patch })
            }).collect();
            let to = Version { major: 1, minor: to.0, patch: to.1 };
            if let Ok(steps) = steps(&lab, to, &[]) {
                let newest = *lab.values().max().expect("nodes");
                let oldest = *lab.values().min().expect("nodes");
                prop_assert_eq!(steps.last().copied(), (oldest < to).then_some(to));
                let mut at = newest;
                for step in steps {
                    prop_assert!(step >= at && step.minor <= at.minor + 1, "{} to {}", at, step);
                    at = step;
                }
            }
        }
    }
}
