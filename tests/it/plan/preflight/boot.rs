//! What the next boot, or the next restart of somebody else's program, would change.

use labctl::cluster::{Cluster, PodNetwork};

use super::Stage;
use crate::support::labs;

#[test]
fn swap_that_comes_back_is_a_warning_on_workers() {
    let stage = Stage::own_machines();
    let unit = ["/etc/systemd/system/swap.target.wants/swap.unit.swap"];
    let what = format!("worker-0: the next boot turns swap on: {}", unit[0]);
    assert_eq!(stage.warned("worker-0", "swap", &unit), [what]);
    assert_eq!(stage.warned("controller-0", "swap", &unit), [""; 0]);
    assert_eq!(stage.warned("worker-0", "swap", &[]), [""; 0]);
    assert_eq!(Stage::local().warned("worker-0", "swap", &unit), [""; 0]);
}

#[test]
fn settings_in_files_that_come_later_are_a_warning() {
    let warned = |lines: &[&str]| Stage::own_machines().warned("worker-0", "sysctls", lines);
    let key = "net.ipv4.ip_forward";
    for later in [
        "/etc/sysctl.d/99-hardening.conf=net.ipv4.ip_forward = 0",
        "/usr/lib/sysctl.d/99-hardening.conf=-net/ipv4/ip_forward=0",
    ] {
        let what = format!("worker-0: the next boot sets {key} to 0, not 1");
        assert_eq!(warned(&[later]), [what], "{later}");
    }
    for fine in [
        "/etc/sysctl.d/99-hardening.conf=net.ipv4.ip_forward = 1",
        "/etc/sysctl.d/10-network.conf=net.ipv4.ip_forward = 0",
        "/etc/sysctl.d/99-hardening.conf=net.ipv4.conf.all.forwarding = 0",
        "/etc/sysctl.d/99-hardening.conf=",
        "nonsense",
    ] {
        assert_eq!(warned(&[fine]), [""; 0], "{fine}");
    }
    // The last one wins.
    let both = [
        "/etc/sysctl.d/98-a.conf=net.ipv4.ip_forward = 0",
        "/run/sysctl.d/99-b.conf=net.ipv4.ip_forward = 1",
    ];
    assert_eq!(warned(&both), [""; 0]);
}

#[test]
fn a_network_daemon_that_forgets_routes_is_a_warning() {
    let mut stage = Stage::own_machines();
    assert_eq!(stage.warned("worker-0", "keepsroutes", &[]), [""; 0], "it does not run");
    stage.runs("worker-0", "systemd-networkd.service");
    let what = "worker-0: systemd-networkd removes the routes to other workers' pods when it \
                restarts";
    assert_eq!(stage.warned("worker-0", "keepsroutes", &[]), [what]);
    let told = ["/etc/systemd/networkd.conf.d/labctl.conf"];
    assert_eq!(stage.warned("worker-0", "keepsroutes", &told), [""; 0]);
    let mut tunnels = Stage::of(vxlan());
    tunnels.runs("worker-0", "systemd-networkd.service");
    assert_eq!(tunnels.warned("worker-0", "keepsroutes", &[]), [""; 0]);
}

#[test]
fn tunnels_over_a_network_with_smaller_packets_are_a_warning() {
    let warned = |mut stage: Stage, mtu: &str| {
        stage.answer("worker-0", "addresses", &["ens10 10.240.0.20/24"]);
        stage.warned("worker-0", "mtu", &["lo 65536", mtu])
    };
    let what = "worker-0: ens10 has an MTU of 1450, and the tunnels between nodes need 1500";
    assert_eq!(warned(Stage::of(vxlan()), "ens10 1450"), [what]);
    assert_eq!(warned(Stage::of(vxlan()), "ens10 1500"), [""; 0]);
    assert_eq!(warned(Stage::own_machines(), "ens10 1450"), [""; 0]);
}

fn vxlan() -> Cluster {
    let mut cluster = Cluster { local: None, ..labs::sandbox() };
    cluster.network.mode = PodNetwork::Vxlan;
    cluster
}

#[test]
fn little_memory_hosts_of_cloud_init_and_proxies_are_warnings() {
    let stage = Stage::own_machines();
    for (node, question, answer, what) in [
        (
            "controller-0",
            "memory",
            "1014000",
            "it has 1014 MB of memory; a controller should have 1700 MB",
        ),
        ("worker-0", "memory", "500000", "it has 500 MB of memory; a worker should have 900 MB"),
        (
            "worker-0",
            "cloudhosts",
            "/etc/cloud/cloud.cfg",
            "cloud-init writes /etc/hosts at every boot, without the lab's nodes",
        ),
        (
            "worker-0",
            "proxies",
            "HTTPS_PROXY",
            "every login gets a proxy from /etc/environment: HTTPS_PROXY",
        ),
    ] {
        assert_eq!(stage.warned(node, question, &[answer]), [format!("{node}: {what}")]);
        assert_eq!(stage.refused(node, question, &[answer]), [""; 0]);
    }
    assert_eq!(stage.warned("worker-0", "memory", &["1014000"]), [""; 0]);
    assert_eq!(stage.warned("worker-0", "memory", &["much"]), [""; 0]);
}
