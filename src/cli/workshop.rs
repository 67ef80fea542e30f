//! Arguments of `workshop`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};

use super::lab::LabArgs;

/// `workshop`.
#[derive(Debug, Subcommand)]
pub enum WorkshopVerb {
    /// Bring up all clusters of a workshop
    #[command(
        long_about = "\
Bring up all clusters of a workshop, several at once.

Each is an ordinary lab with a lab directory of its own, and one that fails stops no other: it is \
            named at the end, with its reason and the command that resumes it. The exit code is 0 \
            if all are up.",
        after_help = "\
Examples:
  labctl workshop up class.yaml
  labctl workshop up class.yaml --at-once 4
  CLUSTER=3 labctl status class.yaml      any other verb works on one of the clusters"
    )]
    Up(WorkshopRunArgs),
    /// Write a card for each attendee: text, a page to print, and a PDF
    #[command(
        long_about = "\
Write a card for each attendee: the cluster's number, its address, the login of each node, and a \
            kubeconfig.

The cards are in the directory as cards.txt, cards.html and cards.pdf, eight on a sheet of A4, \
            with the files that they name beside them. Whoever has these is administrator of the \
            cluster, so only you may read them.",
        after_help = "\
Example:
  labctl workshop cards class.yaml --to cards/"
    )]
    Cards(WorkshopCardsArgs),
    /// Remove all clusters of a workshop; asks first
    Down(WorkshopRunArgs),
}

/// `workshop up` and `workshop down`.
#[derive(Debug, Args)]
pub struct WorkshopRunArgs {
    /// The inventory of all clusters.
    #[command(flatten)]
    pub lab: LabArgs,

    /// Maximum number of clusters to work on at once
    #[arg(long, value_name = "NUMBER", default_value = "8")]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    at_once: u16,
}

impl WorkshopRunArgs {
    /// How many clusters to work on at once.
    pub fn at_once(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.at_once.into()).unwrap_or(NonZeroUsize::MIN)
    }
}

/// `workshop cards`.
#[derive(Debug, Args)]
pub struct WorkshopCardsArgs {
    /// The inventory of all clusters.
    #[command(flatten)]
    pub lab: LabArgs,

    /// The directory to write the cards into
    #[arg(long, value_name = "DIR", default_value = "cards")]
    pub to: PathBuf,
}
