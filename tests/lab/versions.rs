//! Versions of Kubernetes: labs of each that there is a bundle of in `bundles/`, and one that goes
//! from the oldest to the newest of them while it serves. With `VERSIONS_WRITE=1`, as `make
//! versions` sets it, what was seen goes into `docs/versions.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use labctl::bundle::Bundle;
use labctl::cluster::Version;
use serde_json::Value;

use crate::caller::Caller;
use crate::lab::{Lab, busybox};
use crate::{goes_without_a_trace, is_settled, mine, page, passes_smoke};

fn bundles() -> (PathBuf, Vec<Version>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles");
    let mut versions = Bundle::versions_in(&folder);
    versions.sort();
    assert!(versions.len() > 1, "{} has bundles: run `make versions`", folder.display());
    (folder, versions)
}

/// A shipped inventory with the bundle of a version, and all others beside it.
fn lab_of(name: &'static str, folder: &Path, version: Version) -> Lab {
    let lab = Lab::new(name);
    let path = lab.folder().join("inventory.yaml");
    let text = fs::read_to_string(&path).expect("an inventory");
    let set = |line: &str| match line.split(':').next() {
        Some("bundle") => format!("bundle: {}", folder.display()),
        Some("kubernetes") => format!("kubernetes: \"{version}\""),
        _ => line.to_owned(),
    };
    let lines: Vec<String> = text.lines().map(set).collect();
    fs::write(path, lines.join("\n") + "\n").expect("an inventory");
    lab
}

/// Prints what was seen; if that is asked for, writes it between the marks of `docs/versions.md`.
#[allow(clippy::print_stdout, reason = "figures for a person, and for docs/versions.md")]
fn seen(mark: &str, lines: &[String]) {
    let seen = lines.join("\n");
    println!("{seen}");
    if std::env::var_os("VERSIONS_WRITE").is_none() {
        return;
    }
    page::write("docs/versions.md", &format!("seen: {mark}"), &format!("{seen}\n"));
}

#[test]
fn every_version_comes_up_works_and_goes() {
    let (folder, versions) = bundles();
    let mut rows = vec![
        "| Kubernetes | etcd | containerd | CoreDNS | up | smoke | nothing to do | down |".into(),
        "|---|---|---|---|---|---|---|---|".into(),
    ];
    for version in versions {
        let lab = lab_of("single", &folder, version);
        let mut times = Vec::new();
        let mut timed = |step: &dyn Fn()| {
            let began = Instant::now();
            step();
            times.push(format!("{:.1} s", began.elapsed().as_secs_f64()));
        };
        timed(&|| drop(lab.must(&["up"])));
        timed(&|| passes_smoke(&lab, 12));
        timed(&|| drop(lab.must(&["up"])));
        is_settled(&lab);
        timed(&|| goes_without_a_trace(&lab));
        let bundle = Bundle::open(&folder.join(version.to_string())).expect("a bundle");
        let of = |name: &str| bundle.files[name].version.clone();
        let companions = [of("etcd"), of("containerd"), of("image/coredns")];
        rows.push(format!("| {version} | {} | {} |", companions.join(" | "), times.join(" | ")));
    }
    seen("versions", &rows);
}

const SITE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: site }
spec:
  replicas: 2
  selector: { matchLabels: { app: site } }
  template:
    metadata: { labels: { app: site } }
    spec:
      terminationGracePeriodSeconds: 15
      containers:
        - name: site
          image: IMAGE
          command: [sh, -c, "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
          readinessProbe: { httpGet: { port: 8080, path: / }, periodSeconds: 1 }
          lifecycle: { preStop: { exec: { command: [sleep, "8"] } } }
---
apiVersion: v1
kind: Service
metadata: { name: site }
spec:
  type: NodePort
  selector: { app: site }
  ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }]
"#;

/// A site of two pods, and the addresses that it answers at.
fn with_a_site(lab: &Lab) -> Vec<String> {
    let path = lab.folder().join("site.yaml");
    fs::write(&path, SITE.replace("IMAGE", &busybox())).expect("a file");
    lab.kubectl_says(&format!("apply -f {}", path.display()));
    lab.kubectl_says("rollout status deployment/site --timeout=120s");
    fs::remove_file(path).expect("it is there");
    let addresses = ["10.232.0.20", "10.232.0.21", "10.232.0.22"];
    // A Service is known to the API before it is known to each kube-proxy.
    for address in addresses {
        let answers = || said_by(address).contains("hello");
        assert!(lab.within_two_minutes(answers), "{address} answers");
    }
    addresses.map(|address| format!("http://{address}:30080/")).to_vec()
}

/// The page at a node's port.
fn said_by(address: &str) -> String {
    let url = format!("http://{address}:30080/");
    let curl = ["-qs", "--noproxy", "*", "--max-time", "5", &url];
    let output = Command::new("curl").args(curl).output().expect("curl starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The oldest version from which there is one of every minor release up to the newest, and that.
fn without_a_gap(versions: &[Version]) -> (Version, Version) {
    let follow = |pair: &&[Version]| pair[1].minor <= pair[0].minor + 1;
    let steps = versions.windows(2).rev().take_while(follow).count();
    (versions[versions.len() - 1 - steps], versions[versions.len() - 1])
}

fn kubelets(lab: &Lab) -> String {
    lab.kubectl_says("get nodes -o jsonpath={.items[*].status.nodeInfo.kubeletVersion}")
}

#[test]
fn a_lab_is_upgraded_over_many_minor_releases_while_it_serves() {
    let (folder, versions) = bundles();
    let (oldest, newest) = without_a_gap(&versions);
    let lab = lab_of("ha", &folder, oldest);
    lab.must(&["up"]);
    let site = with_a_site(&lab);

    // Too far for `up`, which names what goes there.
    let to = newest.to_string();
    if newest.minor > oldest.minor + 1 {
        let path = lab.folder().join("inventory.yaml");
        let text = fs::read_to_string(&path).expect("an inventory");
        fs::write(&path, text.replace(&format!("\"{oldest}\""), &format!("\"{to}\"")))
            .expect("an inventory");
        let jump = lab.run(&["up"]);
        assert_eq!(jump.code, Some(2), "{}", jump.story());
        assert!(jump.story().contains("labctl upgrade"), "{}", jump.story());
        fs::write(&path, text).expect("an inventory");
    }

    let api = Caller::start(lab.directory().join("admin.conf"));
    let pages = Caller::of_pages(site);
    let began = Instant::now();
    lab.must(&["upgrade", "--to", &to, "--backup", "before.backup"]);
    let took = began.elapsed();
    let (api, pages) = (api.end(), pages.end());
    let minors = u32::from(newest.minor - oldest.minor).max(1);
    assert_eq!(kubelets(&lab), vec![format!("v{to}"); 3].join(" "));
    let text = fs::read_to_string(lab.folder().join("inventory.yaml")).expect("an inventory");
    assert!(text.contains(&format!("kubernetes: \"{to}\"")), "{text}");
    let backup = lab.folder().join("before.backup");
    assert!(backup.metadata().expect("a backup").len() > 100_000);
    fs::remove_file(backup).expect("it is there");
    let each = (took / minors).as_secs();
    seen(
        "upgrade",
        &[
            "| from, to | time | for each minor release | API | site |".into(),
            "|---|---|---|---|---|".into(),
            format!(
                "| {oldest}, {newest} | {} s | {each} s | {} | {} |",
                took.as_secs(),
                api.figures(),
                pages.figures()
            ),
        ],
    );
    api.none_failed("the API");
    pages.none_failed("the site");
    let cordoned = lab.kubectl_says("get nodes -o jsonpath={.items[*].spec.unschedulable}");
    assert_eq!(cordoned, "", "no worker stays cordoned");

    is_settled(&lab);
    passes_smoke(&lab, 13);
    let back = lab.run(&["upgrade", "--to", &oldest.to_string()]);
    assert_eq!(back.code, Some(2), "{}", back.story());
    assert!(back.story().contains("cannot go back"), "{}", back.story());
    goes_without_a_trace(&lab);
}

/// Whether an event is the one at which to kill.
type Moment = fn(&Value) -> bool;

/// What an upgrade over one minor release comes to, one after another: until the control plane is
/// done, and from there on.
const MOMENTS: [&[Moment]; 2] = [
    &[
        |event| event["event"] == "step_ended" && event["step"] == "backup",
        |event| plays(event, "etcd"),
        |event| plays(event, "kube-apiserver"),
        |event| plays(event, "kube-scheduler"),
    ],
    &[
        |event| plays(event, "drain"),
        |event| plays(event, "worker-binaries"),
        |event| plays(event, "kubelet"),
        |event| plays(event, "return"),
    ],
];

fn plays(event: &Value, play: &str) -> bool {
    event["event"] == "play_started" && event["play"] == play
}

#[test]
fn an_upgrade_that_is_killed_in_any_step_is_finished_by_the_same_command() {
    let (folder, versions) = bundles();
    let [.., before, newest] = versions[..] else { panic!("two versions") };
    let lab = lab_of("ha", &folder, before);
    lab.must(&["up"]);
    let must = |arguments: &str| lab.kubectl_says(arguments);
    // Somebody's own: a pod without a controller, and a worker that gets no pods.
    let there = r#"{"spec":{"nodeName":"worker-0"}}"#;
    let image = busybox();
    must(&format!("run alone --image={image} --overrides={there} --command -- sleep 1000000"));
    must("wait pod/alone --for=condition=Ready --timeout=60s");
    must("cordon worker-2");
    let to = newest.to_string();
    for moment in MOMENTS[0] {
        lab.kill_at(&["upgrade", "--to", &to], *moment);
    }
    let stays = lab.run(&["upgrade"]);
    assert_eq!(stays.code, Some(1), "{}", stays.story());
    assert!(stays.story().contains("alone"), "{}", stays.story());
    assert_eq!(must("get pod alone -o jsonpath={.status.phase}"), "Running");
    for moment in MOMENTS[1] {
        lab.kill_at(&["upgrade", "--at-once", "2", "--force"], *moment);
    }
    mine::must(&lab, &["upgrade", "--force"], "controller-0");
    assert_eq!(kubelets(&lab), vec![format!("v{to}"); 3].join(" "));
    assert!(!lab.kubectl("get pod alone").status.success(), "it went when that was asked for");
    let cordoned = must("get nodes -o jsonpath={.items[?(@.spec.unschedulable)].metadata.name}");
    assert_eq!(cordoned, "worker-2", "as its owner left it, and no other");
    must("uncordon worker-2");
    mine::forget(&lab);
    is_settled(&lab);
    passes_smoke(&lab, 13);
    // One of each run, beside the lab directory, so that they outlive it.
    let beside = lab.directory().parent().expect("a directory").to_owned();
    let backups: Vec<PathBuf> = fs::read_dir(beside)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "backup"))
        .collect();
    assert!(backups.len() > MOMENTS[0].len() + MOMENTS[1].len(), "{backups:?}");
    backups.iter().for_each(|backup| fs::remove_file(backup).expect("it is there"));
    goes_without_a_trace(&lab);
}
