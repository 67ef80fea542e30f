//! `etcd backup` and `etcd restore`.

pub mod backup;
pub mod restore;

use super::exit::Stop;
use crate::backup::BackupError;

/// A backup that cannot be used: nothing was done.
fn bad(error: BackupError) -> Stop {
    let help = error.help();
    Stop::bad(error).help(help)
}

/// A backup that could not be written or read while something was being done.
pub(super) fn failed(error: BackupError) -> Stop {
    let help = error.help();
    Stop::failed(error).help(help)
}
