//! `certs rotate-ca`: replaces the CAs, stage by stage. The lab directory defines the stage; `up`
//! brings each stage to the nodes, and the playbook `rotate-ca` waits until it is complete.

use time::OffsetDateTime;

use crate::cluster::{Cluster, Node};
use crate::commands::bring_up::{bring_up, fit_for_local_nodes, run_playbook};
use crate::commands::exit::{Exit, Stop};
use crate::commands::next;
use crate::commands::options::Options;
use crate::commands::ownership::must_be_ours;
use crate::commands::session::{
    Outcome, Working, exit_of, lab_of, must_have_a_ca, open_to_use, under_lock,
};
use crate::pki::rotate;
use crate::pki::rotation::Stage;
use crate::playbook::Playbook;
use crate::report::Reporter;

/// The playbooks of a rotation.
struct RotationPlaybooks {
    up: Playbook,
    /// Stops everything that uses an expired CA, because there is no graceful way.
    stop: Playbook,
    /// Waits until pods have the new stage too.
    after: Playbook,
}

/// Resumes the rotation from the stage that the lab directory is at, to its end.
pub async fn rotate_ca(options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    options.refuse_limit(
        "`certs rotate-ca` cannot be combined with --limit: all nodes need the same CAs",
        "leave out --limit",
    )?;
    must_have_a_ca(&cluster, options)?;
    let playbooks = RotationPlaybooks {
        up: options.playbook("up", &cluster)?,
        stop: options.playbook("rotate-ca-stop", &cluster)?,
        after: options.playbook("rotate-ca", &cluster)?,
    };
    fit_for_local_nodes(&cluster)?;
    let report = under_lock("certs rotate-ca", &cluster, options, reporter, |working| {
        rotate(&cluster, options, &playbooks, working)
    })
    .await?;
    if !report.ok() {
        reporter.close(&report, &[next::command("certs rotate-ca", options)]);
        return Ok(exit_of(&report));
    }
    reporter
        .close(&report, &[next::command("certs list", options), next::command("smoke", options)]);
    reporter.note(
        "\nNo longer trusted: kubeconfigs that were handed out before (issue them again with \
        `labctl kubeconfig`), and \
         tokens in Secrets.\nYour own pods that use the API only know the old CA; restart them \
        when it suits.",
    );
    Ok(exit_of(&report))
}

async fn rotate(
    cluster: &Cluster,
    options: &Options,
    playbooks: &RotationPlaybooks,
    working: Working,
) -> Result<Outcome, Stop> {
    let lab = lab_of(cluster);
    let stage = || rotate::stage(&lab).map_err(Stop::failed);
    let ended = !rotate::expired(&lab, OffsetDateTime::now_utc()).map_err(Stop::failed)?.is_empty();
    let mut sum = Outcome { ok: true, ..Outcome::default() };
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    must_be_ours(cluster, &nodes, &working.run).await?;
    if matches!(stage()?, Stage::Settled | Stage::Trust) {
        working.step("new CAs", "created, to be trusted beside the old ones", || {
            rotate::begin(cluster, &lab, OffsetDateTime::now_utc()).map_err(Stop::failed)
        })?;
        if ended {
            // An expired CA is not accepted any more, so a graceful rotation is impossible.
            working.step("new CAs", "replace the old ones, which have expired", || {
                rotate::advance(&lab).map_err(Stop::failed)
            })?;
        }
    }
    loop {
        let now = stage()?;
        if now == Stage::Replace && ended {
            let outcome = run_playbook(cluster, &playbooks.stop, options, &working).await?;
            if !sum.and_part(outcome) {
                return Ok(sum);
            }
        }
        let outcome = bring_up(cluster, &playbooks.up, options, working.clone()).await?;
        if !sum.and_part(outcome) || working.run.is_cancelled() {
            return Ok(sum);
        }
        let outcome = run_playbook(cluster, &playbooks.after, options, &working).await?;
        if !sum.and_part(outcome) || working.run.is_cancelled() {
            return Ok(sum);
        }
        let detail = match now {
            Stage::Trust => "sign from now on, beside the old ones",
            Stage::Replace => "are the only ones from now on",
            Stage::Drop | Stage::Settled => "are everywhere",
        };
        working.step("new CAs", detail, || rotate::advance(&lab).map_err(Stop::failed))?;
        if matches!(now, Stage::Drop | Stage::Settled) {
            return Ok(sum);
        }
    }
}
