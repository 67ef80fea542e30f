//! Networks: those of pods and Services beside what the machine has already.

use labctl::cluster::PodNetwork;

use super::{Stage, told};

#[test]
fn plain_routes_need_neighbours() {
    let mut stage = Stage::own_machines();
    stage.answer("worker-0", "addresses", &["eth0 10.240.0.20/32"]);
    let found = stage.said("worker-0", "routes", &["10.240.0.1 dev eth0 scope link"]);
    assert_eq!(
        found.obstacles[0].what,
        "worker-1 (10.240.0.21) is behind a router, and `network.mode` is `routes`"
    );
    let one_network = ["10.240.0.0/24 dev eth0 proto kernel scope link src 10.240.0.20"];
    assert_eq!(stage.said("worker-0", "routes", &one_network).obstacles, []);
    stage.worked_on("worker-0");
    let far = ["10.240.0.1 dev eth0 scope link"];
    assert_eq!(stage.said("worker-0", "routes", &far).obstacles, []);
}

#[test]
fn another_network_s_configuration_that_comes_first_is_refused() {
    let refused = |names: &[&str], change: fn(&mut Stage)| {
        let mut stage = Stage::own_machines();
        change(&mut stage);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        stage.on("worker-0").names.insert("/etc/cni/net.d".to_owned(), names);
        told(&stage.findings().obstacles)
    };
    let calico = "worker-0: pods would get another pod network: /etc/cni/net.d/10-calico.conflist \
                  comes before 10-labctl.conflist";
    let left = ["10-calico.conflist", "calico-kubeconfig"];
    assert_eq!(refused(&left, |_| {}), [calico]);
    let ours = ["10-labctl.conflist", "20-other.conf", "99-loopback.conf", "00-notes.txt"];
    assert_eq!(refused(&ours, |_| {}), [""; 0]);
    // The lab may have come to live with it: it is a warning then.
    assert_eq!(refused(&left, |stage| stage.worked_on("worker-0")), [""; 0]);
    // A lab that leaves the pod network to an add-on has no configuration of its own.
    let without = |stage: &mut Stage| {
        let (mut cluster, facts) = (stage.cluster.clone(), stage.facts.clone());
        cluster.network.mode = PodNetwork::None;
        *stage = Stage { facts, ..Stage::of(cluster) };
        // Their units are the lab's, of before that.
        ["controller-0", "controller-1"].iter().for_each(|node| stage.worked_on(node));
    };
    assert_eq!(refused(&left, without), [""; 0]);
}

#[test]
fn a_bridge_of_an_earlier_network_is_refused() {
    let stage = Stage::own_machines();
    let (own, left) = ("eth0 10.240.0.20/24", "cni0 10.42.0.1/24");
    assert_eq!(
        stage.refused("worker-0", "addresses", &[own, left]),
        ["worker-0: its bridge cni0 has the address 10.42.0.1/24 of another pod network; this \
            lab's is 10.200.0.0/24"]
    );
    let ours = stage.refused("worker-0", "addresses", &[own, "cni0 10.200.0.1/24"]);
    assert_eq!(ours, [""; 0]);
    // A controller has no pods.
    let controller = ["eth0 10.240.0.10/24", left];
    assert_eq!(stage.refused("controller-0", "addresses", &controller), [""; 0]);
}

#[test]
fn routes_into_the_lab_s_ranges_are_refused_unless_they_are_the_lab_s_own() {
    let stage = Stage::own_machines();
    for (route, what) in [
        (
            "10.32.0.0/24 via 192.0.2.1 dev tun0",
            "its route to 10.32.0.0/24 via 192.0.2.1 is in the lab's services, 10.32.0.0/24",
        ),
        (
            "10.200.7.0/24 dev virbr0 proto kernel scope link",
            "its route to 10.200.7.0/24 on virbr0 is in the lab's pods, 10.200.0.0/16",
        ),
        (
            "blackhole 10.200.0.0/16",
            "its route to 10.200.0.0/16 to nowhere is in the lab's pods, 10.200.0.0/16",
        ),
    ] {
        assert_eq!(stage.refused("client-0", "routes", &[route]), [""; 0], "nobody's pods");
        assert_eq!(
            stage.refused("controller-0", "routes", &[route]),
            [format!("controller-0: {what}")]
        );
        let mut known = stage.clone();
        known.worked_on("controller-0");
        assert_eq!(known.refused("controller-0", "routes", &[route]), [""; 0], "a lab is there");
    }
    for route in [
        "default via 192.0.2.1 dev eth0",
        "10.240.0.0/24 dev eth0 proto kernel scope link",
        // By hand, as guides have it, and the lab's own.
        "10.200.1.0/24 via 10.240.0.21 dev eth0",
        "10.200.0.0/24 dev cni0 proto kernel scope link src 10.200.0.1",
    ] {
        assert_eq!(stage.refused("controller-0", "routes", &[route]), [""; 0], "{route}");
        assert_eq!(stage.warned("controller-0", "routes", &[route]), [""; 0], "{route}");
    }
}

#[test]
fn a_route_that_is_wider_than_the_lab_s_range_is_a_warning() {
    let stage = Stage::own_machines();
    let vpn = ["10.0.0.0/8 via 10.8.0.1 dev tun0"];
    assert_eq!(stage.refused("controller-0", "routes", &vpn), [""; 0]);
    let hides = |what: &str| {
        format!("controller-0: the lab's {what}, hide a part of 10.0.0.0/8, its route via 10.8.0.1")
    };
    assert_eq!(
        stage.warned("controller-0", "routes", &vpn),
        [hides("pods, 10.200.0.0/16"), hides("services, 10.32.0.0/24")]
    );
}

#[test]
fn a_resolver_in_the_lab_s_ranges_is_refused() {
    let stage = Stage::own_machines();
    assert_eq!(
        stage.refused("worker-0", "resolvers", &["127.0.0.53", "10.32.0.2"]),
        ["worker-0: its resolver 10.32.0.2 is in the range of the lab's services, 10.32.0.0/24"]
    );
    assert_eq!(stage.refused("worker-0", "resolvers", &["192.0.2.53", "fd00::1"]), [""; 0]);
    let local = Stage::local();
    assert_eq!(local.refused("worker-0", "resolvers", &["10.32.0.2"]), [""; 0]);
    assert_eq!(local.warned("worker-0", "resolvers", &["10.32.0.2"]).len(), 1);
}
