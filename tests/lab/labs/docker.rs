//! Pods as Docker's containers.

use std::fs;
use std::path::Path;

use super::{answered, web};
use crate::lab::Lab;
use crate::{goes_without_a_trace, is_settled, passes_smoke};

/// The lab, with the bundle of its version: the one beside the sources is of another.
fn lab() -> Lab {
    let lab = Lab::new("docker");
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles");
    assert!(bundles.join("1.20.2/bundle.lock").exists(), "`make labs` builds a bundle of 1.20.2");
    let path = lab.folder().join("inventory.yaml");
    let text = fs::read_to_string(&path).expect("an inventory");
    let bundle = format!("bundle: {}", bundles.display());
    let set = |line: &str| if line.starts_with("bundle:") { bundle.clone() } else { line.into() };
    fs::write(&path, text.lines().map(set).collect::<Vec<_>>().join("\n")).expect("an inventory");
    lab
}

#[test]
fn docker_runs_the_pods_of_an_old_kubelet() {
    let lab = lab();
    lab.must(&["up"]);
    let runtimes = "get nodes -o jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}";
    let runtimes = lab.kubectl_says(runtimes);
    assert_eq!(runtimes.matches("docker://").count(), 2, "{runtimes}");

    // A pod is two containers, and Docker shows both: the one that holds the network, and its own.
    let (pods, service) = web(&lab, "controller-0", 2);
    for [pod, address, node] in &pods {
        let shown = lab.on(node, "docker ps --format '{{.Names}} {{.Image}}'");
        let of = |kind: &str| {
            shown.lines().any(|line| line.starts_with(kind) && line.contains(pod.as_str()))
        };
        assert!(of("k8s_web_") && of("k8s_POD_"), "{pod} on {node}: {shown}");
        // Its network is the lab's, and Docker knows nothing of it.
        let network = format!(
            "docker inspect --format '{{{{.HostConfig.NetworkMode}}}} \
             {{{{.NetworkSettings.IPAddress}}}}' $(docker ps -q --filter name=k8s_POD_{pod})"
        );
        assert_eq!(lab.on(node, &network).trim(), "none", "{address}");
    }
    assert_eq!(answered(&lab, "controller-0", &pods[0][1], 100), 100, "a pod, by its address");
    assert_eq!(answered(&lab, "worker-1", &service, 100), 100, "the Service");

    // Docker ends and comes back, and the containers have not noticed.
    let before = lab.on("worker-0", "docker ps -q | sort");
    lab.on("worker-0", "systemctl restart docker.service");
    assert_eq!(lab.on("worker-0", "docker ps -q | sort"), before);

    passes_smoke(&lab, 12);
    is_settled(&lab);
    goes_without_a_trace(&lab);
}
