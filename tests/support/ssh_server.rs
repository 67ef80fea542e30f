//! An SSH server inside the test process: real protocol, real `sh`, and any answer that a test
//! wants to see handled.
//!
//! A server costs a listener and a task, so a test may start as many as it likes. Commands run as
//! the user of the test, unless the test answers them itself.

#[path = "ssh_answer.rs"]
mod answer;

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Response, Session, VerifiedPublicKey,
    run_stream,
};
use russh::{Channel, ChannelId, ChannelMsg, ChannelOpenFailure, MethodKind, MethodSet, Sig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub use answer::Answer;
use answer::{input, say};

/// What a server is like.
#[derive(Clone)]
pub struct Options {
    /// Its host keys.
    pub host_keys: Vec<PrivateKey>,
    /// The keys that may log in.
    pub accepts: Vec<PublicKey>,
    /// Whether it forwards connections, as a jump host does.
    pub forwards: bool,
    /// Sessions at once on one connection; sshd has 10.
    pub max_sessions: usize,
    /// Put before `PATH` of the commands that it runs.
    pub path: Option<String>,
    /// What the login shell runs before each command, as a profile does.
    pub profile: &'static str,
    /// Answers a command in place of a shell, when it returns something.
    pub answer: Option<Arc<Answering>>,
    /// A code that is asked for after the key, if it is.
    pub code: Option<&'static str>,
    /// Counts what goes on here and on other servers with the same gauge.
    pub gauge: Arc<Gauge>,
}

/// How much goes on at once.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Connections that are not logged in yet.
    pub arriving: Level,
    /// Commands that were begun and have not ended.
    pub working: Level,
}

/// A number that goes up and down, and how high it was.
#[derive(Debug, Default)]
pub struct Level {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Level {
    fn up(&self) {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }

    fn down(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    /// The highest that it has been.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Answers a command, as it was before it was made a line for a login shell, or leaves it to a
/// shell.
pub type Answering = dyn Fn(&str) -> Option<Answer> + Send + Sync;

/// A running server; it ends when dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Every command line that it was asked to run.
    pub commands: Arc<Mutex<Vec<String>>>,
    /// The names that logged in.
    pub users: Arc<Mutex<Vec<String>>>,
    /// The most sessions that were open at once on one connection.
    pub most_sessions: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

/// A command line taken apart: what the command's own output begins with, and the command.
pub fn command_of(line: &str) -> Option<(String, String)> {
    let (_, words) = line.rsplit_once(" labctl/runs ")?;
    let (marker, words) = words.split_once(' ')?;
    let bytes = STANDARD.decode(words.replace(' ', "")).ok()?;
    Some((format!("{marker}\n"), String::from_utf8(bytes).ok()?))
}

/// A new key.
pub fn key(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), algorithm).expect("a new key")
}

impl Options {
    /// A server with this host key that lets this key in.
    pub fn new(host_key: &PrivateKey, login: &PrivateKey) -> Self {
        Self {
            host_keys: vec![host_key.clone()],
            accepts: vec![login.public_key().clone()],
            forwards: false,
            max_sessions: 10,
            path: None,
            profile: "",
            answer: None,
            code: None,
            gauge: Arc::default(),
        }
    }

    /// The same, with answers of the test's own.
    pub fn answering(
        mut self,
        answer: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        self.answer = Some(Arc::new(answer));
        self
    }

    /// Starts it on a free port of the loopback interface.
    pub async fn start(self) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let config = Arc::new(Config {
            keys: self.host_keys.clone(),
            auth_rejection_time: Duration::ZERO,
            window_size: 16 * 1024 * 1024,
            maximum_packet_size: 65535,
            nodelay: true,
            ..Config::default()
        });
        let commands = Arc::new(Mutex::new(Vec::new()));
        let most_sessions = Arc::new(AtomicUsize::new(0));
        let users = Arc::new(Mutex::new(Vec::new()));
        let (log, most, came) = (commands.clone(), most_sessions.clone(), users.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).expect("a socket");
                let socket = socket.into_std().expect("a socket");
                let link = Arc::new(socket.try_clone().expect("a file descriptor"));
                let socket = TcpStream::from_std(socket).expect("a socket");
                self.gauge.arriving.up();
                let connection = Connection {
                    options: self.clone(),
                    channels: HashMap::new(),
                    open: Arc::new(AtomicUsize::new(0)),
                    most: most.clone(),
                    commands: log.clone(),
                    users: came.clone(),
                    link: link.clone(),
                };
                let config = config.clone();
                connections.spawn(async move {
                    let _end = CutOnDrop(link);
                    if let Ok(session) = run_stream(config, socket, connection).await {
                        let _ = session.await;
                    }
                });
            }
        });
        Server { address, commands, users, most_sessions, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct CutOnDrop(Arc<std::net::TcpStream>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

struct Connection {
    options: Options,
    channels: HashMap<ChannelId, Channel<Msg>>,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    commands: Arc<Mutex<Vec<String>>>,
    users: Arc<Mutex<Vec<String>>>,
    link: Arc<std::net::TcpStream>,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let known = self
            .options
            .accepts
            .iter()
            .any(|accepted| accepted.key_data() == key.public_key.key_data());
        if known && self.options.code.is_some() {
            let more = MethodSet::from(&[MethodKind::KeyboardInteractive][..]);
            return Ok(Auth::Reject { proceed_with_methods: Some(more), partial_success: true });
        }
        if known {
            self.options.gauge.arriving.down();
            self.users.lock().expect("a lock").push(user.to_owned());
        }
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(code) = self.options.code else { return Ok(Auth::reject()) };
        let Some(mut answers) = response else {
            let prompts = vec![("Verification code: ".into(), true), ("PIN: ".into(), false)];
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "Second factor\x1b[2J".into(),
                prompts: prompts.into(),
            });
        };
        if answers.next().is_some_and(|answer| answer == code.as_bytes()) {
            self.users.lock().expect("a lock").push(user.to_owned());
            return Ok(Auth::Accept);
        }
        Ok(Auth::reject())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        if open > self.options.max_sessions {
            self.open.fetch_sub(1, Ordering::SeqCst);
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
        } else {
            self.channels.insert(channel.id(), channel);
            reply.accept().await;
        }
        Ok(())
    }

    /// A session that never ran a command is over as well.
    async fn channel_close(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.channels.remove(&id).is_some() {
            self.open.fetch_sub(1, Ordering::SeqCst);
            session.close(id)?;
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if !self.options.forwards {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        match TcpStream::connect((host, u16::try_from(port).unwrap_or(0))).await {
            Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            Ok(mut socket) => {
                reply.accept().await;
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut socket)
                        .await;
                });
            }
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let line = String::from_utf8_lossy(line).into_owned();
        self.commands.lock().expect("a lock").push(line.clone());
        let Some(channel) = self.channels.remove(&id) else { return session.channel_failure(id) };
        let (marker, command) = command_of(&line).expect("a command of labctl's");
        let answer = self.options.answer.as_ref().and_then(|answer| answer(&command));
        if matches!(answer, Some(Answer::Refused)) {
            self.open.fetch_sub(1, Ordering::SeqCst);
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        let (handle, open) = (session.handle(), self.open.clone());
        let line = format!("{}{line}", self.options.profile);
        let (path, link, gauge) =
            (self.options.path.clone(), self.link.clone(), self.options.gauge.clone());
        gauge.working.up();
        tokio::spawn(async move {
            match answer {
                Some(Answer::Read(reply)) => {
                    let said = reply(&input(channel).await);
                    say(Answer::said(said), &marker, id, &handle, &link).await;
                }
                Some(answer) => say(answer, &marker, id, &handle, &link).await,
                None => run(channel, &line, path, &handle).await,
            }
            gauge.working.down();
            open.fetch_sub(1, Ordering::SeqCst);
            let _ = handle.close(id).await;
        });
        Ok(())
    }
}

/// The processes of a command, killed when its channel ends before they do.
struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

/// Runs `line` in a real shell between the channel and real pipes.
async fn run(channel: Channel<Msg>, line: &str, path: Option<String>, handle: &Handle) {
    let id = channel.id();
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(path) = path {
        command.env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap_or_default()));
    }
    let mut child = command.spawn().expect("a shell");
    let leader =
        child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let mut group = Group(leader);
    let mut input = child.stdin.take();
    let (mut stdout, mut stderr) =
        (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let (mut reader, writer) = channel.split();

    // Unbounded, so that a command which does not read stalls nothing but itself.
    let (queue, mut queued) = tokio::sync::mpsc::unbounded_channel();
    let closed = async move {
        while let Some(message) = reader.wait().await {
            match message {
                ChannelMsg::Data { data } => drop(queue.send(Some(data))),
                ChannelMsg::Eof => drop(queue.send(None)),
                ChannelMsg::Close => return,
                _ => {}
            }
        }
    };
    let feed = async move {
        while let Some(Some(data)) = queued.recv().await {
            let Some(pipe) = input.as_mut() else { break };
            if pipe.write_all(&data).await.is_err() {
                break;
            }
        }
        drop(input);
        std::future::pending::<()>().await;
    };
    let out = async {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(count) = stdout.read(&mut buffer).await {
            if count == 0 || writer.data_bytes(buffer[..count].to_vec()).await.is_err() {
                break;
            }
        }
    };
    let err = async {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(count) = stderr.read(&mut buffer).await {
            if count == 0 || writer.extended_data_bytes(1, buffer[..count].to_vec()).await.is_err()
            {
                break;
            }
        }
    };
    let ended = async {
        let (_, _, status) = tokio::join!(out, err, child.wait());
        status.expect("a status")
    };
    tokio::select! {
        () = closed => {}
        () = feed => {}
        status = ended => {
            group.0 = None;
            match status.signal() {
                Some(signal) => {
                    let name = match signal {
                        9 => Sig::KILL,
                        15 => Sig::TERM,
                        other => Sig::Custom(other.to_string()),
                    };
                    let (message, language) = (String::new(), String::new());
                    let _ = handle.exit_signal_request(id, name, false, message, language).await;
                }
                None => {
                    let code = u32::try_from(status.code().unwrap_or(255)).unwrap_or(255);
                    let _ = handle.exit_status_request(id, code).await;
                }
            }
            let _ = handle.eof(id).await;
        }
    }
}
