//! Machines that are neighbours: each with a real sshd, on a bridge with this machine, and nothing
//! of it left behind.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use labctl::cluster::Ssh;
use labctl::engine::Connections;
use labctl::engine::spread::Peer;
use labctl::transport::Transport;
use labctl::transport::ssh::{Session, Target};

use crate::support::machine::Machine;

/// What sshd is told. The key to log in with has a file of its own, so that root's own may be as a
/// test wants it.
const SSHD: &str = "Port 22\nHostKey /etc/ssh/test_host_key\nAuthorizedKeysFile \
    /etc/ssh/test_login .ssh/authorized_keys\n\
    PidFile none\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication \
    no\nPermitRootLogin yes\n\
    MaxStartups 100\nUseDNS no\nSubsystem sftp internal-sftp\n";

/// Who logs in to machines whose name begins with this: no root, but somebody who may become root.
const OPS: &str = "ops";

/// A user who may use sudo. Not every machine that tests run on has one, so it is a small one of
/// the test's own.
const SUDO: &str = r#"useradd -m -s /bin/sh ops && sed -i 's/^ops:[^:]*:/ops:*:/' /etc/shadow
    cp /usr/bin/setpriv /usr/local/bin/become && chmod 4755 /usr/local/bin/become
    printf '%s\n' '#!/bin/sh' '[ "$1" = -n ] && shift' \
      'exec become --reuid 0 --regid 0 --clear-groups "$@"' > /usr/local/bin/sudo
    chmod 755 /usr/local/bin/sudo"#;

static BRIDGES: AtomicU8 = AtomicU8::new(0);

/// Machines on one bridge.
pub struct Neighbours {
    machines: BTreeMap<String, Neighbour>,
    /// The bridge that joins them; this machine is on it too.
    pub bridge: String,
    folder: tempfile::TempDir,
}

struct Neighbour {
    machine: Machine,
    user: &'static str,
    address: Ipv4Addr,
    sshd: Child,
}

/// Runs a program, which must go well.
pub fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().expect("it can be started");
    assert!(
        output.status.success(),
        "{program} {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits for something to come true.
pub fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Removes the bridges of tests that were killed; all else of theirs has ended with them.
fn sweep() {
    for entry in std::fs::read_dir("/sys/class/net").expect("links").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("lt").and_then(|rest| rest.split_once('x')).filter(
            |(pid, number)| {
                [pid, number]
                    .iter()
                    .all(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
            },
        );
        if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            let _ = Command::new("ip").args(["link", "delete", &name]).status();
        }
    }
}

impl Neighbours {
    /// Machines with these names, each listening on SSH.
    pub fn new(names: &[&str]) -> Self {
        sweep();
        let folder = tempfile::tempdir().expect("a folder");
        // The addresses that RFC 2544 keeps for benchmarks: nobody's lab is there.
        let number = BRIDGES.fetch_add(1, Ordering::Relaxed);
        let third = (std::process::id() as u8).wrapping_mul(7).wrapping_add(number);
        let bridge = format!("lt{}x{number}", std::process::id());
        run("ip", &["link", "add", &bridge, "type", "bridge"]);
        run("ip", &["addr", "add", &format!("198.18.{third}.1/24"), "dev", &bridge]);
        run("ip", &["link", "set", &bridge, "up"]);
        let key = folder.path().join("id");
        run(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &key.display().to_string()],
        );
        let login = std::fs::read_to_string(folder.path().join("id.pub")).expect("the public key");
        let mut all = Self { machines: BTreeMap::new(), bridge, folder };
        for (index, name) in names.iter().enumerate() {
            let last = u8::try_from(index + 10).expect("few machines");
            let user = if name.starts_with(OPS) { OPS } else { "root" };
            let neighbour = all.start(
                user,
                Ipv4Addr::new(198, 18, third, last),
                &format!("{}p{index}", all.bridge),
                &login,
            );
            all.machines.insert((*name).to_owned(), neighbour);
        }
        for (name, it) in &all.machines {
            until(&format!("sshd of {name} listens"), || {
                TcpStream::connect((it.address, 22)).is_ok()
            });
        }
        all
    }

    fn start(&self, user: &'static str, address: Ipv4Addr, port: &str, login: &str) -> Neighbour {
        let machine = Machine::new();
        let namespace = machine.process().to_string();
        run(
            "ip",
            &["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", &namespace],
        );
        run("ip", &["link", "set", port, "master", &self.bridge, "up"]);
        machine.sh(&format!(
            "ip addr add {address}/24 dev eth0 && ip link set eth0 up
            sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
            rm -rf /root/.ssh /run/sshd && mkdir -p /run/sshd && chown root:root /root && chmod \
            700 /root
            printf '%s' '{SSHD}' > /etc/ssh/test_config && printf '%s' '{login}' > \
            /etc/ssh/test_login
            ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/test_host_key"
        ));
        if user == OPS {
            machine.sh(SUDO);
        }
        let known = machine.sh("cut -d' ' -f1,2 /etc/ssh/test_host_key.pub");
        let file = self.folder.path().join("known_hosts");
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, format!("{before}{address} {known}\n")).expect("a file");
        // It ends with this test, even when that is killed.
        let sshd = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(machine.prefix())
            .args([
                "/usr/sbin/sshd",
                "-D",
                "-f",
                "/etc/ssh/test_config",
                "-E",
                "/var/log/test_sshd",
            ])
            .stdin(Stdio::null())
            .spawn()
            .expect("sshd starts");
        Neighbour { machine, user, address, sshd }
    }

    /// One of them.
    pub fn machine(&self, name: &str) -> &Machine {
        &self.machines[name].machine
    }

    /// How they reach each other.
    pub fn peers(&self) -> BTreeMap<String, Peer> {
        let peer =
            |it: &Neighbour| Peer { address: it.address.into(), port: 22, user: it.user.into() };
        self.machines.iter().map(|(name, it)| (name.clone(), peer(it))).collect()
    }

    /// What this machine logs in with.
    pub fn identity(&self) -> std::path::PathBuf {
        self.folder.path().join("id")
    }

    /// The host keys of all of them.
    pub fn known_hosts(&self) -> std::path::PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// A new connection to each of `names`.
    pub async fn connect(&self, names: &[&str]) -> Connections {
        let mut connections = Connections::new();
        for name in names {
            let it = &self.machines[*name];
            let ssh = Ssh {
                user: Some(it.user.into()),
                identity: Some(self.identity()),
                ..Ssh::to(it.address.to_string())
            };
            let mut target = Target::new(*name, ssh, self.known_hosts());
            target.known_hosts.truncate(1);
            target.config.clear();
            let session = Session::connect(&target).await.expect("a connection");
            connections.insert((*name).to_owned(), Transport::Ssh(session));
        }
        connections
    }

    /// A folder of this machine's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        for it in self.machines.values_mut() {
            let _ = it.sshd.kill();
            let _ = it.sshd.wait();
        }
        self.machines.clear();
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).status();
    }
}
