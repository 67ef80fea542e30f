//! The smoke test's own shell, run by a real `sh` against a kubectl and an etcdctl that answer as a
//! good lab does, and then as labs do in which one thing is wrong: the check that names it fails,
//! and no other. That the real programs answer in this way on real labs, good and broken, is in
//! `tests/lab/smoke.rs`.

use crate::support::labs;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::sync::LazyLock;

use labctl::cluster::{Cluster, Role, SecondNetwork};
use labctl::smoke::{Check, checks, failover};

/// A good lab of two workers with two pods each; `$BROKEN` names what is wrong with it.
const KUBECTL: &str = r#"#!/bin/sh
[ "$BROKEN" != 'no API' ] || { echo 'The connection to the server was refused' >&2; exit 1; }
[ "$BROKEN" != 'no answers' ] || exit 0
broken() { [ "$BROKEN" = "$1" ]; }
[ "$1" != -n ] || shift 2
case "$*" in
  'get nodes -o '*)
    echo 'worker-0 True'
    if broken 'a worker is not Ready'; then echo 'worker-1 False'; echo 'stranger True'
    elif ! broken 'a worker is not there'; then echo 'worker-1 True'; fi ;;
  'get nodes --no-headers') echo 'worker-0 Ready' ;;
  'top nodes --no-headers')
    ! broken 'no metrics' || { echo 'error: Metrics API not available' >&2; exit 1; }
    echo 'worker-0   120m   3%    800Mi   10%'
    if broken 'a worker has no metrics'; then
      echo 'worker-1   <unknown>   <unknown>   <unknown>   <unknown>'
    else echo 'worker-1   95m   2%    700Mi   9%'; fi ;;
  'get secret '*)
    if broken 'the API gives back another Secret'; then printf b3RoZXI=
    else printf aW4tdGhlLWNsZWFy; fi ;;
  'rollout status '*) ! broken 'pods do not start' ;;
  'get pods -l app=web '*'podIPs[1].ip'*)
    echo 'web-a fd00:200::2 worker-0'
    echo 'web-b fd00:200::3 worker-0'
    echo 'web-c fd00:200:0:1::2 worker-1'
    echo 'web-d fd00:200:0:1::3 worker-1' ;;
  'get service web '*'clusterIPs[1]'*) printf fd00:32::77 ;;
  'get pods -l app=web '*)
    if broken 'no list of pods'; then
      echo 'Error from server: etcdserver: request timed out' >&2
      exit 1
    fi
    echo 'web-a 10.200.0.2 worker-0'
    echo 'web-b 10.200.0.3 worker-0'
    if broken 'all pods on one worker'; then echo 'web-c 10.200.1.2 worker-0'
    else echo 'web-c 10.200.1.2 worker-1'; fi
    if broken 'all pods on one worker'; then echo 'web-d 10.200.1.3 worker-0'
    elif broken 'a pod has no address'; then echo 'web-d  worker-1'
    elif ! broken 'a pod is missing'; then echo 'web-d 10.200.1.3 worker-1'; fi ;;
  'get service web '*) broken 'no ClusterIP' || printf 10.32.0.77 ;;
  'get service web-nodeport '*) broken 'no NodePort' || printf 31234 ;;
  'exec '*' -- sh -c '*) export POD="$2"; shift 3; exec "$@" ;;
  'exec '*' -- nslookup '*)
    case "$*" in *' kubernetes.default.svc.cluster.local') ;; *) exit 1 ;; esac
    if [ "$2" = web-d ]; then
      if broken 'DNS is dead from one pod'; then echo 'connection timed out'; exit 1; fi
      if broken 'DNS says something else'; then echo 'Address: 192.0.2.1'; exit; fi
    fi
    echo 'Address: 10.32.0.1' ;;
  'logs '*)
    if broken 'a log is empty' && [ "$2" = web-d ]; then exit; fi
    if broken 'logs are refused'; then exit 1; fi
    echo "serving as $2" ;;
  'exec '*' -- hostname')
    ! broken 'exec is refused' || { echo 'Error from server (Forbidden)' >&2; exit 1; }
    if broken 'exec ends up elsewhere' && [ "$2" = web-d ]; then echo web-a; else echo "$2"; fi ;;
  'port-forward '*)
    ! broken 'port-forward is refused' || { echo 'error: unable to forward port' >&2; exit 1; }
    echo "Forwarding from 127.0.0.1:$PORT -> 8080"
    exec sleep 60 ;;
  'get pods -o wide --no-headers') echo 'web-d 0/1 Pending' ;;
  'get events '*) echo 'web-d was created' ;;
  *) echo "an unexpected call: kubectl $*" >&2; exit 99 ;;
esac
"#;

/// What a pod is answered, whose name is `$POD`.
const WGET: &str = r#"#!/bin/sh
broken() { [ "$BROKEN" = "$1" ]; }
case "$*" in *'://['*) ! broken 'IPv6 is dead' || exit 1 ;; esac
case "$*" in
  *' http://10.200.'*:8080/ | *' http://[fd00:200:'*:8080/)
    to=${*##*http://}; to=${to%:8080/}
    case $POD:$to in
      web-d:10.200.0.2) if broken 'a pod cannot be reached from one'; then exit 1; fi ;;
      web-b:10.200.1.2) if broken 'another pod answers'; then echo web-d; exit; fi ;;
    esac
    case $to in
      '[fd00:200::2]') echo web-a ;;
      '[fd00:200::3]') echo web-b ;;
      '[fd00:200:0:1::2]') echo web-c ;;
      '[fd00:200:0:1::3]') echo web-d ;;
      10.200.0.2) echo web-a ;;
      10.200.0.3) echo web-b ;;
      10.200.1.2) echo web-c ;;
      10.200.1.3) echo web-d ;;
    esac ;;
  *' http://[fd00:32::77]/') echo web-a ;;
  *' http://10.32.0.77/')
    if broken 'a ClusterIP is dead from one pod' && [ "$POD" = web-d ]; then exit 1; fi
    # Every third call meets the pod that does not answer.
    if broken 'a ClusterIP leads to a dead pod'; then
      echo >> "$CALLS"
      [ $(($(wc -l < "$CALLS") % 3)) != 0 ] || exit 1
    fi
    echo web-a ;;
  *':31234/')
    if broken 'a NodePort is dead on one worker'; then
      case "$*" in *10.240.0.21:*) exit 1 ;; esac
    fi
    echo web-a ;;
  *) echo "an unexpected call: wget $*" >&2; exit 99 ;;
esac
"#;

/// What etcd has, as it has it.
const ETCDCTL: &str = r#"#!/bin/sh
[ "$BROKEN" != 'no etcd' ] || exit 1
if [ "$BROKEN" = 'Secrets are not encrypted' ]; then printf 'k8s\0\n\014v1 Secret in-the-clear'
else printf 'k8s:enc:aescbc:v1:key1:\001\002\003'; fi
"#;

/// The programs, written before any test starts a process: one that inherited a file open for
/// writing would keep the kernel from running it.
static PROGRAMS: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, text) in [("kubectl", KUBECTL), ("etcdctl", ETCDCTL), ("wget", WGET)] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    folder
});

/// Runs a check in a lab with this fault; the pod that is forwarded to says that it is `forwarded`.
fn run(check: &Check, broken: &str, forwarded: &str) -> Output {
    let folder = tempfile::tempdir().expect("a directory");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    let answer = format!("HTTP/1.0 200 OK\r\n\r\n{forwarded}\n");
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = server.accept() {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    let programs = "PATH=/usr/local/bin:$PATH\n";
    assert!(check.script.contains(programs), "{}", check.script);
    let here = format!("PATH={}:$PATH\n", PROGRAMS.path().display());
    Command::new("sh")
        .args(["-c", &check.script.replace(programs, &here)])
        .env("BROKEN", broken)
        .env("patience", "2")
        .env("PORT", port.to_string())
        .env("CALLS", folder.path().join("calls"))
        .output()
        .expect("sh starts")
}

/// A lab with every add-on.
fn lab() -> Cluster {
    Cluster { addons: vec!["metrics-server".to_owned()], ..labs::sandbox() }
}

/// The same in both IP families.
fn dual_stack() -> Cluster {
    let mut lab = labs::sandbox();
    lab.network.second = Some(SecondNetwork {
        pods: "fd00:200::/56".parse().expect("a network"),
        node_prefix: 64,
        services: "fd00:32::/112".parse().expect("a network"),
    });
    for (number, node) in lab.nodes.iter_mut().filter(|it| it.has(Role::Worker)).enumerate() {
        node.second_address = format!("fd00:240::2{number}").parse().ok();
    }
    lab
}

/// The names of the checks that fail in a lab with this fault, and what they say.
fn failing(broken: &str, forwarded: &str) -> (Vec<String>, String) {
    failing_in(&lab(), broken, forwarded)
}

fn failing_in(lab: &Cluster, broken: &str, forwarded: &str) -> (Vec<String>, String) {
    let checks = checks(lab);
    let outputs: Vec<(String, Output)> = std::thread::scope(|scope| {
        let started: Vec<_> =
            checks.iter().map(|it| scope.spawn(|| run(it, broken, forwarded))).collect();
        let ended = started.into_iter().map(|running| running.join().expect("a check ends"));
        checks.iter().map(|check| check.name.clone()).zip(ended).collect()
    });
    let failed: Vec<&(String, Output)> =
        outputs.iter().filter(|(_, output)| !output.status.success()).collect();
    let said = failed.iter().map(|(_, output)| String::from_utf8_lossy(&output.stderr)).collect();
    (failed.iter().map(|(name, _)| name.clone()).collect(), said)
}

fn all() -> Vec<String> {
    checks(&lab()).into_iter().map(|check| check.name).collect()
}

#[test]
fn an_add_on_is_checked_where_the_inventory_asks_for_it() {
    let without: Vec<String> =
        checks(&labs::sandbox()).into_iter().map(|check| check.name).collect();
    let only: Vec<String> = all().into_iter().filter(|name| !without.contains(name)).collect();
    assert_eq!(only, ["kubectl top knows every worker"]);
    assert_eq!(without.len(), 10, "the others are checked in every lab");
}

#[test]
fn a_good_lab_passes() {
    assert_eq!(failing("", "web-a"), (Vec::new(), String::new()));
    assert_eq!(all().len(), 11, "and every check was made");
}

#[test]
fn both_ip_families_are_asked_where_a_lab_has_both() {
    let lab = dual_stack();
    assert_eq!(failing_in(&lab, "", "web-a"), (Vec::new(), String::new()));
    assert_eq!(checks(&lab).len(), 13, "three more than in a lab of one family");
    let (failed, said) = failing_in(&lab, "IPv6 is dead", "web-a");
    let by_ipv6 = [
        "every pod reaches every pod by IPv6",
        "a ClusterIP answers by IPv6",
        "a NodePort answers on every worker by IPv6",
    ];
    assert_eq!(failed, by_ipv6, "{said}");
    for what in
        ["(fd00:200::2 on worker-0)", "http://[fd00:32::77]/", "http://[fd00:240::20]:31234/"]
    {
        assert!(said.contains(what), "{what}: {said}");
    }
}

#[test]
fn nothing_passes_where_kubectl_fails_or_says_nothing() {
    for broken in ["no API", "no answers"] {
        assert_eq!(failing(broken, "web-a").0, all(), "{broken}");
    }
}

#[test]
fn nothing_that_asks_pods_passes_without_all_of_them() {
    let about_pods = &all()[2..10];
    for (broken, why) in [
        ("no list of pods", "etcdserver: request timed out"),
        ("a pod is missing", "only 3 of 4 pods have an address"),
        ("a pod has no address", "only 3 of 4 pods have an address"),
    ] {
        let (failed, said) = failing(broken, "web-a");
        assert_eq!(failed, about_pods, "{broken}");
        assert_eq!(said.matches(why).count(), about_pods.len(), "{broken}: {said}");
    }
}

#[test]
fn what_is_wrong_is_named_by_one_check() {
    let secret = "a Secret is encrypted in etcd";
    let spread = "a Deployment spreads over the workers";
    for (broken, check, why) in [
        ("a worker is not Ready", "every worker is Ready", "worker-1 is not Ready"),
        ("a worker is not there", "every worker is Ready", "worker-1 is not Ready"),
        ("Secrets are not encrypted", secret, "does not begin with k8s:enc:"),
        ("the API gives back another Secret", secret, "another value than was stored"),
        ("no etcd", secret, "does not begin with k8s:enc:"),
        ("pods do not start", spread, "web-d 0/1 Pending"),
        ("all pods on one worker", spread, "run on 1 of 2 workers"),
        (
            "a pod cannot be reached from one",
            "every pod reaches every pod",
            "web-d cannot reach web-a",
        ),
        (
            "another pod answers",
            "every pod reaches every pod",
            "web-b sent a request to web-c and web-d answered",
        ),
        ("no ClusterIP", "a ClusterIP answers", "has no ClusterIP"),
        ("no metrics", "kubectl top knows every worker", "Metrics API not available"),
        ("a worker has no metrics", "kubectl top knows every worker", "no figures of worker-1"),
        (
            "a ClusterIP is dead from one pod",
            "a ClusterIP answers",
            "no answer from http://10.32.0.77/ to web-d",
        ),
        (
            "a ClusterIP leads to a dead pod",
            "a ClusterIP answers",
            "no answer from http://10.32.0.77/",
        ),
        ("no NodePort", "a NodePort answers on every worker", "has no port"),
        (
            "a NodePort is dead on one worker",
            "a NodePort answers on every worker",
            "no answer from http://10.240.0.21:",
        ),
        (
            "DNS is dead from one pod",
            "DNS resolves kubernetes from a pod",
            "web-d: connection timed out",
        ),
        (
            "DNS says something else",
            "DNS resolves kubernetes from a pod",
            "web-d got the wrong answer",
        ),
        ("a log is empty", "kubectl logs shows a pod's output", "the log of web-d lacks"),
        ("logs are refused", "kubectl logs shows a pod's output", "there is no log of web-a"),
        ("exec is refused", "kubectl exec runs a command in a pod", "(Forbidden)"),
        (
            "exec ends up elsewhere",
            "kubectl exec runs a command in a pod",
            "hostname in web-d prints web-a",
        ),
        ("port-forward is refused", "kubectl port-forward reaches a pod", "unable to forward port"),
    ] {
        let (failed, said) = failing(broken, "web-a");
        assert_eq!(failed, [check], "{broken}: {said}");
        assert!(said.contains(why), "{broken}: {said}");
    }
    let (failed, said) = failing("", "web-b");
    assert_eq!(failed, ["kubectl port-forward reaches a pod"]);
    assert!(said.contains("asked web-a and got: web-b"), "{said}");
}

/// Where most members of etcd stay, one of them is stopped too.
#[test]
fn a_controller_is_stopped_where_others_take_over() {
    assert_eq!(failover(&labs::single()), None);
    let stop = |lab: &Cluster| failover(lab).expect("a check").stop;
    assert!(stop(&labs::sandbox()).ends_with("\nstop_control_plane kube-apiserver\n"));
    assert!(stop(&labs::ha()).ends_with("\nstop_control_plane kube-apiserver etcd\n"));
    let mut unbalanced = labs::ha();
    unbalanced.api.loadbalancer = None;
    assert_eq!(failover(&unbalanced), None, "nobody passes clients on to another one");
}

#[test]
fn an_add_on_is_checked_in_labs_that_have_it() {
    let names = |lab: &Cluster| checks(lab).into_iter().map(|it| it.name).collect::<Vec<_>>();
    let (without, with) = (names(&labs::sandbox()), names(&lab()));
    assert_eq!(with[..without.len()], without);
    assert_eq!(with[without.len()..], ["kubectl top knows every worker"]);
}
