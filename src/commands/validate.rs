//! `validate`: checks the inventory without opening a connection. Flags of `components` are
//! checked where the bundle is there.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::components::unchecked;
use super::exit::{Exit, Stop};
use super::files;
use super::registries;
use super::session::{open, print};
use crate::bundle::outlook;
use crate::cluster::{Cluster, Role};
use crate::inventory::called;
use crate::lab::cache_directory;
use crate::report::Reporter;

/// Reports everything that is wrong with the inventory, or which lab it describes.
pub async fn validate(inventory: &Path, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(inventory, reporter)?;
    registries::read(&cluster)?;
    files::read(&cluster)?;
    warn_of_missing_files(&cluster, reporter);
    validate_flags(&cluster, inventory, reporter).await?;
    let count = |number: usize, noun: &str| {
        format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
    };
    let with = |role: Role| count(cluster.with_role(role).count(), &role.to_string());
    let text = format!(
        "{}: lab {}, Kubernetes {}: {} ({}, {}), API at {}\n",
        called(inventory),
        cluster.name,
        cluster.kubernetes,
        count(cluster.nodes.len(), "node"),
        with(Role::Controller),
        with(Role::Worker),
        cluster.api_url()
    );
    if reporter.is_json() {
        let lab = json!({
            "event": "valid",
            "inventory": inventory,
            "lab": cluster.name,
            "kubernetes": cluster.kubernetes.to_string(),
            "nodes": cluster.nodes.iter().map(|node| &node.name).collect::<Vec<_>>(),
            "api": cluster.api_url(),
        });
        return print(reporter, &format!("{lab}\n"));
    }
    print(reporter, &text)
}

/// Warns of files that a run would look for. labctl's own come with the lab, and the private half
/// of a key may be an agent's.
fn warn_of_missing_files(cluster: &Cluster, reporter: &Reporter) {
    let is_ours = |path: &PathBuf| path.starts_with(&cluster.lab_directory);
    let is_there =
        |path: &PathBuf| path.exists() || Path::new(&format!("{}.pub", path.display())).exists();
    for path in files::named(cluster).iter().filter(|path| !is_ours(path) && !is_there(path)) {
        let path = path.display();
        reporter.warning(&format!("there is no {path}, which the inventory names"));
    }
}

/// Checks the flags of `components`, if there are any. An inventory that is otherwise right may
/// come before its bundle.
async fn validate_flags(
    cluster: &Cluster,
    inventory: &Path,
    reporter: &Reporter,
) -> Result<(), Stop> {
    if cluster.components.0.values().all(|component| component.flags.is_empty()) {
        return Ok(());
    }
    let unasked = match outlook(cluster, &cache_directory()) {
        Ok((bundle, true)) => unchecked(cluster, &bundle, inventory).await?,
        Ok((_, false)) => vec!["flags are not checked: there is no bundle yet".to_owned()],
        Err(error) => vec![format!("flags are not checked: {error}")],
    };
    unasked.iter().for_each(|message| reporter.warning(message));
    Ok(())
}
