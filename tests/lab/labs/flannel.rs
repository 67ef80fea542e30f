//! A pod network that is an add-on.

use super::{a_megabyte_passes, all_reach_all, answered, extras, is_well, web};
use crate::lab::Lab;
use crate::{goes_without_a_trace, passes_smoke};

#[test]
fn an_add_on_joins_the_pods_of_all_nodes() {
    extras("flannel");
    let lab = Lab::new("flannel");
    lab.must(&["up"]);

    // The add-on is well: a pod on each worker.
    let healthy = "-n kube-flannel get daemonset kube-flannel-ds -o \
                   jsonpath={.status.desiredNumberScheduled}/{.status.numberReady}/{.status.\
                   numberUnavailable}";
    assert_eq!(lab.kubectl_says(healthy), "2/2/", "desired, ready, unavailable");

    // Each node's pods have addresses from the part that kube-controller-manager gave it, and
    // flannel leads to it.
    let parts = lab.kubectl_says(
        "get nodes -o jsonpath={range.items[*]}{.metadata.name},{.spec.podCIDR};{end}",
    );
    let (pods, service) = web(&lab, "controller-0", 2);
    for [_, address, node] in &pods {
        let part = parts.split(';').find_map(|it| it.strip_prefix(&format!("{node},")));
        let begin = part.and_then(|it| it.strip_suffix("0/24")).expect(&parts);
        assert!(begin.starts_with("10.9.") && address.starts_with(begin), "{address}, {parts}");
        let other = if node == "worker-0" { "worker-1" } else { "worker-0" };
        let way = lab.on(other, &format!("ip route get {address}"));
        assert!(way.contains("dev flannel.1"), "{way}");
    }
    all_reach_all(&lab, &pods);
    assert_eq!(answered(&lab, "worker-0", &service, 100), 100);
    a_megabyte_passes(&lab, &pods[0], &pods[1][0]);

    passes_smoke(&lab, 12);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
