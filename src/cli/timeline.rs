//! Arguments of `timeline`.

use std::path::PathBuf;

use clap::Args;

use super::target::LabAndRun;

/// `timeline`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl timeline [OPTIONS] [INVENTORY] [RUN]")]
pub struct TimelineArgs {
    /// The lab and the run.
    #[command(flatten)]
    pub target: LabAndRun,

    /// List the lab's runs, the newest first
    #[arg(long, conflicts_with = "html")]
    pub list: bool,

    /// Write the chart to this file, as a self-contained page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
