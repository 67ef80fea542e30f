//! How a node differs from the desired state: the kind of change, and the reason in words.

use crate::event::ChangeKind;

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The kind of change.
    pub kind: ChangeKind,
    /// What differs, for the reader; no code parses it.
    pub why: String,
}

impl Difference {
    /// Returns a difference of this kind.
    pub fn new(kind: ChangeKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }

    /// Something does not exist.
    pub fn missing() -> Self {
        Self::new(ChangeKind::Make, "missing")
    }

    /// Something exists but is different.
    pub fn alter(why: impl Into<String>) -> Self {
        Self::new(ChangeKind::Alter, why)
    }

    /// A command has to run.
    pub fn run(why: impl Into<String>) -> Self {
        Self::new(ChangeKind::Run, why)
    }
}
