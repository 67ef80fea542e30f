//! Answers a shell that asks for completions, or parses the command line, runs it, and returns its
//! exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    labctl::cli::answer_a_shell();
    labctl::cli::run(&labctl::cli::parse())
}
