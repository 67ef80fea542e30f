//! Carries commands and bytes to a node. The only module, with `local`, that touches a machine.
//!
//! A [`Transport`] is one kept connection to one node. It knows nothing of tasks: it runs a command
//! as root, feeds it a stream, and gives back what it printed and how it ended.

mod collect;
pub mod shell;
pub mod ssh;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::mpsc;

/// How much a command may print on standard output, in bytes, unless it says otherwise.
const MOST: u64 = 4 * 1024 * 1024;

/// How many lines of a command may wait to be heard. Until they are, no more is taken from it.
const WAITING: usize = 256;

/// A kept connection to one node.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Over SSH, the way to every node of a lab.
    Ssh(ssh::Session),
    /// A shell on this machine: what tests run the very same scripts with.
    Shell(shell::Shell),
}

/// A command to run on a node, as root.
pub struct Exec {
    /// Text for `sh -c`. It must hold no secret: it can be seen in the node's process list.
    pub command: String,
    /// What the command reads.
    pub stdin: Stdin,
    /// Gets each line of standard output as it comes.
    pub lines: Option<mpsc::Sender<String>>,
    /// Gets the standard output as it comes, which is then neither kept nor split into lines: for
    /// what may be large.
    pub sink: Option<Box<dyn std::io::Write + Send>>,
    /// The most that it may print on standard output, in bytes; 4 MiB unless said otherwise. More
    /// ends it with an error.
    pub most: u64,
    /// The command is given up after this.
    pub timeout: Duration,
}

/// What a command reads.
pub enum Stdin {
    /// Nothing: end of file at once.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A stream, with a counter that is raised as its bytes leave.
    Stream(Box<dyn AsyncRead + Send + Unpin>, Arc<AtomicU64>),
}

/// How a command ended, and what it printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// Standard output, whole; empty when it went into a sink.
    pub stdout: Vec<u8>,
    /// Standard error; of a long one its last 64 KiB.
    pub stderr: Vec<u8>,
}

/// Why a node could not be reached or a command could not be run on it. A command that ran and
/// failed is an [`Output`].
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

/// What a connection has cost so far.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Commands run: one round trip each.
    pub round_trips: AtomicU64,
    /// Bytes written to commands' standard input.
    pub bytes_sent: AtomicU64,
    /// Bytes that commands have printed.
    pub bytes_received: AtomicU64,
}

/// A way for a command's lines, from where it runs to who listens.
pub fn lines() -> (mpsc::Sender<String>, mpsc::Receiver<String>) {
    mpsc::channel(WAITING)
}

impl Exec {
    /// `command` with nothing to read, given up after `timeout`.
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

    /// The same with `stdin` to read.
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// The same with each line of standard output sent to `lines` as it comes.
    pub fn lines(mut self, lines: mpsc::Sender<String>) -> Self {
        self.lines = Some(lines);
        self
    }

    /// The same with at most `bytes` of standard output.
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.most = bytes;
        self
    }

    /// The same with standard output written to `sink`. What cannot be written ends the command.
    pub fn sink(mut self, sink: impl std::io::Write + Send + 'static) -> Self {
        self.sink = Some(Box::new(sink));
        self
    }
}

impl Transport {
    /// Runs a command on the node as root, to its end.
    ///
    /// # Errors
    /// When the connection is lost, the command cannot be started, or the time is over. A command
    /// that exits with another code than 0 is no error here.
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

    /// Whether another command can run beside those that run now: sshd may allow as few as one at a
    /// time.
    pub async fn has_room(&self) -> bool {
        match self {
            Transport::Ssh(session) => session.has_room().await,
            Transport::Shell(_) => true,
        }
    }

    /// The host key that the node has proven to have, as known_hosts has it; none where there is no
    /// SSH.
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

    /// What this connection has cost so far.
    pub fn traffic(&self) -> &Traffic {
        match self {
            Transport::Ssh(session) => session.traffic(),
            Transport::Shell(shell) => shell.traffic(),
        }
    }
}
