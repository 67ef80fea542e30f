//! `kubectl_apply`: objects in the cluster, applied with kubectl on a controller.
//!
//! kubectl on a node needs no connection from the workstation to the API, and is what a user would
//! run. The applied manifest stays on the controller and is written after a successful apply, so a
//! file with another hash means that it must be applied again.

use std::sync::Arc;

use serde::Deserialize;

use super::{
    Actions, Arguments, Desired, Difference, Facts, Question, Site, State, file::Content,
    probe::PathFact, quote, site::SHOWS_A_SECRET,
};
use crate::node::record::{self, Kind};

/// `kubectl_apply`: objects in the cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubectlApplyArgs {
    /// The template for the manifest.
    pub from: String,
}

impl Arguments for KubectlApplyArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let name = site.text(&self.from)?;
        let (manifest, secret) = site.template(&name, false)?;
        if secret {
            return Err(SHOWS_A_SECRET.to_owned());
        }
        Ok(Desired::KubectlApply(KubectlApply { name, manifest }))
    }

    fn template(&self) -> Option<&str> {
        Some(&self.from)
    }
}

/// Objects in the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct KubectlApply {
    /// The manifest's template: `coredns/coredns.yaml`.
    pub name: String,
    /// The manifest.
    pub manifest: Content,
}

/// kubectl on a controller, with the node's own API server instead of the load balancer.
pub const KUBECTL: &str =
    "kubectl --kubeconfig=/etc/kubernetes/admin.conf --server=https://127.0.0.1:6443";

impl KubectlApply {
    /// Returns where the manifest is kept on the controller.
    pub fn path(&self) -> String {
        format!("/etc/kubernetes/addons/{}", self.file())
    }

    /// Returns the manifest's file name: `coredns.yaml`.
    fn file(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Returns a check that passes if every object of the applied manifest exists.
    fn check(&self) -> String {
        format!("{KUBECTL} get -f {} -o name", quote(&self.path()))
    }
}

impl State for KubectlApply {
    fn probe(&self) -> Vec<Question> {
        let (path, sha256) = (self.path(), self.manifest.sha256().to_owned());
        vec![Question::File { path, sha256, text: true }, Question::Check(self.check())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        match facts.paths.get(&self.path()) {
            None => return Some(Difference::run("not applied yet")),
            Some(found) if found.sha256.as_deref() != Some(self.manifest.sha256()) => {
                return Some(Difference::run("the manifest changed"));
            }
            Some(_) => {}
        }
        (facts.checks.get(&self.check()) != Some(&true))
            .then(|| Difference::run("objects are missing in the cluster"))
    }

    fn actions(&self, _: &Facts) -> Actions {
        let sha256 = self.manifest.sha256();
        let payloads = match &self.manifest {
            Content::Inline { bytes, .. } => vec![(sha256.to_owned(), Arc::clone(bytes))],
            Content::Blob(_) => Vec::new(),
        };
        Actions {
            script: format!("apply_objects {sha256} {} {KUBECTL}\n", quote(&self.path())),
            payloads,
            unit: Some("kube-apiserver.service".to_owned()),
            ..Actions::default()
        }
    }

    fn shell(&self) -> String {
        format!("{KUBECTL} apply -f {}", quote(&self.path()))
    }

    fn title(&self) -> String {
        format!("kubectl apply {}", self.file())
    }

    fn records(&self) -> &'static [Kind] {
        record::FILES
    }

    // Manifests in two directories of templates can have the same name and would overwrite each
    // other.
    fn subject(&self) -> Option<(String, String)> {
        Some((self.path(), format!("manifest {}", self.manifest.sha256())))
    }

    fn is_judged_at_run_time(&self) -> bool {
        true
    }

    fn settle(&self, facts: &mut Facts) {
        let fact = PathFact {
            kind: "regular file".to_owned(),
            mode: "644".to_owned(),
            owner: "root:root".to_owned(),
            size: 0,
            sha256: Some(self.manifest.sha256().to_owned()),
        };
        facts.paths.insert(self.path(), fact);
        facts.other_texts.remove(&self.path());
        facts.checks.insert(self.check(), true);
    }
}
