//! Resolves the pod network, the service network and the network of local nodes, and checks their
//! sizes and overlaps.

use ipnet::IpNet;

use super::Resolver;
use super::families::Named;
use crate::cluster::network::{self, IpFamily, family};
use crate::cluster::{
    ETHERNET_MTU, LocalNodes, Network, PodNetwork, ProxyMode, SecondNetwork, SecondSubnet, Version,
};
use crate::inventory::{Located, Position};

/// The networks in the inventory, without what is wrong.
#[derive(Default)]
pub(super) struct Networks {
    /// The pod and service networks, if all are valid.
    pub(super) network: Option<Network>,
    /// The pod networks, one for each IP family.
    pub(super) pods: Vec<IpNet>,
    /// The service networks.
    pub(super) services: Vec<IpNet>,
    /// The networks of the nodes, if labctl creates them.
    pub(super) local: Option<LocalNodes>,
    /// The pod networks with the prefix lengths of their parts, if all are valid.
    pub(super) parts: Option<Vec<(IpNet, u8)>>,
    /// The IP families of the lab, the first one first; `None` if they are not known.
    pub(super) families: Option<Vec<IpFamily>>,
    /// Where to report that a pod network is too small.
    pub(super) pods_at: Vec<Option<Position>>,
}

impl Resolver<'_, '_> {
    pub(super) fn networks(&mut self, kubernetes: Option<Version>) -> Networks {
        let section = &self.inventory.network;
        let pods = self.nets(&section.pods, "network.pods", "10.200.0.0/16");
        let services = self.nets(&section.services, "network.services", "10.32.0.0/24");
        let written = self.inventory.local.as_ref().map(|local| &local.value.subnet);
        let written = written.filter(|subnet| !subnet.is_empty());
        let subnet = written.and_then(|subnet| self.nets(subnet, "local.subnet", ""));
        let all = [&pods, &services, &subnet].into_iter().flatten().flatten().copied();
        self.check_apart(&all.collect::<Vec<Named>>());

        let families: Option<Vec<IpFamily>> =
            pods.as_ref().map(|pods| pods.iter().map(|pods| family(pods.net)).collect());
        let services = self.as_pods(services, pods.as_deref());
        let subnet = self.as_pods(subnet, pods.as_deref());
        self.check_families(pods.as_deref().unwrap_or_default(), kubernetes);
        let services = services.filter(|all| all.iter().all(|it| self.check_services(it)));
        let node_prefixes = pods.as_deref().and_then(|pods| self.node_prefixes(pods));
        let nets = |nets: &Option<Vec<Named>>| -> Vec<IpNet> {
            nets.iter().flatten().map(|it| it.net).collect()
        };
        let prefix_at = section.node_prefix.first().map(|prefix| prefix.at);
        let mut networks = Networks {
            network: None,
            pods: nets(&pods),
            services: nets(&services),
            local: subnet.and_then(|subnet| self.local(&subnet)),
            parts: node_prefixes.map(|all| nets(&pods).into_iter().zip(all).collect()),
            families,
            pods_at: pods.iter().flatten().map(|pods| pods.at.or(prefix_at)).collect(),
        };
        networks.network = self.network(&networks, kubernetes);
        networks
    }

    /// Returns the cluster's network, if all parts of it are valid.
    fn network(&mut self, networks: &Networks, kubernetes: Option<Version>) -> Option<Network> {
        let section = &self.inventory.network;
        let modes = [
            ("routes", PodNetwork::Routes),
            ("vxlan", PodNetwork::Vxlan),
            ("none", PodNetwork::None),
        ];
        let mode = self.choice(section.mode.as_ref(), "network.mode", &modes);
        let mode = mode.unwrap_or(PodNetwork::Routes);
        self.check_tunnel(mode, networks.families.as_deref());
        let mtu = section.mtu.map_or(ETHERNET_MTU, |mtu| mtu.value);
        let proxy = self.proxy(kubernetes);
        let of = |index: usize| {
            let (pods, node_prefix) = *networks.parts.as_ref()?.get(index)?;
            Some(SecondNetwork { pods, node_prefix, services: *networks.services.get(index)? })
        };
        let SecondNetwork { pods, node_prefix, services } = of(0)?;
        Some(Network {
            pods,
            node_prefix,
            services,
            kubernetes_service: network::first_address(services)?,
            dns_service: network::dns_service(services)?,
            second: of(1),
            mode,
            mtu,
            proxy,
        })
    }

    /// Returns the CIDR in `text`, the value of `key`.
    pub(super) fn cidr(&mut self, text: &Located<String>, key: &str) -> Option<IpNet> {
        let written = &text.value;
        let (what, help) = match written.parse::<IpNet>() {
            Ok(net) if net == net.trunc() => return Some(net),
            Ok(net) => (
                format!("`{key}` {net} is an address inside a network, not a network"),
                format!("did you mean {}?", net.trunc()),
            ),
            Err(_) if written.parse::<std::net::IpAddr>().is_ok() => {
                let usual = if written.contains(':') { 64 } else { 24 };
                (
                    format!("`{key}` {written} has no prefix length"),
                    format!("write a network, such as {written}/{usual}"),
                )
            }
            Err(_) => (
                format!("`{key}` cannot be `{written}`"),
                "write a network as address/prefix length, such as 10.240.0.0/24".to_owned(),
            ),
        };
        self.problems.error(text.at, what, help);
        None
    }

    fn check_apart(&mut self, nets: &[Named]) {
        for (number, one) in nets.iter().enumerate() {
            for other in &nets[..number] {
                // Two of one family under one key are refused for that.
                if !network::overlap(one.net, other.net) || one.key == other.key {
                    continue;
                }
                // Reported at the later of the two; a default has no position.
                let (said, other) = if one.at >= other.at { (one, other) } else { (other, one) };
                let default = if other.at.is_none() { "the default of " } else { "" };
                self.problems.error(
                    said.at.unwrap_or_default(),
                    format!(
                        "`{}` {} overlaps {default}`{}`, {}",
                        said.key, said.net, other.key, other.net
                    ),
                    "nodes, pods and services each need their own addresses",
                );
            }
        }
    }

    fn check_services(&mut self, services: &Named) -> bool {
        let Named { key, net, at } = *services;
        let (shortest, longest) =
            (family(net).shortest_service_prefix(), family(net).longest_service_prefix());
        let usual = if family(net) == IpFamily::Ipv4 { 24 } else { 112 };
        let (what, help) = if net.prefix_len() > longest {
            ("too small", format!("a /{longest} or larger; a /{usual} is usual"))
        } else if net.prefix_len() < shortest {
            ("too large", format!("the API server takes a /{shortest} at most"))
        } else {
            return true;
        };
        self.problems.error(at.unwrap_or_default(), format!("`{key}` {net} is {what}"), help);
        false
    }

    /// Returns the prefix length of a part of each pod network; `None` if one is wrong.
    fn node_prefixes(&mut self, pods: &[Named]) -> Option<Vec<u8>> {
        let given = &self.inventory.network.node_prefix;
        if let Some(more) = given.get(pods.len()) {
            let what = "`network.node_prefix` has two values, and `network.pods` has one network";
            self.problems.error(more.at, what, "write one");
            return None;
        }
        let prefixes = pods.iter().enumerate().map(|(index, pods)| match given.get(index) {
            Some(given) => self.node_prefix(*pods, *given),
            None => self.default_node_prefix(*pods),
        });
        // All of them, so that each is checked.
        prefixes.collect::<Vec<Option<u8>>>().into_iter().collect()
    }

    fn default_node_prefix(&mut self, pods: Named) -> Option<u8> {
        let net = pods.net;
        let prefix = network::default_node_prefix(net);
        if prefix.is_none() {
            let usual = if family(net) == IpFamily::Ipv4 { 16 } else { 56 };
            let longest = family(net).longest_node_prefix();
            let help = format!("a /{longest} has room for one worker; a /{usual} is usual");
            self.problems.error(
                pods.at.unwrap_or_default(),
                format!("`{}` {net} is too small", pods.key),
                help,
            );
        }
        prefix
    }

    fn node_prefix(&mut self, pods: Named, given: Located<u8>) -> Option<u8> {
        let (net, prefix) = (pods.net, given.value);
        let (most, usual) = (family(net).longest_node_prefix(), family(net).usual_node_prefix());
        let largest = net.prefix_len() + network::LARGEST_NODE_PREFIX_DIFFERENCE;
        let (what, help) = if prefix < net.prefix_len() {
            (
                format!("is larger than the whole pod network {net}"),
                format!("from {} to {most}", net.prefix_len()),
            )
        } else if prefix > most {
            ("has no room for pods".to_owned(), format!("{most} at most; {usual} is usual"))
        } else if prefix > largest {
            (
                format!("is too small a part of the pod network {net}"),
                format!("Kubernetes takes {largest} at most here"),
            )
        } else {
            return Some(prefix);
        };
        self.problems.error(given.at, format!("`network.node_prefix` {prefix} {what}"), help);
        None
    }

    fn proxy(&mut self, kubernetes: Option<Version>) -> ProxyMode {
        let text = self.inventory.network.proxy.as_ref();
        let proxies = [("iptables", ProxyMode::Iptables), ("nftables", ProxyMode::Nftables)];
        let proxy = self.choice(text, "network.proxy", &proxies).unwrap_or(ProxyMode::Iptables);
        if let (ProxyMode::Nftables, Some(text), Some(version)) = (proxy, text, kubernetes)
            && version.minor < 33
        {
            self.problems.error(
                text.at,
                format!(
                    "kube-proxy's nftables mode needs Kubernetes 1.33, and this lab has {version}"
                ),
                "use `proxy: iptables`, or a newer version",
            );
        }
        proxy
    }

    fn local(&mut self, subnets: &[Named]) -> Option<LocalNodes> {
        let packages = self.packages();
        for subnet in subnets {
            // The network's own address, the gateway, one node, the broadcast address.
            if subnet.net.prefix_len() + 2 > family(subnet.net).bits() {
                let what = format!("`{}` {} is too small", subnet.key, subnet.net);
                let help = match family(subnet.net) {
                    IpFamily::Ipv4 => "a /24 has room for 253 nodes",
                    IpFamily::Ipv6 => "a /64 is usual",
                };
                self.problems.error(subnet.at.unwrap_or_default(), what, help);
                return None;
            }
        }
        let of = |index: usize| {
            let subnet = subnets.get(index)?.net;
            Some(SecondSubnet { subnet, gateway: network::first_address(subnet)? })
        };
        let SecondSubnet { subnet, gateway } = of(0)?;
        Some(LocalNodes { subnet, gateway, second: of(1), packages })
    }

    /// Returns the packages that local nodes have beside what every one has.
    fn packages(&mut self) -> Vec<String> {
        let local = self.inventory.local.as_ref().and_then(|local| local.value.packages.as_ref());
        let mut packages: Vec<String> = Vec::new();
        for package in local.into_iter().flat_map(|packages| &packages.value) {
            let name = &package.value;
            let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
            let plain = |c: char| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.')
            };
            if begins && name.chars().all(plain) {
                packages.push(name.clone());
                continue;
            }
            self.problems.error(
                package.at,
                format!("`local.packages`: `{name}` is not the name of a package"),
                "lower-case letters, digits, `+`, `-` and `.`, such as `keepalived`",
            );
        }
        packages.sort();
        packages.dedup();
        packages
    }
}
