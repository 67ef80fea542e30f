//! Resolves the pod network, the service network and the network of local nodes, and checks their
//! sizes and overlaps.

use ipnet::Ipv4Net;

use super::Resolver;
use crate::cluster::{ETHERNET_MTU, LocalNodes, Network, PodNetwork, ProxyMode, Version, network};
use crate::inventory::{Located, Position};

/// The networks in the inventory; a field is `None` if the value is absent or wrong.
#[derive(Default)]
pub(super) struct Networks {
    /// The pod and service networks, if both are valid.
    pub(super) network: Option<Network>,
    /// The pod network.
    pub(super) pods: Option<Ipv4Net>,
    /// The service network.
    pub(super) services: Option<Ipv4Net>,
    /// The network of the nodes, if labctl creates them.
    pub(super) local: Option<LocalNodes>,
    /// Prefix length of one worker's part of the pod network.
    pub(super) node_prefix: Option<u8>,
    /// Where to report that the pod network is too small.
    pub(super) pods_at: Option<Position>,
}

/// A network with the name of its key, and its position unless it is the default.
#[derive(Clone, Copy)]
struct Named {
    key: &'static str,
    net: Ipv4Net,
    at: Option<Position>,
}

/// Networks with a special meaning (RFC 6890), which labs cannot use.
const RESERVED: &[(&str, &str)] = &[
    ("0.0.0.0/8", "not addresses of machines"),
    ("127.0.0.0/8", "every machine's own loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/3", "multicast and reserved"),
];

impl Resolver<'_, '_> {
    pub(super) fn networks(&mut self, kubernetes: Option<Version>) -> Networks {
        let section = &self.inventory.network;
        let pods = self.net(section.pods.as_ref(), "network.pods", "10.200.0.0/16");
        let services = self.net(section.services.as_ref(), "network.services", "10.32.0.0/24");
        let subnet = self.inventory.local.as_ref().and_then(|local| local.value.subnet.as_ref());
        let subnet = subnet.and_then(|subnet| self.net(Some(subnet), "local.subnet", ""));
        self.check_apart(&[pods, services, subnet]);

        let services = services.filter(|services| self.check_services(services));
        let node_prefix = pods.and_then(|pods| self.node_prefix(pods));
        let modes = [
            ("routes", PodNetwork::Routes),
            ("vxlan", PodNetwork::Vxlan),
            ("none", PodNetwork::None),
        ];
        let mode = self
            .choice(section.mode.as_ref(), "network.mode", &modes)
            .unwrap_or(PodNetwork::Routes);
        let mtu = section.mtu.map_or(ETHERNET_MTU, |mtu| mtu.value);
        let proxy = self.proxy(kubernetes);
        let network = || {
            Some(Network {
                pods: pods?.net,
                node_prefix: node_prefix?,
                services: services?.net,
                kubernetes_service: network::first_address(services?.net)?,
                dns_service: network::dns_service(services?.net)?,
                mode,
                mtu,
                proxy,
            })
        };
        Networks {
            network: network(),
            pods: pods.map(|pods| pods.net),
            services: services.map(|services| services.net),
            local: subnet.and_then(|subnet| self.local(subnet)),
            node_prefix,
            pods_at: pods.and_then(|pods| pods.at).or(section.node_prefix.map(|prefix| prefix.at)),
        }
    }

    /// Returns the network in `text`, or the default.
    fn net(
        &mut self,
        text: Option<&Located<String>>,
        key: &'static str,
        default: &str,
    ) -> Option<Named> {
        let Some(text) = text else {
            return default.parse().ok().map(|net| Named { key, net, at: None });
        };
        let net = self.cidr(text, key)?;
        let reserved = RESERVED.iter().find(|(reserved, _)| {
            reserved.parse::<Ipv4Net>().is_ok_and(|reserved| network::overlap(reserved, net))
        });
        if let Some((reserved, meaning)) = reserved {
            let what = format!("`{key}` {net} overlaps {reserved} ({meaning})");
            self.problems.error(
                text.at,
                what,
                "use a private network, such as a part of 10.0.0.0/8",
            );
            return None;
        }
        Some(Named { key, net, at: Some(text.at) })
    }

    /// Returns the CIDR in `text`, the value of `key`.
    pub(super) fn cidr(&mut self, text: &Located<String>, key: &str) -> Option<Ipv4Net> {
        let written = &text.value;
        let (what, help) = match written.parse::<Ipv4Net>() {
            Ok(net) if net == net.trunc() => return Some(net),
            Ok(net) => (
                format!("`{key}` {net} is an address inside a network, not a network"),
                format!("did you mean {}?", net.trunc()),
            ),
            Err(_) if written.contains(':') => (
                format!("`{key}` {written}: IPv6 is not supported yet"),
                "use an IPv4 network".to_owned(),
            ),
            Err(_) if written.parse::<std::net::Ipv4Addr>().is_ok() => (
                format!("`{key}` {written} has no prefix length"),
                format!("write a network, such as {written}/24"),
            ),
            Err(_) => (
                format!("`{key}` cannot be `{written}`"),
                "write a network as address/prefix length, such as 10.240.0.0/24".to_owned(),
            ),
        };
        self.problems.error(text.at, what, help);
        None
    }

    fn check_apart(&mut self, nets: &[Option<Named>]) {
        let nets: Vec<Named> = nets.iter().flatten().copied().collect();
        for (number, one) in nets.iter().enumerate() {
            for other in &nets[..number] {
                if !network::overlap(one.net, other.net) {
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
        let (what, help) = if net.prefix_len() > network::LONGEST_SERVICE_PREFIX {
            (
                "too small",
                format!("a /{} or larger; a /24 is usual", network::LONGEST_SERVICE_PREFIX),
            )
        } else if net.prefix_len() < network::SHORTEST_SERVICE_PREFIX {
            (
                "too large",
                format!("the API server takes a /{} at most", network::SHORTEST_SERVICE_PREFIX),
            )
        } else {
            return true;
        };
        self.problems.error(at.unwrap_or_default(), format!("`{key}` {net} is {what}"), help);
        false
    }

    fn node_prefix(&mut self, pods: Named) -> Option<u8> {
        let net = pods.net;
        let Some(given) = self.inventory.network.node_prefix else {
            let prefix = network::default_node_prefix(net);
            if prefix.is_none() {
                let help = format!(
                    "a /{} has room for one worker; a /16 is usual",
                    network::LONGEST_NODE_PREFIX
                );
                self.problems.error(
                    pods.at.unwrap_or_default(),
                    format!("`{}` {net} is too small", pods.key),
                    help,
                );
            }
            return prefix;
        };
        let prefix = given.value;
        let most = network::LONGEST_NODE_PREFIX;
        let largest = net.prefix_len() + network::LARGEST_NODE_PREFIX_DIFFERENCE;
        let (what, help) = if prefix < net.prefix_len() {
            (
                format!("is larger than the whole pod network {net}"),
                format!("from {} to {most}", net.prefix_len()),
            )
        } else if prefix > most {
            ("has no room for pods".to_owned(), format!("{most} at most; 24 is usual"))
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

    fn local(&mut self, subnet: Named) -> Option<LocalNodes> {
        // The network's own address, the gateway, one node, the broadcast address.
        if subnet.net.prefix_len() > 30 {
            let what = format!("`{}` {} is too small", subnet.key, subnet.net);
            self.problems.error(
                subnet.at.unwrap_or_default(),
                what,
                "a /24 has room for 253 nodes",
            );
            return None;
        }
        let (packages, gateway) = (self.packages(), network::first_address(subnet.net)?);
        Some(LocalNodes { subnet: subnet.net, gateway, packages })
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
