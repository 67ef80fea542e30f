//! `explain` and `graph`: the runbook for a reader: what is done, why, and the same by hand.

use super::session::{Workshop, bundle, limited, open, print, workshop_in_memory};
use super::{Exit, Stop};
use crate::cli::{Explain, Global, Graph, GraphFormat, Lab, Sources};
use crate::cluster::Cluster;
use crate::event::Events;
use crate::module::State;
use crate::plan::DesiredPlay;
use crate::playbook::{Playbook, standard};
use crate::report::Reporter;

/// Prints every play with its reason and the commands that it stands for, node by node.
pub async fn explain(args: &Explain, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let (cluster, plays) = worked_out(&args.lab, &args.sources, reporter).await?;
    let nodes = limited(&cluster, &global.limit)?;
    if let Some(unknown) = args.play.iter().find(|name| plays.iter().all(|play| play.name != **name)) {
        let known: Vec<&str> = plays.iter().map(|play| play.name.as_str()).collect();
        return Err(
            Stop::bad(format!("there is no play {unknown}")).help(format!("the plays are {}", known.join(", ")))
        );
    }
    let mut text = String::new();
    for play in plays.iter().filter(|play| args.play.is_empty() || args.play.contains(&play.name)) {
        text.push_str(&format!("# {}\n\n", play.name));
        if !play.why.is_empty() {
            text.push_str(&format!("{}\n\n", play.why.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        for on in play.nodes.iter().filter(|on| nodes.iter().any(|node| node.name == on.node)) {
            text.push_str(&format!("## on {}\n\n", on.node));
            for task in &on.tasks {
                text.push_str(&format!(
                    "{}{}\n\n",
                    task.title,
                    task.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
                ));
                for line in task.desired.shell().lines() {
                    text.push_str(&format!("    {line}\n"));
                }
                text.push('\n');
            }
        }
    }
    print(reporter, &text)
}

/// Draws which play comes after which.
pub async fn graph(args: &Graph, reporter: &Reporter) -> Result<Exit, Stop> {
    open(&args.lab.inventory, reporter)?;
    let playbook = up_playbook(&args.sources)?;
    let edges = playbook.plays.iter().flat_map(|play| play.after.iter().map(move |earlier| (earlier, &play.name)));
    let mut text = String::new();
    match args.format {
        GraphFormat::Mermaid => {
            text.push_str("graph LR\n");
            for play in &playbook.plays {
                text.push_str(&format!("  {}\n", play.name));
            }
            edges.for_each(|(earlier, later)| text.push_str(&format!("  {earlier} --> {later}\n")));
        }
        GraphFormat::Dot => {
            text.push_str("digraph plays {\n  rankdir=LR\n");
            for play in &playbook.plays {
                text.push_str(&format!("  \"{}\"\n", play.name));
            }
            edges.for_each(|(earlier, later)| text.push_str(&format!("  \"{earlier}\" -> \"{later}\"\n")));
            text.push_str("}\n");
        }
    }
    print(reporter, &text)
}

fn up_playbook(sources: &Sources) -> Result<Playbook, Stop> {
    standard::find("up", sources.playbooks.as_deref()).map_err(Stop::bad)
}

async fn worked_out(lab: &Lab, sources: &Sources, reporter: &Reporter) -> Result<(Cluster, Vec<DesiredPlay>), Stop> {
    let cluster = open(&lab.inventory, reporter)?;
    let (events, _silent) = Events::channel();
    let workshop: Workshop = workshop_in_memory(&cluster, bundle(&cluster, &events).await?, sources)?;
    let plays = workshop.expand(&up_playbook(sources)?, &cluster)?;
    Ok((cluster, plays))
}
