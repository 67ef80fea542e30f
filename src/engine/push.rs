//! Carries large files into a node's blob store: one stream a node, begun at once, whenever their play's turn comes.
//!
//! The node reads `SHA256 SIZE` lines, each followed by that many bytes, checks what it wrote and renames it to its
//! hash. A push that is cut off leaves only temporary files, which the next push removes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

use super::Run;
use crate::event::Event;
use crate::module::STATE_FOLDER;
use crate::module::file::Blob;
use crate::module::probe::{KNOWN_FILE, SIGNATURE};
use crate::transport::{Exec, Stdin, Transport, TransportError};

/// The slowest uplink that is still worth waiting for, in bytes a second.
const SLOWEST: u64 = 100 * 1024;

/// What a node's blob store has got so far in this run, or why it gets no more.
#[derive(Debug, Clone, Default)]
pub struct Pushed {
    /// SHA-256 of what has arrived and was checked.
    pub blobs: BTreeSet<String>,
    /// Why the push ended early.
    pub error: Option<TransportError>,
}

/// The node's side of a push.
fn receiver() -> String {
    // Checking and renaming one blob happens while the next one is being received.
    format!(
        r#"umask 077
store={STATE_FOLDER}/blobs
mkdir -p $store && rm -f $store/.incoming-* || exit 1
while read -r sha size; do
  head -c "$size" > $store/.incoming-$sha || {{ rm -f $store/.incoming-$sha; exit 1; }}
  ( [ "$(sha256sum < $store/.incoming-$sha)" = "$sha  -" ] && mv -f $store/.incoming-$sha $store/$sha \
    && printf '%s\t%s\n' "$sha" "$(LC_ALL=C stat -c '{SIGNATURE}' $store/$sha)" >> {KNOWN_FILE} \
    && echo "@blob $sha" || {{ rm -f $store/.incoming-$sha; echo "@bad $sha"; }} ) &
done
wait
"#
    )
}

/// Pushes `blobs` to a node, in order, telling `pushed` as each arrives. Does not return before all is done or lost.
pub async fn push(node: &str, transport: &Transport, mut blobs: Vec<Blob>, pushed: &watch::Sender<Pushed>, run: &Run) {
    // The same bytes may have two names in a bundle; sent twice, the second copy would write into the first.
    let mut seen = BTreeSet::new();
    blobs.retain(|blob| seen.insert(blob.sha256.clone()));
    let total: u64 = blobs.iter().map(|blob| blob.size).sum();
    let sent = Arc::new(AtomicU64::new(0));
    let (reader, writer) = tokio::io::duplex(1 << 20);
    let (lines, mut heard) = mpsc::unbounded_channel();
    let exec = Exec::new(receiver(), Duration::from_secs(120 + total / SLOWEST))
        .stdin(Stdin::Stream(Box::new(reader), Arc::clone(&sent)))
        .lines(lines);
    let wanted: BTreeSet<String> = blobs.iter().map(|blob| blob.sha256.clone()).collect();
    let feed = tokio::spawn(feed(writer, blobs));
    let ticker = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let sent = sent.load(Ordering::Relaxed).min(total);
            run.events.emit(Event::Pushing { node: node.to_owned(), sent, total });
        }
    };
    let listen = async {
        while let Some(line) = heard.recv().await {
            if let Some(sha) = line.strip_prefix("@blob ") {
                pushed.send_modify(|state| {
                    state.blobs.insert(sha.to_owned());
                });
            }
        }
    };
    let work = async {
        let (output, ()) = tokio::join!(transport.exec(exec), listen);
        output
    };
    let output = tokio::select! {
        output = work => output,
        () = ticker => return,
    };
    run.events.emit(Event::Pushing { node: node.to_owned(), sent: total, total });
    let fed = feed.await.unwrap_or_else(|panic| Err(lost(panic.to_string())));
    let missing = wanted.difference(&pushed.borrow().blobs).count();
    let error = match (output, fed) {
        (Err(error), _) | (Ok(_), Err(error)) => Some(error),
        (Ok(output), Ok(())) if output.code != 0 || missing > 0 => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let why = if said.is_empty() { format!("{missing} of them did not arrive whole") } else { said };
            Some(TransportError {
                what: "push binaries into the blob store".to_owned(),
                why,
                help: Some(format!("is there room in {STATE_FOLDER} on {node}?")),
            })
        }
        _ => None,
    };
    if let Some(error) = &error {
        run.node_failed(node, "push binaries", error);
    }
    pushed.send_modify(|state| state.error = error);
}

fn lost(why: String) -> TransportError {
    TransportError { what: "read the bundle".to_owned(), why, help: Some("check it: labctl bundle verify".to_owned()) }
}

/// Writes every blob, each after its line.
async fn feed(mut writer: impl AsyncWrite + Unpin, blobs: Vec<Blob>) -> Result<(), TransportError> {
    for blob in blobs {
        let error = |e: std::io::Error| lost(format!("{}: {e}", blob.source.display()));
        let mut file = tokio::fs::File::open(&blob.source).await.map_err(error)?;
        file.set_max_buf_size(1 << 20);
        let found = file.metadata().await.map_err(error)?.len();
        if found != blob.size {
            return Err(lost(format!("{} has {found} bytes, the lock says {}", blob.source.display(), blob.size)));
        }
        let line = format!("{} {}\n", blob.sha256, blob.size);
        // A receiver that is gone says why by itself; a failed write here is only its echo.
        if writer.write_all(line.as_bytes()).await.is_err() {
            return Ok(());
        }
        let mut limited = tokio::io::BufReader::with_capacity(1 << 20, file);
        if tokio::io::copy_buf(&mut limited, &mut writer).await.is_err() {
            return Ok(());
        }
    }
    let _ = writer.shutdown().await;
    Ok(())
}
