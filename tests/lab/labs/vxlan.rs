//! Two networks with a router between them that drops what has a pod's address, and an overlay.

use super::{a_megabyte_passes, all_reach_all, answered, is_well, web};
use crate::lab::Lab;
use crate::{goes_without_a_trace, passes_smoke};

/// How many packets the router has dropped because of a pod's address.
fn dropped(lab: &Lab) -> u64 {
    let counters =
        "iptables -w -nvxL FORWARD | awk '$3 == \"DROP\" { sum += $1 } END { print sum }'";
    lab.on("router", counters).parse().expect("a number")
}

/// How many packets a node has cut into pieces.
fn fragments(lab: &Lab, node: &str) -> u64 {
    let counter = "awk '/^Ip:/ { if (seen++) print $at; else for (i = 1; i <= NF; i++) if ($i == \
                   \"FragCreates\") at = i }' /proc/net/snmp";
    lab.on(node, counter).parse().expect("a number")
}

#[test]
fn a_megabyte_passes_where_pods_have_no_address() {
    let lab = Lab::new("vxlan");
    lab.must(&["up"]);
    let (pods, service) = web(&lab, "controller-0", 2);
    let on = |node: &str| pods.iter().find(|[.., at]| at == node).expect("a pod on each worker");
    let ([west, ..], [_, east_address, _]) = (on("worker-0"), on("worker-1"));

    // Nodes reach each other by way of the router, and by no other.
    let way = lab.on("worker-0", "ip route get 10.236.1.21");
    assert!(way.contains("via 10.236.0.2 "), "{way}");
    assert!(lab.on("worker-1", "ip route get 10.236.0.20").contains("via 10.236.1.2 "));

    // Pods do as well, although the router lets none of their packets pass.
    let before = dropped(&lab);
    all_reach_all(&lab, &pods);
    assert_eq!(answered(&lab, "worker-0", &service, 100), 100);
    assert_eq!(dropped(&lab), before, "no packet with a pod's address came by the router");
    // One that is sent to the router as it is does not come back.
    let without = format!(
        "ip route add {east_address}/32 via 10.236.0.2; curl -qs --noproxy '*' --connect-timeout 2 \
         -o /dev/null -w '%{{http_code}}' http://{east_address}/ || true; ip route del \
         {east_address}/32"
    );
    assert_eq!(lab.on("controller-0", &without), "000");
    assert!(dropped(&lab) > before, "the router drops it");

    // A megabyte, in packets that are small enough before they are wrapped.
    let cut = (fragments(&lab, "worker-0"), fragments(&lab, "worker-1"));
    a_megabyte_passes(&lab, on("worker-1"), west);
    assert_eq!((fragments(&lab, "worker-0"), fragments(&lab, "worker-1")), cut, "none was cut");
    for (device, mtu) in [("eth0", "mtu 1400"), ("labctl-vxlan", "mtu 1350")] {
        let link = lab.on("worker-0", &format!("ip -o link show {device}"));
        assert!(link.contains(mtu), "{link}");
    }

    passes_smoke(&lab, 12);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
