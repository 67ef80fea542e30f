//! `--output json`: one event per line on stdout, for programs.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::stream::Stream;
use super::thin::Thin;
use crate::event::{Event, Stamped};
use crate::status::LabStatus;
use crate::timeline::Timeline;

/// Writes events as JSON lines.
#[derive(Debug)]
pub(super) struct Json {
    stream: Stream,
    thin: Thin,
}

impl Json {
    /// Writes to `stream`, progress at most once per second.
    pub fn new(stream: Stream) -> Self {
        Self { stream, thin: Thin::new(Duration::from_secs(1)) }
    }

    /// Reports one event.
    pub fn event(&mut self, stamped: &Stamped) -> io::Result<()> {
        if self.thin.passes(stamped) { self.stream.write(&line(stamped)?) } else { Ok(()) }
    }
}

/// The version of the JSON form of events. It changes when a field or an event goes or means
/// something else.
const FORMAT: u32 = 1;

/// An event as a line has it.
#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    stamped: &'a Stamped,
    /// [`FORMAT`], in the first line of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
}

/// Formats one event as a line of JSON.
pub(super) fn line(stamped: &Stamped) -> io::Result<String> {
    let format = matches!(stamped.event, Event::RunStarted { .. }).then_some(FORMAT);
    let mut line = serde_json::to_string(&EventLine { stamped, format })?;
    line.push('\n');
    Ok(line)
}

/// Formats a timeline as one line of JSON.
pub(super) fn whole(timeline: &Timeline) -> String {
    format!("{}\n", serde_json::json!(timeline))
}

/// Formats how a lab is as one line of JSON.
pub(super) fn status(status: &LabStatus) -> String {
    let mut value = serde_json::json!(status);
    value["event"] = "status".into();
    format!("{value}\n")
}

/// Formats one run in a list of runs as a line of JSON.
pub(super) fn run(name: &str, run: &Timeline) -> String {
    let line = serde_json::json!({
        "run": name, "verb": run.verb, "lab": run.lab,
        "began_ms": run.began_ms, "ms": run.took, "ok": run.ok,
    });
    format!("{line}\n")
}
