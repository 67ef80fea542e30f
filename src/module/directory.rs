//! `directory`: a directory with mode and owner.

use super::{Actions, Difference, Facts, Question, State, probe::PathFact, quote};

/// A folder.
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
    /// What the node is asked about: where the path leads, because a folder may lie on another disk
    /// behind a link.
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
        attributes_differ(found, &self.mode, &self.owner)
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

/// How mode or owner of something that exists differ from what is desired.
pub(super) fn attributes_differ(found: &PathFact, mode: &str, owner: &str) -> Option<Difference> {
    if found.mode != mode {
        return Some(Difference::alter(format!("mode {} should be {mode}", found.mode)));
    }
    if found.owner != owner {
        return Some(Difference::alter(format!("owner {} should be {owner}", found.owner)));
    }
    None
}
