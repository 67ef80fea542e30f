//! No machine for a load balancer: each worker has its own.

use std::time::{Duration, Instant};

use super::{in_time, is_well, power_failure};
use crate::lab::{Lab, busybox};
use crate::{goes_without_a_trace, passes_smoke};

/// How long calls are counted after a controller has died, longer than a Node's lease lasts.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// Calls of a pod to the API by the load balancer of its node: those that were answered, those that
/// were made a second time because the controller died that was about to answer, and those that
/// failed then too.
fn calls(lab: &Lab) -> [u64; 3] {
    let text = lab.on("worker-1", "cat /run/calls");
    let numbers: Vec<u64> = text.split(' ').map(|it| it.parse().expect("a number")).collect();
    numbers.try_into().expect("three numbers")
}

/// Starts a pod on worker-1 that calls the API all the time.
fn start_calling(lab: &Lab) {
    let image = busybox();
    // curl is the node's; the network is the pod's.
    let call = "once() { code=$(chroot /node curl -qsk --noproxy '*' --max-time 5 -H \
                \\\"$token\\\" -o /dev/null -w '%{http_code}' $url || true); [ $code = 200 ]; }; \
                mine=/var/run/secrets/kubernetes.io/serviceaccount; \
                token=\\\"Authorization: Bearer $(cat $mine/token)\\\"; \
                url=https://$NODE:6443/api/v1/namespaces/default; ok=0 again=0 failed=0; \
                while :; do once || { again=$((again+1)); once; } && ok=$((ok+1)) || \
                failed=$((failed+1)); echo $ok $again $failed > /node/run/calls.new; \
                mv /node/run/calls.new /node/run/calls; done";
    let manifest = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: \
         caller}}, roleRef: {{apiGroup: rbac.authorization.k8s.io, \
         kind: ClusterRole, name: view}}, subjects: [{{kind: ServiceAccount, name: default, \
         namespace: default}}]}}\n---\n\
         {{apiVersion: v1, kind: Pod, metadata: {{name: caller}}, spec: {{nodeName: worker-1, \
         volumes: [{{name: node, hostPath: {{path: /}}}}], containers: [{{name: caller, image: \
         {image}, imagePullPolicy: Never, command: [sh, -c, \"{call}\"], volumeMounts: [{{name: \
         node, mountPath: /node}}], env: [{{name: NODE, valueFrom: {{fieldRef: {{fieldPath: \
         status.hostIP}}}}}}]}}]}}}}\n"
    );
    let kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
    lab.on("controller-0", &format!("{kubectl} apply -f - <<'END'\n{manifest}END"));
    in_time(lab, "get pod caller -o jsonpath={.status.phase}", |phase| phase == "Running");
    let counting = || lab.try_on("worker-1", "test -s /run/calls").is_some() && calls(lab)[0] > 20;
    assert!(lab.within_two_minutes(counting), "the pod gets no answers");
}

#[test]
#[allow(clippy::print_stdout, reason = "how many calls there were")]
fn a_controller_dies_and_no_kubelet_and_no_pod_notices() {
    let lab = Lab::new("local-lb");
    lab.must(&["up"]);
    for worker in ["worker-0", "worker-1"] {
        let peers =
            "ss -Htnp state established | grep -E '\"kube(let|-proxy)\"' | awk '{print $4}'";
        let to_api = lab.on(worker, &format!("{peers} | grep :6443 | sort -u"));
        assert_eq!(to_api, "127.0.0.1:6443", "{worker}");
    }
    start_calling(&lab);
    let before = calls(&lab);

    // A power failure, in the middle of whatever it did.
    power_failure(&lab, "controller-2");
    let (died, mut looks) = (Instant::now(), 0);
    let ready = "get nodes -o jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    while died.elapsed() < AFTERWARDS {
        let output = lab.kubectl(ready);
        // kubectl is on no node, and asks again when its call was the dying one's.
        if output.status.success() {
            assert_eq!(String::from_utf8_lossy(&output.stdout), "True True");
            looks += 1;
        }
    }
    let after = calls(&lab);
    println!("{looks} looks; answered, made again, failed: {before:?}, then {after:?}");
    assert!(looks > 50 && after[0] > before[0] + 200, "{looks} looks, {after:?}");
    assert_eq!(after[2], 0, "no call of the pod has failed");

    lab.must(&["up"]);
    lab.on(
        "controller-0",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf delete pod caller --now",
    );
    passes_smoke(&lab, 13);
    is_well(&lab);
    goes_without_a_trace(&lab);
}
