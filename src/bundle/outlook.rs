//! The bundle as it would be: what a reader of the runbook needs, without downloading anything.

use std::collections::BTreeMap;
use std::path::Path;

use super::releases::{self, Sources};
use super::{Bundle, BundleError, BundleFile, pull};
use crate::cluster::Cluster;

/// The bundle of `cluster` when it is there; otherwise what `labctl bundle pull` would fetch, by
/// name and version, with no content. The second value says whether it is there. Nothing is written
/// and nothing is downloaded.
///
/// # Errors
/// When a bundle is there and is spoilt or another version's, or labctl knows no releases of the
/// version.
pub fn outlook(cluster: &Cluster, cache: &Path) -> Result<(Bundle, bool), BundleError> {
    let architecture = pull::host_architecture();
    let official = || pull::official_folder(cache, cluster.kubernetes, architecture);
    let folder = cluster.bundle.clone().unwrap_or_else(official);
    match Bundle::open(&folder) {
        Ok(bundle) if bundle.kubernetes == cluster.kubernetes => Ok((bundle, true)),
        Ok(bundle) => {
            let (folder, wanted) = (bundle.folder, cluster.kubernetes);
            Err(BundleError::OtherVersion { folder, bundle: bundle.kubernetes, wanted })
        }
        // A pull completes what it finds in its own directory.
        Err(BundleError::Broken { .. }) if cluster.bundle.is_none() => {
            Ok((announced(cluster, architecture, &folder)?, false))
        }
        Err(BundleError::NoLock { .. }) => Ok((announced(cluster, architecture, &folder)?, false)),
        Err(error) => Err(error),
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
