//! Names, roles, addresses and networks for machines that were looked at. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::found::FoundMachine;
use super::wanted::Shape;
use crate::cluster::Role;

/// Networks for pods, the usual one first.
const PODS: [&str; 6] = [
    "10.200.0.0/16",
    "10.201.0.0/16",
    "10.244.0.0/16",
    "172.30.0.0/16",
    "100.64.0.0/16",
    "192.168.0.0/16",
];
/// Networks for Services, likewise.
const SERVICES: [&str; 6] = [
    "10.32.0.0/24",
    "10.33.0.0/24",
    "10.96.0.0/24",
    "172.29.0.0/24",
    "100.127.0.0/24",
    "192.168.250.0/24",
];

/// Words that machines with a role have in their names.
const WORDS: &[(&str, Role)] = &[
    ("loadbalancer", Role::Loadbalancer),
    ("lb", Role::Loadbalancer),
    ("controller", Role::Controller),
    ("control-plane", Role::Controller),
    ("control", Role::Controller),
    ("master", Role::Controller),
    ("server", Role::Controller),
    ("cp", Role::Controller),
    ("worker", Role::Worker),
    ("node", Role::Worker),
    ("agent", Role::Worker),
    ("client", Role::Client),
    ("jumpbox", Role::Client),
];

/// A node as it is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProposedNode {
    /// Its name.
    pub(super) name: String,
    /// Its address for the others.
    pub(super) address: Ipv4Addr,
    /// Its roles.
    pub(super) roles: Vec<Role>,
}

/// An inventory as it is proposed; nodes are in the order of the machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The nodes.
    pub(super) nodes: Vec<ProposedNode>,
    /// Whether all workers are in one network, so that plain routes lead to their pods.
    pub(super) one_network: bool,
    /// A network for pods that no machine uses.
    pub(super) pods: Ipv4Net,
    /// A network for Services that no machine uses.
    pub(super) services: Ipv4Net,
    /// The smallest MTU, when it is not the usual one.
    pub(super) mtu: Option<u32>,
}

/// Returns a lab of these machines.
///
/// # Errors
/// When they cannot be one: what is wrong, and what to do.
pub(super) fn propose(found: &[FoundMachine], shape: &Shape) -> Result<Proposal, (String, String)> {
    let roles = roles(found, shape)?;
    let addresses = addresses(found)?;
    let names = names(found, &roles);
    let taken: Vec<Ipv4Net> = found.iter().flat_map(|it| it.taken.iter().copied()).collect();
    let pods = free(&PODS, &taken, "pods")?;
    let services = free(&SERVICES, &taken, "services")?;
    let networks: BTreeSet<Ipv4Net> = found
        .iter()
        .zip(&addresses)
        .zip(&roles)
        .filter(|(_, roles)| roles.contains(&Role::Worker))
        .filter_map(|((it, address), _)| {
            it.addresses.iter().find(|own| own.addr() == *address).map(Ipv4Net::trunc)
        })
        .collect();
    let nodes = names.into_iter().zip(addresses).zip(roles);
    Ok(Proposal {
        nodes: nodes
            .map(|((name, address), roles)| ProposedNode { name, address, roles })
            .collect(),
        one_network: networks.len() <= 1,
        pods,
        services,
        mtu: found.iter().filter_map(|it| it.mtu).min().filter(|mtu| (576..1500).contains(mtu)),
    })
}

/// Returns the roles of each machine: as their names say, if all of them do; else the first are
/// controllers.
fn roles(found: &[FoundMachine], shape: &Shape) -> Result<Vec<Vec<Role>>, (String, String)> {
    let named: Option<Vec<Role>> = found.iter().map(|it| role_of(&it.hostname)).collect();
    let is_whole = |roles: &Vec<Role>| roles.contains(&Role::Controller);
    let mut roles: Vec<Vec<Role>> = match named.filter(is_whole) {
        Some(named) if *shape == Shape::default() => {
            named.into_iter().map(|role| vec![role]).collect()
        }
        _ => {
            let controllers = controllers(found.len(), shape)?;
            let role = |index| if index < controllers { Role::Controller } else { Role::Worker };
            (0..found.len()).map(|index| vec![role(index)]).collect()
        }
    };
    if !roles.iter().any(|it| it.contains(&Role::Worker)) {
        let controllers = roles.iter_mut().filter(|it| it.contains(&Role::Controller));
        controllers.for_each(|it| it.push(Role::Worker));
    }
    let controllers = roles.iter().filter(|it| it.contains(&Role::Controller)).count();
    if controllers > 1 && !roles.iter().any(|it| it.contains(&Role::Loadbalancer)) {
        // On a machine without an API server, which has the same port.
        let other = roles.iter().position(|it| !it.contains(&Role::Controller)).unwrap_or(0);
        roles[other].push(Role::Loadbalancer);
    }
    Ok(roles)
}

/// Returns how many of `machines` are controllers.
fn controllers(machines: usize, shape: &Shape) -> Result<usize, (String, String)> {
    let wrong = |what: String| Err((what, "name more machines, or choose smaller numbers".into()));
    match (shape.controllers, shape.workers) {
        (Some(0), _) => Err(("a lab needs a controller".into(), "`--controllers 1`".into())),
        (Some(controllers), _) if controllers > machines => wrong(format!(
            "{controllers} controllers need as many machines, and {machines} are named"
        )),
        (Some(controllers), Some(workers)) if controllers + workers != machines => wrong(format!(
            "{controllers} controllers and {workers} workers are not the {machines} machines that \
             are named"
        )),
        (Some(controllers), _) => Ok(controllers),
        (None, Some(workers)) if workers >= machines => {
            wrong(format!("{workers} workers leave no controller of {machines} machines"))
        }
        (None, Some(workers)) => Ok(machines - workers),
        (None, None) => Ok(1),
    }
}

/// The role that a name like `worker-3` speaks of.
fn role_of(hostname: &str) -> Option<Role> {
    let word = hostname.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let is_it = |known: &str| word == known || word.ends_with(&format!("-{known}"));
    WORDS.iter().find(|(known, _)| is_it(known)).map(|(_, role)| *role)
}

/// Returns the address of each machine in the network that most of them share.
fn addresses(found: &[FoundMachine]) -> Result<Vec<Ipv4Addr>, (String, String)> {
    let mut chosen: Vec<Ipv4Addr> = Vec::new();
    for machine in found {
        let sharing = |own: &Ipv4Net| found.iter().filter(|it| it.is_in(own.trunc())).count();
        let reached = machine.reached_at();
        // Of the best, the last; so the first is looked at last.
        let best = machine
            .addresses
            .iter()
            .rev()
            .max_by_key(|own| (sharing(own), Some(own.addr()) == reached));
        let Some(best) = best else {
            return Err((
                format!("{} has no IPv4 address that other machines could reach", machine.typed),
                "`init` proposes IPv4 only; give it an address, or write an inventory by hand"
                    .to_owned(),
            ));
        };
        if let Some(same) = chosen.iter().position(|address| *address == best.addr()) {
            return Err((
                format!("{} and {} are one machine", found[same].typed, machine.typed),
                "name it once; a node may have several roles".to_owned(),
            ));
        }
        chosen.push(best.addr());
    }
    Ok(chosen)
}

/// Returns the machines' own names, if all of them can be nodes' names; else names after their
/// roles.
fn names(found: &[FoundMachine], roles: &[Vec<Role>]) -> Vec<String> {
    let own: Option<BTreeSet<&str>> = found.iter().map(FoundMachine::name).collect();
    if own.is_some_and(|own| own.len() == found.len()) {
        return found.iter().map(|it| it.hostname.clone()).collect();
    }
    let mut counted: Vec<Role> = Vec::new();
    let mut name = |roles: &Vec<Role>| {
        let first = roles.first().copied().unwrap_or(Role::Worker);
        let number = counted.iter().filter(|role| **role == first).count();
        counted.push(first);
        format!("{first}-{number}")
    };
    roles.iter().map(&mut name).collect()
}

/// Returns the first of `candidates` that overlaps nothing in `taken`.
fn free(candidates: &[&str], taken: &[Ipv4Net], key: &str) -> Result<Ipv4Net, (String, String)> {
    let overlaps = |net: &Ipv4Net| {
        taken.iter().any(|it| it.prefix_len() > 0 && (it.contains(net) || net.contains(it)))
    };
    let free = candidates.iter().filter_map(|text| text.parse().ok()).find(|net| !overlaps(net));
    free.ok_or_else(|| {
        let what = format!("none of {} is free on all machines", candidates.join(", "));
        (what, format!("write an inventory by hand, with a `network.{key}` that is"))
    })
}

#[cfg(test)]
#[path = "propose/tests.rs"]
mod tests;
