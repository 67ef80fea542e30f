//! The story of two local nodes: made, reached, killed, rebooted, and gone without a trace.
//!
//! Needs root, Linux and the programs that `make prerequisites` installs.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use labctl::cluster::{
    Api, Cluster, KeyAlgorithm, LocalNodes, Network, Node, PkiPolicy, PodNetwork, ProxyMode, Role,
    Ssh, Version,
};
use labctl::event::Events;
use labctl::lab::{LabDirectory, cache_directory};
use labctl::local::{self, LocalError};

#[path = "support/owned.rs"]
mod owned;

/// What the directories of these tests' labs begin with.
const LEFT: &str = "labctl-local-nodes-";

/// One node's name and the last part of its address.
type Member = (&'static str, u8);

fn cluster(lab: &LabDirectory, subnet: [u8; 3], members: &[Member]) -> Cluster {
    let [a, b, c] = subnet;
    let address = |last: u8| Ipv4Addr::new(a, b, c, last);
    let node = |(name, last): &Member| Node {
        name: (*name).to_owned(),
        address: address(*last).into(),
        second_address: None,
        roles: vec![Role::Worker],
        labels: BTreeMap::new(),
        taints: Vec::new(),
        pod_cidr: None,
        second_pod_cidr: None,
        ssh: Ssh { identity: Some(lab.ssh_identity()), ..Ssh::to(address(*last).to_string()) },
        facts: labctl::machine::Machine::default(),
    };
    Cluster {
        name: "tiny".into(),
        kubernetes: Version { major: 1, minor: 34, patch: 2 },
        domain: "cluster.local".into(),
        nodes: members.iter().map(node).collect(),
        network: Network {
            pods: "10.200.0.0/16".parse().expect("a network"),
            node_prefix: 24,
            services: "10.32.0.0/24".parse().expect("a network"),
            kubernetes_service: Ipv4Addr::new(10, 32, 0, 1).into(),
            dns_service: Ipv4Addr::new(10, 32, 0, 10).into(),
            second: None,
            mode: PodNetwork::Routes,
            mtu: 1500,
            proxy: ProxyMode::Iptables,
        },
        api: Api {
            host: address(10).to_string(),
            port: 6443,
            loadbalancer: None,
            server_port: 6443,
            names: Vec::new(),
        },
        pki: PkiPolicy { algorithm: KeyAlgorithm::EcdsaP256, ca_days: 3650, leaf_days: 365 },
        addons: Vec::new(),
        manifests: Vec::new(),
        components: labctl::cluster::SettingsByProgram::default(),
        registries: Vec::new(),
        proxy: None,
        bundle: None,
        playbooks: None,
        templates: None,
        local: Some(LocalNodes {
            subnet: format!("{a}.{b}.{c}.0/24").parse().expect("a subnet"),
            gateway: address(1).into(),
            second: None,
            packages: Vec::new(),
        }),
        lab_directory: lab.root().to_owned(),
    }
}

/// A lab that is taken down also when its test fails.
struct Lab {
    directory: LabDirectory,
    cluster: Cluster,
    _owner: fs::File,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new(subnet: [u8; 3], members: &[Member]) -> Self {
        // Not in /tmp: that may be a memory file system too small for nodes.
        let (folder, owner) = owned::directory(Path::new("/var/tmp"), LEFT);
        let directory = LabDirectory::new(folder.path().join("lab"));
        let cluster = cluster(&directory, subnet, members);
        Self { directory, cluster, _owner: owner, _folder: folder }
    }

    async fn up(&self) -> Result<local::Up, LocalError> {
        let (events, _told) = Events::channel();
        local::up(&self.cluster, &self.directory, &cache_directory(), &events).await
    }

    async fn down(&self) -> Result<local::Down, LocalError> {
        let (events, _told) = Events::channel();
        local::down(&self.directory, &events).await
    }

    fn address(&self, node: &str) -> IpAddr {
        self.cluster.node(node).expect("a node of the lab").address
    }

    fn pid(&self, node: &str) -> String {
        let path = self.directory.local_nodes().join(node).join("pid");
        fs::read_to_string(&path).expect("the node's pid file").trim().to_owned()
    }

    /// Runs `script` on a node with OpenSSH, as strict about the host's key as it can be.
    fn try_ssh(&self, node: &str, script: &str) -> Output {
        Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "ConnectTimeout=5",
            ])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.directory.known_hosts().display()))
            .arg("-i")
            .arg(self.directory.ssh_identity())
            .arg(format!("root@{}", self.address(node)))
            .arg(script)
            .output()
            .expect("ssh can be started")
    }

    fn ssh(&self, node: &str, script: &str) -> String {
        let output = self.try_ssh(node, script);
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`{script}` on {node}: {}\n{out}{err}", output.status);
        out.trim().to_owned()
    }

    /// Everything on this machine that still carries the lab's names or path.
    fn traces(&self) -> Vec<String> {
        let root = self.directory.root().to_string_lossy().into_owned();
        let bridge = bridge(self);
        let mut traces = Vec::new();
        for line in fs::read_to_string("/proc/self/mountinfo").expect("the mount table").lines() {
            if line.contains(&root) || line.contains(&bridge) {
                traces.push(format!("mount {line}"));
            }
        }
        for entry in fs::read_dir("/proc").expect("processes").flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let cgroups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            // Without a command line it has ended, and waits for the host's own first process to
            // take notice.
            if line.is_empty() {
                continue;
            }
            if line.contains(&root) || cgroups.contains(&bridge) {
                traces.push(format!("process {} {line}", entry.path().display()));
            }
        }
        let links: Vec<String> =
            self.cluster.nodes.iter().map(|n| local::link_name(&self.directory, &n.name)).collect();
        for entry in fs::read_dir("/sys/class/net").expect("links").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == bridge || links.contains(&name) {
                traces.push(format!("link {name}"));
            }
        }
        for folder in
            ["/run/netns", "/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"]
        {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&bridge) {
                    traces.push(entry.path().display().to_string());
                }
            }
        }
        let cgroups = Command::new("find")
            .args(["/sys/fs/cgroup", "-name", &format!("{bridge}*")])
            .output()
            .expect("find");
        traces.extend(
            String::from_utf8_lossy(&cgroups.stdout).lines().map(|line| format!("cgroup {line}")),
        );
        for path in [
            self.directory.local_nodes(),
            self.directory.known_hosts(),
            self.directory.ssh_identity(),
        ] {
            if path.exists() {
                traces.push(path.display().to_string());
            }
        }
        traces
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let directory = self.directory.clone();
        let down = move || {
            let (events, _told) = Events::channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(local::down(&directory, &events)).map(drop)
        };
        // Its own thread: the test's runtime is still there.
        let result = std::thread::spawn(down).join().expect("down does not panic");
        if !std::thread::panicking() {
            result.expect("the lab goes down");
        }
    }
}

/// The lab's bridge, which every other of its names begins with.
fn bridge(lab: &Lab) -> String {
    let namespace = local::namespace_name(&lab.directory, "x");
    namespace.split('-').next().expect("a name with a dash").to_owned()
}

/// This machine can run local nodes at all: said here, and not by what fails later.
fn can_run() {
    let root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    assert!(root, "local nodes need root");
    let path = std::env::var("PATH").expect("a PATH");
    for program in ["debootstrap", "systemd-nspawn", "ip", "ssh", "ssh-keygen"] {
        let found = path
            .split(':')
            .chain(["/usr/sbin", "/sbin"])
            .any(|place| Path::new(place).join(program).exists());
        assert!(found, "{program} is missing: run `make prerequisites`");
    }
}

/// Removes the nodes that a killed test has left: they have the addresses that these want.
async fn sweep() {
    for directory in owned::abandoned(Path::new("/var/tmp"), LEFT) {
        let (events, _told) = Events::channel();
        let lab = LabDirectory::new(directory.join("lab"));
        local::down(&lab, &events).await.unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        fs::remove_dir_all(&directory).expect("it can be removed");
    }
}

/// Asks again and again until `found` is true, for as long as a node takes to boot on a busy
/// machine.
fn eventually(what: &str, mut found: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !found() {
        assert!(Instant::now() < until, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_from_nothing_to_nothing() {
    can_run();
    sweep().await;
    let lab = Lab::new([10, 249, 0], &[("left", 11), ("right", 12)]);

    let up = lab.up().await.expect("the nodes come up");
    assert_eq!((up.started, up.running), (vec!["left".to_owned(), "right".to_owned()], vec![]));

    for node in ["left", "right"] {
        let state = lab.try_ssh(
            node,
            "systemctl is-system-running --wait; systemctl --failed --no-legend --plain",
        );
        assert_eq!(
            String::from_utf8_lossy(&state.stdout).trim(),
            "running",
            "{node} has failed units"
        );
        assert_eq!(lab.ssh(node, "hostname"), node);
        assert_eq!(
            lab.ssh(node, "systemctl is-active nginx || nginx -v 2>&1 | cut -d/ -f1"),
            "inactive\nnginx version: nginx"
        );
    }
    assert_ne!(lab.ssh("left", "cat /etc/machine-id"), lab.ssh("right", "cat /etc/machine-id"));

    // What Kubernetes is going to ask of a node.
    let right = lab.address("right");
    let needs = [
        format!("bash -c 'exec 3<>/dev/tcp/{right}/22 && head -c 4 <&3'"),
        "for c in /sys/fs/cgroup/*/; do mkdir $c/probe || exit; done; rmdir \
        /sys/fs/cgroup/*/probe"
            .into(),
        "cd /var/lib/containerd && mkdir l u w m && mount -t overlay o -o \
        lowerdir=l,upperdir=u,workdir=w m && umount m"
            .into(),
        "test -c /dev/kmsg".into(),
        "iptables -t nat -A POSTROUTING -s 10.200.0.0/16 -j MASQUERADE && iptables -t nat \
        -F"
        .into(),
        "ip link add vx0 type vxlan id 1 dstport 4789 dev eth0 && ip link delete vx0".into(),
        "echo 1 > /proc/sys/net/ipv4/ip_forward".into(),
        // A name lookup fails, and at once: neither a success nor a time-out.
        "timeout 2 getent hosts example.org; s=$?; [ $s != 0 ] && [ $s != 124 ]".into(),
    ];
    for need in needs {
        lab.ssh("left", &need);
    }
    assert_eq!(
        lab.ssh("left", &format!("bash -c 'exec 3<>/dev/tcp/{right}/22 && head -c 4 <&3'")),
        "SSH-"
    );

    let before = (lab.pid("left"), lab.pid("right"));
    let again = lab.up().await.expect("a second up");
    assert_eq!((again.started.len(), again.running.len()), (0, 2));
    assert_eq!((lab.pid("left"), lab.pid("right")), before);

    // A power failure.
    lab.ssh("left", "echo kept > /root/note; echo kept > /var/lib/kubelet/note; sync");
    let killed = Command::new("kill").args(["-9", &lab.pid("left")]).status().expect("kill");
    assert!(killed.success(), "the pid file names systemd-nspawn");
    eventually("the killed node is gone", || local::nodes(&lab.directory)[0].pid.is_none());
    let after = lab.up().await.expect("up after a power failure");
    assert_eq!((after.started, after.running), (vec!["left".to_owned()], vec!["right".to_owned()]));
    assert_eq!(lab.ssh("left", "cat /root/note /var/lib/kubelet/note"), "kept\nkept");
    assert_eq!(lab.pid("right"), before.1);

    // A reboot from inside.
    let booted = lab.ssh("right", "cat /proc/sys/kernel/random/boot_id");
    let _ = lab.try_ssh("right", "reboot");
    eventually("the node boots again", || {
        let now = lab.try_ssh("right", "cat /proc/sys/kernel/random/boot_id");
        now.status.success() && String::from_utf8_lossy(&now.stdout).trim() != booted
    });
    lab.ssh("right", "mkdir /sys/fs/cgroup/pids/probe 2>/dev/null || mkdir /sys/fs/cgroup/probe");
    assert_eq!(lab.up().await.expect("up after a reboot").started, Vec::<String>::new());

    // A node that the inventory knows no more goes as well.
    let down = lab.down().await.expect("the lab goes down");
    assert_eq!(down.removed, ["left", "right"]);
    assert_eq!(lab.traces(), Vec::<String>::new());
    assert_eq!(lab.down().await.expect("down with nothing there").removed, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_whose_directory_was_moved_or_deleted_is_found_and_removed_and_no_other_is_touched() {
    can_run();
    sweep().await;
    let lab = Lab::new([10, 246, 0], &[("left", 11), ("right", 12)]);
    let other = Lab::new([10, 245, 0], &[("left", 11)]);
    other.up().await.expect("another lab");
    let others = (other.pid("left"), other.ssh("left", "cat /proc/sys/kernel/random/boot_id"));
    let moved = lab.directory.root().with_file_name("moved");
    for deleted in [false, true] {
        lab.up().await.expect("the lab");
        assert!(local::check_not_lost(&lab.directory).is_ok());
        let pid = lab.pid("left");
        fs::rename(lab.directory.root(), &moved).expect("it moves");
        if deleted {
            // What a clean-up does that passes over what it cannot remove: the mounts stay.
            for node in ["left", "right"] {
                let state = moved.join("nodes").join(node);
                for file in fs::read_dir(&state)
                    .expect("its folder")
                    .flatten()
                    .filter(|it| it.path().is_file())
                {
                    fs::remove_file(file.path()).expect("it goes");
                }
            }
        }

        let lost =
            local::check_not_lost(&lab.directory).expect_err("the nodes run without their folders");
        let LocalError::Lost { nodes, moved: where_to, .. } = &lost else { panic!("{lost}") };
        assert_eq!(
            (nodes.join(" "), where_to.as_deref()),
            ("left right".to_owned(), Some(&*moved))
        );
        assert!(Path::new("/proc").join(&pid).exists(), "to ask ends nothing");

        let down = lab.down().await.expect("the lab goes down");
        assert_eq!(
            (down.removed.join(" "), down.moved.as_deref()),
            ("left right".to_owned(), Some(&*moved))
        );
        assert_eq!(lab.traces(), Vec::<String>::new());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
        assert!(
            !mounts.contains(&*moved.to_string_lossy()),
            "nothing stays mounted where it was moved to: {mounts}"
        );
        assert!(moved.join("nodes/left/upper").is_dir(), "what was moved is its owner's");
        assert!(local::check_not_lost(&lab.directory).is_ok(), "nothing is lost any more");
        assert_eq!(
            lab.down().await.expect("down with nothing there").removed,
            Vec::<String>::new()
        );
        fs::remove_dir_all(&moved).expect("it goes");
    }
    let now = (other.pid("left"), other.ssh("left", "cat /proc/sys/kernel/random/boot_id"));
    assert_eq!(now, others, "the lab beside runs as it did");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_labs_live_side_by_side_and_a_used_subnet_is_refused() {
    can_run();
    sweep().await;
    let one = Lab::new([10, 248, 0], &[("a", 11)]);
    let two = Lab::new([10, 247, 0], &[("a", 11)]);
    let three = Lab::new([10, 248, 0], &[("a", 12)]);
    one.up().await.expect("the first lab");
    two.up().await.expect("the second lab");
    assert_eq!((one.ssh("a", "hostname"), two.ssh("a", "hostname")), ("a".into(), "a".into()));

    let refused = three.up().await.expect_err("the first lab's subnet");
    let expected = format!(
        "local subnet 10.248.0.0/24 is already in use on this machine: the route to 10.248.0.0/24 \
        on {}; choose \
         another `local.subnet` in the inventory",
        bridge(&one)
    );
    assert_eq!(refused.to_string(), expected);

    one.down().await.expect("the first lab goes");
    assert_eq!(one.traces(), Vec::<String>::new());
    assert_eq!(two.ssh("a", "hostname"), "a");
    // Killed in the middle: half of it is missing, all of it goes.
    local::kill(&two.directory, "a").await.expect("a power failure");
    let namespace = local::namespace_name(&two.directory, "a");
    Command::new("ip").args(["netns", "delete", &namespace]).status().expect("ip");
    two.down().await.expect("the second lab goes");
    assert_eq!(two.traces(), Vec::<String>::new());
}
