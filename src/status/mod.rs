//! How a lab is: what every node is asked, what it answers, and what is wrong with that, worst
//! first.
//!
//! Pure. The shell that asks is `src/node/status.sh`; [`ask`] writes what stands above it,
//! [`answer`] reads what it prints, and [`judge`] compares that with the cluster. A [`LabStatus`]
//! is what comes of it: the same for a terminal, a page and a program.

pub mod answer;
pub mod ask;
pub mod judge;
mod objects;

use serde::Serialize;

/// The version of the JSON form of a [`LabStatus`]. It changes when a field goes or means something
/// else.
pub const FORMAT: u32 = 1;

/// How a lab is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabStatus {
    /// [`FORMAT`].
    pub format: u32,
    /// The lab's name.
    pub lab: String,
    /// The version of Kubernetes in the inventory.
    pub kubernetes: String,
    /// The API's URL in kubeconfigs.
    pub api_url: String,
    /// Whether nothing is wrong.
    pub well: bool,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// Every node, in inventory order.
    pub nodes: Vec<NodeStatus>,
    /// The members of etcd, as etcd says it.
    pub etcd: EtcdStatus,
    /// The ways to the API.
    pub api: Vec<ApiPath>,
    /// The pods of the cluster; none where no API server answered.
    pub pods: Option<PodsStatus>,
    /// What `up` would change.
    pub drift: Deviation,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing it is; worse ones come first.
    pub kind: FaultKind,
    /// The node; none for what concerns the lab.
    pub node: Option<String>,
    /// What is wrong, after the node's name: `containerd.service has failed`.
    pub what: String,
    /// The command that mends it.
    pub mend: String,
    /// What else helps: where to look, or what to decide first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Kinds of findings, worst first: what comes earlier is often the cause of what comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The node cannot be reached, or does not answer.
    Unreachable,
    /// The node belongs to another lab.
    Stranger,
    /// The node's clock is wrong.
    Clock,
    /// A file system is full or almost.
    Full,
    /// A file system cannot be written.
    ReadOnly,
    /// Swap is on.
    Swap,
    /// A certificate has expired or is not of the lab's CA.
    Certificate,
    /// A program does not run.
    Unit,
    /// A program runs and is not healthy.
    Health,
    /// The members of etcd are not those of the inventory, have no leader, or take no writes.
    Etcd,
    /// The way to other nodes or to their pods is not there.
    Network,
    /// An API server cannot be reached, or is not ready.
    Api,
    /// A Node object is missing or not Ready.
    NotReady,
    /// Cluster DNS is not there.
    Dns,
    /// A pod does not run.
    Pod,
    /// A certificate expires soon.
    Expiring,
    /// A program has another version than the inventory.
    Version,
    /// A node differs from the inventory.
    Drift,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Whether it answered.
    pub reached: bool,
    /// Whether its Node object is Ready; none where there is none, or no API server answered.
    pub ready: Option<bool>,
    /// The kubelet's version; of a controller without one, the API server's.
    pub version: Option<String>,
    /// Units that are active, and all that should be.
    pub units: (usize, usize),
    /// Days until the first of its certificates expires; negative when it has.
    pub certificate_days: Option<i64>,
    /// How full the fullest of its file systems is, in percent.
    pub disk_percent: Option<u8>,
    /// Seconds since it started.
    pub up_seconds: Option<u64>,
    /// Number of findings about it.
    pub findings: usize,
}

/// etcd as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EtcdStatus {
    /// Its version.
    pub version: Option<String>,
    /// The leader's name.
    pub leader: Option<String>,
    /// Its members, sorted by name.
    pub members: Vec<MemberStatus>,
}

/// One member of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its name; empty while it has not started.
    pub name: String,
    /// Whether it answered.
    pub healthy: bool,
    /// Size of its database in bytes.
    pub size: Option<u64>,
}

/// One way to the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiPath {
    /// The node at its end: a controller, or what the endpoint is.
    pub name: String,
    /// Whether it is the endpoint of kubeconfigs.
    pub endpoint: bool,
    /// The nodes that reached it.
    pub reached_by: Vec<String>,
    /// The nodes that did not.
    pub missed_by: Vec<String>,
}

/// The pods of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PodsStatus {
    /// How many run or are done.
    pub running: usize,
    /// How many there are.
    pub all: usize,
    /// Those that do not run.
    pub others: Vec<PodStatus>,
}

/// A pod that does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: Option<String>,
    /// ContainerReason: `CrashLoopBackOff`, `Pending`, as kubectl names it.
    pub reason: String,
}

/// How nodes differ from the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deviation {
    /// What `up` would change.
    Changes(Vec<DriftedTask>),
    /// Why that is not known.
    Unknown(String),
}

/// One task that `up` would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriftedTask {
    /// The node.
    pub node: String,
    /// The task.
    pub task: String,
    /// What differs.
    pub why: String,
}

impl Deviation {
    /// How many tasks `up` would do on how many nodes; none where that is not known.
    pub fn count(&self) -> Option<(usize, usize)> {
        let Self::Changes(changes) = self else { return None };
        let nodes: std::collections::BTreeSet<&str> =
            changes.iter().map(|change| change.node.as_str()).collect();
        Some((changes.len(), nodes.len()))
    }
}
