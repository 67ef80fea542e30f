//! Images of the bundle that no component needs: add-ons of the lab's own name them, or a person
//! has a file of them.

use super::Expansion;
use crate::module::file::Blob;
use crate::module::image::Image;
use crate::module::{Desired, State as _};
use crate::plan::DesiredTask;

impl Expansion<'_, '_> {
    /// Returns an import of each image of the bundle that is asked for; all others come from their
    /// registries.
    pub(super) fn images(&self) -> Vec<DesiredTask> {
        let materials = self.lab.materials;
        let images = materials.bundle.files.iter().filter_map(|(name, file)| {
            let reference =
                file.image.clone().filter(|it| materials.artefacts.imports.contains(it))?;
            let (sha256, source) = (file.sha256.clone(), file.path.clone());
            let archive = Blob { sha256, size: file.size, source, name: name.clone() };
            Some(Desired::Image(Image { reference, archive }))
        });
        let task = |desired: Desired| DesiredTask {
            title: desired.title(),
            why: None,
            desired: desired.into(),
        };
        images.map(task).collect()
    }
}
