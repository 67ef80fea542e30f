//! `play`: runs any playbook on the lab.

use super::converge::converge_saving;
use super::exit::{Exit, Stop};
use super::inputs::bundle;
use super::options::{Options, with_addons};
use super::prepared::desired;
use super::session::{exit_of, limited, open, under_lock};
use crate::playbook::standard;
use crate::report::Reporter;

/// Runs any playbook: a file, or the name of a standard one.
pub async fn play(playbook: &str, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&options.inventory, reporter)?;
    let playbook = standard::named(playbook, options.playbooks_of(&cluster)).map_err(Stop::bad)?;
    let playbook = with_addons(playbook, &cluster)?;
    let verb = format!("play {}", playbook.name);
    let report = under_lock(&verb, &cluster, options, reporter, |working| async {
        let (run, events) = (working.run, working.events);
        let bundle = bundle(&cluster, &events).await?;
        let desired = desired(None, &cluster, &playbook, bundle, options)?;
        let nodes = limited(&cluster, &options.limit)?;
        converge_saving(&cluster, &nodes, desired, &run, |_| Ok(())).await
    })
    .await?;
    reporter.close(&report, &[]);
    Ok(exit_of(&report))
}
