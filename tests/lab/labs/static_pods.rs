//! The kubelet first, and the control plane as its pods.

use super::{in_time, is_well};
use crate::lab::Lab;
use crate::{goes_without_a_trace, passes_smoke};

const PROGRAMS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

#[test]
fn a_kubelet_runs_the_control_plane_that_it_obeys() {
    let lab = Lab::new("static-pods");
    lab.must(&["up"]);

    // No unit has started them, and each is seen in the API as its kubelet's own.
    for program in PROGRAMS {
        let unit = format!("systemctl is-active {program}.service || true");
        assert_eq!(lab.on("node-0", &unit), "inactive", "{program}");
        let fields = "{.status.phase}/{.metadata.ownerReferences[0].kind}/{.spec.nodeName}";
        let pod = format!("-n kube-system get pod {program}-node-0 -o jsonpath={fields}");
        in_time(&lab, &pod, |pod| pod == "Running/Node/node-0");
    }
    // A mirror is not the thing: deleted, it is there again, and the container has not noticed.
    let container = "-n kube-system get pod kube-scheduler-node-0 -o \
                     jsonpath={.status.containerStatuses[0].containerID}";
    let before = in_time(&lab, container, |id| !id.is_empty());
    lab.kubectl_says("-n kube-system delete pod kube-scheduler-node-0 --wait=false");
    let pods = "-n kube-system get pods -o name";
    in_time(&lab, pods, |pods| pods.contains("pod/kube-scheduler-node-0"));
    assert_eq!(in_time(&lab, container, |id| !id.is_empty()), before);

    // What counts is the file: one that is changed is another pod.
    let file = "/etc/kubernetes/manifests/kube-scheduler.yaml";
    lab.on("node-0", &format!("sed -i 's/--bind-address=127.0.0.1/&\\n        - --v=3/' {file}"));
    let command =
        "-n kube-system get pods -l !k8s-app -o jsonpath={.items[*].spec.containers[0].command}";
    in_time(&lab, command, |command| command.contains("--v=3"));
    in_time(&lab, container, |id| !id.is_empty() && id != before);
    let plan = lab.run(&["plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    lab.must(&["up"]);
    in_time(&lab, command, |command| !command.contains("--v=3"));

    // A backup needs etcd, and not to know who has started it.
    lab.must(&["etcd", "backup", "inventory.yaml", "lab.backup"]);
    std::fs::remove_file(lab.folder().join("lab.backup")).expect("a backup");

    passes_smoke(&lab, 12);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
