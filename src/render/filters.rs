//! Filters that templates need in addition to tera's own: addresses derived from a node's address,
//! and what an inventory says of a program.

use std::net::Ipv4Addr;

use tera::{Error, Kwargs, State, Tera, TeraResult};

use super::{command, merge};
use crate::cluster::components::ProgramSettings;
use crate::cluster::names;

/// Registers the filters with `tera`.
pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("mac", |address: &str, _: Kwargs, _: &State| parse(address).map(mac));
    tera.register_filter("overlay_address", |address: &str, _: Kwargs, _: &State| {
        parse(address).map(|address| overlay_address(address).to_string())
    });
    tera.register_filter("in_url", |host: &str, _: Kwargs, _: &State| {
        names::in_url(host).into_owned()
    });
    // An address with colons could be taken for something else than text.
    tera.register_filter("in_yaml", |text: &str, _: Kwargs, _: &State| match text.contains(':') {
        true => format!("\"{text}\""),
        false => text.to_owned(),
    });
    // A string of TOML is one of JSON too, but for DEL, which no password has.
    tera.register_filter("toml_text", |text: &str, _: Kwargs, _: &State| {
        serde_json::Value::from(text).to_string()
    });
    tera.register_filter("with_flags", |text: &str, arguments: Kwargs, _: &State| {
        component(&arguments).map(|component| command::with_flags(text, &component.flags))
    });
    tera.register_filter("with_yaml", |text: &str, arguments: Kwargs, _: &State| {
        merge::into_yaml(text, &component(&arguments)?.config).map_err(Error::message)
    });
    tera.register_filter("with_toml", |text: &str, arguments: Kwargs, _: &State| {
        merge::into_toml(text, &component(&arguments)?.config).map_err(Error::message)
    });
}

/// Returns the component that a filter is given as `of`.
fn component(arguments: &Kwargs) -> TeraResult<ProgramSettings> {
    let value = serde_json::to_value(arguments.must_get::<&tera::Value>("of")?);
    value
        .and_then(serde_json::from_value)
        .map_err(|error| Error::message(format!("`of` is not a component: {error}")))
}

/// Returns the hardware address of a node's VXLAN device. It is derived from the node's IPv4
/// address, so every node can compute every other's: `02` marks a locally administered address, and
/// the IPv4 address makes it unique.
fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Returns the address of a node inside the VXLAN. Controllers have no pod CIDR to take one from,
/// so all nodes get one in 198.18.0.0/16, which RFC 2544 reserves for benchmark networks and nobody
/// routes.
fn overlay_address(address: Ipv4Addr) -> Ipv4Addr {
    let [_, _, c, d] = address.octets();
    Ipv4Addr::new(198, 18, c, d)
}

fn parse(address: &str) -> TeraResult<Ipv4Addr> {
    address.parse().map_err(|_| Error::message(format!("`{address}` is not an IPv4 address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_derived_from_the_nodes_address() {
        let address = Ipv4Addr::new(10, 240, 0, 21);
        assert_eq!(mac(address), "02:00:0a:f0:00:15");
        assert_eq!(overlay_address(address), Ipv4Addr::new(198, 18, 0, 21));
    }
}
