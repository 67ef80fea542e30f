//! A node that receives large files, and its progress.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::Run;
use crate::event::Event;
use crate::module::file::Blob;
use crate::transport::{Transport, TransportError};

/// What has arrived in a node's blob store in this run, or why nothing more will.
#[derive(Debug, Clone, Default)]
pub struct Pushed {
    /// SHA-256 of blobs that have arrived and were verified.
    pub blobs: BTreeSet<String>,
    /// Why the push ended early.
    pub error: Option<TransportError>,
}

/// A node that receives blobs, and its progress.
pub(super) struct Inbox {
    /// The node.
    pub node: String,
    /// The connection to it.
    pub transport: Transport,
    /// All blobs that it should receive.
    pub blobs: Vec<Blob>,
    pushed: watch::Sender<Pushed>,
    /// Bytes of blobs that have arrived, and of those that are being sent from the workstation.
    whole: AtomicU64,
    pub under_way: AtomicU64,
    told: AtomicU64,
    run: Run,
}

impl Inbox {
    /// Returns an inbox for `blobs` that reports arrivals through `pushed`.
    pub fn new(
        node: &str,
        transport: Transport,
        mut blobs: Vec<Blob>,
        pushed: watch::Sender<Pushed>,
        run: &Run,
    ) -> Self {
        // The same content may have two names in a bundle.
        let mut seen = BTreeSet::new();
        blobs.retain(|blob| seen.insert(blob.sha256.clone()));
        let (whole, under_way, told) =
            (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self {
            node: node.to_owned(),
            transport,
            blobs,
            pushed,
            whole,
            under_way,
            told,
            run: run.clone(),
        }
    }

    /// Returns the total number of bytes to receive.
    pub fn total(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }

    /// Reports progress if there is any since the last report.
    pub fn tell(&self) {
        let total = self.total();
        // Report all bytes only after they were verified.
        let (whole, under_way) =
            (self.whole.load(Ordering::Relaxed), self.under_way.load(Ordering::Relaxed));
        let sent =
            if whole >= total { total } else { (whole + under_way).min(total.saturating_sub(1)) };
        if self.told.swap(sent, Ordering::Relaxed) != sent {
            self.run.events.emit(Event::Pushing { node: self.node.clone(), sent, total });
        }
    }

    /// Reports that nothing more will arrive, because of `error`.
    pub fn fail(&self, error: TransportError) {
        self.run.node_failed(&self.node, "push binaries", &error);
        self.pushed.send_modify(|state| state.error = Some(error));
        let total = self.total();
        self.run.events.emit(Event::Pushing { node: self.node.clone(), sent: total, total });
    }

    /// Records that a blob has arrived and was verified. The last one completes the push.
    pub fn arrived(&self, blob: &Blob, from: Option<&str>) {
        self.whole.fetch_add(blob.size, Ordering::Relaxed);
        let (node, from) = (self.node.clone(), from.map(str::to_owned));
        self.run.events.emit(Event::Delivered {
            node,
            blob: blob.name.clone(),
            size: blob.size,
            from,
        });
        self.pushed.send_modify(|state| {
            state.blobs.insert(blob.sha256.clone());
        });
    }
}
