//! One local node: its folder, how it is prepared and started, and how it ends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::cgroup::{self, Hierarchy, Layout};
use super::error::{LocalError, tail};
use super::names::Names;
use super::{keys, mounts, network, program};
use crate::cluster::{LocalNodes, Node};
use crate::node::LAUNCH;

/// How long a killed node may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of a console log an error quotes.
const QUOTED_LINES: usize = 25;

/// One node's folder in the lab directory, and what lies where in it.
#[derive(Debug, Clone)]
pub(super) struct NodeFolder {
    names: Names,
    node: String,
    path: PathBuf,
}

/// What a node was last started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub address: Ipv4Addr,
    pub subnet: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// The base image that its root lies over: it must stay the same for as long as the node lives.
    pub base: PathBuf,
}

impl NodeFolder {
    /// The folder of `node` under `nodes` (a real path).
    pub fn new(names: &Names, nodes: &Path, node: &str) -> Self {
        Self { names: names.clone(), node: node.to_owned(), path: nodes.join(node) }
    }

    /// The machine's name on this host.
    pub fn machine(&self) -> String {
        self.names.machine(&self.node)
    }

    /// Where the node's root is mounted.
    fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// What the node printed on its console since it was started.
    fn console(&self) -> PathBuf {
        self.path.join("console.log")
    }

    /// Private half of its host key; the node has a copy.
    pub fn host_key(&self) -> PathBuf {
        self.path.join("ssh_host_ed25519_key")
    }

    /// There once the node's sshd has answered since its last boot.
    pub fn ready(&self) -> PathBuf {
        self.path.join("ready")
    }

    fn record_file(&self) -> PathBuf {
        self.path.join("node.json")
    }

    /// What the node was last started with; `None` when it never was.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_file()).ok()?).ok()
    }

    /// systemd-nspawn's process, when the node runs. A process id that someone else has by now does
    /// not count.
    pub fn pid(&self) -> Option<Pid> {
        let number: i32 = fs::read_to_string(self.path.join("pid")).ok()?.trim().parse().ok()?;
        let arguments = fs::read(format!("/proc/{number}/cmdline")).ok()?;
        let directory = format!("--directory={}", self.root().display());
        let ours =
            arguments.split(|byte| *byte == 0).any(|argument| argument == directory.as_bytes());
        if ours { Pid::from_raw(number) } else { None }
    }

    /// The cgroups that were recorded when it was started, and those found by name.
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

    /// Why the node did not come up, with the end of its console.
    pub fn boot_error(&self, reason: impl Into<String>) -> LocalError {
        let console = self.console();
        let log = fs::read(&console).unwrap_or_default();
        let tail = tail(&String::from_utf8_lossy(&log), QUOTED_LINES);
        LocalError::Boot { node: self.node.clone(), reason: reason.into(), console, tail }
    }

    /// The exit status of a node that ended by itself.
    pub fn ended(&self) -> Option<String> {
        fs::read_to_string(self.path.join("ended")).ok().map(|status| status.trim().to_owned())
    }

    /// Ends the node as a power failure does, and waits until nothing of it runs. Its data stays.
    /// Blocks.
    pub fn kill(&self) -> Result<(), LocalError> {
        let stuck = |what: String| LocalError::Stuck { node: self.node.clone(), what };
        if let Some(pid) = self.pid() {
            // It may have ended meanwhile: what was wanted.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        let cgroups = self.cgroups(&cgroup::hierarchies()?);
        cgroup::end(&cgroups)
            .map_err(|left| stuck(format!("processes stay in {}", left.display())))?;
        let until = Instant::now() + PATIENCE;
        while let Some(pid) = self.pid() {
            if Instant::now() > until {
                return Err(stuck(format!("process {} does not end", pid.as_raw_nonzero())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for file in ["pid", "ready", "ended", "cgroups"] {
            let path = self.path.join(file);
            remove_if_there(&path)?;
        }
        Ok(())
    }

    /// Ends the node and removes everything that was made for it on this machine. Blocks.
    pub fn remove(&self) -> Result<(), LocalError> {
        self.kill()?;
        let machine = self.machine();
        forget_nspawn(&self.root(), &machine)?;
        network::remove_node(&self.names.link(&self.node), &machine)?;
        mounts::remove_folder(&self.path)
    }

    /// Prepares the node's root and starts it. Its network is there already. Blocks.
    pub fn start(&self, start: &Start<'_>) -> Result<(), LocalError> {
        // A killed run or a killed node may have left processes and cgroups.
        self.kill()?;
        for (folder, mode) in [
            ("upper", 0o755),
            ("work", 0o700),
            ("root", 0o755),
            ("containerd", 0o711),
            ("kubelet", 0o750),
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
        let record = Record {
            address: start.node.address,
            subnet: start.local.subnet,
            gateway: start.local.gateway,
            base,
        };
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        put(&self.record_file(), &text, 0o600)?;
        self.launch()
    }

    /// Writes what makes this node different from every other.
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
            // Nothing listens there, so a lookup fails at once instead of after many seconds. Only
            // the first time: a person may have set up something better since.
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

    /// Writes a file of the node from outside. The node's own links must not lead the writing to
    /// the host's files.
    fn put_in(&self, root: &Path, path: &str, content: &[u8], mode: u32) -> Result<(), LocalError> {
        let path = root.join(path);
        let folder = path.parent().unwrap_or(root);
        let real = fs::canonicalize(folder).map_err(LocalError::io("find", folder))?;
        if !real.starts_with(root) {
            let outside = io::Error::other("it is a link that leads out of the node");
            return Err(LocalError::io("write into", folder)(outside));
        }
        put(&path, content, mode)
    }

    fn launch(&self) -> Result<(), LocalError> {
        let hierarchies = cgroup::hierarchies()?;
        let layout = cgroup::layout(&hierarchies);
        let machine = self.machine();
        // systemd alone decides about cgroups on a host where it runs and version 2 is all there
        // is.
        let scope = layout == Layout::Unified && Path::new("/run/systemd/system").is_dir();
        if !scope {
            // Recorded before they are made: a killed run's cgroups are found from any other cgroup
            // too.
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
            Ok(status) => Err(self.boot_error(format!("its launcher ended with {status}"))),
            Err(error) => {
                Err(self.boot_error(format!("its launcher could not be started: {error}")))
            }
        }
    }

    /// The program that starts the node, and its arguments.
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
            // The container runtime makes keyrings and loads device filters.
            "--system-call-filter=add_key keyctl bpf".into(),
            "--resolv-conf=off".into(),
            "--timezone=off".into(),
            "--link-journal=no".into(),
            "--console=read-only".into(),
            // Image layers are overlays, and an overlay cannot lie over another.
            bind("containerd", "/var/lib/containerd"),
            bind("kubelet", "/var/lib/kubelet"),
        ]);
        // kubelet wants the kernel's log; tools want the modules' folder. Not every host has them.
        if Path::new("/dev/kmsg").exists() {
            arguments.push("--bind=/dev/kmsg".into());
        }
        if Path::new("/lib/modules").is_dir() {
            arguments.push("--bind-ro=/lib/modules".into());
        }
        (if scope { "systemd-run" } else { "sh" }, arguments)
    }
}

/// Removes what systemd-nspawn keeps of a machine: it does so when it ends by itself, not when it
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
        // Only ever an empty folder; one that is not is not ours.
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
    /// The base image for a node that has none yet.
    pub base: &'a Path,
    /// Public keys that may log in as root.
    pub authorized: &'a [String],
}

/// Writes a file that appears whole or not at all, unless it is so already. Replaces a link, never
/// follows one.
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
        // The umask may have taken bits away.
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
    fn a_process_of_someone_else_is_not_the_node() {
        let lab = tempfile::tempdir().expect("a temporary folder");
        let node = folder(lab.path());
        fs::create_dir_all(&node.path).expect("the node's folder");
        assert_eq!(node.pid(), None);
        fs::write(node.path.join("pid"), format!("{}\n", std::process::id())).expect("a pid file");
        assert_eq!(node.pid(), None);
        fs::write(node.path.join("pid"), "not a number").expect("a pid file");
        assert_eq!(node.pid(), None);
    }

    #[test]
    fn a_recorded_cgroup_that_is_not_the_nodes_is_left_alone() {
        let lab = tempfile::tempdir().expect("a temporary folder");
        let node = folder(lab.path());
        fs::create_dir_all(&node.path).expect("the node's folder");
        let own = format!("/sys/fs/cgroup/cpu/{}", node.machine());
        fs::write(node.path.join("cgroups"), format!("/sys/fs/cgroup/\n/\n\n{own}\n"))
            .expect("a record");
        assert_eq!(node.cgroups(&[]), [PathBuf::from(own)]);
    }

    #[test]
    fn writing_into_a_node_never_follows_its_links() {
        let lab = tempfile::tempdir().expect("a temporary folder");
        let (root, host) = (lab.path().join("root"), lab.path().join("host"));
        fs::create_dir_all(root.join("etc")).expect("a folder");
        fs::create_dir_all(&host).expect("a folder");
        std::os::unix::fs::symlink(host.join("resolv.conf"), root.join("etc/resolv.conf"))
            .expect("a link");
        std::os::unix::fs::symlink(&host, root.join("out")).expect("a link");
        let node = folder(lab.path());
        node.put_in(&root, "etc/resolv.conf", b"mine", 0o644).expect("writing over a link");
        assert_eq!(fs::read(root.join("etc/resolv.conf")).expect("the file"), b"mine");
        node.put_in(&root, "out/file", b"mine", 0o644).expect_err("a folder outside of the node");
        assert_eq!(fs::read_dir(&host).expect("the host's folder").count(), 0);
    }

    #[test]
    fn the_launcher_goes_through_systemd_only_where_it_must() {
        let node = folder(Path::new("/labs/a:b"));
        let (program, plain) = node.launch_command(Layout::Legacy, false);
        assert_eq!((program, plain[1].as_str(), plain[3].as_str()), ("sh", "enter", "legacy"));
        assert!(
            plain.contains(&"--bind=/labs/a\\:b/nodes/a/containerd:/var/lib/containerd".to_owned())
        );
        let (program, scoped) = node.launch_command(Layout::Unified, true);
        assert_eq!(program, "systemd-run");
        assert!(scoped.contains(&format!("--unit={}", node.machine())));
        assert!(scoped.contains(&"scope".to_owned()));
    }
}
