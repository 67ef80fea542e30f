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
    /// Write a container image of labctl, for `workshop submit`
    #[command(
        long_about = "\
Write a container image with this labctl and the bundle of the workshop's clusters, so that pods \
            work without a download.

The file is what `docker save` writes: `labctl image load` takes it, `docker load`, `ctr images \
            import` and `skopeo copy docker-archive:FILE` do.",
        after_help = "\
Examples:
  labctl workshop image class.yaml --to labctl.tar
  labctl image load labctl.tar driver.yaml        the workers of a lab get it"
    )]
    Image(WorkshopImageArgs),
    /// Bring up all clusters of a workshop from pods of another cluster
    #[command(
        long_about = "\
Bring up all clusters of a workshop from pods of another cluster, where one workstation is too \
            small.

The workshop is cut into slices of clusters, and each is an index of a Job: Kubernetes places \
            them, and begins a slice again whose machine is lost. Keys are made here first and go \
            along as Secrets; run logs come back, and the lab directories are as after `workshop \
            up`. When all slices have ended, nothing is left in the other cluster. The exit code \
            is 0 if all clusters are up.

Its pods have to reach the nodes, and what logs in has to be a file: `identity`, without a \
            passphrase. ~/.ssh/config does not go along.",
        after_help = "\
Examples:
  labctl workshop submit class.yaml --image labctl:1
  labctl workshop submit class.yaml --image labctl:1 --kubeconfig driver.conf --slice 3"
    )]
    Submit(WorkshopSubmitArgs),
    /// Bring up a slice of a workshop, in a pod of `workshop submit`
    #[command(hide = true)]
    Slice(WorkshopSliceArgs),
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

/// `workshop image`.
#[derive(Debug, Args)]
pub struct WorkshopImageArgs {
    /// The inventory of all clusters.
    #[command(flatten)]
    pub lab: LabArgs,

    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "labctl.tar")]
    pub to: PathBuf,

    /// What the image is called [default: labctl:VERSION-DIGEST]
    #[arg(long, value_name = "IMAGE")]
    pub name: Option<String>,
}

/// `workshop submit`.
#[derive(Debug, Args)]
pub struct WorkshopSubmitArgs {
    /// The inventory of all clusters.
    #[command(flatten)]
    pub lab: LabArgs,

    /// The image of labctl, as `workshop image` has named it
    #[arg(long, value_name = "IMAGE")]
    pub image: String,

    /// The kubeconfig of the cluster that works [default: kubectl's own]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Number of clusters in a slice
    #[arg(long, value_name = "NUMBER", default_value = "4")]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    pub slice: u16,

    /// Maximum number of slices to work on at once
    #[arg(long, value_name = "NUMBER", default_value = "8")]
    #[arg(value_parser = value_parser!(u16).range(1..))]
    pub at_once: u16,
}

/// `workshop slice`.
#[derive(Debug, Args)]
pub struct WorkshopSliceArgs {
    /// The inventory of all clusters.
    #[command(flatten)]
    pub lab: LabArgs,

    /// Number of clusters in a slice
    #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u16).range(1..))]
    pub size: u16,

    /// The directory with what slices take along
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
}
