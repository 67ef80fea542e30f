//! `explain` and `graph`: print the runbook: what is done, why, and the commands to do it by hand.

use std::path::Path;

use super::bring_up::way_up;
use super::exit::{Exit, Stop};
use super::inputs::{Inputs, outlook};
use super::machines;
use super::options::{Options, with_addons};
use super::session::{known, lab_of, limited, open, print};
use crate::cluster::{self, Cluster};
use crate::plan::{DesiredPlay, explain::explain as explained};
use crate::playbook::{UP, graph, standard};
use crate::report::Reporter;

/// Prints plays, all unless some are named, with their reasons, their tasks, and the commands that
/// these stand for.
pub fn explain(plays: &[String], options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&options.inventory, reporter)?;
    let playbook = options.playbook("up", &cluster)?;
    let nodes: Vec<&str> =
        limited(&cluster, &options.limit)?.iter().map(|node| node.name.as_str()).collect();
    for name in plays {
        known(
            name,
            "play",
            "in this playbook",
            playbook.plays.iter().map(|play| play.name.as_str()),
        )?;
    }
    let inputs = Inputs::new(&cluster, options)?
        .with_certificates_of(&lab_of(&cluster), outlook(&cluster, reporter)?)?;
    let wanted = |name: &String| plays.is_empty() || plays.contains(name);
    let expanded = inputs.expand_for(&playbook, &machines::known_bare(&cluster))?;
    print(reporter, &explained(&expanded, &nodes, |play| wanted(&play.name)))
}

/// Returns the names of the plays of a lab's playbook, of the standard one if there is no lab.
pub fn plays(inventory: Option<&Path>) -> Vec<String> {
    let cluster = inventory.and_then(|path| cluster::open(path).ok()).map(|(cluster, _)| cluster);
    let directory = cluster.as_ref().and_then(|cluster| cluster.playbooks.as_deref());
    let playbook = standard::find(UP, directory).ok();
    let playbook = match &cluster {
        Some(cluster) => playbook.and_then(|playbook| with_addons(playbook, cluster).ok()),
        None => playbook,
    };
    playbook.iter().flat_map(|playbook| &playbook.plays).map(|play| play.name.clone()).collect()
}

/// Explains each play that `up` would play with these options, by its name. Plays with nothing to
/// do for the lab are left out.
pub fn by_play(
    cluster: &Cluster,
    options: &Options,
    reporter: &Reporter,
) -> Result<Vec<(String, String)>, Stop> {
    let playbook = way_up(cluster, options)?;
    let nodes: Vec<&str> =
        limited(cluster, &options.limit)?.iter().map(|node| node.name.as_str()).collect();
    let inputs = Inputs::new(cluster, options)?
        .with_certificates_of(&lab_of(cluster), outlook(cluster, reporter)?)?;
    let plays = inputs.expand_for(&playbook, &machines::known_bare(cluster))?;
    let does = |play: &DesiredPlay| {
        play.nodes.iter().any(|on| nodes.contains(&on.node.as_str()) && !on.tasks.is_empty())
    };
    let alone = |play: &DesiredPlay| explained(&plays, &nodes, |it| it.name == play.name);
    Ok(plays.iter().filter(|play| does(play)).map(|it| (it.name.clone(), alone(it))).collect())
}

/// A language that graphs are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphLanguage {
    /// Mermaid, which code hosts draw in Markdown.
    Mermaid,
    /// Graphviz.
    Dot,
    /// A picture that browsers show.
    Svg,
}

/// Draws the order of the plays.
pub fn graph(
    language: GraphLanguage,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open(&options.inventory, reporter)?;
    let playbook = options.playbook("up", &cluster)?;
    print(
        reporter,
        &match language {
            GraphLanguage::Mermaid => graph::mermaid(&playbook),
            GraphLanguage::Dot => graph::dot(&playbook),
            GraphLanguage::Svg => {
                return Err(Stop::bad("plays cannot be drawn as SVG")
                    .help("draw them with Graphviz: labctl graph --format dot | dot -Tsvg"));
            }
        },
    )
}
