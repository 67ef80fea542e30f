//! What is proposed for machines: roles, names, addresses, networks, and what cannot be a lab.

use super::*;
use crate::cluster::Jump;
use crate::machine::Machine;

/// A machine with these addresses and, in addition, routes.
fn machine(typed: &str, hostname: &str, addresses: &[&str], routes: &[&str]) -> FoundMachine {
    let nets = |texts: &[&str]| -> Vec<Ipv4Net> {
        texts.iter().map(|text| text.parse().expect("a network")).collect()
    };
    let taken = nets(addresses).into_iter().chain(nets(routes)).collect();
    FoundMachine {
        typed: typed.to_owned(),
        login: Jump::parse(typed).expect("a login"),
        hostname: hostname.to_owned(),
        addresses: nets(addresses),
        taken,
        mtu: Some(1500),
        memory: Some(4000),
        machine: Machine::default(),
    }
}

/// As many machines in one network, with these names.
fn machines(names: &[&str]) -> Vec<FoundMachine> {
    let numbered = names.iter().zip(10..);
    numbered
        .map(|(name, last)| {
            let typed = format!("root@192.0.2.{last}");
            machine(&typed, name, &[&format!("192.0.2.{last}/24")], &["0.0.0.0/0"])
        })
        .collect()
}

fn shape(controllers: Option<usize>, workers: Option<usize>) -> Shape {
    Shape { controllers, workers }
}

/// The nodes that are proposed, as `name address roles`.
fn nodes(found: &[FoundMachine], shape: &Shape) -> Vec<String> {
    let proposal = propose(found, shape).unwrap_or_else(|(what, _)| panic!("{what}"));
    let node = |node: &ProposedNode| {
        let roles = node.roles.iter().map(Role::to_string).collect::<Vec<_>>().join("+");
        format!("{} {} {roles}", node.name, node.address)
    };
    proposal.nodes.iter().map(node).collect()
}

#[test]
fn the_first_machine_is_the_controller() {
    assert_eq!(
        nodes(&machines(&["a", "b", "c"]), &Shape::default()),
        ["a 192.0.2.10 controller", "b 192.0.2.11 worker", "c 192.0.2.12 worker"]
    );
    assert_eq!(nodes(&machines(&["a"]), &Shape::default()), ["a 192.0.2.10 controller+worker"]);
}

#[test]
fn several_controllers_get_a_load_balancer() {
    assert_eq!(
        nodes(&machines(&["a", "b", "c", "d"]), &shape(Some(3), None)),
        [
            "a 192.0.2.10 controller",
            "b 192.0.2.11 controller",
            "c 192.0.2.12 controller",
            "d 192.0.2.13 worker+loadbalancer"
        ]
    );
    assert_eq!(
        nodes(&machines(&["a", "b"]), &shape(Some(2), None)),
        ["a 192.0.2.10 controller+worker+loadbalancer", "b 192.0.2.11 controller+worker"]
    );
}

#[test]
fn names_that_speak_of_roles_are_believed_unless_a_shape_is_asked_for() {
    let found = machines(&["lab-lb-0", "cp1", "worker-0", "node2", "jumpbox"]);
    assert_eq!(
        nodes(&found, &Shape::default()),
        [
            "lab-lb-0 192.0.2.10 loadbalancer",
            "cp1 192.0.2.11 controller",
            "worker-0 192.0.2.12 worker",
            "node2 192.0.2.13 worker",
            "jumpbox 192.0.2.14 client"
        ]
    );
    assert_eq!(nodes(&found, &shape(Some(1), None))[0], "lab-lb-0 192.0.2.10 controller");
    // One without such a word, and order decides.
    assert_eq!(
        nodes(&machines(&["worker-0", "db"]), &Shape::default())[0],
        "worker-0 192.0.2.10 controller"
    );
}

#[test]
fn names_that_cannot_be_nodes_give_way_to_names_after_roles() {
    for names in [["debian", "debian"], ["localhost", "b"], ["under_score", "b"], ["", "b"]] {
        assert_eq!(
            nodes(&machines(&names), &Shape::default()),
            ["controller-0 192.0.2.10 controller", "worker-0 192.0.2.11 worker"],
            "{names:?}"
        );
    }
}

#[test]
fn the_address_is_in_the_network_that_the_machines_share() {
    let found = [
        machine("one.example.org", "a", &["203.0.113.1/32", "10.0.0.1/24"], &[]),
        machine("203.0.113.2", "b", &["203.0.113.2/32", "10.0.0.2/24"], &[]),
    ];
    assert_eq!(nodes(&found, &Shape::default()), ["a 10.0.0.1 controller", "b 10.0.0.2 worker"]);
    // When two are shared, the one that was typed.
    let found = [
        machine("10.1.0.1", "a", &["10.0.0.1/24", "10.1.0.1/24"], &[]),
        machine("10.1.0.2", "b", &["10.0.0.2/24", "10.1.0.2/24"], &[]),
    ];
    assert_eq!(nodes(&found, &Shape::default()), ["a 10.1.0.1 controller", "b 10.1.0.2 worker"]);
}

#[test]
fn networks_are_free_on_every_machine() {
    let proposal = propose(&machines(&["a", "b"]), &Shape::default()).expect("a lab");
    assert_eq!(proposal.pods.to_string(), "10.200.0.0/16");
    assert_eq!(proposal.services.to_string(), "10.32.0.0/24");
    let found = [
        machine("192.0.2.1", "a", &["192.0.2.1/24"], &["10.0.0.0/8", "0.0.0.0/0"]),
        machine("192.0.2.2", "b", &["192.0.2.2/24"], &["172.30.7.0/24", "172.29.0.9/32"]),
    ];
    let proposal = propose(&found, &Shape::default()).expect("a lab");
    assert_eq!(proposal.pods.to_string(), "100.64.0.0/16");
    assert_eq!(proposal.services.to_string(), "100.127.0.0/24");
    let full = [machine("192.0.2.1", "a", &["192.0.2.1/24"], &["0.0.0.0/1", "128.0.0.0/1"])];
    let (what, _) = propose(&full, &Shape::default()).expect_err("nothing is free");
    assert!(what.starts_with("none of 10.200.0.0/16, "), "{what}");
}

#[test]
fn workers_in_several_networks_get_tunnels() {
    let proposal = |found: &[FoundMachine]| propose(found, &Shape::default()).expect("a lab");
    let found = [
        machine("10.0.0.1", "a", &["10.0.0.1/24"], &[]),
        machine("10.0.1.1", "b", &["10.0.1.1/24"], &[]),
        machine("10.0.2.1", "c", &["10.0.2.1/24"], &[]),
    ];
    assert!(!proposal(&found).one_network);
    assert!(proposal(&found[..2]).one_network, "one worker needs no route");
    let mut small = machines(&["a", "b"]);
    assert_eq!(proposal(&small).mtu, None);
    small[1].mtu = Some(1450);
    assert_eq!(proposal(&small).mtu, Some(1450));
}

#[test]
fn what_cannot_be_a_lab_is_refused() {
    let two = machines(&["a", "b"]);
    for (shape, what) in [
        (shape(Some(0), None), "a lab needs a controller"),
        (shape(Some(3), None), "3 controllers need as many machines, and 2 are named"),
        (shape(None, Some(2)), "2 workers leave no controller of 2 machines"),
        (
            shape(Some(1), Some(2)),
            "1 controllers and 2 workers are not the 2 machines that are named",
        ),
    ] {
        assert_eq!(propose(&two, &shape).expect_err(what).0, what);
    }
    let same = [
        machine("192.0.2.1", "a", &["192.0.2.1/24"], &[]),
        machine("a.example.org", "a", &["192.0.2.1/24"], &[]),
    ];
    let (what, _) = propose(&same, &Shape::default()).expect_err("one machine");
    assert_eq!(what, "192.0.2.1 and a.example.org are one machine");
    let none = [machine("a.example.org", "a", &[], &[])];
    let (what, _) = propose(&none, &Shape::default()).expect_err("no address");
    assert_eq!(what, "a.example.org has no IPv4 address that other machines could reach");
}
