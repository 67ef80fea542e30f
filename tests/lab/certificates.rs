//! Certificates: renewed and replaced under a client that never stops calling, and a lab whose
//! certificates have ended.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;

use crate::caller::Caller;
use crate::lab::{Lab, busybox, contents, refusal, said};
use crate::{bring_up, goes_without_a_trace, is_settled, mine, passes_smoke};

/// A deployment's pods: who each is, and how often its container was started.
fn pods(lab: &Lab) -> Vec<String> {
    let output = lab.kubectl("get pods -l app=stays -o json");
    let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("kubectl get pods: {error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    let pod = |pod: &Value| {
        let status = &pod["status"];
        format!(
            "{} {} {}",
            pod["metadata"]["uid"], status["phase"], status["containerStatuses"][0]["restartCount"]
        )
    };
    let mut pods: Vec<String> = list["items"].as_array().expect("pods").iter().map(pod).collect();
    pods.sort();
    pods
}

/// A deployment whose pods are to stay.
fn deploy(lab: &Lab, replicas: usize) -> Vec<String> {
    for command in [
        &format!(
            "create deployment stays --image={} --replicas={replicas} -- sleep 1000000",
            busybox()
        ),
        "rollout status deployment/stays --timeout=120s",
    ] {
        let output = lab.kubectl(command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let pods = pods(lab);
    assert_eq!(pods.len(), replicas, "{pods:?}");
    assert!(pods.iter().all(|pod| pod.ends_with("\"Running\" 0")), "{pods:?}");
    pods
}

/// Starts `rotate-ca` and kills it, as a power failure of the workstation would, when a play has
/// begun on a node after a stage has. Every event of the run up to there.
fn rotation_killed(lab: &Lab, stage: &str, play: &str) {
    let mut command = lab.labctl(&["certs", "rotate-ca", "--output", "json"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("labctl starts");
    let mut reached = false;
    for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("an event");
        reached |= event["event"] == "step_ended"
            && event["detail"].as_str().is_some_and(|it| it.starts_with(stage));
        if reached && event["event"] == "play_started" && event["play"] == play {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
            return;
        }
    }
    panic!(
        "the rotation ended with {} before {play} of the stage in which the new CAs {stage}",
        child.wait().expect("it ends")
    );
}

#[test]
fn certificates_and_cas_are_replaced_under_a_client_that_sees_nothing_of_it() {
    replaced(true, &[]);
}

#[test]
fn a_rotation_that_is_killed_in_each_of_its_stages_goes_on_where_it_was() {
    replaced(
        false,
        &[
            ("created", "kube-apiserver"),
            ("sign from now on", "kube-apiserver"),
            ("are the only ones", "etcd"),
        ],
    );
}

/// Has certificates renewed, and CAs replaced by a rotation that is killed at these stages and
/// plays, under a client that calls all the time.
fn replaced(renewal: bool, kills: &[(&str, &str)]) {
    let lab = Lab::new("ha");
    lab.must(&["up"]);
    if renewal {
        is_settled(&lab);
        bring_up::three_controllers_survive_the_loss_of_one(&lab);
    }
    let stay = deploy(&lab, 3);
    let admin = lab.directory().join("admin.conf");
    // Not in the lab's folder, which is looked through for traces at the end.
    let kept = tempfile::tempdir().expect("a folder");
    let before = kept.path().join("before.conf");
    fs::copy(&admin, &before).expect("a copy");
    let pki = lab.directory().join("pki");
    let old = kept.path().join("pki");
    said("cp", &["-a", &pki.display().to_string(), &old.display().to_string()]);

    let caller = Caller::start(admin);
    let began = Instant::now();
    if renewal {
        let renewed = lab.must(&["certs", "renew"]);
        assert!(renewed.changed() > 50, "{}", renewed.story());
    }
    let renewal = began.elapsed();

    for (number, (stage, play)) in kills.iter().enumerate() {
        rotation_killed(&lab, stage, play);
        if number == 0 {
            let up = lab.must(&["up"]);
            assert!(
                up.all("warning").any(|it| it["message"].to_string().contains("partly replaced")),
                "{}",
                up.story()
            );
        }
    }
    let began = Instant::now();
    mine::must(&lab, &["certs", "rotate-ca"], "worker-1");
    let rotation = began.elapsed();
    let what = format!("renewal {renewal:?}, rotation after the last kill {rotation:?}");
    caller.end().none_failed(&what);
    assert_eq!(pods(&lab), stay, "the pods are the same, and were never started again");
    mine::forget(&lab);

    nothing_of_the_old_cas_is_left(&lab, &old);
    let refused = kubectl_with(&before, &["get", "nodes", "--insecure-skip-tls-verify"]);
    assert!(
        refused.contains("You must be logged in to the server"),
        "the old administrator is nobody: {refused}"
    );
    is_settled(&lab);
    passes_smoke(&lab, 13);
    goes_without_a_trace(&lab);
}

/// The CA, below `pki`, that signs a certificate there; `None` of a CA.
fn signer(certificate: &Path) -> Option<&'static str> {
    let name = certificate.display().to_string();
    match name.as_str() {
        "ca.crt" | "etcd/ca.crt" | "front-proxy-ca.crt" => None,
        _ if name.contains("etcd") => Some("etcd/ca.crt"),
        _ if name.starts_with("front-proxy") => Some("front-proxy-ca.crt"),
        _ => Some("ca.crt"),
    }
}

/// The lab directory and the nodes have new CAs and a new key of service accounts, and no
/// certificate is of an old one. `old` is the directory of certificates from before.
fn nothing_of_the_old_cas_is_left(lab: &Lab, old: &Path) {
    let pki = lab.directory().join("pki");
    let verify = |ca: &Path, certificate: &Path| -> Vec<String> {
        ["verify", "-CAfile", &ca.display().to_string(), &certificate.display().to_string()]
            .map(str::to_owned)
            .into()
    };
    let texts = |arguments: &[String]| {
        said("openssl", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut judged = 0;
    for name in contents(&pki).keys().filter(|name| name.extension().is_some_and(|it| it == "crt"))
    {
        let Some(ca) = signer(name) else { continue };
        // The old CA did sign what was there before, so the refusal of the new certificate is about
        // the certificate.
        assert!(
            texts(&verify(&old.join(ca), &old.join(name))).ends_with(": OK\n"),
            "{}",
            name.display()
        );
        assert!(
            texts(&verify(&pki.join(ca), &pki.join(name))).ends_with(": OK\n"),
            "{}",
            name.display()
        );
        let arguments = verify(&old.join(ca), &pki.join(name));
        let verdict = refusal("openssl", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            verdict.contains("unable to get local issuer certificate"),
            "{}: {verdict}",
            name.display()
        );
        judged += 1;
    }
    assert!(judged >= 15, "only {judged} certificates were found");
    let left = said(
        "find",
        &[
            &pki.display().to_string(),
            "-name",
            "*-old*",
            "-o",
            "-name",
            "*-next*",
            "-o",
            "-name",
            "rotation*",
        ],
    );
    assert_eq!(left, "");

    // Every node has just what the lab directory has, and that is another than it was.
    let everywhere = ["ca.crt"];
    let controllers = ["ca.crt", "etcd/ca.crt", "front-proxy-ca.crt", "sa.pub", "sa.key"];
    for node in lab.nodes().iter().filter(|node| *node != "lb-0") {
        let names =
            if node.starts_with("controller-") { &controllers[..] } else { &everywhere[..] };
        for name in names {
            let path = pki.join(name).display().to_string();
            let (is, was) = (
                said("sha256sum", &[&path]),
                said("sha256sum", &[&old.join(name).display().to_string()]),
            );
            let sum = |line: &str| line.split(' ').next().expect("a sum").to_owned();
            assert_ne!(sum(&is), sum(&was), "{name} was replaced");
            let there = lab.on(node, &format!("sha256sum /etc/kubernetes/pki/{name}"));
            assert_eq!(sum(&there), sum(&is), "{name} on {node} is the lab directory's");
        }
    }
}

/// kubectl with a kubeconfig that is to be refused; what it says.
fn kubectl_with(kubeconfig: &Path, arguments: &[&str]) -> String {
    let kubectl =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/bin/kubectl").display().to_string();
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    refusal(&kubectl, &[&[kubeconfig.as_str()], arguments].concat())
}

/// Of a lab with one node, as it comes up.
pub fn a_lab_whose_certificates_have_ended_is_revived(lab: &Lab) {
    let stay = deploy(lab, 1);
    assert_eq!(lab.run(&["certs", "list"]).code, Some(0), "all is well");
    let listed = lab.run(&["certs", "list", "--within", "400d"]);
    assert_eq!(listed.code, Some(3), "everything but the CAs ends within 400 days");
    let found = listed.all("certificate").count();
    assert!(found > 30, "on the node, in kubeconfigs and in the lab directory: {found}");

    // A name more in the inventory: one certificate is issued again, and only what uses it is
    // restarted.
    let inventory = lab.folder().join("inventory.yaml");
    let text = fs::read_to_string(&inventory).expect("an inventory");
    fs::write(&inventory, format!("{text}\napi:\n  names: [api.example.org]\n")).expect("written");
    let named = lab.must(&["up"]);
    let touched: Vec<String> = named
        .all("task_ended")
        .filter(|it| it["changed"] == true)
        .map(|it| it["task"].to_string())
        .collect();
    assert_eq!(
        touched,
        [
            "/etc/kubernetes/pki/apiserver.crt",
            "/etc/kubernetes/pki/apiserver.key",
            "unit kube-apiserver.service"
        ]
        .map(|it| format!("\"{it}\"")),
        "{}",
        named.story()
    );
    let apiserver = lab.directory().join("pki/apiserver.crt").display().to_string();
    assert!(
        said("openssl", &["x509", "-noout", "-ext", "subjectAltName", "-in", &apiserver])
            .contains("api.example.org")
    );

    lab.must(&["certs", "renew", "--life", "90s"]);
    let ended = || lab.run(&["certs", "list", "--within", "0s"]).code == Some(3);
    assert!(lab.within_two_minutes(|| {
        let list = lab.run(&["certs", "list", "--within", "0s"]);
        list.code == Some(3)
            && list.all("certificate").all(|it| {
                it["certificate"]["is_ca"] == true
                    || it["certificate"]["seconds_left"].as_i64() < Some(0)
            })
    }));
    let text = lab.labctl(&["certs", "list"]).output().expect("labctl starts");
    let text = String::from_utf8_lossy(&text.stderr).into_owned();
    assert!(text.contains("have expired:") && text.contains("EXPIRED"), "{text}");
    let refused = kubectl_with(&lab.directory().join("admin.conf"), &["get", "nodes"]);
    assert!(
        refused.contains("certificate has expired"),
        "an administrator whose time is over: {refused}"
    );

    // Cut off when some are there and others are not, it is finished by the same command.
    let restarts =
        |event: &Value| event["event"] == "play_started" && event["play"] == "kube-apiserver";
    lab.kill_at(&["certs", "renew"], restarts);
    mine::must(lab, &["certs", "renew"], "node-0");
    mine::forget(lab);
    assert!(!ended(), "nothing has ended");
    assert_eq!(pods(lab), stay, "the pods are the same");
    passes_smoke(lab, 12);
    is_settled(lab);
}
