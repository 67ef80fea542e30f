//! Shipped labs to begin with: those that need no other file.

use super::local::free_subnet;
use super::place::InventoryPlace;
use super::text::quoted;
use super::wanted::Model;
use crate::commands::exit::Stop;
use crate::inventory::schema::FILE_NAME;

/// The name of a shipped lab, its text, and the first two numbers of its addresses.
fn shipped(model: Model) -> (&'static str, &'static str, &'static str) {
    match model {
        Model::Sandbox => ("sandbox", include_str!("../../../inventories/sandbox.yaml"), "10.240"),
        Model::Ha => ("ha", include_str!("../../../inventories/ha.yaml"), "10.242"),
        Model::Single => ("single", include_str!("../../../inventories/single.yaml"), "10.241"),
        Model::Multinode => {
            ("multinode", include_str!("../../../inventories/multinode.yaml"), "10.244")
        }
    }
}

/// Returns the text of a shipped lab, as it is right at this place: another network when its own is
/// in use, and the bundle beside it if there is one.
pub(super) fn text(
    model: Model,
    place: &InventoryPlace,
    name: Option<&str>,
) -> Result<String, Stop> {
    let (own, text, prefix) = shipped(model);
    let subnet = free_subnet(prefix)?;
    let bundle = if place.has_bundle { "bundle: bundle" } else { "# bundle: bundle" };
    let text = text
        .replace(&format!("inventories/{own}.yaml"), &place.called())
        .replace("bundle: ../bundle", bundle)
        .replace(&format!("$schema=../docs/{FILE_NAME}"), &format!("$schema={FILE_NAME}"))
        .replace(&format!("{prefix}."), &format!("{subnet}."));
    Ok(match name {
        Some(name) => text
            .replace(&format!("\nname: {own}\n"), &format!("\nname: {}\n", quoted(name)))
            .replace(&format!(".labctl/{own}/"), &format!(".labctl/{name}/")),
        None => text,
    })
}
