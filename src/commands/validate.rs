//! `validate`: checks the inventory without opening a connection.

use super::session::{open, print};
use super::{Exit, Stop};
use crate::cli::Lab;
use crate::cluster::Role;
use crate::report::Reporter;

/// Says all that is wrong with the inventory, or what lab it describes.
pub fn validate(lab: &Lab, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&lab.inventory, reporter)?;
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let with = |role: Role| count(cluster.with_role(role).count(), &role.to_string());
    let text = format!(
        "{}: lab {}, Kubernetes {}: {} ({}, {}), API at {}\n",
        lab.inventory.display(),
        cluster.name,
        cluster.kubernetes,
        count(cluster.nodes.len(), "node"),
        with(Role::Controller),
        with(Role::Worker),
        cluster.api_url()
    );
    print(reporter, &text)
}
