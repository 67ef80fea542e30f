//! `up`: brings the lab to what its inventory says.

use std::path::Path;

use super::bring_up::{bring_up, fit_for_local_nodes, way_up};
use super::exit::{Exit, Stop};
use super::node::remove::finish_removals;
use super::options::Options;
use super::session::{Outcome, Working, exit_of, lab_of, open, under_lock};
use super::upgrade::{Upgrade, upgrade};
use super::{next, roster};
use crate::cluster::Cluster;
use crate::event::{Event, Events};
use crate::pki::{rotate, rotation::Stage};
use crate::playbook::Playbook;
use crate::report::Reporter;

/// Brings the lab to the state that the inventory declares.
pub async fn up(options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&options.inventory, reporter)?;
    let playbook = way_up(&cluster, options)?;
    roster::refuse_drift(&cluster, &options.inventory, reporter)?;
    fit_for_local_nodes(&cluster)?;
    if roster::read(&lab_of(&cluster)).other_version(&cluster).is_some() {
        if options.until.is_some() {
            let what = "an upgrade cannot be combined with --until: it is whole, or not begun";
            return Err(Stop::bad(what).help("leave out --until"));
        }
        return upgrade(&Upgrade::default(), options, reporter).await;
    }
    let report = under_lock("up", &cluster, options, reporter, |working| {
        tell_of_rotation(&cluster, options, &working.events);
        bring_up_and_finish(&cluster, &playbook, options, working)
    })
    .await?;
    let then = if report.ok() && options.until.is_some() {
        vec![next::command("up", &Options { until: None, ..options.clone() })]
    } else if report.ok() {
        let admin = relative(&lab_of(&cluster).admin_conf());
        vec![
            format!("export KUBECONFIG={admin}; kubectl get nodes"),
            next::command("smoke", options),
        ]
    } else {
        vec![next::command("up", options)]
    };
    reporter.close(&report, &then);
    Ok(exit_of(&report))
}

/// Like [`bring_up`], then finishes removals that earlier runs started. Those come last, because
/// they need a working lab.
async fn bring_up_and_finish(
    cluster: &Cluster,
    playbook: &Playbook,
    options: &Options,
    working: Working,
) -> Result<Outcome, Stop> {
    let finishes = roster::report_removals(cluster, options, &working.events);
    let mut outcome = bring_up(cluster, playbook, options, working.clone()).await?;
    if outcome.ok && finishes && !working.run.is_cancelled() {
        let finished = finish_removals(cluster, options, &working).await?;
        finished.into_iter().for_each(|finished| outcome.and(finished));
    }
    Ok(outcome)
}

/// Warns if a CA rotation is unfinished: nodes get what belongs to its stage, and no more.
fn tell_of_rotation(cluster: &Cluster, options: &Options, events: &Events) {
    let stage = match rotate::stage(&lab_of(cluster)) {
        Ok(Stage::Trust) => "the new ones are trusted, the old ones still sign",
        Ok(Stage::Replace) => "the new ones sign, the old ones are still trusted",
        Ok(Stage::Drop) => {
            "the old ones are gone from the lab directory, and perhaps not yet from every node"
        }
        // An unreadable file is reported when the certificates are read.
        Ok(Stage::Settled) | Err(_) => return,
    };
    let message = format!(
        "the lab's CAs are partly replaced: {stage}; `{}` continues",
        next::command("certs rotate-ca", options)
    );
    events.emit(Event::Warning { node: None, message });
}

/// Returns the shortest path to type from the current directory.
fn relative(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    here.as_deref()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
        .display()
        .to_string()
}
