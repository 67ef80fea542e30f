//! What is wrong with etcd, by what each of its members says.

use std::collections::{BTreeMap, BTreeSet};

use super::docket::Docket;
use crate::status::objects::{MemberEntry, MemberList, MemberState};
use crate::status::{EtcdStatus, FaultKind, MemberStatus};

/// The question of `status.sh` after a member's state.
const STATE: &str = "maintenance/status";
/// After the list of all members.
const MEMBERS: &str = "cluster/member/list";
/// What etcdctl needs to log in.
const LOGIN: &str = "--cacert /etc/kubernetes/pki/etcd/ca.crt \
                     --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
                     --key /etc/kubernetes/pki/etcd/healthcheck-client.key";

/// Judges etcd, and says how it is.
pub(super) fn judge(findings: &mut Docket<'_>) -> EtcdStatus {
    let known = findings.known;
    let names: Vec<&str> = known
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .filter(|node| known.runs(node, "etcd.service"))
        .collect();
    let mut states: BTreeMap<&str, MemberState> = BTreeMap::new();
    let mut listed: Option<Vec<MemberEntry>> = None;
    for name in &names {
        let Some(answer) = known.answer(name) else { continue };
        if let Some(state) = answer.etcd_object::<MemberState>(STATE) {
            states.insert(name, state);
            let members = answer.etcd_object::<MemberList>(MEMBERS).map(|found| found.members);
            // A member that was taken out knows an old list; the longest way of most is not needed.
            listed = listed.or(members);
        }
        silent(findings, name, states.contains_key(name));
    }
    let listed = listed.map(|all| named(all, &states));
    missing(findings, &names, listed.as_deref());
    for (name, state) in &states {
        complaints(findings, name, state);
    }
    status(&names, &states, listed.unwrap_or_default())
}

/// The members with the names of their nodes: a lab may have an etcd that was given no name. One
/// that has never started has an empty one.
fn named(all: Vec<MemberEntry>, states: &BTreeMap<&str, MemberState>) -> Vec<MemberEntry> {
    let node = |id: &str| states.iter().find(|(_, state)| state.header.member_id == id);
    let of_node = |member: MemberEntry| match node(&member.id) {
        Some((name, _)) if !member.name.is_empty() => {
            MemberEntry { name: (*name).to_owned(), ..member }
        }
        _ => member,
    };
    all.into_iter().map(of_node).collect()
}

/// A member that runs and does not answer.
fn silent(findings: &mut Docket<'_>, name: &str, answered: bool) {
    let known = findings.known;
    let asked = known.answer(name).is_some_and(|answer| answer.etcd.contains_key(STATE));
    if answered || !asked || findings.has_unit(name, "etcd.service") {
        return;
    }
    let said = known.answer(name).and_then(|answer| answer.etcd.get(STATE)).map_or("", |it| it);
    let what = format!("its etcd does not answer: {}", shortened(said));
    findings.add(FaultKind::Etcd, Some(name), what, known.command("up", ""));
    findings.hint(format!("{} shows why", known.command("logs", &format!("{name} etcd"))));
}

/// Members that the inventory has and etcd has not, and the other way round.
fn missing(findings: &mut Docket<'_>, names: &[&str], listed: Option<&[MemberEntry]>) {
    let Some(listed) = listed else { return };
    let known = findings.known;
    let there: BTreeSet<&str> = listed.iter().map(|member| member.name.as_str()).collect();
    for name in names.iter().filter(|name| !there.contains(*name)) {
        let what = "etcd has no member of its name";
        findings.add(FaultKind::Etcd, Some(name), what, known.command("up", ""));
        let again = format!(
            "if that does not bring it back: {}, then add it again",
            known.command("node remove", name)
        );
        findings.hint(again);
    }
    let all: BTreeSet<&str> = known.cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    for name in there.iter().filter(|name| !name.is_empty() && !all.contains(*name)) {
        let what = format!("etcd has a member {name}, which is not in the inventory");
        findings.add(FaultKind::Etcd, None, what, known.command("up", ""));
    }
}

/// What a member says that is wrong: alarms, and no leader.
fn complaints(findings: &mut Docket<'_>, name: &str, state: &MemberState) {
    let known = findings.known;
    let etcdctl = |what: &str| known.on(name, &format!("etcdctl {LOGIN} {what}"));
    let has = |word: &str| state.errors.iter().any(|error| error.contains(word));
    if has("NOSPACE") {
        let what = "its etcd takes no writes: the database has reached its quota";
        findings.add(FaultKind::Etcd, Some(name), what, etcdctl("alarm disarm"));
        let size = format!("the database has {} bytes; ", state.size);
        findings.hint(format!("{size}first make room: etcdctl compact, then etcdctl defrag"));
    }
    if has("CORRUPT") {
        let what = "its etcd has found its data corrupt";
        findings.add(
            FaultKind::Etcd,
            Some(name),
            what,
            known.command("etcd restore", "lab.backup"),
        );
    }
    if state.leader.is_empty() || state.leader == "0" {
        let what = "its etcd has no leader: most members have to run";
        findings.add(FaultKind::Etcd, Some(name), what, known.command("up", ""));
    }
}

fn status(
    names: &[&str],
    states: &BTreeMap<&str, MemberState>,
    listed: Vec<MemberEntry>,
) -> EtcdStatus {
    let leader = states.values().map(|state| &state.leader).find(|leader| !leader.is_empty());
    let by_list = listed.iter().find(|member| Some(&member.id) == leader);
    let by_state = || {
        let of = states.iter().find(|(_, state)| Some(&state.header.member_id) == leader);
        of.map(|(name, _)| (*name).to_owned())
    };
    let mut all: BTreeSet<String> = listed.iter().map(|member| member.name.clone()).collect();
    if all.is_empty() {
        all = names.iter().map(|name| (*name).to_owned()).collect();
    }
    let member = |name: String| MemberStatus {
        healthy: states.contains_key(name.as_str()),
        size: states.get(name.as_str()).and_then(|state| state.size.parse().ok()),
        name,
    };
    EtcdStatus {
        version: states.values().next().map(|state| state.version.clone()),
        leader: by_list.map(|member| member.name.clone()).or_else(by_state),
        members: all.into_iter().map(member).collect(),
    }
}

/// One line of an error, without what curl says in front.
fn shortened(said: &str) -> String {
    let line = said.lines().next_back().unwrap_or_default().trim();
    let line = line.strip_prefix("curl: ").unwrap_or(line);
    line.chars().take(120).collect()
}
