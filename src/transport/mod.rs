//! Runs commands on nodes and sends bytes to them. With `local`, the only module that touches a
//! machine.
//!
//! A [`Transport`] is one open connection to one node. It knows nothing about tasks: it runs a
//! command as root, sends it a stream, and returns its output and exit code.

mod collect;
pub mod shell;
pub mod ssh;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::mpsc;

/// Default limit of a command's output on stdout, in bytes.
const MOST: u64 = 4 * 1024 * 1024;

/// Maximum number of a command's lines that wait for a listener. Beyond that, the command is
/// blocked.
const WAITING: usize = 256;

/// An open connection to one node.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Over SSH, as to every node of a lab.
    Ssh(ssh::Session),
    /// A shell on the workstation: tests run the same scripts with it.
    Shell(shell::Shell),
}

/// A command to run on a node, as root.
pub struct Exec {
    /// Text for `sh -c`. It must not contain a secret, because the node's process list shows it.
    pub command: String,
    /// The command's input.
    pub stdin: Stdin,
    /// Receives each line of stdout as it arrives.
    pub lines: Option<mpsc::Sender<String>>,
    /// Receives stdout as it arrives, which is then neither kept nor split into lines: for large
    /// output.
    pub sink: Option<Box<dyn std::io::Write + Send>>,
    /// Maximum output on stdout in bytes, 4 MiB by default. More is an error.
    pub most: u64,
    /// Time limit of the command.
    pub timeout: Duration,
}

/// The input of a command.
pub enum Stdin {
    /// Empty.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A stream, with a counter of the bytes that were sent.
    Stream(Box<dyn AsyncRead + Send + Unpin>, Arc<AtomicU64>),
}

/// The exit code and the output of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 128 + n if signal n killed it.
    pub code: i32,
    /// The whole stdout; empty if it went to a sink.
    pub stdout: Vec<u8>,
    /// Stderr, limited to its last 64 KiB.
    pub stderr: Vec<u8>,
}

/// Why a node could not be reached or a command not be run. A command that ran and failed is an
/// [`Output`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {why}")]
pub struct TransportError {
    /// What was being done: `connect to 10.240.0.10:22`, `authenticate as root`.
    pub what: String,
    /// The cause.
    pub why: String,
    /// What to do next.
    pub help: Option<String>,
}

/// The traffic of a connection so far.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Number of commands, each one round trip.
    pub round_trips: AtomicU64,
    /// Bytes written to commands' stdin.
    pub bytes_sent: AtomicU64,
    /// Bytes of commands' output.
    pub bytes_received: AtomicU64,
}

/// Returns a channel for a command's lines.
pub fn lines() -> (mpsc::Sender<String>, mpsc::Receiver<String>) {
    mpsc::channel(WAITING)
}

impl Exec {
    /// Returns `command` without input and with the time limit `timeout`.
    pub fn new(command: impl Into<String>, timeout: Duration) -> Self {
        Self {
            command: command.into(),
            stdin: Stdin::Empty,
            lines: None,
            sink: None,
            most: MOST,
            timeout,
        }
    }

    /// Sets the input.
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sends each line of stdout to `lines` as it arrives.
    pub fn lines(mut self, lines: mpsc::Sender<String>) -> Self {
        self.lines = Some(lines);
        self
    }

    /// Limits stdout to `bytes`.
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.most = bytes;
        self
    }

    /// Writes stdout to `sink`. A write error stops the command.
    pub fn sink(mut self, sink: impl std::io::Write + Send + 'static) -> Self {
        self.sink = Some(Box::new(sink));
        self
    }
}

impl Transport {
    /// Runs a command on the node as root and waits for it.
    ///
    /// # Errors
    /// If the connection is lost, the command cannot be started, or it times out. A non-zero exit
    /// code is not an error here.
    pub async fn exec(&self, exec: Exec) -> Result<Output, TransportError> {
        self.traffic().round_trips.fetch_add(1, Ordering::Relaxed);
        let output = match self {
            Transport::Ssh(session) => session.exec(exec).await,
            Transport::Shell(shell) => shell.exec(exec).await,
        }?;
        let received = output.stdout.len() + output.stderr.len();
        self.traffic().bytes_received.fetch_add(received as u64, Ordering::Relaxed);
        Ok(output)
    }

    /// Whether another command can run in parallel with the running ones; sshd may allow only one
    /// at a time.
    pub async fn has_room(&self) -> bool {
        match self {
            Transport::Ssh(session) => session.has_room().await,
            Transport::Shell(_) => true,
        }
    }

    /// Returns the verified host key of the node in known_hosts format; `None` without SSH.
    pub fn host_key(&self) -> Option<String> {
        match self {
            Transport::Ssh(session) => Some(session.host_key().to_owned()),
            Transport::Shell(_) => None,
        }
    }

    /// Who has logged in on the node, and at which port; none where there is no SSH.
    pub fn login(&self) -> Option<(&str, u16)> {
        match self {
            Transport::Ssh(session) => Some((session.user(), session.port())),
            Transport::Shell(_) => None,
        }
    }

    /// Returns the traffic of this connection so far.
    pub fn traffic(&self) -> &Traffic {
        match self {
            Transport::Ssh(session) => session.traffic(),
            Transport::Shell(shell) => shell.traffic(),
        }
    }
}
