//! `node add` and `node remove`: nodes that come and go, in the inventory and in the lab.

use std::collections::BTreeMap;
use std::path::Path;

use super::converge::{
    bring_up, converge_on, fit_for_local_nodes, must_be_ours, start_local_nodes,
};
use super::session::{Outcome, Working, exit_of, known, lab_of, open, under_lock};
use super::workshop::{bare_workshop, leaving_workshop};
use super::{Exit, Stop, next, roster};
use crate::cli::{Global, NodeAdd, NodeRemove, NodeVerb, Sources};
use crate::cluster::roster::{Roster, must_stay};
use crate::cluster::{self, Cluster, Node, Role};
use crate::inventory::Problem;
use crate::inventory::edit::{self, NewNode};
use crate::inventory::load;
use crate::lab::LabDirectory;
use crate::module::quote;
use crate::playbook::{Playbook, standard};
use crate::render::context::Leaving;
use crate::report::{Answer, Reporter};

/// Adds or removes a node.
pub async fn node(verb: &NodeVerb, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    if !global.limit.is_empty() {
        return Err(Stop::bad("`node` concerns the whole lab, so --limit does not go with it")
            .help("leave --limit out"));
    }
    match verb {
        NodeVerb::Add(args) => add(args, global, reporter).await,
        NodeVerb::Remove(args) => remove(args, global, reporter).await,
    }
}

async fn add(args: &NodeAdd, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let path = &args.target.lab().inventory;
    let name = args.target.node();
    let before = open(path, reporter)?;
    let new = NewNode {
        name: name.to_owned(),
        address: args.address.to_string(),
        roles: args.roles.clone(),
        labels: args.labels.clone(),
    };
    let text = match before.node(name) {
        // An earlier run was cut off after it had written the inventory.
        Some(node) if is_as_wanted(node, args) => None,
        Some(node) => {
            let help = format!(
                "choose another name; or `labctl node remove {} {name}` first",
                path.display()
            );
            return Err(Stop::bad(format!(
                "`{name}` is in the inventory already, at {}",
                node.address
            ))
            .help(help));
        }
        None => Some(edit::add(&text_of(path)?, &new).map_err(|error| by_hand(error, path, &new))?),
    };
    let after = match &text {
        Some(text) => imagine(path, text, &format!("with {name}"), reporter)?,
        None => before,
    };
    roster::refuse_drift(&after, path, reporter)?;
    let playbook = standard::find("up", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    fit_for_local_nodes(&after)?;
    let report = under_lock("node add", &after, global, reporter, |working| async {
        // A local node that is to be made is nobody's.
        let asked = |node: &&Node| node.has(Role::Controller) || node.name == name;
        let made = |node: &&Node| node.name != name || after.local.is_none();
        let nodes: Vec<&Node> = after.nodes.iter().filter(asked).filter(made).collect();
        must_be_ours(&after, &nodes, &working.run).await?;
        if text.is_some() {
            // Once more: somebody may have worked on the file since.
            let text =
                edit::add(&text_of(path)?, &new).map_err(|error| by_hand(error, path, &new))?;
            save(path, &text)?;
        }
        bring_up(&after, &playbook, &args.sources, global, working).await
    })
    .await?;
    let inventory = path.display();
    let then = if report.ok() {
        format!("labctl smoke {inventory}")
    } else {
        reporter.note(&format!("`{name}` is in {inventory} now; `labctl up {inventory}` resumes"));
        next::again("up", path, &args.sources, global)
    };
    reporter.close(&report, &[then]);
    Ok(exit_of(&report))
}

/// Whether a node of the inventory is the very node that is to be added.
fn is_as_wanted(node: &Node, args: &NodeAdd) -> bool {
    let roles: Vec<String> = node.roles.iter().map(Role::to_string).collect();
    let labels: BTreeMap<String, String> = args.labels.iter().cloned().collect();
    let same_roles =
        roles.len() == args.roles.len() && roles.iter().all(|role| args.roles.contains(role));
    node.address == args.address && same_roles && node.labels == labels
}

async fn remove(args: &NodeRemove, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let path = &args.target.lab().inventory;
    let name = args.target.node();
    let inventory = path.display();
    let now = open(path, reporter)?;
    let known_nodes = roster::read(&lab_of(&now));
    let before = with_leaving(now, &known_nodes, name)?;
    let leaving = super::session::node(&before, name)?.clone();
    let why_not: Vec<_> = must_stay(&before, &leaving).into_iter().collect();
    roster::refuse(&why_not, &inventory.to_string(), reporter)?;
    let text =
        edit::remove(&text_of(path)?, name).map_err(|error| remove_by_hand(error, path, name))?;
    let after = imagine(path, &text, &format!("without {name}"), reporter)?;
    let mut others = Roster::default();
    before.nodes.iter().filter(|node| node.name != name).for_each(|node| others.remember(node));
    roster::refuse(
        &others.drift(&after, &inventory.to_string()),
        &inventory.to_string(),
        reporter,
    )?;
    let leaving = Leaving { node: leaving, gone: args.gone, forced: args.force };
    let removal =
        Removal { path, before: &before, after: &after, leaving: &leaving, sources: &args.sources };
    let playbooks = removal.playbooks()?;
    fit_for_local_nodes(&before)?;
    if !global.yes {
        ask(&before, &leaving, reporter)?;
    }
    let report = under_lock("node remove", &before, global, reporter, |working| {
        removal.carry_out(&playbooks, global, working)
    })
    .await?;
    // Once the node is out there is nothing to remove any more: the rest of the way is `up`'s.
    let is_out = roster::read(&lab_of(&before)).member(name).is_none();
    let mut again = if is_out {
        next::again("up", path, &args.sources, global)
    } else {
        next::again(
            &format!("node remove {}", quote(&inventory.to_string())),
            Path::new(name),
            &args.sources,
            global,
        )
    };
    for (option, given) in [(" --gone", args.gone), (" --force", args.force)] {
        again.push_str(if given && !is_out { option } else { "" });
    }
    reporter.close(&report, &if report.ok() { Vec::new() } else { vec![again] });
    Ok(exit_of(&report))
}

/// Finishes removals that earlier runs began, at the end of an `up` that went well for the nodes
/// that stay.
///
/// # Errors
/// As `node remove` has them; the lab without the node is as it should be all the same.
pub async fn finish_removals(
    path: &Path,
    cluster: &Cluster,
    sources: &Sources,
    global: &Global,
    working: &Working,
) -> Result<Option<Outcome>, Stop> {
    let roster = roster::read(&lab_of(cluster));
    let mut finished: Option<Outcome> = None;
    for member in roster.leaving() {
        let name = &member.name;
        let before = with_leaving(cluster.clone(), &roster, name)?;
        let node = super::session::node(&before, name)?.clone();
        let leaving = Leaving { node, gone: member.gone, forced: member.forced };
        let text = edit::remove(&text_of(path)?, name)
            .map_err(|error| remove_by_hand(error, path, name))?;
        let (after, _) = cluster::open_with(path, &text).map_err(|problems| {
            let said: Vec<String> = problems.iter().map(Problem::to_string).collect();
            Stop::bad(format!("the inventory without {name} is no lab: {}", said.join("; ")))
        })?;
        let removal = Removal { path, before: &before, after: &after, leaving: &leaving, sources };
        let outcome = removal.carry_out(&removal.playbooks()?, global, working.clone()).await?;
        match &mut finished {
            Some(finished) => finished.and(outcome),
            None => finished = Some(outcome),
        }
    }
    Ok(finished)
}

/// `cluster` with the node that is to leave as the lab has it, which is not always as the inventory
/// says.
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
        known(name, "node", "of this lab", names.into_iter())?;
        return Ok(cluster);
    };
    let labels = cluster.node(name).map(|node| node.labels.clone()).unwrap_or_default();
    let node = Node {
        name: member.name.clone(),
        address: member.address,
        roles: member.roles.clone(),
        labels,
        pod_cidr: member.pod_cidr,
        ssh: cluster
            .node(name)
            .filter(|node| node.address == member.address)
            .map_or(&member.ssh, |it| &it.ssh)
            .clone(),
    };
    match cluster.nodes.iter_mut().find(|known| known.name == name) {
        Some(known) => *known = node,
        None => cluster.nodes.push(node),
    }
    Ok(cluster)
}

fn ask(cluster: &Cluster, leaving: &Leaving, reporter: &Reporter) -> Result<(), Stop> {
    let what = match (leaving.gone, cluster.local.is_some()) {
        (true, _) => "",
        (false, true) => ", and the machine with everything on it",
        (false, false) => ", and everything that labctl made on it",
    };
    let question = format!("Remove {} from the lab {}{what}?", leaving.node.name, cluster.name);
    match reporter.confirm(&question).map_err(Stop::failed)? {
        Answer::Yes => Ok(()),
        Answer::No => Err(Stop::silent(Exit::Cancelled)),
        Answer::Nobody => Err(Stop::bad(
            "nobody is there to answer whether the node may be removed: this is no terminal",
        )
        .help("add --yes to remove it without being asked")),
    }
}

/// A removal, decided.
struct Removal<'a> {
    path: &'a Path,
    /// The lab with the node.
    before: &'a Cluster,
    /// The lab without it.
    after: &'a Cluster,
    leaving: &'a Leaving,
    sources: &'a Sources,
}

/// The playbooks of a removal, in the order in which they are used.
struct Playbooks {
    remove: Playbook,
    down: Playbook,
    up: Playbook,
}

impl Removal<'_> {
    fn playbooks(&self) -> Result<Playbooks, Stop> {
        let find =
            |name| standard::find(name, self.sources.playbooks.as_deref()).map_err(Stop::bad);
        Ok(Playbooks { remove: find("remove-node")?, down: find("down")?, up: find("up")? })
    }

    /// Every step looks at what is there, so that a removal that was cut off goes on where it was.
    /// The roster forgets the node when it is out; what the others need to know of that is then any
    /// `up`'s to do, this one's first.
    async fn carry_out(
        &self,
        playbooks: &Playbooks,
        global: &Global,
        working: Working,
    ) -> Result<Outcome, Stop> {
        let lab = lab_of(self.before);
        let name = &self.leaving.node.name;
        let known = roster::read(&lab);
        // Nothing was ever done to a node that the roster of a lab does not have.
        let begun = known.nodes.is_empty() || known.member(name).is_some();
        let mut outcome = Outcome { ok: true, turnover: vec![name.clone()], ..Outcome::default() };
        if begun {
            let Leaving { node, gone, forced } = self.leaving;
            roster::change(&lab, |roster| roster.leaves(node, *gone, *forced))?;
            // A local node that an earlier attempt has removed already must not be made again.
            let is_there = crate::local::nodes(&lab).iter().any(|local| local.name == *name);
            let needed = if is_there && !self.leaving.gone { self.before } else { self.after };
            start_local_nodes(needed, &working.events).await?;
            let left = self.leave_cluster(&playbooks.remove, &known, &working, &mut outcome).await;
            let untouched = outcome.applied.changed.values().all(|changed| *changed == 0);
            // What was refused before anything was done has not begun, unless an earlier attempt
            // has.
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
        let text = edit::remove(&text_of(self.path)?, name)
            .map_err(|e| remove_by_hand(e, self.path, name))?;
        save(self.path, &text)?;
        forget_files(&lab, &self.leaving.node)?;
        roster::change(&lab, |roster| roster.forget(name))?;
        let brought =
            bring_up(self.after, &playbooks.up, self.sources, global, working.clone()).await?;
        outcome.and(brought);
        Ok(outcome)
    }

    /// Takes the node out of the cluster, by the first controller that can be reached.
    async fn leave_cluster(
        &self,
        playbook: &Playbook,
        roster: &Roster,
        working: &Working,
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        let workshop = leaving_workshop(self.before, self.sources, self.leaving.clone())?;
        let has_begun =
            |node: &&Node| roster.nodes.is_empty() || roster.member(&node.name).is_some();
        for helper in self.after.with_role(Role::Controller).filter(has_begun) {
            // What is asked of one controller only is asked of the first.
            let mut cluster = self.before.clone();
            cluster.nodes.sort_by_key(|node| node.name != helper.name);
            let desired = workshop.expand(playbook, &cluster)?;
            let tried =
                converge_on(&cluster, &[helper], desired, &working.run, None, |_| Ok(())).await?;
            if tried.connections.contains_key(&helper.name) {
                outcome.and(tried);
                return Ok(());
            }
        }
        outcome.ok = false;
        Err(Stop::failed(
            "no other controller can be reached, and one is needed to take the node \
            out of the cluster",
        )
        .help(
            "make sure that one of them runs and can be logged in to, and run the same \
                command again",
        ))
    }

    /// Undoes on the machine what labctl made there.
    async fn empty_machine(
        &self,
        down: &Playbook,
        working: &Working,
        outcome: &mut Outcome,
    ) -> Result<(), Stop> {
        let desired = bare_workshop(self.before, self.sources)?.expand(down, self.before)?;
        let emptied = converge_on(
            self.before,
            &[&self.leaving.node],
            desired,
            &working.run,
            None,
            |_| Ok(()),
        )
        .await?;
        outcome.and(emptied);
        Ok(())
    }
}

fn text_of(path: &Path) -> Result<String, Stop> {
    load::text(path).map_err(Stop::bad)
}

fn save(path: &Path, text: &str) -> Result<(), Stop> {
    if text_of(path)? == text {
        return Ok(());
    }
    load::save(path, text)
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))
}

/// The lab that the inventory would describe with `text` in it; everything wrong with that is said.
fn imagine(path: &Path, text: &str, how: &str, reporter: &Reporter) -> Result<Cluster, Stop> {
    let rename = |mut problem: Problem| {
        problem.file = format!("{} {how}", path.display()).into();
        problem
    };
    match cluster::open_with(path, text) {
        // What it warns of is said by every run from now on.
        Ok((cluster, _)) => Ok(cluster),
        Err(problems) => {
            let errors: Vec<Problem> =
                problems.into_iter().filter(Problem::is_error).map(rename).collect();
            reporter.problems(&path.display().to_string(), &errors);
            Err(Stop::silent(Exit::Bad))
        }
    }
}

fn by_hand(error: edit::EditError, path: &Path, new: &NewNode) -> Stop {
    let NewNode { name, address, roles, .. } = new;
    let entry = format!("{{ name: {name}, address: {address}, roles: [{}] }}", roles.join(", "));
    let path = path.display();
    Stop::bad(error)
        .help(format!("add `{entry}` to the nodes of {path} yourself, and run `labctl up {path}`"))
}

fn remove_by_hand(error: edit::EditError, path: &Path, name: &str) -> Stop {
    Stop::bad(error).help(format!(
        "take the entry of `{name}` out of {} yourself, and run `labctl node remove` again: it \
        does the rest",
        path.display()
    ))
}

/// Removes from the lab directory what belongs to a node that has left.
fn forget_files(lab: &LabDirectory, node: &Node) -> Result<(), Stop> {
    let folder = lab.pki().join("nodes").join(&node.name);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Stop::failed(format!("cannot remove {}: {error}", folder.display())));
        }
        _ => {}
    }
    // Another machine may come to its address, with another key.
    let path = lab.known_hosts();
    let Ok(hosts) = std::fs::read_to_string(&path) else { return Ok(()) };
    let host = &node.ssh.host;
    let names = [host.clone(), format!("[{host}]:{}", node.ssh.port.unwrap_or(22))];
    let is_its = |line: &&str| {
        line.split(' ').next().is_some_and(|first| names.iter().any(|name| name == first))
    };
    let kept: String =
        hosts.lines().filter(|line| !is_its(line)).map(|line| format!("{line}\n")).collect();
    if kept == hosts {
        return Ok(());
    }
    lab.write_private(&path, kept.as_bytes())
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))
}
