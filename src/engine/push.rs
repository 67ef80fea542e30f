//! Sends large files to a node's blob store, from the workstation or, at the node's request, from
//! another node.
//!
//! The node reads `SHA256 FORM SIZE` lines, each followed by that many bytes, raw or compressed
//! with zstd. It only accepts what it expects, verifies what it wrote, and renames it to its hash.
//! An interrupted push leaves only temporary files, which the next push removes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

use super::Run;
use super::pack::Packer;
use crate::event::Event;
use crate::module::STATE_FOLDER;
use crate::module::file::Blob;
use crate::module::probe::{KNOWN_FILE, SIGNATURE};
use crate::transport::{Exec, Stdin, Transport, TransportError, lines};

/// The slowest acceptable uplink, in bytes per second.
const SLOWEST: u64 = 100 * 1024;

/// Time limit from a node's first output until it is ready to receive.
const READY: Duration = Duration::from_secs(60);

/// Size of a read or write, in bytes.
const CHUNK: usize = 1 << 20;

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
    under_way: AtomicU64,
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
    fn arrived(&self, blob: &Blob, from: Option<&str>) {
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

/// Returns the header of a blob. It has a fixed length, so that the receiver knows where it ends.
/// `give` in gate.sh writes the same.
fn header(sha256: &str, form: &str, size: u64) -> String {
    format!("{sha256} {form:<3} {size:>18}\n")
}

/// The length of a [`header`].
const HEADER: usize = 64 + 1 + 3 + 1 + 18 + 1;

/// Returns the node's side: a shell function that reads `blobs` from stdin into the store. If
/// `keep` is a directory, compressed blobs are also kept there for other nodes.
///
/// The sender is not trusted, because it may be another node and this runs as root: only an
/// expected checksum becomes part of a path, each is accepted once, and none may use more space
/// than the blob's size.
pub(super) fn receiver(keep: Option<&str>, blobs: &[Blob]) -> String {
    let expected: String =
        blobs.iter().map(|blob| format!(" {}:{}", blob.sha256, blob.size)).collect();
    // One blob is verified and renamed while the next one is being received.
    format!(
        r#"umask 077
store={STATE_FOLDER}/blobs
keep={keep}
expected='{expected} '
mkdir -p $store || exit 1
for old in $store/.incoming-*; do
  pid=${{old##*/.incoming-}}
  [ -e "/proc/${{pid%%-*}}/exe" ] || rm -f "$old"
done
# OpenSSL uses what the processor has for it, and is several times as fast; where it is not there, sha256sum judges.
is_whole() {{
  case $(openssl dgst -sha256 -r < "$2" 2>/dev/null) in "$1 "*) return 0 ;; esac
  [ "$(sha256sum < "$2")" = "$1  -" ]
}}
# As `head -c` does, in pieces that a pipe holds at once.
take() {{ dd bs=64K iflag=fullblock,count_bytes count="$1" status=none; }}
refuse() {{
  wait
  echo "$1" >&2
  exit 1
}}
receive() {{
  set -f
  while header=$(take {HEADER}) && [ -n "$header" ]; do
    # shellcheck disable=SC2086 # three words
    set -- $header
    sha=$1 form=$2 size=$3
    [ "${{#header}}" = {length} ] && [ "$#" = 3 ] || refuse 'what the sender announces is not a blob'
    case $size in *[!0-9]*) refuse 'the sender announces a blob without a size' ;; esac
    case $expected in *" $sha:"*) ;; *) refuse 'the sender announces a blob that nobody asked for' ;; esac
    rest=${{expected#*" $sha:"}} whole=${{rest%%" "*}}
    expected="${{expected%%" $sha:"*}} ${{rest#*" "}}"
    # What is packed is smaller, or it would not be packed.
    [ "$size" -le "$whole" ] || refuse "the sender announces $size bytes for a blob of $whole"
    incoming=$store/.incoming-$$-$sha
    case $form${{keep:+ kept}} in
      raw*) take "$size" > $incoming ;;
      zst) take "$size" | zstd -dcq | take $((whole + 1)) > $incoming ;;
      "zst kept") take "$size" | tee "$keep/.$sha" | zstd -dcq | take $((whole + 1)) > $incoming ;;
      *) false ;;
    esac || {{ rm -f $incoming; [ -z "$keep" ] || rm -f "$keep/.$sha"; refuse "a blob could not be written"; }}
    (
      if is_whole "$sha" "$incoming" && mv -f $incoming $store/$sha; then
        printf '%s\t%s\n' "$sha" "$(LC_ALL=C stat -c '{SIGNATURE}' $store/$sha)" >> {KNOWN_FILE}
        [ -z "$keep" ] || [ "$(stat -c %s "$keep/.$sha" 2>/dev/null)" != "$size" ] || mv -f "$keep/.$sha" "$keep/$sha.zst"
        echo "@blob $sha"
      else
        rm -f $incoming
        [ -z "$keep" ] || rm -f "$keep/.$sha"
      fi
    ) &
  done
  wait
}}
"#,
        keep = keep.unwrap_or_default(),
        length = HEADER - 1,
    )
}

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
    let ready_to_receive =
        "command -v zstd > /dev/null && echo @ready zst || echo @ready raw\nreceive\n";
    let command = format!("echo @begun\n{}{ready_to_receive}", receiver(keep, blobs));
    let exec = Exec::new(command, patience(blobs))
        .stdin(Stdin::Stream(Box::new(reader), Arc::default()))
        .lines(lines);
    inbox.under_way.store(0, Ordering::Relaxed);
    let feed = async {
        // A node that exits before it is ready reports the reason itself. How long it takes to
        // start is not limited here, because it may have to wait for its turn.
        let _ = has_begun.await;
        let Ok(unpacks) = tokio::time::timeout(READY, is_ready).await else {
            let _ = give_up.send(());
            return Ok(Vec::new());
        };
        let packer = packer.filter(|packer| unpacks.unwrap_or(false) && packer.packs());
        packer.inspect(|packer| packer.begin(blobs));
        feed(inbox, writer, blobs, packer).await
    };
    let running = async {
        tokio::select! {
            output = inbox.transport.exec(exec) => output,
            Ok(()) = given_up => Err(TransportError {
                what: "push binaries into the blob store".to_owned(),
                why: format!("the node started, but was not ready to receive within {} \
                    s", READY.as_secs()),
                help: Some(format!("does the disk of {STATE_FOLDER} on {} \
                    respond?", inbox.node)),
            }),
        }
    };
    let beginning = Beginning { begun: Some(begun), ready: Some(ready) };
    let (output, missing, fed) =
        tokio::join!(running, listen(inbox, blobs, None, heard, beginning, on_arrival), feed);
    inbox.under_way.store(0, Ordering::Relaxed);
    let packed = match (&output, &fed) {
        (Ok(_), Ok(packed)) => {
            packed.iter().filter(|blob| missing.contains(blob)).cloned().collect()
        }
        _ => Vec::new(),
    };
    let error = match (output, fed) {
        (Err(error), _) | (Ok(_), Err(error)) => Some(error),
        (Ok(output), Ok(_)) if output.code != 0 || !missing.is_empty() => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let why = if said.is_empty() {
                format!("{} of them did not arrive completely", missing.len())
            } else {
                said
            };
            Some(TransportError {
                what: "push binaries into the blob store".to_owned(),
                why,
                help: Some(format!("is there free space in {STATE_FOLDER} on {}?", inbox.node)),
            })
        }
        _ => None,
    };
    (missing, packed, error)
}

/// Waits for a node to start, and to be ready, which tells whether it can decompress.
#[derive(Default)]
pub(super) struct Beginning {
    begun: Option<oneshot::Sender<()>>,
    ready: Option<oneshot::Sender<bool>>,
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
            let _ = beginning.ready.take().map(|ready| ready.send(form == "zst"));
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

/// Writes every blob after its header; returns which of them it wrote compressed.
async fn feed(
    inbox: &Inbox,
    mut writer: impl AsyncWrite + Unpin,
    blobs: &[Blob],
    packer: Option<&Packer>,
) -> Result<Vec<Blob>, TransportError> {
    let mut sent_packed = Vec::new();
    for blob in blobs {
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
            sent_packed.push(blob.clone());
        }
        let line = header(&blob.sha256, form, size);
        // A receiver that has exited reports the reason itself; a failed write here is only a
        // consequence.
        if writer.write_all(line.as_bytes()).await.is_err()
            || copy(inbox, file, &mut writer, blob, size).await.is_err()
        {
            return Ok(sent_packed);
        }
    }
    let _ = writer.shutdown().await;
    Ok(sent_packed)
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use super::*;
    use crate::module::file::Content;

    /// Runs a node's side for `blobs` on the bytes that a sender sends.
    fn received(node: &Path, keeps: bool, blobs: &[Blob], sent: &[u8]) -> Output {
        let keep = node.join("run").display().to_string();
        std::fs::create_dir_all(&keep).expect("a directory");
        let state = node.join("state").display().to_string();
        let text = receiver(Some(&*keep).filter(|_| keeps), blobs).replace(STATE_FOLDER, &state);
        let mut shell = Command::new("sh")
            .args(["-c", &format!("{text}receive\n")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut input = shell.stdin.take().expect("a pipe");
        // A node that refuses does not read to the end.
        let _ = input.write_all(sent);
        drop(input);
        shell.wait_with_output().expect("an end")
    }

    fn blob(bytes: &[u8]) -> Blob {
        let sha256 = Content::inline(bytes.to_vec()).sha256().to_owned();
        Blob { sha256, size: bytes.len() as u64, source: "/b".into(), name: "b".into() }
    }

    fn message(form: &str, sha256: &str, size: u64, bytes: &[u8]) -> Vec<u8> {
        [header(sha256, form, size).as_bytes(), bytes].concat()
    }

    /// Returns every file below `folder`, with its size.
    fn files(folder: &Path) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let about = entry.metadata().expect("it is there");
            if about.is_dir() {
                all.extend(files(&entry.path()));
            } else {
                all.push((entry.file_name().to_string_lossy().into_owned(), about.len()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn expected_blobs_arrive_raw_and_packed_and_are_kept_for_others() {
        let node = tempfile::tempdir().expect("a directory");
        let (one, two) = (b"one ".repeat(50_000), b"two ".repeat(50_000));
        let packed = zstd::encode_all(&two[..], 3).expect("packed");
        let blobs = [blob(&one), blob(&two)];
        let sent = [
            message("raw", &blobs[0].sha256, blobs[0].size, &one),
            message("zst", &blobs[1].sha256, packed.len() as u64, &packed),
        ];
        let output = received(node.path(), true, &blobs, &sent.concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for blob in &blobs {
            assert!(said.contains(&format!("@blob {}", blob.sha256)), "{said}");
            let size = std::fs::metadata(node.path().join("state/blobs").join(&blob.sha256))
                .expect("a blob")
                .len();
            assert_eq!(size, blob.size);
        }
        let kept = std::fs::read(node.path().join("run").join(format!("{}.zst", blobs[1].sha256)))
            .expect("kept");
        assert!(kept == packed);
    }

    #[test]
    fn a_lying_sender_changes_no_file_and_uses_no_space() {
        let bytes = b"what was asked for ".repeat(1000);
        let wanted = blob(&bytes);
        let (sha, size) = (wanted.sha256.as_str(), wanted.size);
        let zeros = vec![0; 64 << 20];
        let bomb = zstd::encode_all(&zeros[..], 3).expect("packed");
        let other = blob(b"nobody asked");
        // A path in a header of the right length.
        let path = |path: &str| {
            format!("{path:<64} zst {:>18}\n", 6).replace("  zst", " x zst").into_bytes()
        };
        let lies: [(&str, Vec<u8>, &str); 11] = [
            ("a path", [path("./../../victim"), b"666666".to_vec()].concat(), "not a blob"),
            ("a short line", b"./../../victim zst 6\n666666".to_vec(), "not a blob"),
            ("an endless line", vec![b'a'; 64 << 20], "not a blob"),
            (
                "another blob",
                message("raw", &other.sha256, other.size, b"nobody asked"),
                "nobody asked for",
            ),
            ("a pattern", message("raw", &"*".repeat(64), 4, b"four"), "nobody asked for"),
            ("too much", message("raw", sha, 64 << 20, &zeros), "for a blob of"),
            (
                "a size that is none",
                format!("{sha} raw {:>18}\n", "$(id)").into_bytes(),
                "without a size",
            ),
            ("a form that is none", message("tar", sha, size, &bytes), "could not be written"),
            ("other bytes", message("raw", sha, size, &vec![b'x'; bytes.len()]), ""),
            ("a bomb", message("zst", sha, bomb.len() as u64, &bomb), ""),
            (
                "the same again",
                [message("raw", sha, size, &bytes), message("raw", sha, size, &bytes)].concat(),
                "nobody",
            ),
        ];
        for (name, sent, why) in lies {
            for keeps in [false, true] {
                let node = tempfile::tempdir().expect("a directory");
                std::fs::write(node.path().join("victim"), "as it was").expect("a file");
                let output = received(node.path(), keeps, std::slice::from_ref(&wanted), &sent);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(said.contains(why), "{name}: {said}");
                let victim =
                    std::fs::read_to_string(node.path().join("victim")).expect("it is still there");
                assert_eq!(victim, "as it was", "{name}");
                let left: u64 = files(node.path()).iter().map(|(_, size)| size).sum();
                assert!(left < size + 1000, "{name} leaves {:?}", files(node.path()));
                let whole = String::from_utf8_lossy(&output.stdout).lines().count();
                assert_eq!(whole, usize::from(name == "the same again"), "{name}");
            }
        }
    }
}
