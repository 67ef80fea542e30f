//! `certs`: lists certificates, renews them, and replaces the CAs.

use std::collections::BTreeSet;
use std::time::Instant;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::converge::{bring_up_with, fit_for_local_nodes};
use super::session::{exit_of, known, lab_of, limited, open, under_lock};
use super::{Exit, Stop, ask, next};
use crate::cli::{Certs, CertsList, CertsRenew, Global, Lab};
use crate::cluster::Cluster;
use crate::engine::{Run, connect::connect, probe::probe};
use crate::event::{CertificateFound, Event, Events};
use crate::module::Question;
use crate::pki::inspect::Certificate;
use crate::pki::{CertSpec, list, listing, specs, store};
use crate::playbook::standard;
use crate::report::Reporter;

/// Runs one of the verbs.
pub async fn certs(verb: &Certs, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    match verb {
        Certs::List(args) => list(args, global, reporter).await,
        Certs::Renew(args) => renew(args, global, reporter).await,
        Certs::RotateCa(args) => super::rotate_ca::rotate_ca(args, global, reporter).await,
    }
}

/// Lists what is on the nodes and in the lab directory.
async fn list(args: &CertsList, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let lab_args = args.target.lab();
    let inventory = lab_args.inventory.display();
    let cluster = open(&lab_args.inventory, reporter)?;
    let named = if args.target.nodes().is_empty() { &global.limit } else { args.target.nodes() };
    let nodes = limited(&cluster, named)?;
    let lab = lab_of(&cluster);
    // Of one node only that node's; the lab directory's are of all.
    let kept = if named.is_empty() {
        listing::in_lab_directory(&lab).map_err(Stop::failed)?
    } else {
        Vec::new()
    };
    if named.is_empty() && kept.is_empty() {
        return Err(Stop::failed(format!("lab {} has no certificates yet", cluster.name))
            .help(format!("`labctl up {inventory}` issues them")));
    }
    let (events, receiver) = Events::channel();
    let telling = reporter.spawn(receiver, None);
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let run = Run::new(events.clone(), global.forks.get(), cancelled).asking(ask::keyring());
    events.emit(Event::RunStarted {
        verb: "certs list".to_owned(),
        lab: cluster.name.clone(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    });
    let connections = connect(&cluster, &nodes, &run).await;
    let on_nodes = list::paths_of_certificates();
    let questions: BTreeSet<Question> = on_nodes.iter().cloned().map(Question::Text).collect();
    let facts = probe(&connections, |_| questions.clone(), &run).await;

    let now = OffsetDateTime::now_utc();
    let mut all = Vec::new();
    let mut whole = facts.len() == nodes.len();
    let mut add = |node: Option<&str>, file: &str, text: &str| match listing::read(file, text) {
        Ok(certificates) => all.extend(certificates.iter().map(|it| found(node, file, it, now))),
        Err(problem) => {
            whole = false;
            events.emit(Event::Warning {
                node: node.map(str::to_owned),
                message: format!("{file} {problem}"),
            });
        }
    };
    for (file, text) in &kept {
        add(None, file, text);
    }
    for node in &nodes {
        let texts = facts.get(&node.name).map(|facts| &facts.texts);
        for path in &on_nodes {
            if let Some(text) = texts.and_then(|texts| texts.get(path)) {
                add(Some(&node.name), path, text);
            }
        }
    }
    drop((run, events));
    let report = telling.await.map_err(Stop::failed)?;
    let within = i64::try_from(args.within.as_secs()).unwrap_or(i64::MAX);
    let ending: Vec<&CertificateFound> = all.iter().filter(|it| it.seconds_left < within).collect();
    let mut next = Vec::new();
    if ending.iter().any(|it| !it.is_ca) {
        next.push(format!("labctl certs renew {inventory}"));
    }
    if ending.iter().any(|it| it.is_ca) {
        next.push(format!("labctl certs rotate-ca {inventory}"));
    }
    reporter.certificates(&all, within, &report, &next);
    Ok(match (whole, ending.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Something,
        (true, true) => Exit::Done,
    })
}

fn found(
    node: Option<&str>,
    file: &str,
    certificate: &Certificate,
    now: OffsetDateTime,
) -> CertificateFound {
    let left = certificate.not_after - now;
    let moment = |at: OffsetDateTime| at.format(&Rfc3339).unwrap_or_else(|_| at.to_string());
    CertificateFound {
        node: node.map(str::to_owned),
        file: file.to_owned(),
        subject: certificate.subject.join(", "),
        issuer: certificate.issuer.join(", "),
        names: certificate.names(),
        is_ca: certificate.is_ca,
        not_before: moment(certificate.not_before),
        not_after: moment(certificate.not_after),
        days_left: left.whole_days(),
        // A part of a second over the end is over the end.
        seconds_left: left.whole_seconds() - i64::from(left.is_negative()),
    }
}

/// Issues new certificates and brings the lab up with them.
async fn renew(args: &CertsRenew, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let lab_args = args.target.lab();
    let cluster = open(&lab_args.inventory, reporter)?;
    let inventory = lab_args.inventory.display();
    if !global.limit.is_empty() {
        return Err(Stop::bad(
            "--limit does not go with `certs renew`: what several nodes share has to reach them \
            all",
        )
        .help("name the nodes whose own certificates to renew: `labctl certs renew worker-0`"));
    }
    let nodes = args.target.nodes();
    limited(&cluster, nodes)?;
    let wanted = wanted(&cluster, nodes, &args.only)?;
    let life = args.life.map(|life| shorter(&cluster, life)).transpose()?;
    must_have_a_ca(&cluster, &lab_args)?;
    let playbook = standard::find("up", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    fit_for_local_nodes(&cluster)?;
    let report = under_lock("certs renew", &cluster, global, reporter, |working| async {
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
        bring_up_with(Some(renewed), &cluster, &playbook, &args.sources, global, working).await
    })
    .await?;
    // What was issued is in the lab directory, so the rest of the way is `up`'s.
    let then = match report.ok() {
        true => format!("labctl certs list {inventory}"),
        false => next::again("up", &lab_args.inventory, &args.sources, global),
    };
    reporter.close(&report, &[then]);
    Ok(exit_of(&report))
}

/// Refuses a lab that was never brought up: to renew is to have something already.
pub(super) fn must_have_a_ca(cluster: &Cluster, lab: &Lab) -> Result<(), Stop> {
    if lab_of(cluster).pki().join("ca.crt").exists() {
        return Ok(());
    }
    Err(Stop::failed(format!("lab {} has no CA yet", cluster.name)).help(format!(
        "`labctl up {0}` makes it for a new lab; `labctl recover {0}` reads it back from the \
        nodes of one that runs",
        lab.inventory.display()
    )))
}

/// The names of the certificates to renew.
fn wanted(cluster: &Cluster, nodes: &[String], only: &[String]) -> Result<BTreeSet<String>, Stop> {
    let leaves: Vec<CertSpec> = specs(cluster).into_iter().filter(|spec| !spec.is_ca()).collect();
    let mut kinds: Vec<&str> = Vec::new();
    for spec in &leaves {
        if !kinds.contains(&spec.kind()) {
            kinds.push(spec.kind());
        }
    }
    for name in only {
        if specs(cluster).iter().any(|spec| spec.is_ca() && spec.name == *name) {
            return Err(Stop::bad(format!(
                "`{name}` is a CA, and a CA is not renewed but replaced"
            ))
            .help("`labctl certs rotate-ca` replaces all three of them"));
        }
        known(name, "certificate", "of this lab", kinds.iter().copied())?;
    }
    let own = |spec: &CertSpec| {
        nodes.is_empty() || spec.node().is_some_and(|node| nodes.iter().any(|it| it == node))
    };
    let asked = |spec: &CertSpec| only.is_empty() || only.iter().any(|it| it == spec.kind());
    for node in nodes {
        if !leaves.iter().any(|spec| spec.node() == Some(node) && asked(spec)) {
            let what = if only.is_empty() {
                String::new()
            } else {
                format!(" called {}", only.join(" or "))
            };
            return Err(Stop::bad(format!("{node} has no certificate of its own{what}"))
                .help("what several nodes share is renewed for all of them: leave the nodes out"));
        }
    }
    Ok(leaves
        .iter()
        .filter(|spec| own(spec) && asked(spec))
        .map(|spec| spec.name.clone())
        .collect())
}

/// A life that is shorter than the policy's: a longer one would be the policy's to say.
fn shorter(cluster: &Cluster, life: std::time::Duration) -> Result<Duration, Stop> {
    let life = Duration::try_from(life).map_err(Stop::bad)?;
    let most = cluster.pki.leaf_days;
    if life.is_zero() || life > Duration::days(most.into()) {
        return Err(Stop::bad(format!(
            "--life must be more than nothing and no more than the policy's {most} days"
        ))
        .help("for longer lives set `leaf_days` under `pki` in the inventory"));
    }
    Ok(life)
}
