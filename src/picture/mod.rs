//! Pictures of a lab: its nodes by what they do, and who reaches whom, at which port.
//!
//! A [`Picture`] is worked out of the cluster alone; each format is one file that draws it.

pub mod dot;
pub mod mermaid;
pub mod svg;

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Node, PodNetwork, Role};

/// A group with more nodes is drawn as its first ones, how many are left out, and its last one.
const MOST: usize = 8;
/// How many of a large group come before those that are left out.
const FIRST: usize = 5;

/// A lab, ready to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The lab's name and version.
    pub title: String,
    /// What holds for all of it: the networks, and how pods reach each other.
    pub notes: Vec<String>,
    /// The nodes, from those that ask to those that do the work.
    pub groups: Vec<NodeGroup>,
    /// Who connects to whom, by the ids of boxes.
    pub wires: Vec<Wire>,
}

/// Nodes that do the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGroup {
    /// What they are called together.
    pub title: &'static str,
    /// What listens there, with its ports.
    pub ports: &'static str,
    /// How far it is from those that ask, which are in column 0.
    pub column: usize,
    /// The nodes.
    pub boxes: Vec<NodeBox>,
}

/// A node, or those that are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBox {
    /// What wires call it: its number among all boxes.
    pub id: usize,
    /// The node's name.
    pub name: String,
    /// What else is said of it.
    pub lines: Vec<String>,
    /// How it is, where somebody has looked.
    pub health: Option<Health>,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing is wrong.
    Well,
    /// Something is.
    Ill,
    /// It does not answer.
    Silent,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// The box that connects.
    pub from: usize,
    /// The box that is connected to.
    pub to: usize,
    /// Where, such as `:6443`.
    pub label: String,
}

/// What a node is drawn as, by its roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Worker,
    Client,
    Balancer,
    Controller,
}

impl Tier {
    const ALL: [Self; 4] = [Self::Worker, Self::Client, Self::Balancer, Self::Controller];

    fn of(node: &Node) -> Self {
        match () {
            () if node.has(Role::Controller) => Self::Controller,
            () if node.has(Role::Worker) => Self::Worker,
            () if node.has(Role::Loadbalancer) => Self::Balancer,
            () => Self::Client,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Client => "clients",
            Self::Balancer => "load balancers",
            Self::Controller => "controllers",
            Self::Worker => "workers",
        }
    }

    fn ports(self) -> &'static str {
        match self {
            Self::Client => "kubectl",
            Self::Balancer => "nginx",
            Self::Controller => "kube-apiserver 6443, etcd 2379 and 2380",
            Self::Worker => "kubelet 10250",
        }
    }
}

impl Picture {
    /// Draws up what is to be seen of a lab; `health` is how nodes are, by their names.
    pub fn of(cluster: &Cluster, health: &BTreeMap<String, Health>) -> Self {
        let (mut groups, mut column) = (Vec::<NodeGroup>::new(), 0);
        for tier in Tier::ALL {
            let nodes: Vec<&Node> =
                cluster.nodes.iter().filter(|node| Tier::of(node) == tier).collect();
            let mut boxes = boxes(&nodes, health);
            if tier == Tier::Balancer
                && let Some(host) = outside(cluster)
            {
                let lines = vec!["not of this lab".to_owned()];
                boxes.push(NodeBox { id: 0, name: host.to_owned(), lines, health: None });
            }
            if boxes.is_empty() {
                continue;
            }
            // Workers and clients are below one another, and both ask what is right of them.
            let beside = tier == Tier::Client && !groups.is_empty();
            column = if beside || groups.is_empty() { 0 } else { column + 1 };
            let (title, ports) = (tier.title(), tier.ports());
            groups.push(NodeGroup { title, ports, column, boxes });
        }
        let all = groups.iter_mut().flat_map(|group| &mut group.boxes);
        all.enumerate().for_each(|(id, one)| one.id = id);
        let all = groups.iter().flat_map(|group| &group.boxes);
        let wires = wires(cluster, &all.map(|one| (one.name.as_str(), one.id)).collect());
        let title = format!("{}: Kubernetes {}", cluster.name, cluster.kubernetes);
        Self { title, notes: notes(cluster), groups, wires }
    }
}

/// The boxes of a group, not numbered yet.
fn boxes(nodes: &[&Node], health: &BTreeMap<String, Health>) -> Vec<NodeBox> {
    let left_out = if nodes.len() > MOST { FIRST..nodes.len() - 1 } else { 0..0 };
    let mut boxes = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if left_out.contains(&index) {
            if index == left_out.start {
                let name = format!("{} more", left_out.len());
                boxes.push(NodeBox { id: 0, name, lines: Vec::new(), health: None });
            }
            continue;
        }
        let health = health.get(&node.name).copied();
        boxes.push(NodeBox { id: 0, name: node.name.clone(), lines: lines(node), health });
    }
    boxes
}

/// What is said of a node.
fn lines(node: &Node) -> Vec<String> {
    let mut lines: Vec<String> = node.addresses().map(|it| it.to_string()).collect();
    if node.roles.len() > 1 {
        let roles: Vec<String> =
            node.roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
        lines.push(roles.join(", "));
    }
    lines.extend(node.pod_cidrs().map(|part| format!("pods {part}")));
    lines
}

fn notes(cluster: &Cluster) -> Vec<String> {
    let network = &cluster.network;
    let between = match network.mode {
        PodNetwork::Routes => "every node has a route to each worker's part",
        PodNetwork::Vxlan => "a VXLAN joins the workers' parts, UDP port 4789",
        PodNetwork::None => "an add-on joins them",
    };
    let families = network.families();
    let pods: Vec<String> = families.iter().map(|it| it.pods.to_string()).collect();
    let services: Vec<String> = families.iter().map(|it| it.services.to_string()).collect();
    vec![
        format!("API: {}", cluster.api_url()),
        format!("pods: {}, {between}", pods.join(", ")),
        format!("Services: {}", services.join(", ")),
    ]
}

/// The host that everybody asks for the API, where it is no node of the lab.
fn outside(cluster: &Cluster) -> Option<&str> {
    let host = cluster.api.host.as_str();
    let is_host = |node: &Node| node.name == host || node.address.to_string() == host;
    let has_balancer = cluster.with_role(Role::Loadbalancer).next().is_some();
    (!has_balancer && !cluster.nodes.iter().any(is_host)).then_some(host)
}

/// Who connects to whom. What connects to itself is left out.
fn wires(cluster: &Cluster, ids: &BTreeMap<&str, usize>) -> Vec<Wire> {
    let api = &cluster.api;
    let names = |role| cluster.with_role(role).map(|node| node.name.as_str()).collect::<Vec<_>>();
    let controllers = names(Role::Controller);
    let mut balancers = names(Role::Loadbalancer);
    balancers.extend(outside(cluster));
    let named = api.loadbalancer.as_deref().filter(|name| balancers.contains(name));
    let (asked, port) = match named {
        Some(name) => (vec![name], api.port),
        None if balancers.is_empty() => (controllers.clone(), api.server_port),
        None => (balancers.clone(), api.port),
    };
    let mut wires = Vec::new();
    let mut wire = |from: &str, to: &str, port: u16| {
        if let (Some(&from), Some(&to)) = (ids.get(from), ids.get(to))
            && from != to
        {
            wires.push(Wire { from, to, label: format!(":{port}") });
        }
    };
    for node in &cluster.nodes {
        // Whoever has a load balancer of its own asks itself.
        let asks =
            matches!(Tier::of(node), Tier::Client | Tier::Worker) && !node.has(Role::Loadbalancer);
        for to in asked.iter().filter(|_| asks) {
            wire(&node.name, to, port);
        }
    }
    for from in &balancers {
        for to in &controllers {
            wire(from, to, api.server_port);
        }
    }
    wires
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;
    use crate::cluster::open_with;

    fn ids(picture: &Picture) -> Vec<(usize, &str)> {
        let boxes = picture.groups.iter().flat_map(|group| &group.boxes);
        boxes.map(|it| (it.id, it.name.as_str())).collect()
    }

    fn wired(picture: &Picture) -> Vec<String> {
        let name = |id: usize| {
            let boxes = picture.groups.iter().flat_map(|group| &group.boxes);
            boxes.into_iter().find(|it| it.id == id).expect("a box").name.clone()
        };
        let wires = picture.wires.iter();
        wires.map(|it| format!("{} {}{}", name(it.from), name(it.to), it.label)).collect()
    }

    /// A lab of these nodes, whose first controller is asked for the API unless there is a load
    /// balancer.
    fn lab(nodes: &[(&str, &str)]) -> Cluster {
        let place = |what: &str| nodes.iter().position(|(_, roles)| roles.contains(what));
        let first = place("loadbalancer").or(place("controller")).expect("a node") + 10;
        lab_at(&format!("192.0.2.{first}"), nodes)
    }

    /// A lab of these nodes, with another endpoint.
    fn lab_at(endpoint: &str, nodes: &[(&str, &str)]) -> Cluster {
        let api = format!("api: {{ endpoint: {endpoint} }}");
        let mut text = format!("name: x\nkubernetes: \"1.34.4\"\n{api}\nnodes:\n");
        for (last, (name, roles)) in nodes.iter().enumerate() {
            let address = format!("192.0.2.{}", last + 10);
            let _ = writeln!(text, "- {{ name: {name}, address: {address}, roles: [{roles}] }}");
        }
        open_with(Path::new("inventories/single.yaml"), &text).expect("a lab").0
    }

    #[test]
    fn workers_and_clients_ask_the_load_balancer_and_that_asks_the_controllers() {
        let lab = lab(&[
            ("lb-0", "loadbalancer"),
            ("c-0", "controller"),
            ("c-1", "controller"),
            ("w-0", "worker"),
            ("me", "client"),
        ]);
        let picture = Picture::of(&lab, &BTreeMap::new());
        assert_eq!(ids(&picture), [(0, "w-0"), (1, "me"), (2, "lb-0"), (3, "c-0"), (4, "c-1")]);
        let columns: Vec<usize> = picture.groups.iter().map(|group| group.column).collect();
        assert_eq!(columns, [0, 0, 1, 2]);
        let port = lab.api.port;
        let expected = [
            format!("w-0 lb-0:{port}"),
            format!("me lb-0:{port}"),
            "lb-0 c-0:6443".to_owned(),
            "lb-0 c-1:6443".to_owned(),
        ];
        assert_eq!(wired(&picture), expected);
    }

    #[test]
    fn without_a_load_balancer_the_controllers_are_asked_themselves() {
        let lab = lab(&[("c-0", "controller"), ("w-0", "worker")]);
        assert_eq!(wired(&Picture::of(&lab, &BTreeMap::new())), ["w-0 c-0:6443"]);
    }

    #[test]
    fn an_endpoint_that_is_no_node_of_the_lab_is_drawn_too() {
        let lab = lab_at("api.test", &[("c-0", "controller"), ("w-0", "worker")]);
        let picture = Picture::of(&lab, &BTreeMap::new());
        assert_eq!(wired(&picture), ["w-0 api.test:6443", "api.test c-0:6443"]);
        assert_eq!(picture.groups[1].boxes[0].lines, ["not of this lab"]);
    }

    #[test]
    fn a_node_with_a_load_balancer_of_its_own_asks_itself() {
        let lab = lab(&[("c-0", "controller, loadbalancer"), ("w-0", "worker, loadbalancer")]);
        let picture = Picture::of(&lab, &BTreeMap::new());
        assert_eq!(wired(&picture), ["w-0 c-0:6443"]);
        assert_eq!(picture.groups[1].boxes[0].lines[1], "controller, loadbalancer");
    }

    #[test]
    fn of_many_nodes_some_are_left_out() {
        let names: Vec<String> = (0..20).map(|number| format!("w-{number}")).collect();
        let workers = names.iter().map(|name| (name.as_str(), "worker"));
        let nodes: Vec<_> = std::iter::once(("c-0", "controller")).chain(workers).collect();
        let picture = Picture::of(&lab(&nodes), &BTreeMap::new());
        let drawn = ids(&picture);
        let names: Vec<&str> = drawn.iter().map(|(_, name)| *name).collect();
        assert_eq!(names, ["w-0", "w-1", "w-2", "w-3", "w-4", "14 more", "w-19", "c-0"]);
        assert_eq!(wired(&picture).len(), 6, "those that are drawn have wires");
        let mut seen: Vec<usize> = drawn.iter().map(|(id, _)| *id).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), drawn.len(), "every box has an id of its own");
    }
}
