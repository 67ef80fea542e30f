//! `play`: runs any playbook on the lab.

use super::converge::converge_saving;
use super::exit::{Exit, Stop};
use super::inputs::bundle;
use super::named::limited;
use super::next;
use super::options::{Options, with_addons};
use super::plan::{ShownPlan, show};
use super::prepared::desired;
use super::session::{exit_of, open_to_use, under_lock};
use crate::module::quote;
use crate::playbook::load::{is_playbook, read};
use crate::playbook::standard;
use crate::report::Reporter;

/// Runs any playbook: a file, or the name of a standard one; or shows only what it would change.
pub async fn play(
    name: &str,
    only_plan: bool,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    refuse_swapped(name, options)?;
    let cluster = open_to_use(&options.inventory, reporter)?;
    let playbook = standard::named(name, options.playbooks_of(&cluster)).map_err(Stop::bad)?;
    let playbook = with_addons(playbook, &cluster)?;
    if only_plan {
        let shown = ShownPlan { playbook, then: next::playing(name, options), is_up: false };
        return show(&cluster, &shown, options, reporter).await;
    }
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

/// Refuses a playbook where the inventory belongs.
fn refuse_swapped(playbook: &str, options: &Options) -> Result<(), Stop> {
    let inventory = &options.inventory;
    if !inventory.is_file() || !read(inventory).is_ok_and(|file| is_playbook(&file)) {
        return Ok(());
    }
    let (inventory, playbook) = (inventory.display().to_string(), quote(playbook));
    Err(Stop::bad(format!("{inventory} is a playbook, not an inventory"))
        .help(format!("the playbook comes first: `labctl play {} {playbook}`", quote(&inventory))))
}
