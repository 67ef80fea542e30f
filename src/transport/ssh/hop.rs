//! One step on the way to a node: reach a machine, check its host key, log in. Each has its own
//! errors, which say what to do.

use std::io;
use std::net::Shutdown;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, Handle};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Join};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::TransportError;
use super::super::collect::seconds;
use super::client::{Client, Fault, config, describe, hung_up, lowered};
use super::keyring::Keyring;
use super::known_hosts::Recorded;
use super::login::{Login, Refused};
use super::route::RouteHost;
use super::tunnel;

/// The window of every channel in bytes: how much may be sent before it is acknowledged.
const WINDOW: u32 = 16 * 1024 * 1024;

/// The same behind a jump host, as large as OpenSSH's own: data waits in a queue there, and this
/// limits it.
const WINDOW_BEHIND: u32 = 2 * 1024 * 1024;

/// Maximum number of parallel commands on one connection. sshd allows 10 (`MaxSessions`), and may
/// still be closing a previous one. A lower limit is detected.
pub(super) const PLACES: usize = 8;

/// Maximum size in bytes of the queue of a node behind a jump host: the windows of all of its
/// channels, and one more for everything else.
const QUEUE: usize = (PLACES + 1) * WINDOW_BEHIND as usize;

/// How much is kept of what a `ProxyCommand` says on standard error, in bytes.
const ASIDE: usize = 4096;

/// Time limit of a disconnect.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection that is logged in.
pub(super) struct Connected {
    pub(super) handle: Handle<Client>,
    pub(super) ended: watch::Receiver<Option<String>>,
    pub(super) host_key: String,
    /// The connection that it runs over, when there is a jump host.
    pub(super) below: Option<Arc<Connected>>,
    /// The command that it runs over, when there is one.
    _command: Option<RunningProxy>,
}

impl Connected {
    /// Says goodbye and waits, for two seconds at most, until the connection has ended.
    pub(super) async fn disconnect(&self) {
        let mut ended = self.ended.clone();
        // Whether the server receives it does not matter any more.
        let _ = timeout(FAREWELL, async {
            let _ = self.handle.disconnect(russh::Disconnect::ByApplication, "done", "en").await;
            let _ = ended.wait_for(Option::is_some).await;
        })
        .await;
    }
}

/// Why an attempt to connect failed.
pub(super) struct Failed {
    pub(super) error: TransportError,
    /// Whether the connection ended before the login started, so that the login itself is not at
    /// fault.
    pub(super) turned_away: bool,
    /// A key file that the login may succeed with once it is unlocked.
    pub(super) locked: Option<PathBuf>,
}

impl From<TransportError> for Failed {
    fn from(error: TransportError) -> Self {
        Self { error, turned_away: false, locked: None }
    }
}

/// A `ProxyCommand` that runs; it is ended when this is dropped.
struct RunningProxy {
    _child: Child,
    group: Option<rustix::process::Pid>,
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        if let Some(leader) = self.group {
            // It may have ended on its own in the meantime.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::TERM);
        }
    }
}

/// One machine on the way to a node: the jump host or the node itself.
pub(super) struct Hop<'a> {
    pub(super) machine: &'a RouteHost,
    /// Its name in messages.
    pub(super) place: String,
    pub(super) keyring: &'a Keyring,
}

impl Hop<'_> {
    /// Connects over TCP.
    pub(super) async fn direct(&self) -> Result<Connected, Failed> {
        let deadline = Instant::now() + self.machine.connect_timeout;
        let socket = match timeout_at(
            deadline,
            TcpStream::connect((self.machine.host.as_str(), self.machine.port)),
        )
        .await
        {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(self.unreachable(&error).into()),
            Err(_) => {
                let help =
                    "is the machine up, is the address right, does a firewall block the port?";
                return Err(self.failed(format!("no answer within {}", self.limit()), help).into());
            }
        };
        let prepared =
            socket.set_nodelay(true).and_then(|()| socket.into_std()).and_then(|socket| {
                let twin = socket.try_clone()?;
                Ok((TcpStream::from_std(socket)?, twin))
            });
        let (socket, twin) = prepared.map_err(|error| self.unreachable(&error))?;
        let connected = self.establish(socket, deadline, WINDOW).await;
        if connected.is_err() {
            // A handshake that was given up goes on in a task of russh's; this ends it.
            let _ = twin.shutdown(Shutdown::Both);
        }
        connected
    }

    /// Connects over a channel of `jump`'s connection.
    pub(super) async fn through(
        &self,
        jump: &Arc<Connected>,
        place: &str,
    ) -> Result<Connected, Failed> {
        let deadline = Instant::now() + self.machine.connect_timeout;
        let (host, port) = (self.machine.host.as_str(), u32::from(self.machine.port));
        let opened = jump.handle.channel_open_direct_tcpip(host, port, "127.0.0.1", 0);
        let channel = match timeout_at(deadline, opened).await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(self.not_forwarded(&error, place).into()),
            Err(_) => {
                let why = format!("no answer within {}", self.limit());
                return Err(self.failed(why, "can the jump host reach this address?").into());
            }
        };
        let (give_up, given_up) = oneshot::channel();
        let connected =
            self.establish(tunnel::stream(channel, QUEUE, given_up), deadline, WINDOW_BEHIND).await;
        match connected {
            Ok(connected) => Ok(Connected { below: Some(Arc::clone(jump)), ..connected }),
            Err(failed) => {
                // A handshake that was given up goes on in a task of russh's; this ends it.
                let _ = give_up.send(());
                Err(failed)
            }
        }
    }

    fn not_forwarded(&self, error: &russh::Error, place: &str) -> TransportError {
        match error {
            russh::Error::ChannelOpenFailure(
                russh::ChannelOpenFailure::AdministrativelyProhibited,
            ) => {
                let help = "allow it in sshd_config there (`AllowTcpForwarding yes`, and \
                    PermitOpen), then reload sshd";
                self.failed(format!("{place} does not forward connections"), help)
            }
            russh::Error::ChannelOpenFailure(_) => {
                let help = "the address is looked up and connected to from the jump host: is it \
                    right, and is sshd running?";
                self.failed(format!("{place} cannot reach it"), help)
            }
            error => self.failed(describe(error), "is the jump host working?"),
        }
    }

    /// Connects over what `command` reads and writes.
    pub(super) async fn over(&self, command: &str) -> Result<Connected, Failed> {
        let deadline = Instant::now() + self.machine.connect_timeout;
        let (running, stream, listener) = run(command).map_err(|error| {
            let why = format!("cannot start its ProxyCommand: {error}");
            self.failed(why, "try the command by itself")
        })?;
        match self.establish(stream, deadline, WINDOW).await {
            Ok(connected) => Ok(Connected { _command: Some(running), ..connected }),
            Err(mut failed) => {
                drop(running);
                let aside = timeout(FAREWELL, listener).await.ok().and_then(Result::ok);
                // What goes wrong here is the command's, and does not mend itself.
                failed.turned_away = false;
                let said = String::from_utf8_lossy(&aside.unwrap_or_default())
                    .trim()
                    .replace(['\n', '\r'], " / ");
                if !said.is_empty() {
                    failed.error.why.push_str(&format!("; its ProxyCommand said: {said}"));
                }
                Err(failed)
            }
        }
    }

    /// Performs the handshake over `stream`, verifies the host key and logs in, all before
    /// `deadline`.
    async fn establish<S>(
        &self,
        stream: S,
        deadline: Instant,
        window: u32,
    ) -> Result<Connected, Failed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (name, port) = self.machine.known_as();
        let recorded = Recorded::read(&self.machine.known_hosts, name, port)?;
        let config = Arc::new(config(&recorded, window, self.machine.keepalive));
        let (said, ended) = watch::channel(None);
        let host_key = Arc::new(OnceLock::new());
        let client = Client {
            place: self.place.clone(),
            recorded,
            accept_new: self.machine.accept_new,
            host_key: Arc::clone(&host_key),
            ended: said,
        };
        let shaken = timeout_at(deadline, client::connect_stream(config, stream, client)).await;
        let mut handle = self.shaken(shaken)?;
        let login = Login { place: &self.place, machine: self.machine, keyring: self.keyring };
        match timeout_at(deadline, login.with_keys(&mut handle)).await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => self.ask(&mut handle, &login, refused).await?,
            Err(_) => {
                let help = "does a key of the agent wait for a touch or a confirmation? a slow \
                    machine gets more time with ssh.connect_timeout";
                let why = format!("the login timed out after {}", self.limit());
                return Err(self.failed(why, help).into());
            }
        }
        let host_key = host_key.get().cloned().unwrap_or_default();
        Ok(Connected { handle, ended, host_key, below: None, _command: None })
    }

    /// What is left when keys alone did not do: the answers of a person.
    async fn ask(
        &self,
        handle: &mut Handle<Client>,
        login: &Login<'_>,
        refused: Refused,
    ) -> Result<(), Failed> {
        let Refused { error, locked, wants } = refused;
        match wants {
            Some(wants) => Ok(login.with_answers(handle, wants, error).await?),
            None => Err(Failed { error, turned_away: false, locked }),
        }
    }

    /// The handle of a handshake that went well.
    fn shaken(
        &self,
        shaken: Result<Result<Handle<Client>, Fault>, Elapsed>,
    ) -> Result<Handle<Client>, Failed> {
        match shaken {
            Ok(Ok(handle)) => Ok(handle),
            Ok(Err(Fault::HostKey(error))) => Err(error.into()),
            Ok(Err(Fault::Ssh(error))) => {
                let help = "is it an SSH server at this port? it may also have too many \
                    connections (MaxStartups)";
                let failed =
                    self.failed(format!("the SSH handshake failed: {}", describe(&error)), help);
                Err(Failed { error: failed, turned_away: hung_up(&error), locked: None })
            }
            Err(_) => {
                let help = "something listens there but does not answer as an SSH server in time: \
                    is the machine overloaded? ssh.connect_timeout gives it more time";
                let why = format!("the SSH handshake timed out after {}", self.limit());
                Err(self.failed(why, help).into())
            }
        }
    }

    fn limit(&self) -> String {
        seconds(self.machine.connect_timeout)
    }

    fn failed(&self, why: String, help: &str) -> TransportError {
        TransportError {
            what: format!("connect to {}", self.place),
            why,
            help: Some(help.to_owned()),
        }
    }

    fn unreachable(&self, error: &std::io::Error) -> TransportError {
        let (why, help) = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => (
                "connection refused".to_owned(),
                "nothing listens there: is sshd running, is the port right?",
            ),
            std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => (
                lowered(&error.to_string()),
                "is the machine up, and is there a route to it from the workstation?",
            ),
            _ => (lowered(&error.to_string()), "is the address right?"),
        };
        self.failed(why, help)
    }
}

/// What a command reads and writes, and the end of what it says on standard error.
type Piped = (RunningProxy, Join<ChildStdout, ChildStdin>, JoinHandle<Vec<u8>>);

/// Starts a `ProxyCommand`, in a process group of its own: Ctrl-C is for labctl.
fn run(command: &str) -> io::Result<Piped> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let (Some(input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("its pipes are missing"));
    };
    let listener = tokio::spawn(listen(errors));
    Ok((RunningProxy { _child: child, group }, tokio::io::join(output, input), listener))
}

/// The end of what comes, once nothing comes any more.
async fn listen(mut errors: ChildStderr) -> Vec<u8> {
    let mut aside = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = errors.read(&mut buffer).await {
        aside.extend_from_slice(&buffer[..count]);
        let surplus = aside.len().saturating_sub(ASIDE);
        aside.drain(..surplus);
    }
    aside
}
