//! Routers on every node that tell each other over BGP where pods are, and enforce NetworkPolicies.

use std::fs;

use super::{a_megabyte_passes, all_reach_all, answered, extras, in_time, is_well, web};
use crate::lab::Lab;
use crate::{goes_without_a_trace, passes_smoke};

const NODES: [&str; 3] = ["controller-0", "worker-0", "worker-1"];

/// gobgp in the kube-router of a node, asked about that node's router.
fn gobgp(lab: &Lab, node: &str, words: &str) -> String {
    let pod = lab.kubectl_says(&format!(
        "-n kube-system get pods -l k8s-app=kube-router --field-selector spec.nodeName={node} \
             -o jsonpath={{.items[0].metadata.name}}"
    ));
    let address =
        lab.kubectl_says(&format!("get node {node} -o jsonpath={{.status.addresses[0].address}}"));
    lab.kubectl_says(&format!("-n kube-system exec {pod} -- gobgp -u {address} {words}"))
}

/// Whether a pod gets an answer from an address.
fn reaches(lab: &Lab, from: &str, address: &str) -> bool {
    let call = format!("exec {from} -- wget -q -T 2 -O - http://{address}/");
    lab.kubectl(&call).status.success()
}

#[test]
fn routers_learn_where_pods_are_and_a_policy_cuts_what_it_should() {
    extras("kube-router");
    let lab = Lab::new("kube-router");
    lab.must(&["up"]);
    let (pods, service) = web(&lab, "controller-0", 3);

    // Each router has a session with both others, and has put into the kernel what it learned.
    for node in NODES {
        let neighbours = gobgp(&lab, node, "neighbor");
        let established = neighbours.lines().filter(|line| line.contains("Establ")).count();
        assert_eq!(established, 2, "{node}: {neighbours}");
        let rib = gobgp(&lab, node, "global rib");
        let kernel = lab.on(node, "ip route show proto zebra; ip route show proto 17");
        for other in NODES.iter().filter(|other| **other != node) {
            let part = lab.kubectl_says(&format!("get node {other} -o jsonpath={{.spec.podCIDR}}"));
            assert!(part.starts_with("10.10."), "{part}");
            assert!(rib.contains(&part), "{node} has learned {part}: {rib}");
            assert!(kernel.contains(&part), "{node} uses {part}: {kernel}");
        }
    }
    all_reach_all(&lab, &pods);
    assert_eq!(answered(&lab, "worker-0", &service, 100), 100);
    a_megabyte_passes(&lab, &pods[0], &pods[1][0]);

    // A policy: of the three web servers, only one may ask another.
    let [[friend, ..], [stranger, ..], [_, served, _]] = &pods[..] else { panic!("{pods:?}") };
    let [.., [server, ..]] = &pods[..] else { panic!("{pods:?}") };
    lab.kubectl_says(&format!("label pod {server} role=server"));
    lab.kubectl_says(&format!("label pod {friend} role=friend"));
    let policy = lab.folder().join("policy.yaml");
    fs::write(
        &policy,
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: friends}, spec: \
         {podSelector: {matchLabels: {role: server}}, policyTypes: [Ingress], ingress: [{from: \
         [{podSelector: {matchLabels: {role: friend}}}]}]}}\n",
    )
    .expect("a manifest");
    lab.kubectl_says(&format!("apply -f {}", policy.display()));
    assert!(lab.within_two_minutes(|| !reaches(&lab, stranger, served)), "the policy cuts");
    assert!(reaches(&lab, friend, served), "and lets through whom it names");
    assert!(reaches(&lab, stranger, &pods[0][1]), "other pods are as open as before");
    lab.kubectl_says("delete networkpolicy friends");
    assert!(lab.within_two_minutes(|| reaches(&lab, stranger, served)), "without it all may");
    fs::remove_file(&policy).expect("the manifest");

    // The add-on is well.
    let ready = "-n kube-system get daemonset kube-router -o jsonpath={.status.numberReady}";
    in_time(&lab, ready, |ready| ready == "3");
    passes_smoke(&lab, 12);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
