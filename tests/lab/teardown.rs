//! Taking labs off nodes that stay: what was there before is there again, whatever state the lab
//! was in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use labctl::event::Events;
use labctl::lab::{LabDirectory, cache_directory};

use crate::lab::{Lab, Moment};
use crate::labs::power_failure;
use crate::{goes_without_a_trace, passes_smoke};

/// What may differ between two censuses, and why. Everything else is labctl's to put back.
const NOBODYS: &[(&str, &str)] = &[
    ("file\t/var/log/nginx/error.log", "a log"),
    ("file\t/run/log/", "the journal"),
    (
        "file\t/run/systemd/",
        "systemd's own state: units that it knows, sessions, the journal's streams",
    ),
    ("file\t/var/cache/apt/", "the package manager's own records"),
    ("content\t/var/cache/apt/", "the package manager's own records"),
    ("file\t/var/lib/apt/", "the package manager's own records"),
    ("content\t/var/lib/apt/", "the package manager's own records"),
    ("file\t/var/lib/dpkg/", "the package manager's own records"),
    ("content\t/var/lib/dpkg/", "the package manager's own records"),
    (
        "content\t/var/cache/ldconfig/aux-cache",
        "the linker's notes of libraries, by the numbers of their files",
    ),
    ("file\t/var/log/apt", "a log"),
    ("file\t/var/log/dpkg.log", "a log"),
    ("sysctl\tfs/dentry-state", "a counter"),
    ("sysctl\tfs/file-nr", "a counter"),
    ("sysctl\tfs/aio-nr", "a counter"),
    ("sysctl\tfs/inode-", "a counter"),
    ("sysctl\tfs/quota/", "a counter"),
    ("sysctl\tkernel/ns_last_pid", "a counter"),
    ("sysctl\tkernel/pty/nr", "a counter: terminals of the moment, the whole machine's"),
    ("sysctl\tkernel/random/", "random numbers"),
    ("sysctl\tnet/netfilter/nf_conntrack_count", "a counter: connections of the moment"),
];

pub type Census = BTreeSet<String>;

/// Makes the nodes of a lab and nothing on them: machines that somebody has just installed.
pub fn bare_nodes(lab: &Lab) {
    let (cluster, _) =
        labctl::cluster::open(&lab.folder().join("inventory.yaml")).expect("an inventory");
    let directory = LabDirectory::new(&cluster.lab_directory);
    let (events, _told) = Events::channel();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cache = cache_directory();
    runtime
        .block_on(labctl::local::up(&cluster, &directory, &cache, &events))
        .expect("local nodes");
}

/// All that there is on a node, a line a thing.
pub fn census(lab: &Lab, node: &str) -> Census {
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

pub fn censuses(lab: &Lab) -> BTreeMap<String, Census> {
    lab.nodes().into_iter().map(|node| (node.clone(), census(lab, &node))).collect()
}

/// Nothing came and nothing went.
pub fn is_as_before(lab: &Lab, node: &str, before: &BTreeMap<String, Census>, when: &str) {
    is_as_before_but(&[], lab, node, before, when);
}

/// The same, but for lines that begin like this.
pub fn is_as_before_but(
    but: &[&str],
    lab: &Lab,
    node: &str,
    before: &BTreeMap<String, Census>,
    when: &str,
) {
    let counts = |line: &&String| !but.iter().any(|start| line.starts_with(start));
    let only = |all: &Census| -> Census { all.iter().filter(counts).cloned().collect() };
    let (before, after) = (&only(&before[node]), only(&census(lab, node)));
    let gone = before.difference(&after).map(|line| format!("- {line}"));
    let differs: Vec<String> =
        gone.chain(after.difference(before).map(|line| format!("+ {line}"))).collect();
    assert!(differs.is_empty(), "{node} {when} is not as it was:\n{}", differs.join("\n"));
}

/// Pods that hold all that pods can hold: mounts, a Service with a port on every node, a port of
/// the node itself.
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
      volumes:
        - { name: word, secret: { secretName: word } }
        - { name: scratch, emptyDir: { medium: Memory } }
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
    apply
        .stdin
        .take()
        .expect("a pipe")
        .write_all(PODS.replace("IMAGE", &image).as_bytes())
        .expect("the manifest");
    assert!(apply.wait().expect("kubectl ends").success());
    for ready in ["deployment/web --for=condition=Available", "pod/port --for=condition=Ready"] {
        let waited = lab.kubectl(&format!("wait --timeout=60s {ready}"));
        assert!(waited.status.success(), "{ready}: {}", String::from_utf8_lossy(&waited.stderr));
    }
    let there = lab.on(
        "worker-0",
        "grep -c /var/lib/kubelet/pods /proc/self/mounts; iptables-save | grep -c -e KUBE- -e CNI-",
    );
    assert!(
        there.lines().all(|count| count.parse::<u32>().is_ok_and(|count| count > 3)),
        "mounts, rules: {there}"
    );
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
         echo theirs > /usr/local/bin/ctr && chown daemon /usr/local/bin/ctr && chmod 4750 \
        /usr/local/bin/ctr && \
         iptables -A INPUT -s 192.0.2.77 -j DROP && iptables -t nat -N THEIRS && ip route add \
        192.0.2.0/24 dev lo && \
         ip netns add theirs && install -d -m 2775 -g daemon /opt/cni && echo 61 > \
        /proc/sys/net/ipv4/tcp_keepalive_intvl",
    );
    let before = censuses(&lab);
    assert_eq!(before.len(), 4, "all nodes run");

    // Cut off half-way, at three moments, each time taken down from there.
    let moments: [Moment; 3] = [
        ("in the middle of the push", |e| {
            e["event"] == "pushing" && e["sent"].as_u64() > Some(50_000_000)
        }),
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
    power_failure(&lab, "lb-0");
    let partly = lab.run(&["down", "--yes", "--keep-nodes"]);
    assert_eq!(partly.code, Some(1), "{}", partly.story());
    let failed: Vec<&str> =
        partly.all("task_failed").filter_map(|event| event["node"].as_str()).collect();
    assert_eq!(failed, ["lb-0"], "{}", partly.story());
    lab.on("worker-0", "rm /run/lost");
    for node in ["controller-0", "worker-0", "client-0"] {
        is_as_before(&lab, node, &before, "after a lab of which one node cannot be reached");
    }

    // The same nodes again. This time with everything that works, and then the lab directory's
    // certificates are lost.
    // Nodes pass large files on to each other, with a key that is let in for that and must be gone.
    let up = lab.must(&["up", "--spread", "always"]);
    let passed_on = up.all("delivered").filter(|delivered| delivered["from"].is_string());
    assert!(passed_on.count() > 0, "controller-0 and client-0 need kubectl: {}", up.story());
    passes_smoke(&lab, 12);
    run_pods(&lab);
    std::fs::remove_dir_all(lab.directory().join("pki")).expect("the certificates");
    let keyless = lab.run(&["down", "--yes", "--keep-nodes"]);
    assert_eq!(keyless.code, Some(1), "{}", keyless.story());
    assert!(
        keyless.story().contains("`labctl recover` reads the keys back"),
        "{}",
        keyless.story()
    );
    let nodes = before.keys().cloned().collect::<Vec<_>>().join(",");
    // Cut off in the middle of it, it is finished by the same command.
    let down = ["down", "--yes", "--keep-nodes", "--take-over", &nodes];
    lab.kill_at(&down, |event| event["event"] == "task_ended");
    lab.must(&down);
    for node in before.keys() {
        is_as_before(&lab, node, &before, "after a whole lab");
    }
    let again = lab.must(&["down", "--yes", "--keep-nodes"]);
    assert_eq!((again.changed(), again.all("task_ended").count()), (0, 0), "{}", again.story());
    goes_without_a_trace(&lab);
}

/// Two packages of the distribution, one of which needs the other, and one of somebody's that needs
/// both; as a repository in a folder of the node, because nodes have no way out.
///
/// Returns the name of the library that `ipset` needs: the distribution's releases name it after
/// its version.
fn offer_packages(lab: &Lab) -> String {
    let offered = lab.folder().join("offered");
    std::fs::create_dir(&offered).expect("a folder");
    let script = r#"
        [ -n "$(apt-cache depends ipset 2>/dev/null)" ] || apt-get -q update >&2
        lib=$(apt-cache depends ipset | sed -n 's/^  Depends: \(libipset[0-9a-z]*\)$/\1/p')
        lib=$(echo "$lib" | head -n 1)
        apt-get -q download ipset "$lib" >&2
        mkdir -p theirs/DEBIAN
        printf '%s\n' 'Package: theirs' 'Version: 1' 'Architecture: all' 'Maintainer: a' \
          'Depends: ipset' 'Description: a' > theirs/DEBIAN/control
        dpkg-deb --build theirs >&2
        rm -r theirs
        for deb in *.deb; do
          dpkg-deb --field "$deb"
          sum=$(sha256sum < "$deb" | cut -d' ' -f1)
          printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$sum"
        done > Packages
        tar -c .
    "#;
    let made =
        Command::new("sh").args(["-ec", script]).current_dir(&offered).output().expect("sh starts");
    assert!(made.status.success(), "packages to offer: {}", String::from_utf8_lossy(&made.stderr));
    let archive = lab.folder().join("offered.tar");
    std::fs::write(&archive, made.stdout).expect("an archive");
    let unpack = "mkdir /srv/offered && tar -x -C /srv/offered && rm -rf /etc/apt/sources.list* && \
                  echo 'deb [trusted=yes] file:/srv/offered ./' > /etc/apt/sources.list";
    let mut ssh = lab.labctl(&["ssh", "inventory.yaml", "node-0", "--", unpack]);
    let sent = ssh.stdin(File::open(archive).expect("the archive")).status().expect("ssh starts");
    assert!(sent.success());
    let library =
        lab.on("node-0", "sed -n 's/^Package: \\(libipset.*\\)/\\1/p' /srv/offered/Packages");
    assert!(library.starts_with("libipset") && library.lines().count() == 1, "{library}");
    library
}

#[test]
fn packages_that_came_with_a_lab_go_with_it() {
    let lab = Lab::new("single");
    bare_nodes(&lab);
    let library = offer_packages(&lab);
    lab.on("node-0", &format!("dpkg --purge ipset {library}"));
    let before = censuses(&lab);
    std::fs::write(
        lab.folder().join("mine.yaml"),
        "name: mine\nplays:\n  - name: tools\n    hosts: all\n    why: a tool\n    tasks:\n      \
         - package: { names: [ipset=/usr/sbin/ipset, socat=/usr/bin/socat] }\n",
    )
    .expect("a playbook");

    assert_eq!(lab.must(&["play", "mine.yaml"]).changed(), 1);
    assert_eq!(
        lab.on(
            "node-0",
            &format!("dpkg-query -W -f '${{Status}}' {library}; ipset --version | cut -d' ' -f1")
        ),
        "install ok installedipset"
    );
    let noted = lab.on("node-0", "grep ^package /var/lib/labctl/record | sort");
    let wanted = format!("package ipset\npackage {library}");
    assert_eq!(noted, wanted, "what was missing, and what came with it; socat was there");
    assert_eq!(lab.must(&["play", "mine.yaml"]).changed(), 0);

    // Somebody has come to need them: they stay, and that is said.
    lab.on("node-0", "apt-get -q -y install theirs");
    let refused = lab.run(&["down", "--yes", "--keep-nodes"]);
    assert_eq!(refused.code, Some(1), "{}", refused.story());
    assert!(
        refused
            .story()
            .contains(&format!("packages {library} ipset because these need them: theirs")),
        "{}",
        refused.story()
    );
    lab.on("node-0", "ipset --version; apt-get -q -y purge theirs");
    lab.must(&["down", "--yes", "--keep-nodes"]);
    is_as_before(&lab, "node-0", &before, "after packages came and went");
}
