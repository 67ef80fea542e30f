//! Files of an inventory's `components`, where the flags of their programs name them.

use super::Expansion;
use crate::module::directory::Directory;
use crate::module::file::{Content, File};
use crate::module::{Desired, State as _};
use crate::plan::DesiredTask;

impl Expansion<'_, '_> {
    /// Returns the files of the program that the play is called by, in a directory of its own. Only
    /// root may read them, and none is shown: they may hold tokens.
    pub(super) fn files(&self) -> Vec<DesiredTask> {
        let program = &self.play.name;
        let Some(files) = self.lab.materials.artefacts.files.get(program) else {
            return Vec::new();
        };
        let folder = format!("/etc/kubernetes/{program}");
        let owner = || "root:root".to_owned();
        let directory = Directory { path: folder.clone(), mode: "755".to_owned(), owner: owner() };
        let file = |name: &String, content: &[u8]| File {
            path: format!("{folder}/{name}"),
            mode: "600".to_owned(),
            owner: owner(),
            content: Content::inline(content),
            sensitive: true,
            origin: format!("components.{program}.files"),
        };
        let files = files.iter().map(|(name, it)| Desired::File(file(name, it.expose())));
        let task = |desired: Desired| DesiredTask {
            title: desired.title(),
            why: None,
            desired: desired.into(),
        };
        std::iter::once(Desired::Directory(directory)).chain(files).map(task).collect()
    }
}
