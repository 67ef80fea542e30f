//! Three nodes, an address range for the pods of each, and a route to it on every other: with the
//! ranges given by hand, and by kube-controller-manager.

use super::{all_reach_all, answered, is_well, web};
use crate::goes_without_a_trace;
use crate::lab::Lab;

const NODES: [&str; 3] = ["kubenet1", "kubenet2", "kubenet3"];

/// Every pod reaches every pod, also when nothing else may be forwarded.
fn pods_reach_each_other(lab: &Lab, pods: &[[String; 3]]) {
    for node in NODES {
        lab.on(node, "iptables -w -P FORWARD DROP");
    }
    all_reach_all(lab, pods);
    for node in NODES {
        lab.on(node, "iptables -w -P FORWARD ACCEPT");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "how many of 100 are answered without routes")]
fn pods_of_three_nodes_need_a_route_to_each_other() {
    let lab = Lab::new("multinode");
    lab.must(&["up"]);
    let (pods, service) = web(&lab, "kubenet1", 3);
    for [_, address, node] in &pods {
        let number = node.strip_prefix("kubenet").expect("a number");
        assert!(address.starts_with(&format!("10.7.{number}.")), "{address} on {node}");
    }
    pods_reach_each_other(&lab, &pods);
    assert_eq!(answered(&lab, "kubenet1", &service, 100), 100);

    // The routes are lost: a node reaches its own pod, and none of the others', so that a Service
    // answers as often as it chooses the near one.
    for node in NODES {
        lab.on(node, "ip route flush root 10.7.0.0/16 proto boot");
    }
    for [_, address, node] in &pods {
        let expected = if node == "kubenet1" { 9 } else { 0 };
        assert_eq!(answered(&lab, "kubenet1", address, 9), expected, "{address} on {node}");
    }
    let some = answered(&lab, "kubenet1", &service, 100);
    println!("without routes, the Service answers {some} of 100 times");
    assert!((5..80).contains(&some), "{some}");

    // labctl sees it and mends it.
    let plan = lab.run(&["plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    assert!(plan.story().contains("routes to the other workers' pods"), "{}", plan.story());
    lab.must(&["up"]);
    assert_eq!(answered(&lab, "kubenet1", &service, 100), 100);
    is_well(&lab);
    goes_without_a_trace(&lab);
}

#[test]
fn the_controller_manager_gives_each_node_its_part() {
    let lab = Lab::new("multinode-allocated");
    lab.must(&["up"]);
    let parts = lab.kubectl_says(
        "get nodes -o jsonpath={range.items[*]}{.metadata.name},{.spec.podCIDR};{end}",
    );
    let (pods, service) = web(&lab, "kubenet1", 3);
    for [_, address, node] in &pods {
        let part = parts.split(';').find_map(|it| it.strip_prefix(&format!("{node},")));
        let begin = part.and_then(|it| it.strip_suffix("0/24")).expect(&parts);
        assert!(begin.starts_with("10.8.") && address.starts_with(begin), "{address}, {parts}");
    }
    pods_reach_each_other(&lab, &pods);
    assert_eq!(answered(&lab, "kubenet1", &service, 100), 100);

    // Lost routes are seen here too.
    lab.on("kubenet2", "ip route flush root 10.8.0.0/16 proto boot");
    assert_eq!(lab.run(&["plan"]).code, Some(3));
    lab.must(&["up"]);
    assert_eq!(answered(&lab, "kubenet2", &service, 100), 100);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
