//! Addresses: a node listens at the address that the inventory has for it, so it must be its own,
//! and with plain routes the other workers must be its neighbours.

use std::net::Ipv4Addr;

use super::finding::Findings;
use super::judged::Judged;
use crate::cluster::Role;
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
    let address = on.node.address;
    if own.iter().any(|it| it.network.addr() == address) {
        neighbours(on, found);
        return;
    }
    let others: Vec<String> = candidates(&own).take(SHOWN).map(|it| it.to_string()).collect();
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
fn candidates(own: &[OwnAddress]) -> impl Iterator<Item = Ipv4Addr> {
    let reachable = |it: &&OwnAddress| {
        let (device, address) = (&it.device, it.network.addr());
        device != "lo"
            && !address.is_link_local()
            && !CONTAINERS.iter().any(|prefix| device.starts_with(prefix))
    };
    own.iter().filter(reachable).map(|it| it.network.addr())
}

/// A route needs its next hop on the same network.
fn neighbours(on: &Judged<'_>, found: &mut Findings) {
    let sets_routes = on.desired.iter().any(|it| matches!(it, Desired::Routes(_)));
    let Some(routes) = on.around().routes().filter(|_| sets_routes && !on.worked_on()) else {
        return;
    };
    let on_link = |address: Ipv4Addr| {
        let at_hand = routes.iter().filter(|it| it.via.is_none() && !it.device.is_empty());
        at_hand.into_iter().any(|it| it.to.contains(&address))
    };
    let peers = on.cluster.with_role(Role::Worker).filter(|peer| peer.name != on.node.name);
    let far: Vec<String> = peers
        .filter(|peer| !on_link(peer.address))
        .map(|peer| format!("{} ({})", peer.name, peer.address))
        .collect();
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
