//! Tasks: the keys that all of them have, and one module each; and the components that they belong
//! to.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::On;
use crate::module::{self, Each, Module};

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
    /// Whether to run only on the first of the play's nodes that the run is for.
    pub once: bool,
    /// The desired state.
    pub module: Module,
    /// The component that it belongs to, if any.
    pub component: Option<Arc<Component>>,
}

/// The file of one component.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Component {
    /// The standard component of the same playbook whose sections it has, except those that it has
    /// itself.
    pub extends: Option<String>,
    /// Why it exists, for a learner.
    pub why: String,
    /// What it needs on the machine: packages, kernel modules, settings.
    pub prepare: Vec<Task>,
    /// The certificates and kubeconfigs that it reads: `ca.crt`, `sa.key`, `kubelet.conf`;
    /// `apiserver` for the certificate and its key.
    pub certificates: Vec<String>,
    /// Tasks that install its programs.
    pub binaries: Vec<Task>,
    /// Tasks that import the container images it needs, on every worker.
    pub images: Vec<Task>,
    /// All other tasks, in order.
    pub tasks: Vec<Task>,
    /// Its name, which is also the name of its play.
    #[serde(skip)]
    pub name: String,
}

impl Component {
    /// Returns the paths on a node of the certificates and kubeconfigs that the component reads.
    pub fn certificate_paths(&self) -> impl Iterator<Item = String> + '_ {
        self.certificates.iter().flat_map(|name| match name.rsplit_once('.') {
            Some((_, "conf")) => vec![format!("/etc/kubernetes/{name}")],
            Some(_) => vec![format!("/etc/kubernetes/pki/{name}")],
            None => ["crt", "key"].map(|end| format!("/etc/kubernetes/pki/{name}.{end}")).to_vec(),
        })
    }
}

/// A task as the YAML has it: every module is a key, and exactly one of them must be there. (An
/// untagged or flattened enum would say "data did not match any variant" where this can say which
/// key is wrong.)
macro_rules! raw_task {
    ($($file:ident::$state:ident { $($key:ident: $variant:ident($args:ident)),+ })+) => {
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
            $($($key: Option<module::$file::$args>,)+)+
        }

        impl RawTask {
            fn modules(&mut self) -> impl Iterator<Item = Module> + use<> {
                [$($(self.$key.take().map(Module::$variant)),+),+].into_iter().flatten()
            }
        }
    };
}
module::modules!(raw_task);

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let mut raw = RawTask::deserialize(d)?;
        let mut modules = raw.modules();
        let module = modules.next().ok_or_else(|| {
            let known = Module::KINDS.join(", ");
            D::Error::custom(format!("this task has no module: one of {known}"))
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
