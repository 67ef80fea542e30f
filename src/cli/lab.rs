//! Arguments of the verbs that bring a lab up, show what that would take, and take it down.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::complete;
use super::target::{LabAndArguments, LabAndNodes, LabAndPlays, LabNodeAndCommand, LabNodeAndUnit};

/// The lab to work on.
#[derive(Debug, Clone, Args)]
pub struct LabArgs {
    /// The inventory
    #[arg(value_name = "INVENTORY", default_value = "inventory.yaml", env = "LABCTL_INVENTORY")]
    #[arg(hide_env_values = true)]
    pub inventory: PathBuf,
}

/// Where playbooks and templates come from, when not the standard ones.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// Use the playbooks in this directory instead of the standard ones
    #[arg(long, value_name = "DIR", env = "LABCTL_PLAYBOOKS", hide_env_values = true)]
    pub playbooks: Option<PathBuf>,

    /// Use the templates in this directory instead of the standard ones
    #[arg(long, value_name = "DIR", env = "LABCTL_TEMPLATES", hide_env_values = true)]
    pub templates: Option<PathBuf>,
}

/// `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// What it has in common with `plan`.
    #[command(flatten)]
    pub converge: ConvergeArgs,

    /// Explain each play, wait for Enter before it, and offer a shell after it
    #[arg(long)]
    pub step: bool,
}

/// `up` and `plan`.
#[derive(Debug, Args)]
pub struct ConvergeArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// End after this play, with what the playbook lists above it
    ///
    /// `labctl graph` and `labctl explain` show the plays. Without the option, the same command
    /// resumes from there.
    #[arg(long, value_name = "PLAY", add = ArgValueCompleter::new(complete::plays))]
    pub until: Option<String>,
}

/// `down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Empty local nodes but keep them
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    #[arg(env = "LABCTL_KEEP_NODES", hide_env_values = true)]
    pub keep_nodes: bool,
}

/// `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Only this file, by its template's name or its path on the node
    #[arg(long, value_name = "NAME")]
    pub file: Option<String>,

    /// Write the files into this directory instead of printing them
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// `explain`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl explain [OPTIONS] [INVENTORY] [PLAY]...")]
pub struct ExplainArgs {
    /// The lab and its plays.
    #[command(flatten)]
    pub target: LabAndPlays,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Only these plays
    #[arg(long, value_name = "PLAY,..", value_delimiter = ',')]
    #[arg(add = ArgValueCompleter::new(complete::plays))]
    pub play: Vec<String>,
    /// Format: a guide to read, or a script that builds the lab
    #[arg(long, value_enum, default_value_t)]
    pub format: GuideFormat,
}

/// A format of `explain`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum GuideFormat {
    /// A guide, with commands to type.
    #[default]
    Markdown,
    /// A script for the workstation, which types them over ssh.
    Shell,
}

/// `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Draw the lab instead: nodes, addresses, and who reaches whom
    #[arg(long = "lab")]
    pub of_lab: bool,

    /// Ask how the nodes are, and colour them by it
    #[arg(long, requires = "of_lab")]
    pub live: bool,

    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: GraphFormat,
}

/// A graph language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Mermaid, which code hosts render in Markdown.
    #[default]
    Mermaid,
    /// Graphviz.
    Dot,
    /// A picture that browsers show, of the lab only.
    Svg,
}

/// `play`.
#[derive(Debug, Args)]
pub struct PlayArgs {
    /// The playbook: a file, or the name of a standard playbook
    #[arg(add = ArgValueCompleter::new(complete::playbooks_and_files))]
    pub playbook: String,
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Show what it would change, and change nothing
    #[arg(long)]
    pub plan: bool,
}

/// `exec`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl exec [OPTIONS] [INVENTORY] [NODE]... -- <COMMAND>...")]
pub struct ExecArgs {
    /// The lab and the nodes.
    #[command(flatten)]
    pub target: LabAndNodes,

    /// The command to run, as root
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `kubectl`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl kubectl [OPTIONS] [INVENTORY] <ARGUMENTS>...")]
pub struct KubectlArgs {
    /// The lab, and what kubectl is given.
    #[command(flatten)]
    pub target: LabAndArguments,
}

/// `logs`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl logs [OPTIONS] [INVENTORY] <NODE> [UNIT]")]
pub struct LogsArgs {
    /// The lab, the node and the unit.
    #[command(flatten)]
    pub target: LabNodeAndUnit,

    /// Continue with what comes
    #[arg(long, short)]
    pub follow: bool,

    /// Only the last lines
    #[arg(long, short = 'n', value_name = "N")]
    pub lines: Option<u32>,

    /// From this time on, in journalctl's words: `-10min`, `today`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
}

/// `support`.
#[derive(Debug, Args)]
pub struct SupportArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,

    /// The file to write; default: support-LAB.tar.gz
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,

    /// Look again every two seconds, on the whole terminal
    #[arg(long, short, conflicts_with = "html")]
    pub watch: bool,

    /// Write it as a self-contained page to this file instead
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `ssh`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl ssh [OPTIONS] [INVENTORY] <NODE> [COMMAND]...")]
pub struct SshArgs {
    /// The lab, the node and the command.
    #[command(flatten)]
    pub target: LabNodeAndCommand,
}
