//! What plans are made from: the templates, the certificates and the bundle of a lab, put together
//! here and nowhere else.

use std::collections::BTreeMap;

use super::exit::Stop;
use super::files;
use super::manifests;
use super::named::names;
use super::options::Options;
use super::registries;
use crate::bundle::{Bundle, BundleFile};
use crate::cluster::{Cluster, Node};
use crate::event::{Event, Events, Preparation};
use crate::lab::{LabDirectory, cache_directory};
use crate::module::file::Blob;
use crate::pki::{encryption, issue, kubeconfig, reissue::Why, store, token};
use crate::plan::DesiredPlay;
use crate::plan::expand::{Materials, expand};
use crate::plan::hand::Hand;
use crate::playbook::{Playbook, UP};
use crate::render::Renderer;
use crate::render::context::{Artefacts, Leaving, Restore, Upgrading};
use crate::report::Reporter;
use crate::secret::Secret;

/// The inputs of plans, owned.
#[derive(Clone)]
pub struct Inputs<'a> {
    cluster: &'a Cluster,
    pki: store::Pki,
    kubeconfigs: BTreeMap<String, Secret>,
    bundle: Bundle,
    renderer: Renderer,
    /// Whether the user's templates may be for the playbook `up` only: the inventory names them.
    for_up_alone: bool,
    artefacts: Artefacts,
    handed: BTreeMap<String, Blob>,
}

impl<'a> Inputs<'a> {
    /// The templates alone, for a playbook that installs nothing: it works without a bundle, and
    /// when certificates are lost.
    pub fn new(cluster: &'a Cluster, options: &Options) -> Result<Self, Stop> {
        let typed = options.templates.as_deref();
        let templates = typed.or(cluster.templates.as_deref());
        let renderer = Renderer::new(templates).map_err(Stop::bad)?;
        Ok(Self {
            cluster,
            pki: store::Pki::default(),
            kubeconfigs: BTreeMap::new(),
            bundle: Bundle::empty(cluster.kubernetes),
            renderer,
            for_up_alone: typed.is_none(),
            artefacts: Artefacts { limit: names(cluster, &options.limit)?, ..Artefacts::default() },
            handed: BTreeMap::new(),
        })
    }

    /// The same with what a lab is installed from.
    pub fn with(self, pki: store::Pki, mut bundle: Bundle) -> Result<Self, Stop> {
        let kubeconfigs = kubeconfig::kubeconfigs(self.cluster, &pki).map_err(Stop::failed)?;
        let encryption_keys = encryption::named(&pki).map_err(Stop::failed)?;
        let images = bundle.files.iter().filter_map(|(name, file)| {
            Some((name.strip_prefix("image/")?.to_owned(), file.image.clone()?))
        });
        let versions = bundle.files.iter().map(|(name, file)| (name.clone(), file.version.clone()));
        let signer = pki.require(store::SERVICE_ACCOUNT_KEY).map_err(Stop::failed)?;
        let token_key = issue::key_id(&String::from_utf8_lossy(signer)).map_err(Stop::failed)?;
        let (images, versions) = (images.collect(), versions.collect());
        let registries = registries::read(self.cluster)?;
        let addons = manifests::read(self.cluster)?;
        let archives = manifests::images(self.cluster)?;
        let named = addons.iter().flat_map(|addon| addon.images.clone());
        let imports = named.chain(archives.values().filter_map(|it| it.image.clone())).collect();
        bundle.files.extend(archives);
        let artefacts = Artefacts {
            images,
            versions,
            token_key,
            encryption_keys,
            bootstrap_token: token::secret(&pki).map_err(Stop::failed)?,
            registries,
            files: files::read(self.cluster)?,
            addons,
            imports,
            ..self.artefacts
        };
        Ok(Self { pki, kubeconfigs, bundle, artefacts, ..self })
    }

    /// The same with the certificates of a lab directory, which is the lab's own but for a restore;
    /// what is missing there is issued in memory only.
    pub fn with_certificates_of(self, lab: &LabDirectory, bundle: Bundle) -> Result<Self, Stop> {
        let ensured = ensured(self.cluster, lab)?;
        self.with(ensured.pki, bundle)
    }

    /// The same with images of somebody's own, which all workers import.
    pub fn importing(mut self, images: BTreeMap<String, BundleFile>) -> Self {
        self.artefacts.imports = images.values().filter_map(|file| file.image.clone()).collect();
        self.bundle.files = images;
        self
    }

    /// The directory of the bundle.
    pub fn bundle_folder(&self) -> &std::path::Path {
        &self.bundle.folder
    }

    /// The bundle's architecture, if there is a bundle.
    pub fn architecture(&self) -> Option<&str> {
        Some(self.bundle.architecture.as_str()).filter(|it| !it.is_empty())
    }

    /// The same for the playbook that takes a node out of the lab.
    pub fn leaving(mut self, leaving: Leaving) -> Self {
        self.artefacts.leaving = Some(leaving);
        self
    }

    /// The same for the playbooks that an upgrade runs before and after workers.
    pub fn upgrading(mut self, upgrading: Upgrading) -> Self {
        self.artefacts.upgrading = Some(upgrading);
        self
    }

    /// The same, with a snapshot of etcd to restore.
    pub fn handing(mut self, restore: Restore, snapshot: Blob) -> Self {
        self.artefacts.restore = Some(restore);
        self.handed.insert(snapshot.name.clone(), snapshot);
        self
    }

    /// Expands the playbook for every node.
    pub fn expand(&self, playbook: &Playbook) -> Result<Vec<DesiredPlay>, Stop> {
        self.expand_for(playbook, self.cluster)
    }

    /// The same for the cluster with its nodes in another order, because what is asked of one node
    /// only is asked of the first, or with more known of its machines.
    pub fn expand_for(
        &self,
        playbook: &Playbook,
        cluster: &Cluster,
    ) -> Result<Vec<DesiredPlay>, Stop> {
        if playbook.name == UP || !self.for_up_alone {
            self.renderer.check_folder(playbook.templates()).map_err(Stop::bad)?;
        }
        let materials = Materials {
            cluster,
            pki: &self.pki,
            kubeconfigs: &self.kubeconfigs,
            bundle: &self.bundle,
            renderer: &self.renderer,
            artefacts: &self.artefacts,
            handed: &self.handed,
        };
        expand(playbook, &materials).map_err(Stop::bad)
    }

    /// Renders a template for one node.
    pub fn render(&self, template: &str, node: &Node) -> Result<String, Stop> {
        let context = crate::render::Context::new(self.cluster, node, None, &self.artefacts);
        self.renderer.render(template, &context).map_err(Stop::bad)
    }

    /// What a person needs who does by hand what a plan says.
    pub fn hand(&self, lab: &LabDirectory) -> Hand<'_> {
        let passwords = self.artefacts.registries.values().map(|it| it.password.clone());
        let others = passwords.chain([self.artefacts.bootstrap_token.clone()]).collect();
        // The keys of a lab that is not there yet are another time others.
        let mark = store::holding(self.cluster, lab).ok().filter(|it| !it.is_empty());
        Hand::new(lab.pki(), &self.pki, others, self.renderer.standard())
            .marking(mark.map(|it| it.mark().text()))
    }

    /// The administrator's kubeconfig.
    pub fn admin_conf(&self) -> Option<&Secret> {
        self.kubeconfigs.get(kubeconfig::ADMIN)
    }
}

/// The certificates that a lab needs, with what is missing in its directory issued in memory.
pub fn ensured(cluster: &Cluster, lab: &LabDirectory) -> Result<store::Ensured, Stop> {
    store::ensure(cluster, lab, time::OffsetDateTime::now_utc()).map_err(Stop::failed)
}

/// Reports every issued certificate with the reason.
pub fn report_issued(issued: &[store::Issued], events: &Events) {
    for store::Issued { name, why } in issued {
        let replaced = !matches!(why, Why::New | Why::CertificateMissing | Why::KeyMissing);
        let (name, why) = (name.clone(), why.to_string());
        events.emit(Event::Preparation(Preparation::Certificate { name, why, replaced }));
    }
}

/// Opens the bundle; downloads it first if the inventory has no bundle directory.
pub async fn bundle(cluster: &Cluster, events: &Events) -> Result<Bundle, Stop> {
    crate::bundle::pull::for_cluster(cluster, &cache_directory(), events)
        .await
        .map_err(Stop::failed)
}

/// Opens the bundle for a plan: a directory in the inventory must be complete, as for a run; a
/// download into the cache is only reported.
pub async fn bundle_planned(cluster: &Cluster, events: &Events) -> Result<Bundle, Stop> {
    if cluster.bundle.is_some() {
        return bundle(cluster, events).await;
    }
    expected(cluster, |bundle| {
        let (files, folder) = (bundle.files.len(), bundle.folder.clone());
        events.emit(Event::Preparation(Preparation::Bundle { files, folder }));
    })
}

/// Returns the bundle for reading the runbook; if it does not exist yet, what would be downloaded.
pub fn outlook(cluster: &Cluster, reporter: &Reporter) -> Result<Bundle, Stop> {
    expected(cluster, |bundle| {
        let folder = bundle.folder.display();
        reporter.note(&format!(
            "there is no bundle in {folder} yet; these are the releases that a pull would fetch"
        ));
    })
}

/// Returns the bundle, or what a pull would fetch; `report` gets that first.
fn expected(cluster: &Cluster, report: impl FnOnce(&Bundle)) -> Result<Bundle, Stop> {
    let found = crate::bundle::outlook(cluster, &cache_directory());
    let (bundle, there) = found.map_err(Stop::failed)?;
    if !there {
        report(&bundle);
    }
    Ok(bundle)
}
