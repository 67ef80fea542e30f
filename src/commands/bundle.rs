//! `bundle pull`, `list` and `verify`.

use std::path::{Path, PathBuf};

use super::exit::{Exit, Stop};
use super::session::{open, print};
use crate::bundle::releases::{Sources, Sums};
use crate::bundle::{Bundle, pull as pulling, verify as verifying};
use crate::cluster::Cluster;
use crate::event::Events;
use crate::lab::cache_directory;
use crate::report::Reporter;

/// Where releases come from, and what they are compared with.
#[derive(Debug, Clone, Copy)]
pub struct PullFrom<'a> {
    /// A mirror, instead of the projects' own hosts.
    pub mirror: Option<&'a str>,
    /// Whether the checksums that it publishes count, also where labctl knows another one.
    pub published_sums: bool,
}

/// Downloads the releases of the inventory's version, into `directory` or where the inventory has
/// its bundle, from the projects' own hosts or a mirror of them.
pub async fn pull(
    inventory: &Path,
    directory: Option<&Path>,
    from: &PullFrom<'_>,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let mirror = from.mirror;
    let sources = mirror.map_or_else(|| Ok(Sources::official()), Sources::mirrored);
    let sources = sources
        .map_err(|why| Stop::bad(format!("--mirror {}: {why}", mirror.unwrap_or_default())))?;
    let sums = if from.published_sums { Sums::Published } else { Sums::Known };
    let sources = Sources { sums, ..sources };
    let cluster = open(inventory, reporter)?;
    let (directory, cache) = (place(directory, &cluster), cache_directory());
    reported(reporter, async |events| {
        let (version, architecture) = (cluster.kubernetes, pulling::host_architecture());
        pulling::pull(version, architecture, &directory, &cache, &sources, events).await
    })
    .await?;
    print(reporter, &format!("{}\n", directory.display()))
}

/// Lists what is in a bundle.
pub fn list(inventory: &Path, directory: Option<&Path>, reporter: &Reporter) -> Result<Exit, Stop> {
    let directory = place(directory, &open(inventory, reporter)?);
    print(reporter, &Bundle::open(&directory).map_err(Stop::failed)?.table())
}

/// Checks every file of a bundle.
pub async fn verify(
    inventory: &Path,
    directory: Option<&Path>,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let directory = place(directory, &open(inventory, reporter)?);
    let bundle = Bundle::open(&directory).map_err(Stop::failed)?;
    reported(reporter, async |events| verifying::verify(&bundle, events).await).await?;
    let lock = directory.join("bundle.lock");
    print(reporter, &format!("{} files as {} says\n", bundle.files.len(), lock.display()))
}

/// Does `work` while its events are reported.
async fn reported<T, E>(
    reporter: &Reporter,
    work: impl AsyncFnOnce(&Events) -> Result<T, E>,
) -> Result<T, Stop>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let (events, receiver) = Events::channel();
    let reporting = reporter.spawn(receiver, None);
    let done = work(&events).await;
    drop(events);
    reporting.await.map_err(Stop::failed)?;
    done.map_err(Stop::failed)
}

/// Where the bundle is: as given, as the inventory has it, or in the cache.
fn place(given: Option<&Path>, cluster: &Cluster) -> PathBuf {
    match given.or(cluster.bundle.as_deref()) {
        Some(directory) => Bundle::folder_of(directory, cluster.kubernetes),
        None => pulling::official_folder(
            &cache_directory(),
            cluster.kubernetes,
            pulling::host_architecture(),
        ),
    }
}
