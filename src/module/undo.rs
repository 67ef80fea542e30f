//! `undo`: undoes everything in the node record, newest first, and removes labctl's own files.

use serde::Deserialize;

use super::{
    Actions, Arguments, Desired, Difference, Facts, Question, STATE_FOLDER, Site, State, quote,
};
use crate::machine::Family;
use crate::node::{self, record::Kind};

/// `undo`: undoes everything in the node record.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoArgs {
    /// Directories that belong to programs of the lab and are removed whatever the record contains.
    #[serde(default)]
    pub own: Vec<String>,
}

impl Arguments for UndoArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        Ok(Desired::Undo(Undo { own: site.paths(&self.own)?, family: site.family() }))
    }
}

/// The end of a lab on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// Directories that belong to programs of the lab and are removed whatever the record contains.
    pub own: Vec<String>,
    /// The family of the node's system, whose packages may be among what is undone.
    pub family: &'static Family,
}

/// Returns a check that passes if there is nothing to undo.
fn check() -> String {
    format!("! test -e {STATE_FOLDER}")
}

impl State for Undo {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Test(check())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        (facts.checks.get(&check()) != Some(&true))
            .then(|| Difference::run("the record lists what labctl did"))
    }

    fn actions(&self, _: &Facts) -> Actions {
        let own: Vec<_> = self.own.iter().map(|path| quote(path)).collect();
        Actions::script(format!("{}{}undo {}\n", self.family.shell(), node::UNDO, own.join(" ")))
    }

    fn shell(&self) -> String {
        format!(
            "# Undo every line of {STATE_FOLDER}/record, the last one first; then:\nrm -r \
            {STATE_FOLDER}"
        )
    }

    fn title(&self) -> String {
        "undo what the record lists".to_owned()
    }

    fn records(&self) -> &'static [Kind] {
        &[]
    }

    fn settle(&self, facts: &mut Facts) {
        facts.checks.insert(check(), true);
    }
}
