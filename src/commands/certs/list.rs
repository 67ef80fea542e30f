//! `certs list`: every certificate on the nodes and in the lab directory.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cluster::{Cluster, Node};
use crate::commands::exit::{Exit, Stop};
use crate::commands::named::named_within;
use crate::commands::next;
use crate::commands::options::Options;
use crate::commands::session::{lab_of, looking, open_to_use};
use crate::engine::{connect::connect, probe::probe};
use crate::event::{CertificateFound, Event, Events};
use crate::module::{Facts, Question};
use crate::pki::inspect::Certificate;
use crate::pki::{list, listing};
use crate::report::Reporter;

/// Lists what is on the nodes and in the lab directory; of `named` nodes only what is theirs.
pub async fn list(
    named: &[String],
    within: std::time::Duration,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let nodes = named_within(&cluster, named, &options.limit)?;
    let named = if named.is_empty() { &options.limit } else { named };
    let kept = kept(&cluster, named, options)?;
    let (events, receiver) = Events::channel();
    let reporting = reporter.spawn(receiver, None);
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let run = looking(options, events.clone(), cancelled);
    events.emit(Event::RunStarted {
        verb: "certs list".to_owned(),
        lab: cluster.name.clone(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    });
    let connections = connect(&cluster, &nodes, &run).await;
    let questions: BTreeSet<Question> =
        list::paths_of_certificates().into_iter().map(Question::Text).collect();
    let facts = probe(&connections, |_| questions.clone(), &run).await;
    let (all, mut whole) = read_all(&kept, &nodes, &facts, &events);
    whole &= facts.len() == nodes.len();
    drop((run, events));
    let report = reporting.await.map_err(Stop::failed)?;
    let within = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
    let ending: Vec<&CertificateFound> = all.iter().filter(|it| it.seconds_left < within).collect();
    reporter.certificates(&all, within, &report, &remedies(&ending, named, options));
    Ok(match (whole, ending.is_empty()) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Pending,
        (true, true) => Exit::Done,
    })
}

/// The lab directory's certificates, which are of all nodes: none where only some were asked for.
fn kept(
    cluster: &Cluster,
    named: &[String],
    options: &Options,
) -> Result<Vec<(String, String)>, Stop> {
    if !named.is_empty() {
        return Ok(Vec::new());
    }
    let kept = listing::in_lab_directory(&lab_of(cluster)).map_err(Stop::failed)?;
    if kept.is_empty() {
        let up = next::command("up", options);
        return Err(Stop::failed(format!("lab {} has no certificates yet", cluster.name))
            .help(format!("`{up}` issues them")));
    }
    Ok(kept)
}

/// Reads every certificate; whether all of them could be read.
fn read_all(
    kept: &[(String, String)],
    nodes: &[&Node],
    facts: &BTreeMap<String, Facts>,
    events: &Events,
) -> (Vec<CertificateFound>, bool) {
    let now = OffsetDateTime::now_utc();
    let (mut all, mut whole) = (Vec::new(), true);
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
    for (file, text) in kept {
        add(None, file, text);
    }
    for node in nodes {
        let texts = facts.get(&node.name).map(|facts| &facts.texts);
        for path in list::paths_of_certificates() {
            if let Some(text) = texts.and_then(|texts| texts.get(&path)) {
                add(Some(&node.name), &path, text);
            }
        }
    }
    (all, whole)
}

/// What renews certificates that expire soon.
fn remedies(ending: &[&CertificateFound], named: &[String], options: &Options) -> Vec<String> {
    let mut next = Vec::new();
    if ending.iter().any(|it| !it.is_ca) {
        let nodes: Vec<&str> = named.iter().map(String::as_str).collect();
        next.push(next::command_with("certs renew", options, &nodes));
    }
    if ending.iter().any(|it| it.is_ca) {
        next.push(next::command("certs rotate-ca", options));
    }
    next
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
        // Round down, so that a certificate that expired less than a second ago is expired.
        seconds_left: left.whole_seconds() - i64::from(left.is_negative()),
    }
}
