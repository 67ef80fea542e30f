//! All of labctl's output: drains the events of a run into displays and logs. Nothing else prints.
//!
//! ```text
//! events ── run ──┬── Terminal   a person watches: permanent lines, and a live picture below them
//!                 ├── Plain      a pipe or a file: one line per noteworthy event
//!                 ├── Json       a program: one event per line on the standard output
//!                 └── RunLog     the lab directory: every event, always
//! ```
//!
//! Results (a plan, a table, a rendered file) go to stdout, progress and errors to stderr. A closed
//! pipe is not an error: what cannot be written is dropped.

mod certificates;
mod failure;
mod gantt;
mod json;
mod log;
mod page;
mod plain;
mod plan;
mod question;
mod record;
mod status;
mod status_page;
mod stream;
mod summary;
mod terminal;
mod text;
mod thin;
mod view;
mod watch;
pub mod workshop;

#[cfg(test)]
mod stories;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use self::json::Json;
pub use self::log::RunLog;
use self::plain::Plain;
pub use self::question::{ask, can_ask};
pub use self::record::{PlayTimes, RunReport};
use self::stream::Stream;
use self::terminal::Terminal;
pub use self::watch::{KeyPress, Watch};
use crate::event::{CertificateFound, Event, Stamped};
use crate::status::LabStatus;
use crate::timeline::Timeline;

/// Twelve frames per second: smooth, and slow enough to read.
const TICK: Duration = Duration::from_millis(80);

/// The reader of stdout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// A person.
    #[default]
    Text,
    /// A program: one JSON object per line.
    Json,
}

/// The user's answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Proceed.
    Yes,
    /// Do not proceed.
    No,
    /// The user cannot be asked, because stdin is not a terminal.
    Nobody,
}

/// Prints events and results in a form that suits the reader.
#[derive(Debug, Clone)]
pub struct Reporter {
    output: OutputFormat,
    verbose: bool,
    diff: bool,
    out: Stream,
    err: Stream,
}

impl Reporter {
    /// Returns a reporter for this process's standard streams. `verbose` also reports unchanged
    /// tasks, `diff` the lines that change.
    pub fn new(output: OutputFormat, verbose: bool, diff: bool) -> Self {
        Self { output, verbose, diff, out: Stream::stdout(), err: Stream::stderr() }
    }

    /// Whether the output is for a program.
    pub fn is_json(&self) -> bool {
        self.output == OutputFormat::Json
    }

    /// Spawns [`Reporter::run`] as a task. Await it after the last [`crate::event::Events`] is
    /// dropped.
    pub fn spawn(
        &self,
        events: UnboundedReceiver<Stamped>,
        log: Option<RunLog>,
    ) -> JoinHandle<RunReport> {
        let reporter = self.clone();
        tokio::spawn(async move { reporter.run(events, log).await })
    }

    /// Reports every event until all senders are dropped, and returns the result of the run.
    pub async fn run(&self, events: UnboundedReceiver<Stamped>, log: Option<RunLog>) -> RunReport {
        let mut sinks = vec![match self.output {
            OutputFormat::Json => Sink::Json(Json::new(self.out.clone())),
            OutputFormat::Text if self.err.terminal => {
                Sink::Terminal(Box::new(Terminal::stderr(self.err.paint, self.verbose, self.diff)))
            }
            OutputFormat::Text => {
                Sink::Plain(Plain::new(self.err.clone(), self.verbose, self.diff))
            }
        }];
        let path = log.as_ref().map(|log| log.path().to_path_buf());
        sinks.extend(log.map(Sink::Log));
        let mut report = drain(events, sinks).await;
        report.log = path;
        report
    }

    /// Prints the closing part of a run. `next` are commands that make sense afterwards.
    pub fn close(&self, report: &RunReport, next: &[String]) {
        if self.output == OutputFormat::Json {
            return;
        }
        let (out, err) = (self.out.paint, self.err.paint);
        let mut lines = summary::tables(report, self.out.width(), self.verbose, out);
        if report.ok() {
            // Live lines have disappeared, so a verdict alone needs no blank line above it.
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(summary::verdict(report, out));
            lines.extend(summary::next(next, out));
            say(&self.out, &lines);
            return;
        }
        say(&self.out, &lines);
        let log = report
            .summary
            .as_ref()
            .and_then(|summary| summary.log.as_deref())
            .or(report.log.as_deref());
        let mut lines = vec![String::new()];
        lines.extend(failure::blocks(&report.failures, log, err));
        lines.push(summary::verdict(report, err));
        lines.extend(summary::next(next, err));
        say(&self.err, &lines);
    }

    /// Prints the plan in full; `labctl plan` prints it instead of a closing part.
    pub fn plan(&self, report: &RunReport, next: &[String]) {
        if self.output == OutputFormat::Json {
            return;
        }
        let paint = self.out.paint;
        let mut lines = plan::list_here(&report.preparations, paint);
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let on_nodes = plan::list(&report.planned, true, paint);
        if !on_nodes.is_empty() {
            lines.extend(on_nodes);
            lines.push(String::new());
        }
        let mut counts: Vec<String> = plan::counts_here(&report.preparations).into_iter().collect();
        counts.push(plan::counts(&report.planned, report.unchanged));
        if !report.left_out.is_empty() {
            counts.push(format!("without {}", report.left_out.join(", ")));
        }
        if report.judged_again > 0 {
            let tasks = text::count(report.judged_again, "task");
            let again = format!(
                "{tasks} unchanged so far; checked again when reached, because an earlier task \
                changes something they use."
            );
            lines.push(paint.faint(&again));
        }
        lines.push(format!("{} {}.", paint.strong("Plan:"), counts.join("; ")));
        if report.failures.is_empty() {
            lines.extend(summary::next(next, paint));
        }
        say(&self.out, &lines);
        if !report.failures.is_empty() {
            let mut lines = vec![String::new()];
            lines.extend(failure::blocks(&report.failures, report.log.as_deref(), self.err.paint));
            say(&self.err, &lines);
        }
    }

    /// Renders a run's timeline.
    pub fn timeline(&self, timeline: &Timeline) -> String {
        if self.output == OutputFormat::Json {
            return json::whole(timeline);
        }
        lines(&gantt::chart(timeline, self.out.width(), self.verbose, self.out.paint))
    }

    /// Renders a run's timeline as a self-contained HTML page.
    pub fn timeline_page(&self, timeline: &Timeline) -> String {
        page::page(timeline)
    }

    /// Renders how a lab is.
    pub fn status(&self, status: &LabStatus) -> String {
        if self.output == OutputFormat::Json {
            return json::status(status);
        }
        lines(&status::screen(status, self.out.width(), self.out.paint))
    }

    /// Takes the whole terminal to show how a lab is; nothing where there is no terminal.
    ///
    /// # Errors
    /// When the terminal cannot be switched.
    pub fn watch(&self) -> io::Result<Option<Watch>> {
        if !self.out.terminal || !io::stdin().is_terminal() {
            return Ok(None);
        }
        Watch::begin().map(Some)
    }

    /// Renders how a lab is as a self-contained HTML page.
    pub fn status_page(&self, status: &LabStatus) -> String {
        status_page::page(status)
    }

    /// Renders a table of a lab's runs, by name.
    pub fn runs(&self, runs: &[(String, Timeline)]) -> String {
        if self.output == OutputFormat::Json {
            return runs.iter().map(|(name, run)| json::run(name, run)).collect();
        }
        lines(&gantt::list(runs, self.out.paint))
    }

    /// Prints the certificates that were found, those that have expired or expire within `within`
    /// seconds, the nodes that could not be reached, and what to do about each.
    pub fn certificates(
        &self,
        all: &[CertificateFound],
        within: i64,
        report: &RunReport,
        next: &[String],
    ) {
        if self.output == OutputFormat::Json {
            let line =
                |one| serde_json::json!({ "event": "certificate", "certificate": one }).to_string();
            say(&self.out, &all.iter().map(line).collect::<Vec<_>>());
            return;
        }
        let paint = self.err.paint;
        say(&self.out, &certificates::table(all, within, self.out.width(), self.out.paint));
        let mut lines = certificates::ending(all, within, paint);
        lines.extend(failure::blocks(&report.failures, None, paint));
        if !lines.is_empty() {
            lines.insert(0, String::new());
            lines.extend(summary::next(next, paint));
        }
        say(&self.err, &lines);
    }

    /// Prints what failed in a run that has no closing part.
    pub fn failures(&self, report: &RunReport) {
        if !self.is_json() {
            say(&self.err, &failure::blocks(&report.failures, None, self.err.paint));
        }
    }

    /// Prints all problems of `subject` (an inventory, a playbook). The first line of each is the
    /// problem (`file:line:column: what`), the other lines are help.
    pub fn problems<P: Display>(&self, subject: &str, problems: &[P]) {
        let paint = self.err.paint;
        let mut lines = Vec::new();
        for problem in problems {
            let text = problem.to_string();
            let mut parts = text.lines();
            lines.push(format!("{} {}", paint.bad("error:"), parts.next().unwrap_or_default()));
            lines.extend(parts.map(|line| self.detail(line)));
        }
        // Several problems get a count, because the first ones may have scrolled away.
        if problems.len() > 1 {
            let number = text::count(problems.len(), "problem");
            lines.push(String::new());
            lines.push(format!("{} in {subject}; nothing was done", paint.strong(&number)));
        }
        self.tell(&lines);
    }

    /// Prints the error that ended a command, with its causes and, if known, what to do.
    pub fn error(&self, error: &dyn Error, help: Option<&str>) {
        let paint = self.err.paint;
        let mut lines: Vec<String> = Vec::new();
        let mut said = error.to_string();
        for (index, line) in said.lines().enumerate() {
            lines.push(if index == 0 {
                format!("{} {line}", paint.bad("error:"))
            } else {
                self.detail(line)
            });
        }
        let mut cause = error.source();
        while let Some(deeper) = cause {
            let deeper_text = deeper.to_string();
            // Most of our errors include their cause.
            if !said.contains(&deeper_text) {
                lines.push(format!("  {} {deeper_text}", paint.faint("because:")));
                said.push_str(&deeper_text);
            }
            cause = deeper.source();
        }
        lines.extend(help.iter().flat_map(|help| help.lines()).enumerate().map(|(index, line)| {
            if index == 0 {
                self.detail(&format!("help: {line}"))
            } else {
                self.detail(&format!("      {line}"))
            }
        }));
        self.tell(&lines);
    }

    /// Prints a warning outside a run; during a run it is an event.
    pub fn warning(&self, message: &str) {
        let mut parts = message.lines();
        let first = parts.next().unwrap_or_default();
        let mut lines = vec![format!("{} {first}", self.err.paint.warn("warning:"))];
        lines.extend(parts.map(|line| self.detail(line)));
        self.tell(&lines);
    }

    /// Prints a progress note to stderr.
    pub fn note(&self, message: &str) {
        say(&self.err, &[message.to_string()]);
    }

    /// Prints a command's result to stdout unchanged.
    ///
    /// # Errors
    /// If it cannot be written, unless the reader has closed the pipe (`labctl explain | head`).
    pub fn print(&self, text: &str) -> io::Result<()> {
        match self.out.write(text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Asks for confirmation of something that cannot be undone; the default is no.
    ///
    /// # Errors
    /// If the answer cannot be read.
    pub fn confirm(&self, question: &str) -> io::Result<Answer> {
        if !io::stdin().is_terminal() {
            return Ok(Answer::Nobody);
        }
        self.err.write(&format!("{} {question} [y/N] ", self.err.paint.active("?")))?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        let yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        Ok(if yes { Answer::Yes } else { Answer::No })
    }

    /// Asks a question whose answer is a line; `None` at the end of the input.
    ///
    /// # Errors
    /// If the answer cannot be read.
    pub fn question(&self, question: &str) -> io::Result<Option<String>> {
        self.err.write(&format!("{} {question} ", self.err.paint.active("?")))?;
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer)?;
        Ok((read > 0).then(|| answer.trim().to_owned()))
    }

    /// Prints a message to stderr, broken between words where the terminal is too narrow.
    fn tell(&self, message: &[String]) {
        let width = self.err.width();
        let lines: Vec<String> = message.iter().map(|line| text::wrapped(line, width)).collect();
        say(&self.err, &lines);
    }

    /// Formats a line below an error: indented, with `help:` highlighted.
    fn detail(&self, line: &str) -> String {
        match line.trim_start().strip_prefix("help:") {
            Some(help) => format!("  {}{help}", self.err.paint.active("help:")),
            None => format!("  {line}").trim_end().to_owned(),
        }
    }
}

/// Ends the display of a process that is about to exit without closing: removes the live display
/// and prints how to resume.
pub fn end_at_once() {
    terminal::take_away();
    let stream = Stream::stderr();
    let _ = console::Term::stderr().show_cursor();
    let last = "Stopped at once. Commands on nodes may still be running; the same command \
        resumes it.";
    say(&stream, &[stream.paint.bad(last)]);
}

/// Prints lines; write errors do not affect the run.
fn say(stream: &Stream, lines: &[String]) {
    if !lines.is_empty() {
        let _ = stream.write(&self::lines(lines));
    }
}

/// Joins lines into a text.
fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The destinations of events.
enum Sink {
    Terminal(Box<Terminal>),
    Plain(Plain),
    Json(Json),
    Log(RunLog),
}

impl Sink {
    fn event(&mut self, stamped: &Stamped) -> io::Result<()> {
        match self {
            Self::Terminal(terminal) => {
                terminal.event(stamped);
                Ok(())
            }
            Self::Plain(plain) => plain.event(stamped),
            Self::Json(json) => json.event(stamped),
            Self::Log(log) => log.event(stamped),
        }
    }

    fn tick(&mut self, now: SystemTime) {
        if let Self::Terminal(terminal) = self {
            terminal.tick(now);
        }
    }

    /// Returns what is lost if it fails.
    fn name(&self) -> &'static str {
        match self {
            Self::Terminal(_) | Self::Plain(_) | Self::Json(_) => "the output",
            Self::Log(_) => "the run log",
        }
    }
}

/// Feeds events to the sinks until the last sender is dropped.
async fn drain(mut events: UnboundedReceiver<Stamped>, mut sinks: Vec<Sink>) -> RunReport {
    let mut report = RunReport::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(stamped) = event else { break };
                report.note(&stamped);
                tell(&mut sinks, &stamped);
            }
            _ = ticks.tick() => sinks.iter_mut().for_each(|sink| sink.tick(SystemTime::now())),
        }
    }
    if let Some(Sink::Terminal(terminal)) = sinks.first_mut() {
        terminal.end();
    }
    report
}

/// Feeds one event to every sink. A failing sink is reported once, then dropped: a full disk must
/// not stop a lab from being built.
fn tell(sinks: &mut Vec<Sink>, stamped: &Stamped) {
    let mut lost = Vec::new();
    sinks.retain_mut(|sink| match sink.event(stamped) {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                lost.push(format!("{} stops here: {error}", sink.name()));
            }
            false
        }
    });
    for message in lost {
        let event = Event::Warning { node: None, message };
        tell(sinks, &Stamped { time: stamped.time, event });
    }
}
