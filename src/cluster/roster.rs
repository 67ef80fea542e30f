//! The roster: the nodes that were last worked on. Shows what a changed inventory means for them.
//!
//! A node is in the roster from the moment when work on it starts, so that labctl notices before it
//! does anything if the node disappears from the inventory, or changes there in a way that no run
//! can follow. Without a roster, only the inventory counts.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::skew::{CannotUpgrade, Running, refuse_jump};
use super::{Cluster, Node, Role, Ssh, Version};

/// The nodes of a lab at the time when they were last worked on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    /// In the order in which they were added.
    pub nodes: Vec<Member>,
}

/// One node of the roster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its address for other nodes.
    pub address: IpAddr,
    /// Its address of the second IP family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_address: Option<IpAddr>,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Its part of the pod network.
    pub pod_cidr: Option<IpNet>,
    /// Its part of the pod network of the second IP family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_pod_cidr: Option<IpNet>,
    /// How labctl logged in.
    pub ssh: Ssh,
    /// Whether its removal was started.
    #[serde(default)]
    pub leaving: bool,
    /// Whether the user said that its machine is lost.
    #[serde(default)]
    pub gone: bool,
    /// Whether to remove it even if etcd or a pod prevents it (`--force`).
    #[serde(default)]
    pub forced: bool,
    /// The version of Kubernetes that it was last brought to, wholly; none before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Version>,
}

/// A change in the inventory that no run can follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl Roster {
    /// Parses a roster; `None` if the bytes are not one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns the roster as the content of its file.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Returns the node called `name`.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.nodes.iter().find(|member| member.name == name)
    }

    /// Records a node that is being worked on.
    pub fn remember(&mut self, node: &Node) {
        let known = self.member(&node.name);
        let said = |of: fn(&Member) -> bool| known.is_some_and(of);
        let (leaving, gone, forced) =
            (said(|it| it.leaving), said(|it| it.gone), said(|it| it.forced));
        let kubernetes = known.and_then(|it| it.kubernetes);
        let member = Member {
            name: node.name.clone(),
            address: node.address,
            second_address: node.second_address,
            roles: node.roles.clone(),
            pod_cidr: node.pod_cidr,
            second_pod_cidr: node.second_pod_cidr,
            ssh: node.ssh.clone(),
            leaving,
            gone,
            forced,
            kubernetes,
        };
        match self.nodes.iter_mut().find(|known| known.name == node.name) {
            Some(known) => *known = member,
            None => self.nodes.push(member),
        }
    }

    /// Records which version of Kubernetes a node has been brought to.
    pub fn runs(&mut self, name: &str, version: Version) {
        for member in self.nodes.iter_mut().filter(|member| member.name == name) {
            member.kubernetes = Some(version);
        }
    }

    /// Returns what the nodes of `cluster` run that run Kubernetes, as far as that is known.
    pub fn running(&self, cluster: &Cluster) -> Running {
        let runs = |node: &&Node| node.has(Role::Controller) || node.has(Role::Worker);
        let known = |node: &Node| Some((node.name.clone(), self.member(&node.name)?.kubernetes?));
        cluster.nodes.iter().filter(runs).filter_map(known).collect()
    }

    /// Returns a version that one of the nodes of `cluster` runs and that is not the cluster's.
    pub fn other_version(&self, cluster: &Cluster) -> Option<Version> {
        self.running(cluster).into_values().find(|version| *version != cluster.kubernetes)
    }

    /// Records that a node's removal has started, and how, so that any later run can finish it.
    pub fn leaves(&mut self, node: &Node, gone: bool, forced: bool) {
        self.remember(node);
        for member in self.nodes.iter_mut().filter(|member| member.name == node.name) {
            (member.leaving, member.gone, member.forced) = (true, gone, forced);
        }
    }

    /// Returns the nodes whose removal has started but not finished.
    pub fn leaving(&self) -> impl Iterator<Item = &Member> {
        self.nodes.iter().filter(|member| member.leaving)
    }

    /// Returns `cluster` without the nodes whose removal has started. The other nodes are
    /// unchanged.
    pub fn staying(&self, cluster: &Cluster) -> Cluster {
        let mut cluster = cluster.clone();
        cluster.nodes.retain(|node| self.member(&node.name).is_none_or(|member| !member.leaving));
        cluster
    }

    /// Records that a node's removal was refused before anything was done.
    pub fn stays(&mut self, name: &str) {
        for member in self.nodes.iter_mut().filter(|member| member.name == name) {
            (member.leaving, member.gone, member.forced) = (false, false, false);
        }
    }

    /// Removes a node from the roster.
    pub fn forget(&mut self, name: &str) {
        self.nodes.retain(|member| member.name != name);
    }

    /// Returns every change in `cluster` that no run can follow; `file` is the inventory's name for
    /// commands to type. New nodes and additional roles are fine, and the next run finishes a
    /// removal that was started.
    pub fn drift(&self, cluster: &Cluster, file: &str) -> Vec<Drift> {
        self.nodes.iter().filter_map(|member| member.drift(self, cluster, file)).collect()
    }

    /// Returns why `cluster` cannot have its version of Kubernetes, coming from what the nodes run.
    pub fn jump(&self, cluster: &Cluster) -> Option<Drift> {
        let CannotUpgrade { what, help } = refuse_jump(&self.running(cluster), cluster.kubernetes)?;
        Some(Drift { what, help })
    }
}

impl Member {
    fn drift(&self, roster: &Roster, cluster: &Cluster, file: &str) -> Option<Drift> {
        let (name, address) = (&self.name, self.address);
        let drift = |what: String, help: String| Some(Drift { what, help });
        if self.leaving {
            return None;
        }
        let Some(node) = cluster.node(name) else {
            return Some(self.absence(roster, cluster, file));
        };
        if node.address != address {
            return drift(
                format!(
                    "`{name}` had the address {address} and now has {}, but a node keeps its \
                    address",
                    node.address
                ),
                format!(
                    "put {address} back; or run `labctl node remove {file} {name}`, then `labctl \
                    node add {file} {name} \
                     --address {}`",
                    node.address
                ),
            );
        }
        if let Some(drift) = self.second_address.and_then(|was| second_moved(node, was)) {
            return Some(drift);
        }
        if let Some(role) = self.roles.iter().find(|role| !node.has(**role)) {
            let add = node.roles.iter().map(|role| format!(" --role {role}")).collect::<String>();
            return drift(
                format!("`{name}` is no longer a {role}, but what that put on it is still there"),
                format!(
                    "put the role back; or run `labctl node remove {file} {name}`, then `labctl \
                    node add {file} {name} \
                     --address {address}{add}`"
                ),
            );
        }
        let parts = [(self.pod_cidr, node.pod_cidr), (self.second_pod_cidr, node.second_pod_cidr)];
        let moved = parts.into_iter().find_map(|(was, is)| was.zip(is).filter(|it| it.0 != it.1));
        let (was, is) = moved?;
        // An IPv6 network is not plain YAML.
        let written = if was.addr().is_ipv6() { format!("\"{was}\"") } else { was.to_string() };
        drift(
            format!(
                "the pods of `{name}` had {was} and would get {is}, but a Node object keeps its \
                pod network"
            ),
            format!("add `pod_cidr: {written}` to the entry of `{name}`"),
        )
    }

    /// The drift of a node whose name the inventory does not have.
    fn absence(&self, roster: &Roster, cluster: &Cluster, file: &str) -> Drift {
        let name = &self.name;
        let at_its_address =
            |node: &&Node| node.address == self.address && roster.member(&node.name).is_none();
        match cluster.nodes.iter().find(at_its_address) {
            Some(new) => Drift {
                what: format!("`{name}` is now called `{}`, but a node keeps its name", new.name),
                help: format!(
                    "its certificates, its Node object and its etcd membership have the name \
                    `{name}`: put it back; or run `labctl node remove {file} {name}`, then \
                    `labctl up {file}` with the new name"
                ),
            },
            None => Drift {
                what: format!(
                    "`{name}` is no longer in the inventory, but still a node of this lab"
                ),
                help: format!(
                    "`labctl node remove {file} {name}` removes it from the lab, even without \
                    its entry; or put the entry back"
                ),
            },
        }
    }
}

/// The drift of a node that had a second address and has another one now, or none.
fn second_moved(node: &Node, was: IpAddr) -> Option<Drift> {
    let name = &node.name;
    let what = match node.second_address {
        Some(is) if is == was => return None,
        Some(is) => format!(
            "`{name}` had the address {was} and now has {is}, but a node keeps its addresses"
        ),
        None => format!("`{name}` has lost its address {was}, but a node keeps its addresses"),
    };
    Some(Drift { what, help: format!("put {was} back") })
}

/// Returns why a node cannot be removed from its lab, if it cannot.
pub fn must_stay(cluster: &Cluster, node: &Node) -> Option<Drift> {
    let name = &node.name;
    if node.has(Role::Controller)
        && cluster.with_role(Role::Controller).all(|other| other.name == *name)
    {
        let what = format!("`{name}` is the last controller; a lab needs one");
        let help =
            "add another controller first, or remove the whole lab with `labctl down`".to_owned();
        return Some(Drift { what, help });
    }
    if cluster.api.loadbalancer.as_ref() == Some(name) {
        let what = format!("`{name}` is the load balancer that every kubeconfig points to");
        let help = "set `api.endpoint` to another load balancer or a name of your own and run \
            `labctl up` first; to \
                    replace a lost machine, set up another one at its address and run `labctl up`"
            .to_owned();
        return Some(Drift { what, help });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::resolve::resolve;
    use crate::inventory::load::parse;

    const NODES: [&str; 3] = [
        "{ name: controller-0, address: 192.0.2.10, roles: [controller] }",
        "{ name: worker-0, address: 192.0.2.20, roles: [worker] }",
        "{ name: extra, address: 192.0.2.21, roles: [worker, client] }",
    ];

    fn cluster(nodes: &[&str]) -> Cluster {
        let nodes: String = nodes.iter().map(|node| format!("  - {node}\n")).collect();
        let text = format!("name: t\nkubernetes: \"1.34.4\"\nnodes:\n{nodes}");
        let inventory = parse(std::path::Path::new("t.yaml"), text.as_bytes()).expect("YAML");
        resolve(&inventory).expect("a lab").0
    }

    fn roster() -> Roster {
        let mut roster = Roster::default();
        cluster(&NODES).nodes.iter().for_each(|node| roster.remember(node));
        roster
    }

    /// Returns the drift of a lab whose entry number `index` was replaced.
    fn said(index: usize, entry: &str) -> Vec<String> {
        let mut nodes = NODES.to_vec();
        nodes[index] = entry;
        nodes.retain(|entry| !entry.is_empty());
        let drifts = roster().drift(&cluster(&nodes), "t.yaml");
        drifts.into_iter().map(|drift| format!("{}; {}", drift.what, drift.help)).collect()
    }

    #[test]
    fn what_runs_kubernetes_is_known_and_a_load_balancer_does_not() {
        let balanced =
            [NODES[0], NODES[1], "{ name: lb, address: 192.0.2.5, roles: [loadbalancer] }"];
        let (lab, version) = (cluster(&balanced), "1.34.4".parse().expect("a version"));
        let mut roster = Roster::default();
        for node in &lab.nodes {
            roster.remember(node);
            roster.runs(&node.name, version);
        }
        let running = roster.running(&lab);
        assert_eq!(running.keys().collect::<Vec<_>>(), ["controller-0", "worker-0"]);
        assert!(must_stay(&lab, &lab.nodes[0]).is_some(), "the last controller");
        let two = [NODES[0], "{ name: second, address: 192.0.2.11, roles: [controller] }"];
        let two = cluster(&two);
        assert!(two.nodes.iter().all(|node| must_stay(&two, node).is_none()), "one may go");
    }

    #[test]
    fn an_unchanged_or_grown_lab_has_no_drift() {
        assert_eq!(said(0, NODES[0]), [""; 0]);
        let mut grown = NODES.to_vec();
        grown.push("{ name: worker-9, address: 192.0.2.29, roles: [worker] }");
        assert_eq!(roster().drift(&cluster(&grown), "t.yaml"), []);
        assert_eq!(
            said(1, "{ name: worker-0, address: 192.0.2.20, roles: [worker, client] }"),
            [""; 0],
            "a role more"
        );
        assert_eq!(
            Roster::default().drift(&cluster(&NODES), "t.yaml"),
            [],
            "without a memory there is no drift"
        );
    }

    #[test]
    fn a_node_missing_from_the_inventory_is_reported() {
        let mut gone = said(1, "");
        gone.truncate(1);
        assert_eq!(
            gone,
            ["`worker-0` is no longer in the inventory, but still a node of this lab; `labctl \
                node remove t.yaml \
              worker-0` removes it from the lab, even without its entry; or put the entry back"]
        );
    }

    #[test]
    fn a_node_keeps_name_address_and_roles() {
        let renamed = said(1, "{ name: minion-0, address: 192.0.2.20, roles: [worker] }").remove(0);
        assert!(renamed.starts_with("`worker-0` is now called `minion-0`"), "{renamed}");
        let moved = said(1, "{ name: worker-0, address: 192.0.2.99, roles: [worker] }").remove(0);
        assert!(
            moved.starts_with("`worker-0` had the address 192.0.2.20 and now has 192.0.2.99"),
            "{moved}"
        );
        let less = said(2, "{ name: extra, address: 192.0.2.21, roles: [client] }").remove(0);
        assert!(less.starts_with("`extra` is no longer a worker"), "{less}");
        assert!(
            less.ends_with("`labctl node add t.yaml extra --address 192.0.2.21 --role client`"),
            "{less}"
        );
    }

    #[test]
    fn a_node_gets_a_second_address_and_keeps_it() {
        let dual = "network: { pods: [10.200.0.0/16, \"fd00:200::/56\"], services: [10.32.0.0/24, \
            \"fd00:32::/112\"] }";
        let lab = |second: &str, more: &str| {
            let text = format!(
                "name: t\nkubernetes: \"1.36.3\"\n{dual}\nnodes:\n  - {{ name: a-3, address: \
                 [192.0.2.10, \"{second}\"], roles: [controller, worker]{more} }}\n"
            );
            resolve(&parse(std::path::Path::new("t.yaml"), text.as_bytes()).expect("YAML"))
                .expect("a lab")
                .0
        };
        let mut before = lab("fd00::10", "");
        let mut roster = Roster::default();
        before.nodes[0].second_address = None;
        before.nodes[0].second_pod_cidr = None;
        roster.remember(&before.nodes[0]);
        assert_eq!(roster.drift(&lab("fd00::10", ""), "t.yaml"), [], "a family more");

        roster.remember(&lab("fd00::10", "").nodes[0]);
        let read = Roster::read(roster.text().as_bytes()).expect("a roster");
        assert_eq!(read.drift(&lab("fd00::10", ""), "t.yaml"), []);
        let said = |cluster: &Cluster| read.drift(cluster, "t.yaml").remove(0);
        let moved = said(&lab("fd00::11", ""));
        assert_eq!(
            moved.what,
            "`a-3` had the address fd00::10 and now has fd00::11, but a node keeps its addresses"
        );
        assert!(said(&before).what.contains("has lost its address fd00::10"));
        let other = said(&lab("fd00::10", ", pod_cidr: \"fd00:200:0:9::/64\""));
        assert_eq!(other.help, "add `pod_cidr: \"fd00:200:0:3::/64\"` to the entry of `a-3`");
    }

    #[test]
    fn two_nodes_with_swapped_addresses_are_two_moves() {
        let mut nodes = NODES.to_vec();
        nodes[1] = "{ name: worker-0, address: 192.0.2.21, roles: [worker] }";
        nodes[2] = "{ name: extra, address: 192.0.2.20, roles: [worker, client] }";
        assert_eq!(roster().drift(&cluster(&nodes), "t.yaml").len(), 2);
    }

    #[test]
    fn a_changed_pod_network_is_reported() {
        // `extra` has the first free part; another worker before it takes that.
        let mut nodes = NODES.to_vec();
        nodes.insert(1, "{ name: other, address: 192.0.2.30, roles: [worker] }");
        let drifts = roster().drift(&cluster(&nodes), "t.yaml");
        assert_eq!(drifts.len(), 1);
        assert_eq!(drifts[0].help, "add `pod_cidr: 10.200.1.0/24` to the entry of `extra`");
    }

    #[test]
    fn an_interrupted_removal_is_remembered_and_blocks_no_run() {
        let mut roster = roster();
        let names = |cluster: &Cluster| {
            cluster.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>()
        };
        roster.leaves(&cluster(&NODES).nodes[1], true, false);
        assert_eq!(
            roster.drift(&cluster(&NODES), "t.yaml"),
            [],
            "neither while its entry is there"
        );
        let mut last = roster.clone();
        last.stays("worker-0");
        last.leaves(&cluster(&NODES).nodes[2], false, false);
        assert_eq!(last.drift(&cluster(&NODES[..2]), "t.yaml"), [], "nor when it is not");
        assert_eq!(names(&roster.staying(&cluster(&NODES))), ["controller-0", "extra"]);
        let staying = roster.staying(&cluster(&NODES));
        assert_eq!(
            staying.node("extra"),
            cluster(&NODES).node("extra"),
            "its pods stay in their network"
        );
        let read = Roster::read(roster.text().as_bytes()).expect("a roster");
        let said: Vec<_> = read
            .leaving()
            .map(|member| (member.name.as_str(), member.gone, member.forced))
            .collect();
        assert_eq!(said, [("worker-0", true, false)]);
        roster.remember(&cluster(&NODES).nodes[1]);
        assert_eq!(roster.leaving().count(), 1, "work on it is no reason to forget that");
        roster.stays("worker-0");
        assert_eq!(roster.leaving().count(), 0);
        assert_eq!(names(&roster.staying(&cluster(&NODES))).len(), 3);
        roster.forget("worker-0");
        assert_eq!(roster.member("worker-0"), None);
    }

    #[test]
    fn a_roster_reads_back_the_same_and_invalid_text_is_none() {
        assert_eq!(Roster::read(roster().text().as_bytes()), Some(roster()));
        assert_eq!(Roster::read(b"{ half"), None);
    }
}
