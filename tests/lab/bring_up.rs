//! Bringing labs up: from nothing, again, interrupted, with other choices, on a machine that is
//! somebody's own.

use std::path::Path;
use std::process::Command;

use labctl::cluster::Version;
use serde_json::Value;

use crate::lab::{Lab, Moment, said};
use crate::teardown::{bare_nodes, censuses, is_as_before_but};
use crate::{backup, hardening, kubeconfigs, nodes};
use crate::{goes_without_a_trace, is_settled, no_run_has_told_a_secret, passes_smoke};

/// What is another after every boot.
const BOOT: &str = "cat /proc/sys/kernel/random/boot_id";

/// Every certificate of the lab directory, judged by another implementation.
fn openssl_accepts_all_certificates(lab: &Lab) {
    let pki = lab.directory().join("pki");
    let mut judged = 0;
    for certificate in said("find", &[&pki.display().to_string(), "-name", "*.crt"]).lines() {
        let relative =
            Path::new(certificate).strip_prefix(&pki).expect("below pki").display().to_string();
        let ca = if relative.contains("etcd/") || relative.contains("etcd-client") {
            "etcd/ca.crt"
        } else if relative.starts_with("front-proxy") {
            "front-proxy-ca.crt"
        } else {
            "ca.crt"
        };
        let verdict = said(
            "openssl",
            &["verify", "-CAfile", &pki.join(ca).display().to_string(), certificate],
        );
        assert!(verdict.ends_with(": OK\n"), "{relative} against {ca}: {verdict}");
        judged += 1;
    }
    assert!(judged >= 15, "only {judged} certificates were found");
    let names = said(
        "openssl",
        &[
            "x509",
            "-noout",
            "-ext",
            "subjectAltName",
            "-in",
            &pki.join("apiserver.crt").display().to_string(),
        ],
    );
    for name in
        ["10.32.0.1", "127.0.0.1", "DNS:kubernetes.default.svc.cluster.local", "DNS:localhost"]
    {
        assert!(names.contains(name), "{name} is missing in {names}");
    }
}

/// `labctl exec`: each node's lines with its name, and a failure anywhere fails the whole.
fn a_command_runs_on_many_nodes(lab: &Lab) {
    let exec = |words: &[&str]| {
        let output = lab.labctl(&[&["exec"], words].concat()).output().expect("labctl starts");
        let mut lines: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        (output.status.code(), lines, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, lines, _) = exec(&["--", "hostname; id -u"]);
    assert_eq!(code, Some(0));
    let all = ["client-0", "controller-0", "controller-1", "lb-0", "worker-0", "worker-1"];
    let expected: Vec<String> = all
        .iter()
        .flat_map(|node| [format!("{node:12} | 0"), format!("{node:12} | {node}")])
        .collect();
    assert_eq!(lines, expected, "as root, on all of them");
    let (code, lines, errors) =
        exec(&["worker-0", "worker-1", "--", "test $(hostname) = worker-1 && echo it is me"]);
    assert_eq!((code, lines), (Some(1), vec!["worker-1 | it is me".to_owned()]));
    assert_eq!(errors, "worker-0 | exit code 1\n");

    // kubectl of the lab's version, as its administrator.
    let words = ["kubectl", "get", "nodes", "-o", "name"];
    let nodes = lab.labctl(&words).output().expect("labctl starts");
    assert_eq!(String::from_utf8_lossy(&nodes.stdout), "node/worker-0\nnode/worker-1\n");
}

#[test]
fn the_sandbox_comes_up_settles_and_goes() {
    let lab = Lab::new("sandbox");
    let first = lab.must(&["up"]);
    assert!(first.changed() > 200, "a bare lab takes many changes, not {}", first.changed());

    let nodes = lab.kubectl("get nodes --no-headers");
    let nodes = String::from_utf8_lossy(&nodes.stdout).into_owned();
    let ready: Vec<&str> = nodes.lines().filter(|line| line.contains(" Ready ")).collect();
    assert_eq!(ready.len(), 2, "both workers are Ready, seen through the load balancer:\n{nodes}");
    let version = format!(" v{}", Version::TESTED);
    assert_eq!(nodes.matches(&version).count(), 2, "they say their version:\n{nodes}");

    openssl_accepts_all_certificates(&lab);
    a_command_runs_on_many_nodes(&lab);
    is_settled(&lab);
    passes_smoke(&lab, 13);
    is_settled(&lab);
    hardening::what_runs_is_hard(&lab);
    kubeconfigs::of_users(&lab);
    let words = hardening::a_secret_of_a_user(&lab);
    hardening::the_key_of_secrets_is_replaced(&lab);
    no_run_has_told_a_secret(&lab, &words);
    backup::a_lab_comes_back_from_its_backup_when_all_data_is_lost(&lab);
}

/// Of three controllers that are settled.
pub fn three_controllers_survive_the_loss_of_one(lab: &Lab) {
    // Pulling the plug on a controller: its processes are gone in the middle of whatever they did.
    let pid = lab.pid("controller-1");
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill");
    assert!(killed.success());
    for call in 1..=40 {
        let answer = lab.kubectl("--request-timeout=20s get --raw=/readyz");
        assert!(
            answer.status.success(),
            "call {call} failed: {}",
            String::from_utf8_lossy(&answer.stderr)
        );
    }

    // `up` starts it again, and what runs there after its boot is what should run there.
    lab.must(&["up"]);
    for controller in ["controller-0", "controller-1", "controller-2"] {
        let ready = "kubectl --kubeconfig /etc/kubernetes/admin.conf --server \
            https://127.0.0.1:6443 get --raw=/readyz";
        assert_eq!(lab.on(controller, ready), "ok", "{controller}");
    }
    let members = lab.on(
        "controller-1",
        "etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
         --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt --key \
        /etc/kubernetes/pki/etcd/healthcheck-client.key \
         endpoint health --cluster",
    );
    assert_eq!(members.matches("is healthy").count(), 3, "{members}");
    passes_smoke(lab, 13);
    is_settled(lab);
}

#[test]
fn a_lab_can_be_built_with_the_other_choices() {
    let lab = Lab::changed(
        "sandbox",
        &[
            ("mode: routes ", "proxy: nftables\n  mode: vxlan "),
            ("labels: { disk: ssd } }", "pod_cidr: 10.200.7.0/24 }"),
            ("network:\n", "pki: { algorithm: rsa-2048 }\naddons: [metrics-server]\n\nnetwork:\n"),
            ("  - { name: controller-1,", "  # - { name: controller-1,"),
        ],
    );
    bare_nodes(&lab);
    let before = censuses(&lab);
    lab.must(&["up"]);
    let key = said(
        "openssl",
        &[
            "x509",
            "-noout",
            "-text",
            "-in",
            &lab.directory().join("pki/apiserver.crt").display().to_string(),
        ],
    );
    assert!(key.contains("Public-Key: (2048 bit)"), "{key}");
    assert!(
        lab.on("worker-0", "nft list tables").contains("kube-proxy"),
        "kube-proxy programs nftables"
    );
    assert!(
        lab.on("worker-0", "ip -d link show type vxlan").contains("vxlan id"),
        "there is a VXLAN device"
    );
    // The part of the pod network that was chosen, at home and from elsewhere.
    assert!(
        lab.on("worker-0", "cat /etc/cni/net.d/*.conflist").contains("10.200.7.0/24"),
        "pods of worker-0 are where the inventory says"
    );
    assert!(
        lab.on("worker-1", "ip route show dev labctl-vxlan")
            .contains("10.200.7.0/24 via 198.18.0.20"),
        "and worker-1 knows the way"
    );
    passes_smoke(&lab, 13);
    is_settled(&lab);

    // A machine that is booted again comes back by itself as it was: units, routes, settings,
    // rules.
    let booted = lab.on("worker-0", BOOT);
    lab.on("worker-0", "systemctl reboot");
    assert!(
        lab.within_two_minutes(|| lab.try_on("worker-0", BOOT).is_some_and(|now| now != booted)),
        "the machine never booted again"
    );
    let settled = lab.within_two_minutes(|| lab.run(&["plan"]).code == Some(0));
    assert!(settled, "after a reboot nothing should differ: {}", lab.run(&["plan"]).story());

    // A worker that leaves is forgotten in the VXLAN as well, and one that comes takes no way away
    // from the others.
    let inventory = std::fs::read(lab.folder().join("inventory.yaml")).expect("an inventory");
    lab.must(&["node", "remove", "worker-1", "--yes"]);
    let ways = "ip route show dev labctl-vxlan; ip neigh show dev labctl-vxlan; bridge fdb show \
        dev labctl-vxlan";
    assert_eq!(
        lab.on(
            "worker-0",
            &format!("{{ {ways}; }} | grep -E '10[.]200[.]1[.]|0[.]21|:15' || true")
        ),
        ""
    );
    nodes::watch_network(&lab, "worker-0");
    // Without an address it gets the next one that is free.
    lab.must(&["node", "add", "worker-1", "--role", "worker"]);
    assert_eq!(nodes::lost_ways(&lab, "worker-0"), "");
    assert!(
        lab.on("worker-0", ways).contains("10.200.1.0/24 via 198.18.0.21"),
        "{}",
        lab.on("worker-0", ways)
    );
    assert_eq!(
        std::fs::read(lab.folder().join("inventory.yaml")).expect("an inventory"),
        inventory
    );
    passes_smoke(&lab, 13);

    // A VXLAN and the rules of nftables leave nothing behind either. But one kernel serves all
    // nodes here, so what worker-1 gave back when it left in between was the others', too: its
    // settings are not compared. `nodes_that_stay_are_as_they_were` does, where nobody leaves in
    // between.
    const SHARED: &[&str] = &[
        "sysctl\tkernel/panic\t",
        "sysctl\tkernel/panic_on_oops\t",
        "sysctl\tvm/overcommit_memory\t",
    ];
    lab.must(&["down", "--yes", "--keep-nodes"]);
    for node in ["controller-0", "worker-0"] {
        is_as_before_but(SHARED, &lab, node, &before, "after a lab with a VXLAN and nftables");
    }
    goes_without_a_trace(&lab);
}

#[test]
fn a_user_with_sudo_on_a_machine_that_exists_already_is_enough() {
    let lab = Lab::new("single");
    bare_nodes(&lab);
    // From here on the node is somebody's machine: labctl did not make it, and logs in as a user
    // who may use sudo.
    lab.on(
        "node-0",
        "useradd --create-home --shell /bin/sh dev && echo 'dev ALL=(ALL) NOPASSWD: ALL' > \
        /etc/sudoers.d/dev && \
         install -d -m 700 -o dev /home/dev/.ssh && install -m 600 -o dev \
        /root/.ssh/authorized_keys /home/dev/.ssh/",
    );
    let identity = lab.directory().join("ssh/id_ed25519");
    let inventory = format!(
        "name: own\nkubernetes: \"1.36.3\"\nbundle: {}\nssh: {{ user: dev, identity: {} \
        }}\nnodes:\n  \
         - {{ name: node-0, address: 10.231.0.10, roles: [controller] }}\n",
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("bundle")
            .canonicalize()
            .expect("a bundle")
            .display(),
        identity.display()
    );
    let write = |name: &str, text: &str| std::fs::write(lab.folder().join(name), text).expect(name);
    write("own.yaml", &inventory);
    write(
        "mine.yaml",
        "name: mine\nplays:\n  - name: greet\n    hosts: all\n    tasks:\n      \
         - file: { content: 'hello from {{ node.name }}', to: /etc/greeting, mode: '0600' }\n      \
         - binary: { from: kubectl, to: /usr/local/bin/kubectl }\n",
    );

    for directory in ["own", "templates"] {
        std::fs::create_dir(lab.folder().join(directory)).expect("a directory");
    }

    // A host key that nobody vouched for is refused, and nothing is done.
    let unknown = lab.run(&["play", "mine.yaml", "own.yaml"]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.story());
    assert!(unknown.story().contains("host key"), "{}", unknown.story());

    let own = lab.folder().join(".labctl/own");
    std::fs::copy(lab.directory().join("known_hosts"), own.join("known_hosts"))
        .expect("known hosts");
    let plan = lab.run(&["play", "mine.yaml", "own.yaml", "--plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    assert!(plan.story().contains("/etc/greeting"), "{}", plan.story());
    assert_eq!(
        lab.on("node-0", "ls /etc/greeting 2>&1 || true").matches("No such file").count(),
        1
    );
    let first = lab.must(&["play", "mine.yaml", "own.yaml"]);
    assert_eq!(first.changed(), 2, "{}", first.story());
    let wrote = lab.on(
        "node-0",
        "stat -c '%a %U' /etc/greeting; cat /etc/greeting; /usr/local/bin/kubectl version --client",
    );
    let says = format!("600 root\nhello from node-0Client Version: v{}", Version::TESTED);
    assert!(wrote.starts_with(&says), "{wrote}");
    let again = lab.must(&["play", "mine.yaml", "own.yaml"]);
    assert_eq!(again.changed(), 0, "{}", again.story());
    // The same by its name, from a directory of playbooks, with a template of one's own.
    write(
        "own/hello.yaml",
        "name: hello\nplays:\n  - name: greet\n    hosts: all\n    tasks:\n      \
         - template: { from: hello, to: /etc/greeting, mode: '0600' }\n",
    );
    write("templates/hello.tera", "good day, {{ node.name }}");
    let named = ["play", "hello", "own.yaml", "--playbooks", "own", "--templates", "templates"];
    assert_eq!(lab.must(&named).changed(), 1);
    assert_eq!(lab.on("node-0", "cat /etc/greeting"), "good day, node-0");

    // A whole control plane, the same way, on a machine on which somebody has an nginx and a
    // kubeconfig of their own.
    let before = "systemctl is-enabled nginx; systemctl is-active nginx; cat \
        /etc/nginx/nginx.conf; cat /root/.kube/config; \
                  cat /etc/hosts; ls /etc /usr/local/bin /etc/systemd/system /var/lib; ip route; \
        cat /proc/sys/net/ipv4/ip_forward";
    lab.on(
        "node-0",
        "systemctl enable --quiet --now nginx && mkdir -p /root/.kube && echo theirs > \
        /root/.kube/config && \
         rm -rf /etc/greeting /usr/local/bin/kubectl /var/lib/labctl",
    );
    let theirs = lab.on("node-0", before);
    let up = lab.must(&["up", "own.yaml"]);
    assert!(up.changed() > 50, "{}", up.story());
    assert_eq!(lab.must(&["up", "own.yaml"]).changed(), 0);
    let ready =
        "kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw=/readyz; cat /root/.kube/config";
    assert_eq!(
        lab.on("node-0", ready),
        "oktheirs",
        "the API answers, and their kubeconfig is still theirs"
    );
    // A member of etcd that has lost its data would found an empty cluster: refused before anything
    // is done.
    lab.on("node-0", "systemctl stop etcd && mv /var/lib/etcd/member /var/lib/etcd/elsewhere");
    let refused = lab.run(&["up", "own.yaml"]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.story().contains("it was a member of this lab's etcd, and its data"),
        "{}",
        refused.story()
    );
    lab.on("node-0", "mv /var/lib/etcd/elsewhere /var/lib/etcd/member && systemctl start etcd");
    // The lab directory is lost. Somebody has to vouch for the machine again; its own record knows
    // all the rest.
    std::fs::remove_dir_all(&own).expect("the lab directory");
    let unknown = lab.run(&["down", "own.yaml", "--yes"]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.story());
    assert!(unknown.story().contains("host key"), "{}", unknown.story());
    std::fs::copy(lab.directory().join("known_hosts"), own.join("known_hosts"))
        .expect("known hosts");
    let keyless = lab.run(&["down", "own.yaml", "--yes"]);
    assert_eq!(keyless.code, Some(1), "{}", keyless.story());
    assert!(
        keyless.story().contains("`labctl recover` reads the keys back"),
        "{}",
        keyless.story()
    );
    lab.must(&["down", "own.yaml", "--yes", "--take-over", "node-0"]);
    assert_eq!(
        lab.on("node-0", before),
        theirs,
        "what was theirs is as it was, and nothing of ours is left"
    );

    // Without sudo there is one clear error.
    lab.on("node-0", "rm /etc/sudoers.d/dev");
    let refused = lab.run(&["play", "mine.yaml", "own.yaml"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.story().contains("sudo"), "{}", refused.story());
    lab.must(&["down", "--yes"]);
}

#[test]
fn up_can_be_killed_at_any_moment_and_run_again() {
    let lab = Lab::new("sandbox");
    // Asked to stop, it lets what runs end and says so.
    let stopped = lab.up_stopped_at(|event| event["event"] == "pushing");
    assert_eq!(stopped.code, Some(130), "{}", stopped.story());
    assert_eq!(stopped.summary()["cancelled"], true, "{}", stopped.story());
    assert!(!stopped.events.iter().any(|event| started("etcd", event)), "nothing new is begun");

    // Each run is killed at the first of these moments at which no run was killed before, until one
    // gets through.
    let mut moments: Vec<Moment> = vec![
        ("before the nodes are made", |event| event["event"] == "step_started"),
        ("when certificates are being issued", |e| {
            e["event"] == "step_started" && e["step"] == "certificates"
        }),
        ("when nodes are being probed", |event| event["event"] == "node_connected"),
        ("as soon as a plan is made", |event| event["event"] == "planned"),
        ("in the middle of the push", |e| {
            e["event"] == "pushing" && e["sent"].as_u64() > Some(50_000_000)
        }),
        ("when etcd's binary is in place", |event| ended("controller-binaries", event)),
        ("while etcd starts", |event| started("etcd", event)),
        ("while images are imported", |event| ended("containerd", event)),
        ("while the API servers start", |event| started("kube-apiserver", event)),
        ("while the load balancer starts", |event| started("loadbalancer", event)),
        ("while the scheduler starts", |event| started("kube-scheduler", event)),
        ("while the kubelets start", |event| started("kubelet", event)),
        ("while DNS is applied", |event| started("coredns", event)),
        ("when all is applied but not ready", |event| started("ready", event)),
    ];
    let mut reached = Vec::new();
    while let Some(index) = lab.up_killed_at_first(&moments) {
        reached.push(moments.remove(index).0);
    }
    // Some pass together: what a script on a node has begun, it finishes without labctl. These do
    // not.
    for moment in [
        "before the nodes are made",
        "when certificates are being issued",
        "when nodes are being probed",
        "as soon as a plan is made",
        "in the middle of the push",
        "while etcd starts",
        "while the API servers start",
        "while the kubelets start",
        "when all is applied but not ready",
    ] {
        assert!(reached.contains(&moment), "never killed {moment}, only {reached:?}");
    }
    is_settled(&lab);
    for node in lab.nodes() {
        assert_eq!(half_written(&lab, &node), Vec::<String>::new(), "half-written files on {node}");
    }
    // The search sees such files where there are some.
    let planted = ["/etc/kubernetes/.admin.conf.labctl-1", "/var/lib/labctl/blobs/.incoming-1"];
    lab.on("controller-0", &format!("touch {}", planted.join(" ")));
    assert_eq!(half_written(&lab, "controller-0"), planted);
    lab.on("controller-0", &format!("rm {}", planted.join(" ")));
    passes_smoke(&lab, 13);
    goes_without_a_trace(&lab);
}

/// Files on a node that somebody began to write and did not finish.
fn half_written(lab: &Lab, node: &str) -> Vec<String> {
    let found = lab.on(
        node,
        "find / -xdev -name '.*.labctl-*' -o -xdev -path '/var/lib/labctl/blobs/.incoming-*'",
    );
    let mut found: Vec<String> = found.lines().map(str::to_owned).collect();
    found.sort();
    found
}

fn started(play: &str, event: &Value) -> bool {
    event["event"] == "play_started" && event["play"] == play
}

fn ended(play: &str, event: &Value) -> bool {
    event["event"] == "task_ended" && event["play"] == play
}
