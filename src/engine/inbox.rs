//! A node that receives large files, and its progress.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
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

/// A file that was put beside a local node. It is gone when this is dropped.
pub(super) struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        // It is only a second name; the next push would replace it.
        let _ = std::fs::remove_file(&self.0);
    }
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

    /// Puts a blob beside the node, as a second name of the file that the workstation has. `None`
    /// if that is impossible, as between two file systems, or if not everybody may read the file:
    /// then the blob has to be sent.
    pub fn put_beside(&self, blob: &Blob) -> Option<Beside> {
        let folder = self.run.delivery.beside.get(&self.node)?;
        let about = std::fs::metadata(&blob.source).ok()?;
        if about.mode() & 0o004 == 0 || about.len() != blob.size {
            return None;
        }
        let beside = Beside(folder.join(&blob.sha256));
        let _ = std::fs::remove_file(&beside.0);
        // A link to a link would lead nowhere inside of the node.
        std::fs::hard_link(std::fs::canonicalize(&blob.source).ok()?, &beside.0).ok()?;
        Some(beside)
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
