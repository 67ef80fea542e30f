//! Where a task is worked out: one node of a lab, and everything that a playbook can name there.
//!
//! A module knows neither labs nor templates. It asks its site, and the plan answers.

use std::any::Any;
use std::cell::OnceCell;

use serde::Deserialize;

use super::content::{Blob, Content};
use crate::machine::Family;

/// A text of a playbook that would show a secret: refused wherever it may end in a command line, a
/// title or a log.
pub const SHOWS_A_SECRET: &str = "this would reveal a secret of the lab; only a file may \
    contain it: use `template`, or `content`";

/// The nodes for which a task is repeated; `peer` is each of them in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Each {
    /// Every node.
    Nodes,
    /// Every controller.
    Controllers,
    /// Every worker.
    Workers,
    /// Every node except the one that the task runs on.
    Peers,
    /// Every worker except the one that the task runs on.
    PeerWorkers,
}

/// What the nodes of a play share of one task, from the first node that needs it on.
#[derive(Default)]
pub struct Shared {
    /// A set, as [`Set`](super::set::Set) makes it.
    pub(super) set: OnceCell<Box<dyn Any>>,
    /// Returns a file that is the same on every node, and whether it is a secret.
    pub file: OnceCell<(Content, bool)>,
}

/// One node, and what the strings of a task mean there. Every error says what is wrong, without
/// the task's name.
pub trait Site {
    /// A text with its variables filled in. It may be shown, so one that holds a secret is refused.
    ///
    /// # Errors
    /// A mistake in the text, or [`SHOWS_A_SECRET`].
    fn text(&self, text: &str) -> Result<String, String>;

    /// The content of a file with its variables filled in, and whether it holds a secret.
    ///
    /// # Errors
    /// A mistake in the text.
    fn content(&self, text: &str) -> Result<(Content, bool), String>;

    /// What a template renders to, and whether it holds a secret. `shared`: it knows no `node`, and
    /// is rendered once for all nodes.
    ///
    /// # Errors
    /// When there is no such template, or it has a mistake.
    fn template(&self, name: &str, shared: bool) -> Result<(Content, bool), String>;

    /// The content that `pki/NAME`, `kubeconfig/NAME` or `backup/NAME` stands for, and whether it
    /// is a secret.
    ///
    /// # Errors
    /// When the lab has nothing of that name.
    fn artefact(&self, name: &str) -> Result<(Content, bool), String>;

    /// A file of the bundle, and the reference of the image that it is, if it is one.
    ///
    /// # Errors
    /// When the bundle has no such file.
    fn blob(&self, name: &str) -> Result<(Blob, Option<String>), String>;

    /// The add-ons of the lab's own, in order: their names and manifests.
    fn addons(&self) -> Vec<(String, Content)>;

    /// Whether this is the controller that does what is done once for the lab.
    fn is_first(&self) -> bool;

    /// The family of the node's system.
    fn family(&self) -> &'static Family;

    /// What the nodes share of this task.
    fn shared(&self) -> &Shared;

    /// The place among the elements of a set for `each` of the one that this node does without.
    fn own_element(&self, each: Option<Each>) -> Option<usize>;

    /// The sites that the elements of a set are worked out at, one per element: each knows `peer`
    /// and not `node`, because the set is the same on all nodes.
    fn elements<'a>(
        &'a self,
        each: Option<Each>,
    ) -> Box<dyn Iterator<Item = Box<dyn Site + 'a>> + 'a>;

    /// An absolute path.
    ///
    /// # Errors
    /// When it is none, or cannot be asked about.
    fn path(&self, text: &str) -> Result<String, String> {
        let path = self.text(text)?;
        if !path.starts_with('/') {
            return Err(format!("`{path}` is not an absolute path"));
        }
        // The probe's answers are lines of fields that are separated by tabs and `|`.
        if path.contains(|c: char| c.is_control() || c == '|') {
            return Err(format!("path {path:?} contains a character that labctl does not support"));
        }
        Ok(path)
    }

    /// The path of a file, as distinct from a directory.
    ///
    /// # Errors
    /// As [`Site::path`].
    fn file_path(&self, text: &str) -> Result<String, String> {
        let path = self.path(text)?;
        if path.ends_with('/') {
            return Err(format!("`{path}` is a directory; expected a file"));
        }
        Ok(path)
    }

    /// Several absolute paths.
    ///
    /// # Errors
    /// As [`Site::path`].
    fn paths(&self, texts: &[String]) -> Result<Vec<String>, String> {
        texts.iter().map(|text| self.path(text)).collect()
    }
}
