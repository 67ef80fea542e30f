//! What would go wrong on a node is said before anything changes, all of it at once.

use crate::lab::Lab;
use crate::teardown::bare_nodes;

#[test]
fn what_would_go_wrong_is_said_at_once_and_changes_nothing() {
    let lab = Lab::new("single");
    bare_nodes(&lab);
    let node = lab.nodes().remove(0);
    let node = node.as_str();
    lab.on(
        node,
        "set -e
         systemd-run --quiet --unit=theirs perl -e 'use IO::Socket::INET;
           my $it = IO::Socket::INET->new(LocalPort => 2379, Listen => 1) or die; sleep'
         timeout 10 sh -c 'until ss -Hltn | grep -q :2379; do sleep 0.05; done'
         ip link add cni0 type bridge && ip address add 10.42.0.1/24 dev cni0",
    );
    for verb in ["plan", "up"] {
        let run = lab.run(&[verb]);
        assert_eq!(run.code, Some(1), "{}", run.story());
        let reasons: Vec<String> =
            run.all("task_failed").map(|failure| failure["reason"].to_string()).collect();
        for reason in [
            "port 2379, which etcd needs, is in use by perl (theirs.service)",
            "its bridge cni0 has the address 10.42.0.1/24 of another pod network",
        ] {
            assert!(reasons.iter().any(|it| it.contains(reason)), "{}", run.story());
        }
        assert_eq!(run.all("task_ended").count(), 0, "{}", run.story());
        assert_eq!(lab.on(node, "ls -A /var/lib/labctl 2>/dev/null || true"), "");
    }
    // Once the causes are gone, there is nothing to refuse.
    lab.on(node, "systemctl stop theirs && ip link delete cni0");
    let plan = lab.run(&["plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    assert_eq!(plan.all("task_failed").count(), 0, "{}", plan.story());
}
