//! A kept SSH connection to one node: how it is made, and what it refuses.
//!
//! The only code that names russh. A connection is made in three steps, each with its own errors:
//! reach the machine (through a jump host if there is one), check its host key (`host_key`), log in
//! with a key (`identity`). After that a [`Session`] runs commands, each in a channel of its own
//! (`command`).

mod command;
mod dial;
mod host_key;
mod identity;
mod tunnel;

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::PublicKeyOrCertificate;
use russh::{Preferred, cipher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::collect::seconds;
use super::{Traffic, TransportError};
use crate::cluster;
pub use dial::Dialler;
use dial::Failed;
use host_key::{Recorded, bare};
use identity::Login;
pub use identity::TemporaryKey;

/// How long reaching a machine and logging in may take, unless the target says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be silent before the server is asked for a sign of life; after three
/// in vain it is lost.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The window of every channel, in bytes: what may be under way before it is acknowledged.
const WINDOW: u32 = 16 * 1024 * 1024;

/// The same behind a jump host, as large as OpenSSH's own: what is under way waits in a queue of
/// ours there, and this bounds it.
const WINDOW_BEHIND: u32 = 2 * 1024 * 1024;

/// The most that waits in the queue of a node behind a jump host, in bytes: all of its channels'
/// windows, and as much as one of them for all that is no channel's data.
const QUEUE: usize = (PLACES + 1) * WINDOW_BEHIND as usize;

/// The largest packet to receive, in bytes: the most that russh can take.
const PACKET: u32 = 65535;

/// Commands at once on one connection. sshd allows 10 (`MaxSessions`), and may still be clearing up
/// after one that has ended. Where it allows fewer, that is found out.
const PLACES: usize = 8;

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where to connect to, and what to trust and log in with on the way.
///
/// Values are explicit: what `~/.ssh/config` says of a host belongs into `ssh` before it comes
/// here.
#[derive(Debug, Clone)]
pub struct Target {
    /// The node's name, for messages.
    pub node: String,
    /// Address, user, key and jump host.
    pub ssh: cluster::Ssh,
    /// Files with host keys, in OpenSSH's format; all of them count, and one that does not exist is
    /// empty.
    pub known_hosts: Vec<PathBuf>,
    /// Whether the key of a host that no file knows is accepted and written to the first of
    /// `known_hosts`. A key that differs from the recorded one is refused all the same.
    pub accept_new: bool,
    /// The agent's socket; asked when `ssh.identity` is not given, or is locked with a passphrase.
    pub agent: Option<PathBuf>,
    /// Private keys to try after the agent's, when `ssh.identity` is not given. Missing files are
    /// passed over.
    pub identities: Vec<PathBuf>,
    /// How long reaching each machine on the way and logging in to it may take.
    pub connect_timeout: Duration,
}

impl Target {
    /// The target for a node: host keys from `known_hosts` (the lab's own), from
    /// `~/.ssh/known_hosts` and from `/etc/ssh/ssh_known_hosts`, the agent of `SSH_AUTH_SOCK`, and
    /// the usual keys of `~/.ssh`; strict; 10 seconds.
    pub fn new(
        node: impl Into<String>,
        ssh: cluster::Ssh,
        known_hosts: impl Into<PathBuf>,
    ) -> Self {
        let folder = env::home_dir().map(|home| home.join(".ssh"));
        let in_folder = |name: &str| folder.as_ref().map(|folder| folder.join(name));
        let mut files = vec![known_hosts.into()];
        files.extend(in_folder("known_hosts"));
        files.push("/etc/ssh/ssh_known_hosts".into());
        Self {
            node: node.into(),
            ssh,
            known_hosts: files,
            accept_new: false,
            agent: env::var_os("SSH_AUTH_SOCK")
                .filter(|socket| !socket.is_empty())
                .map(PathBuf::from),
            identities: ["id_ed25519", "id_ecdsa", "id_rsa"]
                .into_iter()
                .filter_map(in_folder)
                .collect(),
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

/// A kept connection to one node. A clone is the same connection; it ends when the last clone is
/// dropped.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    node: String,
    user: String,
    handle: Handle<Client>,
    /// The connection that `handle` runs over, when there is a jump host.
    jump: Option<Arc<Connected>>,
    ended: watch::Receiver<Option<String>>,
    host_key: String,
    /// Who may open a channel, and how many they are in all.
    places: Semaphore,
    allowed: AtomicUsize,
    traffic: Traffic,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("node", &self.inner.node)
            .field("user", &self.inner.user)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Connects to one node and logs in. Who connects to several uses one [`Dialler`] for all.
    ///
    /// # Errors
    /// As [`Dialler::connect`].
    pub async fn connect(target: &Target) -> Result<Self, TransportError> {
        Dialler::default().connect(target).await
    }

    /// Over a connection that is logged in, and that runs over `jump` if there is one.
    fn over(target: &Target, connected: Connected, jump: Option<Arc<Connected>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                node: target.node.clone(),
                user: target.ssh.user.clone(),
                handle: connected.handle,
                jump,
                ended: connected.ended,
                host_key: connected.host_key,
                places: Semaphore::new(PLACES),
                allowed: AtomicUsize::new(PLACES),
                traffic: Traffic::default(),
            }),
        }
    }

    /// The host key that the node has shown, and that was found in order: type and key, as
    /// known_hosts has them.
    pub fn host_key(&self) -> &str {
        &self.inner.host_key
    }

    /// What this connection has cost so far.
    pub fn traffic(&self) -> &Traffic {
        &self.inner.traffic
    }

    /// Says goodbye and waits, for two seconds at most, until the connection has ended. Commands
    /// that still run on it fail.
    pub async fn close(&self) {
        disconnect(&self.inner.handle, &self.inner.ended).await;
        // Other nodes may still be connected through the same one; the last of them ends it.
        if let Some(jump) = self.inner.jump.as_ref().filter(|jump| Arc::strong_count(jump) == 1) {
            disconnect(&jump.handle, &jump.ended).await;
        }
    }
}

/// A connection that is logged in.
struct Connected {
    handle: Handle<Client>,
    ended: watch::Receiver<Option<String>>,
    host_key: String,
}

async fn disconnect(handle: &Handle<Client>, ended: &watch::Receiver<Option<String>>) {
    let mut ended = ended.clone();
    // Whether the other side hears it makes no difference any more.
    let _ = timeout(FAREWELL, async {
        let _ = handle.disconnect(russh::Disconnect::ByApplication, "done", "en").await;
        let _ = ended.wait_for(Option::is_some).await;
    })
    .await;
}

/// One machine on the way to a node, the jump host or the node itself.
struct Hop<'a> {
    target: &'a Target,
    host: &'a str,
    port: u16,
    user: &'a str,
    /// How messages name it.
    place: String,
}

impl Hop<'_> {
    /// Connects over TCP.
    async fn direct(&self) -> Result<Connected, Failed> {
        let deadline = Instant::now() + self.target.connect_timeout;
        let socket = match timeout_at(deadline, TcpStream::connect((self.host, self.port))).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(self.unreachable(&error).into()),
            Err(_) => {
                let help =
                    "is the machine up, is the address right, does a firewall drop the port?";
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
    async fn through(&self, jump: &Connected, place: &str) -> Result<Connected, Failed> {
        let deadline = Instant::now() + self.target.connect_timeout;
        let opened =
            jump.handle.channel_open_direct_tcpip(self.host, u32::from(self.port), "127.0.0.1", 0);
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
        if connected.is_err() {
            // A handshake that was given up goes on in a task of russh's; this ends it.
            let _ = give_up.send(());
        }
        connected
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
            error => self.failed(describe(error), "is the jump host all right?"),
        }
    }

    /// Shakes hands over `stream`, checks the host key and logs in, all before `deadline`.
    async fn establish<S>(
        &self,
        stream: S,
        deadline: Instant,
        window: u32,
    ) -> Result<Connected, Failed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let recorded = Recorded::read(&self.target.known_hosts, self.host, self.port)?;
        let config = Arc::new(config(&recorded, window));
        let (said, ended) = watch::channel(None);
        let host_key = Arc::new(OnceLock::new());
        let client = Client {
            place: self.place.clone(),
            recorded,
            accept_new: self.target.accept_new,
            host_key: Arc::clone(&host_key),
            ended: said,
        };
        let mut handle = match timeout_at(deadline, client::connect_stream(config, stream, client))
            .await
        {
            Ok(Ok(handle)) => handle,
            Ok(Err(Fault::HostKey(error))) => return Err(error.into()),
            Ok(Err(Fault::Ssh(error))) => {
                let help = "is it an SSH server at this port? it may also have too many \
                    connections (MaxStartups)";
                let failed =
                    self.failed(format!("the SSH handshake failed: {}", describe(&error)), help);
                return Err(Failed { error: failed, turned_away: hung_up(&error) });
            }
            Err(_) => {
                let help = "something listens there but does not answer as an SSH server in time: \
                    is the machine overloaded?";
                return Err(self
                    .failed(format!("the SSH handshake was not done within {}", self.limit()), help)
                    .into());
            }
        };
        let login = Login {
            place: &self.place,
            user: self.user,
            identity: self.target.ssh.identity.as_deref(),
            agent: self.target.agent.as_deref(),
            usual: &self.target.identities,
        };
        match timeout_at(deadline, identity::authenticate(&mut handle, &login)).await {
            Ok(logged_in) => logged_in?,
            Err(_) => {
                let help = "does a key of the agent wait for a touch or a confirmation?";
                return Err(self
                    .failed(format!("the login was not done within {}", self.limit()), help)
                    .into());
            }
        }
        let host_key = host_key.get().cloned().unwrap_or_default();
        Ok(Connected { handle, ended, host_key })
    }

    fn limit(&self) -> String {
        seconds(self.target.connect_timeout)
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
                "is the machine up, and is there a route to it from here?",
            ),
            _ => (lowered(&error.to_string()), "is the address right?"),
        };
        self.failed(why, help)
    }
}

/// What russh calls back.
struct Client {
    place: String,
    recorded: Recorded,
    accept_new: bool,
    host_key: Arc<OnceLock<String>>,
    ended: watch::Sender<Option<String>>,
}

/// Why a connection ended before it was one.
#[derive(Debug)]
enum Fault {
    Ssh(russh::Error),
    HostKey(TransportError),
}

impl From<russh::Error> for Fault {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Client {
    type Error = Fault;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.recorded.check(&self.place, key, self.accept_new).map_err(Fault::HostKey)?;
                let _ = self.host_key.set(bare(key));
                Ok(true)
            }
            // None was asked for, and no authority is trusted.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        let reason = match reason {
            DisconnectReason::ReceivedDisconnect(farewell) => {
                format!("the server hung up: {}", farewell.message)
            }
            DisconnectReason::Error(Fault::Ssh(error)) => {
                format!("the connection was lost: {}", describe(&error))
            }
            DisconnectReason::Error(Fault::HostKey(error)) => error.to_string(),
        };
        self.ended.send_replace(Some(reason));
        Ok(())
    }
}

fn config(recorded: &Recorded, window: u32) -> client::Config {
    client::Config {
        window_size: window,
        maximum_packet_size: PACKET,
        // Silence is no fault: a command may take its time. A server that is gone is found out by
        // asking it.
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        preferred: Preferred {
            key: Cow::Owned(recorded.algorithms()),
            // AES-GCM first: every processor that runs Kubernetes has instructions for it.
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_192_CTR,
                cipher::AES_128_CTR,
            ]),
            // What is pushed is compressed already, or the network is faster than compressing.
            compression: Cow::Borrowed(&[russh::compression::NONE]),
            ..Preferred::default()
        },
        nodelay: true,
        ..client::Config::default()
    }
}

/// `host:port`, with brackets around an IPv6 address.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether the other side has ended the connection, as sshd does when too many come at once.
fn hung_up(error: &russh::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        russh::Error::Disconnect
        | russh::Error::HUP
        | russh::Error::SendError
        | russh::Error::RecvError => true,
        russh::Error::IO(error) => {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        _ => false,
    }
}

/// What a russh error means to someone who has never heard of russh.
fn describe(error: &russh::Error) -> String {
    match error {
        russh::Error::Disconnect
        | russh::Error::HUP
        | russh::Error::SendError
        | russh::Error::RecvError => "the server closed the connection".to_owned(),
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the server closed the connection".to_owned()
        }
        russh::Error::IO(error) => lowered(&error.to_string()),
        russh::Error::KeepaliveTimeout => "the server gave no sign of life for a minute".to_owned(),
        russh::Error::NoCommonAlgo { kind, ours, theirs } => format!(
            "no common {kind:?} algorithm: here {}, there {}",
            ours.join(","),
            theirs.join(",")
        )
        .to_lowercase(),
        other => lowered(&other.to_string()),
    }
}

fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
