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
use labctl::transport::ssh::{Dialler, Session, Target};
use labctl::transport::{Exec, Output, Stdin, Transport, TransportError};
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};
use ssh_server::{Answer, Options, Server, command_of, key};

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
    // A file that somebody wrote by hand, without an end of its last line.
    fs::write(workstation.known_hosts(), "# by hand").expect("a file");
    Session::connect(&Target { accept_new: true, ..target.clone() }).await.expect("accepted");
    Session::connect(&target).await.expect("known from then on");
    let content = fs::read_to_string(workstation.known_hosts()).expect("a file");
    assert!(content.starts_with("# by hand\n[127.0.0.1]:") && content.ends_with('\n'), "{content}");
    assert_eq!(content.lines().count(), 2, "{content}");
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
    target.agent = Some(socket.clone());
    Session::connect(&target).await.expect("the agent's key is accepted");

    // With more keys in it than a server wants to see, and the right one last, the public half says which.
    let crowded = workstation.folder.path().join("crowded");
    let mut agent = KillOnDrop(
        Command::new("ssh-agent").arg("-D").arg("-a").arg(&crowded).stdout(Stdio::null()).spawn().expect("ssh-agent"),
    );
    until("the agent listens", || crowded.exists() || agent.0.try_wait().ok().flatten().is_some()).await;
    let add = |file: PathBuf| {
        let added = Command::new("ssh-add").arg("-q").arg(file).env("SSH_AUTH_SOCK", &crowded).status();
        assert!(added.expect("ssh-add is installed").success());
    };
    for number in 0..8 {
        let file = workstation.folder.path().join(format!("other-{number}"));
        write_key(&file, &key(Algorithm::Ed25519));
        add(file);
    }
    add(workstation.folder.path().join("id"));
    target.agent = Some(crowded);
    refused(&target).await;
    let public = workstation.folder.path().join("id.pub");
    fs::write(&public, workstation.login.public_key().to_openssh().expect("a key")).expect("a file");
    target.ssh.identity = Some(public.clone());
    Session::connect(&target).await.expect("the key that was named is accepted");

    fs::write(&public, key(Algorithm::Ed25519).public_key().to_openssh().expect("a key")).expect("a file");
    let error = refused(&target).await;
    assert!(error.why.contains("is a public key") && error.why.contains("does not hold"), "{error}");
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
        // The login shell has greeted before.
        let options = Options::new(&host_key, &workstation.login)
            .answering(move |_| Some(Answer::Instead { stdout: "Welcome\n".into(), stderr: stderr.into(), code }));
        let server = options.start().await;
        workstation.knows("", server.address.port(), &host_key);
        let mut target = workstation.target(server.address.port());
        target.ssh.user = "ops".into();
        let session = Session::connect(&target).await.expect("a connection");
        let error = run(&session, "id").await.expect_err("no root");
        assert!(error.why.contains(why), "{error}");
        assert!(error.help.is_some());
        assert!(server.commands.lock().expect("a lock")[0].starts_with("sudo -n sh -c '"));
    }
}

#[tokio::test]
async fn a_forced_command_is_shown_as_what_it_is() {
    // What cloud-init answers root's key with.
    let said = "Please login as the user \"ubuntu\" rather than the user \"root\".\n\n";
    let (_workstation, _server, session) = lab(|options| {
        options.answering(|_| Some(Answer::Instead { stdout: said.into(), stderr: String::new(), code: 142 }))
    })
    .await;
    // Whatever is asked: text, lines, a stream into a file, a script on standard input.
    let (lines, _heard) = labctl::transport::lines();
    let script = Stdin::Bytes(b"echo never\n".to_vec());
    for exec in [
        Exec::new("id", LONG),
        Exec::new("id", LONG).lines(lines),
        Exec::new("id", LONG).sink(tempfile::tempfile().expect("a file")),
        Exec::new("sh -s", LONG).stdin(script),
    ] {
        let error = session.exec(exec).await.expect_err("it never began");
        assert!(error.why.contains("Please login as the user \"ubuntu\""), "{error}");
        let help = error.help.expect("what to do");
        assert!(help.contains("ssh.user") && help.contains("ubuntu"), "{help}");
    }
}

#[tokio::test]
async fn what_a_profile_prints_is_dropped() {
    for profile in [
        "echo Welcome; echo careful >&2; ",
        r"printf '\033]0;root@node\007'; ",
        "printf '@ready raw\\n@end\\nclock\\t1'; printf 'no line end' >&2; ",
        "head -c 500000 /dev/zero; ",
    ] {
        let (_workstation, _server, session) = lab(|mut options| {
            options.profile = profile;
            options
        })
        .await;
        let output = run(&session, "echo out; echo aside >&2; exit 3").await.expect("an end");
        assert_eq!((text(&output.stdout), text(&output.stderr), output.code), ("out\n", "aside\n", 3), "{profile}");

        let (lines, mut heard) = labctl::transport::lines();
        session.exec(Exec::new("echo @ready zst", LONG).lines(lines)).await.expect("an end");
        assert_eq!(heard.recv().await.as_deref(), Some("@ready zst"), "{profile}");
        assert_eq!(heard.recv().await, None);

        let mut file = tempfile::tempfile().expect("a file");
        let sink = file.try_clone().expect("the same file");
        session.exec(Exec::new("head -c 20000 /dev/zero", LONG).sink(sink)).await.expect("an end");
        assert_eq!(std::io::Seek::stream_position(&mut file).expect("a position"), 20_000, "{profile}");

        let script = Stdin::Bytes(b"echo from a script\n".to_vec());
        let output = session.exec(Exec::new("sh -s", LONG).stdin(script)).await.expect("an end");
        assert_eq!(text(&output.stdout), "from a script\n", "{profile}");
    }
}

/// How much memory this process has had at most, in bytes.
fn most_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_prints_without_end_is_ended_and_takes_no_memory() {
    let endless = |first: &str, piece: &str, errors| {
        let piece = piece.repeat(32 * 1024 / piece.len()).into_bytes();
        Answer::Endless { first: first.into(), piece, errors }
    };
    for (answer, why) in [
        (endless("MARKER\n", "y\n", false), "it prints without end: more than 4 MiB"),
        (endless("MARKER\n", "\n", false), "it prints without end: more than 4 MiB"),
        (endless("MARKER\n", "x", false), "it prints without end: more than 4 MiB"),
        (endless("", "y\n", false), "the login shell prints without end"),
        (endless("", "y\n", true), "the login shell prints without end"),
    ] {
        let (_workstation, _server, session) =
            lab(|options| options.answering(move |command| command.contains("babble").then(|| answer.clone()))).await;
        let before = most_memory();
        // Nobody hears the lines: what waits to be heard is bounded too.
        let (lines, mut heard) = labctl::transport::lines();
        let listening = tokio::spawn(async move {
            let mut count = 0_usize;
            while heard.recv().await.is_some() {
                count += 1;
            }
            count
        });
        let error = session.exec(Exec::new("babble", LONG).lines(lines)).await.expect_err("without an end");
        assert!(error.why.contains(why), "{error}");
        listening.await.expect("no panic");
        // The channel's window, what is kept, and what other tests of this process do meanwhile.
        let more = most_memory().saturating_sub(before);
        assert!(more < 300 * MEGABYTE, "{why}: {} MiB more", more / MEGABYTE);
        // The connection itself is all right.
        let output = session.exec(Exec::new("echo on", LONG)).await.expect("an end");
        assert_eq!(output.stdout, b"on\n");
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
async fn a_server_that_allows_few_sessions_gets_few_at_a_time() {
    for allowed in [1, 2, 5] {
        let (_workstation, _server, session) = lab(|mut options| {
            options.max_sessions = allowed;
            options
        })
        .await;
        crowd(&session).await;
        assert!(session.has_room().await, "nothing runs");
        // Something that holds its session, as a gate does: is there room for more?
        let (mut feed, stdin) = tokio::io::duplex(64);
        let (lines, mut heard) = labctl::transport::lines();
        let exec = Exec::new("echo on; cat", LONG).stdin(Stdin::Stream(Box::new(stdin), Arc::default())).lines(lines);
        let holder = tokio::spawn({
            let session = session.clone();
            async move { session.exec(exec).await }
        });
        assert_eq!(heard.recv().await.as_deref(), Some("on"));
        assert_eq!(session.has_room().await, allowed > 1, "{allowed} allowed");
        tokio::io::AsyncWriteExt::shutdown(&mut feed).await.expect("a pipe");
        drop(feed);
        holder.await.expect("no panic").expect("an end");
        assert_eq!(run(&session, "echo on").await.expect("an end").stdout, b"on\n");
    }
    let (_workstation, _server, session) = lab(|mut options| {
        options.max_sessions = 0;
        options
    })
    .await;
    let error = run(&session, "true").await.expect_err("none at all");
    assert!(error.why.contains("even one alone"), "{error}");
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

/// A real sshd with OpenSSH's own limits, and what it logs.
struct Sshd {
    port: u16,
    target: Target,
    log: PathBuf,
    _process: KillOnDrop,
}

impl Sshd {
    async fn start(workstation: &Workstation) -> Self {
        const SSHD: &str = "/usr/sbin/sshd";
        assert!(
            fs::exists(SSHD).unwrap_or(false),
            "{SSHD} is missing: install openssh-server, this test needs the real one"
        );
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
        let log = folder.join("sshd.log");
        let process = KillOnDrop(
            Command::new(SSHD)
                .arg("-D")
                .arg("-e")
                .arg("-f")
                .arg(folder.join("sshd_config"))
                .stderr(fs::File::create(&log).expect("a file"))
                .spawn()
                .expect("sshd starts"),
        );
        until("sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        workstation.knows("", port, &host_key);
        let mut target = workstation.target(port);
        let me = Command::new("id").arg("-un").output().expect("id").stdout;
        target.ssh.user = text(&me).trim().into();
        Self { port, target, log, _process: process }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often somebody has logged in.
    fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }
}

/// Connects to forty nodes at once, with one dialler or with one each; how many came through.
async fn forty(target: &Target, together: bool) -> Vec<Result<Session, TransportError>> {
    let shared = Arc::new(Dialler::default());
    let mut dialling = tokio::task::JoinSet::new();
    for number in 0..40 {
        let target = Target { node: format!("worker-{number}"), ..target.clone() };
        let dialler = if together { Arc::clone(&shared) } else { Arc::default() };
        dialling.spawn(async move { dialler.connect(&target).await });
    }
    dialling.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_nodes_behind_a_real_sshd_all_connect() {
    let workstation = Workstation::new();
    let bastion = Sshd::start(&workstation).await;
    // One node stands for forty: all are reached at the same address, through the bastion.
    let host_key = key(Algorithm::Ed25519);
    let far = Options::new(&host_key, &workstation.login).start().await;
    workstation.knows("", far.address.port(), &host_key);
    let mut behind = workstation.target(far.address.port());
    behind.ssh.jump =
        Some(Jump { host: "127.0.0.1".into(), port: bastion.port, user: bastion.target.ssh.user.clone() });
    let sessions = forty(&behind, true).await;
    let failed: Vec<_> = sessions.iter().filter_map(|session| session.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of 40 failed: {failed:?}\n{}", failed.len(), bastion.log());
    assert_eq!(bastion.logins(), 1, "one connection is shared by all: {}", bastion.log());
    for session in sessions.iter().flatten() {
        assert_eq!(run(session, "echo on").await.expect("through the bastion").stdout, b"on\n");
    }
    // The connection lasts as long as somebody needs it.
    let mut sessions: Vec<Session> = sessions.into_iter().flatten().collect();
    let last = sessions.pop().expect("forty");
    for session in sessions {
        session.close().await;
    }
    assert_eq!(run(&last, "echo on").await.expect("it is still there").stdout, b"on\n");
    last.close().await;

    // Forty logins to the very same sshd: few at a time, and all come through.
    let sessions = forty(&bastion.target, true).await;
    let failed: Vec<_> = sessions.iter().filter_map(|session| session.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of 40 failed: {failed:?}\n{}", failed.len(), bastion.log());

    // And forty that know nothing of each other, as of as many runs: who is turned away comes again.
    let sessions = forty(&bastion.target, false).await;
    let failed: Vec<_> = sessions.iter().filter_map(|session| session.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of 40 failed: {failed:?}\n{}", failed.len(), bastion.log());
}

#[tokio::test]
async fn a_server_that_always_hangs_up_is_an_error_in_bounded_time() {
    let workstation = Workstation::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let came = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&came);
    let server = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            drop(socket);
        }
    });
    let target = Target { connect_timeout: Duration::from_millis(500), ..workstation.target(port) };
    let error = refused(&target).await;
    assert!(error.why.contains("handshake failed"), "{error}");
    assert!(error.help.as_deref().is_some_and(|help| help.contains("MaxStartups")), "{error:?}");
    assert!(came.load(Ordering::Relaxed) > 1, "it came again");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_sshd() {
    let workstation = Workstation::new();
    let sshd = Sshd::start(&workstation).await;
    let (port, folder) = (sshd.port, workstation.folder.path());
    let mut target = sshd.target.clone();
    let session = match Session::connect(&target).await {
        Ok(session) => session,
        Err(error) => panic!("{error}\n{}", sshd.log()),
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
