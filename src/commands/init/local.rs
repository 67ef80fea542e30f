//! An inventory for nodes that labctl makes on the workstation.

use std::fmt::Write as _;

use super::place::InventoryPlace;
use super::text::{bundle, head, plural};
use super::wanted::Shape;
use crate::commands::exit::Stop;
use crate::local;

/// The most nodes of a kind: their addresses are in one /24.
const MOST: usize = 90;

/// Returns the text for a lab of this shape.
pub(super) fn text(shape: &Shape, place: &InventoryPlace) -> Result<String, Stop> {
    let (controllers, workers) = (shape.controllers.unwrap_or(1), shape.workers.unwrap_or(2));
    if controllers == 0 {
        return Err(Stop::bad("a lab needs a controller").help("`--controllers 1`"));
    }
    if controllers > MOST || workers > MOST {
        let what = format!("local nodes are in one network: at most {MOST} of a kind");
        return Err(Stop::bad(what).help("choose smaller numbers"));
    }
    let net = format!("{}.0", free_subnet("10.240")?);
    let shown = format!("{}, {}", plural(controllers, "controller"), plural(workers, "worker"));
    let mut text = head(place, &format!("A lab on your own machine: {shown}."));
    text += &bundle(place);
    let _ = write!(
        text,
        "\n# labctl makes the nodes on this machine, joined by a bridge with this network. The \
         workstation has\n# its first address. This needs root.\nlocal:\n  subnet: {net}.0/24\n"
    );
    text += "\n# A node with several roles is one machine with several roles. A range is that many \
             nodes, whose\n# addresses count on.\nnodes:\n";
    let range = |kind: &str, count: usize| match count {
        1 => format!("{kind}-0"),
        _ => format!("\"{kind}-[0-{}]\"", count - 1),
    };
    let mut nodes = Vec::new();
    // Without a load balancer, one controller would be the only way to the API.
    if controllers > 1 {
        nodes.push(("lb-0".to_owned(), 5, "loadbalancer"));
    }
    let roles = if workers == 0 { "controller, worker" } else { "controller" };
    nodes.push((range("controller", controllers), 10, roles));
    if workers > 0 {
        nodes.push((range("worker", workers), if controllers > 10 { 110 } else { 20 }, "worker"));
    }
    for (name, last, roles) in nodes {
        let _ = writeln!(text, "  - {{ name: {name}, address: {net}.{last}, roles: [{roles}] }}");
    }
    Ok(text)
}

/// Returns the first two numbers of a network that is free here: these, or those after them.
pub(super) fn free_subnet(first: &str) -> Result<String, Stop> {
    let others = (240..=254).map(|number| format!("10.{number}"));
    for prefix in std::iter::once(first.to_owned()).chain(others.filter(|it| it != first)) {
        let Ok(subnet) = format!("{prefix}.0.0/24").parse() else { continue };
        if local::is_free(subnet).map_err(Stop::failed)? {
            return Ok(prefix);
        }
    }
    Err(Stop::failed("all networks from 10.240.0.0/24 to 10.254.0.0/24 are in use here")
        .help("`labctl init --to -` on another machine prints an inventory; set `local.subnet`"))
}
