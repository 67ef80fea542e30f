//! What can go wrong with a bundle, said so that a person knows what to do next.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use crate::cluster::Version;

/// Why a bundle could not be opened, verified or pulled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The directory has no lock, so it is no bundle (yet).
    #[error(
        "open bundle {}: it has no bundle.lock; `labctl bundle pull` makes a bundle, and resumes \
         one that was interrupted",
        folder.display()
    )]
    NoLock {
        /// The directory.
        folder: PathBuf,
    },
    /// The lock cannot be taken at its word.
    #[error(
        "read {}: {}; restore the file as `labctl bundle pull` wrote it, or delete it and pull \
        again",
        path.display(),
        problems.join("; ")
    )]
    BadLock {
        /// The lock.
        path: PathBuf,
        /// Everything that is wrong with it, with lines where they are known.
        problems: Vec<String>,
    },
    /// Files of the lock are missing or have another size.
    #[error(
        "open bundle {}: {} not as bundle.lock records:\n  {}\nrun `labctl bundle pull` to fetch \
        what is missing, or \
         `labctl bundle verify` to check every file",
        folder.display(), count(files), files.join("\n  ")
    )]
    Broken {
        /// The bundle's directory.
        folder: PathBuf,
        /// `name: what is wrong`.
        files: Vec<String>,
    },
    /// The bundle has no file of this name.
    #[error("bundle {} has no `{name}`; add it to the directory and to bundle.lock, or pull the \
        bundle again", folder.display())]
    NoFile {
        /// The bundle's directory.
        folder: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// Files have another content than the lock records.
    #[error(
        "verify bundle {}: {} other content than bundle.lock records:\n  {}\ndelete them and run \
        `labctl bundle pull`",
        folder.display(), if files.len() == 1 { "1 file has".to_owned() } else { format!("{} files have", files.len()) },
        files.join("\n  ")
    )]
    Mismatch {
        /// The bundle's directory.
        folder: PathBuf,
        /// `name: expected ..., got ...`.
        files: Vec<String>,
    },
    /// The bundle was made for another Kubernetes version.
    #[error(
        "bundle {} holds Kubernetes {bundle}, but the lab wants {wanted}; set `kubernetes: \
        \"{bundle}\"` in the \
         inventory, or name a bundle of {wanted} (`labctl bundle pull` makes one in an empty \
        directory)",
        folder.display()
    )]
    OtherVersion {
        /// The bundle's directory.
        folder: PathBuf,
        /// What it holds.
        bundle: Version,
        /// What is wanted.
        wanted: Version,
    },
    /// The bundle was made for another processor architecture.
    #[error("bundle {} is for {bundle}, not for {wanted}; pull into another \
        directory", folder.display())]
    OtherArchitecture {
        /// The bundle's directory.
        folder: PathBuf,
        /// What it holds.
        bundle: String,
        /// What is wanted.
        wanted: String,
    },
    /// There are no official releases that labctl knows of.
    #[error("find the releases of Kubernetes {version} for {architecture}: {why}")]
    Unsupported {
        /// The version asked for.
        version: Version,
        /// The architecture asked for.
        architecture: String,
        /// What labctl does know.
        why: String,
    },
    /// Something could not be downloaded.
    #[error("download {url}: {why}")]
    Download {
        /// The address.
        url: String,
        /// The cause, and what to do.
        why: String,
    },
    /// What was downloaded is not what was published.
    #[error(
        "download {url}: its SHA-256 is not the published one: expected {expected}, got {got}; \
        the download was \
         deleted, so try again; if it stays so, distrust the network or the mirror in between"
    )]
    Checksum {
        /// The address.
        url: String,
        /// The published SHA-256.
        expected: String,
        /// What arrived.
        got: String,
    },
    /// A download differs from what an earlier pull recorded.
    #[error(
        "pull `{name}` again: bundle.lock records SHA-256 {locked}, but {origin} now has {got}; \
        the release or \
         the lock has changed: find out why, and delete {} only if you accept the new \
        one", lock.display()
    )]
    LockDiffers {
        /// The file's name in the bundle.
        name: String,
        /// Where the new content is from.
        origin: String,
        /// The SHA-256 in the lock.
        locked: String,
        /// The SHA-256 of the new content.
        got: String,
        /// The lock.
        lock: PathBuf,
    },
    /// A release archive is broken or lacks a program.
    #[error("unpack {origin}: {why}")]
    Archive {
        /// The archive's address.
        origin: String,
        /// What is wrong.
        why: String,
    },
    /// A registry's answer makes no sense.
    #[error("pull image {reference}: {why}")]
    Image {
        /// The image.
        reference: String,
        /// What is wrong.
        why: String,
    },
    /// This machine would not do something.
    #[error("{what}: {why}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The cause, and what to do when that is known.
        why: String,
    },
}

impl BundleError {
    /// The file system's refusal to do `what`.
    pub(super) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!(
                    "the disk is full ({error}); make room there, or choose another directory, \
                    and run this again"
                )
            }
            _ => error.to_string(),
        };
        Self::Io { what: what.into(), why }
    }

    /// A background task that did not come to its end.
    pub(super) fn cut_short(what: impl Into<String>, error: &tokio::task::JoinError) -> Self {
        Self::Io { what: what.into(), why: format!("the work was interrupted: {error}") }
    }

    /// A download that failed for a reason worth a sentence.
    pub(super) fn download(url: impl Display, why: impl Into<String>) -> Self {
        Self::Download { url: url.to_string(), why: why.into() }
    }
}

fn count(files: &[String]) -> String {
    if files.len() == 1 { "1 file is".to_owned() } else { format!("{} files are", files.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_as_such() {
        let error =
            BundleError::io("write /var/cache/labctl/x.part", &io::Error::from_raw_os_error(28));
        let text = error.to_string();
        assert!(text.starts_with("write /var/cache/labctl/x.part: the disk is full"), "{text}");
        assert!(text.contains("make room"), "{text}");
    }
}
