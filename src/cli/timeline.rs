//! `timeline`: where the time of a run went.

use std::path::{Path, PathBuf};

use clap::Args;

/// `timeline`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl timeline [OPTIONS] [INVENTORY] [RUN]")]
pub struct Timeline {
    /// The inventory (a .yaml file), and the run: a name from --list, or the path of a run log;
    /// default: the last run
    #[arg(value_names = ["INVENTORY", "RUN"], num_args = 0..=2)]
    target: Vec<String>,

    /// The inventory, when not given before the run
    #[arg(
        long = "inventory",
        value_name = "INVENTORY",
        default_value = "inventory.yaml",
        hide = true
    )]
    #[arg(env = "LABCTL_INVENTORY", hide_env_values = true)]
    default_inventory: PathBuf,

    /// List the lab's runs, the newest first
    #[arg(long, conflicts_with = "html")]
    pub list: bool,

    /// Write the chart to this file, as a self-contained page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Timeline {
    /// The lab's inventory and the run, as far as they were given.
    pub fn target(&self) -> (&Path, Option<&str>) {
        match self.target.as_slice() {
            [inventory, run] => (Path::new(inventory), Some(run)),
            [one] if one.ends_with(".yaml") || one.ends_with(".yml") => (Path::new(one), None),
            [run] => (&self.default_inventory, Some(run)),
            _ => (&self.default_inventory, None),
        }
    }
}
