//! Parses the command line, runs it, and turns what came of it into an exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    labctl::commands::run(labctl::cli::Cli::parse())
}
