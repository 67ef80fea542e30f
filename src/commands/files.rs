//! What an inventory's `components` name on the workstation: files for programs.

use std::collections::BTreeMap;
use std::fs;

use super::exit::Stop;
use crate::cluster::Cluster;
use crate::secret::Secret;

/// The largest file in bytes: policies and kubeconfigs are a few kilobytes.
const LONGEST: u64 = 1 << 20;

/// Reads all files, by program and name.
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
