//! Playbooks: ordered sets of plays that bring nodes to a desired state, as data.
//!
//! This module defines the types of the YAML; [`load`] reads it, [`component`] combines plays with
//! component files, and [`standard`] contains the compiled-in playbooks. Strings here are still
//! templates; the plan renders them per node.

pub mod component;
pub mod graph;
pub mod load;
mod on;
pub mod standard;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::module::unit::OnChange;
pub use component::Component;
pub use on::On;

/// An ordered set of plays.
#[derive(Debug, Clone, PartialEq)]
pub struct Playbook {
    /// Its name: the verb that runs it.
    pub name: String,
    /// What it is for, in a sentence or two.
    pub why: String,
    /// The plays.
    pub plays: Vec<Play>,
}

impl Playbook {
    /// Returns the templates that its tasks use; a name may still contain a variable.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.plays.iter().flat_map(|play| &play.tasks).filter_map(|task| match &task.module {
            Module::Template(args) => Some(args.from.as_str()),
            Module::KubectlApply(args) => Some(args.from.as_str()),
            _ => None,
        })
    }

    /// Returns the first sentence of `why`.
    pub fn summary(&self) -> String {
        let why = one_line(&self.why);
        why.split_once(". ").map(|(first, _)| format!("{first}.")).unwrap_or(why)
    }
}

/// Joins the lines of a text that YAML folded.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tasks for the nodes of some roles, with the plays it comes after.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// Its name, unique in the playbook.
    pub name: String,
    /// The nodes that it is for.
    pub on: On,
    /// The plays that must have finished on all of their nodes.
    pub after: Vec<String>,
    /// Whether its nodes run in parallel or one by one.
    pub strategy: Strategy,
    /// A condition over the cluster and the node; the play is skipped where it is false.
    pub when: Option<String>,
    /// Why the play exists, for a learner.
    pub why: String,
    /// Files to put on each node before the tasks, depending on the node's roles.
    pub delivers: Option<Delivers>,
    /// The desired states in order: its own tasks, and those that it gathers from components.
    pub tasks: Vec<Task>,
}

/// Files that follow from the inventory, so that no task has to list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivers {
    /// The certificates, keys and kubeconfigs for a node of these roles.
    Certificates,
}

/// The order in which a play runs on its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// All nodes at the same time.
    #[default]
    Parallel,
    /// One node at a time, including its waits. Nodes on which none of the play's units is running
    /// yet come first and together: nothing can be interrupted there, and the first members of an
    /// etcd cluster only become ready together.
    Rolling,
}

/// The nodes for which a task is repeated; `peer` is each of them in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Each {
    /// Every node.
    Nodes,
    /// Every controller.
    Controllers,
    /// Every worker.
    Workers,
    /// Every node except the one that the task runs on.
    Peers,
    /// Every worker except the one that the task runs on.
    PeerWorkers,
}

/// One task: the common keys and exactly one module.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// A title.
    pub name: Option<String>,
    /// Why the task exists, for a learner.
    pub why: Option<String>,
    /// The nodes of the play that it is for: those in all of these sets.
    pub on: Vec<On>,
    /// A condition; the task is skipped where it is false.
    pub when: Option<String>,
    /// Repeats the task for each of these nodes.
    pub each: Option<Each>,
    /// Whether to run only on the first of the play's nodes.
    pub once: bool,
    /// The desired state.
    pub module: Module,
    /// The component that it belongs to, if any.
    pub component: Option<Arc<Component>>,
}

/// The modules with their arguments, as in the YAML.
#[derive(Debug, Clone, PartialEq)]
pub enum Module {
    /// `directory`.
    Directory(DirectoryArgs),
    /// `file`.
    File(FileArgs),
    /// `template`.
    Template(TemplateArgs),
    /// `binary`.
    Binary(BinaryArgs),
    /// `image`.
    Image(ImageArgs),
    /// `unit`.
    Unit(UnitArgs),
    /// `command`.
    Command(CommandArgs),
    /// `sysctl`.
    Sysctl(SysctlArgs),
    /// `kernel_module`.
    KernelModule(KernelModuleArgs),
    /// `package`.
    Package(PackageArgs),
    /// `routes`.
    Routes(RoutesArgs),
    /// `hosts`.
    Hosts(HostsArgs),
    /// `kubectl_apply`.
    KubectlApply(KubectlApplyArgs),
    /// `wait`.
    Wait(WaitArgs),
    /// `undo`.
    Undo(UndoArgs),
}

impl Module {
    /// Returns its key in the YAML.
    pub fn kind(&self) -> &'static str {
        match self {
            Module::Directory(_) => "directory",
            Module::File(_) => "file",
            Module::Template(_) => "template",
            Module::Binary(_) => "binary",
            Module::Image(_) => "image",
            Module::Unit(_) => "unit",
            Module::Command(_) => "command",
            Module::Sysctl(_) => "sysctl",
            Module::KernelModule(_) => "kernel_module",
            Module::Package(_) => "package",
            Module::Routes(_) => "routes",
            Module::Hosts(_) => "hosts",
            Module::KubectlApply(_) => "kubectl_apply",
            Module::Wait(_) => "wait",
            Module::Undo(_) => "undo",
        }
    }
}

/// `directory`: a directory with mode and owner.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryArgs {
    /// Absolute path.
    pub path: String,
    /// Octal permissions; `0755` unless given.
    #[serde(default)]
    pub mode: Option<String>,
    /// `user:group`; `root:root` unless given.
    #[serde(default)]
    pub owner: Option<String>,
}

/// `file`: a file from the lab's PKI, kubeconfigs or a backup, or with inline content.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileArgs {
    /// `pki/NAME` or `kubeconfig/NAME`; in a restore also `backup/snapshot.db`.
    #[serde(default)]
    pub from: Option<String>,
    /// Inline content.
    #[serde(default)]
    pub content: Option<String>,
    /// Absolute path on the node.
    pub to: String,
    /// Octal permissions; `0644` unless given.
    #[serde(default)]
    pub mode: Option<String>,
    /// `user:group`; `root:root` unless given.
    #[serde(default)]
    pub owner: Option<String>,
}

/// `template`: a file rendered from a template.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateArgs {
    /// The template's name, without `.tera`.
    pub from: String,
    /// Absolute path on the node.
    pub to: String,
    /// Octal permissions; `0644` unless given.
    #[serde(default)]
    pub mode: Option<String>,
    /// `user:group`; `root:root` unless given.
    #[serde(default)]
    pub owner: Option<String>,
    /// Whether the content must never be displayed.
    #[serde(default)]
    pub sensitive: bool,
    /// Whether the file is the same on every node and is rendered once, without `node`.
    #[serde(default)]
    pub shared: bool,
}

/// `binary`: a program from the bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinaryArgs {
    /// Its name in the bundle.
    pub from: String,
    /// Absolute path on the node.
    pub to: String,
    /// Octal permissions; `0755` unless given.
    #[serde(default)]
    pub mode: Option<String>,
}

/// `image`: a container image from the bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageArgs {
    /// Its name in the bundle: `image/coredns`.
    pub from: String,
}

/// `unit`: a systemd unit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitArgs {
    /// Its name with suffix, such as `etcd.service`.
    pub name: String,
    /// Whether it should be running.
    pub state: UnitState,
    /// Whether it should start at boot; yes by default.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Files, or directories with a trailing `/`, that the unit uses: when they change, `on_change`
    /// applies. Its own unit file is implied. The default in a component's file is everything that
    /// the component puts on the node and the certificates that it lists.
    #[serde(default)]
    pub uses: Option<Vec<String>>,
    /// What to do when one of them changes.
    #[serde(default)]
    pub on_change: OnChange,
    /// What its program creates or changes, for the teardown: directories, links as
    /// `/sys/class/net/NAME`, kernel settings as paths below `/proc/sys`. The teardown removes only
    /// what did not exist before, and restores only settings that had another value.
    #[serde(default)]
    pub leaves: Vec<String>,
}

/// Whether a unit should be running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Running.
    Started,
    /// Not running.
    Stopped,
}

/// `command`: a command, and a check that shows whether it is needed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandArgs {
    /// The command, for `sh`.
    pub run: String,
    /// The check, for `sh`; exit code 0 means that there is nothing to do.
    pub unless: String,
}

/// `sysctl`: a kernel setting.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SysctlArgs {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// `kernel_module`: a kernel module.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelModuleArgs {
    /// Its name.
    pub name: String,
    /// A path that exists if the kernel already provides what the module is for.
    pub provides: String,
}

/// `package`: packages of the distribution.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageArgs {
    /// Each is `name`, or `name=/a/file/that/proves/it`.
    pub names: Vec<String>,
}

/// `routes`: the routes of a network in the main table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutesArgs {
    /// The network; other routes to parts of it are removed.
    pub within: String,
    /// One route for each of these nodes.
    #[serde(default)]
    pub each: Option<Each>,
    /// Destination CIDR. Rendered once for all nodes, with `peer` but without `node`.
    pub to: String,
    /// Next hop; rendered like `to`.
    pub via: String,
}

/// `hosts`: entries in `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsArgs {
    /// The comment at the end of each line: `labctl`, or a name that begins with `labctl-`. Other
    /// lines with this comment are removed.
    pub mark: String,
    /// One entry for each of these nodes.
    #[serde(default)]
    pub each: Option<Each>,
    /// The address. Rendered once for all nodes, with `peer` but without `node`.
    pub address: String,
    /// The host name; rendered like `address`.
    pub name: String,
}

/// `kubectl_apply`: objects in the cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubectlApplyArgs {
    /// The template for the manifest.
    pub from: String,
}

/// `wait`: waits for a condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitArgs {
    /// The condition in words, to follow "waiting for".
    #[serde(rename = "for")]
    pub what: String,
    /// The check, for `sh`.
    pub until: String,
    /// Time limit: `60s`, `2m`.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// The unit whose journal is quoted if the wait times out.
    #[serde(default)]
    pub unit: Option<String>,
}

/// `undo`: undoes everything in the node record.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoArgs {
    /// Directories that belong to programs of the lab and are removed whatever the record contains.
    #[serde(default)]
    pub own: Vec<String>,
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    let bad = || serde::de::Error::custom(format!("`{text}` is not a duration like 60s or 2m"));
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        _ => return Err(bad()),
    };
    // At most a day, so that sums of durations stay far from overflow.
    match seconds.filter(|seconds| *seconds <= 24 * 60 * 60) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(serde::de::Error::custom(format!("`{text}` is longer than a day"))),
    }
}

/// A task as in the YAML: every module is a key, and exactly one of them must be present. (With an
/// untagged or flattened enum, serde would say "data did not match any variant" instead of naming
/// the wrong key.)
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTask {
    name: Option<String>,
    why: Option<String>,
    on: Option<On>,
    when: Option<String>,
    each: Option<Each>,
    #[serde(default)]
    once: bool,
    directory: Option<DirectoryArgs>,
    file: Option<FileArgs>,
    template: Option<TemplateArgs>,
    binary: Option<BinaryArgs>,
    image: Option<ImageArgs>,
    unit: Option<UnitArgs>,
    command: Option<CommandArgs>,
    sysctl: Option<SysctlArgs>,
    kernel_module: Option<KernelModuleArgs>,
    package: Option<PackageArgs>,
    routes: Option<RoutesArgs>,
    hosts: Option<HostsArgs>,
    kubectl_apply: Option<KubectlApplyArgs>,
    wait: Option<WaitArgs>,
    undo: Option<UndoArgs>,
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let raw = RawTask::deserialize(d)?;
        let mut modules = [
            raw.directory.map(Module::Directory),
            raw.file.map(Module::File),
            raw.template.map(Module::Template),
            raw.binary.map(Module::Binary),
            raw.image.map(Module::Image),
            raw.unit.map(Module::Unit),
            raw.command.map(Module::Command),
            raw.sysctl.map(Module::Sysctl),
            raw.kernel_module.map(Module::KernelModule),
            raw.package.map(Module::Package),
            raw.routes.map(Module::Routes),
            raw.hosts.map(Module::Hosts),
            raw.kubectl_apply.map(Module::KubectlApply),
            raw.wait.map(Module::Wait),
            raw.undo.map(Module::Undo),
        ]
        .into_iter()
        .flatten();
        let module = modules.next().ok_or_else(|| {
            D::Error::custom(
                "this task has no module: one of directory, file, template, binary, \
                image, unit, command, sysctl, kernel_module, package, routes, hosts, \
                kubectl_apply, wait, undo",
            )
        })?;
        if modules.next().is_some() {
            return Err(D::Error::custom("this task has two modules; make it two tasks"));
        }
        Ok(Task {
            name: raw.name,
            why: raw.why,
            on: raw.on.into_iter().collect(),
            when: raw.when,
            each: raw.each,
            once: raw.once,
            module,
            component: None,
        })
    }
}
