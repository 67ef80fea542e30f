//! `smoke`: runs the smoke test.

use super::exit::{Exit, Stop};
use super::inputs::{Inputs, bundle};
use super::options::Options;
use super::ownership::connected_must_be_ours;
use super::session::{Outcome, exit_of, lab_of, open_to_use, under_lock};
use crate::cluster::Role;
use crate::engine::connect::connect;
use crate::report::Reporter;
use crate::smoke;

/// Runs the smoke test on the lab.
pub async fn smoke(options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let cluster = &cluster;
    let report = under_lock("smoke", cluster, options, reporter, |working| async move {
        let bundle = bundle(cluster, &working.events).await?;
        let inputs =
            Inputs::new(cluster, options)?.with_certificates_of(&lab_of(cluster), bundle)?;
        let controllers: Vec<_> = cluster.with_role(Role::Controller).collect();
        let first = controllers.first().ok_or_else(|| Stop::bad("the lab has no controller"))?;
        let manifest = inputs.render("smoke/smoke.yaml", first)?;
        let connections = connect(cluster, &controllers, &working.run).await;
        connected_must_be_ours(cluster, &connections, &working.run).await?;
        let ok = smoke::run::run(cluster, &manifest, &connections, &working.run).await;
        Ok(Outcome { ok, connections, ..Outcome::default() })
    })
    .await?;
    reporter.close(&report, &[]);
    Ok(exit_of(&report))
}
