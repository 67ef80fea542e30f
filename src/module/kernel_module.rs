//! `kernel_module`: a kernel module, now and after a reboot.
//!
//! Only what the module provides matters: it may be built into the kernel, so that there is nothing
//! to load.

use serde::Deserialize;

use super::{Actions, Arguments, Desired, Difference, Facts, Question, Site, State, quote};
use crate::node::record::{self, Kind};

/// `kernel_module`: a kernel module.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelModuleArgs {
    /// Its name.
    pub name: String,
    /// A path that exists if the kernel already provides what the module is for.
    pub provides: String,
}

impl Arguments for KernelModuleArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let (name, provides) = (site.text(&self.name)?, site.path(&self.provides)?);
        Ok(Desired::KernelModule(KernelModule { name, provides }))
    }
}

/// A kernel module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelModule {
    /// Its name: `br_netfilter`.
    pub name: String,
    /// A path that exists if the kernel provides what the module is for.
    pub provides: String,
}

impl KernelModule {
    fn persistent(&self) -> String {
        format!("/etc/modules-load.d/labctl-{}.conf", self.name)
    }

    /// Returns a check that passes if the module is built in, or loaded now and at every boot.
    fn check(&self) -> String {
        format!(
            "[ -e {} ] && {{ [ ! -e {} ] || [ -e {} ]; }}",
            quote(&self.provides),
            // The kernel uses underscores in module names; modprobe accepts dashes too.
            quote(&format!("/sys/module/{}/initstate", self.name.replace('-', "_"))),
            quote(&self.persistent())
        )
    }
}

impl State for KernelModule {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Test(self.check())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        (facts.checks.get(&self.check()) != Some(&true))
            .then(|| Difference::alter("not loaded, or a reboot would lose it"))
    }

    fn actions(&self, _: &Facts) -> Actions {
        Actions::script(format!(
            "made_module {name}\nnote {name} {file}\nmodprobe {name}\n",
            name = quote(&self.name),
            file = quote(&self.persistent())
        ))
    }

    fn shell(&self) -> String {
        let (name, persistent) = (quote(&self.name), self.persistent());
        let persistent = quote(&persistent);
        format!("{{ {}; }} || {{ modprobe {name} && echo {name} > {persistent}; }}", self.check())
    }

    fn title(&self) -> String {
        format!("kernel module {}", self.name)
    }

    fn records(&self) -> &'static [Kind] {
        &[record::MODULE, record::FILE, record::REPLACED, record::DIRECTORY]
    }

    fn settle(&self, facts: &mut Facts) {
        facts.checks.insert(self.check(), true);
    }
}
