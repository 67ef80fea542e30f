//! How a node differs from what is desired: the kind of change that it takes, and why, in a
//! sentence.

use crate::event::ChangeKind;

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the change does to what is there.
    pub kind: ChangeKind,
    /// What differs, for a reader. No code reads it.
    pub why: String,
}

impl Difference {
    /// A difference of this kind.
    pub fn new(kind: ChangeKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }

    /// Something is not there.
    pub fn missing() -> Self {
        Self::new(ChangeKind::Make, "missing")
    }

    /// Something is there, and otherwise.
    pub fn alter(why: impl Into<String>) -> Self {
        Self::new(ChangeKind::Alter, why)
    }

    /// A command has to run.
    pub fn run(why: impl Into<String>) -> Self {
        Self::new(ChangeKind::Run, why)
    }
}
