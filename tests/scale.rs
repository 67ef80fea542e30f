//! A thousand nodes in one run: what each of them costs, how many are worked on at a time, and one
//! that is dead.

#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "support/labs.rs"]
mod labs;
#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "support/ssh_server.rs"]
mod ssh_server;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use labctl::cluster::{Cluster, Node};
use labctl::engine::apply::{Applied, apply};
use labctl::engine::connect::{connect, raise_open_files};
use labctl::engine::probe::probe;
use labctl::engine::{Connections, Run};
use labctl::event::{Event, Events};
use labctl::module::command::Command;
use labctl::module::{Actions, Desired, Facts};
use labctl::plan::{Change, Plan, PlannedNode, PlannedPlay};
use labctl::playbook::Strategy;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use ssh_server::{Answer, Gauge, Options, Server, key};
use tokio::net::TcpListener;

const FORKS: usize = 32;

/// Nodes of this process, and the workstation's knowledge of them.
struct Crowd {
    cluster: Cluster,
    gauge: Arc<Gauge>,
    _servers: Vec<Server>,
    _folder: tempfile::TempDir,
}

/// What a run over all of them came to.
struct Went {
    connections: Connections,
    facts: BTreeMap<String, Facts>,
    applied: Applied,
    events: Vec<Event>,
}

impl Crowd {
    async fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (host_key, login) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
        let identity = folder.path().join("id");
        fs::write(&identity, login.to_openssh(LineEnding::LF).expect("a key").as_bytes())
            .expect("a file");
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).expect("permissions");
        let gauge = Arc::new(Gauge::default());
        let mut options = Options::new(&host_key, &login).answering(|line| Some(node_says(line)));
        options.gauge = Arc::clone(&gauge);
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(options.clone().start().await);
        }
        let mut cluster = labs::ha();
        let pattern = cluster.nodes.pop().expect("a worker");
        let node = |(number, server): (usize, &Server)| {
            let mut node = Node { name: format!("worker-{number}"), ..pattern.clone() };
            node.ssh.host = "127.0.0.1".into();
            node.ssh.port = Some(server.address.port());
            node.ssh.identity = Some(identity.clone());
            node
        };
        cluster.nodes = servers.iter().enumerate().map(node).collect();
        cluster.lab_directory = folder.path().to_owned();
        let crowd = Self { cluster, gauge, _servers: servers, _folder: folder };
        crowd.knows(&host_key);
        crowd
    }

    /// Writes down the host key of every node.
    fn knows(&self, host_key: &PrivateKey) {
        let public = host_key.public_key().to_openssh().expect("a key");
        let lines = self.cluster.nodes.iter().fold(String::new(), |mut lines, node| {
            let _ = writeln!(lines, "[127.0.0.1]:{} {public}", node.ssh.port.expect("a port"));
            lines
        });
        fs::write(self.cluster.lab_directory.join("known_hosts"), lines).expect("a file");
    }

    /// Connects, probes and applies one trivial play.
    async fn run(&self) -> Went {
        let (events, mut told) = Events::channel();
        let (_stop, cancelled) = tokio::sync::watch::channel(false);
        let run = Run::new(events, FORKS, cancelled);
        let nodes: Vec<&Node> = self.cluster.nodes.iter().collect();
        let connections = connect(&self.cluster, &nodes, &run).await;
        let facts = probe(&connections, |_| BTreeSet::new(), &run).await;
        let applied = apply(trivial(&connections), &connections, &run).await;
        drop(run);
        let mut events = Vec::new();
        while let Some(stamped) = told.recv().await {
            events.push(stamped.event);
        }
        Went { connections, facts, applied, events }
    }
}

/// What a node answers without a shell: to a probe, and to a play with one task.
fn node_says(line: &str) -> Answer {
    let stdout = match line {
        "sh -s" => "end\n",
        _ => "@start 0\n@done 0\n@end\n",
    };
    Answer::said(stdout.into())
}

fn trivial(connections: &Connections) -> Plan {
    let change = Change {
        title: "trivial".into(),
        why: "missing".into(),
        found: true,
        actions: Actions::script("true\n"),
        desired: Desired::Command(Command { run: "true".into(), unless: "false".into() }).into(),
        preview: labctl::event::Preview::default(),
    };
    let on = |node: &String| PlannedNode {
        node: node.clone(),
        changes: vec![change.clone()],
        unchanged: 0,
        fresh: false,
    };
    let nodes = connections.keys().map(on).collect();
    Plan {
        plays: vec![PlannedPlay {
            name: "all".into(),
            after: vec![],
            strategy: Strategy::Parallel,
            nodes,
        }],
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Memory that this process holds, in bytes.
fn memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// The place of the first event that `is` picks.
fn place(events: &[Event], is: impl Fn(&Event) -> bool) -> usize {
    events.iter().position(is).expect("it happened")
}

/// What a run over `crowd` adds to this process: open files and bytes of memory.
#[allow(clippy::print_stdout, reason = "how long it took is worth a line, and no reason to fail")]
async fn cost(crowd: &Crowd, alive: usize) -> (usize, usize, Went) {
    let (before, began) = ((open_files(), memory()), Instant::now());
    let went = crowd.run().await;
    println!("{alive} nodes, both sides in one process, in {:?}", began.elapsed());
    assert!(went.applied.ok);
    assert_eq!(
        (went.connections.len(), went.facts.len(), went.applied.changed.len()),
        (alive, alive, alive)
    );
    let trips: u64 = went
        .connections
        .values()
        .map(|node| node.traffic().round_trips.load(Ordering::Relaxed))
        .sum();
    assert_eq!(trips, 2 * alive as u64, "one to ask and one to change");
    let (arriving, working) = (crowd.gauge.arriving.most(), crowd.gauge.working.most());
    assert!(
        arriving <= FORKS && working <= FORKS,
        "{arriving} logged in and {working} worked on at a time"
    );
    (open_files().saturating_sub(before.0), memory().saturating_sub(before.1), went)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nodes_cost_ten_times_what_a_hundred_do_and_a_dead_one_costs_its_time_out() {
    raise_open_files();
    let (files, memory, _) = cost(&Crowd::new(100).await, 100).await;

    let mut crowd = Crowd::new(1001).await;
    // It takes connections and never says a word, and it is the first to be dialled.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    crowd.cluster.nodes[0].ssh.port = Some(silent.local_addr().expect("an address").port());
    let (files_of_all, memory_of_all, went) = cost(&crowd, 1000).await;
    // On this side a connection is one file; the server of the test has two of its own.
    assert!(
        files <= 3 * 100 + 20 && files_of_all <= 3 * 1000 + 20,
        "{files} and {files_of_all} open files"
    );
    let a_node = memory_of_all / 1000;
    assert!(a_node < 400 * 1024, "{a_node} bytes a node, both sides together");
    assert!(
        memory_of_all < 12 * memory.max(5 << 20),
        "{memory} bytes for a hundred, {memory_of_all} for a thousand"
    );

    let is_dead = |node: &str| node == "worker-0";
    let dialled = place(
        &went.events,
        |event| matches!(event, Event::NodeConnecting { node } if is_dead(node)),
    );
    let failed = place(
        &went.events,
        |event| matches!(event, Event::TaskFailed(failure) if is_dead(&failure.node)),
    );
    let Event::TaskFailed(failure) = &went.events[failed] else { unreachable!() };
    assert!(failure.reason.contains("the SSH handshake timed out after 10 s"), "{failure:?}");
    let failures = went.events.iter().filter(|event| matches!(event, Event::TaskFailed(_))).count();
    assert_eq!(failures, 1);
    let passed = went.events[dialled..failed]
        .iter()
        .filter(|event| matches!(event, Event::NodeConnected { .. }));
    assert!(passed.count() > FORKS, "the others go past it");
}
