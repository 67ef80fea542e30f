//! The judge of the other stories: `labctl smoke` on labs in which one thing is wrong. It fails,
//! and names it.

use std::collections::{BTreeMap, BTreeSet};

use crate::lab::{Lab, Run};
use crate::{goes_without_a_trace, is_settled, passes_smoke};

const API: &str = "the API takes a Deployment, a Secret and Services";
const READY: &str = "every worker is Ready";
const SECRET: &str = "a Secret is encrypted in etcd";
const SPREAD: &str = "a Deployment spreads over the workers";
const PODS: &str = "every pod reaches every pod";
const CLUSTER_IP: &str = "a ClusterIP answers";
const NODE_PORT: &str = "a NodePort answers on every worker";
const DNS: &str = "DNS resolves kubernetes from a pod";
const LOGS: &str = "kubectl logs shows a pod's output";
const EXEC: &str = "kubectl exec runs a command in a pod";
const FORWARD: &str = "kubectl port-forward reaches a pod";
const GONE: &str = "the test's namespace is gone again";

/// One thing that is wrong with a lab.
struct Fault {
    what: &'static str,
    node: &'static str,
    /// Shell for the node: what breaks it, and what mends it.
    breaks: &'static str,
    mends: &'static str,
    /// The checks that fail, and what the first of them says.
    fail: &'static [&'static str],
    says: &'static str,
    /// Checks that fail or pass as chance has it: where connections go to pods that are picked at
    /// random.
    may_fail: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    Fault {
        what: "no route from a worker to another one's pods",
        node: "worker-0",
        breaks: "ip route show 10.200.1.0/24 > /run/way; ip route del 10.200.1.0/24",
        mends: "ip route add $(cat /run/way)",
        fail: &[PODS],
        says: " cannot reach ",
        may_fail: &[CLUSTER_IP, NODE_PORT, DNS],
    },
    Fault {
        what: "a firewall on a worker that drops what another one's pods send",
        node: "worker-1",
        breaks: "iptables -t raw -I PREROUTING -s 10.200.0.0/24 -d 10.200.1.0/24 -j DROP",
        mends: "iptables -t raw -D PREROUTING -s 10.200.0.0/24 -d 10.200.1.0/24 -j DROP",
        fail: &[PODS],
        says: " cannot reach ",
        may_fail: &[CLUSTER_IP, NODE_PORT, DNS],
    },
    Fault {
        what: "kube-proxy stopped on one worker, so that it learns of no new Service",
        node: "worker-1",
        breaks: "systemctl stop kube-proxy",
        mends: "systemctl start kube-proxy",
        fail: &[CLUSTER_IP, NODE_PORT],
        says: "no answer from http://10.32.0.",
        may_fail: &[],
    },
    Fault {
        what: "ClusterIPs dropped on one worker",
        node: "worker-0",
        breaks: "iptables -t raw -I PREROUTING -p tcp -d 10.32.0.0/24 --dport 80 -j DROP",
        mends: "iptables -t raw -D PREROUTING -p tcp -d 10.32.0.0/24 --dport 80 -j DROP",
        fail: &[CLUSTER_IP],
        says: "no answer from http://10.32.0.",
        may_fail: &[],
    },
    Fault {
        what: "NodePorts dropped on one worker",
        node: "worker-1",
        breaks: "iptables -t raw -I PREROUTING -p tcp -d 10.230.0.21 --dport 30000:32767 -j DROP",
        mends: "iptables -t raw -D PREROUTING -p tcp -d 10.230.0.21 --dport 30000:32767 -j DROP",
        fail: &[NODE_PORT],
        says: "no answer from http://10.230.0.21:",
        may_fail: &[],
    },
    Fault {
        what: "no CoreDNS",
        node: "controller-0",
        breaks: "k='kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system'; \
                 $k scale deployment/coredns --replicas=0 && $k wait --for=delete pod -l \
            k8s-app=kube-dns --timeout=60s",
        mends: "k='kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system'; \
                $k scale deployment/coredns --replicas=REPLICAS && $k rollout status \
            deployment/coredns --timeout=60s",
        fail: &[DNS],
        says: "web-",
        may_fail: &[],
    },
    Fault {
        what: "DNS dropped on one worker",
        node: "worker-1",
        breaks: "iptables -t raw -I PREROUTING -p udp -d 10.32.0.10 --dport 53 -j DROP",
        mends: "iptables -t raw -D PREROUTING -p udp -d 10.32.0.10 --dport 53 -j DROP",
        fail: &[DNS],
        says: "web-",
        may_fail: &[],
    },
    Fault {
        what: "Secrets stored as they are",
        node: "controller-0",
        breaks: "cd /etc/kubernetes; cp -p encryption-config.yaml /run/config; \
                 sed -i -e '/- identity/d' -e 's/^\\( *\\)providers:.*/&\\n\\1  - identity: {}/' \
            encryption-config.yaml; \
                 systemctl restart kube-apiserver; READY",
        mends: "cp -p /run/config /etc/kubernetes/encryption-config.yaml; systemctl restart \
            kube-apiserver; READY",
        fail: &[SECRET],
        says: "the raw value in etcd does not begin with k8s:enc:",
        may_fail: &[],
    },
    Fault {
        what: "an API server that no kubelet obeys",
        node: "controller-0",
        breaks: "k='kubectl --kubeconfig /etc/kubernetes/admin.conf'; \
            binding=clusterrolebinding/kube-apiserver-to-kubelet; \
                 $k get $binding -o yaml > /run/binding && $k delete $binding && \
                 sed -i '/^  uid:/d; /^  resourceVersion:/d' /run/binding",
        mends: "kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f /run/binding",
        fail: &[PODS, CLUSTER_IP, NODE_PORT, DNS, LOGS, EXEC, FORWARD],
        says: "Forbidden",
        may_fail: &[],
    },
    Fault {
        what: "no API server",
        node: "controller-0",
        breaks: "systemctl stop kube-apiserver",
        mends: "systemctl start kube-apiserver; READY",
        fail: &[API, GONE],
        says: "refused",
        may_fail: &[],
    },
    Fault {
        what: "a namespace that cannot end, because part of the API does not answer",
        node: "controller-0",
        breaks: "kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - <<'END'\n\
                 {apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: \
            v1.broken.example.org},\n\
                 spec: {group: broken.example.org, version: v1, groupPriorityMinimum: 100, \
            versionPriority: 100,\n\
                 insecureSkipTLSVerify: true, service: {name: nobody, namespace: default}}}\nEND",
        mends: "kubectl --kubeconfig /etc/kubernetes/admin.conf delete apiservice \
            v1.broken.example.org; \
                kubectl --kubeconfig /etc/kubernetes/admin.conf wait --for=delete \
            namespace/labctl-smoke --timeout=90s",
        fail: &[GONE],
        says: "timed out waiting for the condition",
        may_fail: &[],
    },
    Fault {
        what: "a kubelet that the API server cannot reach",
        node: "worker-1",
        breaks: "iptables -I INPUT -p tcp --dport 10250 -j REJECT --reject-with tcp-reset",
        mends: "iptables -D INPUT -p tcp --dport 10250 -j REJECT --reject-with tcp-reset",
        fail: &[PODS, CLUSTER_IP, NODE_PORT, DNS, LOGS, EXEC],
        says: "cannot run a command in web-",
        // It looks at one pod only.
        may_fail: &[FORWARD],
    },
    Fault {
        what: "no scheduler",
        node: "controller-0",
        breaks: "systemctl stop kube-scheduler",
        mends: "systemctl start kube-scheduler",
        fail: &[SPREAD],
        says: "Pending",
        may_fail: &[],
    },
    Fault {
        what: "no controller manager, so that a Deployment makes no pods and no namespace ends",
        node: "controller-0",
        breaks: "systemctl stop kube-controller-manager",
        mends: "systemctl start kube-controller-manager; \
                kubectl --kubeconfig /etc/kubernetes/admin.conf wait --for=delete \
            namespace/labctl-smoke --timeout=90s",
        fail: &[SPREAD, GONE],
        says: "No resources found",
        may_fail: &[],
    },
    Fault {
        what: "a worker that is not Ready",
        node: "worker-1",
        breaks: "mkdir /run/cni && mv /etc/cni/net.d/* /run/cni/",
        mends: "mv /run/cni/* /etc/cni/net.d/",
        fail: &[READY, SPREAD],
        says: "worker-1 is not Ready",
        may_fail: &[],
    },
];

/// The checks that failed, and why.
fn failed(run: &Run) -> BTreeMap<&str, &str> {
    run.all("check")
        .filter_map(|check| Some((check["name"].as_str()?, check["failure"].as_str()?)))
        .collect()
}

/// Runs a fault's shell on its node.
fn on(lab: &Lab, fault: &Fault, script: &str, replicas: &str) {
    let ready = "timeout 60 sh -c 'until kubectl --kubeconfig /etc/kubernetes/admin.conf get \
        --raw=/readyz; do :; done'";
    let script = script.replace("REPLICAS", replicas).replace("READY", ready);
    lab.on(fault.node, &script);
}

/// A kubelet keeps what it was told of an API server's rights for minutes; one that has just
/// started asks.
fn restart_kubelets(lab: &Lab) {
    for worker in ["worker-0", "worker-1"] {
        lab.on(worker, "systemctl restart kubelet");
    }
}

#[test]
fn smoke_names_what_is_broken() {
    let lab = Lab::changed(
        "sandbox",
        &[
            ("api:\n  endpoint: lb-0\n", ""),
            ("  - { name: lb-0,", "  # - { name: lb-0,"),
            ("  - { name: controller-1,", "  # - { name: controller-1,"),
            ("  - { name: client-0,", "  # - { name: client-0,"),
        ],
    );
    lab.must(&["up"]);
    passes_smoke(&lab, 12);
    let replicas =
        lab.kubectl("-n kube-system get deployment coredns -o jsonpath={.spec.replicas}");
    let replicas = String::from_utf8_lossy(&replicas.stdout).into_owned();
    let ready = |worker: &str, status: &str| {
        let query = format!(
            "get node {worker} -o jsonpath={{.status.conditions[?(@.type==\"Ready\")].status}}"
        );
        lab.within_two_minutes(|| String::from_utf8_lossy(&lab.kubectl(&query).stdout) == status)
    };

    // Every fault is tried, whatever became of those before it.
    let mut missed = Vec::new();
    for fault in FAULTS {
        on(&lab, fault, fault.breaks, &replicas);
        match fault.what {
            "an API server that no kubelet obeys" => restart_kubelets(&lab),
            "a worker that is not Ready" => {
                assert!(ready("worker-1", "False"), "worker-1 is Ready still")
            }
            _ => {}
        }
        let smoke = lab.run(&["smoke"]);
        let failed = failed(&smoke);
        let must: BTreeSet<&str> = fault.fail.iter().copied().collect();
        let certain: BTreeSet<&str> =
            failed.keys().copied().filter(|name| !fault.may_fail.contains(name)).collect();
        let named = certain == must
            && failed.get(fault.fail[0]).is_some_and(|why| why.contains(fault.says));
        if smoke.code != Some(1) || !named {
            missed.push(format!("{}: {:?}, {failed:#?}", fault.what, smoke.code));
        }

        on(&lab, fault, fault.mends, &replicas);
        if fault.what == "an API server that no kubelet obeys" {
            restart_kubelets(&lab);
        }
        // One that has lost its API server asks again only after a while, and would be taken for
        // broken.
        if fault.mends.contains("start kube-apiserver") {
            for worker in ["worker-0", "worker-1"] {
                lab.on(worker, "systemctl restart kube-proxy");
            }
        }
        for worker in ["worker-0", "worker-1"] {
            assert!(ready(worker, "True"), "{worker} is not Ready after: {}", fault.what);
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    // All of it was the faults' and nothing was left: the same lab passes.
    passes_smoke(&lab, 12);
    is_settled(&lab);
    goes_without_a_trace(&lab);
}
