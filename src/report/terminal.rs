//! The live display: permanent lines above, and below them what every node is doing.
//!
//! The whole display is one indicatif bar with a message of many lines, so that a frame appears at
//! once or not at all. The cursor is never hidden, so nothing needs to be restored after Ctrl-C or
//! a panic.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::record::Census;
use super::stream::Paint;
use super::text::{clean, pad, took, wrapped};
use super::view::View;
use super::{failure, plan};
use crate::event::{Event, Stamped};

/// Twice the tick rate: indicatif must never drop a frame, because it may be the last one.
const HERTZ: u8 = 20;
/// Width of the names of steps.
const NAME: usize = 14;

/// Returns rows and columns of the terminal; called for each frame, because windows are resized.
type Size = Box<dyn Fn() -> (u16, u16) + Send>;

/// The current display, for a process that exits without closing it.
static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Removes the display of a run that is still going on.
pub(super) fn take_away() {
    if let Some(bar) = DRAWN.lock().unwrap_or_else(PoisonError::into_inner).take() {
        bar.finish_and_clear();
    }
}

/// Does `what` while the live display of a run, if there is one, is hidden.
pub(super) fn aside<T>(what: impl FnOnce() -> T) -> T {
    let drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match drawn {
        Some(bar) => bar.suspend(what),
        None => what(),
    }
}

/// Displays a run on a terminal.
pub(super) struct Terminal {
    bar: ProgressBar,
    size: Size,
    view: View,
    census: Census,
    paint: Paint,
    verbose: bool,
    diff: bool,
    drawn: Vec<String>,
}

impl Terminal {
    /// Draws on the terminal behind stderr.
    pub fn stderr(paint: Paint, verbose: bool, diff: bool) -> Self {
        let size = || console::Term::stderr().size();
        let terminal =
            Self::new(ProgressDrawTarget::stderr_with_hz(HERTZ), Box::new(size), paint, verbose);
        *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(terminal.bar.clone());
        terminal.with_diffs(diff)
    }

    /// Also shows the lines that differ if `diff` is true.
    pub fn with_diffs(mut self, diff: bool) -> Self {
        self.diff = diff;
        self
    }

    /// Draws on any terminal that indicatif supports.
    pub fn new(target: ProgressDrawTarget, size: Size, paint: Paint, verbose: bool) -> Self {
        let style = ProgressStyle::with_template("{msg}").expect("a template without mistakes");
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        Self {
            bar,
            size,
            view: View::default(),
            census: Census::default(),
            paint,
            verbose,
            diff: false,
            drawn: Vec::new(),
        }
    }

    /// Processes one event and prints its permanent line if it has one.
    pub fn event(&mut self, stamped: &Stamped) {
        self.view.note(stamped);
        let mut lines = self.lines(&stamped.event);
        // What a plan lists may be lines of files; its last line is a sentence.
        let listed = if matches!(stamped.event, Event::Planned { .. }) { lines.len() } else { 0 };
        let width = usize::from((self.size)().1);
        let sentences = lines.iter_mut().skip(listed.saturating_sub(1));
        sentences.for_each(|line| *line = wrapped(line, width));
        if let Some(counted) = self.census.note(stamped) {
            lines.push(self.step("nodes", &counted.sentence(), &took(counted.took), true));
        }
        if !lines.is_empty() {
            // Not truncated: they are never redrawn, and the end of a warning may matter.
            self.bar.println(lines.join("\n"));
        }
    }

    /// Draws the current display unless nothing has changed.
    pub fn tick(&mut self, now: SystemTime) {
        let (rows, columns) = (self.size)();
        let frame = self.view.frame(now, columns.into(), rows.into(), self.paint);
        if frame != self.drawn {
            self.bar.set_message(frame.join("\n"));
            self.drawn = frame;
        }
    }

    /// Removes the display; the permanent lines stay.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
    }

    fn lines(&self, event: &Event) -> Vec<String> {
        let paint = self.paint;
        match event {
            Event::StepEnded { step, detail, changed, took: time } => {
                vec![self.step(step, &clean(detail), &took(*time), *changed)]
            }
            Event::Planned { changes, unchanged, .. } => {
                let listed = self.verbose || self.diff;
                let mut lines =
                    if listed { plan::list(changes, self.diff, paint) } else { Vec::new() };
                lines.push(self.step(
                    "plan",
                    &plan::counts(changes, *unchanged),
                    "",
                    !changes.is_empty(),
                ));
                lines
            }
            Event::TaskEnded { play, node, task, changed, took: time } if self.verbose => {
                let text = format!("{node}  {play} {} {}", paint.faint("›"), clean(task));
                let mark = if *changed { paint.good("✓") } else { paint.faint("✓") };
                vec![format!("{mark} {text}  {}", paint.faint(&took(*time)))]
            }
            Event::TaskFailed(failed) => {
                vec![format!("{} {}", paint.bad("✗"), failure::line(failed))]
            }
            Event::Check { name, failure, took: time } => {
                check(name, failure.as_deref(), &took(*time), paint)
            }
            Event::Warning { node, message } => {
                let node = node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
                vec![format!("{} {node}{}", paint.warn("!"), clean(message))]
            }
            Event::Cancelling => {
                vec![format!(
                    "{} stopping: running tasks may finish, nothing new starts; press Ctrl-C \
                    again to stop at once",
                    paint.warn("!")
                )]
            }
            _ => Vec::new(),
        }
    }

    fn step(&self, name: &str, detail: &str, time: &str, changed: bool) -> String {
        let paint = self.paint;
        let mark = if changed { paint.good("✓") } else { paint.faint("✓") };
        let time = if time.is_empty() { String::new() } else { format!("  {}", paint.faint(time)) };
        let detail = if changed { detail.to_string() } else { paint.faint(detail) };
        format!("{mark} {}  {detail}{time}", pad(name, NAME))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns the lines of one check of a smoke test: its name, and why it failed.
fn check(name: &str, failure: Option<&str>, time: &str, paint: Paint) -> Vec<String> {
    let mark = if failure.is_none() { paint.good("✓") } else { paint.bad("✗") };
    let mut lines = vec![format!("{mark} {}  {}", clean(name), paint.faint(time))];
    lines.extend(
        failure.iter().flat_map(|text| text.lines()).map(|line| format!("    {}", clean(line))),
    );
    lines
}
