//! Arguments of `bundle` and `playbook`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use super::complete::playbooks;
use super::lab::LabArgs;

/// `bundle`.
#[derive(Debug, Subcommand)]
pub enum BundleVerb {
    /// Download the releases for the inventory's version, check them, and write bundle.lock
    Pull(PullArgs),
    /// List what is in the bundle
    List(BundleArgs),
    /// Check every file of the bundle against bundle.lock
    Verify(BundleArgs),
}

/// `bundle pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The bundle.
    #[command(flatten)]
    pub bundle: BundleArgs,

    /// A web server with what dl.k8s.io, github.com and registry.k8s.io have, below these names
    #[arg(long, value_name = "URL", env = "LABCTL_MIRROR", hide_env_values = true)]
    pub mirror: Option<String>,

    /// Take the checksums that the host publishes, also where labctl knows another one
    ///
    /// For a mirror that has builds of your own.
    #[arg(long)]
    pub published_checksums: bool,
}

/// The bundle to work on.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,

    /// The bundle's directory, instead of the inventory's
    #[arg(long, value_name = "DIR", env = "LABCTL_BUNDLE", hide_env_values = true)]
    pub bundle: Option<PathBuf>,
}

/// `playbook`.
#[derive(Debug, Subcommand)]
pub enum PlaybookVerb {
    /// List the standard playbooks
    List,
    /// Print a standard playbook
    Show {
        /// Its name
        #[arg(add = ArgValueCompleter::new(playbooks))]
        name: String,
    },
    /// Write the standard playbooks and templates to a directory
    #[command(after_help = "\
Example:
  labctl playbook export mine/
  labctl up --playbooks mine/playbooks --templates mine/templates")]
    Export {
        /// The directory; existing files are kept unless --force is given
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Overwrite existing files
        #[arg(long)]
        force: bool,
    },
}
