//! The real sshd, of OpenSSH.

use super::*;

/// A real sshd with OpenSSH's own limits, and what it logs.
pub(super) struct Sshd {
    pub(super) port: u16,
    pub(super) target: Target,
    log: PathBuf,
    _process: KillOnDrop,
}

impl Sshd {
    pub(super) async fn start(workstation: &Workstation) -> Self {
        Self::with(workstation, "").await
    }

    /// One with further lines of its configuration; `{folder}` in them is the workstation's.
    pub(super) async fn with(workstation: &Workstation, more: &str) -> Self {
        Self::with_key(workstation, more, false).await
    }

    /// The same; its host key may be the one that is in the folder already.
    async fn with_key(workstation: &Workstation, more: &str, kept: bool) -> Self {
        const SSHD: &str = "/usr/sbin/sshd";
        assert!(
            fs::exists(SSHD).unwrap_or(false),
            "{SSHD} is missing: install openssh-server, this test needs the real one"
        );
        let folder = workstation.folder.path();
        if !kept {
            write_key(&folder.join("host_key"), &key(Algorithm::Ed25519));
        }
        let host_key =
            russh::keys::load_secret_key(folder.join("host_key"), None).expect("a host key");
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
             PermitRootLogin prohibit-password\n{1}",
            folder.display(),
            more.replace("{folder}", &folder.display().to_string())
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
        target.ssh.user = Some(text(&me).trim().into());
        Self { port, target, log, _process: process }
    }

    /// Who logs in: the user of the test.
    pub(super) fn user(&self) -> &str {
        self.target.ssh.user.as_deref().expect("a user")
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often somebody has logged in.
    pub(super) fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }
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
    super::crowd::crowd(&session).await;
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
    target.ssh.jump = Some(vec![jump(port, sshd.user())]);
    let transport = Transport::Ssh(Session::connect(&target).await.expect("through itself"));
    assert_eq!(transport.exec(Exec::new("echo hop", LONG)).await.expect("an end").stdout, b"hop\n");
    assert_eq!(transport.traffic().round_trips.load(Ordering::Relaxed), 1);
    session.close().await;
}

/// Signs keys as `ssh-keygen -s` does, with an authority of the workstation's.
fn sign(workstation: &Workstation, words: &[&str], file: &str) {
    let folder = workstation.folder.path();
    if !folder.join("ca").exists() {
        write_key(&folder.join("ca"), &key(Algorithm::Ed25519));
    }
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-s"])
        .arg(folder.join("ca"))
        .args(["-I", "test"])
        .args(words)
        .arg(folder.join(file))
        .output()
        .expect("ssh-keygen is installed");
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
}

/// The public half of a key of the workstation's folder, as a file and as text.
fn public(workstation: &Workstation, name: &str) -> String {
    let folder = workstation.folder.path();
    let key = russh::keys::load_secret_key(folder.join(name), None).expect("a key");
    let public = key.public_key().to_openssh().expect("a key");
    fs::write(folder.join(format!("{name}.pub")), &public).expect("a file");
    public
}

#[tokio::test]
async fn a_host_certificate_counts_when_its_authority_is_known() {
    let workstation = Workstation::new();
    // An sshd reads its certificate when it starts, so it is started with each.
    let start = async |words: &[&str]| {
        let first = Sshd::start(&workstation).await;
        drop(first);
        public(&workstation, "host_key");
        sign(&workstation, words, "host_key.pub");
        let more = "HostCertificate {folder}/host_key-cert.pub\n";
        let sshd = Sshd::with_key(&workstation, more, true).await;
        let authority = public(&workstation, "ca");
        fs::write(workstation.known_hosts(), format!("@cert-authority * {authority}\n"))
            .expect("a file");
        sshd
    };
    let sshd = start(&["-h", "-n", "127.0.0.1,node"]).await;
    Session::connect(&sshd.target).await.expect("its authority is known").close().await;
    let authority = public(&workstation, "ca");
    let lines = format!("@cert-authority * {authority}\n@revoked * {authority}\n");
    fs::write(workstation.known_hosts(), lines).expect("a file");
    let error = refused(&sshd.target).await;
    assert!(error.why.contains("its authority is revoked"), "{error}");
    let other = key(Algorithm::Ed25519).public_key().to_openssh().expect("a key");
    fs::write(workstation.known_hosts(), format!("@cert-authority * {other}\n")).expect("a file");
    let error = refused(&sshd.target).await;
    assert!(error.why.contains("which no file names"), "{error}");

    let sshd = start(&["-h", "-n", "10.0.0.9"]).await;
    let error = refused(&sshd.target).await;
    assert!(error.why.contains("it is for 10.0.0.9, not for 127.0.0.1"), "{error}");
    let sshd = start(&["-h", "-n", "127.0.0.1", "-V", "20200101:20200201"]).await;
    let error = refused(&sshd.target).await;
    assert!(error.why.contains("has expired"), "{error}");
    // With a plain key beside it, all is well.
    let host_key = russh::keys::load_secret_key(workstation.folder.path().join("host_key"), None)
        .expect("a key");
    workstation.knows("", sshd.port, &host_key);
    Session::connect(&sshd.target).await.expect("the key is known").close().await;
}

#[tokio::test]
async fn a_user_certificate_logs_in() {
    let workstation = Workstation::new();
    let folder = workstation.folder.path();
    write_key(&folder.join("ca"), &key(Algorithm::Ed25519));
    public(&workstation, "ca");
    let sshd = Sshd::with(&workstation, "TrustedUserCAKeys {folder}/ca.pub\n").await;
    fs::remove_file(folder.join("authorized_keys")).expect("a file");
    refused(&sshd.target).await;
    public(&workstation, "id");
    sign(&workstation, &["-n", sshd.user()], "id.pub");
    Session::connect(&sshd.target).await.expect("the certificate beside the key").close().await;

    // The private half in an agent, and the certificate elsewhere, named by the configuration.
    let socket = folder.join("agent");
    let _agent = agent(&socket, &[folder.join("id")]).await;
    fs::rename(folder.join("id-cert.pub"), folder.join("elsewhere.pub")).expect("a file");
    let mut target = Target { agent: Some(socket), ..sshd.target.clone() };
    target.ssh.identity = Some(folder.join("id.pub"));
    refused(&target).await;
    let config = folder.join("config");
    fs::write(&config, format!("CertificateFile {}/elsewhere.pub\n", folder.display()))
        .expect("a file");
    target.config = vec![config];
    Session::connect(&target).await.expect("a certificate for the agent's key").close().await;
}
