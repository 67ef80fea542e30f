//! Arguments of `image load`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::target::LabAndNodes;

/// `image`.
#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Load images from a file on workers
    #[command(long_about = "\
Load images from a file on all workers, or on those that are named, so that pods start there \
        without a registry.

The file is what `docker save`, `podman save` or `ctr images export` writes, also compressed with \
        gzip. A worker that has the same images from the same file is left as it is.")]
    #[command(after_help = "\
Examples:
  labctl image load app.tar
  labctl image load app.tar worker-0 worker-1
  labctl image load app.tar prod.yaml worker-7")]
    Load(ImageLoadArgs),
}

/// `image load`.
#[derive(Debug, Args)]
#[command(override_usage = "labctl image load [OPTIONS] <FILE> [INVENTORY] [NODE]...")]
pub struct ImageLoadArgs {
    /// The archive of images
    pub file: PathBuf,
    /// The lab and the workers.
    #[command(flatten)]
    pub target: LabAndNodes,
}
