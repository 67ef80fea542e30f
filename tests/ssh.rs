//! Connections as users meet them: refused, spoofed, cut, slow, crowded, behind a bastion, and once with the real sshd.

#[allow(dead_code, reason = "each test binary uses a part of it")]
#[path = "support/ssh_server.rs"]
mod ssh_server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use labctl::cluster::{Jump, Ssh};
use labctl::transport::ssh::{Session, Target};
use labctl::transport::{Exec, Output, Stdin, Transport, TransportError};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};
use ssh_server::{Answer, Options, Server, key};

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

    /// Adds a line for `port` of this machine: `KEY` is for `[127.0.0.1]:port`, `@marker KEY` likewise.
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
                host: "127.0.0.1".into(),
                port,
                user: "root".into(),
                identity: Some(self.folder.path().join("id")),
                jump: None,
            },
            known_hosts: vec![self.known_hosts()],
            accept_new: false,
            agent: None,
            identities: Vec::new(),
            connect_timeout: Duration::from_secs(20),
        }
    }
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
    let session = Session::connect(&workstation.target(server.address.port())).await.expect("a connection");
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
    assert!(server.commands.lock().expect("a lock")[0].starts_with("sh -c '"));
    let output = run(&session, "kill -9 $$").await.expect("an end");
    assert_eq!(output.code, 128 + 9);
    session.close().await;
    let error = run(&session, "true").await.expect_err("it is closed");
    assert!(error.what.contains("worker-0"), "{error}");
}

#[tokio::test]
async fn lines_come_while_the_command_runs() {
    let (_workstation, _server, session) = lab(|options| options).await;
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
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
async fn host_keys_are_strict() {
    let workstation = Workstation::new();
    let (host_key, other) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let server = Options::new(&host_key, &workstation.login).start().await;
    let port = server.address.port();
    let target = workstation.target(port);

    let error = refused(&target).await;
    assert!(error.why.contains("the host is unknown"), "{error}");
    assert!(error.help.as_deref().is_some_and(|help| help.contains(&format!("ssh-keyscan -p {port} 127.0.0.1"))));

    workstation.knows("", port, &other);
    let error = refused(&target).await;
    assert!(error.why.contains("has changed") && error.why.contains("known_hosts line 1"), "{error}");
    let error = refused(&Target { accept_new: true, ..target.clone() }).await;
    assert!(error.why.contains("has changed"), "{error}");

    fs::remove_file(workstation.known_hosts()).expect("a file");
    workstation.knows("", port, &key(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }));
    let error = refused(&target).await;
    assert!(error.why.contains("has changed") && error.why.contains("ecdsa"), "another type is a change: {error}");

    fs::remove_file(workstation.known_hosts()).expect("a file");
    workstation.knows("", port, &host_key);
    Session::connect(&target).await.expect("it is known now").close().await;

    workstation.knows("@revoked ", port, &host_key);
    let error = refused(&target).await;
    assert!(error.why.contains("revoked"), "{error}");

    fs::remove_file(workstation.known_hosts()).expect("a file");
    workstation.knows("@cert-authority ", port, &host_key);
    let error = refused(&target).await;
    assert!(error.why.contains("certificate authority"), "{error}");
}

#[tokio::test]
async fn the_recorded_key_type_is_asked_for_when_the_server_has_several() {
    let workstation = Workstation::new();
    let ecdsa = key(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
    let mut options = Options::new(&key(Algorithm::Ed25519), &workstation.login);
    options.host_keys.push(ecdsa.clone());
    let server = options.start().await;
    workstation.knows("", server.address.port(), &ecdsa);
    Session::connect(&workstation.target(server.address.port())).await.expect("the ECDSA key was shown");
}

#[tokio::test]
async fn a_new_host_is_recorded_when_that_was_asked_for() {
    let workstation = Workstation::new();
    let server = Options::new(&key(Algorithm::Ed25519), &workstation.login).start().await;
    let target = workstation.target(server.address.port());
    Session::connect(&Target { accept_new: true, ..target.clone() }).await.expect("accepted");
    Session::connect(&target).await.expect("known from then on");
}

#[tokio::test]
async fn a_wrong_key_is_told_with_what_was_tried() {
    let workstation = Workstation::new();
    let host_key = key(Algorithm::Ed25519);
    let server = Options::new(&host_key, &key(Algorithm::Ed25519)).start().await;
    workstation.knows("", server.address.port(), &host_key);
    let error = refused(&workstation.target(server.address.port())).await;
    assert!(error.what.contains("as root") && error.why.contains("id: refused"), "{error}");

    let mut target = workstation.target(server.address.port());
    target.ssh.identity = None;
    target.identities = vec![workstation.folder.path().join("id"), workstation.folder.path().join("none")];
    let error = refused(&target).await;
    assert!(error.why.contains("no agent") && error.why.contains("id: refused"), "{error}");

    target.ssh.identity = Some(workstation.folder.path().join("none"));
    let error = refused(&target).await;
    assert!(error.why.contains("cannot use the identity"), "{error}");
}

#[tokio::test]
async fn a_locked_identity_points_to_the_agent() {
    let workstation = Workstation::new();
    let file = workstation.folder.path().join("locked");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&file).status();
    assert!(made.expect("ssh-keygen is installed").success());
    let host_key = key(Algorithm::Ed25519);
    let server = Options::new(&host_key, &workstation.login).start().await;
    workstation.knows("", server.address.port(), &host_key);
    let mut target = workstation.target(server.address.port());
    target.ssh.identity = Some(file);
    let error = refused(&target).await;
    assert!(error.why.contains("passphrase"), "{error}");
    assert!(error.help.as_deref().is_some_and(|help| help.contains("ssh-add")), "{error:?}");
}

#[tokio::test]
async fn an_rsa_key_signs_with_a_hash_that_the_server_takes() {
    let workstation = Workstation::new();
    let file = workstation.folder.path().join("rsa");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]).arg(&file).status();
    assert!(made.expect("ssh-keygen is installed").success());
    let login = russh::keys::load_secret_key(&file, None).expect("a key");
    let host_key = key(Algorithm::Ed25519);
    let server = Options::new(&host_key, &login).start().await;
    workstation.knows("", server.address.port(), &host_key);
    let mut target = workstation.target(server.address.port());
    target.ssh.identity = Some(file);
    Session::connect(&target).await.expect("the RSA key is accepted");
}

#[tokio::test]
async fn keys_of_a_real_agent_log_in() {
    let (workstation, server, _session) = lab(|options| options).await;
    let socket = workstation.folder.path().join("agent");
    let mut agent = KillOnDrop(
        Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent is installed"),
    );
    until("the agent listens", || socket.exists() || agent.0.try_wait().ok().flatten().is_some()).await;
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(workstation.folder.path().join("id"))
        .env("SSH_AUTH_SOCK", &socket)
        .status();
    assert!(added.expect("ssh-add is installed").success());
    let mut target = workstation.target(server.address.port());
    target.ssh.identity = None;
    target.agent = Some(socket);
    Session::connect(&target).await.expect("the agent's key is accepted");
}

#[tokio::test]
async fn a_refused_port_and_a_server_that_never_answers() {
    let workstation = Workstation::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let target = Target { connect_timeout: Duration::from_millis(300), ..workstation.target(port) };
    let error = refused(&target).await;
    assert!(error.why.contains("handshake was not done within 0.3 s"), "{error}");
    // A port that is held but not listened on: one that was let go of may be somebody else's a moment later.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let port = held.local_addr().expect("an address").port();
    let error = refused(&workstation.target(port)).await;
    assert_eq!(error.to_string(), format!("connect to 127.0.0.1:{port}: connection refused"));
}

#[tokio::test]
async fn a_link_that_is_cut_is_an_error_that_says_so() {
    let (_workstation, _server, session) =
        lab(|options| options.answering(|line| line.contains("long work").then(|| Answer::CutAfter("begun\n".into()))))
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
    let (_workstation, _server, session) = lab(|options| options.answering(|_| Some(Answer::Refused))).await;
    let error = run(&session, "true").await.expect_err("refused");
    assert!(error.why.contains("refuses to run commands"), "{error}");
}

#[tokio::test]
async fn sudo_in_the_way_is_explained() {
    for (stderr, code, why) in [
        ("sudo: a password is required\n", 1, "sudo asks ops for a password"),
        ("bash: line 1: sudo: command not found\n", 127, "ops is not root, and there is no sudo"),
        ("sudo: sorry, you must have a tty to run sudo\n", 1, "requiretty"),
    ] {
        let workstation = Workstation::new();
        let host_key = key(Algorithm::Ed25519);
        let options = Options::new(&host_key, &workstation.login).answering(move |line| {
            let said = Answer::Said { stdout: String::new(), stderr: stderr.into(), code, status_first: false };
            line.starts_with("sudo -n sh -c '").then_some(said)
        });
        let server = options.start().await;
        workstation.knows("", server.address.port(), &host_key);
        let mut target = workstation.target(server.address.port());
        target.ssh.user = "ops".into();
        let session = Session::connect(&target).await.expect("a connection");
        let error = run(&session, "id").await.expect_err("no root");
        assert!(error.why.contains(why), "{error}");
        assert!(error.help.is_some());
    }
}

#[tokio::test]
async fn a_user_with_sudo_runs_as_root() {
    let workstation = Workstation::new();
    let sudo = workstation.folder.path().join("sudo");
    fs::write(&sudo, "#!/bin/sh\n[ \"$1\" = -n ] && shift\nAS_ROOT=yes exec \"$@\"\n").expect("a file");
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).expect("permissions");
    let host_key = key(Algorithm::Ed25519);
    let mut options = Options::new(&host_key, &workstation.login);
    options.path = Some(workstation.folder.path().display().to_string());
    let server = options.start().await;
    workstation.knows("", server.address.port(), &host_key);
    let mut target = workstation.target(server.address.port());
    target.ssh.user = "ops".into();
    let session = Session::connect(&target).await.expect("a connection");
    let output = run(&session, "echo \"$AS_ROOT it's\"").await.expect("an end");
    assert_eq!(text(&output.stdout), "yes it's\n");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_given_up_and_the_session_goes_on() {
    let (_workstation, _server, session) = lab(|options| options).await;
    let error =
        session.exec(Exec::new("cat /dev/zero | sleep 1000", Duration::from_millis(300))).await.expect_err("too long");
    assert!(error.why.contains("0.3 s") && error.what.contains("cat /dev/zero"), "{error}");
    assert_eq!(run(&session, "echo on").await.expect("an end").stdout, b"on\n");
}

#[tokio::test]
async fn a_command_may_end_without_reading_its_input() {
    let (_workstation, _server, session) = lab(|options| options).await;
    let exec =
        Exec::new("echo enough; exit 3", LONG).stdin(Stdin::Stream(Box::new(tokio::io::repeat(7)), Arc::default()));
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
    eprintln!("{kind}: {:.0} MB/s", size as f64 / started.elapsed().as_secs_f64() / MEGABYTE as f64);
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

/// While one command does not read what it is sent, others run; then it reads, and all of it arrives.
async fn slow_reader(session: &Session, folder: &std::path::Path) {
    let gate = folder.join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().expect("mkfifo").success());
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
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
    let output = slow.await.expect("no panic").expect("an end");
    assert_eq!(text(&output.stdout), format!("waiting\n{}\n", 40 * MEGABYTE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_stalls_nobody_else() {
    let (workstation, _server, session) = lab(|options| options).await;
    slow_reader(&session, workstation.folder.path()).await;
}

/// Many commands at once, with much output, on one connection.
async fn crowd(session: &Session) {
    let mut running = tokio::task::JoinSet::new();
    for number in 0..40 {
        let session = session.clone();
        running.spawn(async move {
            let output = run(&session, &format!("head -c 300000 /dev/zero; echo {number} >&2")).await.expect("an end");
            assert_eq!(output.stdout.len(), 300_000);
            // A real login shell may have said something of its own before.
            assert!(text(&output.stderr).ends_with(&format!("{number}\n")), "{}", text(&output.stderr));
        });
    }
    while let Some(done) = running.join_next().await {
        done.expect("a command of the crowd");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commands_share_one_connection_within_its_limit() {
    let (_workstation, server, session) = lab(|options| options).await;
    crowd(&session).await;
    assert!(server.most_sessions.load(Ordering::SeqCst) > 1, "they ran at the same time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_carries_everything() {
    let workstation = Workstation::new();
    let (jump_key, node_key) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let mut options = Options::new(&jump_key, &workstation.login);
    options.forwards = true;
    let jump = options.clone().start().await;
    options.forwards = false;
    let closed = options.start().await;
    let node = Options::new(&node_key, &workstation.login).start().await;
    let through = |server: &Server, port| {
        let mut target = workstation.target(port);
        target.ssh.jump = Some(Jump { host: "127.0.0.1".into(), port: server.address.port(), user: "hop".into() });
        target
    };
    workstation.knows("", jump.address.port(), &jump_key);
    workstation.knows("", closed.address.port(), &jump_key);

    let error = refused(&through(&jump, node.address.port())).await;
    assert!(error.why.contains("the host is unknown"), "the node's key is checked too: {error}");
    workstation.knows("", node.address.port(), &node_key);

    let error = refused(&through(&closed, node.address.port())).await;
    assert!(error.why.contains("does not forward"), "{error}");
    assert!(error.help.as_deref().is_some_and(|help| help.contains("AllowTcpForwarding")), "{error:?}");
    let error = refused(&through(&jump, 1)).await;
    assert!(error.why.contains("cannot reach it"), "{error}");

    let session = Session::connect(&through(&jump, node.address.port())).await.expect("a connection");
    crowd(&session).await;
    push(&session, 30 * MEGABYTE, "through a jump host").await;
    drop(jump);
    run(&session, "true").await.expect_err("the jump host is gone");
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

#[tokio::test(flavor = "multi_thread")]
async fn the_real_sshd() {
    const SSHD: &str = "/usr/sbin/sshd";
    assert!(
        fs::exists(SSHD).unwrap_or(false),
        "{SSHD} is missing: install openssh-server, this test needs the real one"
    );
    let workstation = Workstation::new();
    let folder = workstation.folder.path();
    let host_key = key(Algorithm::Ed25519);
    write_key(&folder.join("host_key"), &host_key);
    fs::write(folder.join("authorized_keys"), workstation.login.public_key().to_openssh().expect("a key"))
        .expect("a file");
    // sshd run by root wants its privilege separation folder, which a service manager would have made.
    let _ = fs::create_dir_all("/run/sshd");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\n\
         PidFile none\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n",
        folder.display()
    );
    fs::write(folder.join("sshd_config"), config).expect("a file");
    let _sshd = KillOnDrop(
        Command::new(SSHD)
            .arg("-D")
            .arg("-e")
            .arg("-f")
            .arg(folder.join("sshd_config"))
            .stderr(fs::File::create(folder.join("sshd.log")).expect("a file"))
            .spawn()
            .expect("sshd starts"),
    );
    until("sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    workstation.knows("", port, &host_key);
    let mut target = workstation.target(port);
    let me = Command::new("id").arg("-un").output().expect("id").stdout;
    target.ssh.user = text(&me).trim().into();
    let log = || fs::read_to_string(folder.join("sshd.log")).unwrap_or_default();
    let session = match Session::connect(&target).await {
        Ok(session) => session,
        Err(error) => panic!("{error}\n{}", log()),
    };

    let output = run(&session, "echo out; echo \"it's\" >&2; exit 7").await.expect("an end");
    assert_eq!((text(&output.stdout), output.code), ("out\n", 7));
    assert!(text(&output.stderr).ends_with("it's\n"), "{}", text(&output.stderr));
    assert_eq!(run(&session, "kill -9 $$").await.expect("an end").code, 128 + 9);
    push(&session, 100 * MEGABYTE, "sshd").await;
    slow_reader(&session, folder).await;
    crowd(&session).await;
    let exec =
        Exec::new("echo enough; exit 3", LONG).stdin(Stdin::Stream(Box::new(tokio::io::repeat(7)), Arc::default()));
    let output = session.exec(exec).await.expect("an end");
    assert_eq!((text(&output.stdout), output.code), ("enough\n", 3));

    // What is given up finds nobody to print to, and ends on the node as well.
    let pid = folder.join("pid");
    let forever = format!("echo $$ > {}; while echo on; do sleep 0.1; done", pid.display());
    // A machine that is busy may not have begun it when it is given up: then it gets more time.
    let mut patience = Duration::from_millis(500);
    while !fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) {
        session.exec(Exec::new(&*forever, patience)).await.expect_err("it never ends");
        patience *= 2;
    }
    let process = fs::read_to_string(&pid).expect("a process id");
    until("the command is gone", || !fs::exists(format!("/proc/{}", process.trim())).unwrap_or(true)).await;

    // The same machine as a jump host to itself.
    target.ssh.jump = Some(Jump { host: "127.0.0.1".into(), port, user: target.ssh.user.clone() });
    let transport = Transport::Ssh(Session::connect(&target).await.expect("through itself"));
    assert_eq!(transport.exec(Exec::new("echo hop", LONG)).await.expect("an end").stdout, b"hop\n");
    assert_eq!(transport.traffic().round_trips.load(Ordering::Relaxed), 1);
    session.close().await;
}
