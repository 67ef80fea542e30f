//! The real playbook over labs of many workers: twice the workers are twice the work, not four
//! times.

use crate::support::labs;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::net::Ipv4Addr;
use std::time::Instant;

use crate::support::workshop::Workshop;
use labctl::cluster::{Cluster, PodNetwork, Role};
use labctl::plan::explain::explain;
use labctl::plan::hand::Hand;
use labctl::plan::{self, DesiredPlay, Plan};
use labctl::playbook::standard;

/// The lab of the guides with so many workers.
fn lab(workers: u32, mode: PodNetwork) -> Cluster {
    let mut cluster = labs::sandbox();
    cluster.network.mode = mode;
    cluster.network.pods = "10.128.0.0/10".parse().expect("a network");
    let pattern =
        cluster.nodes.iter().find(|node| node.has(Role::Worker)).cloned().expect("a worker");
    cluster.nodes.retain(|node| !node.has(Role::Worker));
    for number in 0..workers {
        let mut node = pattern.clone();
        node.name = format!("worker-{number}");
        node.address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 241, 0, 0)) + number).into();
        let pods = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 0)) + number * 256);
        node.pod_cidr = Some(ipnet::IpNet::new(pods.into(), 24).expect("a network"));
        cluster.nodes.push(node);
    }
    cluster
}

/// What planning a whole lab comes to.
#[derive(Debug)]
struct Size {
    tasks: usize,
    /// Bytes that desired states, the plan and its explanation hold, what nodes share counted once.
    held: usize,
}

fn memory(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a line");
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<usize>().expect("a number") / 1024
}

fn held(plan: &Plan, explained: &str) -> usize {
    let mut seen = HashSet::new();
    let mut once =
        |address: *const u8, length: usize| if seen.insert(address) { length } else { 0 };
    let mut bytes = explained.len();
    for change in plan.plays.iter().flat_map(|play| &play.nodes).flat_map(|node| &node.changes) {
        bytes += change.actions.script.len() + change.title.len();
        for (_, payload) in &change.actions.payloads {
            bytes += once(payload.as_ptr(), payload.len());
        }
    }
    bytes
}

#[allow(clippy::print_stdout, reason = "how long it took is worth a line, and no reason to fail")]
fn size(workers: u32, mode: PodNetwork) -> Size {
    let workshop = Workshop::new(lab(workers, mode));
    let (before, began) = (memory("VmRSS"), Instant::now());
    let playbook = standard::find("up", None).expect("a playbook");
    let desired: Vec<DesiredPlay> = workshop.expand(&playbook).expect("it expands");
    let expanded = began.elapsed();
    let plan = plan::diff::plan(&desired, &BTreeMap::new());
    let planned = began.elapsed();
    let nodes: Vec<&str> = workshop.cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    let hand = Hand::new("pki".into(), &workshop.pki, Vec::new(), BTreeSet::new());
    let explained = explain(&desired, &nodes, &hand, |_| true);
    let tasks = desired.iter().flat_map(|play| &play.nodes).map(|on| on.tasks.len()).sum();
    println!(
        "{workers} workers, {mode:?}: {tasks} tasks, expanded after {expanded:.2?}, planned after \
        {planned:.2?}, \
         explained after {:.2?}, {} MB more",
        began.elapsed(),
        memory("VmRSS").saturating_sub(before)
    );
    Size { tasks, held: held(&plan, &explained.text) }
}

#[test]
fn twice_the_workers_are_twice_the_work() {
    for mode in [PodNetwork::Routes, PodNetwork::Vxlan] {
        let [one, two, four] = [50, 100, 200].map(|workers| size(workers, mode));
        assert_eq!(
            four.tasks - two.tasks,
            2 * (two.tasks - one.tasks),
            "every worker has the same tasks"
        );
        let (first, second) = (two.held - one.held, four.held - two.held);
        assert!(
            second < first * 22 / 10,
            "{mode:?}: from 50 to 100 workers {first} bytes more, from 100 to 200 {second}"
        );
    }
}

/// `cargo test --release --test it size -- --ignored --nocapture`: figures, not a verdict.
#[test]
#[ignore = "prints figures of large labs"]
fn figures() {
    for mode in [PodNetwork::Routes, PodNetwork::Vxlan] {
        for workers in [100, 300, 1000, 3000] {
            size(workers, mode);
        }
    }
}
