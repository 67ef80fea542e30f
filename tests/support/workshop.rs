//! Everything that plans are made from, without a workstation.

use std::collections::{BTreeMap, BTreeSet};

use labctl::bundle::{Bundle, BundleFile};
use labctl::cluster::{Cluster, Role};
use labctl::lab::LabDirectory;
use labctl::module::file::Blob;
use labctl::pki::{encryption, kubeconfig::kubeconfigs, store};
use labctl::plan::DesiredPlay;
use labctl::plan::expand::{Materials, expand};
use labctl::playbook::{load, standard};
use labctl::render::context::Leaving;
use labctl::render::{Artefacts, Renderer};
use labctl::secret::Secret;

use crate::support::labs;

/// Everything that plans are made from, without a workstation.
pub struct Workshop {
    pub cluster: Cluster,
    pub pki: store::Pki,
    pub kubeconfigs: BTreeMap<String, Secret>,
    pub bundle: Bundle,
    pub renderer: Renderer,
    pub artefacts: Artefacts,
}

impl Workshop {
    /// Of a lab, with certificates of its own and a bundle that has every name.
    pub fn new(cluster: Cluster) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now = time::OffsetDateTime::now_utc();
        let pki = store::ensure(&cluster, &LabDirectory::new(folder.path()), now)
            .expect("certificates")
            .pki;
        let kubeconfigs = kubeconfigs(&cluster, &pki).expect("kubeconfigs");
        let file = |name: &str| BundleFile {
            version: "1.2.3".into(),
            path: format!("/bundle/{name}").into(),
            size: 1,
            sha256: labctl::module::file::Content::inline(name.as_bytes()).sha256().to_owned(),
            image: name.strip_prefix("image/").map(|name| format!("registry.example/{name}:1.2.3")),
        };
        let mut bundle = Bundle::empty(cluster.kubernetes);
        bundle.files =
            names_in_the_bundle().into_iter().map(|name| (name.clone(), file(&name))).collect();
        let renderer = Renderer::new(None).expect("templates");
        let encryption_keys = encryption::named(&pki).expect("a key");
        // A node that leaves, for the playbook that takes one out.
        let leaving = cluster.with_role(Role::Worker).next().cloned();
        let leaving = leaving.map(|node| Leaving { node, gone: false, forced: false });
        let artefacts = Artefacts { encryption_keys, leaving, ..labs::artefacts() };
        Self { cluster, pki, kubeconfigs, bundle, renderer, artefacts }
    }

    /// What a playbook with these plays desires, or why it is refused.
    pub fn plays(&self, text: &str) -> Result<Vec<DesiredPlay>, String> {
        let playbook =
            load::parse("test.yaml", &format!("name: test\nplays:\n{text}")).expect("a playbook");
        self.expand(&playbook)
    }

    /// What a playbook desires, or why it is refused.
    pub fn expand(
        &self,
        playbook: &labctl::playbook::Playbook,
    ) -> Result<Vec<DesiredPlay>, String> {
        let Self { cluster, pki, kubeconfigs, bundle, renderer, artefacts } = self;
        let name = "backup/snapshot.db".to_owned();
        let sha256 = labctl::module::file::Content::inline(name.as_bytes()).sha256().to_owned();
        let snapshot = Blob { sha256, size: 1, source: "/snapshot.db".into(), name: name.clone() };
        let handed = &BTreeMap::from([(name, snapshot)]);
        let materials =
            Materials { cluster, pki, kubeconfigs, bundle, renderer, artefacts, handed };
        expand(playbook, &materials).map_err(|error| error.to_string())
    }
}

/// Every name that the standard playbooks take from a bundle.
pub fn names_in_the_bundle() -> BTreeSet<String> {
    use labctl::module::Module;
    let books = standard::names().map(|name| standard::find(name, None).expect("a playbook"));
    let tasks = books.flat_map(|book| book.plays).flat_map(|play| play.tasks);
    tasks
        .filter_map(|task| match task.module {
            Module::Binary(args) => Some(args.from),
            Module::Image(args) => Some(args.from),
            _ => None,
        })
        .collect()
}
