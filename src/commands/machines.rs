//! What is known of a lab's machines, in the lab directory: read before files are rendered, saved
//! once nodes were asked.

use super::exit::Stop;
use super::session::lab_of;
use crate::cluster::Cluster;
use crate::machine::{Etcd, Machines};

/// The lab as it is known.
pub fn known(cluster: &Cluster) -> Cluster {
    cluster.knowing(&read(cluster))
}

/// The same for a reader: what is begun is not shown, because the runbook leads from bare machines.
pub fn known_bare(cluster: &Cluster) -> Cluster {
    let mut cluster = known(cluster);
    cluster.nodes.iter_mut().for_each(|node| node.facts.etcd = Etcd::default());
    cluster
}

/// Nothing, where nothing was saved that can be read.
fn read(cluster: &Cluster) -> Machines {
    let file = std::fs::read(lab_of(cluster).facts()).ok();
    file.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Saves what was found. Of nodes that were not asked, what was known stays; nodes that have left
/// are forgotten.
///
/// # Errors
/// When the lab directory cannot be written.
pub fn remember(cluster: &Cluster, found: &Machines) -> Result<(), Stop> {
    let lab = lab_of(cluster);
    let was = read(cluster);
    let mut machines = was.clone();
    machines.retain(|name, _| cluster.node(name).is_some());
    machines.extend(found.clone());
    if machines == was || !lab.root().is_dir() {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(&machines).unwrap_or_default() + "\n";
    let path = lab.facts();
    lab.write_private(&path, text.as_bytes())
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))
}
