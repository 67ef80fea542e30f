//! Questions in the middle of a run: the live picture waits for the answer.

use std::io::IsTerminal;

use console::Term;

use super::terminal;
use super::text::clean;

/// Whether there is a person at a terminal.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && Term::stderr().is_term()
}

/// Asks `question` on the terminal, and shows what is typed unless it is `hidden`. `None` when
/// nobody answers.
pub fn ask(question: &str, hidden: bool) -> Option<String> {
    terminal::aside(|| {
        let term = Term::stderr();
        term.write_str(&format!("{} ", clean(question))).ok()?;
        if hidden { term.read_secure_line().ok() } else { term.read_line().ok() }
    })
}
