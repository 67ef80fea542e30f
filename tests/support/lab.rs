//! A real lab for a test: one of the shipped inventories in a folder of its own, worked on with the
//! real program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

#[path = "owned.rs"]
mod owned;

/// One lab at a time: they share this machine's two or four processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A lab that is taken down when the test ends, however it ends.
pub struct Lab {
    pub name: &'static str,
    folder: tempfile::TempDir,
    host: BTreeSet<String>,
    _owner: File,
    /// None for a lab beside another, whose turn it is.
    _turn: Option<MutexGuard<'static, ()>>,
}

/// A moment of a run: what it is called, and how its event is recognised.
pub type Moment = (&'static str, fn(&Value) -> bool);

/// A run of a verb that reports events.
pub struct Run {
    pub code: Option<i32>,
    pub events: Vec<Value>,
    pub stderr: String,
}

impl Lab {
    /// The shipped inventory `name`, with the bundle that `make bundle` has put beside the sources.
    pub fn new(name: &'static str) -> Self {
        Self::changed(name, &[])
    }

    /// A shipped inventory with some of its text replaced.
    pub fn changed(name: &'static str, replaced: &[(&str, &str)]) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sweep();
        Self::made(name, replaced, Some(turn))
    }

    /// Another lab, for a story that has both.
    pub fn beside(&self, name: &'static str) -> Self {
        let mut lab = Self::made(name, &[], None);
        lab.host.clone_from(&self.host);
        lab
    }

    fn made(
        name: &'static str,
        replaced: &[(&str, &str)],
        turn: Option<MutexGuard<'static, ()>>,
    ) -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let bundle =
            sources.join("bundle").canonicalize().expect("there is a bundle: run `make bundle`");
        let (folder, owner) = owned::directory(Path::new(env!("CARGO_TARGET_TMPDIR")), "lab-");
        let text = fs::read_to_string(sources.join(format!("inventories/{name}.yaml")))
            .expect("a shipped inventory");
        assert!(
            text.contains("bundle: ../bundle"),
            "{name}.yaml names the bundle beside the sources"
        );
        let mut text = text.replace("bundle: ../bundle", &format!("bundle: {}", bundle.display()));
        // Nor are the folders that it names beside this one.
        let beside = sources.join("inventories").display().to_string();
        for key in ["playbooks", "templates"] {
            text = text.replace(&format!("\n{key}: "), &format!("\n{key}: {beside}/"));
        }
        let text = text.replace("\naddons: [./", &format!("\naddons: [{beside}/"));
        // Other networks than the shipped ones, so that a lab from `make demo` may run beside.
        let mut text = text.replace("10.24", "10.23").replace("172.30.", "172.29.");
        for (old, new) in replaced {
            assert!(text.contains(old), "{name}.yaml has `{old}`");
            text = text.replace(old, new);
        }
        fs::write(folder.path().join("inventory.yaml"), text).expect("an inventory");
        Self { name, folder, host: host(), _owner: owner, _turn: turn }
    }

    pub fn directory(&self) -> PathBuf {
        self.folder.path().join(".labctl").join(self.name)
    }

    /// The lab's folder, with the inventory in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// labctl, in the lab's folder.
    pub fn labctl(&self, arguments: &[&str]) -> Command {
        labctl(self.folder.path(), &[env!("CARGO_BIN_EXE_labctl")], arguments)
    }

    /// As [`Lab::labctl`], for what must have ended after a quarter of an hour.
    fn labctl_in_time(&self, arguments: &[&str]) -> Command {
        labctl(
            self.folder.path(),
            &["timeout", "--kill-after=10", "900", env!("CARGO_BIN_EXE_labctl")],
            arguments,
        )
    }

    /// Runs a verb to its end and gathers its events.
    pub fn run(&self, verb: &[&str]) -> Run {
        let output =
            self.labctl_in_time(verb).args(["--output", "json"]).output().expect("labctl starts");
        let in_time = !matches!(output.status.code(), None | Some(124 | 137));
        assert!(
            in_time,
            "labctl {verb:?} on {} does not end: {}",
            self.name,
            String::from_utf8_lossy(&output.stdout)
        );
        let stdout = String::from_utf8_lossy(&output.stdout);
        let events = stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        Run {
            code: output.status.code(),
            events,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a verb that must succeed.
    pub fn must(&self, verb: &[&str]) -> Run {
        let run = self.run(verb);
        assert_eq!(run.code, Some(0), "labctl {verb:?} on {}:\n{}", self.name, run.story());
        run
    }

    /// Starts `up`: its process, and the lines of its events.
    pub fn up_begun(&self) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut command = self.labctl(&["up", "--output", "json"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("labctl starts");
        let events = BufReader::new(child.stdout.take().expect("its output"));
        (child, events.lines())
    }

    /// Starts `up` and kills it, as a power failure of the workstation would, at the first event
    /// that is one of `moments`. Which one it was; `None` when the run got through.
    pub fn up_killed_at_first(&self, moments: &[Moment]) -> Option<usize> {
        let (mut child, events) = self.up_begun();
        for line in events {
            let event: Value = serde_json::from_str(&line.expect("a line")).expect("an event");
            if let Some(index) = moments.iter().position(|(_, moment)| moment(&event)) {
                child.kill().expect("it runs");
                child.wait().expect("it ends");
                return Some(index);
            }
        }
        let ended = child.wait().expect("it ends");
        assert!(ended.success(), "the run that was not killed ended with {ended}");
        None
    }

    /// Starts a verb and kills it, as a power failure of the workstation would, at the first event
    /// that `moment` picks. It must come to that.
    pub fn kill_at(&self, verb: &[&str], moment: fn(&Value) -> bool) {
        let mut errors = tempfile::tempfile().expect("a file");
        let mut child = self
            .labctl(verb)
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .stderr(errors.try_clone().expect("the same file"))
            .spawn()
            .expect("labctl starts");
        let mut events: Vec<Value> = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
            let event = serde_json::from_str(&line.expect("a line")).expect("an event");
            if moment(&event) {
                child.kill().expect("it runs");
                child.wait().expect("it ends");
                return;
            }
            events.push(event);
        }
        let code = child.wait().expect("it ends").code();
        let mut stderr = String::new();
        errors.rewind().expect("its beginning");
        errors.read_to_string(&mut stderr).expect("its errors");
        let run = Run { code, events, stderr };
        panic!("labctl {verb:?} on {} ended before it was killed: {}", self.name, run.story());
    }

    /// Starts `up`, asks it to stop as Ctrl-C does at the first event that `moment` picks, and lets
    /// it end.
    pub fn up_stopped_at(&self, moment: fn(&Value) -> bool) -> Run {
        let (mut child, lines) = self.up_begun();
        let mut asked = false;
        let mut events: Vec<Value> = Vec::new();
        for line in lines {
            let event = serde_json::from_str(&line.expect("a line")).expect("an event");
            if !asked && moment(&event) {
                said("kill", &["-INT", &child.id().to_string()]);
                asked = true;
            }
            events.push(event);
        }
        Run { code: child.wait().expect("it ends").code(), events, stderr: String::new() }
    }

    /// Runs a command on a node over SSH; its standard output.
    pub fn on(&self, node: &str, command: &str) -> String {
        let output = self
            .labctl_in_time(&["ssh", "inventory.yaml", node, "--", command])
            .output()
            .expect("ssh starts");
        assert!(
            output.status.success(),
            "{node}: {command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a command on a node that may be out of reach; its standard output when it succeeds.
    pub fn try_on(&self, node: &str, command: &str) -> Option<String> {
        let output = self
            .labctl(&["ssh", "inventory.yaml", node, "--", command])
            .output()
            .expect("ssh starts");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// kubectl on this machine with the lab's kubeconfig, through the lab's endpoint.
    pub fn kubectl(&self, arguments: &str) -> Output {
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/bin/kubectl"))
            .args(arguments.split(' '))
            .env("KUBECONFIG", self.directory().join("admin.conf"))
            .output()
            .expect("kubectl starts")
    }

    /// What kubectl prints, which must succeed.
    pub fn kubectl_says(&self, arguments: &str) -> String {
        let output = self.kubectl(arguments);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments}: {why}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Whether a condition comes true within two minutes.
    pub fn within_two_minutes(&self, condition: impl Fn() -> bool) -> bool {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while std::time::Instant::now() < end {
            if condition() {
                return true;
            }
        }
        false
    }

    /// The process of a node.
    pub fn pid(&self, node: &str) -> i32 {
        let text = fs::read_to_string(self.directory().join("nodes").join(node).join("pid"))
            .expect("a pid file");
        text.trim().parse().expect("a pid")
    }

    /// The names of the lab's nodes.
    pub fn nodes(&self) -> Vec<String> {
        let folder = fs::read_dir(self.directory().join("nodes")).expect("there are nodes");
        let mut names: Vec<String> = folder
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| entry.path().join("pid").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// When each of labctl's units was last started, by node and unit.
    pub fn start_times(&self) -> BTreeMap<String, String> {
        let units = "etcd kube-apiserver kube-controller-manager kube-scheduler nginx containerd \
            kubelet kube-proxy \
                     labctl-pod-network";
        let show = format!(
            "systemctl show -p Id -p ActiveState -p ActiveEnterTimestampMonotonic -p MainPID \
            {units}"
        );
        self.nodes().into_iter().map(|node| (node.clone(), self.on(&node, &show))).collect()
    }

    /// Traces of this lab on this machine: what `down` must not leave.
    pub fn traces(&self) -> Vec<String> {
        let folder =
            self.folder.path().canonicalize().expect("the test's folder").display().to_string();
        let prefix = self.machine_prefix();
        let mut traces = Vec::new();
        for process in fs::read_dir("/proc").expect("proc").flatten() {
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            // What runs inside of a node does not say so on its command line, but the node's file
            // system is its root.
            let mounts = fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
            if command.contains(&folder) || command.contains(&prefix) || mounts.contains(&folder) {
                traces.push(format!("{}: {command}", process.path().display()));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let of_lab = |line: &&str| line.contains(&folder) || line.contains(&prefix);
        traces.extend(mounts.lines().filter(of_lab).map(|line| format!("mount {line}")));
        let now = host();
        traces.extend(now.difference(&self.host).cloned());
        traces.extend(self.host.difference(&now).map(|line| format!("{line}, before")));
        let left = fs::read_dir(self.folder.path()).expect("the test's folder").flatten();
        traces.extend(
            left.filter(|e| e.file_name() != "inventory.yaml" && e.file_name() != owned::OWNER)
                .map(|e| format!("directory {}", e.path().display())),
        );
        traces
    }

    /// What the names of links, namespaces and machines of this lab begin with, once it has been
    /// up.
    pub fn machine_prefix(&self) -> String {
        let lab = labctl::lab::LabDirectory::new(
            self.folder.path().canonicalize().expect("a folder").join(".labctl").join(self.name),
        );
        let whole = labctl::local::namespace_name(&lab, "x");
        whole.trim_end_matches("-x").to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.labctl(down(self.folder.path())).output();
    }
}

impl Run {
    /// Every event of a kind.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// The last event of the run.
    pub fn summary(&self) -> &Value {
        self.all("run_ended").next().expect("the run ended by itself")
    }

    /// Tasks that changed something, over all nodes.
    pub fn changed(&self) -> u64 {
        self.summary()["nodes"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["changed"].as_u64().unwrap_or(0))
            .sum()
    }

    /// What a person needs to see why a run was not as expected.
    pub fn story(&self) -> String {
        let told = ["task_failed", "check", "warning", "planned", "run_ended"];
        let events =
            self.events.iter().filter(|event| told.iter().any(|kind| event["event"] == *kind));
        format!("{}\n{}", self.stderr, events.map(Value::to_string).collect::<Vec<_>>().join("\n"))
    }
}

/// A program with words before it, in a directory, with no setting of whoever runs the tests.
fn labctl(directory: &Path, program: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(arguments).current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name == "SSH_AUTH_SOCK" || (name.starts_with("LABCTL_") && name != "LABCTL_CACHE") {
            command.env_remove(&*name);
        }
    }
    command
}

/// What takes down all labs of the inventory in a directory.
fn down(directory: &Path) -> &'static [&'static str] {
    let text = fs::read_to_string(directory.join("inventory.yaml")).unwrap_or_default();
    let is_workshop = text.lines().any(|line| line.starts_with("clusters:"));
    if is_workshop { &["workshop", "down", "--yes"] } else { &["down", "--yes"] }
}

/// Takes down the labs that killed tests have left: they have the addresses that the next ones
/// want.
fn sweep() {
    for directory in owned::abandoned(Path::new(env!("CARGO_TARGET_TMPDIR")), "lab-") {
        if directory.join("inventory.yaml").exists() {
            let program = ["timeout", "--kill-after=10", "300", env!("CARGO_BIN_EXE_labctl")];
            let output =
                labctl(&directory, &program, down(&directory)).output().expect("labctl starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "a killed test has left {}: {said}",
                directory.display()
            );
        }
        fs::remove_dir_all(&directory).expect("it can be removed");
    }
}

/// What labs have on this machine, of any lab: links, namespaces, cgroups, firewall rules, notes,
/// and all settings of the kernel that a node shares with it. Those that the kernel counts or
/// adjusts by itself do not count.
fn host() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut entries = |kind: &str, directory: &str| {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind == "note" || name.starts_with("lab") {
                found.insert(format!("{kind} {name}"));
            }
        }
    };
    entries("link", "/sys/class/net");
    entries("namespace", "/run/netns");
    entries("note", "/run/labctl");
    let cgroups = said("find", &["/sys/fs/cgroup", "-type", "d", "-name", "lab*-*"]);
    found.extend(cgroups.lines().map(|line| format!("cgroup {line}")));
    let rules = said("iptables-save", &[]);
    found.extend(
        rules.lines().filter(|line| line.contains(" lab")).map(|line| format!("rule {line}")),
    );
    let settings = "find /proc/sys/kernel /proc/sys/vm /proc/sys/fs/inotify -type f \
                    ! -path '*/random/*' ! -path '*/pty/nr' ! -name ns_last_pid \
                    ! -name stat_refresh ! -name perf_event_max_sample_rate ! -name '*_count' \
                    -exec grep -sH '' {} + || true";
    found.extend(said("sh", &["-c", settings]).lines().map(|line| format!("setting {line}")));
    assert!(found.len() > 100, "a census that sees little: {found:?}");
    found
}

/// The image of busybox in the bundle beside the sources, by the name that nodes know it by.
pub fn busybox() -> String {
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle");
    let lock =
        labctl::bundle::lock::read(&bundle).expect("a lock that can be read").expect("a bundle");
    lock.files["image/busybox"].image.clone().expect("an image has a name")
}

/// What a program of this machine prints. It must succeed.
pub fn said(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program of this machine prints, on both outputs, when it fails. It must fail.
pub fn refusal(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{program} {arguments:?} succeeds: {said}");
    said
}

/// Every file below a directory, with its content. There must be some.
pub fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let content = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                found.insert(path.strip_prefix(directory).expect("below it").to_owned(), content);
            }
        }
    }
    assert!(!found.is_empty(), "{} has no file", directory.display());
    found
}

/// Two directories have the same files, byte for byte.
pub fn same_files(one: &Path, other: &Path) {
    let (one_has, other_has) = (contents(one), contents(other));
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one_has), names(&other_has), "{} and {}", one.display(), other.display());
    for (name, content) in one_has {
        assert!(other_has[&name] == content, "{} differs in {}", name.display(), other.display());
    }
}
