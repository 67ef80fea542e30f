//! A problem in an inventory: what is wrong, where, and how to fix it.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::positions::Position;

/// The name of an inventory that is read from standard input.
pub const STDIN: &str = "-";

/// Returns what messages call the inventory at `path`.
pub fn called(path: &Path) -> String {
    match path == Path::new(STDIN) {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}

/// Whether a problem stops a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The inventory cannot be used.
    Error,
    /// The inventory works, but the user should know what it means.
    Warning,
}

/// One problem in an inventory.
///
/// Displayed as `FILE:LINE:COL: what`, then an indented `help: ...`. A warning has `warning:`
/// before `what`, unless it is formatted with `{:#}`, for callers that print that themselves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Problem {
    /// The file as named on the command line.
    pub file: PathBuf,
    /// The line, from 1; 0 if the problem concerns the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 if the line is.
    pub column: usize,
    /// Whether it stops a run.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Problem {
    /// Returns an error: `what` is wrong at `at` in `file`, and `help`, unless empty, says what
    /// would be right.
    pub fn error(
        file: &Path,
        at: Position,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        let Position { line, column } = at;
        Self {
            file: file.to_path_buf(),
            line,
            column,
            severity: Severity::Error,
            what: what.into(),
            help,
        }
    }

    /// Whether it stops a run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", called(&self.file))?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if self.severity == Severity::Warning && !f.alternate() {
            f.write_str(" warning:")?;
        }
        write!(f, " {}", self.what)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// The problems of one file, collected while reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
}

impl Problems {
    /// Returns an empty list of problems in `file`.
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_path_buf(), list: Vec::new() }
    }

    /// Adds problems that were found before.
    pub fn extend(&mut self, found: impl IntoIterator<Item = Problem>) {
        self.list.extend(found);
    }

    /// Adds an error: `what` is wrong at `at`, and `help` says what would be right.
    pub fn error(&mut self, at: Position, what: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, at, what.into(), help.into());
    }

    /// Adds a warning about `what` at `at`; `help` says what would be better.
    pub fn warning(&mut self, at: Position, what: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, at, what.into(), help.into());
    }

    /// Whether any problem stops a run.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(Problem::is_error)
    }

    /// Returns all problems in file order, each once: nodes of one range share their mistakes.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| (problem.line, problem.column));
        let mut seen = HashSet::new();
        self.list.retain(|problem| seen.insert(problem.clone()));
        self.list
    }

    fn push(&mut self, severity: Severity, at: Position, what: String, help: String) {
        let problem = Problem::error(&self.file, at, what, help);
        self.list.push(Problem { severity, ..problem });
    }
}

/// Returns the one of `known` that `word` was probably meant to be: at most a third of its letters
/// differ.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of the lengths, and no known word is similar to a paragraph.
    if word.len() > 100 {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_formatted_like_compiler_errors() {
        let mut problems = Problems::new(Path::new("lab.yaml"));
        problems.warning(Position { line: 3, column: 5 }, "two members", "use three");
        problems.error(Position { line: 1, column: 7 }, "bad name", "");
        problems.error(Position::default(), "cannot be read", "is it there?");
        assert!(problems.has_errors());
        assert_eq!(
            format!("{:#}", problems.list[0]),
            "lab.yaml:3:5: two members\n  help: use three"
        );
        let shown: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "lab.yaml: cannot be read\n  help: is it there?",
                "lab.yaml:1:7: bad name",
                "lab.yaml:3:5: warning: two members\n  help: use three"
            ]
        );
    }

    #[test]
    fn only_similar_words_are_suggested() {
        let known = ["kubernetes", "network", "nodes", "name"];
        assert_eq!(did_you_mean("kubernets", known), Some("kubernetes"));
        assert_eq!(did_you_mean("Netwrok", known), Some("network"));
        assert_eq!(did_you_mean("node", known), Some("nodes"));
        assert_eq!(did_you_mean("controllers", known), None);
        assert_eq!(did_you_mean(&"x".repeat(1_000_000), known), None);
    }
}
