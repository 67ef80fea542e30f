//! `init`: writes an inventory, for local nodes or for machines that it has looked at.

mod found;
mod like;
mod local;
mod look;
mod place;
mod propose;
mod text;
mod wanted;

use serde_json::json;

use self::found::FoundMachine;
use self::place::InventoryPlace;
use super::exit::{Exit, Stop};
use super::options::Options;
use super::session::print;
use crate::cluster::{self, Cluster, Role};
use crate::inventory::Problem;
use crate::report::Reporter;

pub use wanted::{Model, Shape, Wanted};

/// Writes an inventory.
pub async fn init(wanted: &Wanted, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let place = InventoryPlace::of(wanted)?;
    // A path in an inventory begins at its directory.
    let identity = match &wanted.identity {
        Some(file) if place.is_elsewhere() => std::path::absolute(file).ok(),
        file => file.clone(),
    };
    let wanted = &Wanted { identity, ..wanted.clone() };
    let mut remarks = Vec::new();
    let text = match wanted.like {
        Some(model) => like::text(model, &place, wanted.name.as_deref())?,
        None if wanted.hosts.is_empty() => local::text(&wanted.shape, &place)?,
        None => {
            let found = look::look(wanted, &place, options, reporter).await?;
            let proposal = propose::propose(&found, &wanted.shape)
                .map_err(|(what, help)| Stop::bad(what).help(help))?;
            remarks = found.iter().map(FoundMachine::remark).collect();
            text::of_machines(&proposal, &found, &place, wanted)
        }
    };
    let cluster = checked(&place, &text, reporter)?;
    if place.is_stdout() {
        return print(reporter, &text);
    }
    place.write(&text)?;
    place.write_schema()?;
    finish(&place, &cluster, &remarks, reporter)
}

/// Says what was written, and what to type next.
fn finish(
    place: &InventoryPlace,
    cluster: &Cluster,
    remarks: &[String],
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    if reporter.is_json() {
        let said = json!({
            "event": "written",
            "inventory": place.file,
            "lab": cluster.name,
            "nodes": cluster.nodes.iter().map(|node| &node.name).collect::<Vec<_>>(),
        });
        return print(reporter, &format!("{said}\n"));
    }
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default();
    let names = width(&mut cluster.nodes.iter().map(|node| node.name.len()));
    let roles = |node: &cluster::Node| {
        node.roles.iter().map(Role::to_string).collect::<Vec<_>>().join(", ")
    };
    let wide = width(&mut cluster.nodes.iter().map(|node| roles(node).len()));
    let mut said = format!("{}: lab {}\n\n", place.file.display(), cluster.name);
    for (index, node) in cluster.nodes.iter().enumerate() {
        let remark = remarks.get(index).map(String::as_str).unwrap_or_default();
        let line = format!(
            "  {:names$}  {:15}  {:wide$}  {remark}",
            node.name,
            node.address.to_string(),
            roles(node)
        );
        said.push_str(&format!("{}\n", line.trim_end()));
    }
    said.push_str("\nNext:\n");
    for (verb, what) in [
        ("plan", "show what would be done"),
        ("up", "do it"),
        ("smoke", "check that it works"),
        ("down", "remove the lab again"),
    ] {
        said.push_str(&format!(
            "  {:width$}  # {what}\n",
            place.command(verb),
            width = place.width()
        ));
    }
    print(reporter, &said)
}

/// Resolves what is about to be written, and prints its warnings.
fn checked(place: &InventoryPlace, text: &str, reporter: &Reporter) -> Result<Cluster, Stop> {
    match cluster::open_with(&place.file, text) {
        Ok((cluster, warnings)) => {
            for warning in warnings {
                let message =
                    format!("{}\n  help: {}", warning.what, warning.help.unwrap_or_default());
                reporter.warning(&message);
            }
            Ok(cluster)
        }
        Err(problems) => {
            let errors: Vec<Problem> = problems.into_iter().filter(Problem::is_error).collect();
            reporter.problems("the proposed inventory", &errors);
            Err(Stop::silent(Exit::Bad))
        }
    }
}
