//! The way to a node: jump hosts in a row, each with its own login, and what OpenSSH's
//! configuration says of all of them.

use super::real::Sshd;
use super::*;

/// A machine with a login key of its own, which is written beside the others.
struct Machine {
    server: Server,
    identity: PathBuf,
}

impl Machine {
    async fn new(workstation: &Workstation, name: &str) -> Self {
        let (login, host_key) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
        let identity = workstation.folder.path().join(name);
        write_key(&identity, &login);
        let mut options = Options::new(&host_key, &login);
        options.forwards = true;
        let server = options.start().await;
        workstation.knows("", server.address.port(), &host_key);
        Self { server, identity }
    }

    fn port(&self) -> u16 {
        self.server.address.port()
    }

    fn users(&self) -> Vec<String> {
        self.server.users.lock().expect("a lock").clone()
    }

    /// As a jump host with its own key, or without.
    fn jump(&self, user: &str, own_key: bool) -> Jump {
        let identity = own_key.then(|| self.identity.clone());
        Jump { identity, ..jump(self.port(), user) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_jump_host_has_a_login_of_its_own() {
    let workstation = Workstation::new();
    let outer = Machine::new(&workstation, "outer").await;
    let inner = Machine::new(&workstation, "inner").await;
    let node = Machine::new(&workstation, "node").await;
    let mut target = workstation.target(node.port());
    target.ssh.identity = Some(node.identity.clone());
    target.ssh.user = Some("root".into());
    target.ssh.jump = Some(vec![outer.jump("jane@corp.example", true), inner.jump("hop", true)]);
    let session = Session::connect(&target).await.expect("through two machines");
    assert_eq!(run(&session, "echo here").await.expect("an end").stdout, b"here\n");
    assert_eq!(outer.users(), ["jane@corp.example"]);
    assert_eq!((inner.users(), node.users()), (vec!["hop".into()], vec!["root".into()]));
    session.close().await;

    // The errors name the machine that was in the way.
    let wrong = Jump { identity: Some(node.identity.clone()), ..inner.jump("hop", false) };
    target.ssh.jump = Some(vec![outer.jump("jane", true), wrong]);
    let error = refused(&target).await;
    let place = format!(
        "the jump host 127.0.0.1:{} through the jump host 127.0.0.1:{} as hop",
        inner.port(),
        outer.port()
    );
    assert!(error.what.contains(&place), "{error}");
}

#[tokio::test]
async fn a_bastion_without_a_key_of_its_own_gets_the_usual_ones() {
    let workstation = Workstation::new();
    let bastion = Machine::new(&workstation, "bastion").await;
    let node = Machine::new(&workstation, "node").await;
    let mut target = workstation.target(node.port());
    target.ssh.identity = Some(node.identity.clone());
    target.ssh.jump = Some(vec![bastion.jump("jumper", false)]);
    target.identities = vec![bastion.identity.clone()];
    Session::connect(&target).await.expect("the node's key is not the bastion's").close().await;
    // And where the bastion takes the node's key, that is enough.
    target.identities = Vec::new();
    refused(&target).await;
    target.ssh.jump = Some(vec![node.jump("jumper", false)]);
    Session::connect(&target).await.expect("one key for both").close().await;
}

#[tokio::test]
async fn the_configuration_of_openssh_says_what_the_inventory_does_not() {
    let workstation = Workstation::new();
    let bastion = Machine::new(&workstation, "bastion").await;
    let node = Machine::new(&workstation, "node").await;
    let folder = workstation.folder.path();
    fs::rename(workstation.known_hosts(), folder.join("theirs")).expect("a file");
    let config = folder.join("config");
    let text = format!(
        "Host edge\n  HostName 127.0.0.1\n  Port {bastion_port}\n  User jumper\n  \
         IdentityFile {folder}/bastion\n\
         Host node-*\n  HostName 127.0.0.1\n  Port {node_port}\n  User ops\n  \
         IdentityFile {folder}/none\n  IdentityFile {folder}/node\n  IdentitiesOnly yes\n  \
         ProxyJump edge\n\
         Host *\n  UserKnownHostsFile {folder}/theirs\n  ConnectTimeout 19\n",
        bastion_port = bastion.port(),
        node_port = node.port(),
        folder = folder.display(),
    );
    fs::write(&config, text).expect("a file");
    let mut target = workstation.target(22);
    target.ssh = Ssh::to("node-7");
    target.config = vec![config];
    let session = Session::connect(&target).await.expect("by the configuration alone");
    assert_eq!((session.user(), session.port()), ("ops", node.port()));
    assert_eq!(bastion.users(), ["jumper"]);
    session.close().await;

    // What the inventory says wins: the user, and no jump host.
    target.ssh.user = Some("root".into());
    target.ssh.jump = Some(Vec::new());
    target.ssh.connect_timeout = Some(17);
    let route = Dialler::default().route(&target).await.expect("a way");
    assert_eq!((route.machines.len(), route.machines[0].user.as_str()), (1, "root"));
    assert_eq!(route.machines[0].connect_timeout, Duration::from_secs(17));
    // A jump host of the inventory is looked up as well.
    target.ssh.jump =
        Some(vec![Jump { host: "edge".into(), port: None, user: None, identity: None }]);
    let session = Session::connect(&target).await.expect("through the bastion");
    assert_eq!(bastion.users(), ["jumper", "jumper"]);
    session.close().await;
    // Without a configuration nothing of this is known.
    target.config.clear();
    refused(&target).await;
}

#[tokio::test]
async fn a_host_key_is_looked_up_by_its_alias() {
    let workstation = Workstation::new();
    let host_key = key(Algorithm::Ed25519);
    let server = Options::new(&host_key, &workstation.login).start().await;
    let public = host_key.public_key().to_openssh().expect("a key");
    fs::write(workstation.known_hosts(), format!("the-node {public}\n")).expect("a file");
    let config = workstation.folder.path().join("config");
    let mut target = workstation.target(server.address.port());
    target.config = vec![config.clone()];
    refused(&target).await;
    fs::write(&config, "Host *\n  HostKeyAlias the-node\n").expect("a file");
    Session::connect(&target).await.expect("known by its alias").close().await;
}

#[tokio::test]
async fn a_proxy_command_carries_the_connection() {
    let (workstation, server, session) = lab(|options| options).await;
    session.close().await;
    let mut target = workstation.target(server.address.port());
    let config = workstation.folder.path().join("config");
    target.config = vec![config.clone()];
    let says = |text: &str| fs::write(&config, format!("Host *\n  {text}\n")).expect("a file");
    says("ProxyCommand bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'");
    let session = Session::connect(&target).await.expect("over a command");
    push(&session, 3 * MEGABYTE, "through a command").await;
    session.close().await;

    says("ProxyCommand sh -c 'echo no way to %h >&2; exit 1'");
    target.ssh.connect_timeout = Some(2);
    let error = refused(&target).await;
    assert!(error.why.contains("no way to 127.0.0.1"), "{error}");
    says("ProxyCommand true\n  ProxyUseFdpass yes");
    let error = refused(&target).await;
    assert!(error.why.contains("ProxyUseFdpass, which is not supported"), "{error}");
    // A jump host of the inventory takes the command's place.
    target.ssh.jump = Some(Vec::new());
    Session::connect(&target).await.expect("straight").close().await;
    let around = "Host 127.0.0.1\n  ProxyJump 127.0.0.2\nHost 127.0.0.2\n  ProxyJump 127.0.0.1\n";
    fs::write(&config, around).expect("a file");
    target.ssh.jump = None;
    let error = refused(&target).await;
    assert!(error.why.contains("does it go in circles"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssh_goes_the_same_way() {
    let workstation = Workstation::new();
    let sshd = Sshd::start(&workstation).await;
    // A folder that words and tokens would stumble over.
    let odd = tempfile::Builder::new().prefix("a lab, 100%h ").tempdir().expect("a folder");
    let mut target = sshd.target.clone();
    for (from, to) in
        [(workstation.known_hosts(), "hosts"), (target.ssh.identity.clone().expect("a key"), "key")]
    {
        fs::copy(from, odd.path().join(to)).expect("a copy");
    }
    target.known_hosts = vec![odd.path().join("hosts")];
    target.ssh.identity = Some(odd.path().join("key"));
    let hop = || Jump { identity: target.ssh.identity.clone(), ..jump(sshd.port, sshd.user()) };
    target.ssh.jump = Some(vec![hop(), hop()]);
    let words = Dialler::default().route(&target).await.expect("a way").words();
    let output = Command::new("ssh")
        .args(["-F", "none", "-o", "BatchMode=yes"])
        .args(&words)
        .arg("echo \"here, $((6 * 7))\"")
        .stdin(Stdio::null())
        .output()
        .expect("ssh is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(text(&output.stdout), "here, 42\n", "{said}\n{words:?}\n{}", sshd.log());
    assert_eq!(sshd.logins(), 3, "{}", sshd.log());
}
