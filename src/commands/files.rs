//! Files on the workstation that an inventory names: all of them, and the content of those that
//! are for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::exit::Stop;
use crate::cluster::{Cluster, PasswordSource};
use crate::secret::Secret;

/// The largest file in bytes: policies and kubeconfigs are a few kilobytes.
const LONGEST: u64 = 1 << 20;

/// Returns every file and directory that a run reads because the inventory names it, all but the
/// bundle.
pub fn named(cluster: &Cluster) -> BTreeSet<PathBuf> {
    let mut all: BTreeSet<PathBuf> =
        cluster.playbooks.iter().chain(&cluster.templates).cloned().collect();
    all.extend(cluster.manifests.iter().map(|addon| addon.path.clone()));
    all.extend(cluster.components.0.values().flat_map(|it| it.files.values().cloned()));
    let registries = cluster.registries.iter();
    all.extend(registries.flat_map(|it| it.ca.iter().chain(&it.credentials).cloned()));
    for ssh in cluster.nodes.iter().map(|node| &node.ssh) {
        let jumps = ssh.jump.iter().flatten();
        all.extend(ssh.identity.iter().chain(jumps.flat_map(|jump| &jump.identity)).cloned());
        if let PasswordSource::File(path) = &ssh.escalation.password {
            all.insert(path.clone());
        }
    }
    all
}

/// Reads all files for programs, by program and name.
///
/// # Errors
/// If one cannot be read or is larger than 1 MiB.
pub fn read(cluster: &Cluster) -> Result<BTreeMap<String, BTreeMap<String, Secret>>, Stop> {
    let mut all: BTreeMap<String, BTreeMap<String, Secret>> = BTreeMap::new();
    for (program, settings) in &cluster.components.0 {
        for (name, path) in &settings.files {
            let refused = |why: String| {
                Stop::bad(format!("cannot read {}: {why}", path.display()))
                    .help(format!("`components.{program}.files` of the inventory names it"))
            };
            let metadata = fs::metadata(path).map_err(|error| refused(error.to_string()))?;
            if !metadata.is_file() || metadata.len() > LONGEST {
                return Err(refused("it is not a file of at most 1 MiB".to_owned()));
            }
            let bytes = fs::read(path).map_err(|error| refused(error.to_string()))?;
            all.entry(program.clone()).or_default().insert(name.clone(), Secret::from(bytes));
        }
    }
    Ok(all)
}
