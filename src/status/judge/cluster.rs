//! What is wrong with what the API tells: Nodes, pods, cluster DNS, versions; and drift.

use std::collections::BTreeMap;

use super::docket::Docket;
use crate::cluster::Role;
use crate::status::objects::{Deployment, List, NodeObject, Pod, ServerVersion};
use crate::status::{Deviation, FaultKind, PodStatus, PodsStatus, ask};

/// How many pods and tasks are named one by one.
const NAMED: usize = 5;

/// What explains a Node that is not Ready.
const EXPLAINS: &[FaultKind] = &[
    FaultKind::Unreachable,
    FaultKind::Stranger,
    FaultKind::Full,
    FaultKind::ReadOnly,
    FaultKind::Certificate,
    FaultKind::Swap,
];

/// Judges what the API tells, and returns the pods.
pub(super) fn judge(findings: &mut Docket<'_>) -> Option<PodsStatus> {
    let known = findings.known;
    if let Some(list) = known.object::<List<NodeObject>>(ask::NODES) {
        nodes(findings, &list.items);
    }
    versions(findings);
    dns(findings);
    let pods = known.object::<List<Pod>>(ask::PODS).map(|list| counted(&list.items));
    if let Some(pods) = &pods {
        not_running(findings, pods);
    }
    drift(findings);
    pods
}

fn nodes(findings: &mut Docket<'_>, objects: &[NodeObject]) {
    let known = findings.known;
    let up = known.command("up", "");
    let workers = known.nodes.iter().filter(|node| known.runs(&node.name, "kubelet.service"));
    for node in workers {
        let name = node.name.as_str();
        let programs = ["kubelet.service", "containerd.service", "is not set up"];
        let explained = findings.has(name, EXPLAINS)
            || programs.iter().any(|unit| findings.has_unit(name, unit));
        let what = match objects.iter().find(|object| object.metadata.name == name) {
            _ if explained => continue,
            Some(object) if object.is_ready() => continue,
            Some(object) => {
                let why = object.ready().map_or("", |ready| ready.message.as_str());
                format!("is not Ready: {why}")
            }
            None => "has no Node object".to_owned(),
        };
        findings.add(FaultKind::NotReady, Some(name), what, up.clone());
        let logs = known.command("logs", &format!("{name} kubelet"));
        findings.hint(format!("{logs} shows why"));
    }
    let wanted = format!("v{}", known.cluster.kubernetes);
    for object in objects {
        let version = &object.status.node_info.kubelet_version;
        let name = object.metadata.name.as_str();
        if *version != wanted && known.nodes.iter().any(|node| node.name == name) {
            let what = format!("its kubelet is {version}, and the inventory says {wanted}");
            findings.add(FaultKind::Version, Some(name), what, known.command("upgrade", ""));
        }
    }
}

fn versions(findings: &mut Docket<'_>) {
    let known = findings.known;
    let wanted = format!("v{}", known.cluster.kubernetes);
    for node in known.nodes.iter().filter(|node| node.has(Role::Controller)) {
        let said = known.answer(&node.name).and_then(|it| it.object::<ServerVersion>(ask::VERSION));
        if let Some(version) = said.map(|it| it.git_version).filter(|it| *it != wanted) {
            let what = format!("its API server is {version}, and the inventory says {wanted}");
            findings.add(FaultKind::Version, Some(&node.name), what, known.command("upgrade", ""));
        }
    }
}

fn dns(findings: &mut Docket<'_>) {
    let known = findings.known;
    let coredns = "-- -n kube-system";
    let controllers = known.nodes.iter().filter(|node| node.has(Role::Controller));
    let codes = controllers.filter_map(|node| Some(known.answer(&node.name)?.api.get(ask::DNS)?.0));
    let is_missing = codes.into_iter().find(|code| [200, 404].contains(code)) == Some(404);
    if is_missing && !known.is_custom() {
        let what = "there is no cluster DNS: the deployment coredns is missing";
        findings.add(FaultKind::Dns, None, what, known.command("up", ""));
    }
    let Some(deployment) = known.object::<Deployment>(ask::DNS) else { return };
    if deployment.spec.replicas == Some(0) {
        let what = "there is no cluster DNS: coredns is scaled to 0";
        let scale = format!("{coredns} scale deployment coredns --replicas=2");
        findings.add(FaultKind::Dns, None, what, known.command("kubectl", &scale));
    } else if deployment.status.available_replicas.unwrap_or_default() == 0 {
        let what = "there is no cluster DNS: no pod of coredns is available";
        let restart = format!("{coredns} rollout restart deployment coredns");
        findings.add(FaultKind::Dns, None, what, known.command("kubectl", &restart));
    }
}

fn counted(pods: &[Pod]) -> PodsStatus {
    let others: Vec<PodStatus> = pods
        .iter()
        .filter_map(|pod| {
            Some(PodStatus {
                namespace: pod.metadata.namespace.clone(),
                name: pod.metadata.name.clone(),
                node: pod.spec.node_name.clone(),
                reason: reason(pod)?,
            })
        })
        .collect();
    PodsStatus { running: pods.len() - others.len(), all: pods.len(), others }
}

/// Why a pod does not run, in kubectl's words; nothing for one that runs or is done.
fn reason(pod: &Pod) -> Option<String> {
    let status = &pod.status;
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("Terminating".to_owned());
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
    let mut whys = containers.filter_map(|container| {
        let state = &container.state;
        let ended = state.terminated.as_ref().filter(|why| why.reason != "Completed");
        state.waiting.as_ref().or(ended).map(|why| why.reason.clone())
    });
    if let Some(why) = whys.find(|why| why != "PodInitializing") {
        return Some(why);
    }
    match status.phase.as_str() {
        "Succeeded" => None,
        "Running" if status.container_statuses.iter().all(|container| container.ready) => None,
        "Running" => Some("NotReady".to_owned()),
        phase => Some(status.reason.clone().unwrap_or_else(|| phase.to_owned())),
    }
}

fn not_running(findings: &mut Docket<'_>, pods: &PodsStatus) {
    let known = findings.known;
    for pod in pods.others.iter().take(NAMED) {
        let (namespace, name) = (&pod.namespace, &pod.name);
        let place = pod.node.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
        let what = format!("pod {namespace}/{name} does not run{place}: {}", pod.reason);
        let words = format!("-- -n {namespace} describe pod {name}");
        findings.add(FaultKind::Pod, None, what, known.command("kubectl", &words));
    }
    let more = pods.others.len().saturating_sub(NAMED);
    if more > 0 {
        let words = "-- get pods -A -o wide";
        findings.add(
            FaultKind::Pod,
            None,
            format!("{more} more pods do not run"),
            known.command("kubectl", words),
        );
    }
}

fn drift(findings: &mut Docket<'_>) {
    let known = findings.known;
    let Deviation::Changes(changes) = &known.drift else { return };
    let mut by_node: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for change in changes {
        let text = format!("{} ({})", change.task, change.why);
        by_node.entry(&change.node).or_default().push(text);
    }
    for (node, tasks) in by_node {
        let named = tasks.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        let more = tasks.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        let what = format!("differs from the inventory: {named}{rest}");
        findings.add(FaultKind::Drift, Some(node), what, known.command("up", ""));
        findings.hint(format!("{} shows what it changes", known.command("plan", "")));
    }
}
