//! Networks: addresses of pods and Services hide whatever has the same addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::cni::BRIDGE;
use super::finding::Findings;
use super::judged::Judged;
use crate::cluster::Node;
use crate::machine::surroundings::RouteThere;

/// The device of the lab's own tunnels.
const TUNNEL: &str = "labctl-vxlan";

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    if !on.is_for_cluster() {
        return;
    }
    let network = &on.cluster.network;
    let families = network.families().into_iter();
    for (key, range) in families.flat_map(|it| [("pods", it.pods), ("services", it.services)]) {
        let routes = on.around().routes().unwrap_or_default();
        for route in routes.iter().filter(|it| overlap(it.to, range) && !is_ours(on, it, range)) {
            judge_route(on, route, (key, range), found);
        }
        let resolvers = on.around().resolvers().unwrap_or_default();
        if let Some(resolver) = resolvers.iter().find(|it| range.contains(*it)) {
            on.refuse_new(
                found,
                format!("its resolver {resolver} is in the range of the lab's {key}, {range}"),
                format!("choose another range for `network.{key}`"),
            );
        }
    }
}

fn judge_route(
    on: &Judged<'_>,
    route: &RouteThere,
    (key, range): (&str, IpNet),
    found: &mut Findings,
) {
    let way = match (route.via, route.device.as_str()) {
        (Some(via), _) => format!("via {via}"),
        (None, "") => "to nowhere".to_owned(),
        (None, device) => format!("on {device}"),
    };
    let help = format!("choose another range for `network.{key}`");
    if range.contains(&route.to) {
        let what = format!("its route to {} {way} is in the lab's {key}, {range}", route.to);
        on.refuse_new(found, what, help);
    } else {
        // More is reached this way than the lab takes; whether anybody needs that is not known.
        let what =
            format!("the lab's {key}, {range}, hide a part of {}, its route {way}", route.to);
        on.warn(found, what, format!("{help} if those addresses are in use"));
    }
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// Whether a route leads to the lab's own pods.
fn is_ours(on: &Judged<'_>, route: &RouteThere, range: IpNet) -> bool {
    let has = |node: &Node, address: IpAddr| node.addresses().any(|it| it == address);
    let to_node = |via: IpAddr| on.cluster.nodes.iter().any(|node| has(node, via));
    let is_pods = on.cluster.network.families().iter().any(|it| it.pods == range);
    let pods = is_pods && range.contains(&route.to);
    // An add-on's network for pods has devices of its own, and comes after the first run.
    pods && (on.worked_on()
        || [BRIDGE, TUNNEL].contains(&route.device.as_str())
        || route.via.is_some_and(to_node))
}
