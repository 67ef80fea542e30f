//! The whole of `up` inside of a run, for every operation that ends with a lab that is as its
//! inventory says.

use super::components::refuse_unknown_flags;
use super::converge::converge_saving;
use super::exit::Stop;
use super::inputs::bundle;
use super::named::{known, limited};
use super::options::Options;
use super::prepared::desired;
use super::roster;
use super::session::{Outcome, Working, lab_of};
use crate::cluster::{Cluster, Node, Role};
use crate::event::Events;
use crate::lab::cache_directory;
use crate::pki::Ensured;
use crate::playbook::{Playbook, UP};

/// The playbook that brings the lab up, as far as the play of `--until`.
pub fn way_up(cluster: &Cluster, options: &Options) -> Result<Playbook, Stop> {
    let playbook = options.playbook(UP, cluster)?;
    let Some(last) = &options.until else { return Ok(playbook) };
    let plays = playbook.plays.iter().map(|play| play.name.as_str());
    known(last, "play", "in this playbook", plays)?;
    Ok(playbook.until(last))
}

/// Brings the lab up.
pub async fn bring_up(
    cluster: &Cluster,
    playbook: &Playbook,
    options: &Options,
    working: Working,
) -> Result<Outcome, Stop> {
    bring_up_with(None, cluster, playbook, options, working).await
}

/// Like [`bring_up`], with certificates that were issued for this run, if any.
pub async fn bring_up_with(
    issued: Option<Ensured>,
    cluster: &Cluster,
    playbook: &Playbook,
    options: &Options,
    working: Working,
) -> Result<Outcome, Stop> {
    // Do not bring up a node that is being removed.
    let cluster = &roster::read(&lab_of(cluster)).staying(cluster);
    roster::refuse_other_version(cluster, options)?;
    let bundle = bundle(cluster, &working.events).await?;
    refuse_unknown_flags(cluster, &bundle, &options.inventory, &working.events).await?;
    let desired = desired(issued, cluster, playbook, bundle, options)?;
    start_local_nodes(cluster, &working.events).await?;
    let nodes = limited(cluster, &options.limit)?;
    let known = roster::read(&lab_of(cluster));
    // A node belongs to the lab from the moment when work on it starts.
    let begin = |reached: &[&Node]| roster::remember(cluster, reached);
    let mut outcome = converge_saving(cluster, &nodes, desired, &working.run, begin).await?;
    // What fails on a controller leaves workers unfinished.
    let failed = |node: &&Node| outcome.applied.failed.contains_key(&node.name);
    let controllers = nodes.iter().filter(|node| node.has(Role::Controller));
    // Nor does a lab run any version before it is whole.
    let whole = options.until.is_none() && !working.run.is_cancelled();
    if whole && !controllers.clone().any(failed) {
        roster::runs(cluster, nodes.iter().copied().filter(|node| !failed(node)))?;
    }
    if !known.nodes.is_empty() {
        let new = nodes.iter().filter(|node| known.member(&node.name).is_none());
        outcome.turnover.extend(new.map(|node| node.name.clone()));
    }
    Ok(outcome)
}

/// Checks whether this machine can run local nodes, if the inventory has any, before anything is
/// written.
pub fn fit_for_local_nodes(cluster: &Cluster) -> Result<(), Stop> {
    if cluster.local.is_some() {
        crate::local::check_machine().map_err(Stop::failed)
    } else {
        Ok(())
    }
}

/// Creates and starts local nodes, if the inventory has any.
pub async fn start_local_nodes(cluster: &Cluster, events: &Events) -> Result<(), Stop> {
    if cluster.local.is_some() {
        crate::local::up(cluster, &lab_of(cluster), &cache_directory(), events)
            .await
            .map_err(Stop::failed)?;
    }
    Ok(())
}

/// Runs another playbook on all nodes, with the certificates that the lab directory has.
///
/// # Errors
/// Those of [`bring_up`].
pub async fn run_playbook(
    cluster: &Cluster,
    playbook: &Playbook,
    options: &Options,
    working: &Working,
) -> Result<Outcome, Stop> {
    let bundle = bundle(cluster, &working.events).await?;
    let desired = desired(None, cluster, playbook, bundle, options)?;
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    converge_saving(cluster, &nodes, desired, &working.run, |_| Ok(())).await
}
