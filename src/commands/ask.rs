//! What a run asks for on the way to nodes: passphrases, passwords, codes of a second factor.

use std::sync::Arc;

use crate::engine::{Ask, Keyring};
use crate::report;
use crate::secret::Secret;

/// The person at the terminal.
struct Person;

impl Ask for Person {
    fn ask(&self, question: &str, hidden: bool) -> Option<Secret> {
        report::ask(question, hidden).map(Secret::from)
    }
}

/// The keyring of a run: it asks the person at the terminal, when there is one.
pub fn keyring() -> Arc<Keyring> {
    if report::can_ask() { Arc::new(Keyring::asking(Arc::new(Person))) } else { Arc::default() }
}
