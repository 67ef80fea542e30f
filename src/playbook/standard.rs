//! The playbooks that are compiled in. `--playbooks DIR` uses changed ones of the same name instead.

use std::path::Path;

use super::Playbook;
use super::load::{PlaybookError, parse, read};

/// Name and text of every standard playbook.
pub const STANDARD: &[(&str, &str)] = &[
    ("up", include_str!("../../playbooks/up.yaml")),
    ("down", include_str!("../../playbooks/down.yaml")),
    ("restore", include_str!("../../playbooks/restore.yaml")),
    ("restored", include_str!("../../playbooks/restored.yaml")),
    ("remove-node", include_str!("../../playbooks/remove-node.yaml")),
    ("rotate-ca", include_str!("../../playbooks/rotate-ca.yaml")),
    ("rotate-ca-stop", include_str!("../../playbooks/rotate-ca-stop.yaml")),
];

/// The playbook called `name`: from `folder` when it has `NAME.yaml`, else the standard one.
///
/// # Errors
/// When there is no such playbook or no such folder, or the playbook cannot be used.
pub fn find(name: &str, folder: Option<&Path>) -> Result<Playbook, PlaybookError> {
    // A mistyped folder must not mean the standard playbooks.
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let what = "no such folder of playbooks; `labctl playbook export` makes one".to_owned();
        return Err(PlaybookError { file: folder.display().to_string(), what });
    }
    if let Some(changed) = folder.map(|folder| folder.join(format!("{name}.yaml")))
        && changed.exists()
    {
        return read(&changed);
    }
    parse(&format!("playbooks/{name}.yaml"), text(name)?)
}

/// The text of the standard playbook called `name`.
///
/// # Errors
/// When there is none.
pub fn text(name: &str) -> Result<&'static str, PlaybookError> {
    STANDARD.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        let known: Vec<&str> = STANDARD.iter().map(|(known, _)| *known).collect();
        let known = known.join(", ");
        PlaybookError { file: name.to_owned(), what: format!("no such standard playbook; there are {known}") }
    })
}

/// The playbook that a person names: a standard one, one of `folder`, or any file.
///
/// # Errors
/// When there is no such playbook, or it cannot be used.
pub fn named(name: &str, folder: Option<&Path>) -> Result<Playbook, PlaybookError> {
    let file = Path::new(name);
    if file.extension().is_some() || file.components().count() > 1 { read(file) } else { find(name, folder) }
}
