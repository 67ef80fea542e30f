//! The few filters that templates need beyond tera's own: addresses that follow from a node's
//! address.

use std::net::Ipv4Addr;

use tera::{Error, Kwargs, State, Tera, TeraResult};

/// Makes the filters known to `tera`.
pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("mac", |address: &str, _: Kwargs, _: &State| parse(address).map(mac));
    tera.register_filter("overlay_address", |address: &str, _: Kwargs, _: &State| {
        parse(address).map(|address| overlay_address(address).to_string())
    });
}

/// The hardware address of a node's VXLAN device. Every node works out every other's, so nothing
/// has to be learnt: `02` marks an address that is administered by hand, and the node's own IPv4
/// address makes it unique.
fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The address of a node inside the VXLAN. Controllers have no pod CIDR to take one from, so all
/// nodes have one in 198.18.0.0/16, which RFC 2544 sets aside for test networks: nobody routes it.
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
    fn addresses_follow_from_the_nodes_address() {
        let address = Ipv4Addr::new(10, 240, 0, 21);
        assert_eq!(mac(address), "02:00:0a:f0:00:15");
        assert_eq!(overlay_address(address), Ipv4Addr::new(198, 18, 0, 21));
    }
}
