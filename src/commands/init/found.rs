//! What was found on a machine, as far as an inventory needs it.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use crate::cluster::{Jump, names};
use crate::machine::surroundings::OwnAddress;
use crate::machine::{Machine, Surroundings};
use crate::module::Facts;

/// The file with a machine's name.
pub(super) const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// Devices whose addresses are the machine's own alone.
const INNER: [&str; 9] = ["lo", "docker", "br-", "cni", "veth", "virbr", "flannel", "cali", "lxc"];

/// A machine that was logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundMachine {
    /// As it was typed.
    pub(super) typed: String,
    /// The same in parts.
    pub(super) login: Jump,
    /// Its own name.
    pub(super) hostname: String,
    /// Its addresses that others may reach, with their networks.
    pub(super) addresses: Vec<Ipv4Net>,
    /// Networks that it uses or reaches, and its resolvers.
    pub(super) taken: Vec<Ipv4Net>,
    /// The smallest MTU of its devices with such an address.
    pub(super) mtu: Option<u32>,
    /// Its memory in megabytes.
    pub(super) memory: Option<u64>,
    /// What else is known of it.
    pub(super) machine: Machine,
}

/// A network, if it is of IPv4: `init` proposes no other.
fn in_ipv4(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }
}

impl FoundMachine {
    /// What the probe's answers say of the machine that was typed as `typed`.
    pub(super) fn read(typed: &str, login: &Jump, facts: &Facts) -> Self {
        let around = Surroundings(&facts.surroundings);
        let own = around.addresses().unwrap_or_default();
        let is_outer = |it: &&OwnAddress| !INNER.iter().any(|name| it.device.starts_with(name));
        let outer: Vec<&OwnAddress> = own.iter().filter(is_outer).collect();
        let taken = own.iter().map(|it| it.network);
        let routes = around.routes().unwrap_or_default().into_iter().map(|route| route.to);
        let resolvers = around.resolvers().unwrap_or_default().into_iter().map(IpNet::from);
        let hostname = facts.texts.get(HOSTNAME).map(|name| name.trim()).unwrap_or_default();
        Self {
            typed: typed.to_owned(),
            login: login.clone(),
            hostname: hostname.split('.').next().unwrap_or_default().to_lowercase(),
            addresses: outer.iter().filter_map(|it| in_ipv4(it.network)).collect(),
            taken: taken.chain(routes).chain(resolvers).filter_map(in_ipv4).collect(),
            mtu: outer.iter().filter_map(|it| around.mtu(&it.device)).min(),
            memory: around.memory(),
            machine: Machine::read(&facts.machine),
        }
    }

    /// Its name, if it can be a node's.
    pub(super) fn name(&self) -> Option<&str> {
        let name = self.hostname.as_str();
        (names::check_label(name, 63).is_ok() && name != "localhost").then_some(name)
    }

    /// Whether it has an address in this network.
    pub(super) fn is_in(&self, network: Ipv4Net) -> bool {
        self.addresses.iter().any(|it| it.trunc() == network)
    }

    /// The address that it was reached at, if that is one of its own.
    pub(super) fn reached_at(&self) -> Option<Ipv4Addr> {
        let typed: Ipv4Addr = self.login.host.parse().ok()?;
        self.addresses.iter().map(Ipv4Net::addr).find(|own| *own == typed)
    }

    /// The machine in a few words.
    pub(super) fn remark(&self) -> String {
        let Machine { system, release, architecture, .. } = &self.machine;
        let memory = self.memory.map(|megabytes| format!(", {megabytes} MB")).unwrap_or_default();
        format!("{system} {release}, {architecture}{memory}")
    }
}
