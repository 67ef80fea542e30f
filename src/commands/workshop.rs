//! What plans are made from: the bundle, the certificates and the templates of a lab, put together.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Stop;
use super::session::lab_of;
use crate::bundle::Bundle;
use crate::cli::Sources;
use crate::cluster::{Cluster, Node, Role};
use crate::event::{Event, Events, Preparation};
use crate::lab::{LabDirectory, cache_directory};
use crate::module::file::Blob;
use crate::pki::{inspect::Why, issue, kubeconfig::kubeconfigs, store};
use crate::plan::DesiredPlay;
use crate::plan::expand::{Materials, expand};
use crate::playbook::Playbook;
use crate::render::Renderer;
use crate::render::context::{Artefacts, Leaving, Restore};
use crate::report::Reporter;

/// What plans are made from, owned.
pub struct Workshop {
    pki: store::Pki,
    kubeconfigs: BTreeMap<String, Vec<u8>>,
    bundle: Bundle,
    renderer: Renderer,
    artefacts: Artefacts,
    handed: BTreeMap<String, Blob>,
}

impl Workshop {
    /// Puts together what is there already. Nothing is written.
    pub fn new(
        pki: store::Pki,
        bundle: Bundle,
        sources: &Sources,
        cluster: &Cluster,
    ) -> Result<Self, Stop> {
        let renderer = Renderer::new(sources.templates.as_deref()).map_err(Stop::bad)?;
        let kubeconfigs = kubeconfigs(cluster, &pki).map_err(Stop::failed)?;
        let encryption_key = pki.require(store::ENCRYPTION_KEY).map_err(Stop::failed)?;
        let encryption_key = String::from_utf8_lossy(encryption_key).trim().to_owned();
        let images = bundle.files.iter().filter_map(|(name, file)| {
            Some((name.strip_prefix("image/")?.to_owned(), file.image.clone()?))
        });
        let versions = bundle.files.iter().map(|(name, file)| (name.clone(), file.version.clone()));
        let signer = pki.require(store::SERVICE_ACCOUNT_KEY).map_err(Stop::failed)?;
        let token_key = issue::key_id(&String::from_utf8_lossy(signer)).map_err(Stop::failed)?;
        let (images, versions) = (images.collect(), versions.collect());
        let artefacts = Artefacts {
            images,
            versions,
            token_key,
            encryption_key,
            restore: None,
            leaving: None,
            limit: Vec::new(),
        };
        Ok(Self { pki, kubeconfigs, bundle, renderer, artefacts, handed: BTreeMap::new() })
    }

    /// What the playbook desires, worked out for every node.
    pub fn expand(&self, playbook: &Playbook, cluster: &Cluster) -> Result<Vec<DesiredPlay>, Stop> {
        if let Some(unknown) = playbook.unknown_addon(&cluster.addons) {
            return Err(Stop::bad(unknown));
        }
        self.renderer.check_folder(playbook.templates()).map_err(Stop::bad)?;
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

    /// The same for a run that is for the nodes that `--limit` names.
    pub fn limited(mut self, limit: &[String]) -> Self {
        self.artefacts.limit = limit.to_vec();
        self
    }

    /// The same with a snapshot of etcd to give back to the nodes.
    pub fn handing(mut self, restore: Restore, snapshot: Blob) -> Self {
        self.artefacts.restore = Some(restore);
        self.handed.insert(snapshot.name.clone(), snapshot);
        self
    }

    /// A template rendered for one node.
    pub fn render(&self, template: &str, cluster: &Cluster, node: &Node) -> Result<String, Stop> {
        let context = crate::render::Context::new(cluster, node, None, &self.artefacts);
        self.renderer.render(template, &context).map_err(Stop::bad)
    }

    /// The administrator's kubeconfig.
    pub fn admin_conf(&self) -> Option<&[u8]> {
        self.kubeconfigs.get("admin.conf").map(Vec::as_slice)
    }
}

/// Templates alone, for a playbook that installs nothing: it works without a bundle, and when
/// certificates are lost.
pub fn bare_workshop(cluster: &Cluster, sources: &Sources) -> Result<Workshop, Stop> {
    let renderer = Renderer::new(sources.templates.as_deref()).map_err(Stop::bad)?;
    Ok(Workshop {
        pki: store::Pki::default(),
        kubeconfigs: BTreeMap::new(),
        bundle: Bundle::empty(cluster.kubernetes),
        renderer,
        artefacts: Artefacts::default(),
        handed: BTreeMap::new(),
    })
}

/// As [`bare_workshop`], for the playbook that takes `leaving` out of the lab.
pub fn leaving_workshop(
    cluster: &Cluster,
    sources: &Sources,
    leaving: Leaving,
) -> Result<Workshop, Stop> {
    let mut workshop = bare_workshop(cluster, sources)?;
    workshop.artefacts.leaving = Some(leaving);
    Ok(workshop)
}

/// Certificates as they are in the lab directory, with what is missing issued in memory only.
pub fn workshop_in_memory(
    cluster: &Cluster,
    bundle: Bundle,
    sources: &Sources,
) -> Result<Workshop, Stop> {
    workshop_from(&lab_of(cluster), cluster, bundle, sources)
}

/// The same with the certificates of another lab directory than the lab's own.
pub fn workshop_from(
    lab: &LabDirectory,
    cluster: &Cluster,
    bundle: Bundle,
    sources: &Sources,
) -> Result<Workshop, Stop> {
    let ensured = store::ensure(cluster, lab, now()).map_err(Stop::failed)?;
    Workshop::new(ensured.pki, bundle, sources, cluster)
}

/// The same for a plan, with what would be issued.
pub fn workshop_planned(
    cluster: &Cluster,
    bundle: Bundle,
    sources: &Sources,
) -> Result<(Workshop, Vec<store::Issued>), Stop> {
    let ensured = store::ensure(cluster, &lab_of(cluster), now()).map_err(Stop::failed)?;
    Ok((Workshop::new(ensured.pki, bundle, sources, cluster)?, ensured.issued))
}

/// Reports every certificate that is issued, and why.
pub fn tell_issued(issued: &[store::Issued], events: &Events) {
    for store::Issued { name, why } in issued {
        let replaced = !matches!(why, Why::New | Why::CertificateMissing | Why::KeyMissing);
        let (name, why) = (name.clone(), why.to_string());
        events.emit(Event::Preparation(Preparation::Certificate { name, why, replaced }));
    }
}

/// What a playbook desires, with the certificates that it needs; those that were issued for it are
/// in memory only, until [`Desired::keep`].
pub struct Desired {
    /// The plays, worked out for every node.
    pub plays: Vec<DesiredPlay>,
    ensured: store::Ensured,
    admin_conf: Option<Vec<u8>>,
}

/// What the playbook desires, from certificates that are ensured. A playbook or template with a
/// mistake is refused before anything is kept.
///
/// # Errors
/// When certificates cannot be used or issued, or the playbook cannot be worked out.
pub fn desired(
    cluster: &Cluster,
    playbook: &Playbook,
    bundle: Bundle,
    sources: &Sources,
    limit: &[String],
) -> Result<Desired, Stop> {
    let ensured = store::ensure(cluster, &lab_of(cluster), now()).map_err(Stop::failed)?;
    desired_of(ensured, cluster, playbook, bundle, sources, limit)
}

/// The same, from certificates that are at hand.
///
/// # Errors
/// When the playbook cannot be worked out.
pub fn desired_of(
    ensured: store::Ensured,
    cluster: &Cluster,
    playbook: &Playbook,
    bundle: Bundle,
    sources: &Sources,
    limit: &[String],
) -> Result<Desired, Stop> {
    let workshop = Workshop::new(ensured.pki.clone(), bundle, sources, cluster)?.limited(limit);
    let plays = workshop.expand(playbook, cluster)?;
    let admin_conf = workshop.admin_conf().map(<[u8]>::to_vec);
    Ok(Desired { plays, ensured, admin_conf })
}

impl Desired {
    /// Keeps the certificates in the lab directory, as a step of a run. `reached` are the nodes
    /// that can be worked on, of `nodes` that should be.
    ///
    /// # Errors
    /// When the lab directory cannot be written; and when the lab's keys would be made although a
    /// controller that may have them cannot be asked.
    pub fn keep(
        &self,
        cluster: &Cluster,
        nodes: &[&Node],
        reached: &[&Node],
        events: &Events,
    ) -> Result<(), Stop> {
        let (step, started) = ("certificates".to_owned(), Instant::now());
        let lab = lab_of(cluster);
        let holding = || store::holding(cluster, &lab).map_err(Stop::failed);
        if holding()?.is_empty() {
            let unseen = |node: &&&Node| !reached.iter().any(|it| it.name == node.name);
            let silent = nodes.iter().filter(|node| node.has(Role::Controller)).find(unseen);
            if let Some(node) = silent {
                let what = format!(
                    "the lab directory has no keys yet, and {} cannot be asked whether the lab has",
                    node.name
                );
                return Err(Stop::failed(what).help(
                    "nothing was changed; bring the controller back, or leave it out with --limit \
                    or \
                     from the inventory",
                ));
            }
        }
        events.emit(Event::StepStarted { step: step.clone() });
        store::remember(&holding()?, &lab).map_err(Stop::failed)?;
        self.ensured.save(&lab).map_err(Stop::failed)?;
        store::remember(&holding()?, &lab).map_err(Stop::failed)?;
        tell_issued(&self.ensured.issued, events);
        if let Some(admin) = &self.admin_conf {
            lab.write_private(&lab.admin_conf(), admin).map_err(Stop::failed)?;
        }
        let issued = self.ensured.issued.len();
        let detail = if issued == 0 { "all valid".to_owned() } else { format!("{issued} issued") };
        events.emit(Event::StepEnded {
            step,
            detail,
            changed: issued > 0,
            took: started.elapsed(),
        });
        Ok(())
    }
}

/// The bundle, opened; downloaded first when the inventory names none.
pub async fn bundle(cluster: &Cluster, events: &Events) -> Result<Bundle, Stop> {
    crate::bundle::pull::for_cluster(cluster, &cache_directory(), events)
        .await
        .map_err(Stop::failed)
}

/// The bundle for a plan: a folder that the inventory names must be whole, as for a run; what a run
/// would fetch into the cache is told, and not fetched.
pub async fn bundle_planned(cluster: &Cluster, events: &Events) -> Result<Bundle, Stop> {
    if cluster.bundle.is_some() {
        return bundle(cluster, events).await;
    }
    let (bundle, there) =
        crate::bundle::outlook(cluster, &cache_directory()).map_err(Stop::failed)?;
    if !there {
        let (files, folder) = (bundle.files.len(), bundle.folder.clone());
        events.emit(Event::Preparation(Preparation::Bundle { files, folder }));
    }
    Ok(bundle)
}

/// The bundle for a reader of the runbook: what would be fetched, where it is not there yet.
pub fn outlook(cluster: &Cluster, reporter: &Reporter) -> Result<Bundle, Stop> {
    let (bundle, there) =
        crate::bundle::outlook(cluster, &cache_directory()).map_err(Stop::failed)?;
    if !there {
        let folder = bundle.folder.display();
        reporter.note(&format!(
            "there is no bundle in {folder} yet; these are the releases that a pull would fetch"
        ));
    }
    Ok(bundle)
}

fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}
