//! Firewalls: warned of with what the lab needs.

use super::Stage;

#[test]
fn a_firewall_is_a_warning_with_what_each_role_needs() {
    let stage = Stage::own_machines();
    for (node, needs) in [
        ("lb-0", "allow what the lab needs: TCP port 6443 from all nodes"),
        (
            "controller-0",
            "allow what the lab needs: TCP ports 2379, 2380, 6443 and 10250 from all nodes",
        ),
        (
            "worker-0",
            "allow what the lab needs: TCP port 10250 from the controllers, everything from and \
            to pods, 10.200.0.0/16",
        ),
    ] {
        let found = stage.said(node, "firewalls", &["ufw"]);
        let warning = found.warnings.iter().find(|it| it.what.contains("firewall"));
        let warning = warning.expect("a warning");
        assert_eq!(
            (warning.what.as_str(), warning.help.as_str()),
            ("a firewall is active: ufw", needs)
        );
    }
    assert_eq!(stage.warned("client-0", "firewalls", &["ufw"]), [""; 0]);
    let mut firewalld = stage.clone();
    firewalld.runs("worker-0", "firewalld.service");
    assert_eq!(
        firewalld.warned("worker-0", "firewalls", &[]),
        ["worker-0: a firewall is active: firewalld"]
    );
    assert_eq!(
        stage.warned("worker-0", "firewalls", &["selinux"]),
        ["worker-0: SELinux enforces its policy, and labctl sets no labels"]
    );
}

#[test]
fn a_chain_that_refuses_before_the_lab_s_rules_is_a_warning() {
    let warned = |rules: &[&str]| Stage::own_machines().warned("worker-0", "forward", rules);
    let reject = "-A FORWARD -j REJECT --reject-with icmp-host-prohibited";
    let what = format!(
        "worker-0: packets between pods of different nodes are refused: `iptables {reject}` comes \
        first"
    );
    let ours = "-A FORWARD -j LABCTL-FORWARD";
    // The lab's own rule is put first.
    assert_eq!(warned(&["-P FORWARD ACCEPT", reject]), [""; 0]);
    assert_eq!(warned(&["-P FORWARD ACCEPT", reject, ours]), [what]);
    assert_eq!(warned(&["-P FORWARD ACCEPT", ours, reject]), [""; 0]);
    // A policy holds for what no rule has taken.
    assert_eq!(warned(&["-P FORWARD DROP"]), [""; 0]);
    assert_eq!(warned(&["-P FORWARD ACCEPT", "-A FORWARD -i eth1 -j DROP"]), [""; 0]);
}

#[test]
fn an_input_chain_that_refuses_is_a_firewall() {
    let warned = |rules: &[&str]| Stage::own_machines().warned("controller-0", "input", rules);
    let what = "controller-0: a firewall is active: the chain INPUT refuses what no rule accepts";
    let reject = "-A INPUT -j REJECT --reject-with icmp-host-prohibited";
    for rules in [&["-P INPUT ACCEPT", "-A INPUT -i lo -j ACCEPT", reject][..], &["-P INPUT DROP"]]
    {
        assert_eq!(warned(rules), [what]);
    }
    assert_eq!(warned(&["-P INPUT ACCEPT", "-A INPUT -i eth1 -j DROP"]), [""; 0]);
    let mut ufw = Stage::own_machines();
    ufw.answer("controller-0", "input", &["-P INPUT DROP"]);
    let said = ufw.warned("controller-0", "firewalls", &["ufw"]);
    assert_eq!(said, ["controller-0: a firewall is active: ufw"]);
}

#[test]
fn chains_of_another_kube_proxy_are_refused() {
    let mut stage = Stage::own_machines();
    let chains = ["KUBE-FORWARD", "KUBE-SERVICES", "KUBE-SVC-A", "KUBE-SVC-B"];
    let why = "worker-0: its firewall has chains of another cluster: KUBE-FORWARD, KUBE-SERVICES, \
               KUBE-SVC-A";
    assert_eq!(stage.refused("worker-0", "chains", &chains), [why]);
    assert_eq!(stage.refused("lb-0", "chains", &chains), [""; 0]);
    stage.worked_on("worker-0");
    assert_eq!(stage.refused("worker-0", "chains", &chains), [""; 0], "they are the lab's");
}
