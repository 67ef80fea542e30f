//! CIDR arithmetic: well-known addresses, and the division of the pod network among the workers.
//!
//! Pure functions over numbers, the same for both IP families; property tests check each of them
//! with thousands of networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::inventory::count_on;

/// The two kinds of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IpFamily {
    /// 32 bits.
    Ipv4,
    /// 128 bits.
    Ipv6,
}

impl IpFamily {
    /// Returns the family of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Returns the number of bits of an address.
    pub fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }

    /// Returns the usual prefix length of one worker's part of the pod network.
    pub fn usual_node_prefix(self) -> u8 {
        match self {
            Self::Ipv4 => 24,
            Self::Ipv6 => 64,
        }
    }

    /// Returns the longest prefix of one worker's part of the pod network. In IPv4 that leaves 13
    /// addresses for pods besides the bridge's, in IPv6 room for all pods that a kubelet runs.
    pub fn longest_node_prefix(self) -> u8 {
        match self {
            Self::Ipv4 => 28,
            Self::Ipv6 => 120,
        }
    }

    /// Returns the shortest prefix of a service network that every API server accepts: 20 bits of
    /// addresses (its validation of `--service-cluster-ip-range`).
    pub fn shortest_service_prefix(self) -> u8 {
        self.bits() - 20
    }

    /// Returns the longest prefix of a service network that labctl accepts: the DNS service has its
    /// tenth address, and other services need some too.
    pub fn longest_service_prefix(self) -> u8 {
        self.bits() - 4
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// Maximum difference between the prefix lengths of a worker and of the pod network: Kubernetes
/// keeps the parts in a bitmap of at most 2^16 (`clusterSubnetMaxDiff` in
/// `pkg/controller/nodeipam/ipam/cidrset`).
pub const LARGEST_NODE_PREFIX_DIFFERENCE: u8 = 16;

/// Returns the family of `net`.
pub fn family(net: IpNet) -> IpFamily {
    IpFamily::of(net.addr())
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Returns the address with this number; `None` if the family has none.
fn numbered(family: IpFamily, number: u128) -> Option<IpAddr> {
    match family {
        IpFamily::Ipv4 => u32::try_from(number).ok().map(|it| Ipv4Addr::from(it).into()),
        IpFamily::Ipv6 => Some(Ipv6Addr::from(number).into()),
    }
}

/// Returns address number `n` of `net`, counted from 0, the network's own address; `None` if `net`
/// is too small.
pub fn nth_address(net: IpNet, n: u32) -> Option<IpAddr> {
    count_on(net.network(), n).filter(|address| net.contains(address))
}

/// Returns the first usable address of `net`: the `kubernetes` Service in the service network (the
/// API server uses it for itself), the gateway in a network of local nodes.
pub fn first_address(net: IpNet) -> Option<IpAddr> {
    nth_address(net, 1)
}

/// Returns the address of the `kube-dns` Service: the tenth of the service network, as in kubeadm
/// (`GetDNSIP`).
pub fn dns_service(services: IpNet) -> Option<IpAddr> {
    nth_address(services, 10)
}

/// Whether two networks have an address in common.
pub fn overlap(one: IpNet, other: IpNet) -> bool {
    // Two CIDR blocks are either disjoint or one contains the other.
    one.contains(&other) || other.contains(&one)
}

/// Returns the default prefix length of one worker's part of `pods`: 24 (64 in IPv6) as everywhere
/// else, or longer if the pod network has no space for four of those. `None` if `pods` is too small
/// for any.
///
/// It does not depend on the number of workers, so that adding a worker does not change the others.
pub fn default_node_prefix(pods: IpNet) -> Option<u8> {
    let (usual, longest) = (family(pods).usual_node_prefix(), family(pods).longest_node_prefix());
    let prefix =
        if pods.prefix_len() + 2 <= usual { usual } else { (pods.prefix_len() + 2).min(longest) };
    (prefix >= pods.prefix_len())
        .then_some(prefix.min(pods.prefix_len() + LARGEST_NODE_PREFIX_DIFFERENCE))
}

/// Returns how many parts with prefix length `prefix` fit into `pods`.
pub fn part_count(pods: IpNet, prefix: u8) -> u64 {
    match prefix.checked_sub(pods.prefix_len()) {
        Some(bits) if prefix <= family(pods).bits() => {
            1u64.checked_shl(bits.into()).unwrap_or(u64::MAX)
        }
        _ => 0,
    }
}

/// Returns part number `index`, from 0, of `pods` divided into parts with prefix length `prefix`.
pub fn part(pods: IpNet, prefix: u8, index: u64) -> Option<IpNet> {
    if index >= part_count(pods, prefix) {
        return None;
    }
    let size = u32::from(family(pods).bits() - prefix);
    let start = number(pods.network()) + u128::from(index).checked_shl(size).unwrap_or(0);
    IpNet::new(numbered(family(pods), start)?, prefix).ok()
}

/// A worker that needs a part of the pod network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CidrRequest<'a> {
    /// The worker's name.
    pub name: &'a str,
    /// The part that the inventory assigns to it, if any.
    pub given: Option<IpNet>,
}

/// Assigns a part of `pods` to every worker, in the order of `workers`.
///
/// A Node object's podCIDR can never change, so a worker should keep its part when others come and
/// go. Therefore the number at the end of its name takes precedence over its place in the list:
/// `worker-2` has part 2 of the network whether or not `worker-1` still exists. Workers without a
/// number, or whose part is taken, get the first free ones.
///
/// `None` for workers that no part is left for, or whose given part is outside `pods` or overlaps
/// an earlier one.
pub fn assign(pods: IpNet, prefix: u8, workers: &[CidrRequest<'_>]) -> Vec<Option<IpNet>> {
    let mut parts = Parts { taken: Vec::new() };
    let mut assigned: Vec<Option<IpNet>> = vec![None; workers.len()];
    for (worker, assigned) in workers.iter().zip(&mut assigned) {
        *assigned = worker.given.filter(|given| pods.contains(given) && parts.take(*given));
    }
    for (worker, assigned) in workers.iter().zip(&mut assigned) {
        if worker.given.is_none() {
            let wanted = trailing_number(worker.name).and_then(|number| part(pods, prefix, number));
            *assigned = wanted.filter(|part| parts.take(*part));
        }
    }
    let mut left = (0..part_count(pods, prefix)).map_while(|index| part(pods, prefix, index));
    for (worker, assigned) in workers.iter().zip(&mut assigned) {
        if worker.given.is_none() && assigned.is_none() {
            *assigned = left.find(|part| parts.take(*part));
        }
    }
    assigned
}

/// The assigned parts, sorted, so that assigning many workers does not take quadratic time.
struct Parts {
    taken: Vec<IpNet>,
}

impl Parts {
    /// Assigns `part` if it does not overlap an assigned one.
    fn take(&mut self, part: IpNet) -> bool {
        // Disjoint parts are ordered by their first addresses, so only neighbours can overlap.
        let place = self.taken.partition_point(|taken| taken.network() < part.network());
        let before = place.checked_sub(1).and_then(|before| self.taken.get(before));
        if [before, self.taken.get(place)].into_iter().flatten().any(|taken| overlap(*taken, part))
        {
            return false;
        }
        self.taken.insert(place, part);
        true
    }
}

fn trailing_number(name: &str) -> Option<u64> {
    let digits = &name[name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..];
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn names<'a>(names: &[&'a str]) -> Vec<CidrRequest<'a>> {
        names.iter().map(|name| CidrRequest { name, given: None }).collect()
    }

    fn shown(parts: Vec<Option<IpNet>>) -> Vec<String> {
        parts
            .into_iter()
            .map(|part| part.map_or("none".to_owned(), |part| part.to_string()))
            .collect()
    }

    #[test]
    fn the_service_network_has_its_well_known_addresses() {
        let services = net("10.32.0.0/24");
        let address = |text: &str| text.parse::<IpAddr>().ok();
        assert_eq!(first_address(services), address("10.32.0.1"));
        assert_eq!(dns_service(services), address("10.32.0.10"));
        assert_eq!(dns_service(net("10.32.0.0/29")), None);
        assert_eq!(nth_address(net("255.255.255.0/24"), u32::MAX), None);
        assert_eq!(first_address(net("fd00:32::/112")), address("fd00:32::1"));
        assert_eq!(dns_service(net("fd00:32::/112")), address("fd00:32::a"));
        assert_eq!(dns_service(net("fd00:32::/126")), None);
    }

    #[test]
    fn workers_get_the_part_with_the_number_in_their_name() {
        let pods = net("10.200.0.0/16");
        let parts = assign(pods, 24, &names(&["worker-0", "worker-1", "gpu", "worker-4"]));
        assert_eq!(
            shown(parts),
            ["10.200.0.0/24", "10.200.1.0/24", "10.200.2.0/24", "10.200.4.0/24"]
        );
    }

    #[test]
    fn a_part_of_an_ipv6_network_has_the_number_where_one_can_read_it() {
        let pods = net("fd00:200::/48");
        let parts = assign(pods, 64, &names(&["worker-0", "worker-16", "gpu"]));
        assert_eq!(shown(parts), ["fd00:200::/64", "fd00:200:0:10::/64", "fd00:200:0:1::/64"]);
    }

    #[test]
    fn a_worker_keeps_its_part_when_another_goes() {
        let pods = net("10.200.0.0/16");
        let before = assign(pods, 24, &names(&["worker-0", "worker-1", "worker-2"]));
        let after = assign(pods, 24, &names(&["worker-0", "worker-2"]));
        assert_eq!([before[0], before[2]], after[..]);
    }

    #[test]
    fn workers_without_a_usable_number_get_free_parts() {
        let parts = assign(
            net("10.0.0.0/22"),
            24,
            &names(&["a-7", "b-0", "c-0", "n99999999999999999999", "last"]),
        );
        assert_eq!(
            shown(parts),
            ["10.0.1.0/24", "10.0.0.0/24", "10.0.2.0/24", "10.0.3.0/24", "none"]
        );
    }

    #[test]
    fn given_parts_take_precedence_and_must_not_overlap() {
        let given = |name, part| CidrRequest { name, given: Some(net(part)) };
        let workers = [
            CidrRequest { name: "worker-1", given: None },
            given("a", "10.0.1.0/25"),
            given("b", "10.0.1.0/24"),
            given("c", "10.9.0.0/24"),
        ];
        assert_eq!(
            shown(assign(net("10.0.0.0/16"), 24, &workers)),
            ["10.0.0.0/24", "10.0.1.0/25", "none", "none"]
        );
    }

    #[test]
    fn the_default_prefix_is_24_where_there_is_room() {
        let default = |pods| default_node_prefix(net(pods));
        assert_eq!(default("10.200.0.0/16"), Some(24));
        assert_eq!(default("10.200.0.0/22"), Some(24));
        assert_eq!(default("10.200.0.0/23"), Some(25));
        assert_eq!(default("10.200.0.0/28"), Some(28));
        assert_eq!(default("10.200.0.0/29"), None);
        assert_eq!(default("0.0.0.0/4"), Some(20));
        assert_eq!(default("fd00:200::/48"), Some(64));
        assert_eq!(default("fd00:200::/56"), Some(64));
        assert_eq!(default("fd00:200::/62"), Some(64));
        assert_eq!(default("fd00:200::/64"), Some(66));
        assert_eq!(default("fd00:200::/120"), Some(120));
        assert_eq!(default("fd00:200::/121"), None);
        assert_eq!(default("fd00::/32"), Some(48));
    }

    /// Generates networks of both families. The prefix length is one of an IPv4 network; in IPv6 it
    /// begins at another place, with as many bits left for each.
    fn any_net(prefixes: std::ops::RangeInclusive<u8>) -> impl Strategy<Value = IpNet> {
        (any::<u128>(), prefixes, any::<bool>(), 0u8..=96).prop_map(|(bits, prefix, new, more)| {
            let net = match new {
                true => IpNet::new(Ipv6Addr::from(bits).into(), prefix + more),
                false => IpNet::new(Ipv4Addr::from(bits as u32).into(), prefix),
            };
            net.unwrap().trunc()
        })
    }

    /// The longest prefix of a part that is at most `more` bits longer than that of `pods`.
    fn node_prefix(pods: IpNet, more: u8) -> u8 {
        let longest = family(pods).longest_node_prefix().max(pods.prefix_len());
        (pods.prefix_len() + more).min(longest)
    }

    /// Generates plausible names, often with numbers, often colliding.
    fn any_names() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ab]-?[0-9]{0,3}", 0..40)
    }

    fn unserved(names: &[String]) -> Vec<CidrRequest<'_>> {
        names.iter().map(|name| CidrRequest { name, given: None }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn assigned_parts_are_apart_and_inside(
            pods in any_net(4..=28),
            more in 0u8..=16,
            names in any_names(),
            given in prop::collection::vec(any_net(8..=28), 0..4),
        ) {
            let prefix = node_prefix(pods, more);
            let mut workers = unserved(&names);
            let given = given.iter().map(|given| Some(*given));
            workers.extend(given.map(|given| CidrRequest { name: "given", given }));
            let assigned = assign(pods, prefix, &workers);
            prop_assert_eq!(assigned.len(), workers.len());
            let parts: Vec<IpNet> = assigned.iter().flatten().copied().collect();
            for (number, part) in parts.iter().enumerate() {
                prop_assert!(pods.contains(part), "{} is not in {}", part, pods);
                for other in &parts[..number] {
                    prop_assert!(!overlap(*part, *other), "{} overlaps {}", part, other);
                }
            }
        }

        #[test]
        fn everyone_is_served_while_there_is_room(
            pods in any_net(4..=28),
            more in 0u8..=16,
            names in any_names(),
        ) {
            let prefix = node_prefix(pods, more);
            let workers = unserved(&names);
            let served = assign(pods, prefix, &workers).iter().flatten().count() as u64;
            prop_assert_eq!(served, part_count(pods, prefix).min(workers.len() as u64));
        }

        #[test]
        fn numbered_workers_keep_their_parts_whoever_goes(
            pods in any_net(8..=16), keep in prop::collection::vec(any::<bool>(), 1..30)
        ) {
            let numbers = 0..keep.len();
            let all: Vec<String> = numbers.map(|number| format!("worker-{number}")).collect();
            let prefix = pods.prefix_len() + 8;
            let before = assign(pods, prefix, &unserved(&all));
            let kept: Vec<usize> = (0..keep.len()).filter(|number| keep[*number]).collect();
            let left: Vec<&str> = kept.iter().map(|number| all[*number].as_str()).collect();
            let after = assign(pods, prefix, &names(&left));
            for (number, part) in kept.iter().zip(after) {
                prop_assert_eq!(before[*number], part);
            }
        }

        #[test]
        fn parts_tile_the_network(pods in any_net(0..=28), more in 0u8..=10) {
            let prefix = (pods.prefix_len() + more).min(family(pods).bits());
            let count = part_count(pods, prefix);
            let parts = (0..count).map_while(|index| part(pods, prefix, index));
            let parts: Vec<IpNet> = parts.collect();
            prop_assert_eq!(parts.len() as u64, count);
            prop_assert_eq!(parts[0].network(), pods.network());
            prop_assert_eq!(parts[parts.len() - 1].broadcast(), pods.broadcast());
            for pair in parts.windows(2) {
                prop_assert_eq!(count_on(pair[0].broadcast(), 1), Some(pair[1].network()));
            }
            prop_assert_eq!(part(pods, prefix, count), None);
        }

        #[test]
        fn overlap_means_a_common_address(one in any_net(0..=32), other in any_net(0..=32)) {
            let (first, last) = (one.network().max(other.network()), one.broadcast());
            let common = family(one) == family(other) && first <= last.min(other.broadcast());
            prop_assert_eq!(overlap(one, other), common);
            prop_assert_eq!(overlap(other, one), common);
        }

        #[test]
        fn the_nth_address_is_inside_or_nothing(net in any_net(0..=32), n in any::<u32>()) {
            match nth_address(net, n) {
                Some(address) => {
                    prop_assert!(net.contains(&address));
                    prop_assert_eq!(number(address) - number(net.network()), u128::from(n));
                }
                None => {
                    let bits = u32::from(family(net).bits() - net.prefix_len());
                    prop_assert!(bits <= 32 && u64::from(n) >= 1u64 << bits);
                }
            }
        }

        #[test]
        fn the_default_prefix_is_one_that_kubernetes_takes(pods in any_net(1..=32)) {
            if let Some(prefix) = default_node_prefix(pods) {
                prop_assert!(prefix >= pods.prefix_len());
                prop_assert!(prefix <= family(pods).longest_node_prefix());
                prop_assert!(prefix - pods.prefix_len() <= LARGEST_NODE_PREFIX_DIFFERENCE);
            } else {
                prop_assert!(pods.prefix_len() > family(pods).longest_node_prefix());
            }
        }
    }
}
