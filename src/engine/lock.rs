//! The lock that prevents concurrent runs on one lab.
//!
//! It is an advisory lock on a file in the lab directory. The kernel releases it when labctl exits,
//! however it exits, so a lock is never stale.
//!
//! A lock of flock(2) belongs to the open file, which a program that labctl starts shares until it
//! has replaced its image. So closing the file may not give the lock back at once; it is unlocked
//! first.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, flock};

use crate::lab::LabDirectory;

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub struct RunLock(File);

impl Drop for RunLock {
    fn drop(&mut self) {
        // Closing the file is what is left if this fails.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error("another labctl is working on this \
        lab{}", .0.as_deref().map(|who| format!(" ({who})")).unwrap_or_default())]
    Held(Option<String>),
    /// The lab directory cannot be written.
    #[error("cannot write {path}: {why}")]
    Io {
        /// The lock file.
        path: std::path::PathBuf,
        /// The system's error.
        why: io::Error,
    },
}

impl LockError {
    /// Returns what to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Held(_) => "wait until it finishes; the lock is released when it exits",
            Self::Io { .. } => {
                "the lab directory is beside the inventory; run labctl as a user who may \
                write there"
            }
        }
    }
}

/// Takes the lab's lock without waiting. Another run that finds it locked reports `doing`.
///
/// # Errors
/// If another run holds it, or the lab directory cannot be written.
pub fn take(lab: &LabDirectory, doing: &str) -> Result<RunLock, LockError> {
    let path = lab.lock();
    let io = |why| LockError::Io { path: path.clone(), why };
    lab.create().map_err(io)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut who = String::new();
            let _ = file.read_to_string(&mut who);
            return Err(LockError::Held(Some(who.trim().to_owned()).filter(|who| !who.is_empty())));
        }
        Err(errno) => return Err(io(errno.into())),
    }
    file.set_len(0).map_err(io)?;
    file.rewind().map_err(io)?;
    writeln!(file, "labctl {doing}, process {}", std::process::id()).map_err(io)?;
    Ok(RunLock(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_reports_who_holds_the_lock_and_can_take_it_afterwards() {
        let folder = tempfile::tempdir().expect("a directory");
        let lab = LabDirectory::new(folder.path().join("lab"));
        let first = take(&lab, "up").expect("nobody has it");
        let error = take(&lab, "down").expect_err("the first run has it");
        assert!(error.to_string().contains("labctl up, process "), "{error}");
        drop(first);
        take(&lab, "down").expect("it was given back");
    }

    #[test]
    fn a_lock_is_given_back_while_another_process_still_has_the_file_open() {
        let folder = tempfile::tempdir().expect("a directory");
        let lab = LabDirectory::new(folder.path().join("lab"));
        let first = take(&lab, "up").expect("nobody has it");
        let shared = first.0.try_clone().expect("one more descriptor of the same open file");
        drop(first);
        take(&lab, "down").expect("it was given back");
        drop(shared);
    }
}
