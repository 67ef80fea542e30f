//! Who is let in: host keys, keys, agents.

use super::*;

#[tokio::test]
async fn host_keys_are_strict() {
    let workstation = Workstation::new();
    let (host_key, other) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let server = Options::new(&host_key, &workstation.login).start().await;
    let port = server.address.port();
    let target = workstation.target(port);

    let error = refused(&target).await;
    assert!(error.why.contains("the host is unknown"), "{error}");
    assert!(
        error
            .help
            .as_deref()
            .is_some_and(|help| help.contains(&format!("ssh-keyscan -p {port} 127.0.0.1")))
    );

    workstation.knows("", port, &other);
    let error = refused(&target).await;
    assert!(
        error.why.contains("has changed") && error.why.contains("known_hosts line 1"),
        "{error}"
    );
    let error = refused(&Target { accept_new: true, ..target.clone() }).await;
    assert!(error.why.contains("has changed"), "{error}");

    fs::remove_file(workstation.known_hosts()).expect("a file");
    workstation.knows("", port, &key(Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }));
    let error = refused(&target).await;
    assert!(
        error.why.contains("has changed") && error.why.contains("ecdsa"),
        "another type is a change: {error}"
    );

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
    Session::connect(&workstation.target(server.address.port()))
        .await
        .expect("the ECDSA key was shown");
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
    target.identities =
        vec![workstation.folder.path().join("id"), workstation.folder.path().join("none")];
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
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "secret", "-f"])
        .arg(&file)
        .status();
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
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"])
        .arg(&file)
        .status();
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
    until("the agent listens", || socket.exists() || agent.0.try_wait().ok().flatten().is_some())
        .await;
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

    // With more keys in it than a server wants to see, and the right one last, the public half says
    // which.
    let crowded = workstation.folder.path().join("crowded");
    let mut agent = KillOnDrop(
        Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&crowded)
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent"),
    );
    until("the agent listens", || crowded.exists() || agent.0.try_wait().ok().flatten().is_some())
        .await;
    let add = |file: PathBuf| {
        let added =
            Command::new("ssh-add").arg("-q").arg(file).env("SSH_AUTH_SOCK", &crowded).status();
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
    fs::write(&public, workstation.login.public_key().to_openssh().expect("a key"))
        .expect("a file");
    target.ssh.identity = Some(public.clone());
    Session::connect(&target).await.expect("the key that was named is accepted");

    fs::write(&public, key(Algorithm::Ed25519).public_key().to_openssh().expect("a key"))
        .expect("a file");
    let error = refused(&target).await;
    assert!(
        error.why.contains("is a public key") && error.why.contains("does not hold"),
        "{error}"
    );
}
