//! Whose a node is: a lab without its keys, another lab's nodes, somebody else's cluster.

use std::fs;

use serde_json::Value;

use crate::lab::{Lab, Run};
use crate::teardown::bare_nodes;
use crate::{certificates, is_settled, mine};

const KEYS: &str = "sha256sum /etc/kubernetes/pki/ca.key /etc/kubernetes/pki/etcd/ca.key \
                    /etc/kubernetes/pki/front-proxy-ca.key /etc/kubernetes/pki/sa.key \
                    /etc/kubernetes/encryption-config.yaml";

/// The run was refused before anything was touched, for a reason and with a remedy.
fn refused(run: &Run, why: &str, remedy: &str) {
    assert_eq!(run.code, Some(1), "{}", run.story());
    let failure = run.all("task_failed").next().unwrap_or_else(|| panic!("{}", run.story()));
    assert_eq!(failure["task"], "preflight", "{}", run.story());
    let text = |field: &str| failure[field].as_str().unwrap_or_default().to_owned();
    assert!(text("reason").contains(why), "{}", run.story());
    assert!(text("help").contains(remedy), "{}", run.story());
    assert_eq!(run.all("task_ended").count(), 0, "{}", run.story());
    assert_eq!(
        run.all("planned").count(),
        0,
        "there is no plan to replace anything: {}",
        run.story()
    );
}

/// An inventory of another workstation for the lab's node, with another lab name.
fn elsewhere(lab: &Lab, file: &str, name: &str) {
    let text = fs::read_to_string(lab.folder().join("inventory.yaml")).expect("an inventory");
    let identity = lab.directory().join("ssh/id_ed25519").display().to_string();
    let local = text.find("local:").expect("a local lab");
    let end = text[local..].find("\n\n").expect("the end of the section") + local;
    let text = format!("{}ssh: {{ identity: {identity} }}{}", &text[..local], &text[end..]);
    let text = text.replace("name: single", &format!("name: {name}"));
    // A machine with cgroup version 1 would be refused: without `local`, it is somebody's own.
    let old = "\ncomponents:\n  kubelet: { config: { failCgroupV1: false } }\n";
    fs::write(lab.folder().join(file), text + old).expect("an inventory");
    let own = lab.folder().join(".labctl").join(name);
    fs::create_dir_all(&own).expect("a lab directory");
    fs::copy(lab.directory().join("known_hosts"), own.join("known_hosts")).expect("known hosts");
}

#[test]
fn a_node_belongs_to_one_lab_and_no_command_forgets_it() {
    let lab = Lab::new("single");
    lab.must(&["up"]);
    certificates::a_lab_whose_certificates_have_ended_is_revived(&lab);
    let node = lab.nodes().remove(0);
    let node = node.as_str();
    let keys = lab.on(node, KEYS);
    let mark = lab.on(node, "cat /var/lib/labctl/lab");
    assert!(mark.contains("lab single\nkey ca.key "), "{mark}");
    assert_eq!(mark.lines().filter(|line| line.starts_with("key ")).count(), 5, "{mark}");

    let made = lab.kubectl("create configmap ours --from-literal=word=kept");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    lab.must(&["etcd", "backup", "single.backup"]);

    a_lab_directory_without_its_keys_changes_nothing(&lab, node, &keys);
    a_node_from_before_there_were_marks_is_adopted_when_the_keys_fit(&lab, node);
    another_lab_is_refused_and_keeps_the_keys_when_it_takes_over(&lab, node, &keys);
    lab.must(&["down", "--yes"]);
}

fn a_lab_directory_without_its_keys_changes_nothing(lab: &Lab, node: &str, keys: &str) {
    let (pki, kept) = (lab.directory().join("pki"), lab.folder().join("kept"));
    fs::rename(&pki, &kept).expect("moved away");
    let lacks = "the lab directory does not have its ca.key, encryption.key";
    let verbs: [&[&str]; 4] =
        [&["plan"], &["up"], &["down", "--yes", "--keep-nodes"], &["play", "up"]];
    for verb in verbs {
        refused(&lab.run(verb), lacks, "`labctl recover`");
        assert!(!pki.exists(), "{verb:?} makes no keys in the place of the lost ones");
    }
    let inventory = fs::read(lab.folder().join("inventory.yaml")).expect("an inventory");
    let add = ["node", "add", "worker-9", "--address", "10.231.0.99", "--role", "worker"];
    for verb in [&["certs", "renew"][..], &["certs", "rotate-ca"], &["smoke"], &add] {
        let run = lab.run(verb);
        assert_eq!(run.code, Some(1), "{}", run.story());
        assert!(!pki.exists(), "{verb:?}");
        assert_eq!(fs::read(lab.folder().join("inventory.yaml")).expect("an inventory"), inventory);
        assert!(run.story().contains("labctl recover"), "{}", run.story());
    }
    assert_eq!(lab.on(node, KEYS), keys);
    lab.must(&["recover"]);
    for name in ["ca.key", "etcd/ca.key", "front-proxy-ca.key", "sa.key", "encryption.key"] {
        let read = |folder: &std::path::Path| fs::read(folder.join(name)).expect(name);
        assert_eq!(read(&pki), read(&kept), "{name}");
    }
    is_settled(lab);
}

fn a_node_from_before_there_were_marks_is_adopted_when_the_keys_fit(lab: &Lab, node: &str) {
    let mark = lab.on(node, "cat /var/lib/labctl/lab; rm /var/lib/labctl/lab");
    let (pki, kept) = (lab.directory().join("pki"), lab.folder().join("older"));
    fs::rename(&pki, &kept).expect("moved away");
    refused(&lab.run(&["up"]), "it runs a lab that labctl made", "`labctl recover`");
    fs::rename(&kept, &pki).expect("moved back");
    is_settled(lab);
    lab.on(node, "systemctl stop kube-scheduler");
    lab.must(&["up"]);
    assert_eq!(lab.on(node, "cat /var/lib/labctl/lab"), mark, "it is marked with the first change");
}

fn another_lab_is_refused_and_keeps_the_keys_when_it_takes_over(lab: &Lab, node: &str, keys: &str) {
    elsewhere(lab, "other.yaml", "other");
    let smoke = lab.run(&["smoke", "other.yaml"]);
    assert!(smoke.story().contains("it belongs to another lab: `single`"), "{}", smoke.story());
    for verb in
        [&["plan", "other.yaml"][..], &["up", "other.yaml"], &["down", "other.yaml", "--yes"]]
    {
        refused(
            &lab.run(verb),
            "it belongs to another lab: `single`",
            &format!("--take-over {node}"),
        );
    }
    let recovered = lab.run(&["recover", "other.yaml"]);
    assert_eq!(recovered.code, Some(1), "{}", recovered.story());
    assert!(
        recovered.story().contains("belongs to another lab: `single`"),
        "{}",
        recovered.story()
    );
    assert!(!lab.folder().join(".labctl/other/pki").exists(), "nothing was made for the other lab");
    assert_eq!(lab.on(node, KEYS), keys, "nothing was changed on the node");

    // The keys are the last copies, for all that the node knows.
    // What becomes of etcd's data under other keys is not what this is about: the run ends when the
    // last of the keys is there.
    let is_last = |event: &Value| {
        event["event"] == "task_ended"
            && event["task"].as_str().is_some_and(|task| task.contains("encryption-config"))
    };
    lab.kill_at(&["up", "other.yaml", "--take-over", node], is_last);
    assert_ne!(lab.on(node, KEYS), keys, "the other lab has its own keys there now");
    let kept = "cd /var/lib/labctl/kept-keys && find . -type f -exec sha256sum {} + | cut -d' ' \
        -f1 | sort; \
                find . -type f ! -perm 600";
    let mut before: Vec<&str> = keys.lines().filter_map(|line| line.split(' ').next()).collect();
    before.sort_unstable();
    assert_eq!(
        lab.on(node, kept).lines().collect::<Vec<_>>(),
        before,
        "each is kept, for root alone"
    );
    refused(&lab.run(&["up"]), "it belongs to another lab: `other`", "--take-over");

    // Such a lab can have all that the first one had: its data, its certificates and its keys.
    let restore = ["etcd", "restore", "other.yaml", "single.backup", "--yes"];
    let foreign = lab.run(&restore);
    assert_eq!(foreign.code, Some(2), "{}", foreign.story());
    assert!(foreign.stderr.contains("a backup of the lab single"), "{}", foreign.stderr);
    mine::templates_for_a_shared_kernel(lab);
    let own = ["--templates", "mine/templates"];
    lab.must(&[&restore[..], &["--force"], &own].concat());
    assert_eq!(lab.on(node, KEYS), keys, "they are on the node again");
    let theirs = lab.folder().join(".labctl/other/admin.conf").display().to_string();
    let word = "get configmap ours -o jsonpath={.data.word}";
    let found = lab.kubectl(&format!("--kubeconfig={theirs} {word}"));
    assert_eq!(String::from_utf8_lossy(&found.stdout), "kept", "and so is the data");
}

#[test]
fn somebody_elses_cluster_is_left_alone() {
    let lab = Lab::new("single");
    bare_nodes(&lab);
    let node = lab.nodes().remove(0);
    let node = node.as_str();
    let signs = [
        ("/etc/kubernetes/manifests/kube-apiserver.yaml", "kubeadm"),
        ("/etc/rancher/k3s/k3s.yaml", "k3s"),
        ("/var/lib/etcd/member/snap/db", "an etcd"),
        ("/etc/kubernetes/scheduler.conf", "a cluster that labctl did not make"),
    ];
    for (path, maker) in signs {
        let (directory, _) = path.rsplit_once('/').expect("a path");
        lab.on(node, &format!("mkdir -p {directory} && echo theirs > {path}"));
        refused(&lab.run(&["up"]), &format!("it belongs to somebody else: {maker}"), "--take-over");
        refused(&lab.run(&["plan"]), maker, "--take-over");
        assert_eq!(
            lab.on(node, &format!("cat {path}; ls -A /var/lib/labctl 2>/dev/null || true")),
            "theirs"
        );
        let top = path.split('/').take(4).collect::<Vec<_>>().join("/");
        lab.on(node, &format!("rm -rf {top}; rmdir /etc/kubernetes 2>/dev/null || true"));
    }
    assert!(!lab.directory().join("pki").exists(), "no keys were made for a lab that was refused");
}
