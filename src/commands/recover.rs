//! `recover`: rebuilds a lost lab directory from the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use sha2::Digest;
use time::OffsetDateTime;

use super::etcd::failed;
use super::exit::{Exit, Stop};
use super::named::known;
use super::next;
use super::options::Options;
use super::session::{
    Outcome, Working, exit_of, lab_of, open_to_use, refuse_lost_nodes, under_lock,
};
use crate::backup::archive::read_pki;
use crate::cluster::{Cluster, Node, Role};
use crate::engine::connect::connect_trusting;
use crate::engine::{Connections, probe::probe};
use crate::event::Event;
use crate::lab::{LabDirectory, cache_directory};
use crate::module::{Facts, Question};
use crate::pki::identity::Mark;
use crate::pki::recovery::{Recovered, own_files, shared, shared_files};
use crate::pki::{kubeconfig, kubeconfigs, store};
use crate::plan::ownership;
use crate::report::Reporter;

/// Maximum number of files that a message lists.
const NAMED: usize = 5;

/// Where the lab directory is rebuilt from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The controller whose files are taken; none for the first that can be reached.
    pub from: Option<String>,
    /// Whether nodes with unknown host keys are trusted.
    pub accept_new_host_keys: bool,
}

/// Rebuilds the lab directory.
pub async fn recover(
    recovery: &Recovery,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    if let Some(from) = &recovery.from {
        let controllers = cluster.with_role(Role::Controller).map(|node| node.name.as_str());
        known(from, "controller", "in this lab", controllers)?;
    }
    let lab = lab_of(&cluster);
    refuse_lost_nodes(&cluster)?;
    if cluster.local.is_some() && crate::local::nodes(&lab).is_empty() {
        // Before the lock creates the directory again.
        let what = format!(
            "there are no local nodes in {}: they were in the lab directory and are lost with it",
            lab.root().display()
        );
        return Err(
            Stop::failed(what).help(format!("`{}` makes a new lab", next::command("up", options)))
        );
    }
    let report = under_lock("recover", &cluster, options, reporter, |working| {
        let (cluster, lab) = (&cluster, &lab);
        async move { Rebuilding { recovery, cluster, lab, working }.run().await }
    })
    .await?;
    let next = if report.ok() {
        vec![next::command("plan", options), next::command("up", options)]
    } else {
        Vec::new()
    };
    reporter.close(&report, &next);
    Ok(exit_of(&report))
}

struct Rebuilding<'a> {
    recovery: &'a Recovery,
    cluster: &'a Cluster,
    lab: &'a LabDirectory,
    working: Working,
}

impl Rebuilding<'_> {
    async fn run(self) -> Result<Outcome, Stop> {
        let nodes: Vec<&Node> = self.cluster.nodes.iter().collect();
        let connections = self.connect(&nodes).await?;
        if self.working.run.is_cancelled() {
            return Ok(Outcome { connections, ..Outcome::default() });
        }
        let chosen =
            |node: &&&Node| self.recovery.from.as_ref().is_none_or(|from| *from == node.name);
        let reached = nodes
            .iter()
            .filter(|node| node.has(Role::Controller) && connections.contains_key(&node.name));
        let Some(source) = reached.clone().find(chosen) else {
            let mut outcome = Outcome { connections, ..Outcome::default() };
            let lost = nodes.iter().filter(|node| !outcome.connections.contains_key(&node.name));
            outcome.applied.failed =
                lost.map(|node| (node.name.clone(), "connect".to_owned())).collect();
            return Ok(outcome);
        };
        let (step, started) = (format!("recover from {}", source.name), Instant::now());
        self.working.events.emit(Event::StepStarted { step: step.clone() });
        let facts = self.ask(&connections, source).await;
        self.refuse_other_lab(&facts)?;
        let Some(found) = facts.get(&source.name) else {
            return Ok(Outcome { connections, ..Outcome::default() });
        };
        let mut recovered = shared(&found.texts).map_err(|lacking| {
            Stop::failed(format!(
                "{} lacks what a lab cannot do without: {}",
                source.name,
                lacking.join("; ")
            ))
            .help("nothing was written; choose another controller with --from CONTROLLER")
        })?;
        self.add_own(&mut recovered, &nodes, &facts);
        self.write(&recovered, source)?;
        let issued = self.complete()?;
        let issued = if issued == 0 {
            String::new()
        } else {
            format!(", {} issued again", count(issued, "certificate"))
        };
        let files = count(recovered.files.len(), "file");
        let detail = format!("{files} of {}{issued}", count(facts.len(), "node"));
        self.working.events.emit(Event::StepEnded {
            step,
            detail,
            changed: true,
            took: started.elapsed(),
        });
        Ok(Outcome { ok: true, connections, ..Outcome::default() })
    }

    /// Asks every node for what is its own, and `source` for what all controllers share.
    async fn ask(&self, connections: &Connections, source: &Node) -> BTreeMap<String, Facts> {
        let questions = |name: &str| -> BTreeSet<Question> {
            let Some(node) = self.cluster.node(name) else { return BTreeSet::new() };
            let shared = if node.name == source.name { shared_files() } else { Vec::new() };
            let files = own_files(node).into_iter().chain(shared).chain([ownership::mark_file()]);
            files.map(Question::Text).collect()
        };
        probe(connections, questions, &self.working.run).await
    }

    /// Adds what is each node's own, and reports what is issued again.
    fn add_own(&self, recovered: &mut Recovered, nodes: &[&Node], facts: &BTreeMap<String, Facts>) {
        for node in nodes {
            match facts.get(&node.name) {
                Some(facts) => recovered.add_own(node, &facts.texts),
                None => self.warn(
                    Some(&node.name),
                    "could not be reached, so its own certificates are issued again",
                ),
            }
        }
        for left_out in &recovered.left_out {
            self.warn(None, &format!("skipped, and issued again: {left_out}"));
        }
    }

    /// Connects to all nodes and reports host keys that are new to this workstation.
    async fn connect(&self, nodes: &[&Node]) -> Result<Connections, Stop> {
        let Working { run, events } = &self.working;
        if self.cluster.local.is_some() {
            // The host keys of local nodes are in their directories, so rebuild the known hosts
            // from there.
            let there: BTreeSet<String> =
                crate::local::nodes(self.lab).into_iter().map(|node| node.name).collect();
            let wanted = |node: &Node| there.contains(&node.name);
            crate::local::start(self.cluster, self.lab, &cache_directory(), events, wanted)
                .await
                .map_err(Stop::failed)?;
        }
        let known_hosts = || fs::read_to_string(self.lab.known_hosts()).unwrap_or_default();
        let before = known_hosts();
        let connections =
            connect_trusting(self.cluster, nodes, self.recovery.accept_new_host_keys, run).await;
        let after = known_hosts();
        for line in after.lines().filter(|line| !before.lines().any(|known| known == *line)) {
            if let Some(shown) = fingerprint(line) {
                self.warn(
                    None,
                    &format!("trusted without proof: {shown}; compare it on the machine's console"),
                );
            }
        }
        Ok(connections)
    }

    /// Refuses nodes of a lab with another name, because this lab would get that lab's keys.
    fn refuse_other_lab(&self, facts: &BTreeMap<String, Facts>) -> Result<(), Stop> {
        for (node, facts) in
            facts.iter().filter(|(node, _)| !self.working.run.taken_over.contains(*node))
        {
            let mark = facts.texts.get(&ownership::mark_file()).map(|text| Mark::parse(text));
            if let Some(other) =
                mark.filter(|mark| !mark.lab.is_empty() && mark.lab != self.cluster.name)
            {
                let what = format!("{node} belongs to another lab: `{}`", other.lab);
                return Err(Stop::failed(what).help(format!(
                    "nothing was written; set `name: {}` in the inventory if that is the lab you \
                    mean, \
                     or add --take-over {node}",
                    other.lab
                )));
            }
        }
        Ok(())
    }

    /// Writes what was found, unless it would overwrite something different.
    fn write(&self, recovered: &Recovered, source: &Node) -> Result<(), Stop> {
        let folder = self.lab.pki();
        let there = read_pki(&folder).map_err(failed)?;
        let differs =
            |name: &&str| there.get(*name).is_some_and(|found| *found != recovered.files[*name]);
        let differing: Vec<&str> = recovered.in_order().into_iter().filter(differs).collect();
        if !differing.is_empty() {
            let mut named = differing[..differing.len().min(NAMED)].join(", ");
            if differing.len() > NAMED {
                named.push_str(&format!(" and {} more", differing.len() - NAMED));
            }
            return Err(Stop::failed(format!(
                "{} exists and differs from what {} has: {named}",
                folder.display(),
                source.name
            ))
            .help(format!(
                "nothing was written; to take the nodes' files, move {} away first",
                folder.display()
            )));
        }
        for name in recovered.in_order() {
            let path = folder.join(name);
            let written = self.lab.write_private(&path, recovered.files[name].expose());
            written.map_err(|error| Stop::failed(format!("write {}: {error}", path.display())))?;
        }
        Ok(())
    }

    /// Issues what was not found but can be issued again, and writes the administrator's
    /// kubeconfig. Returns how many certificates were issued.
    fn complete(&self) -> Result<usize, Stop> {
        let ensured = store::ensure(self.cluster, self.lab, OffsetDateTime::now_utc())
            .map_err(Stop::failed)?;
        ensured.save(self.lab).map_err(Stop::failed)?;
        let holding = store::holding(self.cluster, self.lab).map_err(Stop::failed)?;
        store::remember(&holding, self.lab).map_err(Stop::failed)?;
        let kubeconfigs = kubeconfigs(self.cluster, &ensured.pki).map_err(Stop::failed)?;
        if let Some(admin) = kubeconfigs.get(kubeconfig::ADMIN) {
            self.lab.write_private(&self.lab.admin_conf(), admin.expose()).map_err(Stop::failed)?;
        }
        Ok(ensured.issued.len())
    }

    fn warn(&self, node: Option<&String>, message: &str) {
        self.working
            .events
            .emit(Event::Warning { node: node.cloned(), message: message.to_owned() });
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Formats a line of known_hosts for comparing keys: `10.0.0.1: ssh-ed25519 SHA256:...`.
fn fingerprint(line: &str) -> Option<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    let mut words = line.split_ascii_whitespace();
    let (host, kind, key) = (words.next()?, words.next()?, words.next()?);
    let hash = sha2::Sha256::digest(STANDARD.decode(key).ok()?);
    Some(format!("{host}: {kind} SHA256:{}", STANDARD_NO_PAD.encode(hash)))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn fingerprints_match_those_of_ssh_keygen() {
        let folder = tempfile::tempdir().expect("a directory");
        let key = folder.path().join("key");
        let run = |arguments: &[&str]| {
            let output = std::process::Command::new("ssh-keygen")
                .args(arguments)
                .arg(&key)
                .output()
                .expect("ssh-keygen");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        run(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
        let public = std::fs::read_to_string(key.with_extension("pub")).expect("a public key");
        let shown = run(&["-l", "-f"]);
        let expected = shown.split(' ').nth(1).expect("a fingerprint");
        let line = format!("[node-0]:2222 {}", public.trim());
        assert_eq!(fingerprint(&line), Some(format!("[node-0]:2222: ssh-ed25519 {expected}")));
        assert_eq!(fingerprint("# a comment"), None);
    }
}
