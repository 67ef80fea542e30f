//! How an operation ends: its exit code, and what stopped it.

use std::process::ExitCode;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// Something failed; it was reported.
    Failed,
    /// The usage, the inventory or a playbook is wrong; nothing was done.
    Bad,
    /// There is something to do: `plan` found changes, `certs list` a certificate that expires
    /// soon, `status` something that is wrong.
    Pending,
    /// The user stopped it.
    Cancelled,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Bad => 2,
            Exit::Pending => 3,
            Exit::Cancelled => 130,
        })
    }
}

/// An operation that could not continue: what to say, and how to exit.
#[derive(Debug)]
pub struct Stop {
    /// What was wrong; none where that was reported already.
    pub(super) error: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// What to do about it.
    pub(super) help: Option<String>,
    /// How to exit.
    pub(super) exit: Exit,
}

/// Something failed that `commands` had no part in.
pub fn failed(error: std::io::Error) -> Stop {
    Stop::failed(error)
}

impl Stop {
    /// Everything was reported already.
    pub(super) fn silent(exit: Exit) -> Self {
        Self { error: None, help: None, exit }
    }

    /// An error in the usage, the inventory or a playbook.
    pub(crate) fn bad(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: Some(error.into()), help: None, exit: Exit::Bad }
    }

    /// Something failed.
    pub(super) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: Some(error.into()), help: None, exit: Exit::Failed }
    }

    /// What was wrong, as text.
    pub(super) fn text(&self) -> String {
        self.error.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The same with what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
