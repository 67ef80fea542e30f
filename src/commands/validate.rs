//! `validate`: checks the inventory without opening a connection.

use super::session::{open, print};
use super::{Exit, Stop};
use crate::cli::Lab;
use crate::cluster::Role;
use crate::report::Reporter;

/// Says all that is wrong with the inventory, or what lab it describes.
pub fn validate(lab: &Lab, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&lab.inventory, reporter)?;
    let count = |role| cluster.with_role(role).count();
    let text = format!(
        "{}: lab {}, Kubernetes {}: {} nodes ({} controllers, {} workers), API at {}\n",
        lab.inventory.display(),
        cluster.name,
        cluster.kubernetes,
        cluster.nodes.len(),
        count(Role::Controller),
        count(Role::Worker),
        cluster.api_url()
    );
    print(reporter, &text)
}
