//! `explain` and `graph`: print the runbook: what is done, why, and the commands to do it by hand.

use std::path::Path;

use super::bring_up::way_up;
use super::exit::{Exit, Stop};
use super::inputs::{Inputs, outlook};
use super::machines;
use super::named::{known, limited};
use super::options::{Options, with_addons};
use super::session::{lab_of, open_to_use, print};
use crate::cluster::login::Tool;
use crate::cluster::{self, Cluster};
use crate::engine::connect::way_in;
use crate::pki::specs;
use crate::plan::DesiredPlay;
use crate::plan::explain::{certificates, explain as explained, preface};
use crate::plan::openssl::made_by_hand;
use crate::plan::script::{WayIn, script};
use crate::playbook::{UP, graph, standard};
use crate::report::Reporter;

/// Prints plays, all unless some are named, with their reasons, their tasks, and the commands that
/// these stand for.
pub async fn explain(
    plays: &[String],
    language: GuideLanguage,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
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
    let lab = lab_of(&cluster);
    let hand = inputs.hand(&lab);
    if language == GuideLanguage::Shell {
        let ways = ways_in(&cluster, &nodes).await?;
        let title = format!("The lab {} by hand, as `labctl up` builds it.", cluster.name);
        let text = script(&title, &expanded, &ways, &hand, |play| wanted(&play.name));
        return print(reporter, &text);
    }
    let mut text = String::new();
    if plays.is_empty() {
        let bundle = inputs.bundle_folder().display().to_string();
        text = preface(&cluster.name, &bundle, &lab.pki().display().to_string(), &hand);
    }
    let told = explained(&expanded, &nodes, &hand, |play| wanted(&play.name));
    let made = made_by_hand(&specs(&cluster), &told.pki);
    if !made.is_empty() {
        let are_there = lab.pki().join("ca.crt").exists();
        text.push_str(&certificates(&lab.root().display().to_string(), are_there, &made));
    }
    text.push_str(&told.text);
    print(reporter, &text)
}

/// A language that the runbook is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuideLanguage {
    /// A guide to read, with commands to type.
    Markdown,
    /// A script that does the same.
    Shell,
}

/// How these nodes are reached.
async fn ways_in(cluster: &Cluster, nodes: &[&str]) -> Result<Vec<WayIn>, Stop> {
    let mut ways = Vec::new();
    for node in cluster.nodes.iter().filter(|node| nodes.contains(&node.name.as_str())) {
        let ssh = way_in(cluster, node).await.map_err(|error| Stop::failed(error.to_string()))?;
        let user = ssh.iter().skip_while(|word| *word != "-l").nth(1);
        let is_root = user.is_none_or(|user| user == "root");
        let tool = match node.ssh.escalation.tool {
            Tool::Sudo => "sudo -n",
            Tool::Doas => "doas -n",
        };
        let root = (!is_root).then_some(tool);
        ways.push(WayIn { node: node.name.clone(), ssh, root });
    }
    Ok(ways)
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
    let lab = lab_of(cluster);
    let hand = inputs.hand(&lab);
    let alone =
        |play: &DesiredPlay| explained(&plays, &nodes, &hand, |it| it.name == play.name).text;
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
    let cluster = open_to_use(&options.inventory, reporter)?;
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
