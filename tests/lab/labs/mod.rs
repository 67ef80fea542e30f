//! The labs of `docs/labs/`: each comes up with one command, shows what it is there to show, and
//! goes without a trace.

mod dmuc;
mod multinode;

use crate::lab::Lab;

/// What kubectl prints on this machine, through the lab's own kubeconfig. It must succeed.
fn said(lab: &Lab, arguments: &str) -> String {
    let output = lab.kubectl(arguments);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments}: {why}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until kubectl prints what `right` accepts, and returns that.
fn in_time(lab: &Lab, arguments: &str, right: impl Fn(&str) -> bool) -> String {
    let last = std::cell::RefCell::new(String::new());
    let came = lab.within_two_minutes(|| {
        *last.borrow_mut() = said(lab, arguments);
        right(&last.borrow())
    });
    assert!(came, "kubectl {arguments}: {}", last.borrow());
    last.into_inner()
}
