//! Kernel settings, routes and `/etc/hosts`: what a node has beside files.

use std::collections::BTreeMap;

use labctl::engine::probe;
use labctl::module::State;
use labctl::plan;
use labctl::transport::Transport;
use labctl::transport::shell::Shell;

use super::*;
use crate::support::machine::{carry_out, play};

#[tokio::test]
async fn kernel_settings_hold_now_and_after_a_reboot() {
    let machine = Machine::new();
    let desired =
        [sysctl("net.ipv4.ip_forward", "1"), sysctl("net.ipv4.ip_local_port_range", "20000 60000")];
    let before = machine.sh("cat /proc/sys/net/ipv4/ip_forward");
    machine.settles(&desired).await;
    assert_eq!(
        machine.sh(
            "cat /proc/sys/net/ipv4/ip_forward /etc/sysctl.d/90-labctl-net.ipv4.ip_forward.conf"
        ),
        "1\nnet.ipv4.ip_forward = 1"
    );
    assert!(
        machine.record().contains(&format!("sysctl net.ipv4.ip_forward {before}")),
        "{:?}",
        machine.record()
    );
    machine.sh("rm /etc/sysctl.d/90-labctl-net.ipv4.ip_forward.conf");
    assert_eq!(why(&machine.settles(&desired).await.found), "a reboot would lose it");
    machine.sh("echo 0 > /proc/sys/net/ipv4/ip_forward");
    assert_eq!(why(&machine.settles(&desired).await.found), "0 should be 1");
    let originals = machine
        .record()
        .iter()
        .filter(|line| line.starts_with("sysctl net.ipv4.ip_forward"))
        .count();
    assert_eq!(
        originals,
        1,
        "the value that comes back is the first that was found: {:?}",
        machine.record()
    );
}

#[tokio::test]
async fn a_kernel_setting_that_does_not_exist_fails_and_is_not_recorded() {
    let machine = Machine::new();
    let converged = machine.converge(&[sysctl("net.ipv4.no_such_key", "1")]).await;
    assert!(
        converged.failure().stderr.join("\n").contains("no_such_key"),
        "{:?}",
        converged.failure()
    );
    assert!(!machine.sh("cat /var/lib/labctl/record 2>/dev/null || :").contains("sysctl "));
}

/// A machine with an address in 10.240.0.0/24.
fn connected() -> Machine {
    let machine = Machine::new();
    machine.sh("ip link add left type veth peer name right && ip addr add 10.240.0.10/24 dev left");
    machine.sh("ip link set left up && ip link set right up");
    machine
}

#[tokio::test]
async fn routes_are_set_and_set_right_and_those_that_are_left_over_go() {
    let machine = connected();
    machine.sh("ip route add 192.0.2.0/24 via 10.240.0.9; ip route add 10.201.0.0/24 via \
        10.240.0.9 proto static");
    let own = ("10.200.0.0/24", "10.240.0.10");
    let desired = [routes(
        &[("10.200.1.0/24", "10.240.0.21"), own, ("10.209.9.9/32", "10.240.0.22")],
        Some(1),
    )];
    assert_eq!(why(&machine.settles(&desired).await.found), "10.200.1.0/24 is missing");
    assert_eq!(machine.sh("ip route show 10.200.0.0/24"), "", "no route to what is the node's own");
    machine.sh("ip route replace 10.200.1.0/24 via 10.240.0.99");
    assert_eq!(
        why(&machine.settles(&desired).await.found),
        "is `10.200.1.0/24 via 10.240.0.99 dev left`"
    );
    assert_eq!(machine.record(), ["route 10.200.1.0/24", "route 10.209.9.9"]);

    machine.sh("ip route add 10.200.7.0/24 via 10.240.0.27; ip route add 10.129.0.0/16 dev right");
    let found = machine.settles(&desired).await.found;
    assert!(why(&found).ends_with(" is left over"), "{found:?}");
    assert_eq!(
        machine.sh("ip route show root 10.128.0.0/9; ip route show 192.0.2.0/24"),
        "10.200.1.0/24 via 10.240.0.21 dev left \n10.201.0.0/24 via 10.240.0.9 dev left proto \
        static \n\
         10.209.9.9 via 10.240.0.22 dev left \n10.240.0.0/24 dev left proto kernel scope link src \
        10.240.0.10 \n\
         192.0.2.0/24 via 10.240.0.9 dev left"
    );
}

#[tokio::test]
async fn a_route_that_was_there_with_another_gateway_is_remembered() {
    let machine = connected();
    machine.sh(
        "ip route add 10.200.1.0/24 via 10.240.0.99; ip route add 10.200.2.0/24 via 10.240.0.22",
    );
    machine.sh("ip route add 10.200.3.0/24 via 10.240.0.98 metric 7");
    let desired = [routes(
        &[
            ("10.200.1.0/24", "10.240.0.21"),
            ("10.200.2.0/24", "10.240.0.22"),
            ("10.200.3.0/24", "10.240.0.23"),
        ],
        None,
    )];
    machine.settles(&desired).await;
    machine.sh("ip route replace 10.200.1.0/24 via 10.240.0.24");
    machine.settles(&desired).await;
    // The one with a metric is still there, behind ours.
    assert_eq!(
        machine.record(),
        ["route 10.200.1.0/24 via 10.240.0.99 dev left", "route 10.200.3.0/24"]
    );
}

#[tokio::test]
async fn ipv6_routes_are_kept_as_those_of_ipv4_are() {
    let machine = connected();
    machine.sh("ip address add fd00:240::10/64 dev left nodad");
    machine.sh("ip route add fd00:200:0:3::/64 via fd00:240::99");
    let wanted = [(1, 21), (3, 23)].map(|(part, node)| Route {
        to: format!("fd00:200:0:{part}::/64").parse().expect("a network"),
        via: format!("fd00:240::{node}").parse().expect("an address"),
    });
    let within = "fd00:200::/56".parse().expect("a network");
    let routes = Set::new(wanted.to_vec());
    let desired = [Desired::Routes(Routes { within, routes })];
    let found = machine.settles(&desired).await.found;
    assert_eq!(why(&found), "fd00:200:0:1::/64 is missing");
    let record = machine.record();
    assert_eq!(record[0], "route fd00:200:0:1::/64");
    assert!(record[1].starts_with("route fd00:200:0:3::/64 via fd00:240::99 dev left metric 1024"));
    assert_eq!(record.len(), 2, "{record:?}");
    machine.sh("ip route add fd00:200:0:7::/64 via fd00:240::27");
    let found = machine.settles(&desired).await.found;
    assert!(why(&found).ends_with(" is left over"), "{found:?}");
    let left = machine.sh("ip -6 route show root fd00:200::/56 | cut -d' ' -f1-3");
    let ways: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    assert_eq!(left, ways.join("\n"));
}

#[tokio::test]
async fn names_in_hosts_are_ours_only_where_they_are_marked() {
    let machine = Machine::new();
    let theirs =
        "127.0.0.1 localhost\n10.0.0.9 worker-0\n10.240.0.7 mine # labctl-mine\n10.0.0.8 last";
    machine.sh(&format!(
        "printf '{theirs}' > /etc/hosts; chmod 640 /etc/hosts; chown daemon /etc/hosts"
    ));
    let desired = [hosts(&[("worker-0", 20), ("a.b", 1), ("axb", 2)])];
    assert_eq!(why(&machine.settles(&desired).await.found), "missing");
    let again = machine.settles(&[hosts(&[("worker-0", 21), ("axb", 2)])]).await;
    assert_eq!(why(&again.found), "`10.240.0.21 worker-0` is missing");
    let ours = "10.240.0.21 worker-0 # labctl\n10.240.0.2 axb # labctl";
    assert_eq!(machine.sh("cat /etc/hosts"), format!("{theirs}\n{ours}"));
    assert_eq!(
        machine.sh("stat -c '%a %U' /etc/hosts; ls -A /etc | grep hosts.labctl || :"),
        "640 daemon"
    );
    machine.sh("echo '10.240.0.9 left # labctl' >> /etc/hosts");
    let left = machine.settles(&[hosts(&[("worker-0", 21), ("axb", 2)])]).await;
    assert_eq!(why(&left.found), "`10.240.0.9 left` is left over");
    assert_eq!(machine.sh("cat /var/lib/labctl/originals/etc/hosts"), theirs, "as it was at first");
    assert_eq!(
        machine.record(),
        ["unended /etc/hosts 10.0.0.8 last", "kept /etc/hosts", "hosts labctl"]
    );
    machine.sh("rm /etc/hosts");
    machine.settles(&desired).await;
}

#[tokio::test]
async fn hosts_that_are_a_mount_of_their_own_are_written_in_place() {
    let machine = Machine::new();
    machine.sh(
        "printf '127.0.0.1 localhost\n' > /shared.hosts; mount --bind /shared.hosts /etc/hosts",
    );
    machine.settles(&[hosts(&[("worker-0", 20), ("worker-1", 21)])]).await;
    machine.settles(&[hosts(&[("w", 1)])]).await;
    let both = "127.0.0.1 localhost\n10.240.0.1 w # labctl";
    assert_eq!(machine.sh("cat /etc/hosts"), both);
    assert_eq!(machine.sh("cat /shared.hosts"), both, "it is still the same file");
}

/// A full disk: the names do not fit, and the file is as it was.
#[tokio::test]
async fn a_full_disk_leaves_hosts_as_they_were() {
    for bound in [false, true] {
        let machine = Machine::new();
        // Everything below /etc or only the mounted file on a disk of 64 KB; the record is
        // elsewhere.
        machine.sh("mkdir /small && mount -t tmpfs -o size=64k tmpfs /small");
        // What a shell needs of /etc.
        machine.sh("mkdir /small/alternatives && cp -a /etc/alternatives/awk /small/alternatives");
        machine.sh("printf '127.0.0.1 localhost\n10.0.0.9 printer\n' > /small/hosts");
        machine.sh(match bound {
            true => "mount --bind /small/hosts /etc/hosts",
            false => "mount --bind /small /etc",
        });
        let name = |number: u32| (format!("worker-{number}"), number as u8);
        let names: Vec<(String, u8)> = (0..1000).map(name).collect();
        let names: Vec<(&str, u8)> =
            names.iter().map(|(name, last)| (name.as_str(), *last)).collect();
        machine.sh("head -c 40000 /dev/zero > /small/filler");
        let converged = machine.converge(&[hosts(&names)]).await;
        let said = converged.failure().stderr.join("\n");
        assert!(said.contains("/etc/hosts is left as it was: there is no room"), "{said}");
        assert_eq!(
            machine.sh("cat /etc/hosts"),
            "127.0.0.1 localhost\n10.0.0.9 printer",
            "mount: {bound}"
        );
        assert_eq!(
            machine.sh("ls -A /small"),
            "alternatives\nfiller\nhosts",
            "nothing else is left on the full disk"
        );
        machine.sh("rm /small/filler");
        machine.settles(&[hosts(&names)]).await;
        assert!(
            machine
                .sh("cat /etc/hosts")
                .starts_with("127.0.0.1 localhost\n10.0.0.9 printer\n10.240.0.0 worker-0")
        );
    }
}

#[tokio::test]
async fn nothing_within_a_lab_goes_through_a_proxy_and_packages_do() {
    let machine = Machine::new();
    let login = ["env", "https_proxy=http://192.0.2.250:3128", "NO_PROXY=localhost"];
    let prefix = machine.prefix().iter().map(String::as_str).chain(login);
    let node = Transport::Shell(Shell::with_prefix(prefix.map(str::to_owned).collect()));
    machine.shim("apt-get", "echo \"$NO_PROXY $no_proxy $https_proxy\" >> /apt");
    let asked = "echo \"$NO_PROXY $no_proxy\" >> /checks; test -e /ran";
    let package = WantedPackage { name: "a".into(), proof: Some("/none".into()) };
    let desired = [
        command(
            "echo \"$NO_PROXY $no_proxy\" > /ran; outside sh -c 'echo $NO_PROXY' >> /ran",
            asked,
        ),
        Desired::Package(Package { names: vec![package], family: &FAMILIES[0] }),
    ];
    let questions = desired.iter().flat_map(State::probe).collect();
    let facts = probe::ask(&node, &questions).await.expect("a whole answer");
    let facts = BTreeMap::from([("node".to_owned(), facts)]);
    let plan = plan::diff::plan(&[play("test", &[], &["node"], &desired)], &facts);
    carry_out(plan, &[("node", node)], 10).await;
    assert_eq!(machine.sh("cat /ran"), "* *\nlocalhost");
    assert_eq!(machine.sh("sort -u /checks"), "* *");
    let through = "localhost localhost http://192.0.2.250:3128";
    assert_eq!(machine.sh("sort -u /apt"), through, "the proxy is the packages'");
}
