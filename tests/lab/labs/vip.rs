//! Two load balancers with one address between them.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{is_well, power_failure};
use crate::lab::Lab;
use crate::{goes_without_a_trace, passes_smoke};

/// The address, as the tests have it.
const ADDRESS: &str = "10.238.0.100";
/// Whoever asks must not wait longer for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Which load balancers have the address.
fn holders(lab: &Lab) -> Vec<&'static str> {
    let has = |node: &&str| {
        lab.try_on(node, &format!("ip -4 address show to {ADDRESS}"))
            .is_some_and(|shown| shown.contains(ADDRESS))
    };
    ["lb-0", "lb-1"].into_iter().filter(has).collect()
}

/// Whether the API answers at the address now.
fn answers() -> bool {
    let url = format!("https://{ADDRESS}:6443/readyz");
    let words = ["-qsfk", "--noproxy", "*", "--max-time", "0.5", "-o", "/dev/null", &url];
    Command::new("curl").args(words).status().expect("curl").success()
}

/// How long the API has not answered, from now on until it does for as long as [`PATIENCE`].
fn silence() -> Duration {
    let (begin, mut last_failure) = (Instant::now(), None);
    while last_failure.unwrap_or(begin).elapsed() < PATIENCE {
        if !answers() {
            last_failure = Some(Instant::now());
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "the API does not come back");
    }
    last_failure.map_or(Duration::ZERO, |last| last.duration_since(begin))
}

#[test]
#[allow(clippy::print_stdout, reason = "how long the API was silent")]
fn an_address_moves_when_its_holder_is_gone() {
    let lab = Lab::new("vip");
    lab.must(&["up"]);
    assert!(lab.within_two_minutes(|| holders(&lab).len() == 1), "{:?}", holders(&lab));
    let holder = holders(&lab)[0];
    let other = if holder == "lb-0" { "lb-1" } else { "lb-0" };
    assert!(answers());

    // A power failure.
    power_failure(&lab, holder);
    let silent = silence();
    println!("{holder} is killed: the API is silent for {silent:?}");
    assert!(silent < PATIENCE, "{silent:?}");
    assert_eq!(holders(&lab), [other]);

    // It comes back, and the address stays where it is.
    lab.must(&["up"]);
    assert_eq!(holders(&lab), [other]);

    // A load balancer without its nginx gives the address up by itself.
    lab.on(other, "systemctl stop nginx");
    let silent = silence();
    println!("nginx on {other} is stopped: the API is silent for {silent:?}");
    assert!(silent < PATIENCE, "{silent:?}");
    assert_eq!(holders(&lab), [holder]);
    lab.must(&["up"]);
    passes_smoke(&lab, 12);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
