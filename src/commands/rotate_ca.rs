//! `certs rotate-ca`: replaces the CAs, stage by stage. What a stage is lies in the lab directory;
//! here each is brought to the nodes by `up`, awaited by the playbook `rotate-ca`, and left for the
//! next.

use std::time::Instant;

use time::OffsetDateTime;

use super::certs::must_have_a_ca;
use super::converge::{bring_up, converge_kept, fit_for_local_nodes, must_be_ours};
use super::session::{Outcome, Working, exit_of, lab_of, open, under_lock};
use super::workshop::{bundle, desired};
use super::{Exit, Stop, next};
use crate::cli::{Global, RotateCa};
use crate::cluster::{Cluster, Node};
use crate::event::Event;
use crate::pki::rotate;
use crate::pki::rotation::Stage;
use crate::playbook::{Playbook, standard};
use crate::report::Reporter;

/// The playbooks of a rotation.
struct Playbooks {
    up: Playbook,
    /// Stops what cannot hand over, because its CA has ended.
    stop: Playbook,
    /// Waits until pods have a stage too.
    after: Playbook,
}

/// Goes on with the rotation from the stage that the lab directory says, to its end.
pub async fn rotate_ca(
    args: &RotateCa,
    global: &Global,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let inventory = args.lab.inventory.display();
    if !global.limit.is_empty() {
        return Err(Stop::bad(
            "--limit does not go with `certs rotate-ca`: a CA is for all nodes or for none",
        )
        .help("leave out --limit"));
    }
    must_have_a_ca(&cluster, &args.lab)?;
    let find = |name| standard::find(name, args.sources.playbooks.as_deref()).map_err(Stop::bad);
    let playbooks =
        Playbooks { up: find("up")?, stop: find("rotate-ca-stop")?, after: find("rotate-ca")? };
    fit_for_local_nodes(&cluster)?;
    let report = under_lock("certs rotate-ca", &cluster, global, reporter, |working| {
        rotate(&cluster, args, global, &playbooks, working)
    })
    .await?;
    if !report.ok() {
        reporter.close(
            &report,
            &[next::again("certs rotate-ca", &args.lab.inventory, &args.sources, global)],
        );
        return Ok(exit_of(&report));
    }
    reporter.close(
        &report,
        &[format!("labctl certs list {inventory}"), format!("labctl smoke {inventory}")],
    );
    reporter.note(
        "\nTrusted no more: kubeconfigs that were handed out before (issue them again with \
        `labctl kubeconfig`), and \
         tokens in Secrets.\nPods of yours that use the API know the old CA only; restart them \
        when it suits.",
    );
    Ok(exit_of(&report))
}

async fn rotate(
    cluster: &Cluster,
    args: &RotateCa,
    global: &Global,
    playbooks: &Playbooks,
    working: Working,
) -> Result<Outcome, Stop> {
    let lab = lab_of(cluster);
    let stage = || rotate::stage(cluster, &lab).map_err(Stop::failed);
    let ended = !rotate::expired(cluster, &lab, OffsetDateTime::now_utc())
        .map_err(Stop::failed)?
        .is_empty();
    let mut sum = Outcome { ok: true, ..Outcome::default() };
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    must_be_ours(cluster, &nodes, &working.run).await?;
    if matches!(stage()?, Stage::Settled | Stage::Trust) {
        step(&working, "new CAs", "made, to be trusted beside the old ones", || {
            rotate::begin(cluster, &lab, OffsetDateTime::now_utc()).map_err(Stop::failed)
        })?;
        if ended {
            // Nobody accepts what the old CA has signed, so there is nothing to hand over
            // gracefully.
            step(&working, "new CAs", "put in the old ones' place: those have ended", || {
                rotate::advance(cluster, &lab).map_err(Stop::failed)
            })?;
        }
    }
    loop {
        let now = stage()?;
        if now == Stage::Replace && ended {
            let outcome = play(cluster, &playbooks.stop, args, global, &working).await?;
            if !add(&mut sum, outcome) {
                return Ok(sum);
            }
        }
        let outcome =
            bring_up(cluster, &playbooks.up, &args.sources, global, working.clone()).await?;
        if !add(&mut sum, outcome) || working.run.is_cancelled() {
            return Ok(sum);
        }
        let outcome = play(cluster, &playbooks.after, args, global, &working).await?;
        if !add(&mut sum, outcome) || working.run.is_cancelled() {
            return Ok(sum);
        }
        let detail = match now {
            Stage::Trust => "sign from now on, beside the old ones",
            Stage::Replace => "are the only ones from now on",
            Stage::Drop | Stage::Settled => "are everywhere",
        };
        step(&working, "new CAs", detail, || rotate::advance(cluster, &lab).map_err(Stop::failed))?;
        if matches!(now, Stage::Drop | Stage::Settled) {
            return Ok(sum);
        }
    }
}

/// One change of the lab directory, told as a step.
fn step(
    working: &Working,
    step: &str,
    detail: &str,
    work: impl FnOnce() -> Result<(), Stop>,
) -> Result<(), Stop> {
    let (step, started) = (step.to_owned(), Instant::now());
    working.events.emit(Event::StepStarted { step: step.clone() });
    work()?;
    working.events.emit(Event::StepEnded {
        step,
        detail: detail.to_owned(),
        changed: true,
        took: started.elapsed(),
    });
    Ok(())
}

/// One of the playbooks beside `up`, on all nodes.
async fn play(
    cluster: &Cluster,
    playbook: &Playbook,
    args: &RotateCa,
    global: &Global,
    working: &Working,
) -> Result<Outcome, Stop> {
    let bundle = bundle(cluster, &working.events).await?;
    let desired = desired(cluster, playbook, bundle, &args.sources, &[])?;
    converge_kept(cluster, desired, global, &working.run).await
}

/// Adds what one part of the rotation came to; whether it went well.
fn add(sum: &mut Outcome, part: Outcome) -> bool {
    sum.ok &= part.ok;
    for (node, changed) in part.applied.changed {
        *sum.applied.changed.entry(node).or_default() += changed;
    }
    sum.applied.failed.extend(part.applied.failed);
    sum.applied.ok = sum.ok;
    sum.unchanged = part.unchanged;
    sum.connections = part.connections;
    part.ok
}
