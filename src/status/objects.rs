//! What is read of the objects that an API server and etcd answer with; everything else in them is
//! passed over.

use serde::Deserialize;

/// A list of objects.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct List<T> {
    /// The objects.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// Name and namespace of an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub name: String,
    pub namespace: String,
    pub deletion_timestamp: Option<String>,
}

/// A condition of a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub message: String,
}

/// A Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeObject {
    pub metadata: Metadata,
    pub status: NodeObjectStatus,
}

impl NodeObject {
    /// What it says of being Ready.
    pub fn ready(&self) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.kind == "Ready")
    }

    /// Whether it is Ready.
    pub fn is_ready(&self) -> bool {
        self.ready().is_some_and(|ready| ready.status == "True")
    }
}

/// The status of a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeObjectStatus {
    pub conditions: Vec<Condition>,
    pub node_info: NodeInfo,
}

/// Versions of a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeInfo {
    pub kubelet_version: String,
}

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub metadata: Metadata,
    pub spec: PodSpec,
    pub status: PodObjectStatus,
}

/// Where a pod runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub node_name: Option<String>,
}

/// The status of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodObjectStatus {
    pub phase: String,
    pub reason: Option<String>,
    pub container_statuses: Vec<ContainerStatus>,
    pub init_container_statuses: Vec<ContainerStatus>,
}

/// A container of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerStatus {
    pub ready: bool,
    pub state: ContainerState,
}

/// What a container does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerState {
    pub waiting: Option<ContainerReason>,
    pub terminated: Option<ContainerReason>,
}

/// Why a container waits or has ended.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerReason {
    pub reason: String,
}

/// A Deployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Deployment {
    pub spec: Replicas,
    pub status: Available,
}

/// How many pods a Deployment wants.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Replicas {
    pub replicas: Option<u32>,
}

/// How many pods of a Deployment are there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Available {
    pub available_replicas: Option<u32>,
}

/// The version of an API server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServerVersion {
    pub git_version: String,
}

/// How a member of etcd is. Numbers are strings in etcd's JSON.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct MemberState {
    pub header: Header,
    pub version: String,
    #[serde(rename = "dbSize")]
    pub size: String,
    pub leader: String,
    pub errors: Vec<String>,
}

/// Who answered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    pub member_id: String,
}

/// The members that etcd has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct MemberList {
    pub members: Vec<MemberEntry>,
}

/// One of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct MemberEntry {
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
}
