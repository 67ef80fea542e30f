//! Local nodes: machines that labctl creates on this one with systemd-nspawn.
//!
//! A node is an overlay over a shared base image, a network namespace on the lab's bridge, and a
//! process tree whose first process is systemd. Over SSH it cannot be told from a machine that
//! someone installed. Everything about a node is in its own directory below the lab directory, and
//! its names on the host are derived from the lab's, so that after a killed run the next [`up`]
//! resumes and [`down`] cleans up.

mod base;
mod boot;
mod cgroup;
mod error;
mod kernel;
mod keys;
mod lost;
mod mounts;
mod names;
mod network;
mod node;
mod preflight;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::{JoinSet, spawn_blocking};

use crate::cluster::{Cluster, LocalNodes, Node};
use crate::event::{Event, Events};
use crate::lab::LabDirectory;
use boot::{STEP, wait_for_all};
pub use error::LocalError;
use names::Names;
pub use network::is_free;
use node::{NodeFolder, Record, Start};

/// What [`up`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Up {
    /// Nodes that were started, in inventory order.
    pub started: Vec<String>,
    /// Nodes that were already running and were left alone.
    pub running: Vec<String>,
}

/// What [`down`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Down {
    /// Nodes that were removed, sorted.
    pub removed: Vec<String>,
    /// Where the lab directory was moved while its nodes were running; its contents stay.
    pub moved: Option<PathBuf>,
}

/// The current state of a local node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNode {
    /// The node's name.
    pub name: String,
    /// The address it was last started with.
    pub address: Option<IpAddr>,
    /// The process of systemd-nspawn, if it is running.
    pub pid: Option<u32>,
    /// Whether its sshd has answered since its last boot.
    pub ready: bool,
}

/// Checks whether this machine can run local nodes.
///
/// # Errors
/// Returns [`LocalError::Unfit`] with everything that is missing.
pub fn check_machine() -> Result<(), LocalError> {
    preflight::check()
}

/// Creates and starts every node of `cluster` that is not running, and returns when all of them
/// answer on SSH.
///
/// Running nodes are left alone; if all of them are running, this costs a few file reads and no
/// process. A killed node is started again with its data.
///
/// # Errors
/// If this machine lacks something, the network conflicts with an existing one, or a node does not
/// come up. Nodes that did come up stay.
pub async fn up(
    cluster: &Cluster,
    lab: &LabDirectory,
    cache: &Path,
    events: &Events,
) -> Result<Up, LocalError> {
    start(cluster, lab, cache, events, |_| true).await
}

/// Like [`up`], for the nodes that `wanted` selects.
///
/// # Errors
/// As [`up`].
pub async fn start(
    cluster: &Cluster,
    lab: &LabDirectory,
    cache: &Path,
    events: &Events,
    wanted: impl Fn(&Node) -> bool,
) -> Result<Up, LocalError> {
    let begun = Instant::now();
    let local =
        cluster.local.as_ref().ok_or_else(|| LocalError::NotLocal { lab: cluster.name.clone() })?;
    let nodes: Vec<&Node> = cluster.nodes.iter().filter(|node| wanted(node)).collect();
    check_addresses(local, &nodes)?;
    preflight::check()?;
    events.emit(Event::StepStarted { step: STEP.into() });
    lab.make_folder(&lab.local_nodes()).map_err(LocalError::io("make", &lab.local_nodes()))?;
    let lab_names = Names::of(lab);
    let folders: Vec<NodeFolder> =
        nodes.iter().map(|node| folder(lab, &lab_names, &node.name)).collect();

    let mut outcome = Up::default();
    let mut stopped = Vec::new();
    for (node, folder) in nodes.iter().zip(&folders) {
        if folder.pid().is_some() {
            check_not_moved(local, node, folder)?;
            outcome.running.push(node.name.clone());
        } else {
            outcome.started.push(node.name.clone());
            stopped.push((*node).clone());
        }
    }
    let network_stands = || {
        network::has_bridge(&lab_names)
            && nodes.iter().all(|n| network::has_node(&lab_names, &n.name))
    };
    if !stopped.is_empty() || !network_stands() {
        let work = Work {
            lab: lab.clone(),
            names: lab_names.clone(),
            local: local.clone(),
            cache: cache.to_owned(),
        };
        work.start(nodes.iter().map(|node| (*node).clone()).collect(), stopped, events).await?;
    }
    wait_for_all(&nodes, &folders, events).await?;
    let hosts =
        nodes.iter().zip(&folders).map(|(n, f)| Ok((n.address, keys::read_public(&f.host_key())?)));
    keys::remember(lab, &hosts.collect::<Result<Vec<_>, LocalError>>()?)?;

    let detail = match outcome.started.len() {
        0 => format!("{} running", count(nodes.len())),
        started => format!("{} running, {started} started", count(nodes.len())),
    };
    let changed = !outcome.started.is_empty();
    events.emit(Event::StepEnded { step: STEP.into(), detail, changed, took: begun.elapsed() });
    Ok(outcome)
}

/// Stops and removes every local node of the lab, with everything that was created for it on this
/// machine.
///
/// Works from what it finds, not from the inventory, so that it also removes nodes that have left
/// the inventory and leftovers of a killed run. The base image stays in the cache.
///
/// # Errors
/// If something cannot be removed; everything else is removed nevertheless.
pub async fn down(lab: &LabDirectory, events: &Events) -> Result<Down, LocalError> {
    let begun = Instant::now();
    events.emit(Event::StepStarted { step: STEP.into() });
    let lab_names = Names::of(lab);
    let names: Vec<String> = found(lab);
    let lost = lost::find(&nodes_folder(lab, &lab_names))?;
    let moved = lost::moved_to(&lost, lab_names.root());
    let removed_lost = remove_lost(&lab_names, &lost).await;
    let removed = remove_folders(lab, &lab_names, &names).await;
    // Also if a node could not be removed: the less is left, the less there is to clean up
    // manually.
    let owned = (lab.clone(), lab_names);
    let swept = blocking("remove the lab's network", move || sweep(&owned.0, &owned.1)).await;
    let (mut removed, swept) = (removed?, swept?);
    removed_lost?;
    removed.extend(lost.into_keys());
    removed.sort();
    removed.dedup();
    blocking("restore this machine's kernel settings", kernel::restore).await?;
    let detail = match (removed.len(), swept) {
        (0, false) => "none found".to_owned(),
        (0, true) => "none found; removed leftovers of an earlier run".to_owned(),
        (removed, _) => format!("{} removed", count(removed)),
    };
    if let Some(moved) = &moved {
        let message = format!(
            "the lab directory was moved to {}: its nodes are removed, its \
             files stay; delete them when you no longer need them",
            moved.display()
        );
        events.emit(Event::Warning { node: None, message });
    }
    let changed = swept || !removed.is_empty();
    events.emit(Event::StepEnded { step: STEP.into(), detail, changed, took: begun.elapsed() });
    Ok(Down { removed, moved })
}

/// Whether anything of a lab is on this machine: its directory, nodes, or their network.
///
/// # Errors
/// If this machine's mounts cannot be read.
pub fn is_there(lab: &LabDirectory) -> Result<bool, LocalError> {
    let names = Names::of(lab);
    let is_lost = !lost::find(&nodes_folder(lab, &names))?.is_empty();
    Ok(is_lost || lab.root().exists() || !found(lab).is_empty() || network::has_bridge(&names))
}

/// Refuses to work on a lab whose nodes are running without their directories: nobody can log in to
/// them, and starting them again would kill them.
///
/// # Errors
/// Returns [`LocalError::Lost`] with the nodes, and where their directories are now if that is
/// known.
pub fn check_not_lost(lab: &LabDirectory) -> Result<(), LocalError> {
    let names = Names::of(lab);
    let folder = nodes_folder(lab, &names);
    let lost = lost::find(&folder)?;
    if lost.is_empty() {
        return Ok(());
    }
    let moved = lost::moved_to(&lost, names.root());
    Err(LocalError::Lost { nodes: lost.into_keys().collect(), folder, moved })
}

/// Stops and removes the named nodes; names without a node are skipped. The lab's bridge stays.
///
/// # Errors
/// If part of a node cannot be removed.
pub async fn remove(lab: &LabDirectory, names: &[String]) -> Result<Down, LocalError> {
    let there: BTreeSet<String> = found(lab).into_iter().collect();
    let names: Vec<String> = names.iter().filter(|name| there.contains(*name)).cloned().collect();
    Ok(Down { removed: remove_folders(lab, &Names::of(lab), &names).await?, moved: None })
}

/// Kills the node as a power failure would, and waits until all its processes have exited. Its data
/// stays for the next [`up`].
///
/// # Errors
/// If there is no such node, or it does not exit.
pub async fn kill(lab: &LabDirectory, node: &str) -> Result<(), LocalError> {
    if !found(lab).iter().any(|name| name == node) {
        return Err(LocalError::Unknown { node: node.to_owned(), folder: lab.local_nodes() });
    }
    let folder = folder(lab, &Names::of(lab), node);
    blocking("stop a node", move || folder.kill()).await
}

/// Returns every local node that the lab has on this machine, by name, running or not.
pub fn nodes(lab: &LabDirectory) -> Vec<LocalNode> {
    let names = Names::of(lab);
    let state = |name: String| {
        let folder = folder(lab, &names, &name);
        let pid = folder.pid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        let address = folder.record().map(|record| record.address);
        LocalNode { name, address, pid, ready: pid.is_some() && folder.ready().exists() }
    };
    found(lab).into_iter().map(state).collect()
}

/// Returns the host's end of a node's network link: `tc netem` on it makes a slow network, `ip link
/// set down` cuts it.
pub fn link_name(lab: &LabDirectory, node: &str) -> String {
    Names::of(lab).link(node)
}

/// Returns the name of a node's network namespace, for `ip netns exec`.
pub fn namespace_name(lab: &LabDirectory, node: &str) -> String {
    Names::of(lab).machine(node)
}

/// What starting nodes needs; owned, so that it can move to threads.
struct Work {
    lab: LabDirectory,
    names: Names,
    local: LocalNodes,
    cache: PathBuf,
}

impl Work {
    /// Creates the network for `all` nodes and starts those that are `stopped`.
    async fn start(
        self,
        all: Vec<Node>,
        stopped: Vec<Node>,
        events: &Events,
    ) -> Result<(), LocalError> {
        let work = Arc::new(self);
        let shared = Arc::clone(&work);
        let network_first = blocking("make the network of the local nodes", move || {
            network::ensure(&shared.names, &shared.local, &all.iter().collect::<Vec<_>>())
        });
        blocking("note this machine's kernel settings", kernel::note).await?;
        // Before the image: a conflict should be reported at once, not after a minute of building.
        network_first.await?;
        if stopped.is_empty() {
            return Ok(());
        }
        let_nodes_watch(events);
        let (shared, told) = (Arc::clone(&work), events.clone());
        let image = blocking("build the base image", move || {
            base::ensure(&shared.cache, &shared.local.packages, &told)
        })
        .await?;
        let shared = Arc::clone(&work);
        let first = stopped[0].clone();
        let authorized =
            Arc::new(blocking("make labctl's SSH key", move || shared.authorized(&first)).await?);
        let mut starting = JoinSet::new();
        for node in stopped {
            let (work, image, authorized) =
                (Arc::clone(&work), image.clone(), Arc::clone(&authorized));
            let folder = folder(&work.lab, &work.names, &node.name);
            if folder.record().is_some_and(|record| !record.base.is_dir()) {
                let message = "the base image of this node is gone; the node starts \
                    over the current one";
                events.emit(Event::Warning {
                    node: Some(node.name.clone()),
                    message: message.into(),
                });
            }
            starting.spawn_blocking(move || {
                folder.start(&Start {
                    node: &node,
                    local: &work.local,
                    base: &image,
                    authorized: &authorized,
                })
            });
        }
        joined("start a node", starting).await
    }

    /// Returns the public keys that may log in: the lab's own, and the inventory's if its public
    /// half exists.
    fn authorized(&self, node: &Node) -> Result<Vec<String>, LocalError> {
        let identity = self.lab.ssh_identity();
        let folder = identity.parent().unwrap_or(self.lab.root());
        self.lab.make_folder(folder).map_err(LocalError::io("make", folder))?;
        keys::ensure(&identity, "labctl")?;
        let mut keys = vec![keys::read_public(&identity)?];
        if let Some(other) = node.ssh.identity.as_ref().filter(|path| **path != identity) {
            keys.extend(keys::read_public(other).ok());
        }
        Ok(keys)
    }
}

/// Removes nodes in parallel. Tries all of them before it returns the first error.
async fn remove_folders(
    lab: &LabDirectory,
    names: &Names,
    nodes: &[String],
) -> Result<Vec<String>, LocalError> {
    let folders: Vec<NodeFolder> = nodes.iter().map(|node| folder(lab, names, node)).collect();
    let addresses: Vec<IpAddr> =
        folders.iter().filter_map(NodeFolder::record).map(|record| record.address).collect();
    let mut removing = JoinSet::new();
    for folder in folders {
        removing.spawn_blocking(move || folder.remove());
    }
    joined("remove a node", removing).await?;
    keys::forget(lab, &addresses)?;
    Ok(nodes.to_vec())
}

/// Removes nodes whose directories are gone. Tries all of them before it returns the first error.
async fn remove_lost(
    names: &Names,
    lost: &BTreeMap<String, lost::LostNode>,
) -> Result<(), LocalError> {
    let mut removing = JoinSet::new();
    for (name, node) in lost.clone() {
        let names = names.clone();
        removing.spawn_blocking(move || lost::remove(&names, &name, &node));
    }
    joined("remove a node", removing).await
}

/// Removes what is left of a lab without nodes: what a killed run created and did not record, the
/// bridge, the login key. Returns whether there was anything.
fn sweep(lab: &LabDirectory, names: &Names) -> Result<bool, LocalError> {
    let mut found = network::has_bridge(names);
    let prefix = names.machine_prefix();
    let cgroups = cgroup::find(&cgroup::hierarchies()?, &prefix);
    found |= !cgroups.is_empty();
    cgroup::end(&cgroups).map_err(|left| LocalError::Stuck {
        node: left.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        what: format!("processes stay in {}", left.display()),
    })?;
    for machine in network::machines(&prefix) {
        found = true;
        network::remove_node(&names.link(machine.trim_start_matches(&prefix)), &machine)?;
    }
    network::remove_bridge(names)?;
    mounts::remove_folder(&names.root().join("nodes"))?;
    if let Some(keys) = lab.ssh_identity().parent().filter(|keys| keys.starts_with(lab.root())) {
        mounts::remove_folder(keys)?;
    }
    Ok(found)
}

/// Returns the names of all nodes that have a directory, sorted.
fn found(lab: &LabDirectory) -> Vec<String> {
    let entries = fs::read_dir(lab.local_nodes()).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names: BTreeSet<String> =
        folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.into_iter().collect()
}

/// Returns a node's directory by its real path, because the kernel names mounts and processes by
/// it.
fn folder(lab: &LabDirectory, names: &Names, node: &str) -> NodeFolder {
    NodeFolder::new(names, &nodes_folder(lab, names), node)
}

/// Returns the real path of the directory that holds the nodes' directories.
fn nodes_folder(lab: &LabDirectory, names: &Names) -> PathBuf {
    let nodes = lab.local_nodes();
    nodes.strip_prefix(lab.root()).map_or(nodes.clone(), |below| names.root().join(below))
}

fn check_addresses(local: &LocalNodes, nodes: &[&Node]) -> Result<(), LocalError> {
    for node in nodes {
        for (address, (subnet, gateway)) in node.addresses().zip(local.subnets()) {
            let is_last = address.is_ipv4() && address == subnet.broadcast();
            let reason = if !subnet.contains(&address) {
                "it is outside the local subnet"
            } else if address == gateway {
                "it is the address of the bridge"
            } else if address == subnet.network() || is_last {
                "it is the address of the subnet itself"
            } else {
                continue;
            };
            return Err(LocalError::Address {
                node: node.name.clone(),
                address,
                subnet,
                reason: reason.into(),
            });
        }
    }
    Ok(())
}

/// Refuses to change the address of a running node.
fn check_not_moved(local: &LocalNodes, node: &Node, folder: &NodeFolder) -> Result<(), LocalError> {
    let Some(record) = folder.record() else { return Ok(()) };
    let now = Record::of(node, local, record.base.clone());
    if record == now {
        return Ok(());
    }
    let (was, now) = (record.place(), now.place());
    Err(LocalError::Moved { node: node.name.clone(), was, now })
}

/// Lets all nodes together watch files. Where the kernel refuses, warns in advance, because "too
/// many open files" in a node's log does not say that inotify instances ran out.
fn let_nodes_watch(events: &Events) {
    if let Err(error) = kernel::let_nodes_watch() {
        let message = format!(
            "the kernel's limit of inotify instances cannot be raised: {error}; when units fail \
             with \"too many open files\", run `sysctl fs.inotify.max_user_instances=8192`"
        );
        events.emit(Event::Warning { node: None, message });
    }
}

fn count(nodes: usize) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

/// Runs blocking work outside the runtime's threads.
async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, LocalError> {
    spawn_blocking(work).await.map_err(|_| LocalError::Interrupted { doing: doing.to_owned() })?
}

/// Waits for all tasks, then returns the first error.
async fn joined(doing: &str, mut tasks: JoinSet<Result<(), LocalError>>) -> Result<(), LocalError> {
    let mut outcome = Ok(());
    while let Some(result) = tasks.join_next().await {
        let result =
            result.unwrap_or_else(|_| Err(LocalError::Interrupted { doing: doing.to_owned() }));
        outcome = outcome.and(result);
    }
    outcome
}
