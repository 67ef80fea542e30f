//! `etcd rotate-key`: replaces the key that Secrets are encrypted with, stage by stage. The lab
//! directory defines the stage; `up` brings each stage to the API servers, and the playbook
//! `rotate-key` has every Secret encrypted again.

use crate::cluster::{Cluster, Node};
use crate::commands::bring_up::{bring_up, fit_for_local_nodes, run_playbook};
use crate::commands::exit::{Exit, Stop};
use crate::commands::next;
use crate::commands::options::Options;
use crate::commands::ownership::must_be_ours;
use crate::commands::session::{
    Outcome, Working, exit_of, lab_of, must_have_a_ca, open_to_use, under_lock,
};
use crate::pki::encryption::{self, KeyStage};
use crate::playbook::Playbook;
use crate::report::Reporter;

/// Resumes the replacement from the stage that the lab directory is at, to its end.
pub async fn rotate_key(options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    options.refuse_limit(
        "`etcd rotate-key` cannot be combined with --limit: all API servers need the same keys",
        "leave out --limit",
    )?;
    must_have_a_ca(&cluster, options)?;
    let up = options.playbook("up", &cluster)?;
    let after = options.playbook("rotate-key", &cluster)?;
    fit_for_local_nodes(&cluster)?;
    let report = under_lock("etcd rotate-key", &cluster, options, reporter, |working| {
        rotate(&cluster, options, &up, &after, working)
    })
    .await?;
    let then = if report.ok() { "smoke" } else { "etcd rotate-key" };
    reporter.close(&report, &[next::command(then, options)]);
    Ok(exit_of(&report))
}

async fn rotate(
    cluster: &Cluster,
    options: &Options,
    up: &Playbook,
    after: &Playbook,
    working: Working,
) -> Result<Outcome, Stop> {
    let lab = lab_of(cluster);
    let stage = || encryption::stage(&lab).map_err(Stop::failed);
    let advance = || encryption::advance(&lab).map_err(Stop::failed);
    let mut sum = Outcome { ok: true, ..Outcome::default() };
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    must_be_ours(cluster, &nodes, &working.run).await?;
    if stage()? == KeyStage::Single {
        working.step("new key", "created, to decrypt beside the old one", advance)?;
    }
    loop {
        let now = stage()?;
        let outcome = bring_up(cluster, up, options, working.clone()).await?;
        if !sum.and_part(outcome) || working.run.is_cancelled() || now == KeyStage::Single {
            return Ok(sum);
        }
        if now == KeyStage::Writing {
            let outcome = run_playbook(cluster, after, options, &working).await?;
            if !sum.and_part(outcome) || working.run.is_cancelled() {
                return Ok(sum);
            }
        }
        let detail = match now {
            KeyStage::Readable => "encrypts from now on, beside the old one",
            KeyStage::Writing | KeyStage::Single => "is the only one from now on",
        };
        working.step("new key", detail, advance)?;
    }
}
