//! The script of an apply, and the stream that carries it: pure text and bytes, no I/O.
//!
//! A play's changes on a node become a tar stream that contains a shell script and the small files
//! that it puts in place. The script reports on its tasks in lines that begin with `@`; [`Line`]
//! parses them.

use std::io;
use std::time::Duration;

use crate::module::probe::SIGNATURE;
use crate::module::unit::DID_NOT_STAY;
use crate::module::{STATE_FOLDER, State as _, quote};
use crate::node::{APPLY, PRELUDE, RECORD, RUNS, SETS, TURN};
use crate::plan::Change;

/// Returns what the node runs, with the tar stream as its input. It must not contain a secret,
/// because every user on the node can see it.
pub fn command() -> String {
    format!("state={STATE_FOLDER}\n{RUNS}{APPLY}")
}

/// What is written to a node about the lab that it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belonging {
    /// The text of the mark; `None` if it is not known yet.
    pub text: Option<String>,
    /// Fingerprints of keys that may be replaced without keeping a copy: the lab's own, present and
    /// earlier.
    pub related: Vec<String>,
}

/// Which run this is. A node that one run has changed takes nothing from another until the first
/// run's connection ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// What no other run has. Its first word stands for the lab directory, whose lock lets one run
    /// at a time work.
    pub run: String,
    /// Who it is, for the person whose run is refused: `labctl up of lab demo, ann@desk, ...`.
    pub who: String,
}

/// The script that applies `changes` in order and stops at the first that fails. Before the first
/// of them, the node is this run's, and is marked as the lab's.
pub fn script(changes: &[Change], turn: &Turn, mark: &Belonging) -> String {
    let mut text = format!(
        "signature='{SIGNATURE}'\ndid_not_stay='{DID_NOT_STAY}'\nrelated={}\n\
        {PRELUDE}{RECORD}{TURN}{SETS}",
        quote(&mark.related.join(" "))
    );
    let mut watching = false;
    text.push_str(&format!(
        "\nturn {} {} || exit 0\n",
        quote(&turn.run),
        quote(&one_line(&turn.who))
    ));
    if let Some(mark) = &mark.text {
        text.push_str(&format!("\nmark {} || exit 0\n", quote(mark)));
    }
    for (number, change) in changes.iter().enumerate() {
        text.push_str(&format!(
            "\n# {}: {}\ntask_{number}() {{\n",
            one_line(&change.title),
            one_line(&change.why)
        ));
        text.push_str(&change.actions.script);
        text.push_str("}\n");
        let unit = change.actions.unit.as_deref().unwrap_or_default();
        // Units that are started one after another are watched together, and files are put in place
        // meanwhile; any other task waits until they are up.
        if !change.desired.is_only_put() {
            if watching && !change.actions.watched {
                text.push_str("settle\n");
            }
            watching = change.actions.watched;
        }
        text.push_str(&format!("run {number} {}\n", quote(unit)));
    }
    text.push_str("settle\nfinish\n");
    text.push_str("trim_notes\nremarks\n");
    text.push_str("printf '@end\\n'\n");
    text
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Returns the stream that [`command`] reads: the script and every payload, as tar.
///
/// # Errors
/// As the tar format has them: a payload's name that does not fit.
pub fn stream(changes: &[Change], turn: &Turn, mark: &Belonging) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes)
    };
    add("script", script(changes, turn, mark).as_bytes())?;
    // There is always a payload folder: tasks put their scratch files there.
    add("payload/.keep", b"")?;
    let mut sent = std::collections::BTreeSet::new();
    for (name, bytes) in changes.iter().flat_map(|change| &change.actions.payloads) {
        if sent.insert(name) {
            add(&format!("payload/{name}"), bytes)?;
        }
    }
    archive.into_inner()
}

/// Returns the time limit of the script: the limits of its tasks, and five minutes for everything
/// else.
pub fn patience(changes: &[Change]) -> Duration {
    changes.iter().map(|change| change.actions.patience).sum::<Duration>()
        + Duration::from_secs(300)
}

/// A line of the script's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A task begins.
    Start(usize),
    /// It changed something.
    Done(usize),
    /// It found nothing to change.
    Same(usize),
    /// It failed with this exit code.
    Fail(usize, i32),
    /// A line of the failed task's output.
    Output(String),
    /// A line of the journal of the failed task's unit.
    Journal(String),
    /// A note for the user that is not a failure.
    Remark(String),
    /// All tasks are done.
    End,
}

impl Line {
    /// Parses one line; `None` if it is not one of the script's.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = || rest.split(' ').next().and_then(|n| n.parse().ok());
        match word {
            "@start" => number().map(Line::Start),
            "@done" => number().map(Line::Done),
            "@same" => number().map(Line::Same),
            "@fail" => {
                let (task, code) = rest.split_once(' ')?;
                Some(Line::Fail(task.parse().ok()?, code.parse().ok()?))
            }
            "@output" => Some(Line::Output(rest.to_owned())),
            "@journal" => Some(Line::Journal(rest.to_owned())),
            "@remark" => Some(Line::Remark(rest.to_owned())),
            "@end" => Some(Line::End),
            _ => None,
        }
    }
}
