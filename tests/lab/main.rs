//! The whole thing, for real: labs of real systemd nodes, real etcd, real Kubernetes, worked on with the real program.
//!
//! These stories need root, the programs that `make prerequisites` installs, and the bundle that `make bundle` makes.

#[path = "../support/lab.rs"]
mod lab;

mod bring_up;
mod teardown;

use lab::Lab;

/// A second `up` on a lab that is as desired: nothing changes, nothing restarts, one round trip a node.
fn is_settled(lab: &Lab) {
    let before = lab.start_times();
    let again = lab.must(&["up"]);
    assert_eq!(again.changed(), 0, "{}", again.story());
    assert_eq!(again.all("task_ended").count(), 0, "no task is even begun:\n{}", again.story());
    for row in again.summary()["nodes"].as_array().expect("rows") {
        assert_eq!(row["round_trips"], 1, "{row}");
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
