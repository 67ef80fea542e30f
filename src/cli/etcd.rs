//! Arguments of `etcd backup`, `etcd restore`, `etcd rotate-key` and `recover`.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;

use super::complete::nodes;
use super::lab::{LabArgs, SourceArgs};
use super::target::LabAndFile;

/// `etcd`.
#[derive(Debug, Subcommand)]
pub enum EtcdVerb {
    /// Write etcd's data, the certificates and keys, and the inventory into one file
    #[command(
        override_usage = "labctl etcd backup [OPTIONS] [INVENTORY] [FILE]",
        long_about = "\
Write etcd's data, the certificates and keys, and the inventory into one file.

The snapshot is taken on the first controller whose etcd is healthy, checked there, and kept only \
            in the file, which is LAB-TIME.backup in this directory when none is named. It \
holds every secret of the lab: only its owner can read it (0600), so keep it where you keep keys.",
        after_help = "\
Examples:
  labctl etcd backup
  labctl etcd backup sandbox.backup
  labctl etcd backup prod.yaml /safe/prod-$(date +%F).backup
  tar tzf sandbox.backup               list what is in it"
    )]
    Backup(BackupArgs),
    /// Give all members of etcd the data of a backup
    #[command(
        override_usage = "labctl etcd restore [OPTIONS] [INVENTORY] <FILE>",
        long_about = "\
Give all members of etcd the data of a backup.

It checks everything before it stops anything: the file, whether it fits the lab, the snapshot on \
every controller. Then the control plane stops, every controller gets the same data, and `up` \
starts it again. What was written since the backup is lost. It also works if the data of all \
controllers is lost, and on empty machines. It can be interrupted at any time and run again.",
        after_help = "\
Examples:
  labctl etcd restore sandbox.backup
  labctl etcd restore prod.yaml /safe/prod-2026-11-21.backup --yes"
    )]
    Restore(RestoreArgs),
    /// Replace the key that Secrets are encrypted with
    #[command(
        long_about = "\
Replace the key that Secrets are encrypted with in etcd.

Every API server first learns the new key to decrypt with, then encrypts with it; then every \
            Secret is written again, and the old key goes. The API answers meanwhile. It can be \
            interrupted at any time: the same command resumes. Back up the lab again afterwards: \
            an older backup holds the old key and what that has encrypted.",
        after_help = "\
Examples:
  labctl etcd rotate-key
  labctl etcd rotate-key prod.yaml"
    )]
    RotateKey(RotateKeyArgs),
}

/// `etcd rotate-key`.
#[derive(Debug, Args)]
pub struct RotateKeyArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// `etcd backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The lab and the file.
    #[command(flatten)]
    pub target: LabAndFile,

    /// Replace an existing file
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub force: bool,
}

/// `etcd restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The lab and the file.
    #[command(flatten)]
    pub target: LabAndFile,
    /// Its playbooks.
    #[command(flatten)]
    pub sources: SourceArgs,

    /// Restore even the backup of a lab with another name
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub force: bool,
}

/// `recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// The lab.
    #[command(flatten)]
    pub lab: LabArgs,

    /// Take what all controllers share from this one; default: the first that can be reached
    #[arg(long, value_name = "CONTROLLER", add = ArgValueCompleter::new(nodes))]
    pub from: Option<String>,

    /// Trust nodes whose host keys are unknown, and record their keys
    ///
    /// Without it, a node that is in neither the lab's known_hosts nor yours is refused. The
    /// fingerprints of the accepted keys are printed: compare them with those on the machines'
    /// consoles.
    #[arg(long, value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    pub accept_new_host_keys: bool,
}
