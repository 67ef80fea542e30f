//! `labctl status` on a lab in which one thing is wrong: it is named first, with a command; and
//! where that can be done in a lab of this machine, the command is run, and mends it.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::goes_without_a_trace;
use crate::lab::{Lab, busybox, contents, said};

/// What brings the lab back.
enum Mended {
    /// The command that `status` names.
    ByTheRemedy,
    /// The same, after this was run on the node.
    ByTheRemedyAfter(&'static str),
    /// This, on the node: what a machine has and a node of this machine has not.
    By(&'static str),
}

use Mended::{By, ByTheRemedy, ByTheRemedyAfter};

/// One thing that is wrong with a lab.
struct Fault {
    what: &'static str,
    node: &'static str,
    /// Shell for the node.
    breaks: &'static str,
    /// The first finding: its kind, its node, a part of what it says, and of the command.
    kind: &'static str,
    named: Option<&'static str>,
    says: &'static str,
    mend: &'static str,
    mended: Mended,
}

const KUBECTL: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
const ETCDCTL: &str = "etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt \
                       --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
                       --key /etc/kubernetes/pki/etcd/healthcheck-client.key";

/// A program that was stopped on a node, which `up` mends. One that is slow to stop has failed.
const fn unit(
    what: &'static str,
    node: &'static str,
    breaks: &'static str,
    says: &'static str,
) -> Fault {
    let (kind, mend) = ("unit", "labctl up inventory.yaml");
    Fault { what, node, breaks, kind, named: Some(node), says, mend, mended: ByTheRemedy }
}

const FAULTS: &[Fault] = &[
    unit("kube-proxy stopped", "worker-1", "systemctl stop kube-proxy", "kube-proxy.service "),
    unit("containerd dead", "worker-0", "systemctl stop containerd", "containerd.service "),
    unit("a kubelet stopped", "worker-1", "systemctl stop kubelet", "kubelet.service "),
    unit("the load balancer down", "lb-0", "systemctl stop nginx", "nginx.service "),
    unit(
        "the API server of one controller down",
        "controller-1",
        "systemctl stop kube-apiserver",
        "kube-apiserver.service ",
    ),
    unit(
        "a scheduler stopped",
        "controller-0",
        "systemctl stop kube-scheduler",
        "kube-scheduler.service ",
    ),
    Fault {
        what: "a program that runs and hangs",
        node: "controller-0",
        breaks: "systemctl kill -s STOP kube-scheduler",
        kind: "health",
        named: Some("controller-0"),
        says: "kube-scheduler.service runs and does not answer",
        mend: "labctl exec inventory.yaml controller-0 -- systemctl restart kube-scheduler.service",
        mended: ByTheRemedy,
    },
    Fault {
        what: "a route missing",
        node: "worker-0",
        breaks: "ip route del 10.200.1.0/24",
        kind: "network",
        named: Some("worker-0"),
        says: "has no route to the pods of worker-1",
        mend: "labctl up inventory.yaml",
        mended: ByTheRemedy,
    },
    Fault {
        what: "a name lost from /etc/hosts",
        node: "worker-0",
        breaks: "grep -v worker-1 /etc/hosts > /run/hosts; cat /run/hosts > /etc/hosts",
        kind: "network",
        named: Some("worker-0"),
        says: "/etc/hosts has no line for worker-1",
        mend: "labctl up inventory.yaml",
        mended: ByTheRemedy,
    },
    Fault {
        what: "the pod network broken by a firewall",
        node: "worker-1",
        breaks: "iptables -t raw -I PREROUTING -s 10.200.0.0/24 -d 10.200.1.0/24 -j DROP",
        kind: "network",
        named: Some("worker-0"),
        says: "its pods do not reach those of worker-1",
        mend: "labctl exec inventory.yaml worker-1 -- iptables-save",
        mended: By("iptables -t raw -D PREROUTING -s 10.200.0.0/24 -d 10.200.1.0/24 -j DROP"),
    },
    Fault {
        what: "an API server that other nodes do not reach",
        node: "controller-1",
        breaks: "iptables -I INPUT ! -i lo -p tcp --dport 6443 -j REJECT",
        kind: "api",
        named: Some("controller-1"),
        says: "its API server is ready, but not for lb-0, controller-0",
        mend: "labctl exec inventory.yaml controller-1 -- iptables-save",
        mended: By("iptables -D INPUT ! -i lo -p tcp --dport 6443 -j REJECT"),
    },
    Fault {
        what: "a worker that is not Ready",
        node: "worker-1",
        breaks: "rm /etc/cni/net.d/*",
        kind: "not-ready",
        named: Some("worker-1"),
        says: "is not Ready: container runtime network not ready",
        mend: "labctl up inventory.yaml",
        mended: ByTheRemedy,
    },
    Fault {
        what: "no CoreDNS",
        node: "controller-0",
        breaks: "KUBECTL -n kube-system delete deployment coredns",
        kind: "dns",
        named: None,
        says: "the deployment coredns is missing",
        mend: "labctl up inventory.yaml",
        mended: ByTheRemedy,
    },
    Fault {
        what: "CoreDNS scaled to nothing",
        node: "controller-0",
        breaks: "KUBECTL -n kube-system scale deployment coredns --replicas=0",
        kind: "dns",
        named: None,
        says: "coredns is scaled to 0",
        mend: "labctl kubectl inventory.yaml -- -n kube-system scale deployment coredns",
        mended: ByTheRemedy,
    },
    Fault {
        what: "a pod that cannot run",
        node: "controller-0",
        breaks: "KUBECTL run stuck --image labctl.test/nowhere:1",
        kind: "pod",
        named: None,
        says: "pod default/stuck does not run",
        mend: "labctl kubectl inventory.yaml -- -n default describe pod stuck",
        mended: By("KUBECTL delete pod stuck --now"),
    },
    Fault {
        what: "a clock an hour off",
        node: "worker-1",
        breaks: "printf '#!/bin/sh\\n/bin/date -d \"1 hour\" \"$@\"\\n' > /usr/local/sbin/date; \
                 chmod +x /usr/local/sbin/date",
        kind: "clock",
        named: Some("worker-1"),
        says: "s ahead of the others'",
        mend: "labctl exec inventory.yaml worker-1 -- timedatectl set-ntp true",
        mended: By("rm /usr/local/sbin/date"),
    },
    Fault {
        what: "a disk full",
        node: "worker-0",
        breaks: "mount -t tmpfs -o size=64k tmpfs /var/log; head -c 100k /dev/zero > \
                 /var/log/full || :",
        kind: "full",
        named: Some("worker-0"),
        says: "/var/log is 100 % full",
        mend: "labctl exec inventory.yaml worker-0 -- 'du -xh /var/log | sort -h | tail'",
        mended: By("umount -l /var/log"),
    },
    Fault {
        what: "the API's data read-only",
        node: "controller-0",
        breaks: "mount -o bind /var/lib/etcd /var/lib/etcd; \
                 mount -o remount,bind,ro /var/lib/etcd",
        kind: "read-only",
        named: Some("controller-0"),
        says: "/var/lib/etcd is read-only",
        mend: "labctl exec inventory.yaml controller-0 -- 'mount -o remount,rw",
        mended: By("umount -l /var/lib/etcd"),
    },
    Fault {
        what: "an etcd that takes no writes",
        node: "controller-0",
        breaks: "unit=/run/systemd/system/etcd.service.d; mkdir -p $unit; \
                 printf '[Service]\\nEnvironment=ETCD_QUOTA_BACKEND_BYTES=100000\\n' > \
                 $unit/quota.conf; systemctl daemon-reload; systemctl restart etcd; \
                 timeout 60 sh -c 'until ETCDCTL alarm list | grep -q NOSPACE; do \
                 ETCDCTL put labctl-status x >/dev/null 2>&1; done'; \
                 rm -r $unit; systemctl daemon-reload; systemctl restart etcd",
        kind: "etcd",
        named: Some("controller-0"),
        says: "its etcd takes no writes",
        mend: "labctl exec inventory.yaml controller-0 -- etcdctl",
        mended: ByTheRemedyAfter("ETCDCTL alarm list"),
    },
    Fault {
        what: "another lab's node",
        node: "worker-1",
        breaks: "sed -i -e 's/^lab .*/lab theirs/' -e 's/^\\(key [^ ]*\\) .*/\\1 00/' \
                 /var/lib/labctl/lab",
        kind: "stranger",
        named: Some("worker-1"),
        says: "belongs to another lab: theirs",
        mend: "labctl up inventory.yaml --take-over worker-1",
        mended: ByTheRemedy,
    },
];

/// What `status` says, and its exit code.
fn status(lab: &Lab) -> (Option<i32>, Value) {
    let run = lab.run(&["status"]);
    let status = run.all("status").next().unwrap_or_else(|| panic!("no status: {}", run.stderr));
    (run.code, status.clone())
}

fn is_well(lab: &Lab) -> bool {
    let (code, status) = status(lab);
    code == Some(0) && status["well"] == true
}

fn on(lab: &Lab, node: &str, script: &str) {
    lab.on(node, &script.replace("KUBECTL", KUBECTL).replace("ETCDCTL", ETCDCTL));
}

/// Runs a command as it is shown.
fn typed(lab: &Lab, line: &str) {
    let line = line.replacen("labctl", env!("CARGO_BIN_EXE_labctl"), 1);
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &line]).current_dir(lab.folder()).output().expect("sh starts");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until a fault is named first; returns the finding, or all that is said instead.
fn named_first(lab: &Lab, fault: &Fault) -> Result<Value, String> {
    let first = || status(lab).1["findings"][0].clone();
    let says = |finding: &Value, key: &str, what: &str| {
        finding[key].as_str().is_some_and(|text| text.contains(what))
    };
    let named = |finding: &Value| {
        finding["kind"] == fault.kind
            && finding["node"].as_str() == fault.named
            && says(finding, "what", fault.says)
            && says(finding, "mend", fault.mend)
    };
    let found = std::cell::RefCell::new(Value::Null);
    let came = lab.within_two_minutes(|| {
        let finding = first();
        *found.borrow_mut() = finding.clone();
        named(&finding)
    });
    let found = found.into_inner();
    if came { Ok(found) } else { Err(format!("{}: {found:#}", fault.what)) }
}

#[test]
fn status_names_what_is_wrong_and_what_mends_it() {
    let lab = Lab::new("sandbox");
    let before = lab.labctl(&["status"]).output().expect("labctl starts");
    assert_eq!(before.status.code(), Some(1), "a lab that is not up cannot be looked at");
    assert!(String::from_utf8_lossy(&before.stdout).contains("lb-0: does not run"));

    lab.must(&["up"]);
    // The way between the pods of two workers is tried where both have run one.
    for worker in ["worker-0", "worker-1"] {
        let place = format!("--overrides={{\"spec\":{{\"nodeName\":\"{worker}\"}}}}");
        let image = format!("--image={} --image-pull-policy=Never", busybox());
        lab.kubectl(&format!("run on-{worker} {image} {place} -- sleep 1000000"));
    }
    assert!(lab.within_two_minutes(|| is_well(&lab)), "{:#}", status(&lab).1);
    assert_eq!(status(&lab).1["pods"]["running"], 4, "two of them are of CoreDNS");
    is_seen_in_every_form(&lab);

    // Every fault is tried, whatever became of those before it.
    let mut missed = Vec::new();
    for fault in FAULTS {
        on(&lab, fault.node, fault.breaks);
        let named = named_first(&lab, fault);
        match (&named, &fault.mended) {
            (Ok(finding), ByTheRemedy) => typed(&lab, finding["mend"].as_str().expect("text")),
            (Ok(finding), ByTheRemedyAfter(script)) => {
                on(&lab, fault.node, script);
                typed(&lab, finding["mend"].as_str().expect("text"));
            }
            (_, By(script)) => on(&lab, fault.node, script),
            (Err(_), _) => drop(lab.must(&["up"])),
        }
        missed.extend(named.err());
        let well = lab.within_two_minutes(|| is_well(&lab));
        assert!(well, "not well after: {}: {:#}", fault.what, status(&lab).1);
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));

    logs_are_printed(&lab);
    a_bug_report_has_no_secret(&lab);
    a_certificate_is_foreign_or_expired(&lab);
    a_node_is_gone(&lab);
    // What the story itself has put beside the inventory is no trace of the lab.
    std::fs::remove_dir_all(lab.folder().join("report")).expect("it is there");
    for name in ["report.tar.gz", "other.key", "other.crt", "status.html"] {
        std::fs::remove_file(lab.folder().join(name)).expect(name);
    }
    goes_without_a_trace(&lab);
}

/// The screen, the page, a part of the nodes: and nothing of it changes a node.
fn is_seen_in_every_form(lab: &Lab) {
    let units = lab.start_times();
    let screen = lab.labctl(&["status"]).output().expect("labctl starts");
    let text = String::from_utf8_lossy(&screen.stdout).into_owned();
    for word in ["sandbox: well", "● worker-0", "(leader)", "lb-0 (endpoint) from 6 of 6 nodes"] {
        assert!(text.contains(word), "{word}:\n{text}");
    }
    assert!(text.contains("drift   none"), "{text}");
    let page = lab.labctl(&["status", "--html", "status.html"]).status().expect("labctl starts");
    assert!(page.success());
    let page = std::fs::read_to_string(lab.folder().join("status.html")).expect("a page");
    assert!(page.contains("<title>sandbox: well</title>"), "{page}");
    let drawn = lab.labctl(&["graph", "--lab", "--live"]).output().expect("labctl starts");
    let drawn = String::from_utf8_lossy(&drawn.stdout).into_owned();
    assert_eq!(drawn.matches(":::well").count(), 6, "{drawn}");
    is_watched(lab);
    let one = lab.run(&["status", "--limit", "worker-0"]);
    let nodes = one.all("status").next().expect("a status")["nodes"].clone();
    assert_eq!(nodes.as_array().map(Vec::len), Some(1), "{nodes}");
    assert_eq!(lab.start_times(), units);
    assert_eq!(lab.run(&["plan"]).code, Some(0), "there is nothing to plan");
}

/// A program that watches is sent one object per look, and may stop reading at any time.
fn is_watched(lab: &Lab) {
    let watch = ["status", "--watch", "--output", "json"];
    let mut child = lab.labctl(&watch).stdout(Stdio::piped()).spawn().expect("labctl starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let two: Vec<String> = lines.map_while(Result::ok).take(2).collect();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(two.len(), 2);
    assert!(two.iter().all(|line| line.contains("\"event\":\"status\"")), "{two:?}");
    let nobody = lab.labctl(&["status", "--watch"]).output().expect("labctl starts");
    assert_eq!(nobody.status.code(), Some(2), "there is no terminal");
}

/// The journal of a node: of all units of the lab, of one, and as it grows.
fn logs_are_printed(lab: &Lab) {
    let logs = |words: &[&str]| {
        let output = lab.labctl(&[&["logs"], words].concat()).output().expect("labctl starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, text, _) = logs(&["worker-0", "kubelet", "--lines", "3"]);
    assert_eq!((code, text.lines().count()), (Some(0), 3), "{text}");
    assert!(text.lines().all(|line| line.contains(" worker-0 kubelet[")), "{text}");
    let (code, text, _) = logs(&["controller-0", "--since", "-1h"]);
    for program in [" etcd[", " kube-apiserver[", " kube-scheduler["] {
        assert!(code == Some(0) && text.contains(program), "{program}:\n{text}");
    }
    let (code, _, errors) = logs(&["worker-0", "etcd"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("there is no unit etcd.service on this node"), "{errors}");

    let following = ["logs", "worker-0", "kubelet", "--follow", "--lines", "0"];
    let mut child = lab.labctl(&following).stdout(Stdio::piped()).spawn().expect("labctl starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        lines.map_while(Result::ok).take_while(|line| sender.send(line.clone()).is_ok()).count()
    });
    let came = lab.within_two_minutes(|| {
        lab.on("worker-0", "systemctl restart kubelet");
        receiver.try_recv().is_ok_and(|line| line.contains("kubelet"))
    });
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    drop(receiver);
    reading.join().expect("it ends");
    assert!(came, "no line came");
}

/// Secrets are planted where a bug report looks, and none of the lab's is in it.
fn a_bug_report_has_no_secret(lab: &Lab) {
    let pki = contents(&lab.directory().join("pki"));
    let mut secrets = vec!["PRIVATE KEY".to_owned(), "hunter2-of-the-lab".to_owned()];
    for (name, content) in &pki {
        if name.extension().is_some_and(|it| it == "key") {
            let text = String::from_utf8_lossy(content).into_owned();
            let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &text);
            secrets.push(encoded);
            let body = text.lines().filter(|line| !line.starts_with("-----") && line.len() > 20);
            secrets.extend(body.map(str::to_owned));
        }
    }
    assert!(secrets.len() > 40, "{}", secrets.len());
    let planted: String = secrets[2..6].iter().map(|it| format!("# of ours: {it}\n")).collect();
    let place = "/run/systemd/system/kubelet.service.d";
    let planted = format!("{planted}[Service]\nEnvironment=PASSWORD=hunter2-of-the-lab\n");
    let plant = format!("mkdir {place}; printf '{planted}' > {place}/planted.conf");
    on(lab, "worker-0", &format!("{plant}; systemctl daemon-reload"));
    let support = ["support", "--to", "report.tar.gz"];
    let output = lab.labctl(&support).output().expect("labctl starts");
    on(lab, "worker-0", &format!("rm -r {place}; systemctl daemon-reload"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let folder = lab.folder().join("report");
    std::fs::create_dir(&folder).expect("a directory");
    let archive = lab.folder().join("report.tar.gz").display().to_string();
    said("tar", &["-xzf", &archive, "-C", &folder.display().to_string()]);
    let files = contents(&folder);
    for name in ["versions.txt", "inventory.yaml", "status.json", "last-run.jsonl"] {
        assert!(files.contains_key(&PathBuf::from("support-sandbox").join(name)), "{name}");
    }
    let units = PathBuf::from("support-sandbox/nodes/worker-0/units/kubelet.service");
    let unit = String::from_utf8_lossy(&files[&units]).into_owned();
    assert!(unit.contains("# of ours: [removed]"), "it was planted and masked:\n{unit}");
    let journal = "support-sandbox/nodes/controller-0/journal/kube-apiserver.service.log";
    assert!(!files[&PathBuf::from(journal)].is_empty());
    for (name, content) in &files {
        let text = String::from_utf8_lossy(content);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{} has {secret}", name.display());
        }
    }
}

fn a_certificate_is_foreign_or_expired(lab: &Lab) {
    let folder = lab.folder().display().to_string();
    let (key, other) = (format!("{folder}/other.key"), format!("{folder}/other.crt"));
    let made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kubernetes"];
    said("openssl", &[&made[..], &["-keyout", &key, "-out", &other]].concat());
    let pem = std::fs::read_to_string(&other).expect("a certificate");
    let put = format!("printf '%s' '{pem}' > /etc/kubernetes/pki/kubelet.crt");
    on(lab, "worker-1", &put);
    let (code, status_then) = status(lab);
    let first = &status_then["findings"][0];
    assert_eq!((code, &first["kind"]), (Some(3), &Value::from("certificate")), "{first:#}");
    assert_eq!(first["what"], "certificates are not of this lab's CA: pki/kubelet.crt");
    typed(lab, first["mend"].as_str().expect("a command"));
    assert!(lab.within_two_minutes(|| is_well(lab)), "{:#}", status(lab).1);

    lab.must(&["certs", "renew", "worker-1", "--only", "kubelet", "--life", "5s"]);
    let expired = || {
        let first = status(lab).1["findings"][0].clone();
        let what = first["what"].as_str().unwrap_or_default().to_owned();
        (first["mend"].clone(), what.starts_with("certificates have expired: "))
    };
    assert!(lab.within_two_minutes(|| expired().1), "{:#}", status(lab).1);
    let (mend, _) = expired();
    assert_eq!(mend, "labctl certs renew inventory.yaml worker-1");
    typed(lab, mend.as_str().expect("a command"));
    assert!(lab.within_two_minutes(|| is_well(lab)), "{:#}", status(lab).1);
}

fn a_node_is_gone(lab: &Lab) {
    said("kill", &["-KILL", &lab.pid("worker-1").to_string()]);
    let first = || status(lab).1["findings"][0].clone();
    let gone = |it: &Value| it["kind"] == "unreachable" && it["node"] == "worker-1";
    assert!(lab.within_two_minutes(|| gone(&first())), "{:#}", status(lab).1);
    let mend = first()["mend"].clone();
    assert_eq!(mend, "labctl up inventory.yaml");
    let drawn = lab.labctl(&["graph", "--lab", "--live"]).output().expect("labctl starts");
    let drawn = String::from_utf8_lossy(&drawn.stdout).into_owned();
    assert_eq!(drawn.matches(":::silent").count(), 1, "{drawn}");
    typed(lab, mend.as_str().expect("a command"));
    assert!(lab.within_two_minutes(|| is_well(lab)), "{:#}", status(lab).1);
}
