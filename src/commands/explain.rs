//! `explain` and `graph`: the runbook for a reader: what is done, why, and the same by hand.

use super::session::{known, limited, open, print};
use super::workshop::{outlook, workshop_in_memory};
use super::{Exit, Stop};
use crate::cli::{Explain, Global, Graph, GraphFormat};
use crate::plan::explain::explain as explained;
use crate::playbook::{graph, standard};
use crate::report::Reporter;

/// Prints every play with its reason, its tasks, and the commands that these stand for.
pub fn explain(args: &Explain, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let playbook = standard::find("up", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    let nodes: Vec<&str> =
        limited(&cluster, &global.limit)?.iter().map(|node| node.name.as_str()).collect();
    for name in &args.play {
        known(
            name,
            "play",
            "of this playbook",
            playbook.plays.iter().map(|play| play.name.as_str()),
        )?;
    }
    let workshop = workshop_in_memory(&cluster, outlook(&cluster, reporter)?, &args.sources)?
        .limited(&global.limit);
    let plays = workshop.expand(&playbook, &cluster)?;
    print(
        reporter,
        &explained(&plays, &nodes, |play| args.play.is_empty() || args.play.contains(&play.name)),
    )
}

/// Draws which play comes after which.
pub fn graph(args: &Graph, reporter: &Reporter) -> Result<Exit, Stop> {
    open(&args.lab.inventory, reporter)?;
    let playbook = standard::find("up", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    print(
        reporter,
        &match args.format {
            GraphFormat::Mermaid => graph::mermaid(&playbook),
            GraphFormat::Dot => graph::dot(&playbook),
        },
    )
}
