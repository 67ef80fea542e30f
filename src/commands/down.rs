//! `down`: removes the lab from its nodes, and removes local nodes.

use super::converge::converge;
use super::exit::{Exit, Stop};
use super::inputs::Inputs;
use super::named::limited;
use super::options::Options;
use super::runbook::Runbook;
use super::session::{
    Outcome, confirm, exit_of, lab_of, open_to_use, refuse_lost_nodes, under_lock,
};
use super::{next, roster};
use crate::cluster::{Cluster, Node};
use crate::engine::Run;
use crate::report::Reporter;

/// Removes the lab; with `keep_nodes`, local nodes are emptied and stay.
pub async fn down(keep_nodes: bool, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    limited(&cluster, &options.limit)?;
    let remove_nodes = cluster.local.is_some() && !keep_nodes;
    if remove_nodes && !options.limit.is_empty() {
        return Err(Stop::bad(
            "local nodes are removed together, so `down` cannot be combined with --limit",
        )
        .help("leave out --limit, or add --keep-nodes to empty some nodes and keep them"));
    }
    if !remove_nodes {
        refuse_lost_nodes(&cluster)?;
    } else if !reporter.is_json()
        && !crate::local::is_there(&lab_of(&cluster)).map_err(Stop::failed)?
    {
        reporter.note(&format!("there is no lab `{}` on this machine", cluster.name));
        return Ok(Exit::Done);
    }
    let question = question(&cluster, &limited(&cluster, &options.limit)?, remove_nodes);
    confirm(options, &question, "remove it without being asked", reporter)?;
    let report = under_lock("down", &cluster, options, reporter, |working| async {
        let (run, events) = (working.run, working.events);
        if !remove_nodes {
            return empty(&cluster, options, &run).await;
        }
        crate::local::down(&lab_of(&cluster), &events).await.map_err(Stop::failed)?;
        Ok(Outcome { ok: true, ..Outcome::default() })
    })
    .await?;
    let keep = if keep_nodes { " --keep-nodes" } else { "" };
    let again = format!("{}{keep}", next::command("down", options));
    reporter.close(&report, &if report.ok() { Vec::new() } else { vec![again] });
    if report.ok() && remove_nodes {
        remove_lab_directory(&cluster)?;
    }
    Ok(exit_of(&report))
}

/// Returns the question to ask before anything is removed: what is removed, from where, and what
/// stays.
fn question(cluster: &Cluster, nodes: &[&Node], remove_nodes: bool) -> String {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let (lab, names) = (&cluster.name, names.join(", "));
    if remove_nodes {
        format!(
            "Remove the lab {lab}, its local nodes ({names}) with everything on them, and its \
            certificates?"
        )
    } else {
        format!(
            "Remove the lab {lab} from {names}? Everything that runs in it and all its data \
            is lost; the nodes stay."
        )
    }
}

/// Removes the lab from nodes that stay.
async fn empty(cluster: &Cluster, options: &Options, run: &Run) -> Result<Outcome, Stop> {
    let playbook = options.playbook("down", cluster)?;
    let runbook = Runbook::new(Inputs::new(cluster, options)?, &playbook, cluster)?;
    let outcome = converge(cluster, runbook, options, run).await?;
    let emptied = |node: &String| !outcome.applied.failed.contains_key(node);
    let empty: Vec<&String> = outcome.connections.keys().filter(|node| emptied(node)).collect();
    if !run.is_cancelled() {
        roster::change(&lab_of(cluster), |roster| {
            empty.iter().for_each(|node| roster.forget(node))
        })?;
    }
    Ok(outcome)
}

/// The local nodes are gone, so their keys and certificates are useless.
fn remove_lab_directory(cluster: &Cluster) -> Result<(), Stop> {
    let root = &cluster.lab_directory;
    lab_of(cluster)
        .remove()
        .map_err(|error| Stop::failed(format!("remove {}: {error}", root.display())))
}
