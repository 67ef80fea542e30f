//! What an audit looks at, on the nodes of a running lab: flags, owners, modes, ciphers, the audit
//! log, and what confines the programs. `docs/hardening.md` has the same, check by check.

use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::lab::Lab;
use crate::mine;

const CONTROLLERS: [&str; 2] = ["controller-0", "controller-1"];
const WORKERS: [&str; 2] = ["worker-0", "worker-1"];

/// The one line that a command prints on a node.
fn line(lab: &Lab, node: &str, command: &str) -> String {
    let line = lab.on(node, command);
    assert_eq!(line.lines().count(), 1, "{node}: {command}: {line}");
    line
}

pub fn what_runs_is_hard(lab: &Lab) {
    for controller in CONTROLLERS {
        etcd_has_a_user_of_its_own(lab, controller);
        flags_are_as_an_audit_wants_them(lab, controller);
        programs_are_confined(lab, controller);
        nothing_offers_profiles(lab, controller);
    }
    // One of the workers may have no pod.
    let limited: u32 =
        WORKERS.iter().map(|worker| pods_of_a_private_kubelet_with_a_limit(lab, worker)).sum();
    assert!(limited > 0, "no pod has a limit of processes");
    weak_ciphers_are_refused();
    the_audit_log_has_who_did_what_and_no_content(lab);
}

fn etcd_has_a_user_of_its_own(lab: &Lab, node: &str) {
    assert_eq!(line(lab, node, "ps -o user= -C etcd"), "etcd", "{node}");
    assert_eq!(line(lab, node, "stat -c '%a %U:%G' /var/lib/etcd"), "700 etcd:etcd", "{node}");
    assert_eq!(lab.on(node, "find /var/lib/etcd ! -user etcd"), "", "{node}");
    // What is its user's besides: two keys, and nothing that it could change to reach more.
    let own = "find /etc /usr/local /var/lib/labctl -xdev -user etcd -printf '%p %m\\n' | sort";
    assert_eq!(
        lab.on(node, own),
        "/etc/kubernetes/pki/etcd/peer.key 600\n/etc/kubernetes/pki/etcd/server.key 600",
        "{node}"
    );
    // The others' keys are not for it.
    let as_etcd = "setpriv --reuid etcd --regid etcd --clear-groups sh -c";
    let reads = format!(
        "for file in $(find /etc/kubernetes /var/lib/labctl -xdev -type f -size -100k); do \
         {as_etcd} \"cat '$file'\" 2>/dev/null; done | grep -c 'PRIVATE KEY-----$' || true"
    );
    assert_eq!(line(lab, node, &reads), "4", "{node}: the beginnings and ends of two keys");
}

fn flags_are_as_an_audit_wants_them(lab: &Lab, node: &str) {
    let flags = |program: &str| lab.on(node, &format!("ps -o args= -C {program}"));
    let wanted: [(&str, &[&str]); 4] = [
        (
            "kube-apiserver",
            &[
                "--audit-log-path=/var/log/kube-apiserver/audit.log",
                "--audit-log-maxage=30",
                "--audit-log-maxbackup=10",
                "--audit-log-maxsize=100",
                "--audit-policy-file=/etc/kubernetes/audit-policy.yaml",
                "--tls-cipher-suites=TLS_ECDHE_",
                "--profiling=false",
            ],
        ),
        ("kube-controller", &["--profiling=false", "--bind-address=127.0.0.1"]),
        ("kube-scheduler", &["--profiling=false", "--bind-address=127.0.0.1"]),
        ("etcd", &["--cipher-suites=TLS_ECDHE_", "--client-cert-auth=true"]),
    ];
    for (program, wanted) in wanted {
        let flags = flags(program);
        for flag in wanted {
            assert!(flags.contains(flag), "{node}: {program} has no {flag}: {flags}");
        }
    }
    // No file of a unit or of a program's can be changed by anybody but root.
    let loose = "find /etc/kubernetes /etc/etcd /etc/systemd/system /usr/local/bin -xdev \
        \\( -perm /022 -o ! -user root \\) ! -type l ! -user etcd";
    assert_eq!(lab.on(node, loose), "", "{node}");
}

/// Whatever the unit file says, this is what the kernel holds them to.
fn programs_are_confined(lab: &Lab, node: &str) {
    let programs = [
        ("etcd", "0000000000000000", "/var/lib/etcd"),
        ("kube-apiserver", "0000000000000400", "/var/log/kube-apiserver"),
        ("kube-controller-manager", "0000000000000000", ""),
        ("kube-scheduler", "0000000000000000", ""),
    ];
    for (program, capabilities, own) in programs {
        let main = format!("pid=$(systemctl show -p MainPID --value {program})");
        let held = format!("{main}; awk '/^(CapBnd|NoNewPrivs)/ {{print $2}}' /proc/$pid/status");
        assert_eq!(lab.on(node, &held), format!("{capabilities}\n1"), "{node}: {program}");
        // Even root cannot write where the program is.
        let tries = format!(
            "{main}; for place in /etc /usr /var/lib/labctl {own}; do nsenter -t $pid -m sh -c \
             \"touch $place/.tried && rm $place/.tried && echo $place\" 2>/dev/null; done; \
             nsenter -t $pid -m find /root /home -mindepth 1 2>/dev/null; true"
        );
        assert_eq!(lab.on(node, &tries), own, "{node}: where {program} can write");
    }
}

fn nothing_offers_profiles(lab: &Lab, node: &str) {
    for port in [6443, 10257, 10259] {
        let asked = format!(
            "kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:{port} \
             get --raw /debug/pprof/ 2>&1 || true"
        );
        let said = lab.on(node, &asked);
        assert!(said.contains("NotFound"), "{node}: port {port}: {said}");
    }
}

/// `labctl etcd rotate-key`, killed when both keys are everywhere and once more when the new one
/// writes: in the end etcd has nothing of the old key's, and neither have the nodes.
pub fn the_key_of_secrets_is_replaced(lab: &Lab) {
    let key = lab.directory().join("pki/encryption.key");
    let read = || fs::read_to_string(&key).expect("a key");
    let old = read();
    let made = lab.kubectl("create secret generic kept --from-literal=word=kept");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let rotate = ["etcd", "rotate-key"];
    let restarts = |event: &serde_json::Value| {
        event["event"] == "task_started" && event["task"] == "unit kube-apiserver.service"
    };
    lab.kill_at(&rotate, restarts);
    assert_eq!(read().lines().next(), Some(old.trim()), "the old one still writes");
    assert_eq!(read().lines().count(), 2);
    let writes = |event: &serde_json::Value| {
        event["event"] == "task_started" && event["play"] == "encrypt-again"
    };
    lab.kill_at(&rotate, writes);
    mine::must(lab, &rotate, "controller-0");
    mine::forget(lab);

    let new = read();
    assert_eq!(new.lines().count(), 1, "the old key has gone");
    assert!(new.starts_with("key2 ") && !new.contains(old.trim()));
    let word = lab.kubectl("get secret kept -o jsonpath={.data.word}");
    assert_eq!(String::from_utf8_lossy(&word.stdout), BASE64.encode("kept"));
    let etcdctl = "etcdctl --endpoints https://127.0.0.1:2379 --cacert \
        /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
        --key /etc/kubernetes/pki/etcd/healthcheck-client.key get --prefix /registry/secrets/";
    let stored = format!(
        "{etcdctl} --print-value-only | grep -ao '^k8s:enc:[a-z0-9]*:v1:key[0-9]*:' | sort | uniq"
    );
    assert_eq!(line(lab, CONTROLLERS[0], &stored), "k8s:enc:secretbox:v1:key2:");
    for controller in CONTROLLERS {
        let left = format!("grep -rlF {} /etc /var/lib/labctl || true", old.trim());
        assert_eq!(lab.on(controller, &left), "", "{controller}");
    }
    assert!(lab.kubectl("delete secret kept").status.success());
}

/// Returns how many pods of the node have a limit of processes.
fn pods_of_a_private_kubelet_with_a_limit(lab: &Lab, node: &str) -> u32 {
    let files = "stat -c '%a %U:%G' /etc/systemd/system/kubelet.service \
        /var/lib/kubelet/config.yaml /etc/kubernetes/kubelet.conf";
    assert_eq!(lab.on(node, files), ["600 root:root"; 3].join("\n"), "{node}");
    // A pod has containers, whose groups are below its own: the limit is the pod's.
    let limits = "find /sys/fs/cgroup -path '*kubepods*' -name pids.max -exec grep -lx 4096 {} + | \
        wc -l";
    line(lab, node, limits).parse().expect("a number")
}

/// What openssl says when it connects with one cipher of TLS 1.2.
fn connect(address: &str, cipher: &str) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-brief", "-tls1_2", "-cipher", cipher, "-connect", address])
        .stdin(Stdio::null())
        .output()
        .expect("openssl starts");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn weak_ciphers_are_refused() {
    for address in ["10.230.0.10:6443", "10.230.0.10:2379", "10.230.0.10:2380", "10.230.0.20:10250"]
    {
        // etcd shows its certificate and ends the handshake when it is shown none.
        let strong = connect(address, "ECDHE-ECDSA-AES128-GCM-SHA256");
        assert!(strong.contains("depth=0 "), "{address}: {strong}");
        let weak = connect(address, "ECDHE-ECDSA-AES128-SHA");
        let refused = weak.contains("handshake failure") && !weak.contains("depth=0 ");
        assert!(refused, "{address}: {weak}");
    }
}

fn the_audit_log_has_who_did_what_and_no_content(lab: &Lab) {
    let word = "4-word-that-nobody-logs";
    let made = lab.kubectl(&format!("create secret generic audited --from-literal=word={word}"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = lab.kubectl("get secret audited -o jsonpath={.data.word}");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let encoded = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(encoded.len() > word.len(), "{encoded}");
    assert!(lab.kubectl("delete secret audited").status.success());

    let log = "/var/log/kube-apiserver/audit.log";
    let mut lines = Vec::new();
    for controller in CONTROLLERS {
        let kept = format!("stat -c '%a %U:%G' {log} /var/log/kube-apiserver");
        assert_eq!(lab.on(controller, &kept), "600 root:root\n700 root:root", "{controller}");
        let told = lab.on(
            controller,
            &format!(
                "grep -c -e {word} -e {encoded} -e requestObject -e responseObject {log} || true"
            ),
        );
        assert_eq!(told, "0", "{controller}: contents in the audit log");
        let found = lab.on(controller, &format!("grep '\"name\":\"audited\"' {log} || true"));
        lines.extend(found.lines().map(str::to_owned));
    }
    for verb in ["create", "get", "delete"] {
        let told = lines.iter().any(|line| {
            line.contains(&format!("\"verb\":\"{verb}\""))
                && line.contains("\"username\":\"admin\"")
        });
        assert!(told, "who did `{verb}` is in the audit log: {lines:#?}");
    }
}

const WORD: &str = "\
name: word
plays:
  - name: word
    hosts: controller
    why: A Secret of one's own.
    tasks:
      - kubectl_apply: { from: word.yaml }
        once: true
";

/// A Secret in a manifest of a user's: applied, kept for root alone, changed, and refused. Returns
/// what no run may have said.
pub fn a_secret_of_a_user(lab: &Lab) -> [&'static str; 2] {
    let words = ["first-word-nobody-sees", "another-word-nobody-sees"];
    let (playbook, mine) = (lab.folder().join("word.yaml"), lab.folder().join("mine"));
    fs::create_dir(&mine).expect("a directory");
    fs::write(&playbook, WORD).expect("a playbook");
    let play = |word: &str| {
        let manifest = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: word }}\nimmutable: true\n\
             stringData: {{ word: {word} }}\n"
        );
        fs::write(mine.join("word.yaml.tera"), manifest).expect("a template");
        lab.run(&["play", "word.yaml", "--templates", "mine", "--diff", "-v"])
    };
    let applied = play(words[0]);
    assert_eq!((applied.code, applied.changed()), (Some(0), 1), "{}", applied.story());
    let kept = "stat -c '%a %U' /etc/kubernetes/addons/word.yaml";
    assert_eq!(line(lab, "controller-0", kept), "600 root");
    // An immutable Secret cannot be changed, and kubectl quotes what it would have changed.
    let refused = play(words[1]);
    assert_eq!(refused.code, Some(1), "{}", refused.story());
    let said = refused.story();
    assert!(said.contains("The Secret \\\"word\\\" is invalid"), "{said}");
    for run in [&applied, &refused] {
        for word in words {
            let (said, encoded) = (run.story(), BASE64.encode(word));
            assert!(!said.contains(word) && !said.contains(&encoded), "{said}");
        }
    }
    assert!(lab.kubectl("delete secret word").status.success());
    fs::remove_dir_all(mine).expect("it was there");
    fs::remove_file(playbook).expect("it was there");
    words
}
