//! Addresses: a node listens at the address that the inventory has for it, so it must be its own,
//! and with plain routes the other workers must be its neighbours.

use std::net::IpAddr;

use super::finding::Findings;
use super::judged::Judged;
use crate::cluster::{Node, Role};
use crate::machine::surroundings::OwnAddress;
use crate::module::Desired;

/// How many of its own addresses are shown.
const SHOWN: usize = 8;

/// How devices begin that other people's networks for containers have.
const CONTAINERS: [&str; 9] =
    ["cni", "docker", "br-", "veth", "flannel", "cali", "labctl-vxlan", "virbr", "podman"];

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    let own = on.around().addresses().unwrap_or_default();
    if own.is_empty() || !on.is_for_cluster() {
        return;
    }
    let is_own = |address: &IpAddr| own.iter().any(|it| it.network.addr() == *address);
    match on.node.addresses().find(|address| !is_own(address)) {
        None => neighbours(on, found),
        Some(address) => refuse_foreign(on, address, &own, found),
    }
}

/// The inventory has an address of somebody else's for the node.
fn refuse_foreign(on: &Judged<'_>, address: IpAddr, own: &[OwnAddress], found: &mut Findings) {
    let same_family = |it: &IpAddr| it.is_ipv4() == address.is_ipv4();
    let others = candidates(own).filter(same_family).take(SHOWN).map(|it| it.to_string());
    let others: Vec<String> = others.collect();
    let what = if others.is_empty() {
        format!("its address {address} is on none of its interfaces")
    } else {
        format!(
            "its address {address} is on none of its interfaces; its own: {}",
            others.join(", ")
        )
    };
    let one = if let [one] = &others[..] { one } else { "ITS-OWN-ADDRESS" };
    let host = &on.node.ssh.host;
    let help = format!(
        "set `address: {one}`, where other nodes reach it, and `ssh: {{ host: {host} }}`, where \
        labctl does"
    );
    on.refuse(found, what, help);
}

/// The addresses that other nodes may reach it at.
fn candidates(own: &[OwnAddress]) -> impl Iterator<Item = IpAddr> {
    let reachable = |it: &&OwnAddress| {
        let (device, address) = (&it.device, it.network.addr());
        device != "lo"
            && !is_link_local(address)
            && !CONTAINERS.iter().any(|prefix| device.starts_with(prefix))
    };
    own.iter().filter(reachable).map(|it| it.network.addr())
}

/// Whether an address is of use on its own link only.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// A route needs its next hop on the same network.
fn neighbours(on: &Judged<'_>, found: &mut Findings) {
    let sets_routes = on.desired.iter().any(|it| matches!(it, Desired::Routes(_)));
    let Some(routes) = on.around().routes().filter(|_| sets_routes && !on.worked_on()) else {
        return;
    };
    let on_link = |address: IpAddr| {
        let at_hand = routes.iter().filter(|it| it.via.is_none() && !it.device.is_empty());
        at_hand.into_iter().any(|it| it.to.contains(&address))
    };
    let peers = on.cluster.with_role(Role::Worker).filter(|peer| peer.name != on.node.name);
    let far = |peer: &Node| peer.addresses().find(|address| !on_link(*address));
    let far: Vec<String> =
        peers.filter_map(|peer| Some(format!("{} ({})", peer.name, far(peer)?))).collect();
    if let Some(first) = far.first() {
        let more =
            if far.len() > 1 { format!(" and {} more", far.len() - 1) } else { String::new() };
        on.refuse(
            found,
            format!("{first}{more} is behind a router, and `network.mode` is `routes`"),
            "set `network: { mode: vxlan }`; plain routes need nodes on one layer 2 network"
                .to_owned(),
        );
    }
}
