//! The pod network's unit on a machine in namespaces: what the kernel knows of the other nodes.

use labctl::cluster::PodNetwork;
use labctl::plan::files;
use labctl::playbook::standard;

use crate::support::labs;
use crate::support::machine::Machine;
use crate::support::workshop::Workshop;

#[test]
fn a_vxlan_knows_every_other_node_and_no_way_to_itself() {
    let mut cluster = labs::sandbox();
    cluster.network.mode = PodNetwork::Vxlan;
    let workshop = Workshop::new(cluster);
    let plays = workshop.expand(&standard::find("up", None).expect("a playbook")).expect("a plan");
    let files = files::files_of(&plays, "worker-0");
    let file = |name: &str| {
        let file = files.iter().find(|file| file.is_called(name)).expect("a file of the node");
        String::from_utf8_lossy(file.bytes.expect("no secret")).into_owned()
    };
    let machine = Machine::new();
    let place = |path: &str, text: &str| {
        machine.sh(&format!("mkdir -p /etc/kubernetes\ncat > {path} <<'EOF'\n{text}EOF"))
    };
    place("/etc/kubernetes/pod-routes", &file("pod-routes"));
    place("/usr/local/sbin/labctl-vxlan-left", &file("labctl-vxlan-left"));
    let unit = file("labctl-pod-network.service");
    let run = |when: &str| {
        let commands = unit.lines().filter_map(|line| line.strip_prefix(when)?.strip_prefix('='));
        for command in commands.filter(|it| it.contains("vxlan") || it.contains("pod-routes")) {
            match command.strip_prefix('-') {
                Some(may_fail) => drop(machine.attempt(may_fail)),
                None => drop(machine.sh(command)),
            }
        }
        [
            "ip -4 route show dev labctl-vxlan",
            "ip -4 neighbour show dev labctl-vxlan",
            "bridge fdb show dev labctl-vxlan",
        ]
        .map(|shown| machine.sh(&format!("{shown} | sort")))
    };
    let [routes, neighbours, hardware] = run("ExecStart");
    assert_eq!(
        routes,
        "10.200.1.0/24 via 198.18.0.21 onlink \n198.18.0.10 scope link \n198.18.0.11 scope link \n\
         198.18.0.21 scope link"
    );
    let permanent = |end: u8| format!("198.18.0.{end} lladdr 02:00:0a:f0:00:{end:02x} PERMANENT");
    assert_eq!(neighbours, [10, 11, 21].map(permanent).join(" \n"));
    let peer = |end: u8| format!("02:00:0a:f0:00:{end:02x} dst 10.240.0.{end} self permanent");
    assert_eq!(hardware, [10, 11, 21].map(peer).join("\n"));
    assert_eq!(machine.sh("sh /usr/local/sbin/labctl-vxlan-left"), "", "nobody has left");
    // A reload adds what is missing, and changes nothing else.
    machine.sh("ip route del 198.18.0.11 && ip neighbour del 198.18.0.11 dev labctl-vxlan");
    assert_eq!(run("ExecReload"), [routes, neighbours, hardware]);
}

#[test]
fn pods_are_forwarded_before_a_rule_of_somebody_s_refuses_everything() {
    let workshop = Workshop::new(labs::sandbox());
    let plays = workshop.expand(&standard::find("up", None).expect("a playbook")).expect("a plan");
    let files = files::files_of(&plays, "worker-0");
    let unit = files.iter().find(|file| file.is_called("labctl-pod-network.service"));
    let unit =
        String::from_utf8_lossy(unit.expect("a unit").bytes.expect("no secret")).into_owned();
    let machine = Machine::new();
    machine.sh("iptables -N KUBE-FORWARD && iptables -A FORWARD -j KUBE-FORWARD");
    machine.sh("iptables -A FORWARD -j REJECT");
    for _ in 0..2 {
        for command in unit.lines().filter_map(|line| line.strip_prefix("ExecStart=")) {
            match command.strip_prefix('-') {
                Some(may_fail) => drop(machine.attempt(may_fail)),
                None if command.contains("iptables") => {
                    drop(machine.sh(&command.replace("$$", "$")));
                }
                None => {}
            }
        }
        let rules = machine.sh("iptables -S FORWARD | grep -e -A | cut -d ' ' -f 2-4");
        let expected =
            ["KUBE-FORWARD", "LABCTL-FORWARD", "REJECT"].map(|it| format!("FORWARD -j {it}"));
        assert_eq!(rules, expected.join("\n"), "kube-proxy's own come first");
    }
}
