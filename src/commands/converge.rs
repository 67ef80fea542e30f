//! `up`, `plan` and `play`: bring nodes to what a playbook desires, or show what that would take.

use std::collections::BTreeMap;
use std::path::Path;

use super::node::finish_removals;
use super::session::{
    Outcome, Working, exit_of, lab_of, limited, open, refuse_lost_nodes, under_lock,
};
use super::workshop::{
    Desired, bundle, bundle_planned, desired, desired_of, tell_issued, workshop_planned,
};
use super::{Exit, Stop, ask, next, roster};
use crate::cli::{Converge, Global, Play, Sources};
use crate::cluster::{Cluster, Node, Role};
use crate::engine::{Connections, Run, apply::apply, connect::connect, probe::probe, script::Mark};
use crate::event::{Event, Events, Failure, Preparation};
use crate::lab::cache_directory;
use crate::module::Facts;
use crate::pki::{Ensured, identity::Holding, rotate, rotation::Stage, store};
use crate::plan::preflight::{self, Obstacle};
use crate::plan::{self, DesiredPlay, Plan, ownership};
use crate::playbook::{Playbook, standard};
use crate::report::Reporter;

/// Brings the lab to what the inventory says.
pub async fn up(args: &Converge, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let playbook = standard::find("up", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    roster::refuse_drift(&cluster, &args.lab.inventory, reporter)?;
    fit_for_local_nodes(&cluster)?;
    let report = under_lock("up", &cluster, global, reporter, |working| {
        tell_of_rotation(&cluster, &args.lab, &working.events);
        bring_up_and_finish(&cluster, &playbook, args, global, working)
    })
    .await?;
    let inventory = args.lab.inventory.display();
    let then = if report.ok() {
        let admin = relative(&lab_of(&cluster).admin_conf());
        vec![
            format!("export KUBECONFIG={admin}; kubectl get nodes"),
            format!("labctl smoke {inventory}"),
        ]
    } else {
        vec![next::again("up", &args.lab.inventory, &args.sources, global)]
    };
    reporter.close(&report, &then);
    Ok(exit_of(&report))
}

/// As [`bring_up`], and then the end of removals that earlier runs began: last, because they need a
/// lab that works.
async fn bring_up_and_finish(
    cluster: &Cluster,
    playbook: &Playbook,
    args: &Converge,
    global: &Global,
    working: Working,
) -> Result<Outcome, Stop> {
    let finishes = global.limit.is_empty();
    tell_of_removals(cluster, finishes, &working.events);
    let mut outcome = bring_up(cluster, playbook, &args.sources, global, working.clone()).await?;
    if outcome.ok && finishes && !working.run.is_cancelled() {
        let finished =
            finish_removals(&args.lab.inventory, cluster, &args.sources, global, &working).await?;
        finished.into_iter().for_each(|finished| outcome.and(finished));
    }
    Ok(outcome)
}

/// Says which removals were begun and have not ended, and who finishes them.
fn tell_of_removals(cluster: &Cluster, finishes: bool, events: &Events) {
    for member in roster::read(&lab_of(cluster)).leaving() {
        let how = if finishes {
            "`labctl up` finishes it"
        } else {
            "`labctl up` without --limit finishes it"
        };
        let message = format!("the removal of {} was begun and has not ended; {how}", member.name);
        events.emit(Event::Warning { node: None, message });
    }
}

/// The whole of `up` inside of a run, for every verb that ends with a lab that is as its inventory
/// says.
pub async fn bring_up(
    cluster: &Cluster,
    playbook: &Playbook,
    sources: &Sources,
    global: &Global,
    working: Working,
) -> Result<Outcome, Stop> {
    bring_up_with(None, cluster, playbook, sources, global, working).await
}

/// As [`bring_up`], with certificates that were issued for it where there are any.
pub async fn bring_up_with(
    issued: Option<Ensured>,
    cluster: &Cluster,
    playbook: &Playbook,
    sources: &Sources,
    global: &Global,
    working: Working,
) -> Result<Outcome, Stop> {
    // A node that is on its way out is nobody's to bring up again.
    let cluster = &roster::read(&lab_of(cluster)).staying(cluster);
    let bundle = bundle(cluster, &working.events).await?;
    let desired = match issued {
        Some(ensured) => desired_of(ensured, cluster, playbook, bundle, sources, &global.limit)?,
        None => desired(cluster, playbook, bundle, sources, &global.limit)?,
    };
    start_local_nodes(cluster, &working.events).await?;
    let nodes = limited(cluster, &global.limit)?;
    let known = roster::read(&lab_of(cluster));
    let Desired { plays, .. } = &desired;
    let plays = plays.clone();
    // From the moment at which work on it begins, a node is a part of the lab.
    let begin = |reached: &[&Node]| {
        desired.keep(cluster, &nodes, reached, &working.events)?;
        roster::remember(cluster, reached)
    };
    let mut outcome = converge_on(cluster, &nodes, plays, &working.run, None, begin).await?;
    if !known.nodes.is_empty() {
        let new = nodes.iter().filter(|node| known.member(&node.name).is_none());
        outcome.turnover.extend(new.map(|node| node.name.clone()));
    }
    Ok(outcome)
}

/// Runs any playbook.
pub async fn play(args: &Play, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let playbook =
        standard::named(&args.playbook, args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    let report = under_lock(
        &format!("play {}", playbook.name),
        &cluster,
        global,
        reporter,
        |working| async {
            let (run, events) = (working.run, working.events);
            let bundle = bundle(&cluster, &events).await?;
            let desired = desired(&cluster, &playbook, bundle, &args.sources, &global.limit)?;
            converge_kept(&cluster, desired, global, &run).await
        },
    )
    .await?;
    reporter.close(&report, &[]);
    Ok(exit_of(&report))
}

/// Shows what `up` would do. Writes nothing, neither on a node nor on this machine.
pub async fn plan(args: &Converge, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let playbook = standard::find("up", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    roster::refuse_drift(&cluster, &args.lab.inventory, reporter)?;
    refuse_lost_nodes(&cluster)?;
    let whole = cluster;
    let cluster = roster::read(&lab_of(&whole)).staying(&whole);
    let nodes = limited(&cluster, &global.limit)?;
    limited(&cluster, &global.take_over)?;
    let (events, receiver) = Events::channel();
    let telling = reporter.spawn(receiver, None);
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let run = Run::new(events.clone(), global.forks.get(), cancelled)
        .asking(ask::keyring())
        .telling_new_texts(global.diff)
        .taking_over(global.take_over.clone());
    events.emit(Event::RunStarted {
        verb: "plan".to_owned(),
        lab: cluster.name.clone(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    });
    tell_of_removals(&whole, global.limit.is_empty(), &events);
    let planned = async {
        let bundle = bundle_planned(&cluster, &events).await?;
        let (workshop, issued) = workshop_planned(&cluster, bundle, &args.sources)?;
        let workshop = workshop.limited(&global.limit);
        let desired = select(workshop.expand(&playbook, &cluster)?, &nodes);
        let stopped = stopped_local_nodes(&cluster);
        // On a node that is still to be made, everything is to be done.
        let runs = |node: &Node| stopped.iter().all(|(name, _)| *name != node.name);
        let reachable: Vec<&Node> = nodes.iter().copied().filter(|node| runs(node)).collect();
        let planned = make_plan(&cluster, &reachable, desired, &run, None).await?;
        let (plan, reached) = (planned.plan, planned.connections.len());
        // What a refused plan would have issued is of no interest, and the wrong idea.
        if planned.strangers.is_empty() {
            tell_issued(&issued, &events);
        }
        for (node, made) in &stopped {
            events.emit(Event::Preparation(Preparation::LocalNode {
                node: node.clone(),
                made: *made,
            }));
        }
        Ok::<_, Stop>((plan, reached, reachable.len()))
    }
    .await;
    drop((run, events));
    let report = telling.await.map_err(Stop::failed)?;
    let (plan, reached, reachable) = planned?;
    if reached < reachable {
        // A plan without the nodes that did not answer is still a plan; one without any node is
        // none.
        if reached > 0 {
            reporter.plan(&report, &[])
        } else {
            reporter.close(&report, &[])
        }
        return Ok(Exit::Failed);
    }
    let unfinished = roster::read(&lab_of(&cluster)).leaving().count();
    if plan.is_empty() && report.preparations.is_empty() && unfinished == 0 {
        reporter.plan(&report, &[]);
        return Ok(Exit::Done);
    }
    reporter.plan(&report, &[next::again("up", &args.lab.inventory, &args.sources, global)]);
    Ok(Exit::Something)
}

/// The local nodes that `up` would start, each with whether it would have to be made first.
fn stopped_local_nodes(cluster: &Cluster) -> Vec<(String, bool)> {
    if cluster.local.is_none() {
        return Vec::new();
    }
    let there = crate::local::nodes(&lab_of(cluster));
    let found = |name: &str| there.iter().find(|local| local.name == name);
    let stopped = cluster
        .nodes
        .iter()
        .filter(|node| found(&node.name).is_none_or(|local| local.pid.is_none()));
    stopped.map(|node| (node.name.clone(), found(&node.name).is_none())).collect()
}

/// Warns when a rotation of the CAs was begun and not ended: the nodes get what belongs to its
/// stage, and no more.
fn tell_of_rotation(cluster: &Cluster, lab: &crate::cli::Lab, events: &Events) {
    let stage = match rotate::stage(cluster, &lab_of(cluster)) {
        Ok(Stage::Trust) => "the new ones are trusted, the old ones still sign",
        Ok(Stage::Replace) => "the new ones sign, the old ones are still trusted",
        Ok(Stage::Drop) => {
            "the old ones are gone from the lab directory, and perhaps not yet from every node"
        }
        // What cannot be read is told of when the certificates are.
        Ok(Stage::Settled) | Err(_) => return,
    };
    let message = format!(
        "the lab's CAs are half-way replaced: {stage}; `labctl certs rotate-ca {}` goes on",
        lab.inventory.display()
    );
    events.emit(Event::Warning { node: None, message });
}

/// Whether this machine can hold local nodes, where the inventory asks for them: said before
/// anything is written.
pub fn fit_for_local_nodes(cluster: &Cluster) -> Result<(), Stop> {
    if cluster.local.is_some() {
        crate::local::check_machine().map_err(Stop::failed)
    } else {
        Ok(())
    }
}

/// Makes local nodes where the inventory asks for them.
pub async fn start_local_nodes(cluster: &Cluster, events: &Events) -> Result<(), Stop> {
    if cluster.local.is_some() {
        crate::local::up(cluster, &lab_of(cluster), &cache_directory(), events)
            .await
            .map_err(Stop::failed)?;
    }
    Ok(())
}

/// Connects, probes, plans and applies.
pub async fn converge(
    cluster: &Cluster,
    desired: Vec<DesiredPlay>,
    global: &Global,
    run: &Run,
) -> Result<Outcome, Stop> {
    converge_on(cluster, &limited(cluster, &global.limit)?, desired, run, None, |_| Ok(())).await
}

/// As [`converge`], with certificates that are kept before anything changes.
pub async fn converge_kept(
    cluster: &Cluster,
    desired: Desired,
    global: &Global,
    run: &Run,
) -> Result<Outcome, Stop> {
    let nodes = limited(cluster, &global.limit)?;
    let plays = desired.plays.clone();
    let begin = |reached: &[&Node]| desired.keep(cluster, &nodes, reached, &run.events);
    converge_on(cluster, &nodes, plays, run, None, begin).await
}

/// As [`converge`], on `nodes`. They must belong to the lab whose keys `whose` knows, or the lab
/// directory; `begin` gets those that were reached, before anything is done to them.
pub async fn converge_on(
    cluster: &Cluster,
    nodes: &[&Node],
    desired: Vec<DesiredPlay>,
    run: &Run,
    whose: Option<Holding>,
    begin: impl FnOnce(&[&Node]) -> Result<(), Stop>,
) -> Result<Outcome, Stop> {
    let desired = select(desired, nodes);
    let Planned { plan, connections, strangers } =
        make_plan(cluster, nodes, desired, run, whose).await?;
    let reached = connections.len();
    let mut outcome = Outcome { ok: reached == nodes.len(), connections, ..Outcome::default() };
    if !strangers.is_empty() {
        outcome.applied.failed =
            strangers.into_iter().map(|node| (node, "preflight".to_owned())).collect();
        return Ok(outcome);
    }
    for node in nodes.iter().filter(|node| !outcome.connections.contains_key(&node.name)) {
        outcome.applied.failed.insert(node.name.clone(), "connect".to_owned());
    }
    if reached == 0 {
        return Ok(outcome);
    }
    let at_hand: Vec<&Node> =
        nodes.iter().copied().filter(|node| outcome.connections.contains_key(&node.name)).collect();
    begin(&at_hand)?;
    for on in plan.plays.iter().flat_map(|play| &play.nodes) {
        *outcome.unchanged.entry(on.node.clone()).or_default() += on.unchanged;
    }
    if !plan.is_empty() {
        let run = run.clone().marking(mark(cluster)?);
        let mut applied = apply(plan, &outcome.connections, &run).await;
        outcome.ok &= applied.ok;
        applied.failed.append(&mut outcome.applied.failed);
        outcome.applied = applied;
    }
    Ok(outcome)
}

/// Keeps only what concerns `nodes`.
fn select(mut plays: Vec<DesiredPlay>, nodes: &[&Node]) -> Vec<DesiredPlay> {
    for play in &mut plays {
        play.nodes.retain(|on| nodes.iter().any(|node| node.name == on.node));
    }
    plays
}

/// What nodes are told of the lab, once its keys are in the lab directory.
fn mark(cluster: &Cluster) -> Result<Mark, Stop> {
    let lab = lab_of(cluster);
    let holding = store::holding(cluster, &lab).map_err(Stop::failed)?;
    store::remember(&holding, &lab).map_err(Stop::failed)?;
    let text = (!holding.is_empty()).then(|| holding.mark().text().trim_end().to_owned());
    Ok(Mark { text, related: holding.related().map(str::to_owned).collect() })
}

/// A plan, and who can be worked on.
struct Planned {
    plan: Plan,
    /// Connections to the nodes that can be worked on; none where anything must not be touched.
    connections: Connections,
    /// Nodes that belong to somebody else.
    strangers: Vec<String>,
}

/// Connects, probes and plans.
async fn make_plan(
    cluster: &Cluster,
    nodes: &[&Node],
    mut desired: Vec<DesiredPlay>,
    run: &Run,
    whose: Option<Holding>,
) -> Result<Planned, Stop> {
    let mut connections = connect(cluster, nodes, run).await;
    let facts = probe(&connections, |node| plan::questions(&desired, node), run).await;
    let kept = || store::holding(cluster, &lab_of(cluster)).map_err(Stop::failed);
    let holding = whose.map_or_else(kept, Ok)?;
    let strangers = refuse_strangers(&holding, &facts, run);
    if !strangers.is_empty() {
        return Ok(Planned { plan: Plan::default(), connections: Connections::new(), strangers });
    }
    refuse_obstacles(&desired, &facts, &mut connections, run);
    connections.retain(|node, _| facts.contains_key(node));
    let controllers: Vec<&str> =
        cluster.with_role(Role::Controller).map(|node| node.name.as_str()).collect();
    preflight::settle_founding(&controllers, &mut desired, &facts);
    let plan = plan::diff::plan(&desired, &facts);
    // What a node that could not be reached needs, nobody knows; one that does not exist yet needs
    // everything.
    let names = nodes.iter().map(|node| node.name.clone());
    let left_out: Vec<String> = names.filter(|name| !connections.contains_key(name)).collect();
    let mut changes = if run.new_texts { plan.changes_with_new_texts() } else { plan.changes() };
    changes.retain(|change| !left_out.contains(&change.node));
    if nodes.is_empty() || !connections.is_empty() {
        let (unchanged, judged_again) = (plan.unchanged(), plan.judged_again());
        run.events.emit(Event::Planned { changes, unchanged, judged_again, left_out });
    }
    Ok(Planned { plan, connections, strangers })
}

/// Asks `nodes` whose they are, before a verb changes anything on the workstation. Reports those
/// that are not this lab's; a node that cannot be reached is reported when it is needed. Notes down
/// the keys that the lab has now, before any of them changes.
///
/// # Errors
/// When there are any, or the lab directory cannot be read.
pub async fn must_be_ours(cluster: &Cluster, nodes: &[&Node], run: &Run) -> Result<(), Stop> {
    let quiet = Run { events: Events::channel().0, ..run.clone() };
    let connections = connect(cluster, nodes, &quiet).await;
    connected_must_be_ours(cluster, &connections, run).await
}

/// As [`must_be_ours`], over connections that are there already.
///
/// # Errors
/// When there are any, or the lab directory cannot be read.
pub async fn connected_must_be_ours(
    cluster: &Cluster,
    connections: &Connections,
    run: &Run,
) -> Result<(), Stop> {
    let quiet = Run { events: Events::channel().0, ..run.clone() };
    let facts = probe(connections, |_| ownership::questions(), &quiet).await;
    let lab = lab_of(cluster);
    let holding = store::holding(cluster, &lab).map_err(Stop::failed)?;
    if refuse_strangers(&holding, &facts, run).is_empty() {
        return store::remember(&holding, &lab).map_err(Stop::failed);
    }
    Err(Stop::failed("nodes belong to somebody else, so nothing was changed")
        .help("each of them is named above, with what can be done"))
}

/// Reports nodes that belong to somebody else, by name.
fn refuse_strangers(holding: &Holding, facts: &BTreeMap<String, Facts>, run: &Run) -> Vec<String> {
    let strangers = ownership::strangers(holding, facts, &run.taken_over);
    let names = strangers.iter().map(|obstacle| obstacle.node.clone()).collect();
    for obstacle in strangers {
        run.events.emit(Event::TaskFailed(preflight_failure(obstacle)));
    }
    names
}

/// Tells of what stands in the way on a node, and leaves that node alone.
fn refuse_obstacles(
    desired: &[DesiredPlay],
    facts: &BTreeMap<String, Facts>,
    connections: &mut Connections,
    run: &Run,
) {
    for obstacle in preflight::obstacles(desired, facts) {
        connections.remove(&obstacle.node);
        run.events.emit(Event::TaskFailed(preflight_failure(obstacle)));
    }
}

fn preflight_failure(obstacle: Obstacle) -> Failure {
    Failure {
        node: obstacle.node,
        play: String::new(),
        task: "preflight".to_owned(),
        command: None,
        code: None,
        reason: obstacle.what,
        stderr: Vec::new(),
        journal: Vec::new(),
        help: Some(obstacle.help),
    }
}

/// A path as it is shortest to type from here.
fn relative(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    here.as_deref()
        .and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
        .display()
        .to_string()
}
