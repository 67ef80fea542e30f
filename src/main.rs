//! Parses the command line, runs it, and returns its exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    labctl::cli::run(&labctl::cli::Cli::parse())
}
