//! The whole thing, for real: labs of real systemd nodes, real etcd, real Kubernetes, worked on with the real program.
//!
//! These stories need root, the programs that `make prerequisites` installs, and the bundle that `make bundle` makes.

#[path = "../support/lab.rs"]
mod lab;

mod backup;
mod bring_up;
mod certificates;
mod nodes;
mod plan;
mod teardown;

use lab::Lab;

/// What a node may be sent and may answer when nothing differs: questions and facts, and no byte of any binary, the
/// smallest of which has more than a million.
const A_PROBE: u64 = 250_000;

/// A second `up` on a lab that is as desired: nothing changes, nothing restarts, nothing is pushed, one round trip a node.
fn is_settled(lab: &Lab) {
    let before = lab.start_times();
    let again = lab.must(&["up"]);
    assert_eq!(again.changed(), 0, "{}", again.story());
    assert_eq!(again.all("task_ended").count(), 0, "no task is even begun:\n{}", again.story());
    assert_eq!(again.all("pushing").count(), 0, "no binary is sent");
    for row in again.summary()["nodes"].as_array().expect("rows") {
        assert_eq!(row["round_trips"], 1, "{row}");
        let bytes = |field: &str| row[field].as_u64().expect("a number");
        assert!(bytes("bytes_sent") < A_PROBE && bytes("bytes_received") < A_PROBE, "{row}");
    }
    assert_eq!(lab.start_times(), before, "no unit was restarted");
    assert_eq!(lab.run(&["plan"]).code, Some(0), "there is nothing to plan either");
}

fn passes_smoke(lab: &Lab, checks: usize) {
    let smoke = lab.must(&["smoke"]);
    assert_eq!(smoke.all("check").count(), checks, "every check was made:\n{}", smoke.story());
    assert!(smoke.all("check").all(|check| check["failure"].is_null()), "{}", smoke.story());
}

fn goes_without_a_trace(lab: &Lab) {
    assert_ne!(lab.traces(), Vec::<String>::new(), "a lab that is up can be seen");
    lab.must(&["down", "--yes"]);
    assert_eq!(lab.traces(), Vec::<String>::new(), "a lab that is down cannot");
}
