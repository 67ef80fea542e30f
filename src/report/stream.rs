//! The two output streams, and the colours that each can display.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use console::Style;

/// One output stream and its properties.
#[derive(Clone)]
pub(super) struct Stream {
    handle: Arc<Mutex<Box<dyn Write + Send>>>,
    /// Whether it is a terminal that can move its cursor.
    pub terminal: bool,
    /// The colours to use.
    pub paint: Paint,
}

impl Stream {
    /// Returns stdout.
    pub fn stdout() -> Self {
        let terminal = io::stdout().is_terminal() && !is_dumb();
        Self::to(Box::new(io::stdout()), terminal, Paint::new(terminal && colours_wanted()))
    }

    /// Returns stderr.
    pub fn stderr() -> Self {
        let terminal = io::stderr().is_terminal() && !is_dumb();
        Self::to(Box::new(io::stderr()), terminal, Paint::new(terminal && colours_wanted()))
    }

    /// Returns a stream to any other writer, such as a test's buffer.
    pub fn to(handle: Box<dyn Write + Send>, terminal: bool, paint: Paint) -> Self {
        Self { handle: Arc::new(Mutex::new(handle)), terminal, paint }
    }

    /// Writes `text` unchanged and flushes, so that it is visible even if the next step takes a
    /// minute.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.write_all(text.as_bytes())?;
        handle.flush()
    }

    /// Returns the number of columns that text should fit into; unlimited for files and pipes.
    pub fn width(&self) -> usize {
        if self.terminal { usize::from(console::Term::stderr().size().1) } else { usize::MAX }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("terminal", &self.terminal)
            .field("paint", &self.paint)
            .finish_non_exhaustive()
    }
}

/// Whether the terminal cannot move its cursor; it gets plain lines.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Implements <https://no-color.org>: a non-empty value means no colours.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The few colours that have a meaning, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    /// With colours, or plain text.
    pub const fn new(on: bool) -> Self {
        Self { on }
    }

    /// Success.
    pub fn good(self, text: &str) -> String {
        self.apply(Style::new().green(), text)
    }

    /// Failure.
    pub fn bad(self, text: &str) -> String {
        self.apply(Style::new().red().bold(), text)
    }

    /// Needs attention.
    pub fn warn(self, text: &str) -> String {
        self.apply(Style::new().yellow().bold(), text)
    }

    /// In progress, or for the user to do.
    pub fn active(self, text: &str) -> String {
        self.apply(Style::new().cyan(), text)
    }

    /// A name.
    pub fn strong(self, text: &str) -> String {
        self.apply(Style::new().bold(), text)
    }

    /// Secondary details.
    pub fn faint(self, text: &str) -> String {
        self.apply(Style::new().dim(), text)
    }

    fn apply(self, style: Style, text: &str) -> String {
        if self.on && !text.is_empty() {
            style.force_styling(true).apply_to(text).to_string()
        } else {
            text.to_string()
        }
    }
}
