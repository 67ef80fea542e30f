//! `node remove`: a node that leaves the lab.

use super::text::{imagine, refuse_stdin, remove_by_hand, save, text_of};
use crate::cluster::roster::{Roster, must_stay};
use crate::cluster::{self, Cluster, Node, Role};
use crate::commands::bring_up::{bring_up, fit_for_local_nodes, start_local_nodes};
use crate::commands::converge::converge_on;
use crate::commands::exit::{Exit, Stop};
use crate::commands::inputs::Inputs;
use crate::commands::named::{known, node};
use crate::commands::options::{Options, WHOLE_LAB};
use crate::commands::runbook::Runbook;
use crate::commands::session::{
    Outcome, Working, confirm, exit_of, lab_of, open_to_use, under_lock,
};
use crate::commands::{next, roster};
use crate::engine::connect::known_as;
use crate::inventory::{Problem, edit};
use crate::lab::LabDirectory;
use crate::module::quote;
use crate::playbook::Playbook;
use crate::render::context::Leaving;
use crate::report::Reporter;

/// Which node goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The node's name.
    pub node: String,
    /// Whether its machine is lost.
    pub gone: bool,
    /// Whether to remove it even if etcd or a pod prevents that.
    pub force: bool,
}

/// Removes a node.
pub async fn remove(
    departure: &Departure,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    options.refuse_limit(WHOLE_LAB, "leave --limit out")?;
    let (path, name) = (&options.inventory, &departure.node);
    refuse_stdin(path, "node remove")?;
    let inventory = path.display().to_string();
    let now = open_to_use(path, reporter)?;
    let known_nodes = roster::read(&lab_of(&now));
    let before = with_leaving(now, &known_nodes, name)?;
    let leaving = node(&before, name)?.clone();
    let why_not: Vec<_> = must_stay(&before, &leaving).into_iter().collect();
    roster::refuse(&why_not, &inventory, reporter)?;
    let text = edit::remove(&text_of(path)?, name)
        .map_err(|error| remove_by_hand(error, name, options))?;
    let after = imagine(path, &text, &format!("without {name}"), reporter)?;
    let mut others = Roster::default();
    before.nodes.iter().filter(|node| node.name != *name).for_each(|node| others.remember(node));
    roster::refuse(&others.drift(&after, &quote(&inventory)), &inventory, reporter)?;
    let leaving = Leaving { node: leaving, gone: departure.gone, forced: departure.force };
    let removal = Removal { before: &before, after: &after, leaving: &leaving, options };
    let playbooks = removal.playbooks()?;
    fit_for_local_nodes(&before)?;
    confirm(options, &question(&before, &leaving), "remove it without being asked", reporter)?;
    let report = under_lock("node remove", &before, options, reporter, |working| {
        removal.carry_out(&playbooks, working)
    })
    .await?;
    // Once the node is out of the cluster nothing is left to remove, and `up` can do the rest.
    let is_out = roster::read(&lab_of(&before)).member(name).is_none();
    let mut again = if is_out {
        next::command("up", options)
    } else {
        next::command_with("node remove", options, &[name])
    };
    for (option, given) in [(" --gone", departure.gone), (" --force", departure.force)] {
        again.push_str(if given && !is_out { option } else { "" });
    }
    reporter.close(&report, &if report.ok() { Vec::new() } else { vec![again] });
    Ok(exit_of(&report))
}

/// Finishes removals that earlier runs started, after `up` has succeeded for the nodes that stay.
///
/// # Errors
/// Same as `node remove`; the lab without the node is as declared nevertheless.
pub async fn finish_removals(
    cluster: &Cluster,
    options: &Options,
    working: &Working,
) -> Result<Option<Outcome>, Stop> {
    let path = &options.inventory;
    let roster = roster::read(&lab_of(cluster));
    let mut finished: Option<Outcome> = None;
    for member in roster.leaving() {
        let name = &member.name;
        let before = without_others(with_leaving(cluster.clone(), &roster, name)?, &roster, name);
        let node = node(&before, name)?.clone();
        let leaving = Leaving { node, gone: member.gone, forced: member.forced };
        let text = edit::remove(&text_of(path)?, name)
            .map_err(|error| remove_by_hand(error, name, options))?;
        let (after, _) = cluster::open_with(path, &text).map_err(|problems| {
            let said: Vec<String> = problems.iter().map(Problem::to_string).collect();
            Stop::bad(format!("the inventory without {name} is not valid: {}", said.join("; ")))
        })?;
        let removal = Removal { before: &before, after: &after, leaving: &leaving, options };
        let outcome = removal.carry_out(&removal.playbooks()?, working.clone()).await?;
        match &mut finished {
            Some(finished) => finished.and(outcome),
            None => finished = Some(outcome),
        }
    }
    Ok(finished)
}

/// Returns `cluster` without the nodes that leave, but for one: others may be gone already, and
/// none is to be made again.
fn without_others(mut cluster: Cluster, roster: &Roster, one: &str) -> Cluster {
    let leaves = |node: &Node| roster.member(&node.name).is_some_and(|it| it.leaving);
    cluster.nodes.retain(|node| node.name == one || !leaves(node));
    cluster
}

/// Returns `cluster` with the leaving node as the lab has it, which may differ from the inventory.
fn with_leaving(mut cluster: Cluster, roster: &Roster, name: &str) -> Result<Cluster, Stop> {
    let Some(member) = roster.member(name) else {
        let mut names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        names.extend(
            roster
                .nodes
                .iter()
                .map(|member| member.name.as_str())
                .filter(|it| cluster.node(it).is_none()),
        );
        known(name, "node", "in this lab", names.into_iter())?;
        return Ok(cluster);
    };
    let labels = cluster.node(name).map(|node| node.labels.clone()).unwrap_or_default();
    let node = Node {
        name: member.name.clone(),
        address: member.address,
        second_address: member.second_address,
        roles: member.roles.clone(),
        labels,
        taints: Vec::new(),
        pod_cidr: member.pod_cidr,
        second_pod_cidr: member.second_pod_cidr,
        ssh: cluster
            .node(name)
            .filter(|node| node.address == member.address)
            .map_or(&member.ssh, |it| &it.ssh)
            .clone(),
        facts: cluster.node(name).map(|node| node.facts.clone()).unwrap_or_default(),
    };
    match cluster.nodes.iter_mut().find(|known| known.name == name) {
        Some(known) => *known = node,
        None => cluster.nodes.push(node),
    }
    Ok(cluster)
}

fn question(cluster: &Cluster, leaving: &Leaving) -> String {
    let what = match (leaving.gone, cluster.local.is_some()) {
        (true, _) => "",
        (false, true) => ", and the machine with everything on it",
        (false, false) => ", and everything that labctl made on it",
    };
    format!("Remove {} from the lab {}{what}?", leaving.node.name, cluster.name)
}

/// A removal, decided.
struct Removal<'a> {
    /// The lab with the node.
    before: &'a Cluster,
    /// The lab without the node.
    after: &'a Cluster,
    leaving: &'a Leaving,
    options: &'a Options,
}

/// The playbooks of a removal, in the order in which they run.
struct RemovalPlaybooks {
    remove: Playbook,
    down: Playbook,
    up: Playbook,
}

impl Removal<'_> {
    fn playbooks(&self) -> Result<RemovalPlaybooks, Stop> {
        let find = |name| self.options.playbook(name, self.before);
        Ok(RemovalPlaybooks { remove: find("remove-node")?, down: find("down")?, up: find("up")? })
    }

    /// Removes the node. Every step checks what is already done, so that an interrupted removal can
    /// be resumed. Once the node is out, it is removed from the roster; any later `up` can update
    /// the other nodes, and this run's does it first.
    async fn carry_out(
        &self,
        playbooks: &RemovalPlaybooks,
        working: Working,
    ) -> Result<Outcome, Stop> {
        let lab = lab_of(self.before);
        let name = &self.leaving.node.name;
        let known = roster::read(&lab);
        // A node that is not in the roster was never touched.
        let begun = known.nodes.is_empty() || known.member(name).is_some();
        let mut outcome = Outcome { ok: true, turnover: vec![name.clone()], ..Outcome::default() };
        if begun {
            let Leaving { node, gone, forced } = self.leaving;
            roster::change(&lab, |roster| roster.leaves(node, *gone, *forced))?;
            // Do not create a local node again that an earlier attempt has removed.
            let is_there = crate::local::nodes(&lab).iter().any(|local| local.name == *name);
            let needed = if is_there && !self.leaving.gone { self.before } else { self.after };
            start_local_nodes(needed, &working.events).await?;
            let left = self.leave_cluster(&playbooks.remove, &known, &working, &mut outcome).await;
            let untouched = outcome.applied.changed.values().all(|changed| *changed == 0);
            // A removal that was refused before anything was done has not started, unless an
            // earlier attempt has.
            if (left.is_err() || !outcome.ok)
                && untouched
                && !known.member(name).is_some_and(|member| member.leaving)
            {
                roster::change(&lab, |roster| roster.stays(name))?;
            }
            left?;
            if outcome.ok && !self.leaving.gone && self.before.local.is_none() {
                self.empty_machine(&playbooks.down, &working, &mut outcome).await?;
            }
        }
        if !outcome.ok || working.run.is_cancelled() {
            return Ok(outcome);
        }
        if self.before.local.is_some() {
            crate::local::remove(&lab, std::slice::from_ref(name)).await.map_err(Stop::failed)?;
        }
        let path = &self.options.inventory;
        let text = edit::remove(&text_of(path)?, name)
            .map_err(|e| remove_by_hand(e, name, self.options))?;
        save(path, &text)?;
        forget_files(&lab, &self.leaving.node)?;
        roster::change(&lab, |roster| roster.forget(name))?;
        let brought = bring_up(self.after, &playbooks.up, self.options, working.clone()).await?;
        outcome.and(brought);
        Ok(outcome)
    }

    /// Takes the node out of the cluster, through the first controller that can be reached.
    async fn leave_cluster(
        &self,
        playbook: &Playbook,
        roster: &Roster,
        working: &Working,
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        let inputs = Inputs::new(self.before, self.options)?.leaving(self.leaving.clone());
        let has_begun =
            |node: &&Node| roster.nodes.is_empty() || roster.member(&node.name).is_some();
        for helper in self.after.with_role(Role::Controller).filter(has_begun) {
            // Tasks with `once` run on the first controller.
            let mut cluster = self.before.clone();
            cluster.nodes.sort_by_key(|node| node.name != helper.name);
            let runbook = Runbook::new(inputs.clone(), playbook, &cluster)?;
            let tried =
                converge_on(&cluster, &[helper], runbook, &working.run, None, |_, held| Ok(held))
                    .await?;
            if tried.connections.contains_key(&helper.name) {
                outcome.and(tried);
                return Ok(());
            }
        }
        outcome.ok = false;
        Err(Stop::failed(
            "no other controller can be reached, but one is needed to take the node \
            out of the cluster",
        )
        .help(
            "make sure that one of them is running and accepts a login, then run the same command \
            again",
        ))
    }

    /// Undoes on the machine what labctl did there.
    async fn empty_machine(
        &self,
        down: &Playbook,
        working: &Working,
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        let inputs = Inputs::new(self.before, self.options)?;
        let runbook = Runbook::new(inputs, down, self.before)?;
        let emptied = converge_on(
            self.before,
            &[&self.leaving.node],
            runbook,
            &working.run,
            None,
            |_, held| Ok(held),
        )
        .await?;
        outcome.and(emptied);
        Ok(())
    }
}

/// Removes the files of a node that has left from the lab directory.
fn forget_files(lab: &LabDirectory, node: &Node) -> Result<(), Stop> {
    let folder = lab.pki().join("nodes").join(&node.name);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Stop::failed(format!("cannot remove {}: {error}", folder.display())));
        }
        _ => {}
    }
    // Another machine with another host key may get its address.
    let path = lab.known_hosts();
    let Ok(hosts) = std::fs::read_to_string(&path) else { return Ok(()) };
    let name = known_as(node);
    let is_its = |line: &&str| line.split(' ').next() == Some(name.as_str());
    let kept: String =
        hosts.lines().filter(|line| !is_its(line)).map(|line| format!("{line}\n")).collect();
    if kept == hosts {
        return Ok(());
    }
    lab.write_private(&path, kept.as_bytes())
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::named::tests::cluster;

    #[test]
    fn of_two_unfinished_removals_each_is_about_its_own_node() {
        let cluster = cluster();
        let mut roster = Roster::default();
        cluster.nodes.iter().for_each(|node| roster.remember(node));
        for name in ["worker-0", "worker-1"] {
            roster.leaves(cluster.node(name).expect("a node"), false, false);
        }
        for (name, right) in
            [("worker-0", ["controller-0", "worker-0"]), ("worker-1", ["worker-1", "controller-0"])]
        {
            let before = without_others(cluster.clone(), &roster, name);
            assert!(before.nodes.iter().map(|node| node.name.as_str()).eq(right), "{name}");
        }
    }

    #[test]
    fn a_host_key_is_found_by_the_port_too() {
        let mut node = cluster().nodes[0].clone();
        node.ssh.host = "lab.example.org".to_owned();
        for (port, name) in [
            (None, "lab.example.org"),
            (Some(22), "lab.example.org"),
            (Some(2202), "[lab.example.org]:2202"),
        ] {
            node.ssh.port = port;
            assert_eq!(known_as(&node), name);
        }
    }
}
