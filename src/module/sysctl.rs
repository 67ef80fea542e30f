//! `sysctl`: a kernel setting, now and after a reboot.

use serde::Deserialize;

use super::{Actions, Arguments, Desired, Difference, Facts, Question, Site, State, quote};
use crate::node::record::{self, Kind};

/// `sysctl`: a kernel setting.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SysctlArgs {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Arguments for SysctlArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let (key, value) = (site.text(&self.key)?, site.text(&self.value)?);
        Ok(Desired::Sysctl(Sysctl { key, value }))
    }
}

/// A kernel setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Its name: `net.ipv4.ip_forward`.
    pub key: String,
    /// Its value as text.
    pub value: String,
}

impl Sysctl {
    fn live(&self) -> String {
        format!("/proc/sys/{}", self.key.replace('.', "/"))
    }

    /// One file per key, so that removing one never affects another.
    fn persistent(&self) -> String {
        format!("/etc/sysctl.d/90-labctl-{}.conf", self.key)
    }

    fn line(&self) -> String {
        format!("{} = {}", self.key, self.value)
    }
}

impl State for Sysctl {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Text(self.live()), Question::Text(self.persistent())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let Some(live) = facts.texts.get(&self.live()) else {
            return Some(Difference::alter("not known to the kernel yet"));
        };
        // The kernel separates the numbers of a range by tabs, users by spaces.
        if !live.split_whitespace().eq(self.value.split_whitespace()) {
            return Some(Difference::alter(format!(
                "{} should be {}",
                live.trim_end(),
                self.value
            )));
        }
        match facts.texts.get(&self.persistent()) {
            Some(text) if text.trim_end() == self.line() => None,
            _ => Some(Difference::alter("a reboot would lose it")),
        }
    }

    fn actions(&self, _: &Facts) -> Actions {
        let (live, persistent) = (self.live(), self.persistent());
        Actions::script(format!(
            "set_sysctl {} {} {} {} {}\n",
            quote(&self.key),
            quote(&self.value),
            quote(&live),
            quote(&self.line()),
            quote(&persistent)
        ))
    }

    fn shell(&self) -> String {
        let assignment = format!("{}={}", self.key, self.value);
        format!(
            "sysctl -w {} && echo {} > {}",
            quote(&assignment),
            quote(&self.line()),
            quote(&self.persistent())
        )
    }

    fn title(&self) -> String {
        format!("sysctl {}", self.key)
    }

    fn records(&self) -> &'static [Kind] {
        &[record::SYSCTL, record::FILE, record::REPLACED, record::DIRECTORY]
    }

    fn subject(&self) -> Option<(String, String)> {
        Some((self.key.clone(), self.value.clone()))
    }

    fn settle(&self, facts: &mut Facts) {
        facts.texts.insert(self.live(), format!("{}\n", self.value));
        facts.texts.insert(self.persistent(), format!("{}\n", self.line()));
    }
}
