//! Many at once: sessions on one connection, nodes behind one machine, and the real sshd.

use super::*;

/// Many commands at once, with much output, on one connection.
async fn crowd(session: &Session) {
    let mut running = tokio::task::JoinSet::new();
    for number in 0..40 {
        let session = session.clone();
        running.spawn(async move {
            let output = run(&session, &format!("head -c 300000 /dev/zero; echo {number} >&2"))
                .await
                .expect("an end");
            assert_eq!(output.stdout.len(), 300_000);
            // A real login shell may have said something of its own before.
            assert!(
                text(&output.stderr).ends_with(&format!("{number}\n")),
                "{}",
                text(&output.stderr)
            );
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
        let exec = Exec::new("echo on; cat", LONG)
            .stdin(Stdin::Stream(Box::new(stdin), Arc::default()))
            .lines(lines);
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
        target.ssh.jump = Some(Jump {
            host: "127.0.0.1".into(),
            port: server.address.port(),
            user: "hop".into(),
        });
        target
    };
    workstation.knows("", jump.address.port(), &jump_key);
    workstation.knows("", closed.address.port(), &jump_key);

    let error = refused(&through(&jump, node.address.port())).await;
    assert!(error.why.contains("the host is unknown"), "the node's key is checked too: {error}");
    workstation.knows("", node.address.port(), &node_key);

    let error = refused(&through(&closed, node.address.port())).await;
    assert!(error.why.contains("does not forward"), "{error}");
    assert!(
        error.help.as_deref().is_some_and(|help| help.contains("AllowTcpForwarding")),
        "{error:?}"
    );
    let error = refused(&through(&jump, 1)).await;
    assert!(error.why.contains("cannot reach it"), "{error}");

    let session =
        Session::connect(&through(&jump, node.address.port())).await.expect("a connection");
    crowd(&session).await;
    push(&session, 30 * MEGABYTE, "through a jump host").await;
    drop(jump);
    run(&session, "true").await.expect_err("the jump host is gone");
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
        fs::write(
            folder.join("authorized_keys"),
            workstation.login.public_key().to_openssh().expect("a key"),
        )
        .expect("a file");
        // sshd run by root wants its privilege separation folder, which a service manager would
        // have made.
        let _ = fs::create_dir_all("/run/sshd");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a port")
            .port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host_key\nAuthorizedKeysFile \
            {0}/authorized_keys\nStrictModes no\n\
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
    behind.ssh.jump = Some(Jump {
        host: "127.0.0.1".into(),
        port: bastion.port,
        user: bastion.target.ssh.user.clone(),
    });
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

    // And forty that know nothing of each other, as of as many runs: who is turned away comes
    // again.
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
    let exec = Exec::new("echo enough; exit 3", LONG)
        .stdin(Stdin::Stream(Box::new(tokio::io::repeat(7)), Arc::default()));
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
    until("the command is gone", || {
        !fs::exists(format!("/proc/{}", process.trim())).unwrap_or(true)
    })
    .await;

    // The same machine as a jump host to itself.
    target.ssh.jump = Some(Jump { host: "127.0.0.1".into(), port, user: target.ssh.user.clone() });
    let transport = Transport::Ssh(Session::connect(&target).await.expect("through itself"));
    assert_eq!(transport.exec(Exec::new("echo hop", LONG)).await.expect("an end").stdout, b"hop\n");
    assert_eq!(transport.traffic().round_trips.load(Ordering::Relaxed), 1);
    session.close().await;
}
