//! A machine for tests to change: this one's file system with all writes kept in memory, and a
//! network of its own.
//!
//! The scripts that labctl sends to nodes run here with a real shell and real coreutils. Nothing of
//! the machine that the tests run on is changed, and nothing is left when a [`Machine`] is dropped,
//! or its test is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use labctl::engine::apply::{Applied, apply};
use labctl::engine::{Run, probe};
use labctl::event::{Event, Events, Failure, Stamped};
use labctl::module::{Desired, Facts, State};
use labctl::plan::{self, DesiredNode, DesiredPlay, DesiredTask, Plan};
use labctl::playbook::Strategy;
use labctl::transport::Transport;
use labctl::transport::shell::Shell;
use tokio::sync::{mpsc, watch};

const SETUP: &str = r#"
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
mount -t proc proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
rm -rf /mnt/root/var/lib/labctl
mkdir -p /mnt/root/shared
[ -z "$SHARED" ] || mount --bind "$SHARED" /mnt/root/shared
ip link set lo up
exec chroot /mnt/root sh -c 'cd / && echo ready && exec cat'
"#;

/// A machine. It lives as long as the process that holds its namespaces.
pub struct Machine {
    holder: Child,
    prefix: Vec<String>,
}

/// What came of one converge.
pub struct Converged {
    /// What differed before: title and reason of every change.
    pub found: Vec<(String, String)>,
    /// What the engine says.
    pub applied: Applied,
    /// What it told on the way.
    pub events: Vec<Event>,
}

impl Machine {
    /// A new machine.
    pub fn new() -> Self {
        Self::start(None)
    }

    /// A new machine that has the folder `shared` of the test's own at `/shared`.
    pub fn sharing(shared: &Path) -> Self {
        Self::start(Some(shared))
    }

    fn start(shared: Option<&Path>) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test needs root: it makes namespaces and an overlay"
        );
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--propagation", "private", "sh", "-ec", SETUP])
            .env("SHARED", shared.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut ready = String::new();
        let said = BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut ready);
        assert!(
            said.is_ok() && ready == "ready\n",
            "a machine in namespaces starts; it said {ready:?}"
        );
        let of = |what: &str| format!("/proc/{}/{what}", holder.id());
        let prefix = vec![
            "nsenter".to_owned(),
            format!("--mount={}", of("ns/mnt")),
            format!("--net={}", of("ns/net")),
            format!("--root={}", of("root")),
            format!("--wd={}", of("root")),
            "--".to_owned(),
        ];
        Self { holder, prefix }
    }

    /// A connection to it.
    pub fn transport(&self) -> Transport {
        Transport::Shell(Shell::with_prefix(self.prefix.clone()))
    }

    /// A process that is in its namespaces.
    pub fn process(&self) -> u32 {
        self.holder.id()
    }

    /// The words that make a command run on it.
    pub fn prefix(&self) -> &[String] {
        &self.prefix
    }

    /// Runs a script on it, whatever comes of it.
    pub fn attempt(&self, script: &str) -> Output {
        let (program, words) = self.prefix.split_first().expect("a program");
        Command::new(program).args(words).args(["sh", "-c", script]).output().expect("nsenter runs")
    }

    /// Runs a script on it and gives back what it printed.
    pub fn sh(&self, script: &str) -> String {
        let output = self.attempt(script);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{script}` fails: {stderr}");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    /// Puts a program in place of another, for labctl's scripts.
    pub fn shim(&self, name: &str, script: &str) {
        let file = format!("/usr/local/sbin/{name}");
        self.sh(&format!("cat > {file} <<'EOF'\n#!/bin/sh\n{script}\nEOF\nchmod 755 {file}"));
    }

    /// The lines of the node record.
    pub fn record(&self) -> Vec<String> {
        self.sh("cat /var/lib/labctl/record").lines().map(str::to_owned).collect()
    }

    /// What a probe finds.
    pub async fn facts(&self, desired: &[Desired]) -> Facts {
        let questions = desired.iter().flat_map(State::probe).collect();
        probe::ask(&self.transport(), &questions).await.expect("a whole answer")
    }

    /// Why the machine is not as desired, for each task that differs.
    pub async fn differences(&self, desired: &[Desired]) -> Vec<(String, String)> {
        let facts = self.facts(desired).await;
        desired.iter().filter_map(|state| Some((state.title(), state.diff(&facts)?.why))).collect()
    }

    /// Probes, plans and applies.
    pub async fn converge(&self, desired: &[Desired]) -> Converged {
        let facts = BTreeMap::from([("node".to_owned(), self.facts(desired).await)]);
        let plan = plan::diff::plan(&[play("test", &[], &["node"], desired)], &facts);
        let found = plan.changes().into_iter().map(|change| (change.task, change.why)).collect();
        let (applied, events) = carry_out(plan, &[("node", self.transport())], 10).await;
        Converged { found, applied, events }
    }

    /// Converges, which must go well, and then finds nothing to do.
    pub async fn settles(&self, desired: &[Desired]) -> Converged {
        let converged = self.converge(desired).await;
        assert!(converged.applied.ok, "{:#?}", converged.failures());
        assert_eq!(
            self.differences(desired).await,
            [],
            "after {:?} there is nothing to do",
            converged.found
        );
        converged
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Whatever still runs on it keeps its mounts alive; without the holder nobody else can come
        // in.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Converged {
    /// The tasks that failed.
    pub fn failures(&self) -> Vec<&Failure> {
        failures(&self.events)
    }

    /// The one task that failed.
    pub fn failure(&self) -> &Failure {
        assert!(!self.applied.ok, "something fails");
        let [failure] = self.failures()[..] else {
            panic!("one task fails: {:#?}", self.failures())
        };
        failure
    }
}

/// The tasks that failed.
pub fn failures(events: &[Event]) -> Vec<&Failure> {
    events
        .iter()
        .filter_map(
            |event| if let Event::TaskFailed(failure) = event { Some(failure) } else { None },
        )
        .collect()
}

/// A play that wants the same of each of its nodes.
pub fn play(name: &str, after: &[usize], nodes: &[&str], desired: &[Desired]) -> DesiredPlay {
    let tasks: Vec<DesiredTask> = desired
        .iter()
        .map(|desired| DesiredTask {
            title: desired.title(),
            why: None,
            desired: desired.clone().into(),
        })
        .collect();
    DesiredPlay {
        name: name.to_owned(),
        why: String::new(),
        after: after.to_vec(),
        strategy: Strategy::Parallel,
        nodes: nodes
            .iter()
            .map(|node| DesiredNode { node: (*node).to_owned(), tasks: tasks.clone() })
            .collect(),
    }
}

/// A run that nobody stops, with its events.
pub fn run(forks: usize) -> (Run, mpsc::UnboundedReceiver<Stamped>) {
    let (events, told) = Events::channel();
    // Without its sender a watch keeps the value it has.
    let (_, never) = watch::channel(false);
    (Run::new(events, forks, never), told)
}

/// Carries out a plan to its end.
pub async fn carry_out(
    plan: Plan,
    nodes: &[(&str, Transport)],
    forks: usize,
) -> (Applied, Vec<Event>) {
    let (run, mut told) = run(forks);
    let connections =
        nodes.iter().map(|(node, transport)| ((*node).to_owned(), transport.clone())).collect();
    let applied = apply(plan, &connections, &run).await;
    drop(run);
    let mut events = Vec::new();
    while let Some(stamped) = told.recv().await {
        events.push(stamped.event);
    }
    (applied, events)
}
