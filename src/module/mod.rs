//! Modules: the kinds of task that a playbook can hold, one file each, and one line each in the
//! list below.
//!
//! A task of a playbook (`template: { from: etcd/etcd.service, to: ... }`) is a [`Module`] with its
//! [`Arguments`]; for one node it becomes a [`Desired`] state: all strings rendered, all content
//! known. A module's file says both, and every desired state has these faces, all of them pure:
//!
//! - **probe**: the [`Question`]s whose answers show whether the node is as desired;
//! - **diff**: the [`Difference`] between the answers (the [`Facts`]) and the desired state, if
//!   there is one;
//! - **actions**: the shell script that makes the change, with the files that it needs;
//! - **shell**: what a person would have typed;
//! - **undo**: the kinds of lines that the actions write into the node record, each of which
//!   `undo.sh` undoes.

mod attributes;
pub mod content;
mod difference;
pub mod probe;
mod quote;
pub mod set;
pub mod site;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::content::Content;
pub use self::quote::quote;
use crate::node::record::Kind;
pub use difference::Difference;
pub use probe::{Facts, Question};
pub use site::{Each, Shared, Site};

/// The directory for labctl's own files on a node.
pub const STATE_FOLDER: &str = "/var/lib/labctl";

/// The list of modules, for a macro that makes something of it. A line is a file in this directory
/// with the desired state that it makes, and the keys of a task, each with the variant and the type
/// of its arguments.
///
/// (`cargo fmt` does not see files that a macro declares: `make check` names them to rustfmt.)
macro_rules! modules {
    ($with:ident) => {
        $with! {
            directory::Directory { directory: Directory(DirectoryArgs) }
            file::File {
                file: File(FileArgs), template: Template(TemplateArgs), binary: Binary(BinaryArgs)
            }
            image::Image { image: Image(ImageArgs) }
            unit::Unit { unit: Unit(UnitArgs) }
            command::Command { command: Command(CommandArgs) }
            sysctl::Sysctl { sysctl: Sysctl(SysctlArgs) }
            kernel_module::KernelModule { kernel_module: KernelModule(KernelModuleArgs) }
            package::Package { package: Package(PackageArgs) }
            routes::Routes { routes: Routes(RoutesArgs) }
            hosts::Hosts { hosts: Hosts(HostsArgs) }
            kubectl_apply::KubectlApply { kubectl_apply: KubectlApply(KubectlApplyArgs) }
            addons::Addons { addons: Addons(AddonsArgs) }
            wait::Wait { wait: Wait(WaitArgs) }
            undo::Undo { undo: Undo(UndoArgs) }
            link::Link { link: Link(LinkArgs) }
            user::User { user: User(UserArgs) }
        }
    };
}
pub(crate) use modules;

macro_rules! declare {
    ($($file:ident::$state:ident { $($key:ident: $variant:ident($args:ident)),+ })+) => {
        $(pub mod $file;)+

        /// A module of a task, with its arguments as the playbook has them.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Module {
            $($(#[doc = concat!("`", stringify!($key), "`.")] $variant($file::$args),)+)+
        }

        impl Module {
            /// The keys of all modules in a playbook.
            pub const KINDS: &[&str] = &[$($(stringify!($key)),+),+];

            /// Its key in a playbook.
            pub fn kind(&self) -> &'static str {
                match self { $($(Module::$variant(_) => stringify!($key),)+)+ }
            }

            fn arguments(&self) -> &dyn Arguments {
                match self { $($(Module::$variant(args) => args,)+)+ }
            }
        }

        /// One desired state on one node: a task with everything rendered.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Desired {
            $(#[doc = concat!("Of the module `", stringify!($file), "`.")] $state($file::$state),)+
        }

        impl Desired {
            /// The names of all desired states: of the files that make them.
            pub const NAMES: &[&str] = &[$(stringify!($file)),+];

            /// The name of this one.
            pub fn name(&self) -> &'static str {
                match self { $(Desired::$state(_) => stringify!($file),)+ }
            }

            fn state(&self) -> &dyn State {
                match self { $(Desired::$state(it) => it,)+ }
            }
        }
    };
}
modules!(declare);

/// The arguments of a task, as a playbook has them.
pub trait Arguments {
    /// What is desired at a node.
    ///
    /// # Errors
    /// What is wrong with them, without the task's name.
    fn expand(&self, site: &dyn Site) -> Result<Desired, String>;

    /// The template that they name, if they name one; it may still hold a variable.
    fn template(&self) -> Option<&str> {
        None
    }
}

impl Arguments for Module {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        self.arguments().expand(site)
    }
    fn template(&self) -> Option<&str> {
        self.arguments().template()
    }
}

/// A script, and what it needs.
#[derive(Clone, Default, PartialEq)]
pub struct Actions {
    /// POSIX shell, run with `set -e`. It may call the functions of the apply script's prelude
    /// (`put`, `link`, `made`, ...) and use a payload as `"$payload/NAME"`.
    pub script: String,
    /// Small files in the apply's own stream, by name.
    pub payloads: Vec<(String, Arc<[u8]>)>,
    /// Files that must be in the node's blob store first, by SHA-256.
    pub blobs: Vec<file::Blob>,
    /// The unit whose journal explains a failure.
    pub unit: Option<String>,
    /// Whether the task is done only when the unit has stayed up for a while, which its script
    /// leaves to the prelude's `settle`.
    pub watched: bool,
    /// How long the action may take, in addition to the usual limit.
    pub patience: Duration,
}

impl fmt::Debug for Actions {
    // A payload may be a private key, and debug output may end up in a log.
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
    /// Returns a script without files.
    pub fn script(script: impl Into<String>) -> Self {
        Self { script: script.into(), ..Self::default() }
    }
}

/// A file that a person has beside the commands that they type.
#[derive(Debug, Clone, PartialEq)]
pub struct AtHand {
    /// Its name there: `bundle/etcd`, `pki/ca.key`.
    pub name: String,
    /// Its content.
    pub content: Content,
    /// Whether the content must never be shown.
    pub secret: bool,
}

/// The faces of a desired state.
pub trait State {
    /// Returns what to ask the node.
    fn probe(&self) -> Vec<Question>;

    /// Returns why the node is not as desired; `None` if it is. A question without an answer counts
    /// as "not as desired".
    fn diff(&self, facts: &Facts) -> Option<Difference>;

    /// Returns what to do about the difference.
    fn actions(&self, facts: &Facts) -> Actions;

    /// Returns what a user would have typed; never contains a secret.
    fn shell(&self) -> String;

    /// Returns what to type after [`shell`](State::shell) so that labctl recognises what was done:
    /// the note that its own actions write.
    fn note(&self) -> Option<String> {
        None
    }

    /// Returns the files that [`shell`](State::shell) names without a path: who types it has them
    /// beside the commands.
    fn beside(&self) -> Vec<AtHand> {
        Vec::new()
    }

    /// Returns a short title for reports: `/etc/hosts`, `unit etcd.service`.
    fn title(&self) -> String;

    /// Updates the facts as if the actions had run, for tests of plans: a diff against these facts
    /// finds nothing. `tests/it/modules.rs` runs the actions themselves.
    fn settle(&self, facts: &mut Facts);

    /// What its actions write into the node record: each kind has its undoing there, and a law in
    /// `tests/it/laws.rs` holds that no other is written.
    fn records(&self) -> &'static [Kind];

    /// The thing on a node that it is about, and the state that it wants it in: two states of one
    /// thing would undo each other, run after run. `None` where two tasks cannot contradict each
    /// other.
    fn subject(&self) -> Option<(String, String)> {
        None
    }

    /// Whether the probe's answer may be out of date once any earlier task has changed something,
    /// so that the task is checked again when it is reached.
    fn is_judged_at_run_time(&self) -> bool {
        false
    }

    /// Whether its actions only put something in place, and need nothing that runs: they do not
    /// wait until units that were started before are seen to stay up.
    fn is_only_put(&self) -> bool {
        false
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
    fn note(&self) -> Option<String> {
        self.state().note()
    }
    fn beside(&self) -> Vec<AtHand> {
        self.state().beside()
    }
    fn title(&self) -> String {
        self.state().title()
    }
    fn settle(&self, facts: &mut Facts) {
        self.state().settle(facts);
    }
    fn records(&self) -> &'static [Kind] {
        self.state().records()
    }
    fn subject(&self) -> Option<(String, String)> {
        self.state().subject()
    }
    fn is_judged_at_run_time(&self) -> bool {
        self.state().is_judged_at_run_time()
    }
    fn is_only_put(&self) -> bool {
        self.state().is_only_put()
    }
}
