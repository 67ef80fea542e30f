//! "Dessine-moi un cluster": one program after another, and what is there after each.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use super::{in_time, is_well};
use crate::goes_without_a_trace;
use crate::lab::{Lab, busybox};

/// The lab up to a play, and nothing after it.
fn until(lab: &Lab, play: &str) {
    let run = lab.must(&["up", "--until", play]);
    assert!(run.changed() > 0, "{}", run.story());
    lab.must(&["plan", "--until", play]);
    assert_eq!(lab.run(&["plan"]).code, Some(3), "there is more to come");
}

const PODS: &str = "get pods -o jsonpath={.items[*].status.phase}";

#[test]
fn a_cluster_is_drawn_one_program_at_a_time() {
    let lab = Lab::new("dmuc");

    // An API, and nobody at work: what is asked for is written down, and that is all.
    until(&lab, "kube-apiserver");
    let image = busybox();
    lab.kubectl_says(&format!("create deployment web --image={image} -- httpd -f -p 80"));
    assert_eq!(lab.kubectl_says("get deployments -o name"), "deployment.apps/web");
    assert_eq!(lab.kubectl_says("get replicasets,pods,nodes -o name"), "");
    // Nobody has said who it is, nor looked at who answers.
    let anybody = "curl -qsk --noproxy '*' https://127.0.0.1:6443/api/v1/namespaces/default";
    assert!(lab.on("dmuc", anybody).contains("\"kind\": \"Namespace\""));

    // The loops: a ReplicaSet and a pod, which has nowhere to run.
    until(&lab, "kube-controller-manager");
    in_time(&lab, PODS, |phases| phases == "Pending");
    assert!(lab.kubectl_says("get replicasets -o name").starts_with("replicaset.apps/web-"));
    assert_eq!(lab.kubectl_says("get nodes -o name"), "");

    // A node that is Ready. Nobody has told the pod to run there.
    until(&lab, "kubelet");
    let ready = "get nodes -o jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    assert_eq!(lab.kubectl_says(ready), "True");
    assert_eq!(lab.kubectl_says(PODS), "Pending");
    assert_eq!(lab.kubectl_says("get pods -o jsonpath={.items[*].spec.nodeName}"), "");

    // The pod runs, and answers at its own address; a Service's leads nowhere.
    until(&lab, "kube-scheduler");
    in_time(&lab, PODS, |phases| phases == "Running");
    let pod = lab.kubectl_says("get pods -o jsonpath={.items[*].status.podIP}");
    lab.kubectl_says("expose deployment web --port=80");
    let service = lab.kubectl_says("get service web -o jsonpath={.spec.clusterIP}");
    // httpd has no page; that it says so is an answer.
    let ask = |address: &str| {
        format!(
            "curl -qs --noproxy '*' --connect-timeout 2 -o /dev/null -w '%{{http_code}}' \
             http://{address}/ || true"
        )
    };
    assert!(lab.within_two_minutes(|| lab.on("dmuc", &ask(&pod)) == "404"), "{pod}");
    assert_eq!(lab.on("dmuc", &ask(&service)), "000", "{service}");

    // kube-proxy, which is the last: the Service answers.
    let rest = lab.must(&["up"]);
    assert!(rest.changed() > 0, "{}", rest.story());
    assert!(lab.within_two_minutes(|| lab.on("dmuc", &ask(&service)) == "404"), "{service}");
    let chains = lab.on("dmuc", "iptables -w -t nat -S KUBE-SERVICES");
    assert!(chains.contains(&service), "{chains}");

    // Seen by the scaled Deployment: each pod has its share of the connections.
    lab.kubectl_says("scale deployment web --replicas=4");
    in_time(&lab, PODS, |phases| phases == "Running Running Running Running");
    let shares = "iptables -w -t nat -S | grep -- '--comment \"default/web' | grep -o \
                  'probability [0-9.]*' | sort -u";
    let shared = |it: String| it.lines().count() == 3;
    assert!(
        lab.within_two_minutes(|| shared(lab.on("dmuc", shares))),
        "{}",
        lab.on("dmuc", shares)
    );

    is_well(&lab);
    goes_without_a_trace(&lab);
}

/// Runs labctl on a terminal of its own. To each of these words that comes, it types the answer.
/// What was on the screen.
fn on_a_terminal(lab: &Lab, arguments: &str, answers: &[(&str, &str)]) -> String {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_labctl"));
    let mut child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .current_dir(lab.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    let mut typed = child.stdin.take().expect("its input");
    let mut screen = child.stdout.take().expect("its output");
    let (mut seen, mut since, mut buffer) = (String::new(), 0, [0; 4096]);
    for (word, answer) in answers {
        while !seen[since..].contains(word) {
            let read = screen.read(&mut buffer).expect("its output");
            assert!(read > 0, "no `{word}` in: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        since = seen.len();
        writeln!(typed, "{answer}").expect("it reads");
    }
    screen.read_to_string(&mut seen).expect("its output");
    assert!(child.wait().expect("it ends").success(), "{seen}");
    seen
}

#[test]
fn each_play_is_explained_and_waits_for_a_key() {
    let lab = Lab::new("dmuc");
    let answers = [
        ("play prepare", ""),
        ("play binaries", "dmuc"),
        ("dmuc:~#", "ls /usr/local/bin; exit"),
        ("play binaries", ""),
        ("play etcd", ""),
        ("play kube-apiserver", "nosuch"),
        ("play kube-apiserver", "q"),
    ];
    let screen = on_a_terminal(&lab, "up --step", &answers);
    for shown in
        ["# etcd", "Without a flag it listens", "ExecStart=/usr/local/bin/etcd", "# kube-apiserver"]
    {
        assert!(screen.contains(shown), "no `{shown}` in {screen}");
    }
    assert_eq!(lab.on("dmuc", "systemctl is-active etcd"), "active");
    assert_eq!(lab.run(&["plan", "--until", "etcd"]).code, Some(0));
    assert!(lab.try_on("dmuc", "systemctl is-active kube-apiserver").is_none(), "it was not asked");
    goes_without_a_trace(&lab);
}
