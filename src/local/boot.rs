//! Waits until nodes that were started have booted.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::error::LocalError;
use super::node::NodeFolder;
use crate::cluster::Node;
use crate::event::{Event, Events};

/// The name of this step in events.
pub(super) const STEP: &str = "local nodes";

/// How long a node may take to boot until its sshd answers. On a small machine, many nodes share
/// the processors.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// Time limit of one attempt to reach a node's sshd.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(1);

/// Pause before the next attempt.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(15);

/// Waits until the sshd of every node has answered since the node's last boot.
pub(super) async fn wait_for_all(
    nodes: &[&Node],
    folders: &[NodeFolder],
    events: &Events,
) -> Result<(), LocalError> {
    let mut waiting = JoinSet::new();
    for (node, folder) in nodes.iter().zip(folders) {
        if !folder.ready().exists() {
            let (folder, address, name) = (folder.clone(), node.address, node.name.clone());
            waiting.spawn(async move { answers(&folder, address).await.map(|()| name) });
        }
    }
    let mut done = nodes.len() - waiting.len();
    while let Some(result) = waiting.join_next().await {
        let detail =
            result.map_err(|_| LocalError::Interrupted { doing: "wait for a node".into() })??;
        done += 1;
        let (step, total) = (STEP.to_owned(), nodes.len() as u64);
        events.emit(Event::StepProgress { step, done: done as u64, total, detail });
    }
    Ok(())
}

/// Waits until a node's sshd sends its greeting.
async fn answers(folder: &NodeFolder, address: IpAddr) -> Result<(), LocalError> {
    let until = Instant::now() + BOOT_LIMIT;
    loop {
        if greets(SocketAddr::from((address, 22))).await {
            let ready = folder.ready();
            return fs::write(&ready, "").map_err(LocalError::io("write", &ready));
        }
        if let Some(status) = folder.ended() {
            return Err(folder.boot_error(format!("systemd-nspawn exited with status {status}")));
        }
        if Instant::now() > until {
            let reason = format!("no sshd answered at {address} within {} s", BOOT_LIMIT.as_secs());
            return Err(folder.boot_error(reason));
        }
        sleep(ATTEMPT_PAUSE).await;
    }
}

/// Whether an SSH server greets at `address`. An open port alone may belong to a server that is
/// about to be killed.
async fn greets(address: SocketAddr) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut start = [0; 4];
        stream.read_exact(&mut start).await.ok()?;
        (&start == b"SSH-").then_some(())
    };
    timeout(ATTEMPT_LIMIT, greeting).await.is_ok_and(|found| found.is_some())
}
