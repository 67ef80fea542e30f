//! `directory`: a directory with mode and owner.

use serde::Deserialize;

use super::{
    Actions, Arguments, Desired, Difference, Facts, Question, Site, State, attributes,
    probe::PathFact, quote,
};
use crate::node::record::{self, Kind};

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

impl Arguments for DirectoryArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        Ok(Desired::Directory(Directory {
            path: site.path(&self.path)?,
            mode: attributes::mode(self.mode.as_ref(), "755")?,
            owner: attributes::owner(self.owner.as_ref())?,
        }))
    }
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Absolute path.
    pub path: String,
    /// Octal permissions without leading zeros, as stat prints them: `755`.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
}

impl Directory {
    /// Returns the path with a trailing slash, to look at the target of a symbolic link: a
    /// directory may be on another disk.
    fn inside(&self) -> String {
        format!("{}/.", self.path)
    }
}

impl State for Directory {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Path(self.inside())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let Some(found) = facts.paths.get(&self.inside()) else {
            return Some(Difference::missing());
        };
        if found.kind != "directory" {
            return Some(Difference::alter(format!("is a {}, not a directory", found.kind)));
        }
        attributes::attributes_differ(found, &self.mode, &self.owner)
    }

    fn actions(&self, _: &Facts) -> Actions {
        Actions::script(format!("folder {} {} {}\n", self.mode, self.owner, quote(&self.path)))
    }

    fn shell(&self) -> String {
        let (user, group) = self.owner.split_once(':').unwrap_or((&self.owner, &self.owner));
        format!("install -d -m {} -o {user} -g {group} {}", self.mode, quote(&self.path))
    }

    fn title(&self) -> String {
        format!("{}/", self.path)
    }

    fn records(&self) -> &'static [Kind] {
        &[record::DIRECTORY, record::EMPTY, record::ATTRIBUTES]
    }

    fn subject(&self) -> Option<(String, String)> {
        let state = format!("folder {} {}", self.mode, self.owner);
        Some((self.path.trim_end_matches('/').to_owned(), state))
    }

    fn is_only_put(&self) -> bool {
        true
    }

    fn settle(&self, facts: &mut Facts) {
        let fact = PathFact {
            kind: "directory".to_owned(),
            mode: self.mode.clone(),
            owner: self.owner.clone(),
            ..PathFact::default()
        };
        facts.paths.insert(self.inside(), fact);
    }
}
