//! The files that a plan would put on a node, in readable form. Secret files are listed but never
//! shown.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{DesiredPlay, DesiredTask, Tasks};
use crate::module::Desired;
use crate::module::file::Content;

/// A file that is created on the workstation and put on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFile<'a> {
    /// Its path on the node.
    pub path: Cow<'a, str>,
    /// The name of the content in the playbook.
    pub origin: Cow<'a, str>,
    /// The content; `None` if it is secret.
    pub bytes: Option<&'a [u8]>,
}

impl PlacedFile<'_> {
    /// Whether `name` refers to this file: its path, its file name or its template's name.
    pub fn is_called(&self, name: &str) -> bool {
        let template =
            self.origin.strip_prefix("templates/").and_then(|origin| origin.strip_suffix(".tera"));
        let file = self.path.rsplit('/').next();
        self.path == name
            || file == Some(name)
            || template == Some(name.strip_suffix(".tera").unwrap_or(name))
    }
}

/// Returns every such file on one node, in the order in which they are placed, without programs and
/// images of the bundle.
pub fn files_of<'a>(plays: &'a [DesiredPlay], node: &'a str) -> Vec<PlacedFile<'a>> {
    let mut seen = BTreeSet::new();
    let tasks = Tasks::of(plays);
    let placed = tasks.on(node).iter().copied().filter_map(placed);
    placed.filter(|file| seen.insert(file.path.clone())).collect()
}

fn placed(task: &DesiredTask) -> Option<PlacedFile<'_>> {
    let (path, origin, content, secret) = match &*task.desired {
        Desired::File(file) => {
            (Cow::from(&file.path), Cow::from(&file.origin), &file.content, file.sensitive)
        }
        Desired::KubectlApply(apply) => (
            apply.path().into(),
            format!("templates/{}.tera", apply.name).into(),
            &apply.manifest,
            apply.sensitive,
        ),
        _ => return None,
    };
    let Content::Inline { bytes, .. } = content else { return None };
    Some(PlacedFile { path, origin, bytes: (!secret).then_some(&**bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_path_name_and_template() {
        let path = "/etc/containerd/config.toml";
        let file = PlacedFile {
            path: path.into(),
            origin: "templates/containerd/config.toml.tera".into(),
            bytes: None,
        };
        for name in [path, "config.toml", "containerd/config.toml", "containerd/config.toml.tera"] {
            assert!(file.is_called(name), "{name}");
        }
        for name in ["", "containerd", "/config.toml", "templates/containerd/config.toml"] {
            assert!(!file.is_called(name), "{name}");
        }
    }
}
