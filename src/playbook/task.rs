//! Tasks: the keys that all of them have, and one module each.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::{Component, On};
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
