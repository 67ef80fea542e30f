//! Two clusters that are peered through a route reflector.

use std::path::Path;

use super::{in_time, is_well, web};
use crate::lab::{self, Lab};
use crate::{goes_without_a_trace, passes_smoke};

/// How many of a reflector's sessions are established.
fn established(west: &Lab) -> usize {
    let sessions = west.on("reflector", "birdc show protocols");
    sessions.lines().filter(|line| line.contains("Established")).count()
}

#[test]
fn pods_of_one_cluster_reach_pods_of_the_other() {
    let west = Lab::new("interconnect-west");
    let east = west.beside("interconnect-east");
    west.must(&["up"]);
    east.must(&["up"]);
    let (west_pods, _) = web(&west, "controller-0", 2);
    let (east_pods, _) = web(&east, "controller-0", 2);
    let [_, east_address, _] = &east_pods[0];
    let call = format!("exec {} -- wget -q -T 2 -O - http://{east_address}/", west_pods[0][0]);
    assert!(!west.kubectl(&call).status.success(), "they are two islands");

    let cable = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories/interconnect/cable");
    lab::said(&cable.display().to_string(), &["10.239.6.1", "10.239.7.1"]);
    assert!(west.within_two_minutes(|| established(&west) == 4), "{}", established(&west));

    // What each node learned is the other cluster's, and only that.
    let routes = "ip route show proto bird | cut -d' ' -f1 | sort | tr '\\n' ' '";
    for (cluster, learned) in [(&west, "10.17."), (&east, "10.16.")] {
        for node in ["controller-0", "worker-0"] {
            let two = || {
                let routes = cluster.on(node, routes);
                routes.split_whitespace().filter(|it| it.starts_with(learned)).count() == 2
                    && routes.split_whitespace().count() == 2
            };
            assert!(cluster.within_two_minutes(two), "{node}: {}", cluster.on(node, routes));
        }
    }

    // Every pod reaches every pod of the other cluster, under its own address.
    for (from, pods, to, others) in
        [(&west, &west_pods, &east, &east_pods), (&east, &east_pods, &west, &west_pods)]
    {
        for [name, address, node] in pods {
            for [other, there, at] in others {
                let call = format!("exec {name} -- wget -q -T 5 -O - http://{there}/");
                assert_eq!(from.kubectl_says(&call), *other, "from {node} to {at}");
                // The kernel there knows the connection by the pod's own address.
                let known =
                    format!("grep -c 'src={address} dst={there} ' /proc/net/nf_conntrack || true");
                let connections: u32 = to.on(at, &known).parse().expect("a number");
                assert!(connections > 0, "{at} sees {name} under another address");
            }
        }
    }
    in_time(&east, "get nodes -o name", |nodes| nodes.lines().count() == 2);

    passes_smoke(&west, 12);
    is_well(&west);
    is_well(&east);
    east.must(&["down", "--yes"]);
    goes_without_a_trace(&west);
    assert_eq!(east.traces(), Vec::<String>::new());
}
