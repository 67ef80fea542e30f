//! What a run does about certificates and nothing else: reads an inventory, issues what its lab
//! needs, saves it, and writes the kubeconfigs beside it. For the benchmark, because every verb
//! that issues also connects to nodes.

use std::error::Error;
use std::path::{Path, PathBuf};

use labctl::cluster;
use labctl::lab::LabDirectory;
use labctl::pki;

fn main() -> Result<(), Box<dyn Error>> {
    let inventory = std::env::args().nth(1).ok_or("usage: issue INVENTORY")?;
    let (cluster, _) = cluster::open(Path::new(&inventory)).map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    let lab = LabDirectory::new(&cluster.lab_directory);
    let ensured = pki::ensure(&cluster, &lab, time::OffsetDateTime::now_utc())?;
    ensured.save(&lab)?;
    let kubeconfigs = pki::kubeconfigs(&cluster, &ensured.pki)?;
    let folder = lab.root().join("kubeconfig");
    let files: Vec<(PathBuf, &[u8])> =
        kubeconfigs.iter().map(|(name, text)| (folder.join(name), text.expose())).collect();
    lab.write_all_private(&files)
        .map_err(|(path, error)| format!("{}: {error}", path.display()))?;
    Ok(())
}
