//! `validate`: checks the inventory without opening a connection.

use std::path::Path;

use serde_json::json;

use super::exit::{Exit, Stop};
use super::session::{open, print};
use crate::cluster::Role;
use crate::report::Reporter;

/// Reports everything that is wrong with the inventory, or which lab it describes.
pub fn validate(inventory: &Path, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(inventory, reporter)?;
    let count = |number: usize, noun: &str| {
        format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
    };
    let with = |role: Role| count(cluster.with_role(role).count(), &role.to_string());
    let text = format!(
        "{}: lab {}, Kubernetes {}: {} ({}, {}), API at {}\n",
        inventory.display(),
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
