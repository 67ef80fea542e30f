//! Playbooks: the runbook as data. An ordered set of plays that brings nodes to a state.
//!
//! This module is the typed vocabulary of the YAML; [`load`] reads it, [`component`] puts what
//! belongs together and what begins together into one another's places, and [`standard`] holds the
//! playbooks that are compiled in. Strings are still templates here: what a task means for one node
//! is worked out by the plan.

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
    /// Its name: the verb it stands behind.
    pub name: String,
    /// What it is for, in a sentence or two.
    pub why: String,
    /// The plays.
    pub plays: Vec<Play>,
}

impl Playbook {
    /// The templates that its tasks name; a name may still hold a variable.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.plays.iter().flat_map(|play| &play.tasks).filter_map(|task| match &task.module {
            Module::Template(args) => Some(args.from.as_str()),
            Module::KubectlApply(args) => Some(args.from.as_str()),
            _ => None,
        })
    }

    /// The first sentence of what it is for.
    pub fn summary(&self) -> String {
        let why = one_line(&self.why);
        why.split_once(". ").map(|(first, _)| format!("{first}.")).unwrap_or(why)
    }
}

/// A text that YAML folded over several lines, on one.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tasks for the nodes of some roles, with the plays it comes after.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// Its name, unique in the playbook.
    pub name: String,
    /// The nodes it is for.
    pub on: On,
    /// The plays that must have ended on all of their nodes.
    pub after: Vec<String>,
    /// All of its nodes at the same time, or one after the other.
    pub strategy: Strategy,
    /// A condition over the cluster and the node; the play is left out where it is false.
    pub when: Option<String>,
    /// Why the play exists, for a learner.
    pub why: String,
    /// What it puts on each node before its tasks, by the node's roles.
    pub delivers: Option<Delivers>,
    /// What is desired, in order: its own tasks, and those it gathers from components.
    pub tasks: Vec<Task>,
}

/// Files that follow from the lab alone, so that no task has to name them one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivers {
    /// The certificates, keys and kubeconfigs that a node of these roles has.
    Certificates,
}

/// How a play goes over its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// All at the same time.
    #[default]
    Parallel,
    /// One node at a time, each done (its waits included) before the next begins. Nodes on which
    /// none of the play's units runs yet come first and together: there is nothing to interrupt on
    /// them, and the first members of an etcd cluster become ready together or not at all.
    Rolling,
}

/// The nodes that a task is repeated for, with `peer` standing for each in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Each {
    /// Every node.
    Nodes,
    /// Every controller.
    Controllers,
    /// Every worker.
    Workers,
    /// Every node but the one that the task runs on.
    Peers,
    /// Every worker but the one that the task runs on.
    PeerWorkers,
}

/// One task: the common keys, and exactly one module.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// A title of its own.
    pub name: Option<String>,
    /// Why the task exists, for a learner.
    pub why: Option<String>,
    /// The nodes of the play that it is for: those that all of these name.
    pub on: Vec<On>,
    /// A condition; the task is left out where it is false.
    pub when: Option<String>,
    /// Repeats the task for each of these nodes.
    pub each: Option<Each>,
    /// Only on the first of the play's nodes.
    pub once: bool,
    /// What is desired.
    pub module: Module,
    /// The component that it is a part of, if any.
    pub component: Option<Arc<Component>>,
}

/// The modules, with their arguments as the YAML has them.
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
    /// Its key in the YAML.
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

/// `directory`: a folder with mode and owner.
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

/// `file`: a file from the lab's PKI or kubeconfigs, or from a backup, or with the content given
/// here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileArgs {
    /// `pki/NAME` or `kubeconfig/NAME`; in a restore also `backup/snapshot.db`.
    #[serde(default)]
    pub from: Option<String>,
    /// The content itself.
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
    /// Whether the content must never be shown.
    #[serde(default)]
    pub sensitive: bool,
    /// Whether it is the same on every node, and rendered once: it knows no `node`.
    #[serde(default)]
    pub shared: bool,
}

/// `binary`: a program of the bundle.
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

/// `image`: a container image of the bundle.
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
    /// Its name with suffix.
    pub name: String,
    /// Whether it should run.
    pub state: UnitState,
    /// Whether it should start at boot; yes unless given.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Files, or directories with a trailing `/`, whose change concerns it; its own unit file is
    /// implied. Unless given, in the file of a component: all that the component puts on the node,
    /// and the certificates that it names.
    #[serde(default)]
    pub uses: Option<Vec<String>>,
    /// What to do then.
    #[serde(default)]
    pub on_change: OnChange,
    /// What its program makes or changes by itself, for the teardown: folders, links as
    /// `/sys/class/net/NAME`, kernel settings as paths below `/proc/sys`. Only what was not there
    /// before, or was otherwise, goes or is put back.
    #[serde(default)]
    pub leaves: Vec<String>,
}

/// Whether a unit should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// It should.
    Started,
    /// It should not.
    Stopped,
}

/// `command`: a command with a check that says when it is not needed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandArgs {
    /// What to run, for `sh`.
    pub run: String,
    /// The check, for `sh`; exit code 0: nothing to do.
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
    /// A path that exists when the kernel can do what the module is for.
    pub provides: String,
}

/// `package`: packages of the distribution.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageArgs {
    /// Each `name`, or `name=/a/file/that/proves/it`.
    pub names: Vec<String>,
}

/// `routes`: the routes of a network in the main table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutesArgs {
    /// The network; routes to parts of it that are not in the set are taken out.
    pub within: String,
    /// A route for each of these nodes.
    #[serde(default)]
    pub each: Option<Each>,
    /// Destination CIDR. Worked out once for all nodes: it knows `peer` and not `node`.
    pub to: String,
    /// Next hop; as `to`.
    pub via: String,
}

/// `hosts`: names in `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostsArgs {
    /// The comment that ends each of the lines: `labctl`, or `labctl-` and more. Lines with it that
    /// are not in the set are taken out.
    pub mark: String,
    /// A name for each of these nodes.
    #[serde(default)]
    pub each: Option<Each>,
    /// The address. Worked out once for all nodes: it knows `peer` and not `node`.
    pub address: String,
    /// The name; as `address`.
    pub name: String,
}

/// `kubectl_apply`: objects in the cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubectlApplyArgs {
    /// The template that renders the manifest.
    pub from: String,
}

/// `wait`: a condition that comes true by itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitArgs {
    /// What is waited for, as the end of "waiting for".
    #[serde(rename = "for")]
    pub what: String,
    /// The check, for `sh`.
    pub until: String,
    /// How long it may take: `60s`, `2m`.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// The unit whose journal explains why it does not come true.
    #[serde(default)]
    pub unit: Option<String>,
}

/// `undo`: everything that the node record lists is undone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoArgs {
    /// Directories that programs of the lab call their own, whatever the record says of them.
    #[serde(default)]
    pub own: Vec<String>,
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    let bad = || serde::de::Error::custom(format!("`{text}` is not a time like 60s or 2m"));
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        _ => return Err(bad()),
    };
    // Nobody waits longer than a day, and sums of such times stay far from any limit.
    match seconds.filter(|seconds| *seconds <= 24 * 60 * 60) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(serde::de::Error::custom(format!("`{text}` is longer than a day"))),
    }
}

/// A task as the YAML has it: every module is a key, and exactly one of them must be there. (An
/// untagged or flattened enum would say "data did not match any variant" where this can say which
/// key is wrong.)
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
            return Err(D::Error::custom("this task has two modules: give each a task of its own"));
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
