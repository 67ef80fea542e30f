//! The two streams that labctl prints to, and the colours that each of them can show.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use console::Style;

/// One output stream: where it goes, whether a person looks at it, and how.
#[derive(Clone)]
pub(super) struct Stream {
    handle: Arc<Mutex<Box<dyn Write + Send>>>,
    /// Whether it is a terminal that can move its cursor.
    pub terminal: bool,
    /// Its colours.
    pub paint: Paint,
}

impl Stream {
    /// The standard output.
    pub fn stdout() -> Self {
        let terminal = io::stdout().is_terminal() && !is_dumb();
        Self::to(Box::new(io::stdout()), terminal, Paint::new(terminal && colours_wanted()))
    }

    /// The standard error.
    pub fn stderr() -> Self {
        let terminal = io::stderr().is_terminal() && !is_dumb();
        Self::to(Box::new(io::stderr()), terminal, Paint::new(terminal && colours_wanted()))
    }

    /// Any other writer; tests read what was printed from one.
    pub fn to(handle: Box<dyn Write + Send>, terminal: bool, paint: Paint) -> Self {
        Self { handle: Arc::new(Mutex::new(handle)), terminal, paint }
    }

    /// Writes `text` as it is and flushes: what is said is seen, also when the next thing takes a
    /// minute.
    pub fn write(&self, text: &str) -> io::Result<()> {
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        handle.write_all(text.as_bytes())?;
        handle.flush()
    }

    /// The columns that text should fit into; files and pipes have no edge.
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

/// A terminal that says it cannot move its cursor gets plain lines.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// <https://no-color.org>: set and not empty means no colours.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The few colours that carry meaning, or none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    /// Colours, or plain text.
    pub const fn new(on: bool) -> Self {
        Self { on }
    }

    /// Went well.
    pub fn good(self, text: &str) -> String {
        self.apply(Style::new().green(), text)
    }

    /// Went wrong.
    pub fn bad(self, text: &str) -> String {
        self.apply(Style::new().red().bold(), text)
    }

    /// Deserves a look.
    pub fn warn(self, text: &str) -> String {
        self.apply(Style::new().yellow().bold(), text)
    }

    /// Is happening now, or is for the reader to do.
    pub fn active(self, text: &str) -> String {
        self.apply(Style::new().cyan(), text)
    }

    /// Names a thing.
    pub fn strong(self, text: &str) -> String {
        self.apply(Style::new().bold(), text)
    }

    /// Is there for who looks for it.
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
