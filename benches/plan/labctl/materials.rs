//! What the benchmark's programs make plans from: a lab's certificates, bundle and templates.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use labctl::bundle;
use labctl::cluster::{self, Cluster};
use labctl::lab::{LabDirectory, cache_directory};
use labctl::module::file::Blob;
use labctl::pki::{self, encryption, issue, store};
use labctl::plan::expand::Materials;
use labctl::render::{Artefacts, Renderer};
use labctl::secret::Secret;

/// Why a program of the benchmark ends early.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The cluster of an inventory.
pub fn open(inventory: &Path) -> Result<Cluster, Failure> {
    let (cluster, _) = cluster::open(inventory).map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    Ok(cluster)
}

/// What plans for a lab are made from, owned.
pub struct Lab {
    /// Its certificates and keys.
    pub pki: pki::Pki,
    kubeconfigs: BTreeMap<String, Secret>,
    bundle: bundle::Bundle,
    renderer: Renderer,
    artefacts: Artefacts,
    handed: BTreeMap<String, Blob>,
}

impl Lab {
    /// Of what the lab directory has; what is missing there is issued in memory, as for `plan`.
    pub fn new(cluster: &Cluster) -> Result<Self, Failure> {
        let lab = LabDirectory::new(&cluster.lab_directory);
        let pki = pki::ensure(cluster, &lab, time::OffsetDateTime::now_utc())?.pki;
        let (bundle, _) = bundle::outlook(cluster, &cache_directory())?;
        let signer = std::str::from_utf8(pki.require(store::SERVICE_ACCOUNT_KEY)?)?;
        let files = bundle.files.iter();
        let images = files.clone().filter_map(|(name, file)| {
            Some((name.strip_prefix("image/")?.to_owned(), file.image.clone()?))
        });
        let artefacts = Artefacts {
            images: images.collect(),
            versions: files.map(|(name, file)| (name.clone(), file.version.clone())).collect(),
            token_key: issue::key_id(signer)?,
            encryption_keys: encryption::named(&pki)?,
            ..Artefacts::default()
        };
        let kubeconfigs = pki::kubeconfigs(cluster, &pki)?;
        let (renderer, handed) = (Renderer::new(None)?, BTreeMap::new());
        Ok(Self { pki, kubeconfigs, bundle, renderer, artefacts, handed })
    }

    /// For the lab with what is known of its machines.
    pub fn materials<'a>(&'a self, cluster: &'a Cluster) -> Materials<'a> {
        Materials {
            cluster,
            pki: &self.pki,
            kubeconfigs: &self.kubeconfigs,
            bundle: &self.bundle,
            renderer: &self.renderer,
            artefacts: &self.artefacts,
            handed: &self.handed,
        }
    }
}
