//! Backups: taking one, what is refused, giving it back when everything is lost, and a lab
//! directory that is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::lab::{Lab, Run, busybox, said, same_files};
use crate::{goes_without_a_trace, is_settled, mine, passes_smoke};

const CONTROLLERS: [&str; 2] = ["controller-0", "controller-1"];

/// The node objects that `sh` would be told about by etcd itself, on one controller.
fn etcdctl(lab: &Lab, controller: &str, arguments: &str) -> String {
    lab.on(
        controller,
        &format!(
            "etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/kubernetes/pki/etcd/ca.crt \
             --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
             --key /etc/kubernetes/pki/etcd/healthcheck-client.key {arguments}"
        ),
    )
}

/// A copy of the backup with something done to it, under another name.
fn copy(lab: &Lab, name: &str, change: impl Fn(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(lab.folder().join("lab.backup")).expect("the backup");
    change(&mut bytes);
    let path = lab.folder().join(name);
    fs::write(&path, bytes).expect("a file");
    path
}

/// What the lab has that the backup has too, and that it has not.
fn is_as_at_the_backup(lab: &Lab) {
    assert_eq!(lab.kubectl_says("get configmap before -o jsonpath={.data.word}"), "kept");
    let secret = lab.kubectl_says("get secret before -o jsonpath={.data.word}");
    assert_eq!(secret, "a2VwdA==", "a Secret can be read, so the encryption key is the right one");
    assert_eq!(lab.kubectl_says("get configmap between -o jsonpath={.data.word}"), "kept");
    assert_eq!(lab.kubectl_says("get deployment before -o jsonpath={.spec.replicas}"), "2");
    assert!(!lab.kubectl("get configmap later").status.success(), "what came later is gone");
    for controller in CONTROLLERS {
        let members = etcdctl(lab, controller, "endpoint health --cluster 2>&1");
        assert_eq!(members.matches("is healthy").count(), 2, "{controller}: {members}");
        let left = lab.on(
            controller,
            "ls -A /var/lib/etcd; ls -d /var/lib/labctl/restore 2>/dev/null; stat \
                -c %a /var/lib/etcd",
        );
        assert_eq!(
            left, "member\n700",
            "{controller} keeps no copy of the data, neither old nor new"
        );
    }
}

/// Starts a restore and kills it at the first event that `moment` picks.
fn kill_restore_at(lab: &Lab, moment: fn(&Value) -> bool) {
    lab.kill_at(&["etcd", "restore", "lab.backup", "--yes"], moment);
}

fn refused(lab: &Lab, file: &str, code: i32, why: &str) {
    let run: Run = lab.run(&["etcd", "restore", file, "--yes"]);
    assert_eq!(run.code, Some(code), "{}", run.story());
    assert!(run.story().contains(why), "{file}: {}", run.story());
}

/// The end of the story of a whole sandbox: it comes back from its backup, and goes.
pub fn a_lab_comes_back_from_its_backup_when_all_data_is_lost(lab: &Lab) {
    lab.kubectl_says("create configmap before --from-literal=word=kept");
    lab.kubectl_says("create secret generic before --from-literal=word=kept");
    let sleeps = "-- sleep 1000000";
    lab.kubectl_says(&format!(
        "create deployment before --image={} --replicas=2 {sleeps}",
        busybox()
    ));

    let taken = lab.must(&["etcd", "backup", "lab.backup"]);
    assert!(
        taken
            .all("step_ended")
            .any(|step| step["detail"].as_str().is_some_and(|it| it.contains("revision ")))
    );
    let backup = lab.folder().join("lab.backup");
    assert_eq!(fs::metadata(&backup).expect("a backup").permissions().mode() & 0o777, 0o600);
    for controller in CONTROLLERS {
        assert_eq!(
            lab.on(controller, "ls -d /var/lib/labctl/snapshot.* 2>/dev/null || true"),
            "",
            "no copy is left"
        );
    }
    let unpacked = lab.folder().join("unpacked");
    fs::create_dir(&unpacked).expect("a folder");
    let script = format!(
        "cd {} && tar xzf {} && sha256sum --quiet -c SHA256SUMS && ls",
        unpacked.display(),
        backup.display()
    );
    assert_eq!(
        said("sh", &["-c", &script]),
        "SHA256SUMS\ninventory.yaml\nmanifest.json\npki\nsnapshot.db\n"
    );
    same_files(&unpacked.join("pki"), &lab.directory().join("pki"));
    fs::remove_dir_all(&unpacked).expect("removed");

    // Nothing is written over, and nothing is stopped for a backup that cannot be used.
    let again = lab.run(&["etcd", "backup", "lab.backup"]);
    assert_eq!(
        (again.code, again.stderr.contains("already exists")),
        (Some(2), true),
        "{}",
        again.story()
    );
    // Unless that is asked for: then it is a new one, of what is there now.
    let first = fs::read(&backup).expect("the backup");
    lab.kubectl_says("create configmap between --from-literal=word=kept");
    lab.must(&["etcd", "backup", "lab.backup", "--force"]);
    assert!(fs::read(&backup).expect("the backup") != first, "it is another file");
    let running = lab.start_times();
    copy(lab, "cut", |bytes| bytes.truncate(bytes.len() / 2));
    copy(lab, "flipped", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    refused(lab, "cut", 2, "truncated");
    refused(lab, "flipped", 2, "its checksum differs");
    copy(lab, "foreign", |bytes| bytes.fill(b'x'));
    refused(lab, "foreign", 2, "is not a labctl backup");
    let text = fs::read_to_string(lab.folder().join("inventory.yaml")).expect("an inventory");
    let write = |name: &str, text: String| fs::write(lab.folder().join(name), text).expect(name);
    write("older.yaml", text.replace("kubernetes: \"1.36.3\"", "kubernetes: \"1.33.9\""));
    write("other.yaml", text.replace("name: sandbox", "name: other"));
    let other = lab.run(&["etcd", "restore", "other.yaml", "lab.backup", "--yes"]);
    assert_eq!(other.code, Some(2), "{}", other.story());
    assert!(
        other.stderr.contains("this is a backup of the lab sandbox, not of other"),
        "{}",
        other.stderr
    );
    let older = lab.run(&["etcd", "restore", "older.yaml", "lab.backup", "--yes"]);
    assert_eq!(older.code, Some(2), "{}", older.story());
    assert!(older.stderr.contains("the inventory has 1.33.9"), "{}", older.stderr);
    let limited =
        lab.run(&["etcd", "restore", "lab.backup", "--yes", "--limit", "controller-0,worker-0"]);
    assert_eq!(limited.code, Some(2), "{}", limited.story());
    assert!(limited.stderr.contains("--limit leaves out controller-1"), "{}", limited.stderr);
    assert_eq!(lab.start_times(), running, "all runs as it did");
    for name in ["older.yaml", "other.yaml", "cut", "flipped", "foreign"] {
        fs::remove_file(lab.folder().join(name)).expect("removed");
    }

    // All data of all members is destroyed under running processes.
    lab.kubectl_says("create configmap later --from-literal=word=lost");
    for controller in CONTROLLERS {
        lab.on(controller, "systemctl kill -s KILL etcd.service; rm -rf /var/lib/etcd/member");
    }
    let refused_up = lab.run(&["up"]);
    assert_eq!(
        refused_up.code,
        Some(1),
        "`up` makes no new etcd where there was one: {}",
        refused_up.story()
    );
    assert!(
        refused_up.story().contains("its data in /var/lib/etcd/member is gone"),
        "{}",
        refused_up.story()
    );
    // A restore is killed on the way, and killed again when the API is coming back.
    kill_restore_at(lab, |event| event["event"] == "play_started" && event["play"] == "etcd");
    kill_restore_at(lab, |event| {
        event["event"] == "play_started" && event["play"] == "kube-apiserver"
    });
    let restored = mine::must(lab, &["etcd", "restore", "lab.backup", "--yes"], "worker-0");
    mine::forget(lab);
    assert!(
        restored.all("step_ended").any(|step| step["step"] == "restore"),
        "{}",
        restored.story()
    );
    is_as_at_the_backup(lab);
    is_settled(lab);
    passes_smoke(lab, 13);

    // The workstation loses the lab's certificates and keys. Every node still has its own.
    let pki = lab.directory().join("pki");
    let kept = lab.folder().join("kept");
    said("cp", &["-a", &pki.display().to_string(), &kept.display().to_string()]);
    fs::remove_dir_all(&pki).expect("removed");
    fs::remove_file(lab.directory().join("admin.conf")).expect("removed");
    let reads = |event: &Value| {
        event["event"] == "step_started"
            && event["step"].as_str().is_some_and(|step| step.starts_with("recover from "))
    };
    lab.kill_at(&["recover"], reads);
    lab.must(&["recover"]);
    same_files(&pki, &kept);
    assert_eq!(
        lab.kubectl_says("get configmap before -o jsonpath={.data.word}"),
        "kept",
        "admin.conf works"
    );
    is_settled(lab);
    fs::remove_dir_all(&pki).expect("removed");
    let from = lab.must(&["recover", "--from", "controller-1"]);
    let asked = |step: &Value| step["step"] == "recover from controller-1";
    assert!(from.all("step_ended").any(asked), "{}", from.story());
    same_files(&pki, &kept);

    // Another workstation, which has never met the nodes: it trusts them only when it is told to,
    // and says whom.
    let elsewhere = lab.folder().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let identity = lab.directory().join("ssh/id_ed25519").display().to_string();
    let local = "local:\n  subnet: 10.230.0.0/24\n";
    assert!(text.contains(local), "{text}");
    write(
        "elsewhere/inventory.yaml",
        text.replace(local, &format!("ssh: {{ identity: {identity} }}\n")),
    );
    let unknown = lab.run(&["recover", "elsewhere/inventory.yaml"]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.story());
    assert!(unknown.story().contains("the host is unknown"), "{}", unknown.story());
    let trusting = lab.must(&["recover", "elsewhere/inventory.yaml", "--accept-new-host-keys"]);
    let shown = trusting
        .all("warning")
        .filter(|warning| warning["message"].as_str().is_some_and(|it| it.contains("SHA256:")));
    assert_eq!(shown.count(), lab.nodes().len(), "{}", trusting.story());
    same_files(&elsewhere.join(".labctl/sandbox/pki"), &kept);
    fs::remove_dir_all(&elsewhere).expect("removed");

    // Certificates that differ from the nodes' are not written over.
    fs::copy(kept.join("etcd/ca.key"), pki.join("ca.key")).expect("another key");
    let differs = lab.run(&["recover", "--from", "controller-1"]);
    assert_eq!(differs.code, Some(1), "{}", differs.story());
    assert!(
        differs.stderr.contains("differs from what controller-1 has: ca.key"),
        "{}",
        differs.stderr
    );

    // Everything is lost, the machines too, and somebody has begun another lab: the backup is
    // enough.
    lab.must(&["down", "--yes"]);
    fs::create_dir_all(&pki).expect("a folder");
    fs::copy(kept.join("etcd/ca.key"), pki.join("ca.key")).expect("another key");
    let restored = lab.must(&["etcd", "restore", "lab.backup", "--yes"]);
    assert!(
        restored.all("warning").any(|warning| warning["message"]
            .as_str()
            .is_some_and(|it| it.contains("are kept in")))
    );
    is_as_at_the_backup(lab);
    same_files(&pki, &kept);
    let before = fs::read_dir(lab.directory()).expect("the lab directory").flatten();
    assert_eq!(
        before
            .filter(|e| e.file_name().to_string_lossy().starts_with("pki.before-restore-"))
            .count(),
        1
    );
    let running = lab.within_two_minutes(|| {
        lab.kubectl_says("get deployment before -o jsonpath={.status.readyReplicas}") == "2"
    });
    assert!(
        running,
        "the Deployment runs on the new machines: {}",
        lab.kubectl_says("get pods -A")
    );
    fs::remove_dir_all(&kept).expect("removed");
    fs::remove_file(&backup).expect("removed");
    goes_without_a_trace(lab);
}
