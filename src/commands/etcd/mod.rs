//! `etcd backup`, `etcd restore` and `etcd rotate-key`.

pub mod backup;
pub mod restore;
pub mod rotate_key;

use super::exit::Stop;
use crate::backup::BackupError;

/// Converts the error of an unusable backup; nothing was done.
fn bad(error: BackupError) -> Stop {
    let help = error.help();
    Stop::bad(error).help(help)
}

/// Converts the error of a backup that could not be written or read.
pub(super) fn failed(error: BackupError) -> Stop {
    let help = error.help();
    Stop::failed(error).help(help)
}
