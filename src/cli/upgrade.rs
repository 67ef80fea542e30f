//! Arguments of `upgrade`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, value_parser};

use super::lab::{LabArgs, SourceArgs};
use crate::commands::upgrade::Upgrade;

/// `upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// The version to come to, which is written into the inventory; the inventory's when left out
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,

    /// How many workers to upgrade at a time
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    pub at_once: u16,

    /// Continue when pods do not move in time, and delete those without a controller
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub force: bool,

    /// Write the backup to this file instead of beside the lab directory
    #[arg(long, value_name = "FILE")]
    pub backup: Option<PathBuf>,
}

impl UpgradeArgs {
    /// Where to go, and how.
    pub fn upgrade(&self) -> Upgrade {
        let at_once = NonZeroUsize::new(self.at_once.into()).unwrap_or(NonZeroUsize::MIN);
        let (to, backup) = (self.to.clone(), self.backup.clone());
        Upgrade { to, at_once, force: self.force, backup }
    }
}
