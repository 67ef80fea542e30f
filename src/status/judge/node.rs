//! What is wrong on one node, by what the node itself says.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::docket::{Docket, Known, Silence};
use crate::cluster::components::PROGRAMS;
use crate::cluster::{Node, Role};
use crate::pki::identity::{Mark, OnNode, Stranger};
use crate::pki::inspect::Certificate;
use crate::pki::listing;
use crate::status::answer::{NodeAnswer, UnitSeen};
use crate::status::{FaultKind, ask};

/// The largest difference between clocks, in seconds, that certificates and leases bear.
const CLOCKS_APART: f64 = 30.0;
/// The largest difference from the workstation's, which may itself be wrong.
const CLOCK_OFF: f64 = 240.0;
/// A file system with less left is as good as full, in percent used.
const FULL: u8 = 95;
/// A certificate expires soon.
const SOON_DAYS: i64 = 30;

/// Judges every node by itself.
pub(super) fn judge(findings: &mut Docket<'_>) {
    let known = findings.known;
    for node in &known.nodes {
        match (known.answer(&node.name), known.silent.get(&node.name)) {
            (Some(answer), _) => answered(findings, node, answer),
            (None, silence) => silent(findings, &node.name, silence),
        }
    }
    clocks(findings);
}

fn silent(findings: &mut Docket<'_>, node: &str, silence: Option<&Silence>) {
    let known = findings.known;
    let up = known.command("up", "");
    match silence {
        Some(Silence::Stopped) => {
            findings.add(FaultKind::Unreachable, Some(node), "does not run", up);
        }
        Some(Silence::NoConnection(why)) if known.cluster.local.is_some() => {
            let what = format!("cannot be reached: {why}");
            findings.add(FaultKind::Unreachable, Some(node), what, up);
        }
        Some(Silence::NoConnection(why)) => {
            let what = format!("cannot be reached: {why}");
            findings.add(FaultKind::Unreachable, Some(node), what, known.command("ssh", node));
            let remove = known.command("node remove", node);
            findings.hint(format!("start the machine; if it is gone for good: {remove}"));
        }
        Some(Silence::NoAnswer(why)) => {
            let what = format!("does not answer: {why}");
            findings.add(FaultKind::Unreachable, Some(node), what, known.command("ssh", node));
        }
        None => findings.add(FaultKind::Unreachable, Some(node), "was not asked", up),
    }
}

fn answered(findings: &mut Docket<'_>, node: &Node, answer: &NodeAnswer) {
    let known = findings.known;
    let name = node.name.as_str();
    if let Some(mark) = &answer.mark
        && let Err(stranger) = known.holding.judge(&of(mark))
    {
        let (what, mend) = strange(known, name, &stranger);
        findings.add(FaultKind::Stranger, Some(name), what, mend);
        findings.hint("is the address in the inventory right? nothing else of it was judged");
        return;
    }
    let units = known.units.get(name).cloned().unwrap_or_default();
    let installed = |unit: &String| answer.units.get(unit).is_some_and(|it| !it.file.is_empty());
    if answer.mark.is_none() && !units.is_empty() && !units.iter().any(installed) {
        let up = known.command("up", "");
        findings.add(FaultKind::Unit, Some(name), "is not set up yet", up);
        return;
    }
    disks(findings, name, answer);
    if node.has(Role::Worker) && known.cluster.local.is_none() && !answer.swap.is_empty() {
        let what = format!("swap is on: {}", answer.swap.join(", "));
        findings.add(FaultKind::Swap, Some(name), what, known.command("up", ""));
    }
    certificates(findings, name, answer);
    for unit in in_order(&units) {
        let state = answer.units.get(&unit).cloned().unwrap_or_default();
        if let Some(what) = wrong(&unit, &state) {
            findings.add(FaultKind::Unit, Some(name), what, known.command("up", ""));
            let short = unit.trim_end_matches(".service");
            let logs = known.command("logs", &format!("{name} {short}"));
            findings.hint(format!("{logs} shows why"));
        }
    }
    health(findings, name, answer);
}

/// Units in the order in which a lab starts them, so that a cause comes before its consequence.
fn in_order(units: &BTreeSet<String>) -> Vec<String> {
    let place = |unit: &String| {
        let program = unit.trim_end_matches(".service");
        PROGRAMS.iter().position(|it| it.name == program).unwrap_or(PROGRAMS.len())
    };
    let mut units: Vec<String> = units.iter().cloned().collect();
    units.sort_by_key(place);
    units
}

fn of(mark: &str) -> OnNode {
    OnNode { mark: Some(Mark::parse(mark)), recorded: true, ..OnNode::default() }
}

fn strange(known: &Known<'_>, node: &str, stranger: &Stranger) -> (String, String) {
    let take = known.command("up", &format!("--take-over {node}"));
    let whose = |lab: &Option<String>| lab.clone().unwrap_or_else(|| "?".to_owned());
    match stranger {
        Stranger::OtherLab(lab) => (format!("belongs to another lab: {lab}"), take),
        Stranger::OtherCluster(_) => ("belongs to another cluster".to_owned(), take),
        Stranger::OtherKeys { lab, differing } => {
            let keys = differing.join(", ");
            (format!("runs lab {} with another {keys} than the lab directory", whose(lab)), take)
        }
        Stranger::KeysLost { missing, .. } => {
            let what = format!("the lab directory does not have its {}", missing.join(", "));
            (what, known.command("recover", ""))
        }
    }
}

fn disks(findings: &mut Docket<'_>, node: &str, answer: &NodeAnswer) {
    let known = findings.known;
    let mut seen = BTreeSet::new();
    for room in answer.room.iter().filter(|room| room.used >= FULL) {
        if !seen.insert(&room.mount) {
            continue;
        }
        let of = if room.inodes { "inodes of " } else { "" };
        let what = format!("{of}{} is {} % full", room.mount, room.used);
        let show = match room.inodes {
            true => format!("'du --inodes -x {} | sort -n | tail'", room.mount),
            false => format!("'du -xh {} | sort -h | tail'", room.mount),
        };
        findings.add(FaultKind::Full, Some(node), what, known.on(node, &show));
        findings.hint("it shows the largest directories; delete what is not needed");
    }
    for place in &answer.read_only {
        let what = format!("{place} is read-only");
        let again = format!("'mount -o remount,rw $(findmnt -no TARGET -T {place})'");
        let mend = known.on(node, &again);
        findings.add(FaultKind::ReadOnly, Some(node), what, mend);
        findings.hint("the kernel does that to a disk with errors: dmesg shows them");
    }
}

/// The certificates of an answer, with the paths of their files.
fn read(answer: &NodeAnswer) -> impl Iterator<Item = (&str, Result<Certificate, String>)> {
    answer.certificates.iter().flat_map(|(path, text)| {
        let text = match path.ends_with(".conf") {
            true => format!("client-certificate-data: {text}"),
            false => text.clone(),
        };
        let found = match listing::read(path, &text) {
            Ok(found) => found.into_iter().map(Ok).collect(),
            Err(problem) => vec![Err(problem)],
        };
        found.into_iter().map(move |it| (path.as_str(), it))
    })
}

/// Days until the first certificate expires.
pub(super) fn soonest(answer: &NodeAnswer, now: OffsetDateTime) -> Option<i64> {
    let ends = read(answer).filter_map(|(_, it)| Some((it.ok()?.not_after - now).whole_days()));
    ends.min()
}

fn certificates(findings: &mut Docket<'_>, node: &str, answer: &NodeAnswer) {
    let known = findings.known;
    let (mut expired, mut foreign, mut soon, mut broken) = (vec![], vec![], vec![], vec![]);
    let mut of_a_ca = false;
    for (path, certificate) in read(answer) {
        let file = path.trim_start_matches("/etc/kubernetes/");
        match certificate {
            Err(problem) => broken.push(format!("{file} {problem}")),
            Ok(it) => {
                let left = it.not_after - known.now;
                let signed = known.authorities.iter().any(|ca| it.is_signed_by(ca));
                if left.is_negative() {
                    of_a_ca |= it.is_ca;
                    expired.push(file.to_owned());
                } else if !signed && !known.authorities.is_empty() {
                    foreign.push(file.to_owned());
                } else if left.whole_days() < SOON_DAYS {
                    of_a_ca |= it.is_ca;
                    soon.push(format!("{file} in {} days", left.whole_days()));
                }
            }
        }
    }
    let renew = match of_a_ca {
        true => known.command("certs rotate-ca", ""),
        false => known.command("certs renew", node),
    };
    let up = known.command("up", "");
    let mut add = |kind, one: &str, files: Vec<String>, mend: &str| {
        if !files.is_empty() {
            findings.add(kind, Some(node), format!("{one}: {}", files.join(", ")), mend.to_owned());
        }
    };
    add(FaultKind::Certificate, "certificates have expired", expired, &renew);
    add(FaultKind::Certificate, "certificates are not of this lab's CA", foreign, &up);
    add(FaultKind::Certificate, "certificates cannot be read", broken, &up);
    add(FaultKind::Expiring, "certificates expire soon", soon, &renew);
}

/// What is wrong with a unit.
fn wrong(unit: &str, state: &UnitSeen) -> Option<String> {
    let (result, restarts) = (&state.result, state.restarts);
    match (state.active.as_str(), state.sub.as_str()) {
        ("active" | "reloading" | "refreshing", _) => None,
        (_, "auto-restart") => {
            Some(format!("{unit} ends again and again ({result}, {restarts} restarts)"))
        }
        ("failed", _) => Some(format!("{unit} has failed ({result})")),
        _ if state.file.is_empty() => Some(format!("{unit} is not installed")),
        ("inactive", _) => Some(format!("{unit} is stopped")),
        (other, _) => Some(format!("{unit} is {other}")),
    }
}

/// A program that runs and does not say that it is well.
fn health(findings: &mut Docket<'_>, node: &str, answer: &NodeAnswer) {
    let known = findings.known;
    for (unit, url) in ask::HEALTH {
        let Some(code) = answer.health.get(*url).filter(|code| **code != 200) else { continue };
        if findings.has_unit(node, unit) {
            continue;
        }
        let said = match code {
            0 => "does not answer".to_owned(),
            code => format!("answers with HTTP {code}"),
        };
        let mend = known.on(node, &format!("systemctl restart {unit}"));
        findings.add(
            FaultKind::Health,
            Some(node),
            format!("{unit} runs and {said} at {url}"),
            mend,
        );
    }
}

/// A clock that differs from most of the others', or all of them from the workstation's.
fn clocks(findings: &mut Docket<'_>) {
    let known = findings.known;
    #[allow(clippy::cast_precision_loss, reason = "parts of a second do not matter here")]
    let here = known.now.unix_timestamp_nanos() as f64 / 1e9;
    let mut offsets: Vec<(&str, f64)> = known
        .nodes
        .iter()
        .filter_map(|node| Some((node.name.as_str(), known.answer(&node.name)?.clock? - here)))
        .collect();
    offsets.sort_by(|one, other| one.1.total_cmp(&other.1));
    // With two nodes that disagree, the one that agrees with the workstation is right.
    let Some(middle) = offsets
        .get(offsets.len().saturating_sub(1) / 2)
        .into_iter()
        .chain(offsets.get(offsets.len() / 2))
        .map(|(_, offset)| *offset)
        .min_by(|one, other| one.abs().total_cmp(&other.abs()))
    else {
        return;
    };
    for (node, offset) in &offsets {
        let (apart, whose) = match (offset - middle).abs() > CLOCKS_APART {
            true => (offset - middle, "the others'"),
            false if offset.abs() > CLOCK_OFF => (*offset, "the workstation's"),
            false => continue,
        };
        let way = if apart > 0.0 { "ahead of" } else { "behind" };
        let what = format!("its clock is {:.0} s {way} {whose}", apart.abs());
        findings.add(
            FaultKind::Clock,
            Some(node),
            what,
            known.on(node, "timedatectl set-ntp true"),
        );
    }
}
