//! Taking labs off nodes that stay: what was there before is there again, whatever state the lab was in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use labctl::event::Events;
use labctl::lab::{LabDirectory, cache_directory};

use crate::lab::{Lab, Moment};
use crate::{goes_without_a_trace, passes_smoke};

/// What may differ between two censuses, and why. Everything else is labctl's to put back.
const NOBODYS: &[(&str, &str)] = &[
    ("file\t/var/log/nginx/error.log", "a log"),
    ("file\t/run/log/", "the journal"),
    ("file\t/run/systemd/", "systemd's own state: units that it knows, sessions, the journal's streams"),
    ("file\t/var/cache/apt/", "the package manager's own records"),
    ("content\t/var/cache/apt/", "the package manager's own records"),
    ("sysctl\tfs/dentry-state", "a counter"),
    ("sysctl\tfs/file-nr", "a counter"),
    ("sysctl\tfs/inode-", "a counter"),
    ("sysctl\tfs/quota/", "a counter"),
    ("sysctl\tkernel/ns_last_pid", "a counter"),
    ("sysctl\tkernel/random/", "random numbers"),
    ("sysctl\tnet/netfilter/nf_conntrack_count", "a counter: connections of the moment"),
];

type Census = BTreeSet<String>;

/// Makes the nodes of a lab and nothing on them: machines that somebody has just installed.
fn bare_nodes(lab: &Lab) {
    let (cluster, _) = labctl::cluster::open(&lab.folder().join("inventory.yaml")).expect("an inventory");
    let directory = LabDirectory::new(&cluster.lab_directory);
    let (events, _told) = Events::channel();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cache = cache_directory();
    runtime.block_on(labctl::local::up(&cluster, &directory, &cache, &events)).expect("local nodes");
}

/// All that there is on a node, a line a thing.
fn census(lab: &Lab, node: &str) -> Census {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/census.sh");
    let mut ssh = lab.labctl(&["ssh", "inventory.yaml", node, "--", "sh -s"]);
    let output = ssh.stdin(File::open(script).expect("the script")).output().expect("ssh starts");
    assert!(output.status.success(), "{node}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let of_somebody = |line: &&str| !NOBODYS.iter().any(|(start, _)| line.starts_with(start));
    let census: Census = text.lines().filter(of_somebody).map(str::to_owned).collect();
    assert!(census.len() > 5000, "{node}: a census that sees little: {} lines", census.len());
    census
}

fn censuses(lab: &Lab) -> BTreeMap<String, Census> {
    lab.nodes().into_iter().map(|node| (node.clone(), census(lab, &node))).collect()
}

/// Nothing came and nothing went.
fn is_as_before(lab: &Lab, node: &str, before: &BTreeMap<String, Census>, when: &str) {
    let (before, after) = (&before[node], census(lab, node));
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    let differs: Vec<String> = gone.chain(after.difference(before).map(|line| format!("+ {line}"))).collect();
    assert!(differs.is_empty(), "{node} {when} is not as it was:\n{}", differs.join("\n"));
}

/// Pods that hold all that pods can hold: mounts, a Service with a port on every node, a port of the node itself.
const PODS: &str = r#"
apiVersion: v1
kind: Secret
metadata: { name: word }
stringData: { word: hidden }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - name: web
          image: IMAGE
          imagePullPolicy: Never
          command: [sh, -c, "trap '' TERM; sleep 100000 & exec httpd -f -p 8080 -h /word"]
          volumeMounts: [{ name: word, mountPath: /word }, { name: scratch, mountPath: /scratch }]
      volumes: [{ name: word, secret: { secretName: word } }, { name: scratch, emptyDir: { medium: Memory } }]
---
apiVersion: v1
kind: Pod
metadata: { name: port }
spec:
  containers:
    - name: port
      image: IMAGE
      imagePullPolicy: Never
      command: [httpd, -f, -p, "8080", -h, /]
      ports: [{ containerPort: 8080, hostPort: 18080 }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: NodePort, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
"#;

fn run_pods(lab: &Lab) {
    let image = lab.on("worker-0", "ctr -n k8s.io images ls -q | grep -m 1 busybox");
    let mut apply = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/bin/kubectl"))
        .args(["apply", "-f", "-"])
        .env("KUBECONFIG", lab.directory().join("admin.conf"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("kubectl starts");
    apply.stdin.take().expect("a pipe").write_all(PODS.replace("IMAGE", &image).as_bytes()).expect("the manifest");
    assert!(apply.wait().expect("kubectl ends").success());
    for ready in ["deployment/web --for=condition=Available", "pod/port --for=condition=Ready"] {
        let waited = lab.kubectl(&format!("wait --timeout=60s {ready}"));
        assert!(waited.status.success(), "{ready}: {}", String::from_utf8_lossy(&waited.stderr));
    }
    let there =
        lab.on("worker-0", "grep -c /var/lib/kubelet/pods /proc/self/mounts; iptables-save | grep -c -e KUBE- -e CNI-");
    assert!(there.lines().all(|count| count.parse::<u32>().is_ok_and(|count| count > 3)), "mounts, rules: {there}");
}

#[test]
fn nodes_that_stay_are_as_they_were() {
    let lab = Lab::changed(
        "sandbox",
        &[
            ("  - { name: controller-1,", "  # - { name: controller-1,"),
            ("  - { name: worker-1,", "  # - { name: worker-1,"),
        ],
    );
    bare_nodes(&lab);
    // What somebody has there already, some of it in the lab's way.
    lab.on(
        "worker-0",
        "printf '192.0.2.9 printer' >> /etc/hosts && chmod 664 /etc/hosts && \
         echo theirs > /usr/local/bin/ctr && chown daemon /usr/local/bin/ctr && chmod 4750 /usr/local/bin/ctr && \
         iptables -A INPUT -s 192.0.2.77 -j DROP && iptables -t nat -N THEIRS && ip route add 192.0.2.0/24 dev lo && \
         ip netns add theirs && install -d -m 2775 -g daemon /opt/cni && echo 61 > /proc/sys/net/ipv4/tcp_keepalive_intvl",
    );
    let before = censuses(&lab);
    assert_eq!(before.len(), 4, "all nodes run");

    // Cut off half-way, at three moments, each time taken down from there.
    let moments: [Moment; 3] = [
        ("in the middle of the push", |e| e["event"] == "pushing" && e["sent"].as_u64() > Some(50_000_000)),
        ("while etcd starts", |e| e["event"] == "play_started" && e["play"] == "etcd"),
        ("while images are imported", |e| e["event"] == "task_ended" && e["play"] == "containerd"),
    ];
    for moment in moments {
        assert_eq!(lab.up_killed_at_first(&[moment]), Some(0), "{}", moment.0);
        lab.must(&["down", "--yes", "--keep-nodes"]);
        for node in before.keys() {
            is_as_before(&lab, node, &before, moment.0);
        }
    }

    // A whole lab with pods. Then containerd is dead and gone, and a node is without power.
    lab.must(&["up"]);
    run_pods(&lab);
    lab.on("worker-0", "mv /usr/local/bin/containerd /run/lost; systemctl kill -s KILL containerd");
    let lost = lab.pid("lb-0");
    assert!(Command::new("kill").args(["-KILL", &lost.to_string()]).status().expect("kill").success());
    let partly = lab.run(&["down", "--yes", "--keep-nodes"]);
    assert_eq!(partly.code, Some(1), "{}", partly.story());
    let failed: Vec<&str> = partly.all("task_failed").filter_map(|event| event["node"].as_str()).collect();
    assert_eq!(failed, ["lb-0"], "{}", partly.story());
    lab.on("worker-0", "rm /run/lost");
    for node in ["controller-0", "worker-0", "client-0"] {
        is_as_before(&lab, node, &before, "after a lab of which one node cannot be reached");
    }

    // The same nodes again. This time with everything that works, and then the lab directory's certificates are lost.
    lab.must(&["up"]);
    passes_smoke(&lab, 12);
    run_pods(&lab);
    std::fs::remove_dir_all(lab.directory().join("pki")).expect("the certificates");
    lab.must(&["down", "--yes", "--keep-nodes"]);
    for node in before.keys() {
        is_as_before(&lab, node, &before, "after a whole lab");
    }
    let again = lab.must(&["down", "--yes", "--keep-nodes"]);
    assert_eq!((again.changed(), again.all("task_ended").count()), (0, 0), "{}", again.story());
    goes_without_a_trace(&lab);
}
