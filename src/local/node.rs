//! One local node: its directory, its preparation, its start and its removal.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::cgroup::{self, Hierarchy, Layout};
use super::error::{LocalError, tail};
use super::names::Names;
use super::{keys, mounts, network, program};
use crate::cluster::{LocalNodes, Node, SecondSubnet};
use crate::node::{BESIDE, LAUNCH};

/// How long to wait for a killed node to exit.
const PATIENCE: Duration = Duration::from_secs(20);
/// Number of lines of a console log that an error quotes.
const QUOTED_LINES: usize = 25;

/// One node's directory in the lab directory, and the paths in it.
#[derive(Debug, Clone)]
pub(super) struct NodeFolder {
    names: Names,
    node: String,
    path: PathBuf,
}

/// What a node was last started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub address: IpAddr,
    pub subnet: IpNet,
    pub gateway: IpAddr,
    /// Its address of the second IP family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_address: Option<IpAddr>,
    /// The network of that, where the lab has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondSubnet>,
    /// The base image below its root; it must stay the same for the lifetime of the node.
    pub base: PathBuf,
}

impl Record {
    /// Returns what `node` is started with.
    pub fn of(node: &Node, local: &LocalNodes, base: PathBuf) -> Self {
        let LocalNodes { subnet, gateway, second, .. } = *local;
        let (address, second_address) = (node.address, node.second_address);
        Self { address, subnet, gateway, second_address, second, base }
    }

    /// Returns its addresses, each with its network.
    pub fn place(&self) -> String {
        let first = format!("{} in {}", self.address, self.subnet);
        match (self.second_address, self.second) {
            (Some(address), Some(second)) => format!("{first} and {address} in {}", second.subnet),
            _ => first,
        }
    }
}

impl NodeFolder {
    /// Returns the directory of `node` in `nodes`, which is a real path.
    pub fn new(names: &Names, nodes: &Path, node: &str) -> Self {
        Self { names: names.clone(), node: node.to_owned(), path: nodes.join(node) }
    }

    /// Returns the machine's name on this host.
    pub fn machine(&self) -> String {
        self.names.machine(&self.node)
    }

    /// Returns where the node's root is mounted.
    fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// Returns the log of the node's console since its start.
    fn console(&self) -> PathBuf {
        self.path.join("console.log")
    }

    /// Returns the private half of its host key, which is also copied to the node.
    pub fn host_key(&self) -> PathBuf {
        self.path.join("ssh_host_ed25519_key")
    }

    /// Returns the marker file that exists once the node's sshd has answered since the last boot.
    pub fn ready(&self) -> PathBuf {
        self.path.join("ready")
    }

    fn record_file(&self) -> PathBuf {
        self.path.join("node.json")
    }

    /// Returns what the node was last started with; `None` if it never was.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_file()).ok()?).ok()
    }

    /// Returns systemd-nspawn's process if the node is running. A process id that another program
    /// has reused does not count.
    pub fn pid(&self) -> Option<Pid> {
        let number: i32 = fs::read_to_string(self.path.join("pid")).ok()?.trim().parse().ok()?;
        let arguments = fs::read(format!("/proc/{number}/cmdline")).ok()?;
        let directory = format!("--directory={}", self.root().display());
        let ours =
            arguments.split(|byte| *byte == 0).any(|argument| argument == directory.as_bytes());
        if ours { Pid::from_raw(number) } else { None }
    }

    /// Returns the cgroups that were recorded at its start, and those found by name.
    fn cgroups(&self, hierarchies: &[Hierarchy]) -> Vec<PathBuf> {
        let machine = self.machine();
        let recorded = fs::read_to_string(self.path.join("cgroups")).unwrap_or_default();
        let mut cgroups: Vec<PathBuf> = recorded.lines().map(PathBuf::from).collect();
        cgroups.extend(cgroup::folders(hierarchies, &machine));
        cgroups.retain(|folder| cgroup::is_of(folder, &machine));
        cgroups.sort();
        cgroups.dedup();
        cgroups
    }

    /// Builds the error for a node that did not come up, with the end of its console log.
    pub fn boot_error(&self, reason: impl Into<String>) -> LocalError {
        let console = self.console();
        let log = fs::read(&console).unwrap_or_default();
        let tail = tail(&String::from_utf8_lossy(&log), QUOTED_LINES);
        LocalError::Boot { node: self.node.clone(), reason: reason.into(), console, tail }
    }

    /// Returns the exit status of a node that exited on its own.
    pub fn ended(&self) -> Option<String> {
        fs::read_to_string(self.path.join("ended")).ok().map(|status| status.trim().to_owned())
    }

    /// Kills the node as a power failure would, and waits until all its processes have exited. Its
    /// data stays. Blocks.
    pub fn kill(&self) -> Result<(), LocalError> {
        let stuck = |what: String| LocalError::Stuck { node: self.node.clone(), what };
        if let Some(pid) = self.pid() {
            // An error means that it has already exited.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        let cgroups = self.cgroups(&cgroup::hierarchies()?);
        cgroup::end(&cgroups)
            .map_err(|left| stuck(format!("processes stay in {}", left.display())))?;
        let until = Instant::now() + PATIENCE;
        while let Some(pid) = self.pid() {
            if Instant::now() > until {
                return Err(stuck(format!("process {} does not exit", pid.as_raw_nonzero())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for file in ["pid", "ready", "ended", "cgroups"] {
            let path = self.path.join(file);
            remove_if_there(&path)?;
        }
        Ok(())
    }

    /// Stops the node and removes everything that was created for it on this machine. Blocks.
    pub fn remove(&self) -> Result<(), LocalError> {
        self.kill()?;
        let machine = self.machine();
        forget_nspawn(&self.root(), &machine)?;
        network::remove_node(&self.names.link(&self.node), &machine)?;
        mounts::remove_folder(&self.path)
    }

    /// Prepares the node's root and starts it. Its network must exist. Blocks.
    pub fn start(&self, start: &Start<'_>) -> Result<(), LocalError> {
        // A killed run or a killed node may have left processes and cgroups.
        self.kill()?;
        for (folder, mode) in [
            ("upper", 0o755),
            ("work", 0o700),
            ("root", 0o755),
            ("containerd", 0o711),
            ("kubelet", 0o750),
            ("beside", 0o700),
        ] {
            let folder = self.path.join(folder);
            if !folder.is_dir() {
                fs::create_dir_all(&folder).map_err(LocalError::io("make", &folder))?;
                set_mode(&folder, mode)?;
            }
        }
        let base = match self.record() {
            Some(record) if record.base.is_dir() => record.base,
            _ => start.base.to_owned(),
        };
        if !mounts::is_mounted(&self.root())? {
            mounts::overlay(
                &base,
                &self.path.join("upper"),
                &self.path.join("work"),
                &self.root(),
            )?;
        }
        self.furnish(start)?;
        let record = Record::of(start.node, start.local, base);
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        put(&self.record_file(), &text, 0o600)?;
        self.launch()
    }

    /// Writes the files that differ from node to node.
    fn furnish(&self, start: &Start<'_>) -> Result<(), LocalError> {
        let root = self.root();
        keys::ensure(&self.host_key(), &format!("root@{}", self.node))?;
        let key = fs::read(self.host_key()).map_err(LocalError::io("read", &self.host_key()))?;
        let public = keys::public(&self.host_key());
        let public = fs::read(&public).map_err(LocalError::io("read", &public))?;
        self.put_in(&root, "etc/ssh/ssh_host_ed25519_key", &key, 0o600)?;
        self.put_in(&root, "etc/ssh/ssh_host_ed25519_key.pub", &public, 0o644)?;
        self.put_in(&root, "etc/hostname", format!("{}\n", self.node).as_bytes(), 0o644)?;
        self.put_in(
            &root,
            "etc/machine-id",
            format!("{}\n", self.names.machine_id(&self.node)).as_bytes(),
            0o444,
        )?;
        if self.record().is_none() {
            // Nothing listens at this address, so a lookup fails at once instead of after many
            // seconds. Written only the first time, because the user may have configured a better
            // resolver since.
            let resolver =
                format!("nameserver {}\noptions timeout:1 attempts:1\n", start.local.gateway);
            self.put_in(&root, "etc/resolv.conf", resolver.as_bytes(), 0o644)?;
        }
        let ssh = root.join("root/.ssh");
        if !ssh.is_dir() {
            fs::create_dir(&ssh).map_err(LocalError::io("make", &ssh))?;
            set_mode(&ssh, 0o700)?;
        }
        let authorized = fs::read_to_string(ssh.join("authorized_keys")).unwrap_or_default();
        let mut lines: Vec<&str> = authorized.lines().collect();
        for key in start.authorized {
            if !lines.contains(&key.as_str()) {
                lines.push(key);
            }
        }
        self.put_in(
            &root,
            "root/.ssh/authorized_keys",
            format!("{}\n", lines.join("\n")).as_bytes(),
            0o600,
        )
    }

    /// Writes a file of the node from outside. Symbolic links in the node must not redirect the
    /// write to the host's files.
    fn put_in(&self, root: &Path, path: &str, content: &[u8], mode: u32) -> Result<(), LocalError> {
        let path = root.join(path);
        let folder = path.parent().unwrap_or(root);
        let real = fs::canonicalize(folder).map_err(LocalError::io("find", folder))?;
        if !real.starts_with(root) {
            let outside = io::Error::other("it is a symbolic link that leads out of the node");
            return Err(LocalError::io("write into", folder)(outside));
        }
        put(&path, content, mode)
    }

    fn launch(&self) -> Result<(), LocalError> {
        let hierarchies = cgroup::hierarchies()?;
        let layout = cgroup::layout(&hierarchies);
        let machine = self.machine();
        // Where systemd runs and only version 2 is mounted, systemd alone manages cgroups.
        let scope = layout == Layout::Unified && Path::new("/run/systemd/system").is_dir();
        if !scope {
            // Recorded before they are created, so that a later run finds them from any cgroup
            // after a killed run.
            let folders = cgroup::folders(&hierarchies, &machine);
            let text: String =
                folders.iter().map(|folder| format!("{}\n", folder.display())).collect();
            put(&self.path.join("cgroups"), text.as_bytes(), 0o600)?;
            cgroup::create(&hierarchies, &machine)?;
        }
        put(&self.path.join("launch.sh"), LAUNCH.as_bytes(), 0o600)?;
        let console = self.console();
        let log = File::create(&console).map_err(LocalError::io("open", &console))?;
        let errors = log.try_clone().map_err(LocalError::io("open", &console))?;
        let (program, arguments) = self.launch_command(layout, scope);
        let mut command = program::command(program);
        command.args(arguments).current_dir("/").stdout(log).stderr(errors);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "yes");
        command.env(
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY",
            if layout == Layout::Unified { "yes" } else { "no" },
        );
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.boot_error(format!("its launcher failed with {status}"))),
            Err(error) => {
                Err(self.boot_error(format!("its launcher could not be started: {error}")))
            }
        }
    }

    /// Returns the program that starts the node, and its arguments.
    fn launch_command(&self, layout: Layout, scope: bool) -> (&'static str, Vec<String>) {
        let machine = self.machine();
        let mut arguments = Vec::new();
        if scope {
            arguments.extend(
                ["--quiet", "--scope", "--collect", "--property=Delegate=yes"].map(String::from),
            );
            arguments.extend([format!("--unit={machine}"), "sh".into()]);
        }
        let layout = match (layout, scope) {
            (Layout::Legacy, _) => "legacy",
            (Layout::Unified, false) => "unified",
            (Layout::Unified, true) => "scope",
        };
        let path = |name: &str| self.path.join(name).display().to_string();
        arguments.extend([
            path("launch.sh"),
            "enter".into(),
            self.path.display().to_string(),
            layout.into(),
        ]);
        // A colon separates the two sides of a bind mount.
        let bind = |name: &str, to: &str| format!("--bind={}:{to}", path(name).replace(':', "\\:"));
        arguments.extend([
            "systemd-nspawn".into(),
            "--quiet".into(),
            "--boot".into(),
            format!("--directory={}", self.root().display()),
            format!("--machine={machine}"),
            format!("--hostname={}", self.node),
            format!("--network-namespace-path={}", network::namespace(&machine).display()),
            "--register=no".into(),
            "--keep-unit".into(),
            "--capability=all".into(),
            // The container runtime creates keyrings and loads device filters.
            "--system-call-filter=add_key keyctl bpf".into(),
            "--resolv-conf=off".into(),
            "--timezone=off".into(),
            "--link-journal=no".into(),
            "--console=read-only".into(),
            // Image layers are overlays, and overlays cannot be stacked on an overlay.
            bind("containerd", "/var/lib/containerd"),
            bind("kubelet", "/var/lib/kubelet"),
            // Binaries that need not be sent to a node that is on this machine.
            bind("beside", BESIDE).replacen("--bind=", "--bind-ro=", 1),
        ]);
        // kubelet needs the kernel log, and other programs need the modules' directory. Not every
        // host has them.
        if Path::new("/dev/kmsg").exists() {
            arguments.push("--bind=/dev/kmsg".into());
        }
        if Path::new("/lib/modules").is_dir() {
            arguments.push("--bind-ro=/lib/modules".into());
        }
        (if scope { "systemd-run" } else { "sh" }, arguments)
    }
}

/// Removes what systemd-nspawn keeps of a machine. It does so itself when it exits, but not when it
/// is killed.
pub(super) fn forget_nspawn(root: &Path, machine: &str) -> Result<(), LocalError> {
    if let Ok(root) = fs::metadata(root) {
        remove_if_there(Path::new(&format!(
            "/run/systemd/nspawn/locks/inode-{}:{}",
            root.dev(),
            root.ino()
        )))?;
    }
    for folder in ["propagate", "unix-export"] {
        // Removes only an empty directory; any other one is not ours.
        let _ = fs::remove_dir(Path::new("/run/systemd/nspawn").join(folder).join(machine));
    }
    Ok(())
}

/// What a node is started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    /// The node.
    pub node: &'a Node,
    /// The network of the lab's local nodes.
    pub local: &'a LocalNodes,
    /// The base image for a node that does not have one yet.
    pub base: &'a Path,
    /// Public keys that may log in as root.
    pub authorized: &'a [String],
}

/// Writes a file atomically, unless it already has this content. Replaces a symbolic link instead
/// of following it.
fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), LocalError> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    if is_file && fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(folder)?;
        file.write_all(content)?;
        // The umask may have removed bits.
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(LocalError::io("write", path))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), LocalError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(LocalError::io("set the mode of", path))
}

fn remove_if_there(path: &Path) -> Result<(), LocalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::LabDirectory;

    fn folder(path: &Path) -> NodeFolder {
        NodeFolder::new(&Names::of(&LabDirectory::new(path)), &path.join("nodes"), "a")
    }

    #[test]
    fn a_process_of_another_program_is_not_the_node() {
        let lab = tempfile::tempdir().expect("a temporary directory");
        let node = folder(lab.path());
        fs::create_dir_all(&node.path).expect("the node's directory");
        assert_eq!(node.pid(), None);
        fs::write(node.path.join("pid"), format!("{}\n", std::process::id())).expect("a pid file");
        assert_eq!(node.pid(), None);
        fs::write(node.path.join("pid"), "not a number").expect("a pid file");
        assert_eq!(node.pid(), None);
    }

    #[test]
    fn a_recorded_cgroup_that_is_not_the_nodes_is_left_alone() {
        let lab = tempfile::tempdir().expect("a temporary directory");
        let node = folder(lab.path());
        fs::create_dir_all(&node.path).expect("the node's directory");
        let own = format!("/sys/fs/cgroup/cpu/{}", node.machine());
        fs::write(node.path.join("cgroups"), format!("/sys/fs/cgroup/\n/\n\n{own}\n"))
            .expect("a record");
        assert_eq!(node.cgroups(&[]), [PathBuf::from(own)]);
    }

    #[test]
    fn writing_into_a_node_never_follows_its_links() {
        let lab = tempfile::tempdir().expect("a temporary directory");
        let (root, host) = (lab.path().join("root"), lab.path().join("host"));
        fs::create_dir_all(root.join("etc")).expect("a directory");
        fs::create_dir_all(&host).expect("a directory");
        std::os::unix::fs::symlink(host.join("resolv.conf"), root.join("etc/resolv.conf"))
            .expect("a link");
        std::os::unix::fs::symlink(&host, root.join("out")).expect("a link");
        let node = folder(lab.path());
        node.put_in(&root, "etc/resolv.conf", b"mine", 0o644).expect("writing over a link");
        assert_eq!(fs::read(root.join("etc/resolv.conf")).expect("the file"), b"mine");
        node.put_in(&root, "out/file", b"mine", 0o644).expect_err("a directory outside the node");
        assert_eq!(fs::read_dir(&host).expect("the host's directory").count(), 0);
    }

    #[test]
    fn the_launcher_uses_systemd_only_where_it_must() {
        let node = folder(Path::new("/labs/a:b"));
        let (program, plain) = node.launch_command(Layout::Legacy, false);
        assert_eq!((program, plain[1].as_str(), plain[3].as_str()), ("sh", "enter", "legacy"));
        assert!(
            plain.contains(&"--bind=/labs/a\\:b/nodes/a/containerd:/var/lib/containerd".to_owned())
        );
        assert!(
            plain.contains(&format!("--bind-ro=/labs/a\\:b/nodes/a/beside:{BESIDE}")),
            "a node only reads it"
        );
        let (program, scoped) = node.launch_command(Layout::Unified, true);
        assert_eq!(program, "systemd-run");
        assert!(scoped.contains(&format!("--unit={}", node.machine())));
        assert!(scoped.contains(&"scope".to_owned()));
    }
}
