//! Many at once: sessions on one connection, nodes behind one machine, and the real sshd.

use super::real::Sshd;
use super::*;

/// Many commands at once, with much output, on one connection.
pub(super) async fn crowd(session: &Session) {
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
    assert!(error.why.contains("even one session"), "{error}");
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
    let bastion = options.clone().start().await;
    options.forwards = false;
    let closed = options.start().await;
    let node = Options::new(&node_key, &workstation.login).start().await;
    let through = |server: &Server, port| {
        let mut target = workstation.target(port);
        target.ssh.jump = Some(vec![jump(server.address.port(), "hop")]);
        target
    };
    workstation.knows("", bastion.address.port(), &jump_key);
    workstation.knows("", closed.address.port(), &jump_key);

    let error = refused(&through(&bastion, node.address.port())).await;
    assert!(error.why.contains("the host is unknown"), "the node's key is checked too: {error}");
    workstation.knows("", node.address.port(), &node_key);

    let error = refused(&through(&closed, node.address.port())).await;
    assert!(error.why.contains("does not forward"), "{error}");
    assert!(
        error.help.as_deref().is_some_and(|help| help.contains("AllowTcpForwarding")),
        "{error:?}"
    );
    let error = refused(&through(&bastion, 1)).await;
    assert!(error.why.contains("cannot reach it"), "{error}");

    let session =
        Session::connect(&through(&bastion, node.address.port())).await.expect("a connection");
    crowd(&session).await;
    push(&session, 30 * MEGABYTE, "through a jump host").await;
    drop(bastion);
    run(&session, "true").await.expect_err("the jump host is gone");
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
    behind.ssh.jump = Some(vec![jump(bastion.port, bastion.user())]);
    let mut sessions = Vec::new();
    for round in 1..=10 {
        sessions = forty(&behind, true).await;
        let failed: Vec<_> = sessions.iter().filter_map(|session| session.as_ref().err()).collect();
        assert!(failed.is_empty(), "{} of 40 failed: {failed:?}\n{}", failed.len(), bastion.log());
        assert_eq!(bastion.logins(), round, "one connection is shared by all: {}", bastion.log());
    }
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
