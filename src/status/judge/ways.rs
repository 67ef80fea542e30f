//! What is wrong on the ways between nodes: names, routes, pods, and the API by each path.

use super::docket::{Docket, Known};
use crate::cluster::{Node, PodNetwork, Role};
use crate::status::answer::NodeAnswer;
use crate::status::{ApiPath, FaultKind, ask};

/// Judges all ways, and returns those to the API.
pub(super) fn judge(findings: &mut Docket<'_>) -> Vec<ApiPath> {
    let known = findings.known;
    for node in &known.nodes {
        let Some(answer) = known.answer(&node.name) else { continue };
        if findings.has(&node.name, &[FaultKind::Stranger]) || is_bare(findings, &node.name) {
            continue;
        }
        if !known.is_custom() {
            names(findings, node, answer);
            routes(findings, node, answer);
        }
        peers(findings, node, answer);
    }
    let mut paths: Vec<ApiPath> = Vec::new();
    for controller in known.cluster.with_role(Role::Controller) {
        paths.push(server(findings, controller));
    }
    paths.push(endpoint(findings, &paths));
    paths
}

/// Whether nothing has been set up on a node yet.
fn is_bare(findings: &Docket<'_>, node: &str) -> bool {
    findings.has_unit(node, "is not set up")
}

/// Every other node has to have its name in `/etc/hosts`.
fn names(findings: &mut Docket<'_>, node: &Node, answer: &NodeAnswer) {
    let known = findings.known;
    let has = |other: &Node| {
        answer.hosts.iter().any(|line| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            words.next() == Some(&other.address.to_string()) && words.any(|it| it == other.name)
        })
    };
    let others = known.cluster.nodes.iter().filter(|other| other.name != node.name);
    let missing: Vec<&str> =
        others.filter(|other| !has(other)).map(|other| other.name.as_str()).collect();
    if !missing.is_empty() {
        let what = format!("/etc/hosts has no line for {}", missing.join(", "));
        findings.add(FaultKind::Network, Some(&node.name), what, known.command("up", ""));
    }
}

/// Every worker's pods have to be behind that worker.
fn routes(findings: &mut Docket<'_>, node: &Node, answer: &NodeAnswer) {
    let known = findings.known;
    let mode = known.cluster.network.mode;
    let has_pods = node.has(Role::Worker) || node.has(Role::Controller);
    if mode == PodNetwork::None || !has_pods {
        return;
    }
    let workers = known.cluster.with_role(Role::Worker).filter(|other| other.name != node.name);
    for (worker, (pods, via)) in workers.flat_map(|it| {
        let ways = it.pod_cidrs().zip(it.addresses());
        ways.map(move |way| (it, way))
    }) {
        let to = format!("{pods} ");
        let route = answer.routes.iter().find(|route| route.starts_with(&to));
        let what = match route {
            None => format!("has no route to the pods of {} ({pods})", worker.name),
            Some(route) => {
                let right = format!("via {via} ");
                let leads = mode != PodNetwork::Routes || format!("{route} ").contains(&right);
                if leads {
                    continue;
                }
                format!("its route to the pods of {} leads elsewhere: {route}", worker.name)
            }
        };
        findings.add(FaultKind::Network, Some(&node.name), what, known.command("up", ""));
    }
}

/// From the gateway of its pods to the gateway of another worker's.
fn peers(findings: &mut Docket<'_>, node: &Node, answer: &NodeAnswer) {
    let known = findings.known;
    let workers = known.cluster.with_role(Role::Worker);
    for (worker, pods) in workers.flat_map(|it| it.pod_cidrs().map(move |pods| (it, pods))) {
        let unreached = answer.peers.get(&ask::peer_url(pods)) == Some(&0);
        // Where no pod has run yet, there is no gateway; a kubelet that is gone does not answer.
        let there = known.answer(&worker.name).is_some_and(|other| {
            other.addresses.contains(&ask::first(pods))
                && !findings.has(&worker.name, &[FaultKind::Stranger, FaultKind::Full])
                && !findings.has_unit(&worker.name, "kubelet.service")
        });
        let explained = findings.all.iter().any(|finding| {
            let of_one = [Some(&node.name), Some(&worker.name)].contains(&finding.node.as_ref());
            of_one && finding.kind == FaultKind::Network && finding.what.contains("route")
        });
        if unreached && there && !explained {
            let what = format!("its pods do not reach those of {}", worker.name);
            let rules = if pods.addr().is_ipv4() { "iptables-save" } else { "ip6tables-save" };
            let mend = known.on(&worker.name, rules);
            findings.add(FaultKind::Network, Some(&node.name), what, mend);
            findings.hint("routes and programs are right, so look for what drops packets");
        }
    }
}

/// One API server: what it says itself, and who reaches it.
fn server(findings: &mut Docket<'_>, controller: &Node) -> ApiPath {
    let known = findings.known;
    let name = controller.name.as_str();
    let own = known.answer(name).and_then(NodeAnswer::api_is_ready);
    let url = ask::server_url(known.cluster, controller);
    let (mut reached_by, mut missed_by) = asked(known, &url);
    if let Some(ready) = own {
        // What it says itself counts for its own node.
        reached_by.retain(|by| by != name);
        missed_by.retain(|by| by != name);
        if ready { &mut reached_by } else { &mut missed_by }.insert(0, name.to_owned());
    }
    let causes = ["kube-apiserver.service", "etcd.service"];
    let explained = causes.iter().any(|unit| findings.has_unit(name, unit))
        || findings.has(name, &[FaultKind::Unreachable, FaultKind::Stranger, FaultKind::Etcd])
        || is_bare(findings, name);
    if !explained && own == Some(false) {
        let what = format!("its API server is not ready: {}", why(known, name));
        let mend = known.on(name, "systemctl restart kube-apiserver");
        findings.add(FaultKind::Api, Some(name), what, mend);
        let logs = known.command("logs", &format!("{name} kube-apiserver"));
        findings.hint(format!("{logs} shows why"));
    } else if !explained && own == Some(true) && !missed_by.is_empty() {
        let what = format!("its API server is ready, but not for {}", missed_by.join(", "));
        findings.add(FaultKind::Api, Some(name), what, known.on(name, "iptables-save"));
        findings.hint("look for what drops or refuses connections to port 6443");
    }
    ApiPath { name: name.to_owned(), endpoint: false, reached_by, missed_by }
}

/// Why an API server is not ready: the checks that fail, or what curl says.
fn why(known: &Known<'_>, name: &str) -> String {
    let said = known.answer(name).and_then(|answer| answer.api.get(ask::READY));
    let Some((code, text)) = said else { return "it does not answer".to_owned() };
    let failing: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("[-]"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    match (code, failing.is_empty()) {
        (_, false) => format!("{} failed", failing.join(", ")),
        (0, _) => text.lines().last().unwrap_or("it does not answer").to_owned(),
        (code, _) => format!("HTTP {code}"),
    }
}

/// The nodes that reached `url`, and those that did not.
fn asked(known: &Known<'_>, url: &str) -> (Vec<String>, Vec<String>) {
    let said = known.nodes.iter().filter_map(|node| {
        let code = known.answer(&node.name)?.paths.get(url)?;
        Some((node.name.clone(), *code != 0))
    });
    let (reached, missed): (Vec<_>, Vec<_>) = said.partition(|(_, reached)| *reached);
    let names = |all: Vec<(String, bool)>| all.into_iter().map(|(name, _)| name).collect();
    (names(reached), names(missed))
}

/// The endpoint of kubeconfigs.
fn endpoint(findings: &mut Docket<'_>, servers: &[ApiPath]) -> ApiPath {
    let known = findings.known;
    let cluster = known.cluster;
    let url = cluster.api_url();
    let (reached_by, missed_by) = asked(known, &format!("{url}{}", ask::READY));
    let name = cluster.api.loadbalancer.clone().unwrap_or_else(|| cluster.api.host.clone());
    let none_serves = servers.iter().all(|server| server.reached_by.is_empty());
    let balancer = cluster.api.loadbalancer.as_deref();
    let explained = none_serves
        || balancer.is_some_and(|node| {
            findings.has(node, &[FaultKind::Unreachable, FaultKind::Stranger])
                || findings.has_unit(node, "nginx.service")
        })
        || servers.iter().any(|server| {
            // Where an API server is the endpoint, what is wrong with it was said.
            findings.has(&server.name, &[FaultKind::Unit, FaultKind::Api, FaultKind::Unreachable])
                && cluster.node(&server.name).map(|it| it.address.to_string()).as_ref()
                    == Some(&cluster.api.host)
        });
    if !missed_by.is_empty() && !explained {
        let (node, from) = match reached_by.is_empty() {
            true => (balancer, "any node".to_owned()),
            false => (None, missed_by.join(", ")),
        };
        let what = format!("the API does not answer at {url} for {from}");
        let mend = match node {
            Some(node) => known.on(node, "systemctl restart nginx"),
            None => known.command("up", ""),
        };
        findings.add(FaultKind::Api, node, what, mend);
    }
    ApiPath { name, endpoint: true, reached_by, missed_by }
}
