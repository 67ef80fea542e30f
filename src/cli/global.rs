//! Options that every verb has.

use std::num::NonZeroUsize;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::complete;
use crate::report::OutputFormat;

/// Options that every verb has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Output for a person, or one JSON event per line for a program
    ///
    /// With `json`, events go to the standard output and everything else to the standard error.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "LABCTL_OUTPUT",
        hide_env_values = true
    )]
    pub output: OutputFormat,

    /// Work on these nodes only: by name, role, range or pattern
    ///
    /// `worker-0`, `workers`, `'worker-[0-4]'`, `'worker-*'`; `all` is every node.
    #[arg(long, global = true, value_name = "NODE,..", value_delimiter = ',')]
    #[arg(env = "LABCTL_LIMIT", hide_env_values = true)]
    #[arg(add = ArgValueCompleter::new(complete::nodes))]
    pub limit: Vec<String>,

    /// Change these nodes although they belong to another lab or cluster
    ///
    /// Keys of theirs that labctl replaces are kept there, in /var/lib/labctl/kept-keys.
    #[arg(long, global = true, value_name = "NODE,..", value_delimiter = ',')]
    #[arg(add = ArgValueCompleter::new(complete::nodes))]
    pub take_over: Vec<String>,

    /// Maximum number of nodes to work on at once
    #[arg(long, global = true, value_name = "N", default_value = "32", value_parser = at_least_one)]
    #[arg(env = "LABCTL_FORKS", hide_env_values = true)]
    pub forks: NonZeroUsize,

    /// Let nodes pass large files on to each other: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(env = "LABCTL_SPREAD", hide_env_values = true)]
    pub spread: SpreadWhen,

    /// Answer yes to every question
    #[arg(long, short, global = true)]
    #[arg(value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    #[arg(env = "LABCTL_YES", hide_env_values = true)]
    pub yes: bool,

    /// Show how each text file differs before changing it, and new ones in full
    #[arg(long, global = true)]
    #[arg(value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    #[arg(env = "LABCTL_DIFF", hide_env_values = true)]
    pub diff: bool,

    /// Report every task, also those that change nothing
    #[arg(long, short, global = true)]
    #[arg(value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    #[arg(env = "LABCTL_VERBOSE", hide_env_values = true)]
    pub verbose: bool,
}

/// When nodes pass large files on to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum SpreadWhen {
    /// When it saves time.
    #[default]
    Auto,
    /// Whenever two nodes lack the same file.
    Always,
    /// Never.
    Never,
}

/// Parses a positive number; clap's own message for a zero mentions types.
fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a whole number, at least 1".to_owned())
}
