//! `smoke`: tries what a person would try on a fresh cluster.

use super::converge::connected_must_be_ours;
use super::session::{Outcome, exit_of, open, under_lock};
use super::workshop::{bundle, workshop_in_memory};
use super::{Exit, Stop};
use crate::cli::{Global, Lab, Sources};
use crate::cluster::Role;
use crate::engine::connect::connect;
use crate::report::Reporter;
use crate::smoke;

/// Runs the smoke test on the lab.
pub async fn smoke(lab: &Lab, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&lab.inventory, reporter)?;
    let cluster = &cluster;
    let report = under_lock("smoke", cluster, global, reporter, |working| async move {
        let sources = Sources { playbooks: None, templates: None };
        let workshop =
            workshop_in_memory(cluster, bundle(cluster, &working.events).await?, &sources)?;
        let controllers: Vec<_> = cluster.with_role(Role::Controller).collect();
        let first = controllers.first().ok_or_else(|| Stop::bad("the lab has no controller"))?;
        let manifest = workshop.render("smoke/smoke.yaml", cluster, first)?;
        let connections = connect(cluster, &controllers, &working.run).await;
        connected_must_be_ours(cluster, &connections, &working.run).await?;
        let ok = smoke::run::run(cluster, &manifest, &connections, &working.run).await;
        Ok(Outcome { ok, connections, ..Outcome::default() })
    })
    .await?;
    reporter.close(&report, &[]);
    Ok(exit_of(&report))
}
