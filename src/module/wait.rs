//! `wait`: a condition that comes true by itself, or does not within its time.

use std::time::Duration;

use crate::event::ChangeKind;

use super::{Actions, Difference, Facts, Question, State, quote};

/// A condition to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for, as the end of "waiting for": `etcd to be healthy`.
    pub what: String,
    /// The check, for `sh`: exit code 0 says that it has come true. It must change nothing.
    pub until: String,
    /// How long it may take.
    pub timeout: Duration,
    /// The unit whose journal explains why it does not come true.
    pub unit: Option<String>,
}

impl State for Wait {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Check(self.until.clone())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        (facts.checks.get(&self.until) != Some(&true))
            .then(|| Difference::new(ChangeKind::Wait, "not yet so"))
    }

    fn actions(&self, _: &Facts) -> Actions {
        // The last failed check's output is what explains a time-out, so it is kept for the report.
        // Waiting changes nothing, so the task is reported as unchanged however long it took.
        let seconds = self.timeout.as_secs().max(1);
        let script = format!(
            "same\nfinish\nend=$(($(date +%s) + {seconds}))\nuntil timeout 15 sh -c {until} \
            >\"$payload/check\" 2>&1; do\n  \
             if [ \"$(date +%s)\" -ge $end ]; then cat \"$payload/check\"; echo 'not so within \
            {seconds} s'; exit 1; fi\n  \
             sleep 0.2\ndone\n",
            until = quote(&self.until)
        );
        Actions { script, unit: self.unit.clone(), patience: self.timeout, ..Actions::default() }
    }

    fn shell(&self) -> String {
        format!("until {}; do sleep 1; done", self.until.trim())
    }

    fn title(&self) -> String {
        format!("wait for {}", self.what)
    }

    fn settle(&self, facts: &mut Facts) {
        facts.checks.insert(self.until.clone(), true);
    }
}
