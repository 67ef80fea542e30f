//! `bundle pull`, `list` and `verify`.

use super::session::{open, print};
use super::{Exit, Stop};
use crate::bundle::{Bundle, pull, releases::Sources, verify};
use crate::cli::{Bundle as Verb, BundleFolder};
use crate::event::Events;
use crate::lab::cache_directory;
use crate::report::Reporter;

/// Runs one of the verbs.
pub async fn bundle(verb: &Verb, reporter: &Reporter) -> Result<Exit, Stop> {
    let (Verb::Pull(args) | Verb::List(args) | Verb::Verify(args)) = verb;
    let cluster = open(&args.lab.inventory, reporter)?;
    let cache = cache_directory();
    let folder = folder(args, cluster.bundle.as_deref(), &cache, cluster.kubernetes);
    match verb {
        Verb::Pull(_) => {
            let (events, receiver) = Events::channel();
            let telling = reporter.spawn(receiver, None);
            let pulled = pull::pull(
                cluster.kubernetes,
                pull::host_architecture(),
                &folder,
                &cache,
                &Sources::official(),
                &events,
            )
            .await;
            drop(events);
            telling.await.map_err(Stop::failed)?;
            pulled.map_err(Stop::failed)?;
            print(reporter, &format!("{}\n", folder.display()))
        }
        Verb::List(_) => {
            let bundle = Bundle::open(&folder).map_err(Stop::failed)?;
            print(reporter, &bundle.table())
        }
        Verb::Verify(_) => {
            let bundle = Bundle::open(&folder).map_err(Stop::failed)?;
            let (events, receiver) = Events::channel();
            let telling = reporter.spawn(receiver, None);
            let verified = verify::verify(&bundle, &events).await;
            drop(events);
            telling.await.map_err(Stop::failed)?;
            verified.map_err(Stop::failed)?;
            print(
                reporter,
                &format!(
                    "{} files as {} says\n",
                    bundle.files.len(),
                    folder.join("bundle.lock").display()
                ),
            )
        }
    }
}

fn folder(
    args: &BundleFolder,
    of_inventory: Option<&std::path::Path>,
    cache: &std::path::Path,
    version: crate::cluster::Version,
) -> std::path::PathBuf {
    match (&args.bundle, of_inventory) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => folder.to_owned(),
        (None, None) => pull::official_folder(cache, version, pull::host_architecture()),
    }
}
