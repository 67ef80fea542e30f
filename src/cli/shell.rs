//! What a shell is given to ask labctl for completions, and how it is answered.
//!
//! The engine is clap's. A shell asks through [`VARIABLE`], so that no verb has to be hidden.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::Cli;

/// The variable of the environment by which a shell asks.
const VARIABLE: &str = "LABCTL_COMPLETE";

/// Answers a shell that asks for completions, and ends the process; returns if none asks.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Returns the script that makes a shell ask.
///
/// # Errors
/// If there is none for the shell.
pub(super) fn script(shell: Shell) -> std::io::Result<String> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell.to_string());
    let completer = completer.ok_or_else(|| std::io::Error::other("an unknown shell"))?;
    completer.write_registration(VARIABLE, "labctl", "labctl", "labctl", &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}
