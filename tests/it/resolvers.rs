//! The resolvers that pods get on a node: the node's own, but for those that only the node reaches.

use labctl::module::Desired;
use labctl::plan::Tasks;
use labctl::playbook::standard;

use crate::support::labs;
use crate::support::machine::Machine;
use crate::support::workshop::Workshop;

/// What `/etc/kubernetes/resolv.conf` has on a machine with these two files.
fn for_pods(own: &str, of_systemd: Option<&str>) -> String {
    let workshop = Workshop::new(labs::sandbox());
    let plays = workshop.expand(&standard::find("up", None).expect("a playbook")).expect("a plan");
    let run = Tasks::of(&plays)
        .desired("worker-0")
        .find_map(|desired| match desired {
            Desired::Command(it) if it.run.contains("/etc/kubernetes/resolv.conf") => Some(&it.run),
            _ => None,
        })
        .expect("the task");
    let machine = Machine::new();
    machine.sh(&format!("printf '{own}' > /own && mount --bind /own /etc/resolv.conf"));
    if let Some(text) = of_systemd {
        machine.sh(&format!(
            "mkdir -p /run/systemd/resolve && printf '{text}' > /run/systemd/resolve/resolv.conf"
        ));
    }
    machine.sh(&format!("mkdir -p /etc/kubernetes\nclaim() {{ :; }}\n{run}"));
    machine.sh("cat /etc/kubernetes/resolv.conf")
}

#[test]
fn pods_get_the_resolvers_of_their_node_without_those_that_only_the_node_reaches() {
    let plain = "search lab.test\\nnameserver 192.0.2.53\\n";
    assert_eq!(for_pods(plain, None), "search lab.test\nnameserver 192.0.2.53");
    for here in ["nameserver\\t127.0.0.1", "nameserver 127.0.0.53", "  nameserver  ::1"] {
        let mixed = format!("{here}\\nnameserver\\t192.0.2.53\\n");
        assert_eq!(for_pods(&mixed, None), "nameserver\t192.0.2.53", "{here}");
        let stub = format!("{here}\\n");
        assert_eq!(for_pods(&stub, Some(plain)), "search lab.test\nnameserver 192.0.2.53");
        assert_eq!(for_pods(&stub, None), "nameserver 10.240.0.20", "refuses at once");
    }
}
