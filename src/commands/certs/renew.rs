//! `certs renew`: issues new certificates from the same CAs.

use std::collections::BTreeSet;
use std::time::Instant;

use time::{Duration, OffsetDateTime};

use crate::cluster::Cluster;
use crate::commands::bring_up::{bring_up_with, fit_for_local_nodes};
use crate::commands::exit::{Exit, Stop};
use crate::commands::named::{known, names};
use crate::commands::next;
use crate::commands::options::Options;
use crate::commands::session::{exit_of, lab_of, must_have_a_ca, open_to_use, under_lock};
use crate::event::Event;
use crate::pki::{CertSpec, specs, store};
use crate::report::Reporter;

/// Which certificates to renew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// The nodes whose own certificates are meant; none for all certificates.
    pub nodes: Vec<String>,
    /// The certificates that are meant; none for all of them.
    pub only: Vec<String>,
    /// A shorter life than the inventory's.
    pub life: Option<std::time::Duration>,
}

/// Issues new certificates and brings up the lab with them.
pub async fn renew(
    renewal: &Renewal,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    options.refuse_limit(
        "`certs renew` cannot be combined with --limit: what nodes share has to reach all of them",
        "to renew a node's own certificates, use `labctl certs renew worker-0`",
    )?;
    let wanted = wanted(&cluster, &renewal.nodes, &renewal.only)?;
    let life = renewal.life.map(|life| shorter(&cluster, life)).transpose()?;
    must_have_a_ca(&cluster, options)?;
    let playbook = options.playbook("up", &cluster)?;
    fit_for_local_nodes(&cluster)?;
    let report = under_lock("certs renew", &cluster, options, reporter, |working| async {
        let (step, started) = ("renewal".to_owned(), Instant::now());
        working.events.emit(Event::StepStarted { step: step.clone() });
        let lab = lab_of(&cluster);
        let picked = |spec: &CertSpec| wanted.contains(&spec.name);
        let renewed = store::renew(&cluster, &lab, OffsetDateTime::now_utc(), picked, life)
            .map_err(Stop::failed)?;
        let detail = format!("{} to issue", renewed.issued.len());
        working.events.emit(Event::StepEnded {
            step,
            detail,
            changed: true,
            took: started.elapsed(),
        });
        bring_up_with(Some(renewed), &cluster, &playbook, options, working).await
    })
    .await?;
    // The new certificates are in the lab directory, so `up` can do the rest.
    let then = match report.ok() {
        true => next::command("certs list", options),
        false => next::command("up", options),
    };
    reporter.close(&report, &[then]);
    Ok(exit_of(&report))
}

/// Returns the names of the certificates to renew.
fn wanted(cluster: &Cluster, words: &[String], only: &[String]) -> Result<BTreeSet<String>, Stop> {
    let nodes = names(cluster, words)?;
    let leaves: Vec<CertSpec> = specs(cluster).into_iter().filter(|spec| !spec.is_ca()).collect();
    let mut kinds: Vec<&str> = Vec::new();
    for spec in &leaves {
        if !kinds.contains(&spec.kind()) {
            kinds.push(spec.kind());
        }
    }
    for name in only {
        if specs(cluster).iter().any(|spec| spec.is_ca() && spec.name == *name) {
            return Err(Stop::bad(format!("`{name}` is a CA; CAs are not renewed but replaced"))
                .help("`labctl certs rotate-ca` replaces all three of them"));
        }
        known(name, "certificate", "in this lab", kinds.iter().copied())?;
    }
    let own = |spec: &CertSpec| {
        nodes.is_empty() || spec.node().is_some_and(|node| nodes.iter().any(|it| it == node))
    };
    let asked = |spec: &CertSpec| only.is_empty() || only.iter().any(|it| it == spec.kind());
    for word in words {
        let meant = names(cluster, std::slice::from_ref(word))?;
        let is_theirs =
            |spec: &CertSpec| spec.node().is_some_and(|node| meant.contains(&node.to_owned()));
        if !leaves.iter().any(|spec| is_theirs(spec) && asked(spec)) {
            let what = if only.is_empty() {
                String::new()
            } else {
                format!(" called {}", only.join(" or "))
            };
            return Err(Stop::bad(format!("{word} has no certificate of its own{what}"))
                .help("shared certificates are renewed for all nodes: leave the nodes out"));
        }
    }
    Ok(leaves
        .iter()
        .filter(|spec| own(spec) && asked(spec))
        .map(|spec| spec.name.clone())
        .collect())
}

/// Checks a validity that must be shorter than the policy's; a longer one needs a change of the
/// policy.
fn shorter(cluster: &Cluster, life: std::time::Duration) -> Result<Duration, Stop> {
    let life = Duration::try_from(life).map_err(Stop::bad)?;
    let most = cluster.pki.leaf_days;
    if life.is_zero() || life > Duration::days(most.into()) {
        return Err(Stop::bad(format!(
            "--life must be more than zero and at most the policy's {most} days"
        ))
        .help("for a longer validity, set `leaf_days` under `pki` in the inventory"));
    }
    Ok(life)
}
