//! Resolves the nodes: names, addresses, roles, labels, and their parts of the pod network.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::Resolver;
use super::networks::Networks;
use crate::cluster::network::{self, CidrRequest, IpFamily, family};
use crate::cluster::{Node, Role, Ssh, Taint, names};
use crate::inventory::{Located, NodeEntry, Position, did_you_mean};
use crate::machine::Machine;

/// Terms of other tools and guides for the roles.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("master", "controller"),
    ("control-plane", "controller"),
    ("controlplane", "controller"),
    ("etcd", "controller"),
    ("node", "worker"),
    ("minion", "worker"),
    ("lb", "loadbalancer"),
    ("load-balancer", "loadbalancer"),
    ("admin", "client"),
];

/// A node with the valid part of its entry.
pub(super) struct Draft<'i> {
    /// Its entry in the inventory.
    pub(super) entry: &'i NodeEntry,
    /// Its name, even if invalid, because messages need one.
    pub(super) name: Option<&'i str>,
    /// Its address of the lab's first IP family.
    pub(super) address: Option<IpAddr>,
    /// Its address of the second one.
    pub(super) second_address: Option<IpAddr>,
    /// Its roles, sorted; `None` if one of them is wrong, so that none is reported as missing.
    pub(super) roles: Option<Vec<Role>>,
    labels: BTreeMap<String, String>,
    /// Its taints.
    pub(super) taints: Vec<Taint>,
}

/// A node's parts of the pod networks, of the first IP family and of the second.
pub(super) type PodCidrs = [Option<IpNet>; 2];

impl Draft<'_> {
    /// Whether it has `role`, as far as known.
    pub(super) fn has(&self, role: Role) -> bool {
        self.roles.as_ref().is_some_and(|roles| roles.contains(&role))
    }

    /// Returns the node if all of it is valid.
    pub(super) fn into_node(self, pod_cidrs: PodCidrs, ssh: Ssh) -> Option<Node> {
        let [pod_cidr, second_pod_cidr] = pod_cidrs;
        Some(Node {
            name: self.name?.to_owned(),
            address: self.address?,
            second_address: self.second_address,
            roles: self.roles?,
            labels: self.labels,
            taints: self.taints,
            pod_cidr,
            second_pod_cidr,
            ssh,
            facts: Machine::default(),
        })
    }
}

impl<'i> Resolver<'i, '_> {
    /// Returns every node, in inventory order.
    pub(super) fn drafts(&mut self, networks: &Networks) -> Vec<Draft<'i>> {
        let Some(nodes) = &self.inventory.nodes else { return Vec::new() };
        let mut drafts = Vec::new();
        for entry in &nodes.value {
            let roles = self.roles(entry);
            let name = entry.name.as_ref().map(|name| self.node_name(name));
            let addresses = self.addresses(entry, roles.as_deref(), networks);
            drafts.push(Draft {
                entry,
                name,
                address: addresses.map(|(first, _)| first),
                second_address: addresses.and_then(|(_, second)| second),
                labels: self.labels(entry, roles.as_deref()),
                taints: self.taints(entry, roles.as_deref()),
                roles,
            });
        }
        self.check_unique(&drafts);
        self.check_roles(&drafts, nodes.at);
        self.check_room_for_pods(&drafts, nodes.at);
        drafts
    }

    fn node_name(&mut self, name: &'i Located<String>) -> &'i str {
        if let Err(wrong) = names::check_label(&name.value, 63) {
            let what = format!("the node name `{}` {wrong}", name.value);
            self.problems.error(
                name.at,
                what,
                "lower-case letters, digits and hyphens, such as `worker-0`",
            );
        } else if name.value == "localhost" {
            let what =
                "a node cannot be called `localhost`: on every machine that is the machine itself";
            self.problems.error(name.at, what, "choose a name such as `node-0`");
        }
        &name.value
    }

    /// Returns a node's address, and the one of the lab's second IP family.
    fn addresses(
        &mut self,
        entry: &NodeEntry,
        roles: Option<&[Role]>,
        networks: &Networks,
    ) -> Option<(IpAddr, Option<IpAddr>)> {
        let given = entry.address.iter().map(|text| {
            let address = self.address(text, networks);
            address.map(|address| Located::new(address, text.at))
        });
        let given: Vec<Option<Located<IpAddr>>> = given.collect();
        let given: Vec<Located<IpAddr>> = given.into_iter().collect::<Option<_>>()?;
        let name = entry.name.as_ref().map_or("the node", |name| &name.value);
        // Others need only be reached.
        let has_pods = |role: &Role| [Role::Worker, Role::Controller].contains(role);
        let all = roles.is_some_and(|roles| roles.iter().any(has_pods));
        self.of_families(name, &given, all, networks.families.as_deref())
    }

    fn address(&mut self, text: &Located<String>, networks: &Networks) -> Option<IpAddr> {
        let written = &text.value;
        let Ok(address) = written.parse::<IpAddr>() else {
            let (what, help) = if names::looks_like_an_address(written) {
                (
                    format!("`{written}` is not an IPv4 address"),
                    "write four numbers from 0 to 255, such as 10.240.0.10",
                )
            } else if written.contains('/') {
                (format!("`{written}` is a network, not an address"), "leave the prefix length out")
            } else {
                let help = "certificates and routes need an address; a host name to log in at \
                    goes into `ssh: { host: ... }`";
                (format!("`{written}` is not an IP address"), help)
            };
            self.problems.error(text.at, what, help);
            return None;
        };
        if let Err((what, help)) = place(address, networks) {
            self.problems.error(text.at, what, help);
            return None;
        }
        Some(address)
    }

    fn roles(&mut self, entry: &NodeEntry) -> Option<Vec<Role>> {
        let list = entry.roles.as_ref()?;
        if list.value.is_empty() {
            let help = format!("every node needs a role: choose from {}", role_words().join(", "));
            self.problems.error(list.at, "a node without roles", help);
            return None;
        }
        let mut roles = Vec::new();
        let mut all_known = true;
        for text in &list.value {
            match Role::ALL.into_iter().find(|role| role.to_string() == text.value) {
                Some(role) if roles.contains(&role) => {
                    self.problems.error(
                        text.at,
                        format!("the role `{role}` is given twice"),
                        "once is enough",
                    );
                }
                Some(role) => roles.push(role),
                None => {
                    all_known = false;
                    self.unknown_role(text);
                }
            }
        }
        roles.sort_unstable();
        all_known.then_some(roles)
    }

    fn unknown_role(&mut self, text: &Located<String>) {
        let word = text.value.to_lowercase();
        let words = role_words();
        let near = OTHER_WORDS.iter().find(|(other, _)| *other == word).map(|(_, role)| *role);
        let near = near.or_else(|| did_you_mean(&word, words.iter().map(String::as_str)));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the roles are {}", words.join(", ")),
        };
        self.problems.error(text.at, format!("unknown role `{}`", text.value), help);
    }

    fn labels(&mut self, entry: &NodeEntry, roles: Option<&[Role]>) -> BTreeMap<String, String> {
        let is_worker = roles.is_none_or(|roles| roles.contains(&Role::Worker));
        if let (false, Some((key, _))) = (is_worker, entry.labels.first()) {
            let what = "labels on a node that is not a worker: it has no Node object to carry them";
            self.problems.error(key.at, what, "remove them, or add `worker` to its roles");
        }
        for (key, value) in &entry.labels {
            let help =
                "letters, digits, `-`, `_` and `.`, at most 63, maybe after a DNS name and `/`";
            if let Err(wrong) = names::check_label_key(&key.value) {
                self.problems.error(key.at, format!("the label `{}` {wrong}", key.value), help);
            }
            if let Err(wrong) = names::check_label_value(&value.value) {
                let what =
                    format!("the value `{}` of the label `{}` {wrong}", value.value, key.value);
                self.problems.error(
                    value.at,
                    what,
                    "letters, digits, `-`, `_` and `.`, at most 63, or nothing",
                );
            }
        }
        entry.labels.iter().map(|(key, value)| (key.value.clone(), value.value.clone())).collect()
    }

    fn check_unique(&mut self, drafts: &[Draft<'_>]) {
        let mut names: HashMap<&str, Position> = HashMap::new();
        let mut addresses: HashMap<IpAddr, (&str, Position)> = HashMap::new();
        for draft in drafts {
            if let Some(name) = &draft.entry.name {
                if let Some(first) = names.get(name.value.as_str()) {
                    let what = format!(
                        "a second node is called `{}`; the first is in line {}",
                        name.value, first.line
                    );
                    self.problems.error(name.at, what, "give each node its own name");
                } else {
                    names.insert(&name.value, name.at);
                }
            }
            let own = [draft.address, draft.second_address].into_iter().flatten();
            for (address, text) in own.zip(&draft.entry.address) {
                if let Some((other, first)) = addresses.get(&address) {
                    let what = format!(
                        "{address} is already the address of `{other}` in line {}",
                        first.line
                    );
                    self.problems.error(
                        text.at,
                        what,
                        "a machine with several roles is one node with several roles",
                    );
                } else {
                    addresses.insert(address, (draft.name.unwrap_or("another node"), text.at));
                }
            }
        }
    }

    fn check_roles(&mut self, drafts: &[Draft<'_>], at: Position) {
        // The missing role could be one that could not be read.
        if drafts.iter().any(|draft| draft.roles.is_none()) {
            return;
        }
        let controllers: Vec<&Draft<'_>> =
            drafts.iter().filter(|draft| draft.has(Role::Controller)).collect();
        let members = controllers.len();
        if members == 0 {
            let help = "give one node `roles: [controller]`; it runs etcd and the API server";
            self.problems.error(at, "no node is a controller", help);
        } else if members.is_multiple_of(2) {
            let last = controllers
                .last()
                .and_then(|draft| draft.entry.roles.as_ref())
                .map_or(at, |roles| roles.at);
            let tolerated = (members - 1) / 2;
            let (fewer, more) = (members - 1, members + 1);
            let (what, help) = if tolerated == 0 {
                let stops = "which tolerate no loss: the API stops when either is lost";
                let help = "fine for a lab, but no safer than one controller; three tolerate the \
                    loss of one";
                (format!("two controllers mean two etcd members, {stops}"), help.to_owned())
            } else {
                let what = format!(
                    "{members} controllers mean {members} etcd members, which tolerate no more \
                    losses than {fewer}"
                );
                let help = format!(
                    "{fewer} tolerate the loss of {tolerated} as well, {more} that of {}",
                    tolerated + 1
                );
                (what, help)
            };
            self.problems.warning(last, what, help);
        }
        if !drafts.is_empty() && !drafts.iter().any(|draft| draft.has(Role::Worker)) {
            let what = "no node is a worker: pods will have nowhere to run";
            self.problems.warning(at, what, "give one node `roles: [worker]`");
        }
    }

    /// Returns the parts of the pod networks of each of `drafts`; none for those that are not
    /// workers.
    pub(super) fn pod_cidrs(&mut self, drafts: &[Draft<'_>], networks: &Networks) -> Vec<PodCidrs> {
        let mut taken: Vec<(IpNet, &str)> = Vec::new();
        let mut given: Vec<Vec<IpNet>> = Vec::new();
        for draft in drafts {
            let texts = draft.entry.pod_cidr.iter();
            let parts = texts.map(|text| self.given_part(text, draft, networks, &mut taken));
            given.push(parts.collect::<Vec<Option<IpNet>>>().into_iter().flatten().collect());
        }
        let mut all = vec![[None; 2]; drafts.len()];
        for (number, (pods, prefix)) in networks.parts.iter().flatten().enumerate().take(2) {
            let of_family = |part: &&IpNet| family(**part) == family(*pods);
            let workers: Vec<usize> =
                (0..drafts.len()).filter(|index| drafts[*index].has(Role::Worker)).collect();
            let wanted: Vec<CidrRequest<'_>> = workers
                .iter()
                .map(|index| CidrRequest {
                    name: drafts[*index].name.unwrap_or_default(),
                    given: given[*index].iter().find(of_family).copied(),
                })
                .collect();
            let assigned = network::assign(*pods, *prefix, &wanted);
            if assigned.iter().zip(&wanted).any(|(part, it)| part.is_none() && it.given.is_none()) {
                let at = networks.pods_at.get(number).copied().flatten();
                self.too_small(*pods, *prefix, wanted.len(), at);
            }
            for (index, part) in workers.into_iter().zip(assigned) {
                all[index][number] = part;
            }
        }
        all
    }

    /// Returns the part that the inventory assigns to a worker, if valid.
    fn given_part<'d>(
        &mut self,
        text: &Located<String>,
        draft: &Draft<'d>,
        networks: &Networks,
        given: &mut Vec<(IpNet, &'d str)>,
    ) -> Option<IpNet> {
        let part = self.cidr(text, "pod_cidr")?;
        let taken = given.iter().find(|(other, _)| network::overlap(*other, part));
        let (longest, usual) =
            (family(part).longest_node_prefix(), family(part).usual_node_prefix());
        let pods = networks.pods.iter().find(|pods| family(**pods) == family(part));
        let name = draft.name.unwrap_or("another node");
        let second = given.iter().find(|(it, whose)| {
            *whose == name && draft.name.is_some() && family(*it) == family(part)
        });
        let (what, help) = if draft.roles.is_some() && !draft.has(Role::Worker) {
            (
                "is for pods, but this node is not a worker".to_owned(),
                "remove it, or add `worker` to the node's roles".into(),
            )
        } else if part.prefix_len() > longest {
            (
                "has no room for pods".to_owned(),
                format!("a /{longest} at least; a /{usual} is usual"),
            )
        } else if pods.is_none() && !networks.pods.is_empty() {
            (
                format!("is an {} network, and `network.pods` has none", family(part)),
                "remove it, or give `network.pods` one".to_owned(),
            )
        } else if let Some(pods) = pods.filter(|pods| !pods.contains(&part)) {
            (
                format!("is not in the pod network {pods}"),
                format!("choose a part of {pods}, or leave `pod_cidr` out"),
            )
        } else if let Some((first, _)) = second {
            (
                format!("is a second {} part beside {first}", family(part)),
                "one of each IP family".to_owned(),
            )
        } else if let Some((other, name)) = taken {
            (
                format!("overlaps that of `{name}`, {other}"),
                "each worker needs its own part".to_owned(),
            )
        } else {
            given.push((part, name));
            if networks.network.as_ref().is_some_and(|it| it.capabilities().allocates_node_cidrs) {
                let what = "`pod_cidr` has no effect with `mode: none`, where \
                    kube-controller-manager assigns each Node its part";
                self.problems.warning(text.at, what, "remove it, or let labctl route pods");
            }
            return Some(part);
        };
        self.problems.error(text.at, format!("`pod_cidr` {part} {what}"), help);
        None
    }

    fn too_small(&mut self, pods: IpNet, prefix: u8, workers: usize, at: Option<Position>) {
        let room = network::part_count(pods, prefix);
        let fits = (prefix..=family(pods).longest_node_prefix())
            .find(|prefix| network::part_count(pods, *prefix) >= workers as u64);
        let help = match fits {
            Some(fits) if fits > prefix && family(pods) == IpFamily::Ipv6 => {
                format!("make `network.pods` larger, or give it `network.node_prefix` {fits}")
            }
            Some(fits) if fits > prefix => {
                format!("make `network.pods` larger, or set `network.node_prefix: {fits}`")
            }
            _ if family(pods) == IpFamily::Ipv6 => {
                "make `network.pods` larger; a /56 has room for 256 workers".to_owned()
            }
            _ => "make `network.pods` larger; a /16 has room for 256 workers".to_owned(),
        };
        let at = at.or(self.inventory.nodes.as_ref().map(|nodes| nodes.at)).unwrap_or_default();
        let parts = if room == 1 { "one worker".to_owned() } else { format!("{room} workers") };
        let what = format!(
            "the pod network {pods} has room for {parts} with a /{prefix} each, and there are \
            {workers}"
        );
        self.problems.error(at, what, help);
    }
}

/// Checks whether a node can have `address`, given the other networks.
fn place(address: IpAddr, networks: &Networks) -> Result<(), (String, &'static str)> {
    if let Some(local) = &networks.local {
        let family_of = IpFamily::of(address);
        let Some((subnet, gateway)) = local.subnets().find(|it| family(it.0) == family_of) else {
            // The lab has no addresses of this family, which is reported for the node.
            return Ok(());
        };
        if !subnet.contains(&address) {
            let help = "labctl makes this node: choose an address in `local.subnet`";
            return Err((format!("{address} is not in `local.subnet` {subnet}"), help));
        }
        let taken = if address == gateway {
            "the workstation's own address on the bridge"
        } else if address == subnet.network() {
            "the network itself"
        } else if address == subnet.broadcast() && address.is_ipv4() {
            "the broadcast address"
        } else {
            return Ok(());
        };
        return Err((
            format!("{address} is {taken} in `local.subnet` {subnet}"),
            "choose another address in it",
        ));
    }
    let (broadcast, only_here) = match address {
        IpAddr::V4(address) => (address.is_broadcast(), false),
        IpAddr::V6(address) => {
            (false, address.is_unicast_link_local() || address.to_ipv4_mapped().is_some())
        }
    };
    if address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || broadcast
        || only_here
    {
        return Err((
            format!("{address} is not an address that other nodes can reach"),
            "use the node's address in its network",
        ));
    }
    for (key, nets) in [("pods", &networks.pods), ("services", &networks.services)] {
        if let Some(net) = nets.iter().find(|net| net.contains(&address)) {
            let help =
                "nodes need addresses outside both cluster networks; change those under `network`";
            return Err((format!("{address} is inside `network.{key}` {net}"), help));
        }
    }
    Ok(())
}

fn role_words() -> Vec<String> {
    Role::ALL.iter().map(Role::to_string).collect()
}
