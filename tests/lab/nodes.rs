//! Nodes that come and go: a worker, controllers, a controller that is lost for good.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::lab::{Lab, Run, busybox, said};
use crate::{goes_without_a_trace, is_settled, mine, passes_smoke};

/// Every task that changed something, by node.
fn changed_tasks(run: &Run) -> BTreeMap<&str, Vec<String>> {
    let mut changed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ended in run.all("task_ended").filter(|ended| ended["changed"] == true) {
        let task = format!(
            "{}: {}",
            ended["play"].as_str().expect("a play"),
            ended["task"].as_str().expect("a task")
        );
        changed.entry(ended["node"].as_str().expect("a node")).or_default().push(task);
    }
    changed
}

const ETCDCTL: &str = "etcdctl --endpoints https://127.0.0.1:2379 --cacert \
    /etc/kubernetes/pki/etcd/ca.crt \
                       --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
                       --key /etc/kubernetes/pki/etcd/healthcheck-client.key";

/// The members of etcd as one of them lists them.
fn etcd_list(lab: &Lab, asked: &str) -> String {
    lab.on(asked, &format!("{ETCDCTL} member list"))
}

/// The names of the members of etcd, all of them voting and healthy.
fn etcd_members(lab: &Lab, asked: &str) -> Vec<String> {
    lab.on(asked, &format!("{ETCDCTL} endpoint health --cluster"));
    let list = etcd_list(lab, asked);
    let member = |line: &str| {
        let fields: Vec<&str> = line.split(", ").collect();
        assert_eq!((fields[1], fields[5]), ("started", "false"), "{list}");
        fields[2].to_owned()
    };
    let mut members: Vec<String> = list.lines().map(member).collect();
    members.sort();
    members
}

/// The inventory as it is now.
fn inventory(lab: &Lab) -> String {
    std::fs::read_to_string(lab.folder().join("inventory.yaml")).expect("an inventory")
}

/// What changed, but for the nodes that are new.
fn changed_on_others<'a>(run: &'a Run, new: &[&'a str]) -> BTreeMap<&'a str, Vec<String>> {
    let mut changed = changed_tasks(run);
    for node in new {
        assert!(
            changed.remove(node).is_some_and(|tasks| tasks.len() > 20),
            "{node} was made from nothing"
        );
    }
    changed
}

fn expected<'a>(tasks: &[(&'a str, &[&str])]) -> BTreeMap<&'a str, Vec<String>> {
    tasks
        .iter()
        .map(|(node, tasks)| (*node, tasks.iter().map(|task| (*task).to_owned()).collect()))
        .collect()
}

/// The units of these nodes that were started again, or were not there before, by node.
fn started_since(lab: &Lab, before: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let mut started = BTreeMap::new();
    for (node, now) in lab.start_times() {
        let was: Vec<&str> =
            before.get(&node).map(|was| was.split("\n\n").collect()).unwrap_or_default();
        let again = now
            .split("\n\n")
            .filter(|unit| !was.contains(unit) && unit.contains("ActiveState=active"));
        let unit = |text: &str| {
            text.lines().find_map(|line| line.strip_prefix("Id=")).expect("an id").to_owned()
        };
        let again: Vec<String> = again.map(unit).collect();
        if before.contains_key(&node) && !again.is_empty() {
            started.insert(node, again);
        }
    }
    started
}

/// Waits on a node until its watcher has seen a route to `address` come. The way is taken away
/// again.
fn watcher_sees(lab: &Lab, node: &str, address: &str) {
    // The route is set again and again: a watcher sees nothing that was before it subscribed.
    let seen = format!(
        "timeout 20 sh -c 'until grep -q \"^{address} \" /run/watched; do ip route del \
        {address}/32 2>/dev/null; \
         ip route add {address}/32 dev lo; done' || {{ echo the watcher sees nothing >&2; exit 1; \
        }}; \
         ip route del {address}/32"
    );
    lab.on(node, &seen);
}

/// Watches what the kernel is told about routes, neighbours and links from now on.
pub fn watch_network(lab: &Lab, node: &str) {
    lab.on(
        node,
        "systemd-run --quiet --unit=watch-network sh -c 'exec ip -o monitor route neigh \
        link > /run/watched'",
    );
    watcher_sees(lab, node, "192.0.2.1");
}

/// Ways to pods that were taken away since [`watch_network`]: routes in the pod network, or the
/// VXLAN itself.
pub fn lost_ways(lab: &Lab, node: &str) -> String {
    // A way in the pod network that is lost indeed, so that the pattern below is seen to find one.
    lab.on(node, "ip route add 10.200.255.255/32 dev lo; ip route del 10.200.255.255/32");
    watcher_sees(lab, node, "192.0.2.2");
    let lost = lab.on(
        node,
        "systemctl stop watch-network; grep -E '^Deleted \
        .*(10[.]200[.]|labctl-vxlan|198[.]18[.])' /run/watched; rm /run/watched",
    );
    let planted = |line: &&str| !line.contains("10.200.255.255");
    let others: Vec<&str> = lost.lines().filter(planted).collect();
    assert!(
        others.len() < lost.lines().count(),
        "the way that was taken away by hand is not seen: {lost}"
    );
    others.join("\n")
}

#[test]
fn nodes_come_and_go_and_a_lost_controller_is_replaced() {
    let lab = Lab::new("sandbox");
    lab.must(&["up"]);
    let original = inventory(&lab);

    // A worker: the others learn its name and the way to its pods, and nothing of theirs is
    // interrupted.
    let before = lab.start_times();
    watch_network(&lab, "worker-0");
    let added = lab.must(&[
        "node",
        "add",
        "worker-2",
        "--address",
        "10.230.0.22",
        "--role",
        "worker",
        "--label",
        "disk=nvme",
    ]);
    let knows = [
        "prepare: names of the nodes",
        "pod-network: /etc/kubernetes/pod-routes",
        "pod-network: unit labctl-pod-network.service",
        "pod-network: routes to the other workers' pods",
    ];
    // Labels are given through the first controller.
    let labels: Vec<&str> =
        knows.iter().copied().chain(["ready: labels and taints of the nodes"]).collect();
    let name = &knows[..1];
    assert_eq!(
        changed_on_others(&added, &["worker-2"]),
        expected(&[
            ("lb-0", name),
            ("client-0", name),
            ("controller-0", &labels),
            ("controller-1", &knows),
            ("worker-0", &knows),
            ("worker-1", &knows),
        ])
    );
    assert_eq!(
        started_since(&lab, &before),
        BTreeMap::new(),
        "no unit of theirs was started again"
    );
    assert_eq!(lost_ways(&lab, "worker-0"), "", "and pods kept every way that they had");
    assert!(inventory(&lab).contains(
        "  - { name: worker-2,     address: 10.230.0.22, roles: [worker], labels: { \
                disk: nvme } }\n"
    ));

    // A controller: a member of the etcd that is there. API servers know all members, and are the
    // only ones to restart.
    let before = lab.start_times();
    let added = lab.must(&[
        "node",
        "add",
        "controller-2",
        "--address",
        "10.230.0.12",
        "--role",
        "controller",
    ]);
    let name = ["prepare: names of the nodes"];
    let controller = [
        "certificates: /etc/kubernetes/pki/apiserver.crt",
        "certificates: /etc/kubernetes/pki/apiserver.key",
        "prepare: names of the nodes",
        "kube-apiserver: /etc/systemd/system/kube-apiserver.service",
        "kube-apiserver: unit kube-apiserver.service",
    ];
    let mut changed = changed_on_others(&added, &["controller-2"]);
    changed.values_mut().for_each(|tasks| tasks.sort());
    let mut wanted = expected(&[
        (
            "lb-0",
            &["loadbalancer: /etc/nginx/nginx.conf", "loadbalancer: unit nginx.service", name[0]],
        ),
        ("client-0", &name),
        ("controller-0", &controller),
        ("controller-1", &controller),
        ("worker-0", &name),
        ("worker-1", &name),
        ("worker-2", &name),
    ]);
    wanted.values_mut().for_each(|tasks| tasks.sort());
    assert_eq!(changed, wanted);
    for (node, units) in started_since(&lab, &before) {
        // Who led beside an API server that restarted gives its lead up, and starts again by
        // itself.
        let may =
            ["kube-apiserver.service", "kube-controller-manager.service", "kube-scheduler.service"];
        assert!(
            node.starts_with("controller-")
                && units.iter().all(|unit| may.contains(&unit.as_str())),
            "{node}: {units:?}"
        );
    }
    assert_eq!(
        etcd_members(&lab, "controller-0"),
        ["controller-0", "controller-1", "controller-2"]
    );
    passes_smoke(&lab, 13);

    // With one member of three out of order, a second one must not go.
    lab.on("controller-0", "systemctl stop etcd");
    let refused = lab.run(&["node", "remove", "controller-1", "--yes"]);
    assert_eq!(refused.code, Some(1), "{}", refused.story());
    assert!(
        refused.story().contains("Of the 2 members that would stay 1 are healthy"),
        "{}",
        refused.story()
    );
    assert_eq!(etcd_list(&lab, "controller-1").lines().count(), 3, "nothing was done");

    // The first controller is lost for good: power, disk and all.
    let pid = lab.pid("controller-0");
    said("kill", &["-KILL", &pid.to_string()]);
    let disk = lab.directory().join("nodes/controller-0");
    said(
        "rm",
        &[
            "-rf",
            &disk.join("upper").display().to_string(),
            &disk.join("containerd").display().to_string(),
        ],
    );
    lab.must(&["node", "remove", "controller-0", "--gone", "--yes"]);
    assert_eq!(etcd_members(&lab, "controller-1"), ["controller-1", "controller-2"]);
    assert!(!inventory(&lab).contains("controller-0"));
    let again = ["node", "add", "controller-0", "--address", "10.230.0.10", "--role", "controller"];
    // Cut off when it is about to join, it is finished by the same command.
    let joins = |event: &Value| event["event"] == "play_started" && event["play"] == "etcd";
    lab.kill_at(&again, joins);
    mine::must(&lab, &again, "controller-0");
    assert_eq!(
        etcd_members(&lab, "controller-0"),
        ["controller-0", "controller-1", "controller-2"]
    );
    passes_smoke(&lab, 13);

    // And back to what it was.
    mine::must(&lab, &["node", "remove", "controller-2", "--yes"], "controller-0");
    mine::forget(&lab);
    assert_eq!(etcd_members(&lab, "controller-0"), ["controller-0", "controller-1"]);
    a_worker_whose_pods_do_not_stop_goes_when_that_is_asked_for(&lab);
    let mut lines: Vec<String> = inventory(&lab).lines().map(str::to_owned).collect();
    lines.sort();
    let mut were: Vec<String> = original.lines().map(str::to_owned).collect();
    were.sort();
    assert_eq!(lines, were, "only the order of the controllers is another");
    let nodes = lab.kubectl("get nodes -o name");
    assert_eq!(String::from_utf8_lossy(&nodes.stdout), "node/worker-0\nnode/worker-1\n");
    for node in ["lb-0", "controller-0", "controller-1", "worker-0", "worker-1", "client-0"] {
        let left = lab.on(
            node,
            "grep -E 'worker-2|controller-2' /etc/hosts; ip route show 10.200.2.0/24; true",
        );
        assert_eq!(left, "", "{node} remembers a node that has left");
    }
    is_settled(&lab);
    passes_smoke(&lab, 13);
    goes_without_a_trace(&lab);
}

/// No pod may be evicted, so the worker stays, and goes with `--force`.
fn a_worker_whose_pods_do_not_stop_goes_when_that_is_asked_for(lab: &Lab) {
    let kubectl = |arguments: &str| {
        let output = lab.kubectl(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned() + &stderr)
    };
    let must = |arguments: &str| {
        let (well, said) = kubectl(arguments);
        assert!(well, "kubectl {arguments}: {said}");
        said
    };
    let on_it = r#"{"spec":{"nodeName":"worker-2"}}"#;
    let image = busybox();
    must(&format!("run stays --image={image} --overrides={on_it} --command -- sleep 1000000"));
    must("wait pod/stays --for=condition=Ready --timeout=60s");
    let policy = lab.folder().join("policy.yaml");
    std::fs::write(&policy, NO_EVICTIONS).expect("a file");
    must(&format!("apply -f {}", policy.display()));
    let drain = "drain worker-2 --force --ignore-daemonsets --delete-emptydir-data";
    let held = || {
        let (well, said) = kubectl(&format!("{drain} --dry-run=server --timeout=9s"));
        !well && said.contains("nobody leaves")
    };
    assert!(lab.within_two_minutes(held), "evictions are refused");

    let refused = lab.run(&["node", "remove", "worker-2", "--yes"]);
    assert_eq!(refused.code, Some(1), "{}", refused.story());
    assert!(refused.story().contains("pods of worker-2 go elsewhere"), "{}", refused.story());
    assert!(must("get nodes -o name").contains("node/worker-2\n"));
    assert!(inventory(lab).contains("worker-2"));
    lab.must(&["node", "remove", "worker-2", "--force", "--yes"]);
    assert!(!must("get nodes -o name").contains("worker-2"));
    let left = must("get pods --all-namespaces --field-selector spec.nodeName=worker-2 -o name");
    assert_eq!(left, "", "the pods went with their node");
    must(&format!("delete -f {}", policy.display()));
    std::fs::remove_file(policy).expect("it was there");
}

const NO_EVICTIONS: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: { name: nobody-leaves }
spec:
  matchConstraints:
    resourceRules:
      - { apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods/eviction] }
  validations: [{ expression: "false", message: nobody leaves }]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: { name: nobody-leaves }
spec: { policyName: nobody-leaves, validationActions: [Deny] }
"#;
