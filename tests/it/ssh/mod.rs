//! Connections as users meet them: refused, spoofed, cut, slow, crowded, behind a bastion, and once
//! with the real sshd.

mod crowd;
mod login;
mod noise;
mod person;
mod real;
mod root;
mod way;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::ssh_server::{Answer, Options, Server, command_of, key};
use labctl::cluster::{Jump, Ssh};
use labctl::transport::ssh::{Dialler, Session, Target};
use labctl::transport::{Exec, Output, Stdin, Transport, TransportError};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};

const LONG: Duration = Duration::from_secs(60);
const MEGABYTE: usize = 1024 * 1024;

/// A workstation: a folder with a known_hosts file and a key to log in with.
struct Workstation {
    folder: tempfile::TempDir,
    login: PrivateKey,
}

impl Workstation {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let login = key(Algorithm::Ed25519);
        write_key(&folder.path().join("id"), &login);
        Self { folder, login }
    }

    fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// Adds a line for `port` of this machine: `KEY` is for `[127.0.0.1]:port`, `@marker KEY`
    /// likewise.
    fn knows(&self, marker: &str, port: u16, host_key: &PrivateKey) {
        let mut content = fs::read_to_string(self.known_hosts()).unwrap_or_default();
        let public = host_key.public_key().to_openssh().expect("a key");
        content.push_str(&format!("{marker}[127.0.0.1]:{port} {public}\n"));
        fs::write(self.known_hosts(), content).expect("a file");
    }

    fn target(&self, port: u16) -> Target {
        Target {
            node: "worker-0".into(),
            ssh: Ssh {
                port: Some(port),
                identity: Some(self.folder.path().join("id")),
                ..Ssh::to("127.0.0.1")
            },
            known_hosts: vec![self.known_hosts()],
            accept_new: false,
            agent: None,
            identities: Vec::new(),
            config: Vec::new(),
            connect_timeout: Duration::from_secs(20),
        }
    }
}

/// A machine of this host to go through.
fn jump(port: u16, user: &str) -> Jump {
    Jump { host: "127.0.0.1".into(), port: Some(port), user: Some(user.into()), identity: None }
}

/// An agent at `socket` that holds the keys of `files`.
async fn agent(socket: &std::path::Path, files: &[PathBuf]) -> KillOnDrop {
    let mut agent = KillOnDrop(
        Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent is installed"),
    );
    until("the agent listens", || socket.exists() || agent.0.try_wait().ok().flatten().is_some())
        .await;
    for file in files {
        let added =
            Command::new("ssh-add").arg("-q").arg(file).env("SSH_AUTH_SOCK", socket).status();
        assert!(added.expect("ssh-add is installed").success());
    }
    agent
}

fn write_key(file: &std::path::Path, key: &PrivateKey) {
    fs::write(file, key.to_openssh(LineEnding::LF).expect("a key").as_bytes()).expect("a file");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("permissions");
}

/// A workstation that knows a server, the server, and a connection to it.
async fn lab(change: impl FnOnce(Options) -> Options) -> (Workstation, Server, Session) {
    let workstation = Workstation::new();
    let host_key = key(Algorithm::Ed25519);
    let server = change(Options::new(&host_key, &workstation.login)).start().await;
    workstation.knows("", server.address.port(), &host_key);
    let session =
        Session::connect(&workstation.target(server.address.port())).await.expect("a connection");
    (workstation, server, session)
}

async fn run(session: &Session, command: &str) -> Result<Output, TransportError> {
    session.exec(Exec::new(command, LONG)).await
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

async fn refused(target: &Target) -> TransportError {
    let error = Session::connect(target).await.expect_err("a refusal");
    assert!(error.help.is_some(), "an error says what to do: {error}");
    error
}

#[tokio::test]
async fn a_command_gives_back_output_errors_and_code() {
    let (_workstation, server, session) = lab(|options| options).await;
    let output = run(&session, "echo out; echo \"it's\" >&2; exit 7").await.expect("an end");
    assert_eq!((text(&output.stdout), text(&output.stderr), output.code), ("out\n", "it's\n", 7));
    let line = server.commands.lock().expect("a lock")[0].clone();
    assert!(line.starts_with("sh -c '"), "{line}");
    assert_eq!(command_of(&line).expect("a command").1, "echo out; echo \"it's\" >&2; exit 7");
    let output = run(&session, "kill -9 $$").await.expect("an end");
    assert_eq!(output.code, 128 + 9);
    session.close().await;
    let error = run(&session, "true").await.expect_err("it is closed");
    assert!(error.what.contains("worker-0"), "{error}");
}

#[tokio::test]
async fn lines_come_while_the_command_runs() {
    let (_workstation, _server, session) = lab(|options| options).await;
    let (sender, mut lines) = labctl::transport::lines();
    let (mut feed, stdin) = tokio::io::duplex(64);
    let exec = Exec::new("echo ready; read answer; echo got $answer; printf end", LONG)
        .stdin(Stdin::Stream(Box::new(stdin), Arc::default()))
        .lines(sender);
    let session2 = session.clone();
    let running = tokio::spawn(async move { session2.exec(exec).await });
    assert_eq!(lines.recv().await.as_deref(), Some("ready"));
    tokio::io::AsyncWriteExt::write_all(&mut feed, b"word\n").await.expect("a pipe");
    drop(feed);
    assert_eq!(lines.recv().await.as_deref(), Some("got word"));
    assert_eq!(lines.recv().await.as_deref(), Some("end"));
    assert_eq!(running.await.expect("no panic").expect("an end").code, 0);
}

#[tokio::test]
async fn a_refused_port_and_a_server_that_never_answers() {
    let workstation = Workstation::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let target = Target { connect_timeout: Duration::from_millis(300), ..workstation.target(port) };
    let error = refused(&target).await;
    assert!(error.why.contains("handshake timed out after 0.3 s"), "{error}");
    // A port that is held but not listened on: one that was let go of may be somebody else's a
    // moment later.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let port = held.local_addr().expect("an address").port();
    let error = refused(&workstation.target(port)).await;
    assert_eq!(error.to_string(), format!("connect to 127.0.0.1:{port}: connection refused"));
}

#[tokio::test]
async fn a_link_that_is_cut_is_an_error_that_says_so() {
    let (_workstation, _server, session) = lab(|options| {
        options.answering(|line| {
            line.contains("long work").then(|| Answer::CutAfter("begun\n".into()))
        })
    })
    .await;
    let error = run(&session, "long work").await.expect_err("the link is cut");
    assert!(error.why.contains("connection"), "{error}");
    assert!(error.what.contains("long work") && error.what.contains("worker-0"), "{error}");
    run(&session, "true").await.expect_err("and it stays cut");
}

#[tokio::test]
async fn output_after_the_exit_status_is_kept() {
    let (_workstation, _server, session) = lab(|options| {
        options.answering(|line| {
            line.contains("report").then(|| Answer::Said {
                stdout: "late\n".repeat(10_000),
                stderr: String::new(),
                code: 4,
                status_first: true,
            })
        })
    })
    .await;
    let output = run(&session, "report").await.expect("an end");
    assert_eq!((output.stdout.len(), output.code), (50_000, 4));
}

#[tokio::test]
async fn a_refused_command_is_an_error() {
    let (_workstation, _server, session) =
        lab(|options| options.answering(|_| Some(Answer::Refused))).await;
    let error = run(&session, "true").await.expect_err("refused");
    assert!(error.why.contains("refuses to run commands"), "{error}");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_given_up_and_the_session_goes_on() {
    let (_workstation, _server, session) = lab(|options| options).await;
    let error = session
        .exec(Exec::new("cat /dev/zero | sleep 1000", Duration::from_millis(300)))
        .await
        .expect_err("too long");
    assert!(error.why.contains("0.3 s") && error.what.contains("cat /dev/zero"), "{error}");
    assert_eq!(run(&session, "echo on").await.expect("an end").stdout, b"on\n");
}

#[tokio::test]
async fn a_command_may_end_without_reading_its_input() {
    let (_workstation, _server, session) = lab(|options| options).await;
    let exec = Exec::new("echo enough; exit 3", LONG)
        .stdin(Stdin::Stream(Box::new(tokio::io::repeat(7)), Arc::default()));
    let output = session.exec(exec).await.expect("an end");
    assert_eq!((text(&output.stdout), output.code), ("enough\n", 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_arrive_whole() {
    let (_workstation, _server, session) = lab(|options| options).await;
    push(&session, 100 * MEGABYTE, "in-process server").await;
}

#[expect(clippy::print_stderr, reason = "the rate is worth seeing with --nocapture")]
fn tell(kind: &str, size: usize, started: Instant) {
    eprintln!(
        "{kind}: {:.0} MB/s",
        size as f64 / started.elapsed().as_secs_f64() / MEGABYTE as f64
    );
}

/// Pushes `size` bytes into a real `sha256sum` and compares.
async fn push(session: &Session, size: usize, kind: &str) {
    let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    let sum = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    let counter = Arc::new(AtomicU64::new(0));
    let stdin = Stdin::Stream(Box::new(std::io::Cursor::new(bytes)), counter.clone());
    let started = Instant::now();
    let output = session.exec(Exec::new("sha256sum", LONG).stdin(stdin)).await.expect("an end");
    tell(kind, size, started);
    assert!(text(&output.stdout).starts_with(&sum), "{}", text(&output.stderr));
    assert_eq!(counter.load(Ordering::Relaxed), size as u64);
    assert_eq!(session.traffic().bytes_sent.load(Ordering::Relaxed), size as u64);
}

/// While one command does not read what it is sent, others run; then it reads, and all of it
/// arrives.
async fn slow_reader(session: &Session, folder: &std::path::Path) {
    let gate = folder.join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
    let (sender, mut lines) = labctl::transport::lines();
    let command = format!("echo waiting; cat {} >/dev/null; wc -c", gate.display());
    let exec = Exec::new(command, LONG).stdin(Stdin::Bytes(vec![1; 40 * MEGABYTE])).lines(sender);
    let slow = tokio::spawn({
        let session = session.clone();
        async move { session.exec(exec).await }
    });
    assert_eq!(lines.recv().await.as_deref(), Some("waiting"));
    for _ in 0..3 {
        assert_eq!(run(session, "echo small").await.expect("not stalled").stdout, b"small\n");
    }
    run(session, &format!("echo go > {}", gate.display())).await.expect("the gate opens");
    let arrived = (40 * MEGABYTE).to_string();
    assert_eq!(lines.recv().await, Some(arrived));
    assert_eq!(slow.await.expect("no panic").expect("an end").code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_stalls_nobody_else() {
    let (workstation, _server, session) = lab(|options| options).await;
    slow_reader(&session, workstation.folder.path()).await;
}

struct KillOnDrop(std::process::Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
