//! `graph --lab`: the lab as a picture, as the inventory has it, or as it is now.

use std::collections::BTreeMap;

use super::exit::{Exit, Stop};
use super::explain::GraphLanguage;
use super::options::Options;
use super::session::{open_to_use, print, refuse_lost_nodes};
use super::status::look::look;
use crate::picture::{Health, Picture, dot, mermaid, svg};
use crate::report::Reporter;
use crate::status::NodeStatus;

/// Draws the lab: its nodes, and who reaches whom; `live` also asks how they are.
pub async fn picture(
    language: GraphLanguage,
    live: bool,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let mut health = BTreeMap::new();
    if live {
        refuse_lost_nodes(&cluster)?;
        let status = look(&cluster, options).await?;
        health.extend(status.nodes.iter().map(|node| (node.name.clone(), health_of(node))));
    }
    let picture = Picture::of(&cluster, &health);
    let text = match language {
        GraphLanguage::Mermaid => mermaid::draw(&picture),
        GraphLanguage::Dot => dot::draw(&picture),
        GraphLanguage::Svg => svg::draw(&picture),
    };
    print(reporter, &text)
}

fn health_of(node: &NodeStatus) -> Health {
    match (node.reached, node.findings) {
        (false, _) => Health::Silent,
        (true, 0) => Health::Well,
        (true, _) => Health::Ill,
    }
}
