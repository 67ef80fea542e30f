//! IP families: which of them a lab has, and whether all its networks and nodes agree about that.
//!
//! The pod networks decide. What else has addresses has one of each of their families, in the same
//! order: the first family is the one in which nodes reach each other, and in which a Service has
//! its address unless it asks for another.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Resolver;
use crate::cluster::network::{self, IpFamily, family};
use crate::cluster::{PodNetwork, Version};
use crate::inventory::{Located, Position};

/// A network with the name of its key, and its position unless it is the default.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) key: &'static str,
    pub(super) net: IpNet,
    pub(super) at: Option<Position>,
}

/// Networks with a special meaning (RFC 6890), which labs cannot use.
const RESERVED: &[(&str, &str)] = &[
    ("0.0.0.0/8", "not addresses of machines"),
    ("127.0.0.0/8", "every machine's own loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/3", "multicast and reserved"),
    ("::/8", "loopback, and IPv4 addresses in IPv6"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

/// The first minor release that has dual stack unless its feature gate is switched.
const DUAL_STACK: u16 = 21;
/// The minor release in which it became stable.
const DUAL_STACK_STABLE: u16 = 23;

impl Resolver<'_, '_> {
    /// Returns the networks in `texts`, or the default; `None` if one is wrong.
    pub(super) fn nets(
        &mut self,
        texts: &[Located<String>],
        key: &'static str,
        default: &str,
    ) -> Option<Vec<Named>> {
        if texts.is_empty() {
            return default.parse().ok().map(|net| vec![Named { key, net, at: None }]);
        }
        let nets: Vec<Option<Named>> = texts.iter().map(|text| self.net(text, key)).collect();
        let nets: Vec<Named> = nets.into_iter().collect::<Option<_>>()?;
        if let [first, second] = nets[..]
            && family(first.net) == family(second.net)
        {
            let what = format!("`{key}` has two {} networks", family(first.net));
            let help = "one for IPv4 and one for IPv6, or a single one";
            self.problems.error(second.at.unwrap_or_default(), what, help);
            return None;
        }
        Some(nets)
    }

    fn net(&mut self, text: &Located<String>, key: &'static str) -> Option<Named> {
        let net = self.cidr(text, key)?;
        let reserved = RESERVED.iter().find(|(reserved, _)| {
            reserved.parse::<IpNet>().is_ok_and(|reserved| network::overlap(reserved, net))
        });
        if let Some((reserved, meaning)) = reserved {
            let what = format!("`{key}` {net} overlaps {reserved} ({meaning})");
            let private = match family(net) {
                IpFamily::Ipv4 => "10.0.0.0/8",
                IpFamily::Ipv6 => "fd00::/8",
            };
            let help = format!("use a private network, such as a part of {private}");
            self.problems.error(text.at, what, help);
            return None;
        }
        Some(Named { key, net, at: Some(text.at) })
    }

    /// Returns `nets` if their families are those of the pod networks, in the same order.
    pub(super) fn as_pods(
        &mut self,
        nets: Option<Vec<Named>>,
        pods: Option<&[Named]>,
    ) -> Option<Vec<Named>> {
        let (nets, pods) = (nets?, pods?);
        let of = |nets: &[Named]| nets.iter().map(|it| family(it.net)).collect::<Vec<IpFamily>>();
        let (own, wanted) = (of(&nets), of(pods));
        if own == wanted {
            return Some(nets);
        }
        let key = nets.first()?.key;
        let missing = pods.iter().find(|it| !own.contains(&family(it.net)));
        let more = nets.iter().find(|it| !wanted.contains(&family(it.net)));
        let (at, what, help) = match (missing, more) {
            // A default has no position.
            (Some(missing), more) => (
                more.and_then(|it| it.at).or(nets[0].at).or(missing.at),
                format!(
                    "`{key}` has no {} network, and `network.pods` has one",
                    family(missing.net)
                ),
                format!("write {}", example(key, &wanted)),
            ),
            (None, Some(more)) => (
                more.at,
                format!("`{key}` has an {} network, and `network.pods` has none", family(more.net)),
                format!("remove it, or write {}", example("network.pods", &own)),
            ),
            (None, None) => (
                nets[0].at,
                format!("`{key}` begins with {}, and `network.pods` with {}", own[0], wanted[0]),
                "write both in the same order; the first family is the one in which nodes reach \
                    each other"
                    .to_owned(),
            ),
        };
        self.problems.error(at.unwrap_or_default(), what, help);
        None
    }

    /// Checks whether this version of Kubernetes can have these families.
    pub(super) fn check_families(&mut self, pods: &[Named], kubernetes: Option<Version>) {
        let ([_, second], Some(version)) = (pods, kubernetes) else { return };
        let at = second.at.unwrap_or_default();
        if version.minor < DUAL_STACK {
            let what = format!(
                "pods and Services of both IP families need Kubernetes 1.{DUAL_STACK}, and this \
                lab has {version}"
            );
            self.problems.error(at, what, "write one network, or use a newer version");
        } else if version.minor < DUAL_STACK_STABLE {
            let what = format!(
                "both IP families are a beta feature of Kubernetes {version}, stable from \
                1.{DUAL_STACK_STABLE}"
            );
            self.problems.warning(at, what, "fine for a lab; a newer version is better tested");
        }
    }

    /// Refuses a tunnel for IPv6, whose devices are set up with IPv4 addresses.
    pub(super) fn check_tunnel(&mut self, mode: PodNetwork, families: Option<&[IpFamily]>) {
        let has_ipv6 = families.is_some_and(|all| all.contains(&IpFamily::Ipv6));
        if let (PodNetwork::Vxlan, true, Some(text)) =
            (mode, has_ipv6, &self.inventory.network.mode)
        {
            let what = "`mode: vxlan` carries IPv4 only, and `network.pods` has an IPv6 network";
            let help = "use `mode: routes`, or `mode: none` and a plugin of your own";
            self.problems.error(text.at, what, help);
        }
    }

    /// Returns a node's addresses, first and second, if their families are those of the lab. `all`
    /// says whether it needs one of each.
    pub(super) fn of_families(
        &mut self,
        name: &str,
        given: &[Located<IpAddr>],
        all: bool,
        families: Option<&[IpFamily]>,
    ) -> Option<(IpAddr, Option<IpAddr>)> {
        let first = *given.first()?;
        let second = given.get(1).copied();
        let whole = (first.value, second.map(|it| it.value));
        let own: Vec<IpFamily> = given.iter().map(|it| IpFamily::of(it.value)).collect();
        if let ([one, other], Some(second)) = (&own[..], second)
            && one == other
        {
            let what = format!("`{name}` has two {one} addresses");
            let help = "one, at which other nodes reach it; or one of each IP family";
            self.problems.error(second.at, what, help);
            return None;
        }
        let Some(families) = families else { return Some(whole) };
        let stranger = given.iter().find(|it| !families.contains(&IpFamily::of(it.value)));
        let needed = if all { families } else { &families[..families.len().min(1)] };
        let missing = needed.iter().find(|it| !own.contains(it));
        let (at, what, help) = if let Some(stranger) = stranger {
            let (address, family) = (stranger.value, IpFamily::of(stranger.value));
            let what =
                format!("{address} is an {family} address, and `network.pods` has no such network");
            let has = families.first().map_or(IpFamily::Ipv4, |it| *it);
            let help = format!(
                "use the node's {has} address, or give `network.pods` and `network.services` an \
                {family} network too"
            );
            (stranger.at, what, help)
        } else if let Some(missing) = missing {
            let what = format!(
                "`{name}` has no {missing} address, and `network.pods` has an {missing} network"
            );
            let help = match families {
                [IpFamily::Ipv4, _] => "write two: address: [10.240.0.20, \"fd00:240::20\"]",
                _ => "write two: address: [\"fd00:240::20\", 10.240.0.20]",
            };
            (first.at, what, help.to_owned())
        } else if own.len() > 1 && own != families {
            let what = format!(
                "the addresses of `{name}` begin with {}, and `network.pods` with {}",
                own[0], families[0]
            );
            (first.at, what, "write both in the same order".to_owned())
        } else {
            return Some(whole);
        };
        self.problems.error(at, what, help);
        None
    }
}

/// Returns an example of the networks of `key` in these families.
fn example(key: &str, families: &[IpFamily]) -> String {
    let (ipv4, ipv6) = match key {
        "network.pods" => ("10.200.0.0/16", "fd00:200::/56"),
        "network.services" => ("10.32.0.0/24", "fd00:32::/112"),
        _ => ("10.240.0.0/24", "fd00:240::/64"),
    };
    let word = key.rsplit('.').next().unwrap_or(key);
    let nets = families.iter().map(|family| match family {
        IpFamily::Ipv4 => ipv4.to_owned(),
        IpFamily::Ipv6 => format!("\"{ipv6}\""),
    });
    match &nets.collect::<Vec<String>>()[..] {
        [one] => format!("`{word}: {one}`"),
        all => format!("`{word}: [{}]`", all.join(", ")),
    }
}
