//! The playbooks that are compiled in. `--playbooks DIR` uses changed ones of the same name instead.

use std::path::Path;

use super::Playbook;
use super::load::{PlaybookError, parse, read};

/// Name and text of every standard playbook.
pub const STANDARD: &[(&str, &str)] =
    &[("up", include_str!("../../playbooks/up.yaml")), ("down", include_str!("../../playbooks/down.yaml"))];

/// The playbook called `name`: from `folder` when it has `NAME.yaml`, else the standard one.
///
/// # Errors
/// When there is no such playbook, or it cannot be used.
pub fn find(name: &str, folder: Option<&Path>) -> Result<Playbook, PlaybookError> {
    if let Some(changed) = folder.map(|folder| folder.join(format!("{name}.yaml")))
        && changed.exists()
    {
        return read(&changed);
    }
    let text = STANDARD.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).ok_or_else(|| {
        let known: Vec<&str> = STANDARD.iter().map(|(known, _)| *known).collect();
        PlaybookError { file: name.to_owned(), what: format!("no such playbook; there are {}", known.join(", ")) }
    })?;
    parse(&format!("playbooks/{name}.yaml"), text)
}
