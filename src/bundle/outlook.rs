//! The bundle before it is pulled, for commands that only explain or render.

use std::collections::BTreeMap;
use std::path::Path;

use super::releases::{self, Sources};
use super::{Bundle, BundleError, BundleFile, pull};
use crate::cluster::{Cluster, Version};

/// Returns the bundle of `cluster` and true if it exists. Otherwise returns what `labctl bundle
/// pull` would fetch, by name and version and without content, and false. Neither writes nor
/// downloads anything.
///
/// # Errors
/// If a bundle exists but is damaged or for another version, or labctl knows no releases of the
/// version.
pub fn outlook(cluster: &Cluster, cache: &Path) -> Result<(Bundle, bool), BundleError> {
    let architecture = pull::host_architecture();
    let official = || pull::official_folder(cache, cluster.kubernetes, architecture);
    let given = cluster.bundle.as_deref();
    let folder = given.map_or_else(official, |it| Bundle::folder_of(it, cluster.kubernetes));
    match Bundle::open(&folder) {
        Ok(bundle) if bundle.kubernetes == cluster.kubernetes => Ok((bundle, true)),
        Ok(bundle) => {
            let (folder, wanted) = (bundle.folder, cluster.kubernetes);
            Err(BundleError::OtherVersion { folder, bundle: bundle.kubernetes, wanted })
        }
        // A pull would complete a bundle in its own directory.
        Err(BundleError::Broken { .. }) if cluster.bundle.is_none() => {
            Ok((announced(cluster, architecture, &folder)?, false))
        }
        Err(BundleError::NoLock { .. }) => Ok((announced(cluster, architecture, &folder)?, false)),
        Err(error) => Err(error),
    }
}

/// Returns the versions of all bundles that are at hand for a cluster: those beside the
/// inventory's, or in the cache.
pub fn at_hand(cluster: &Cluster, cache: &Path) -> Vec<Version> {
    match &cluster.bundle {
        Some(folder) => Bundle::versions_in(folder),
        None => pull::official_versions(cache, pull::host_architecture()),
    }
}

fn announced(cluster: &Cluster, architecture: &str, folder: &Path) -> Result<Bundle, BundleError> {
    let components =
        releases::components(cluster.kubernetes).ok_or_else(|| BundleError::Unsupported {
            version: cluster.kubernetes,
            architecture: architecture.to_owned(),
            why: "labctl does not know its releases".to_owned(),
        })?;
    let releases =
        releases::releases(cluster.kubernetes, architecture, &components, &Sources::official())?;
    let file = |path: &str, version: &str, image: Option<String>| BundleFile {
        version: version.to_owned(),
        path: folder.join(path),
        size: 0,
        sha256: String::new(),
        image,
    };
    let mut files = BTreeMap::new();
    for artefact in &releases.artefacts {
        for target in artefact.targets() {
            files.insert(target.name.clone(), file(&target.path, &artefact.version, None));
        }
    }
    for image in &releases.images {
        let reference = Some(image.reference());
        files
            .insert(image.target.name.clone(), file(&image.target.path, &image.version, reference));
    }
    let (kubernetes, architecture) = (cluster.kubernetes, architecture.to_owned());
    Ok(Bundle { folder: folder.to_owned(), kubernetes, architecture, files })
}
