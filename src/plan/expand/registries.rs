//! What containerd has to know of each registry of an inventory.

use super::Expansion;
use crate::module::directory::Directory;
use crate::module::file::{Content, File};
use crate::module::{Desired, State as _};
use crate::plan::{DesiredTask, ExpandError};
use crate::render::Context;

/// The template of a registry's file.
const HOSTS: &str = "containerd/hosts.toml";
/// Where containerd looks for them, at every pull.
const FOLDER: &str = "/etc/containerd/certs.d";

impl Expansion<'_, '_> {
    /// Returns a directory for each registry, with its mirrors and its CA.
    pub(super) fn registries(&self, own: &Context) -> Result<Vec<DesiredTask>, ExpandError> {
        let materials = self.lab.materials;
        let artefacts = materials.artefacts;
        let owner = || "root:root".to_owned();
        let directory =
            |path| Desired::Directory(Directory { path, mode: "755".to_owned(), owner: owner() });
        let file = |path, text: String, origin: &str| {
            Desired::File(File {
                path,
                mode: "644".to_owned(),
                owner: owner(),
                content: Content::inline(text.into_bytes()),
                sensitive: false,
                origin: origin.to_owned(),
            })
        };
        let mut all = Vec::new();
        for registry in &materials.cluster.registries {
            let folder = format!("{FOLDER}/{}", registry.host);
            let context = own.of_registry(registry, artefacts);
            let text = materials.renderer.render(HOSTS, &context);
            let text = text.map_err(|error| self.at(HOSTS)(error.to_string()))?;
            let origin = format!("templates/{HOSTS}.tera");
            all.push(directory(folder.clone()));
            // The CA first: the other file names it.
            let access = artefacts.registries.get(&registry.host);
            let ca = access.and_then(|access| access.ca.clone());
            all.extend(ca.map(|ca| file(format!("{folder}/ca.crt"), ca, "registries")));
            all.push(file(format!("{folder}/hosts.toml"), text, &origin));
        }
        let above = (!all.is_empty())
            .then(|| ["/etc/containerd", FOLDER].map(|path| directory(path.to_owned())));
        let task = |desired: Desired| DesiredTask {
            title: desired.title(),
            why: None,
            desired: desired.into(),
        };
        Ok(above.into_iter().flatten().chain(all).map(task).collect())
    }
}
