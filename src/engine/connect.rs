//! Connects to all nodes at the same time, as far as `--forks` allows.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Connections, Run};
use crate::cluster::{Cluster, Node};
use crate::event::Event;
use crate::transport::Transport;
use crate::transport::ssh::{Session, Target};

/// How long one node may take to answer and to let labctl in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to `nodes`. A node that cannot be reached is told of and is not in the result.
pub async fn connect(cluster: &Cluster, nodes: &[&Node], run: &Run) -> Connections {
    let mut dialling = JoinSet::new();
    for node in nodes {
        let target = target(cluster, node);
        let run = run.clone();
        dialling.spawn(async move {
            let Ok(_permit) = run.forks.clone().acquire_owned().await else { return None };
            let started = Instant::now();
            match Session::connect(&target).await {
                Ok(session) => {
                    run.events.emit(Event::NodeConnected { node: target.node.clone(), took: started.elapsed() });
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

/// How to reach a node. The lab's own list of host keys comes first; local nodes are in no other.
pub fn target(cluster: &Cluster, node: &Node) -> Target {
    let lab = crate::lab::LabDirectory::new(&cluster.lab_directory);
    let mut known_hosts = vec![lab.known_hosts()];
    if cluster.local.is_none()
        && let Some(home) = std::env::home_dir()
    {
        known_hosts.push(home.join(".ssh/known_hosts"));
        known_hosts.push(PathBuf::from("/etc/ssh/ssh_known_hosts"));
    }
    Target { ssh: node.ssh.clone(), node: node.name.clone(), known_hosts, connect_timeout: CONNECT_TIMEOUT }
}
