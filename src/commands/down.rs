//! `down`: takes the lab off its nodes; local nodes go with it.

use super::converge::converge;
use super::session::{Outcome, exit_of, lab_of, limited, open, refuse_lost_nodes, under_lock};
use super::workshop::bare_workshop;
use super::{Exit, Stop, next, roster};
use crate::cli::{Down, Global};
use crate::cluster::{Cluster, Node};
use crate::engine::Run;
use crate::playbook::standard;
use crate::report::{Answer, Reporter};

/// Removes the lab.
pub async fn down(args: &Down, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    limited(&cluster, &global.limit)?;
    let remove_nodes = cluster.local.is_some() && !args.keep_nodes;
    if remove_nodes && !global.limit.is_empty() {
        return Err(Stop::bad(
            "local nodes are removed together, so --limit does not go with `down`",
        )
        .help("leave out --limit, or add --keep-nodes to empty some nodes and keep them"));
    }
    if !remove_nodes {
        refuse_lost_nodes(&cluster)?;
    }
    if !global.yes {
        let question = question(&cluster, &limited(&cluster, &global.limit)?, remove_nodes);
        match reporter.confirm(&question).map_err(Stop::failed)? {
            Answer::Yes => {}
            Answer::No => return Ok(Exit::Cancelled),
            Answer::Nobody => {
                return Err(Stop::bad(
                    "nobody is there to answer whether the lab may be removed: this is no terminal",
                )
                .help("add --yes to remove it without being asked"));
            }
        }
    }
    let report = under_lock("down", &cluster, global, reporter, |working| async {
        let (run, events) = (working.run, working.events);
        if !remove_nodes {
            return empty(&cluster, args, global, &run).await;
        }
        crate::local::down(&lab_of(&cluster), &events).await.map_err(Stop::failed)?;
        Ok(Outcome { ok: true, ..Outcome::default() })
    })
    .await?;
    let keep = if args.keep_nodes { " --keep-nodes" } else { "" };
    let again =
        format!("{}{keep}", next::again("down", &args.lab.inventory, &args.sources, global));
    reporter.close(&report, &if report.ok() { Vec::new() } else { vec![again] });
    if report.ok() && remove_nodes {
        remove_lab_directory(&cluster)?;
    }
    Ok(exit_of(&report))
}

/// What is asked before anything is destroyed: what goes, where, and what stays.
fn question(cluster: &Cluster, nodes: &[&Node], remove_nodes: bool) -> String {
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    let (lab, names) = (&cluster.name, names.join(", "));
    if remove_nodes {
        format!(
            "Remove the lab {lab}, its local nodes ({names}) with all that is on them, and its \
            certificates?"
        )
    } else {
        format!(
            "Take the lab {lab} off {names}? All that runs in it and all its data there is lost; \
            the nodes stay."
        )
    }
}

/// Takes the lab off nodes that stay.
async fn empty(
    cluster: &Cluster,
    args: &Down,
    global: &Global,
    run: &Run,
) -> Result<Outcome, Stop> {
    let playbook = standard::find("down", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    let workshop = bare_workshop(cluster, &args.sources)?;
    let outcome = converge(cluster, workshop.expand(&playbook, cluster)?, global, run).await?;
    let emptied = |node: &String| !outcome.applied.failed.contains_key(node);
    let empty: Vec<&String> = outcome.connections.keys().filter(|node| emptied(node)).collect();
    if !run.is_cancelled() {
        roster::change(&lab_of(cluster), |roster| {
            empty.iter().for_each(|node| roster.forget(node))
        })?;
    }
    Ok(outcome)
}

/// Local nodes are gone for good, and so are their keys and certificates.
fn remove_lab_directory(cluster: &Cluster) -> Result<(), Stop> {
    let root = &cluster.lab_directory;
    lab_of(cluster)
        .remove()
        .map_err(|error| Stop::failed(format!("remove {}: {error}", root.display())))
}
