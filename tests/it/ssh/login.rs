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
    let folder = workstation.folder.path();
    let socket = folder.join("agent");
    let _agent = agent(&socket, &[folder.join("id")]).await;
    let mut target = workstation.target(server.address.port());
    target.ssh.identity = None;
    target.agent = Some(socket);
    Session::connect(&target).await.expect("the agent's key is accepted");

    // With more keys in it than a server wants to see, and the right one last, the public half says
    // which.
    let mut files: Vec<PathBuf> =
        (0..8).map(|number| folder.join(format!("other-{number}"))).collect();
    files.iter().for_each(|file| write_key(file, &key(Algorithm::Ed25519)));
    files.push(folder.join("id"));
    let crowded = folder.join("crowded");
    let _crowded = agent(&crowded, &files).await;
    target.agent = Some(crowded);
    refused(&target).await;
    let public = folder.join("id.pub");
    fs::write(&public, workstation.login.public_key().to_openssh().expect("a key"))
        .expect("a file");
    target.ssh.identity = Some(public.clone());
    Session::connect(&target).await.expect("the key that was named is accepted");
    // So does the name of the private half, which may be gone from here.
    fs::rename(folder.join("id"), folder.join("gone")).expect("a file");
    target.ssh.identity = Some(folder.join("id"));
    Session::connect(&target).await.expect("the public half lies beside it");

    fs::write(&public, key(Algorithm::Ed25519).public_key().to_openssh().expect("a key"))
        .expect("a file");
    target.ssh.identity = Some(public);
    let error = refused(&target).await;
    assert!(
        error.why.contains("is a public key") && error.why.contains("does not have"),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_that_others_may_read_is_refused_as_openssh_does() {
    let (workstation, server, _session) = lab(|options| options).await;
    let target = workstation.target(server.address.port());
    let file = workstation.folder.path().join("id");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions");
    let error = refused(&target).await;
    assert!(error.why.contains("others may read it (mode 644): chmod 600"), "{error}");
}
