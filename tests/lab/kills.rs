//! `up` ends in a moment that nobody has chosen, and the next one brings the lab up all the same.
//!
//! `make kills` does each fifty times and writes docs/robustness.md.

use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::labs::{is_well, power_failure};
use crate::numbers::Numbers;
use crate::page;

/// When a run that was struck hangs.
const HANGS: Duration = Duration::from_secs(300);

/// A controller, two workers, and another network than that of other labs, so that both stories may
/// be told at the same time.
fn three_nodes(subnet: &str) -> Lab {
    let node = |name: &str, host: u8, roles: &str| {
        format!("  - {{ name: {name}, address: 10.231.0.{host}, roles: [{roles}] }}\n")
    };
    let one = node("node-0", 10, "controller, worker, loadbalancer, client");
    let three = [
        node("controller-0", 10, "controller, loadbalancer, client"),
        node("worker-0", 20, "worker"),
        node("worker-1", 21, "worker"),
    ];
    Lab::changed("single", &[(&one, &three.concat()), ("10.231.0", subnet)])
}

/// A moment within `whole`.
fn moment(whole: Duration, lots: &mut Numbers) -> Duration {
    let whole = usize::try_from(whole.as_millis()).expect("a run is short");
    Duration::from_millis(lots.below(whole) as u64)
}

/// What happened in all rounds.
struct Rounds {
    tried: u64,
    /// The part of them in which `up` was not through yet.
    in_time: u64,
    /// The longest `up` that was struck, and the longest that came after it.
    longest_struck: Duration,
    longest_after: Duration,
}

/// Brings the lab up from nothing, over and over; `strike` strikes `up` at a moment drawn by lot
/// and says whether it was still running. Each time the next `up` makes it a lab.
#[allow(clippy::print_stdout, reason = "fifty rounds take long, and show that they do not hang")]
fn rounds(lab: &Lab, strike: impl Fn(Duration, &mut Numbers) -> bool) -> Rounds {
    let tried = std::env::var("KILLS").map_or(1, |text| text.parse().expect("a number"));
    let seed = std::env::var("KILLS_SEED").map_or(20_261_127, |text| text.parse().expect("a seed"));
    // The first one makes what all others find, such as the nodes' base image.
    lab.must(&["up"]);
    lab.must(&["down", "--yes"]);
    let began = Instant::now();
    lab.must(&["up"]);
    let whole = began.elapsed();
    let mut lots = Numbers(seed);
    let mut all =
        Rounds { tried, in_time: 0, longest_struck: Duration::ZERO, longest_after: Duration::ZERO };
    for round in 1..=tried {
        lab.must(&["down", "--yes"]);
        let moment = moment(whole, &mut lots);
        let began = Instant::now();
        all.in_time += u64::from(strike(moment, &mut lots));
        let struck = began.elapsed();
        all.longest_struck = all.longest_struck.max(struck);
        let began = Instant::now();
        lab.must(&["up"]);
        let after = began.elapsed();
        all.longest_after = all.longest_after.max(after);
        println!("round {round} of {tried}: struck at {moment:?}, ended at {struck:?}, {after:?}");
        assert_eq!(lab.run(&["plan"]).code, Some(0), "round {round}, struck at {moment:?}");
        let smoke = lab.must(&["smoke"]);
        assert!(smoke.all("check").all(|check| check["failure"].is_null()), "{}", smoke.story());
    }
    is_well(lab);
    all
}

/// An `up` that runs, and its events. The channel closes when it has said its last word.
struct Up {
    child: Child,
    events: Receiver<String>,
}

impl Up {
    fn begin(lab: &Lab) -> Self {
        let (child, lines) = lab.up_begun();
        let (say, events) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(say.send(line)));
        });
        Self { child, events }
    }

    /// Until so much time has passed, or an event that `is_it` picks; whether it still runs.
    fn until(&self, moment: Duration, is_it: impl Fn(&str) -> bool) -> bool {
        let end = Instant::now() + moment;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) if is_it(&event) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// Writes what was seen into its place in docs/robustness.md.
fn seen(mark: &str, struck: &str, rounds: &Rounds) {
    let day = time::OffsetDateTime::now_utc().date();
    let Rounds { tried, in_time, longest_struck, longest_after } = rounds;
    let text = format!(
        "On {day}, {tried} of {tried}: the next `up` ended well, `plan` found nothing to do, and \
         smoke passed.\nIn {in_time} of them `up` was not through when {struck}. The longest run \
         that was struck took {} s, the\nlongest that came after one {} s.\n",
        longest_struck.as_secs(),
        longest_after.as_secs()
    );
    if std::env::var_os("KILLS_WRITE").is_some() {
        page::write("docs/robustness.md", &format!("written: {mark}"), &text);
    }
}

#[test]
fn a_workstation_that_dies_in_any_moment_is_no_harm() {
    let lab = three_nodes("10.236.0");
    let all = rounds(&lab, |moment, _| {
        let mut up = Up::begin(&lab);
        let runs = up.until(moment, |_| false);
        up.child.kill().expect("it can be killed");
        up.child.wait().expect("it ends");
        runs
    });
    seen("workstation", "it was killed", &all);
}

#[test]
fn a_node_without_power_in_any_moment_is_no_harm() {
    let lab = three_nodes("10.237.0");
    let all = rounds(&lab, |moment, lots| {
        let mut up = Up::begin(&lab);
        let is_there = |event: &str| event.contains(r#""event":"node_connected""#);
        assert!(up.until(HANGS, is_there), "a run ends before it has begun");
        let runs = up.until(moment, |_| false);
        let nodes = ["controller-0", "worker-0", "worker-1"];
        power_failure(&lab, nodes[lots.below(3)]);
        assert!(!up.until(HANGS, |_| false), "`up` hangs on a node that is gone");
        up.child.wait().expect("it ends");
        runs
    });
    seen("power", "the power went", &all);
}
