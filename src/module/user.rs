//! `user`: a system user that a program runs as, with a group of the same name.

use serde::Deserialize;

use super::{Actions, Arguments, Desired, Difference, Facts, Question, Site, State, quote};
use crate::node::record::{self, Kind};

/// `user`: a system user.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserArgs {
    /// Its name, and that of its group.
    pub name: String,
    /// Its home directory, an absolute path. It is not created.
    pub home: String,
}

impl Arguments for UserArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let (name, home) = (site.text(&self.name)?, site.path(&self.home)?);
        let begins = |c: char| c.is_ascii_lowercase() || c == '_';
        let part = |c: char| begins(c) || c.is_ascii_digit() || c == '-';
        if !name.starts_with(begins) || !name.chars().all(part) || name.len() > 32 {
            return Err(format!("user `{name}` is not a name like \"etcd\""));
        }
        if home.contains(':') {
            return Err(format!("`{home}` cannot be a home directory: it has a colon"));
        }
        Ok(Desired::User(User { name, home }))
    }
}

/// A system user without a password and a shell, with a group of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name, and that of its group.
    pub name: String,
    /// Its home directory. One that a distribution's package made may have another.
    pub home: String,
}

impl User {
    /// Returns a check that passes if both the user and the group exist.
    fn check(&self) -> String {
        let name = quote(&self.name);
        format!("getent passwd {name} && getent group {name}")
    }
}

impl State for User {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Check(self.check())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        (facts.checks.get(&self.check()) != Some(&true)).then(Difference::missing)
    }

    fn actions(&self, _: &Facts) -> Actions {
        Actions::script(format!("make_user {} {}\n", quote(&self.name), quote(&self.home)))
    }

    fn shell(&self) -> String {
        let (name, home) = (quote(&self.name), quote(&self.home));
        format!(
            "getent passwd {name} || \
            useradd --system --user-group --no-create-home --home-dir {home} \
            --shell /usr/sbin/nologin {name}"
        )
    }

    fn title(&self) -> String {
        format!("user {}", self.name)
    }

    fn records(&self) -> &'static [Kind] {
        &[record::USER, record::GROUP, record::FILE, record::REPLACED]
    }

    fn settle(&self, facts: &mut Facts) {
        facts.checks.insert(self.check(), true);
    }
}
