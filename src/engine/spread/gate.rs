//! Lets nodes read each other's blob stores during a run: opening a node to the others, fetching
//! blobs, and closing it.
//!
//! It is plain SSH between ssh and sshd with a key that is only valid during the run. The key only
//! allows one command, and the run keeps a session open on the node: when the run ends, however it
//! ends, that session's input ends too, and it removes the key.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::super::delivery::Peer;
use super::super::inbox::Inbox;
use super::super::push::{Beginning, listen, patience};
use super::super::receive::receiver;
use crate::module::file::Blob;
use crate::module::{STATE_FOLDER, quote};
use crate::node::{GATE, RUNS};
use crate::transport::ssh::TemporaryKey;
use crate::transport::{Exec, Stdin, Transport, TransportError, lines};

/// Time limit for opening a node's gate, and for closing it.
const ANSWER: Duration = Duration::from_secs(15);

/// A node that exchanges blobs with others until its gate is closed.
pub(super) struct Gate {
    /// The run's directory on the node.
    pub folder: String,
    /// Whether others may read its store.
    pub gives: bool,
    /// Whether it has an SSH client.
    pub takes: bool,
    /// Which of the wanted blobs it has, by SHA-256.
    pub has: BTreeSet<String>,
    /// Keeps the gate open.
    input: DuplexStream,
    work: JoinHandle<()>,
}

/// What all gates of a run have in common.
pub(super) struct GateKeys {
    /// The run's key.
    pub key: TemporaryKey,
    /// One line per node: its name with the host key that the workstation has seen.
    pub known_hosts: String,
    /// SHA-256 of all blobs that any node needs.
    pub wanted: String,
    /// Maximum duration of the run.
    pub lifetime: Duration,
}

impl Gate {
    /// Opens the gate of a node; `None` if that fails, for whatever reason.
    pub async fn open(transport: &Transport, peer: &Peer, keys: &GateKeys) -> Option<Self> {
        let minutes = keys.lifetime.as_secs().div_ceil(60);
        let (user, public) = (quote(&peer.user), quote(&keys.key.public));
        let command = format!(
            "state={STATE_FOLDER} user={user} minutes={minutes} public={public}\n{RUNS}{GATE}"
        );
        let (mut input, reader) = tokio::io::duplex(1 << 16);
        let (lines, mut heard) = lines();
        let exec = Exec::new(command, keys.lifetime)
            .stdin(Stdin::Stream(Box::new(reader), Arc::default()))
            .lines(lines);
        let connection = transport.clone();
        let work = tokio::spawn(async move {
            // Ignore errors: without a gate, the node gets its files from the workstation.
            let _ = connection.exec(exec).await;
        });
        let told =
            format!("{}.\n{}.\n{}.\n", keys.key.private.as_str(), keys.known_hosts, keys.wanted);
        let opening = async {
            input.write_all(told.as_bytes()).await.ok()?;
            let (mut gives, mut takes, mut has) = (false, false, BTreeSet::new());
            while let Some(line) = heard.recv().await {
                match line.split_once(' ').unwrap_or((&line, "")) {
                    ("@gives", _) => gives = true,
                    ("@takes", _) => takes = true,
                    ("@has", sha) => drop(has.insert(sha.to_owned())),
                    // It becomes part of commands on that node.
                    ("@open", folder) if is_run_folder(folder) => {
                        return Some((folder.to_owned(), gives, takes, has));
                    }
                    ("@open", _) => return None,
                    _ => {}
                }
            }
            None
        };
        let opened = tokio::time::timeout(ANSWER, opening).await.ok().flatten();
        let (folder, gives, takes, has) = opened?;
        let gate = Self { folder, gives, takes, has, input, work };
        // A gate occupies a session during the whole run. If sshd allows only one, the run itself
        // needs it.
        if transport.has_room().await {
            return Some(gate);
        }
        gate.close().await;
        None
    }

    /// Closes it and waits until the node has cleaned up.
    pub async fn close(self) {
        let Self { mut input, mut work, .. } = self;
        let _ = input.shutdown().await;
        drop(input);
        if tokio::time::timeout(ANSWER, &mut work).await.is_err() {
            work.abort();
        }
    }
}

/// Whether this is exactly what mktemp creates for a run.
fn is_run_folder(folder: &str) -> bool {
    folder.strip_prefix(&format!("{STATE_FOLDER}/runs/")).is_some_and(|name| {
        !name.starts_with('.')
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    })
}

/// Returns a line of known_hosts for a node under its own name.
pub(super) fn known_host(node: &str, host_key: &str) -> String {
    format!("{node} {host_key}\n")
}

/// Returns the node's side of fetching blobs from another; `keeps`: whether others will request
/// them.
fn fetching(
    folder: &str,
    keeps: bool,
    giver: &str,
    peer: &Peer,
    form: &str,
    blobs: &[Blob],
) -> String {
    let request =
        blobs.iter().fold(form.to_owned(), |request, blob| format!("{request} {}", blob.sha256));
    // Silence is detected within ten seconds, because another node or the workstation could send
    // meanwhile. Most processors have AES in hardware, which makes it several times faster than
    // OpenSSH's first choice.
    format!(
        "{receive}here={folder}\ntimeout {limit} ssh -F none -T -n -i $here/key -o BatchMode=yes \
         -o IdentitiesOnly=yes -o IdentityAgent=none -o PreferredAuthentications=publickey \
         -o StrictHostKeyChecking=yes -o UserKnownHostsFile=$here/known_hosts \
         -o GlobalKnownHostsFile=/dev/null -o HostKeyAlias={giver} -o ConnectTimeout=5 \
         -o ServerAliveInterval=3 -o ServerAliveCountMax=3 -o Compression=no -o LogLevel=ERROR \
         -c aes128-gcm@openssh.com,aes256-gcm@openssh.com,\
         chacha20-poly1305@openssh.com,aes128-ctr \
         -p {port} -l {user} {address} '{request}' | receive\n",
        receive = receiver(Some(folder).filter(|_| keeps), blobs),
        limit = patience(blobs).as_secs(),
        port = peer.port,
        user = quote(&peer.user),
        address = peer.address,
    )
}

/// Makes a node fetch blobs from another, and keep the compressed copies if `keeps`. Calls
/// `on_arrival` for each that has arrived.
///
/// # Errors
/// If not all of them arrive.
pub(super) async fn fetch(
    inbox: &Inbox,
    gate: &str,
    keeps: bool,
    giver: &str,
    peer: &Peer,
    blobs: &[Blob],
    on_arrival: &(dyn Fn(&Blob) + Sync),
) -> Result<(), TransportError> {
    let (lines, heard) = lines();
    let either = format!(
        "form=raw\ncommand -v zstd > /dev/null && form=zst\n{}",
        fetching(gate, keeps, giver, peer, "'$form'", blobs)
    );
    let exec = Exec::new(either, patience(blobs)).lines(lines);
    let (output, missing) = tokio::join!(
        inbox.transport.exec(exec),
        listen(inbox, blobs, Some(giver), heard, Beginning::default(), on_arrival)
    );
    let output = output?;
    if missing.is_empty() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let why = why.map_or_else(|| format!("{} blobs are incomplete", missing.len()), str::to_owned);
    Err(TransportError { what: format!("get binaries from {giver}"), why, help: None })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_node_requests_checksums_from_a_known_host_with_only_the_runs_key() {
        let peer =
            Peer { address: Ipv4Addr::new(192, 0, 2, 7).into(), port: 2222, user: "ops".into() };
        let blob = Blob { sha256: "ab".repeat(32), size: 1, source: "/b".into(), name: "b".into() };
        let text = fetching(
            "/var/lib/labctl/runs/7.x",
            true,
            "worker-0",
            &peer,
            "zst",
            &[blob.clone(), blob],
        );
        assert!(text.contains(&format!("'zst {0} {0}'", "ab".repeat(32))), "{text}");
        for option in
            ["StrictHostKeyChecking=yes", "HostKeyAlias=worker-0", "IdentityAgent=none", "-F none"]
        {
            assert!(text.contains(option), "{option}");
        }
    }

    #[test]
    fn a_nodes_run_directory_is_validated() {
        assert!(is_run_folder("/var/lib/labctl/runs/4711.aB3xYz12"));
        for lie in [
            "",
            "/",
            "/etc",
            "/var/lib/labctl/runs/",
            "/var/lib/labctl/runs/..",
            "/var/lib/labctl/runs/1/../..",
            "/var/lib/labctl/runs/1;id",
            "/var/lib/labctl/runs/$(id)",
            "/var/lib/labctl/runs/1 2",
        ] {
            assert!(!is_run_folder(lie), "{lie}");
        }
    }
}
