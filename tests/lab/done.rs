//! "Done" means done: what was started is up and stays up, and what does not is named with its own
//! words.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use labctl::node::TURN;
use serde_json::Value;

use crate::lab::{Lab, Run};
use crate::{is_settled, mine};

const NODE: &str =
    "  - { name: node-0, address: 10.231.0.10, roles: [controller, worker, loadbalancer, client] }";
const WORKER: &str = "\n  - { name: extra, address: 10.231.0.11, roles: [worker] }";

/// The one failure of a run.
fn failure(run: &Run) -> &Value {
    assert_eq!(run.code, Some(1), "{}", run.story());
    let failures: Vec<&Value> = run.all("task_failed").collect();
    let [failure] = failures[..] else { panic!("one failure: {}", run.story()) };
    failure
}

#[test]
fn a_run_is_done_when_what_it_started_stays_up() {
    let lab = Lab::changed("single", &[(NODE, &format!("{NODE}{WORKER}"))]);

    // A node that is left out of a new lab is not waited for.
    let first = lab.must(&["up", "--limit", "node-0"]);
    assert!(first.changed() > 50, "{}", first.story());
    let nodes = lab.kubectl("get nodes -o name");
    assert_eq!(String::from_utf8_lossy(&nodes.stdout), "node/node-0\n");
    // The second node is made, and one node is worked on at a time.
    let second = lab.must(&["up", "--forks", "1"]);
    let mut open = BTreeSet::new();
    for event in &second.events {
        let node = || event["node"].as_str().expect("a node").to_owned();
        if event["event"] == "play_started" {
            open.insert(node());
            assert_eq!(open.len(), 1, "{open:?} at once");
        } else if event["event"] == "play_ended" && event["outcome"] != "skipped" {
            open.remove(&node());
        }
    }
    let worked: BTreeSet<&str> =
        second.all("play_started").filter_map(|play| play["node"].as_str()).collect();
    assert_eq!(worked, BTreeSet::from(["extra", "node-0"]));
    is_settled(&lab);
    certificates_of_one_node_are_renewed(&lab);
    a_node_comes_back_after_a_power_failure(&lab);

    // A kubelet with a flag that it does not know is started, and ends a moment later, again and
    // again.
    mine::must(&lab, &["up"], "extra");
    let template = lab.folder().join("mine/templates/kubelet/kubelet.service.tera");
    let text = fs::read_to_string(&template).expect("a template");
    let flag = "  --config=/var/lib/kubelet/config.yaml \\\n";
    assert!(text.contains(flag), "{text}");
    fs::write(&template, text.replace(flag, &format!("{flag}  --no-such-flag=4 \\\n")))
        .expect("a template");
    for attempt in 1..=2 {
        let up = lab.run(&["up", "--templates", "mine/templates", "--limit", "extra"]);
        let failure = failure(&up);
        let named = ["node", "task"].map(|field| failure[field].as_str().expect("text"));
        assert_eq!(named, ["extra", "unit kubelet.service"], "attempt {attempt}");
        let reason = failure["reason"].as_str().expect("a reason").lines().next().expect("a line");
        assert!(
            reason.contains("unknown flag: --no-such-flag"),
            "attempt {attempt}: {}",
            up.story()
        );
        let journal = failure["journal"].to_string();
        assert!(
            !journal.contains("Stopping") && !journal.contains("Deactivated"),
            "nothing of the old one: {journal}"
        );
    }
    let plan = lab.run(&["plan", "--templates", "mine/templates"]);
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    let changes =
        plan.all("planned").next().expect("a plan")["changes"].as_array().expect("changes").clone();
    let planned: Vec<(&str, &str)> = changes
        .iter()
        .map(|change| {
            (change["node"].as_str().expect("a node"), change["task"].as_str().expect("a task"))
        })
        .filter(|(node, _)| *node == "extra")
        .collect();
    assert_eq!(planned, [("extra", "unit kubelet.service")]);

    // A unit that somebody broke behind labctl's back is seen by the next plan, though its files
    // are as they should be.
    lab.must(&["up"]);
    lab.on(
        "extra",
        "mkdir -p /run/systemd/system/kube-proxy.service.d && cd \
        /run/systemd/system/kube-proxy.service.d && \
        printf '[Service]\\nExecStart=\\nExecStart=/usr/local/bin/kube-proxy --broken\\n' > \
        broken.conf && \
        systemctl daemon-reload && systemctl restart kube-proxy",
    );
    assert!(lab.within_two_minutes(|| {
        lab.on("extra", "systemctl show -p NRestarts --value kube-proxy")
            .parse::<u32>()
            .expect("a number")
            > 1
    }));
    let plan = lab.run(&["plan"]);
    assert!(plan.story().contains("unit kube-proxy.service"), "{}", plan.story());
    let up = lab.run(&["up"]);
    let told = failure(&up);
    assert_eq!(
        (told["node"].as_str(), told["task"].as_str()),
        (Some("extra"), Some("unit kube-proxy.service"))
    );
    assert!(
        told["reason"].as_str().expect("a reason").contains("unknown flag: --broken"),
        "{}",
        up.story()
    );
    lab.on("extra", "rm -r /run/systemd/system/kube-proxy.service.d && systemctl daemon-reload");

    // While another run is connected to the node it gets nothing from this one.
    let turn = format!(
        "state=/var/lib/labctl here=$(mktemp -d)\n{TURN}\nturn other 'labctl up by ann' && \
        echo mine && cat"
    );
    let mut other = lab
        .labctl(&["ssh", "inventory.yaml", "extra", "--", &turn])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ssh starts");
    let mut answer = String::new();
    BufReader::new(other.stdout.as_mut().expect("its output"))
        .read_line(&mut answer)
        .expect("an answer");
    assert_eq!(answer, "mine\n");
    let up = lab.run(&["up"]);
    let told = failure(&up);
    assert_eq!(told["node"], "extra");
    let stderr = told["stderr"].to_string();
    assert!(stderr.contains("another run is changing this node: labctl up by ann"), "{stderr}");
    drop(other.stdin.take());
    other.wait().expect("the other run ends");
    lab.must(&["up"]);
    is_settled(&lab);

    // A removal that is cut off locks nothing: a plan says so, and the next `up` finishes it.
    let begins = |event: &Value| event["event"] == "task_started";
    lab.kill_at(&["node", "remove", "extra", "--yes"], begins);
    let plan = lab.run(&["plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    assert!(plan.story().contains("the removal of extra is unfinished"), "{}", plan.story());
    let limited = lab.must(&["up", "--limit", "node-0"]);
    assert!(
        limited.story().contains("`labctl up inventory.yaml` finishes it"),
        "{}",
        limited.story()
    );
    assert!(lab.nodes().contains(&"extra".to_owned()), "which leaves it as it is");
    lab.must(&["up"]);
    assert_eq!(lab.nodes(), ["node-0"]);
    let nodes = lab.kubectl("get nodes -o name");
    assert_eq!(String::from_utf8_lossy(&nodes.stdout), "node/node-0\n");
    let inventory = fs::read_to_string(lab.folder().join("inventory.yaml")).expect("an inventory");
    assert!(!inventory.contains("extra"), "{inventory}");
    is_settled(&lab);
    // Taken down by a playbook of one's own, which leaves what no record has.
    fs::write(&template, text).expect("a template");
    mine::must(&lab, &["down", "--yes", "--keep-nodes"], "node-0");
    assert_eq!(lab.on("node-0", "ls /etc/mine /var/lib/labctl 2>/dev/null || true"), "");
    lab.must(&["down", "--yes"]);
}

/// `node stop` is a power failure, which `status` names, and `node start` ends it.
fn a_node_comes_back_after_a_power_failure(lab: &Lab) {
    lab.must(&["node", "stop", "extra"]);
    assert_eq!(lab.try_on("extra", "true"), None);
    let status = lab.run(&["status"]);
    assert_eq!(status.code, Some(3), "{}", status.stderr);
    let findings = status.all("status").next().expect("a status")["findings"].to_string();
    assert!(findings.contains("extra"), "{findings}");
    let again = lab.must(&["node", "stop", "extra"]);
    assert!(again.stderr.contains("extra is not running"), "{}", again.stderr);
    lab.must(&["node", "start", "ext*"]);
    assert_eq!(lab.on("extra", "hostname"), "extra");
    let settled = lab.within_two_minutes(|| lab.run(&["plan"]).code == Some(0));
    assert!(settled, "{}", lab.run(&["plan"]).story());
}

/// Of one node, and of its certificates the one that is named: the others stay.
fn certificates_of_one_node_are_renewed(lab: &Lab) {
    let sums = || -> BTreeSet<(String, String, String)> {
        let look = "find /etc/kubernetes -name '*.crt' -exec sha256sum {} +; \
                    sha256sum /etc/kubernetes/*.conf";
        let of = |node: &str| -> Vec<(String, String, String)> {
            let found = lab.on(node, look);
            let file = |line: &str| {
                let (sum, path) = line.split_once("  ").expect("a sum and a path");
                (node.to_owned(), path.to_owned(), sum.to_owned())
            };
            found.lines().map(file).collect()
        };
        ["node-0", "extra"].into_iter().flat_map(of).collect()
    };
    let before = sums();
    lab.must(&["certs", "renew", "extra", "--only", "kubelet"]);
    let after = sums();
    let renewed: Vec<(&str, &str)> =
        after.difference(&before).map(|(node, path, _)| (&**node, &**path)).collect();
    let kubelet = ["/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/kubelet.crt"];
    assert_eq!(renewed, kubelet.map(|path| ("extra", path)), "{before:#?}\n{after:#?}");
    assert!(before.len() > 12 && before.len() == after.len(), "{before:#?}");
}
