//! Sends large files to a node's blob store, from the workstation or, at the node's request, from
//! another node.
//!
//! The node reads `SHA256 FORM SIZE` lines, each followed by that many bytes, raw or compressed
//! with zstd. It only accepts what it expects, verifies what it wrote, and renames it to its hash.
//! An interrupted push leaves only temporary files, which the next push removes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::inbox::{Beside, Inbox};
use super::pack::Packer;
use super::receive::{header, receiver};
use crate::module::STATE_FOLDER;
use crate::module::file::Blob;
use crate::transport::{Exec, Output, Stdin, TransportError, lines};

/// The slowest acceptable uplink, in bytes per second.
const SLOWEST: u64 = 100 * 1024;

/// Time limit from a node's first output until it is ready to receive.
const READY: Duration = Duration::from_secs(60);

/// Size of a read or write, in bytes.
const CHUNK: usize = 1 << 20;

/// Returns the time limit for `blobs`.
pub(super) fn patience(blobs: &[Blob]) -> Duration {
    Duration::from_secs(120 + blobs.iter().map(|blob| blob.size).sum::<u64>() / SLOWEST)
}

/// Sends blobs from the workstation, in order, compressed if `packer` does so and the node can
/// decompress. Calls `on_arrival` for each that has arrived. Returns when all are done or lost.
///
/// # Errors
/// If not all of them arrive.
pub(super) async fn send(
    inbox: &Inbox,
    blobs: &[Blob],
    packer: &Packer,
    keep: Option<&str>,
    on_arrival: &(dyn Fn(&Blob) + Sync),
) -> Result<(), TransportError> {
    let (missing, packed, error) = attempt(inbox, blobs, Some(packer), keep, on_arrival).await;
    match error {
        // A compressed copy may be damaged, so try again uncompressed.
        Some(_) if !packed.is_empty() && !missing.is_empty() => {
            packed.iter().for_each(|blob| packer.discard(blob));
            let (_, _, error) = attempt(inbox, &missing, None, keep, on_arrival).await;
            error.map_or(Ok(()), Err)
        }
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Makes one attempt. Returns what is still missing, which of these were sent compressed to a node
/// that then reported an error, and the reason.
async fn attempt(
    inbox: &Inbox,
    blobs: &[Blob],
    packer: Option<&Packer>,
    keep: Option<&str>,
    on_arrival: &(dyn Fn(&Blob) + Sync),
) -> (Vec<Blob>, Vec<Blob>, Option<TransportError>) {
    let (reader, writer) = tokio::io::duplex(CHUNK);
    let (lines, heard) = lines();
    let (begun, has_begun) = oneshot::channel();
    let (ready, is_ready) = oneshot::channel();
    let (give_up, given_up) = oneshot::channel();
    let command = format!("echo @begun\n{}say_ready\nreceive\n", receiver(keep, blobs));
    let exec = Exec::new(command, patience(blobs))
        .stdin(Stdin::Stream(Box::new(reader), Arc::default()))
        .lines(lines);
    inbox.under_way.store(0, Ordering::Relaxed);
    let feed = async {
        // A node that exits before it is ready reports the reason itself. How long it takes to
        // start is not limited here, because it may have to wait for its turn.
        let _ = has_begun.await;
        let Ok(takes) = tokio::time::timeout(READY, is_ready).await else {
            let _ = give_up.send(());
            return Ok(Fed::default());
        };
        let takes: Takes = takes.unwrap_or_default();
        let packer = packer.filter(|packer| takes.packed && packer.packs());
        packer.inspect(|packer| packer.begin(blobs));
        feed(inbox, writer, blobs, packer, takes.beside).await
    };
    let running = async {
        tokio::select! {
            output = inbox.transport.exec(exec) => output,
            Ok(()) = given_up => Err(never_ready(inbox)),
        }
    };
    let beginning = Beginning { begun: Some(begun), ready: Some(ready) };
    let (output, missing, fed) =
        tokio::join!(running, listen(inbox, blobs, None, heard, beginning, on_arrival), feed);
    inbox.under_way.store(0, Ordering::Relaxed);
    let packed = match (&output, &fed) {
        (Ok(_), Ok(fed)) => {
            fed.packed.iter().filter(|blob| missing.contains(blob)).cloned().collect()
        }
        _ => Vec::new(),
    };
    let error = match (output, fed) {
        (Err(error), _) | (Ok(_), Err(error)) => Some(error),
        (Ok(output), Ok(_)) if output.code != 0 || !missing.is_empty() => {
            Some(refused(inbox, &output, missing.len()))
        }
        _ => None,
    };
    (missing, packed, error)
}

/// Returns the error for a node that has started but does not become ready.
fn never_ready(inbox: &Inbox) -> TransportError {
    let seconds = READY.as_secs();
    TransportError {
        what: "push binaries into the blob store".to_owned(),
        why: format!("the node started, but was not ready to receive within {seconds} s"),
        help: Some(format!("does the disk of {STATE_FOLDER} on {} respond?", inbox.node)),
    }
}

/// Returns the error for a node that has exited without all of its blobs.
fn refused(inbox: &Inbox, output: &Output, missing: usize) -> TransportError {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let counted = || format!("{missing} of them did not arrive completely");
    TransportError {
        what: "push binaries into the blob store".to_owned(),
        why: if said.is_empty() { counted() } else { said },
        help: Some(format!("is there free space in {STATE_FOLDER} on {}?", inbox.node)),
    }
}

/// What a node can take in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Takes {
    /// Compressed blobs.
    packed: bool,
    /// Blobs that are put beside it.
    beside: bool,
}

/// Waits for a node to start, and to be ready, which tells what it can take in.
#[derive(Default)]
pub(super) struct Beginning {
    begun: Option<oneshot::Sender<()>>,
    ready: Option<oneshot::Sender<Takes>>,
}

/// Processes a node's output while it receives `blobs` from the node `from`, or from the
/// workstation; returns what is missing in the end.
pub(super) async fn listen(
    inbox: &Inbox,
    blobs: &[Blob],
    from: Option<&str>,
    mut heard: mpsc::Receiver<String>,
    mut beginning: Beginning,
    on_arrival: &(dyn Fn(&Blob) + Sync),
) -> Vec<Blob> {
    let mut missing = blobs.to_vec();
    let mut takes = Takes::default();
    while let Some(line) = heard.recv().await {
        if let Some(sha) = line.strip_prefix("@blob ") {
            if let Some(index) = missing.iter().position(|blob| blob.sha256 == sha) {
                let blob = missing.remove(index);
                let under_way = |now: u64| Some(now.saturating_sub(blob.size));
                let _ =
                    inbox.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, under_way);
                inbox.arrived(&blob, from);
                on_arrival(&blob);
            }
        } else if let Some(form) = line.strip_prefix("@ready ") {
            takes.packed = form == "zst";
            let _ = beginning.ready.take().map(|ready| ready.send(takes));
        } else if line == "@beside" {
            takes.beside = true;
        } else if line == "@begun" {
            let _ = beginning.begun.take().map(|begun| begun.send(()));
        }
    }
    missing
}

fn lost(why: String) -> TransportError {
    TransportError {
        what: "read the bundle".to_owned(),
        why,
        help: Some("check it: labctl bundle verify".to_owned()),
    }
}

/// What was written to a node.
#[derive(Default)]
struct Fed {
    /// The blobs that were sent compressed.
    packed: Vec<Blob>,
    /// The files that it copies, which must stay until it has.
    _beside: Vec<Beside>,
}

/// Writes every blob after its header, but those that `beside` allows to be put beside the node.
async fn feed(
    inbox: &Inbox,
    mut writer: impl AsyncWrite + Unpin,
    blobs: &[Blob],
    packer: Option<&Packer>,
    beside: bool,
) -> Result<Fed, TransportError> {
    let mut fed = Fed::default();
    for blob in blobs {
        if let Some(file) = beside.then(|| inbox.put_beside(blob)).flatten() {
            fed._beside.push(file);
            let line = header(&blob.sha256, "box", blob.size);
            if writer.write_all(line.as_bytes()).await.is_err() {
                return Ok(fed);
            }
            continue;
        }
        let packed = match packer {
            Some(packer) => packer.packed(blob).await,
            None => None,
        };
        let (path, form, size) = match &packed {
            Some(packed) => (&packed.path, "zst", packed.size),
            None => (&blob.source, "raw", blob.size),
        };
        let error = |e: std::io::Error| lost(format!("{}: {e}", path.display()));
        let mut file = tokio::fs::File::open(path).await.map_err(error)?;
        file.set_max_buf_size(CHUNK);
        let found = file.metadata().await.map_err(error)?.len();
        if found != size {
            return Err(lost(format!(
                "{} has {found} bytes, but the lock records {size}",
                path.display()
            )));
        }
        if packed.is_some() {
            fed.packed.push(blob.clone());
        }
        let line = header(&blob.sha256, form, size);
        // A receiver that has exited reports the reason itself; a failed write here is only a
        // consequence.
        if writer.write_all(line.as_bytes()).await.is_err()
            || copy(inbox, file, &mut writer, blob, size).await.is_err()
        {
            return Ok(fed);
        }
    }
    let _ = writer.shutdown().await;
    Ok(fed)
}

/// Copies the `size` bytes of `file`, which represent `blob`, and counts them in proportion to the
/// blob's own size.
async fn copy(
    inbox: &Inbox,
    file: impl AsyncRead + Unpin,
    writer: &mut (impl AsyncWrite + Unpin),
    blob: &Blob,
    size: u64,
) -> std::io::Result<()> {
    let mut file = file.take(size);
    let mut buffer = Vec::with_capacity(CHUNK);
    let (mut read, mut counted) = (0, 0);
    while file.read_buf(&mut buffer).await? > 0 {
        writer.write_all(&buffer).await?;
        read += buffer.len() as u64;
        let now = u64::try_from(u128::from(blob.size) * u128::from(read) / u128::from(size.max(1)))
            .unwrap_or(counted);
        inbox.under_way.fetch_add(now - counted, Ordering::Relaxed);
        (counted, buffer) = (now, {
            buffer.clear();
            buffer
        });
    }
    Ok(())
}
