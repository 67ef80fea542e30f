//! Connects to all nodes in parallel, limited by `--forks`.

use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::{Connections, Run};
use crate::cluster::{Cluster, Node};
use crate::event::Event;
use crate::lab::LabDirectory;
use crate::transport::ssh::known_hosts::{SSH_PORT, known_hosts_name};
use crate::transport::ssh::{Dialler, Target};
use crate::transport::{Transport, TransportError};

/// Number of files that a run has open in addition to its connections: logs, locks, blobs.
const OTHER_FILES: usize = 100;

/// Raises the limit of open files of this process to the maximum, because every connection needs
/// one.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it cannot be raised, a run that needs more reports it.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Returns a warning if connections to `nodes` need more files than `allowed`.
fn too_few_files(nodes: &[&Node], allowed: Option<u64>) -> Option<String> {
    let wanted = nodes.len() + OTHER_FILES;
    let allowed = usize::try_from(allowed?).ok().filter(|allowed| *allowed < wanted)?;
    Some(format!(
        "{} nodes need {wanted} open files, and this process may have {allowed}: raise the hard \
        limit (ulimit -Hn), or \
         work on fewer nodes with --limit",
        nodes.len()
    ))
}

/// Connects to `nodes`. A node that cannot be reached is reported and left out of the result.
pub async fn connect(cluster: &Cluster, nodes: &[&Node], run: &Run) -> Connections {
    connect_trusting(cluster, nodes, false, run).await
}

/// The same; with `accept_new`, an unknown host key is added to the lab's known hosts.
pub async fn connect_trusting(
    cluster: &Cluster,
    nodes: &[&Node],
    accept_new: bool,
    run: &Run,
) -> Connections {
    if let Some(message) = too_few_files(nodes, getrlimit(Resource::Nofile).current) {
        run.events.emit(Event::Warning { node: None, message });
    }
    let dialler = Arc::new(Dialler::with(Arc::clone(&run.keyring)));
    let mut dialling = JoinSet::new();
    let stopped = (run.stopped)(cluster);
    for node in nodes {
        if stopped.contains(&node.name) {
            run.node_failed(&node.name, "connect", &not_running());
            continue;
        }
        let target = Target { accept_new, ..target(cluster, node) };
        let (run, dialler) = (run.clone(), Arc::clone(&dialler));
        dialling.spawn(async move {
            let Ok(_permit) = run.forks.clone().acquire_owned().await else { return None };
            run.events.emit(Event::NodeConnecting { node: target.node.clone() });
            let started = Instant::now();
            match dialler.connect(&target).await {
                Ok(session) => {
                    run.events.emit(Event::NodeConnected {
                        node: target.node.clone(),
                        took: started.elapsed(),
                    });
                    Some((target.node, Transport::Ssh(session)))
                }
                Err(error) => {
                    run.node_failed(&target.node, "connect", &error);
                    None
                }
            }
        });
    }
    let mut connections = Connections::new();
    while let Some(dialled) = dialling.join_next().await {
        connections.extend(dialled.ok().flatten());
    }
    connections
}

/// What is said of a local node that does not run.
fn not_running() -> TransportError {
    TransportError {
        what: "log in".into(),
        why: "this local node is not running".into(),
        help: Some("`labctl up` starts it".into()),
    }
}

/// What a node is called in files of host keys. Others may be reached by the same host and another
/// port.
pub fn known_as(node: &Node) -> String {
    known_hosts_name(&node.ssh.host, node.ssh.port.unwrap_or(SSH_PORT))
}

/// Returns how to reach a node. The lab's known hosts take precedence; local nodes are only there.
pub fn target(cluster: &Cluster, node: &Node) -> Target {
    let lab = LabDirectory::new(&cluster.lab_directory);
    let mut target = Target::new(&node.name, node.ssh.clone(), lab.known_hosts());
    if cluster.local.is_some() {
        // An address of a lab may have belonged to another machine once, so only keys that labctl
        // created count.
        target.known_hosts.truncate(1);
        // And nothing that is written elsewhere is about a machine that labctl made.
        target.config.clear();
    }
    target
}

/// The words for OpenSSH's `ssh` to log in to a node by the way that a run takes.
///
/// # Errors
/// When the way cannot be worked out: the SSH configuration is wrong.
pub async fn way_in(cluster: &Cluster, node: &Node) -> Result<Vec<String>, TransportError> {
    Ok(Dialler::default().route(&target(cluster, node)).await?.words())
}
