//! Every file that the templates make, for every node of three labs, compared with the copies under
//! `tests/golden/`.
//!
//! A changed template shows in review as the changed files. `LABCTL_UPDATE_GOLDEN=1 cargo test
//! --test it golden` writes them again. Which template goes where is read from `playbooks/up.yaml`
//! and its components, so no second table has to be kept.

use crate::support::labs;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use labctl::cluster::{Cluster, Node, PodNetwork, ProxyMode};
use labctl::render::{Context, Renderer, standard};
use serde_yaml::Value;

#[test]
fn every_rendered_file_is_as_reviewed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut expected: BTreeMap<PathBuf, String> = BTreeMap::new();
    for cluster in [labs::sandbox(), labs::single(), labs::ha()] {
        for node in &cluster.nodes {
            for (path, text) in rendered(&cluster, node) {
                expected.insert(
                    root.join(&cluster.name).join(&node.name).join(path.trim_start_matches('/')),
                    text,
                );
            }
        }
    }
    if std::env::var_os("LABCTL_UPDATE_GOLDEN").is_some() {
        if root.exists() {
            fs::remove_dir_all(&root).expect("old golden files go");
        }
        for (path, text) in &expected {
            fs::create_dir_all(path.parent().expect("a folder"))
                .expect("a folder for golden files");
            fs::write(path, text).expect("a golden file");
        }
        return;
    }
    let mut problems = Vec::new();
    for (path, text) in &expected {
        match fs::read_to_string(path) {
            Ok(golden) if golden == *text => {}
            Ok(golden) => {
                problems.push(format!("{}: {}", path.display(), first_difference(&golden, text)))
            }
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    for path in files_under(&root) {
        if !expected.contains_key(&path) {
            problems.push(format!("{}: nothing renders this file any more", path.display()));
        }
    }
    assert!(
        problems.is_empty(),
        "{}\n\nif this is what you wanted: LABCTL_UPDATE_GOLDEN=1 cargo test --test it golden",
        problems.join("\n")
    );
}

#[test]
fn every_standard_template_is_used_by_the_playbook_and_the_other_way_round() {
    let mut used: BTreeSet<String> =
        tasks().into_iter().filter_map(|task| template_of(&task).map(|(from, _)| from)).collect();
    // What `labctl smoke` creates; no playbook does.
    used.insert("smoke/smoke.yaml".to_owned());
    // What a play delivers for each registry of an inventory.
    used.insert("containerd/hosts.toml".to_owned());
    let known: BTreeSet<String> =
        standard::TEMPLATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(used, known);
}

#[test]
fn every_string_of_the_playbook_renders_for_every_node() {
    let renderer = Renderer::new(None).expect("templates parse");
    for cluster in [labs::sandbox(), labs::single(), labs::ha()] {
        for node in &cluster.nodes {
            for task in tasks() {
                for peer in peers(&cluster, node, &task) {
                    let context = Context::new(&cluster, node, peer, &labs::artefacts());
                    if !applies(&renderer, &task, node, &context) {
                        continue;
                    }
                    for text in strings(&task["task"]) {
                        let rendered = renderer
                            .text(&text, &context)
                            .unwrap_or_else(|e| panic!("{text}: {e}"));
                        assert!(!rendered.contains("{{") && !rendered.contains("{%"), "{rendered}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_supported_minor_renders_and_its_yaml_parses() {
    for minor in 20..=36 {
        for mut cluster in [labs::sandbox(), labs::single(), labs::ha()] {
            cluster.kubernetes.minor = minor;
            for mode in [PodNetwork::Routes, PodNetwork::Vxlan, PodNetwork::None] {
                cluster.network.mode = mode;
                for node in &cluster.nodes {
                    for (path, text) in rendered(&cluster, node) {
                        check_format(&path, &text);
                    }
                }
            }
        }
    }
}

#[test]
fn templates_follow_the_kubernetes_version() {
    let file = |minor, name: &str, path: &str| {
        let mut cluster = labs::sandbox();
        cluster.kubernetes.minor = minor;
        cluster.nodes.iter_mut().for_each(|node| node.facts.cgroup = 1);
        let node = cluster.node(name).expect("a node");
        rendered(&cluster, node).remove(path).unwrap_or_else(|| panic!("{name} has no {path}"))
    };
    let unit = |minor| file(minor, "worker-0", "/etc/systemd/system/kubelet.service");
    let config = |minor| file(minor, "worker-0", "/var/lib/kubelet/config.yaml");
    for minor in [20, 22, 24, 26] {
        assert!(unit(minor).contains("--container-runtime=remote"), "1.{minor} needs to be told");
        assert!(
            !config(minor).contains("containerRuntimeEndpoint"),
            "1.{minor} does not know the key"
        );
    }
    for minor in [27, 28, 30, 32, 34, 36] {
        assert!(!unit(minor).contains("--container-runtime"), "1.{minor} has no such flag");
        assert!(
            !unit(minor).contains("--pod-infra-container-image"),
            "1.{minor} needs no such flag"
        );
        assert!(config(minor).contains("containerRuntimeEndpoint"), "1.{minor} reads it here");
    }
    for (minor, version) in
        [(20, "v1beta1"), (21, "v1beta1"), (22, "v1beta2"), (23, "v1beta3"), (24, "v1beta3")]
    {
        let text = file(minor, "controller-0", "/etc/kubernetes/scheduler.yaml");
        assert!(
            text.contains(&format!("kubescheduler.config.k8s.io/{version}\n")),
            "1.{minor}: {text}"
        );
    }
    for minor in [25, 26, 28, 34, 36] {
        assert!(
            file(minor, "controller-0", "/etc/kubernetes/scheduler.yaml")
                .contains("kubescheduler.config.k8s.io/v1\n")
        );
    }
    assert!(!config(34).contains("failCgroupV1"));
    assert!(config(35).contains("failCgroupV1: false"));
}

#[test]
fn templates_follow_containerds_version() {
    let text = |version: &str| {
        let cluster = labs::sandbox();
        let node = cluster.node("worker-0").expect("a node");
        let mut artefacts = labs::artefacts();
        artefacts.versions.insert("containerd".to_owned(), version.to_owned());
        let context = Context::new(&cluster, node, None, &artefacts);
        let renderer = Renderer::new(None).expect("templates parse");
        renderer.render("containerd/config.toml", &context).expect("renders")
    };
    assert!(text("1.7.24").contains("version = 2\n"));
    assert!(text("1.7.24").contains("sandbox_image = \"registry.k8s.io/pause:3.10\""));
    assert!(text("2.0.7").contains("version = 3\n"));
    assert!(text("2.0.7").contains("bin_dir = '/opt/cni/bin'"));
    assert!(text("2.2.0").contains("bin_dirs = ['/opt/cni/bin']"));
}

#[test]
fn templates_follow_where_the_nodes_came_from() {
    let kubelet = |local: bool| {
        let mut cluster = labs::sandbox();
        if !local {
            cluster.local = None;
        }
        let node = cluster.node("worker-0").expect("a node");
        let files = rendered(&cluster, node);
        (
            files["/var/lib/kubelet/config.yaml"].clone(),
            files["/etc/containerd/config.toml"].clone(),
        )
    };
    let (config, containerd) = kubelet(true);
    assert!(config.contains("cgroupDriver: cgroupfs") && config.contains("failSwapOn: false"));
    assert!(
        containerd.contains("SystemdCgroup = false")
            && containerd.contains("restrict_oom_score_adj = true")
    );
    let (config, containerd) = kubelet(false);
    assert!(config.contains("cgroupDriver: systemd") && !config.contains("failSwapOn"));
    assert!(
        containerd.contains("SystemdCgroup = true")
            && !containerd.contains("restrict_oom_score_adj")
    );
}

#[test]
fn a_small_pod_cidr_limits_the_pods() {
    let mut cluster = labs::sandbox();
    cluster.network.node_prefix = 26;
    cluster.network.proxy = ProxyMode::Nftables;
    let node = cluster.node("worker-0").expect("a node");
    assert!(rendered(&cluster, node)["/var/lib/kubelet/config.yaml"].contains("maxPods: 61\n"));
}

/// Path and text of every template that `up` writes on `node`.
fn rendered(cluster: &Cluster, node: &Node) -> BTreeMap<String, String> {
    let renderer = Renderer::new(None).expect("templates parse");
    let context = Context::new(cluster, node, None, &labs::artefacts());
    let mut files = BTreeMap::new();
    for task in tasks() {
        let Some((from, to)) = template_of(&task) else { continue };
        if !applies(&renderer, &task, node, &context) {
            continue;
        }
        let text = renderer
            .render(&from, &context)
            .unwrap_or_else(|error| panic!("{}: {error}", node.name));
        files.insert(to, text);
    }
    files
}

/// Every task of `up` with the nodes and the condition of its play: `{on, play_when, task}`.
fn tasks() -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let read = |path: &Path| {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_yaml::from_str::<Value>(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut all = Vec::new();
    for play in read(&root.join("up.yaml"))["plays"].as_sequence().expect("plays") {
        let name = play["name"].as_str().expect("a name");
        let component = read(&root.join(format!("up/{name}.yaml")));
        for section in ["prepare", "binaries", "tasks"] {
            for task in component[section].as_sequence().into_iter().flatten() {
                let mut entry = serde_yaml::Mapping::new();
                entry.insert("on".into(), play["on"].clone());
                let when = play.get("when").cloned().unwrap_or(Value::Null);
                let asked_for = format!("'{name}' in cluster.addons").into();
                let is_addon = play["addon"].as_bool() == Some(true);
                entry.insert("play_when".into(), if is_addon { asked_for } else { when });
                entry.insert("task".into(), task.clone());
                all.push(Value::Mapping(entry));
            }
        }
    }
    all
}

/// Template and path of a task that writes one; an applied manifest counts as a file below
/// `/manifests`.
fn template_of(task: &Value) -> Option<(String, String)> {
    if let Some(from) = task["task"]["template"]["from"].as_str() {
        return Some((
            from.to_owned(),
            task["task"]["template"]["to"].as_str().expect("a path").to_owned(),
        ));
    }
    let from = task["task"]["kubectl_apply"]["from"].as_str()?;
    Some((from.to_owned(), format!("/manifests/{}", from.rsplit('/').next().expect("a name"))))
}

/// Whether `task` is for `node`.
fn applies(renderer: &Renderer, task: &Value, node: &Node, context: &Context) -> bool {
    let conditions = [&task["play_when"], &task["task"]["when"]];
    [&task["on"], &task["task"]["on"]].into_iter().all(|on| includes(on, node))
        && conditions.into_iter().filter_map(Value::as_str).all(|condition| {
            renderer
                .condition(condition, context)
                .unwrap_or_else(|error| panic!("{condition}: {error}"))
        })
}

/// Whether `on`, where there is one, names the node: `all`, a role, or a list of roles.
fn includes(on: &Value, node: &Node) -> bool {
    let has = |name: &str| name == "all" || node.roles.iter().any(|role| role.to_string() == name);
    match on {
        Value::Null => true,
        Value::String(name) => has(name),
        names => names
            .as_sequence()
            .expect("roles")
            .iter()
            .any(|name| has(name.as_str().expect("a role"))),
    }
}

/// The peers that `task` is repeated for; one `None` where it is not repeated.
fn peers<'a>(cluster: &'a Cluster, node: &Node, task: &Value) -> Vec<Option<&'a Node>> {
    let is_worker = |other: &Node| other.roles.iter().any(|role| role.to_string() == "worker");
    let nodes = cluster.nodes.iter();
    let task = &task["task"];
    let of_a_set = ["hosts", "routes"].iter().find_map(|set| task[*set]["each"].as_str());
    match task["each"].as_str().or(of_a_set) {
        None => vec![None],
        Some("nodes") => nodes.map(Some).collect(),
        Some("workers") => nodes.filter(|other| is_worker(other)).map(Some).collect(),
        Some("peer-workers") => {
            nodes.filter(|other| is_worker(other) && other.name != node.name).map(Some).collect()
        }
        Some(other) => panic!("the test does not know `each: {other}`"),
    }
}

/// Every string below `value`.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Sequence(values) => values.iter().flat_map(strings).collect(),
        Value::Mapping(map) => map
            .iter()
            .filter(|(key, _)| *key != "when")
            .flat_map(|(_, value)| strings(value))
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether the text is what the file's name promises.
fn check_format(path: &str, text: &str) {
    assert!(
        text.ends_with('\n') && !text.ends_with("\n\n"),
        "{path} ends in one line end:\n{text}"
    );
    assert!(!text.contains("\n\n\n"), "{path} has no gaps:\n{text}");
    if path.ends_with(".yaml") {
        for document in serde_yaml::Deserializer::from_str(text) {
            let value: Value = serde::Deserialize::deserialize(document)
                .unwrap_or_else(|e| panic!("{path}: {e}\n{text}"));
            assert!(value["kind"].is_string(), "{path}:\n{text}");
        }
    } else if path.ends_with(".conf") && path.contains("/cni/") || path.ends_with(".conflist") {
        serde_json::from_str::<serde_json::Value>(text)
            .unwrap_or_else(|error| panic!("{path}: {error}\n{text}"));
    } else if path.ends_with(".service") {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for pair in lines.windows(2) {
            let goes_on = pair[0].ends_with('\\');
            assert_eq!(
                goes_on,
                pair[1].starts_with("  "),
                "{path}: `{}` then `{}`",
                pair[0],
                pair[1]
            );
        }
    }
}

/// The first line that differs, in words.
fn first_difference(golden: &str, text: &str) -> String {
    let pairs = golden.lines().map(Some).chain([None]).zip(text.lines().map(Some).chain([None]));
    let (number, (was, is)) =
        (1..).zip(pairs).find(|(_, (was, is))| was != is).unwrap_or((0, (None, None)));
    format!("line {number} was {was:?} and is {is:?}")
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files_under(&path) } else { vec![path] }).collect()
}
