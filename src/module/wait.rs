//! `wait`: waits until a condition is true, with a time limit.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::event::ChangeKind;

use super::{Actions, Arguments, Desired, Difference, Facts, Question, Site, State, quote};
use crate::node::record::Kind;

/// `wait`: waits for a condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitArgs {
    /// The condition in words, to follow "waiting for".
    #[serde(rename = "for")]
    pub what: String,
    /// The check, for `sh`.
    pub until: String,
    /// Time limit: `60s`, `2m`.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// The unit whose journal is quoted if the wait times out.
    #[serde(default)]
    pub unit: Option<String>,
}

impl Arguments for WaitArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        Ok(Desired::Wait(Wait {
            what: site.text(&self.what)?,
            until: site.text(&self.until)?,
            timeout: self.timeout,
            unit: self.unit.as_ref().map(|unit| site.text(unit)).transpose()?,
        }))
    }
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    let bad = || serde::de::Error::custom(format!("`{text}` is not a duration like 60s or 2m"));
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        _ => return Err(bad()),
    };
    // At most a day, so that sums of durations stay far from overflow.
    match seconds.filter(|seconds| *seconds <= 24 * 60 * 60) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(serde::de::Error::custom(format!("`{text}` is longer than a day"))),
    }
}

/// A condition to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The condition in words, to follow "waiting for": `etcd to be healthy`.
    pub what: String,
    /// The check, for `sh`: exit code 0 means that the condition is true. It must change nothing.
    pub until: String,
    /// Time limit.
    pub timeout: Duration,
    /// The unit whose journal is quoted if the wait times out.
    pub unit: Option<String>,
}

impl State for Wait {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Check(self.until.clone())]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        (facts.checks.get(&self.until) != Some(&true))
            .then(|| Difference::new(ChangeKind::Wait, "condition not met yet"))
    }

    fn actions(&self, _: &Facts) -> Actions {
        let seconds = self.timeout.as_secs().max(1);
        let script = format!("wait_until {seconds} {}\n", quote(&self.until));
        Actions { script, unit: self.unit.clone(), patience: self.timeout, ..Actions::default() }
    }

    fn shell(&self) -> String {
        format!("until {}; do sleep 1; done", self.until.trim())
    }

    fn title(&self) -> String {
        format!("wait for {}", self.what)
    }

    fn records(&self) -> &'static [Kind] {
        &[]
    }

    fn is_judged_at_run_time(&self) -> bool {
        true
    }

    fn settle(&self, facts: &mut Facts) {
        facts.checks.insert(self.until.clone(), true);
    }
}
