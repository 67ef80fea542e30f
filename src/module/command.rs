//! `command`: a command, and a check that shows whether it is needed.

use serde::Deserialize;

use super::{Actions, Arguments, Desired, Difference, Facts, Question, Site, State, quote};
use crate::node::record::{self, Kind};

/// `command`: a command, and a check that shows whether it is needed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandArgs {
    /// The command, for `sh`.
    pub run: String,
    /// The check, for `sh`; exit code 0 means that there is nothing to do.
    pub unless: String,
}

impl Arguments for CommandArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let (run, unless) = (site.text(&self.run)?, site.text(&self.unless)?);
        Ok(Desired::Command(Command { run, unless }))
    }
}

/// A shell command that runs unless its check passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The command, for `sh`.
    pub run: String,
    /// The check, for `sh`: exit code 0 means that there is nothing to do. It must change nothing.
    pub unless: String,
}

impl State for Command {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Check(self.unless.clone())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        (facts.checks.get(&self.unless) != Some(&true))
            .then(|| Difference::run("needed: the `unless` check fails"))
    }

    fn actions(&self, _: &Facts) -> Actions {
        let run = self.run.trim_end();
        Actions::script(format!(
            "if holds {} >/dev/null 2>&1; then same; else\n{run}\nfi\n",
            quote(&self.unless)
        ))
    }

    fn shell(&self) -> String {
        // Lines for the node record are labctl's own; there is no record when working by hand.
        let recorded =
            |line: &&str| ["claim ", "keep "].iter().any(|it| line.trim_start().starts_with(it));
        let run: Vec<&str> = self.run.trim().lines().filter(|line| !recorded(line)).collect();
        let run = run.join("\n");
        let (run, unless) = (run.trim(), self.unless.trim());
        // `a || b && c` always runs `c`, and so does `a || b; c`.
        let grouped =
            if unless.contains(';') { format!("{{ {unless}; }}") } else { unless.to_owned() };
        if run.contains('\n') {
            format!("{{ {unless}; }} || {{\n{run}\n}}")
        } else if run.contains([';', '&']) {
            format!("{grouped} || {{ {run}; }}")
        } else {
            format!("{grouped} || {run}")
        }
    }

    fn title(&self) -> String {
        let first = self.run.trim().lines().next().unwrap_or_default();
        match first.char_indices().nth(60) {
            Some((end, _)) => format!("{}…", &first[..end]),
            None => first.to_owned(),
        }
    }

    /// Whatever its text says: it may call every function that writes a line, and there is none
    /// that cannot be undone.
    fn records(&self) -> &'static [Kind] {
        record::KINDS
    }

    fn is_judged_at_run_time(&self) -> bool {
        true
    }

    fn settle(&self, facts: &mut Facts) {
        facts.checks.insert(self.unless.clone(), true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_type_do_not_mention_the_record() {
        let (run, unless) = (
            "claim /root/.kube/config\nln -s /a /root/.kube/config\n",
            "test -e /root/.kube/config",
        );
        let command = Command { run: run.to_owned(), unless: unless.to_owned() };
        assert_eq!(command.shell(), "test -e /root/.kube/config || ln -s /a /root/.kube/config");
    }
}
