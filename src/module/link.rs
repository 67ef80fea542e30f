//! `link`: a symbolic link; with `replace: false` only where there is nothing yet.

use serde::Deserialize;

use super::{
    Actions, Arguments, Desired, Difference, Facts, Question, Site, State, probe::PathFact, quote,
};
use crate::node::record::{self, Kind};

/// `link`: a symbolic link.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkArgs {
    /// Absolute path of the link.
    pub path: String,
    /// Absolute path that it leads to; nothing has to be there.
    pub target: String,
    /// Whether it replaces whatever else is at its path; true by default.
    #[serde(default = "yes")]
    pub replace: bool,
}

fn yes() -> bool {
    true
}

impl Arguments for LinkArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let (path, target) = (site.file_path(&self.path)?, site.path(&self.target)?);
        Ok(Desired::Link(Link { path, target, replace: self.replace }))
    }
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its absolute path.
    pub path: String,
    /// Where it leads.
    pub target: String,
    /// Whether it replaces whatever else is at its path.
    pub replace: bool,
}

impl Link {
    /// Passes when it leads where it should.
    fn check(&self) -> String {
        format!("[ \"$(readlink -- {})\" = {} ]", quote(&self.path), quote(&self.target))
    }

    /// Passes when anything is at its path.
    fn taken(&self) -> String {
        format!("test -e {0} -o -L {0}", quote(&self.path))
    }
}

impl State for Link {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Path(self.path.clone()), Question::Check(self.check())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        match facts.paths.get(&self.path) {
            None => Some(Difference::missing()),
            Some(_) if !self.replace => None,
            Some(found) if found.kind != "symbolic link" => {
                Some(Difference::alter(format!("is a {}, not a link", found.kind)))
            }
            Some(_) => (facts.checks.get(&self.check()) != Some(&true))
                .then(|| Difference::alter("leads elsewhere")),
        }
    }

    fn actions(&self, _: &Facts) -> Actions {
        let (path, target) = (quote(&self.path), quote(&self.target));
        // Somebody may have come since the probe.
        let first = if self.replace {
            String::new()
        } else {
            format!("if {}; then same; return; fi\n", self.taken())
        };
        Actions::script(format!(
            "{first}begin {path}\nln -s -- {target} \"$temporary\"\n\
            mv -fT -- \"$temporary\" {path}\n"
        ))
    }

    fn shell(&self) -> String {
        let (path, target) = (quote(&self.path), quote(&self.target));
        if self.replace {
            format!("ln -sfn {target} {path}")
        } else {
            format!("{} || ln -s {target} {path}", self.taken())
        }
    }

    fn title(&self) -> String {
        self.path.clone()
    }

    fn records(&self) -> &'static [Kind] {
        record::FILES
    }

    fn subject(&self) -> Option<(String, String)> {
        Some((self.path.clone(), format!("link {}", self.target)))
    }

    fn is_only_put(&self) -> bool {
        true
    }

    fn settle(&self, facts: &mut Facts) {
        let there = self.replace || !facts.paths.contains_key(&self.path);
        if there {
            let fact = PathFact { kind: "symbolic link".to_owned(), ..PathFact::default() };
            facts.paths.insert(self.path.clone(), fact);
            facts.checks.insert(self.check(), true);
        }
    }
}
