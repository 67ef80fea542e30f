//! How large files get to nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::cluster::Cluster;
use crate::transport::Transport;

/// How large files reach the nodes. By default, the workstation sends each node everything that it
/// lacks, uncompressed.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// When nodes pass files on to each other.
    pub spread: Spread,
    /// How nodes reach each other, by name.
    pub peers: BTreeMap<String, Peer>,
    /// Whether the nodes are on the workstation.
    pub near: bool,
    /// The directory of each local node into which files are put for it, by name; none for nodes
    /// that are sent everything.
    pub beside: BTreeMap<String, PathBuf>,
    /// Where compressed copies of large files are kept; `None` to send them uncompressed.
    pub packed: Option<PathBuf>,
}

impl Delivery {
    /// Returns the settings for a cluster. `cache` is labctl's cache directory; `beside` returns
    /// the directory of a local node into which files are put for it.
    pub fn of(
        cluster: &Cluster,
        spread: Spread,
        cache: &Path,
        beside: impl Fn(&str) -> PathBuf,
    ) -> Self {
        let near = cluster.local.is_some();
        // Who asks nodes to pass files on wants them to be sent.
        let put = cluster.nodes.iter().filter(|_| near && spread != Spread::Always);
        let beside = put.map(|node| (node.name.clone(), beside(&node.name))).collect();
        let peers = cluster.nodes.iter().map(|node| {
            let user = node.ssh.user.clone().unwrap_or_else(|| "root".to_owned());
            let port = node.ssh.port.unwrap_or(22);
            (node.name.clone(), Peer { address: node.address, port, user })
        });
        let packed = packs(spread, near).then(|| cache.join("packed"));
        Self { spread, peers: peers.collect(), near, beside, packed }
    }
}

/// When nodes pass blobs on to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spread {
    /// When it saves a considerable part of the upload.
    #[default]
    Auto,
    /// Whenever two nodes lack the same blob.
    Always,
    /// Never: the workstation pushes everything.
    Never,
}

/// How other nodes reach a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its SSH port.
    pub port: u16,
    /// The login user.
    pub user: String,
}

impl Peer {
    /// The same, with the login that has worked from here: the user's SSH configuration may have
    /// had a word in it.
    pub(super) fn seen_by(self, transport: &Transport) -> Self {
        match transport.login() {
            Some((user, port)) => Self { user: user.to_owned(), port, ..self },
            None => self,
        }
    }
}

/// Returns where compressed copies are kept, if anything is compressed for this cluster. Pure.
///
/// For local nodes, compression gains nothing: they share the processors that would have to do it,
/// and the virtual bridge is faster.
pub(super) fn packs(spread: Spread, near: bool) -> bool {
    !near || spread == Spread::Always
}
