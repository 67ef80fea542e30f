//! Modules: the kinds of task that a playbook can hold, one file each.
//!
//! A task of a playbook (`template: { from: etcd/etcd.service, to: ... }`) becomes, for one node, a
//! [`Desired`] state: all strings rendered, all content known. Every desired state has four faces,
//! all of them pure:
//!
//! - **probe**: the [`Question`]s whose answers tell whether the node is already as desired;
//! - **diff**: the [`Difference`] between the answers (the [`Facts`]) and what is desired, if there
//!   is one;
//! - **actions**: the shell text that makes it so, with the files that it needs;
//! - **shell**: what a person would have typed.

pub mod command;
mod difference;
pub mod directory;
pub mod file;
pub mod hosts;
pub mod image;
pub mod kernel_module;
pub mod kubectl_apply;
pub mod package;
pub mod probe;
mod quote;
pub mod routes;
pub mod set;
pub mod sysctl;
pub mod undo;
pub mod unit;
pub mod wait;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::quote::quote;
pub use difference::Difference;
pub use probe::{Facts, Question};

/// Where labctl keeps its own things on a node.
pub const STATE_FOLDER: &str = "/var/lib/labctl";

/// One desired state on one node: a task with everything worked out.
#[derive(Debug, Clone, PartialEq)]
pub enum Desired {
    /// A folder with mode and owner.
    Directory(directory::Directory),
    /// A file with content, mode and owner; what `file`, `template` and `binary` become.
    File(file::File),
    /// A container image in containerd.
    Image(image::Image),
    /// A systemd unit, enabled and started, running what its files say.
    Unit(unit::Unit),
    /// A command with a check that says when it is not needed.
    Command(command::Command),
    /// A kernel setting, now and after a reboot.
    Sysctl(sysctl::Sysctl),
    /// A kernel module, now and after a reboot.
    KernelModule(kernel_module::KernelModule),
    /// Packages of the distribution.
    Package(package::Package),
    /// The routes of a network in the main table.
    Routes(routes::Routes),
    /// Names in `/etc/hosts`.
    Hosts(hosts::Hosts),
    /// Objects in the cluster.
    KubectlApply(kubectl_apply::KubectlApply),
    /// A condition that comes true by itself.
    Wait(wait::Wait),
    /// Nothing that labctl has made or changed.
    Undo(undo::Undo),
}

/// What an action needs beside its text.
#[derive(Clone, Default, PartialEq)]
pub struct Actions {
    /// Lines of POSIX shell, run under `set -e`; they may call the functions of the apply script's
    /// prelude (`put`, `link`, `made`, ...) and name a payload as `"$payload/NAME"`.
    pub script: String,
    /// Small files that travel in the apply's own stream, by name.
    pub payloads: Vec<(String, Arc<[u8]>)>,
    /// Content-addressed files that must be in the node's blob store first, by SHA-256.
    pub blobs: Vec<file::Blob>,
    /// The unit whose journal explains a failure.
    pub unit: Option<String>,
    /// Whether it is done only when the unit was seen to stay up, which its script leaves to the
    /// prelude's `settle`.
    pub watched: bool,
    /// How long the action may take, beyond the usual.
    pub patience: Duration,
}

impl fmt::Debug for Actions {
    // A payload may be a private key: what is debug-printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payloads: Vec<(&str, usize)> =
            self.payloads.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
        f.debug_struct("Actions")
            .field("script", &self.script)
            .field("payloads", &payloads)
            .field("blobs", &self.blobs)
            .field("unit", &self.unit)
            .field("watched", &self.watched)
            .field("patience", &self.patience)
            .finish()
    }
}

impl Actions {
    /// Only shell text.
    pub fn script(script: impl Into<String>) -> Self {
        Self { script: script.into(), ..Self::default() }
    }
}

/// The four faces of a desired state.
pub trait State {
    /// What to ask the node.
    fn probe(&self) -> Vec<Question>;

    /// Why the node is not as desired; `None` when it is. A question without an answer counts as
    /// "not as desired".
    fn diff(&self, facts: &Facts) -> Option<Difference>;

    /// What to do about it.
    fn actions(&self, facts: &Facts) -> Actions;

    /// What a person would have typed; never a secret.
    fn shell(&self) -> String;

    /// A short title for reports: `/etc/hosts`, `unit etcd.service`.
    fn title(&self) -> String;

    /// A model of what the facts are once the actions have run, for tests of plans: a diff against
    /// these facts finds nothing. `tests/it/modules.rs` runs the actions themselves.
    fn settle(&self, facts: &mut Facts);
}

impl Desired {
    fn state(&self) -> &dyn State {
        match self {
            Desired::Directory(it) => it,
            Desired::File(it) => it,
            Desired::Image(it) => it,
            Desired::Unit(it) => it,
            Desired::Command(it) => it,
            Desired::Sysctl(it) => it,
            Desired::KernelModule(it) => it,
            Desired::Package(it) => it,
            Desired::Routes(it) => it,
            Desired::Hosts(it) => it,
            Desired::KubectlApply(it) => it,
            Desired::Wait(it) => it,
            Desired::Undo(it) => it,
        }
    }

    /// Whether the answer that the probe found may be out of date once anything before this task
    /// has changed, so that the task is judged again when its turn comes.
    pub fn judged_at_run_time(&self) -> bool {
        matches!(self, Desired::Command(_) | Desired::KubectlApply(_) | Desired::Wait(_))
    }
}

impl State for Desired {
    fn probe(&self) -> Vec<Question> {
        self.state().probe()
    }
    fn diff(&self, facts: &Facts) -> Option<Difference> {
        self.state().diff(facts)
    }
    fn actions(&self, facts: &Facts) -> Actions {
        self.state().actions(facts)
    }
    fn shell(&self) -> String {
        self.state().shell()
    }
    fn title(&self) -> String {
        self.state().title()
    }
    fn settle(&self, facts: &mut Facts) {
        self.state().settle(facts);
    }
}
