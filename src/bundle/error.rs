//! Errors of bundles, each with what to do next.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use crate::cluster::Version;

/// Why a bundle could not be opened, verified or pulled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The directory has no lock, so it is not a bundle (yet).
    #[error(
        "open bundle {}: it has no bundle.lock; `labctl bundle pull` creates a bundle, or resumes \
         one that was interrupted",
        folder.display()
    )]
    NoLock {
        /// The directory.
        folder: PathBuf,
    },
    /// The lock is invalid.
    #[error(
        "read {}: {}; restore the file as `labctl bundle pull` wrote it, or delete it and pull \
        again",
        path.display(),
        problems.join("; ")
    )]
    BadLock {
        /// The lock.
        path: PathBuf,
        /// Everything that is wrong with it, with lines if they are known.
        problems: Vec<String>,
    },
    /// Files of the lock are missing or have another size.
    #[error(
        "open bundle {}: {} different from bundle.lock:\n  {}\nrun `labctl bundle pull` to fetch \
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
        /// The requested name.
        name: String,
    },
    /// The content of files does not match the lock.
    #[error(
        "verify bundle {}: {} a checksum that differs from bundle.lock:\n  {}\ndelete them and run \
        `labctl bundle pull`",
        folder.display(),
        match files.len() { 1 => "1 file has".to_owned(), many => format!("{many} files have") },
        files.join("\n  ")
    )]
    Mismatch {
        /// The bundle's directory.
        folder: PathBuf,
        /// `name: expected ..., got ...`.
        files: Vec<String>,
    },
    /// The bundle is for another Kubernetes version.
    #[error(
        "bundle {} has Kubernetes {bundle}, but the lab needs {wanted}; set `kubernetes: \
        \"{bundle}\"` in the \
         inventory, or use a bundle of {wanted} (`labctl bundle pull` creates one in an empty \
        directory)",
        folder.display()
    )]
    OtherVersion {
        /// The bundle's directory.
        folder: PathBuf,
        /// The bundle's version.
        bundle: Version,
        /// The lab's version.
        wanted: Version,
    },
    /// The bundle is for another processor architecture.
    #[error("bundle {} is for {bundle}, not for {wanted}; pull into another \
        directory", folder.display())]
    OtherArchitecture {
        /// The bundle's directory.
        folder: PathBuf,
        /// The bundle's architecture.
        bundle: String,
        /// The lab's architecture.
        wanted: String,
    },
    /// labctl knows no official releases for this version and architecture.
    #[error("find the releases of Kubernetes {version} for {architecture}: {why}")]
    Unsupported {
        /// The requested version.
        version: Version,
        /// The requested architecture.
        architecture: String,
        /// What labctl supports.
        why: String,
    },
    /// A download failed.
    #[error("download {url}: {why}")]
    Download {
        /// The URL.
        url: String,
        /// The cause, and what to do.
        why: String,
    },
    /// The content of a download does not match its checksum.
    #[error(
        "download {url}: its SHA-256 is not that of the release: expected {expected}, got {got}; \
        the download was deleted, so try again; if it happens again, do not trust the network or \
        the mirror, or, if that has builds of your own, pass --published-checksums"
    )]
    Checksum {
        /// The URL.
        url: String,
        /// The SHA-256 that labctl knows, or that was published.
        expected: String,
        /// The SHA-256 of the download.
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
        /// The source of the new content.
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
        /// The archive's URL.
        origin: String,
        /// What is wrong.
        why: String,
    },
    /// A registry's response is invalid.
    #[error("pull image {reference}: {why}")]
    Image {
        /// The image.
        reference: String,
        /// What is wrong.
        why: String,
    },
    /// An operation on the workstation failed.
    #[error("{what}: {why}")]
    Io {
        /// The operation, with the path.
        what: String,
        /// The cause, and what to do if that is known.
        why: String,
    },
}

impl BundleError {
    /// Wraps an error of the file system while doing `what`.
    pub(super) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!(
                    "the disk is full ({error}); free some space, or choose another directory, \
                    and run this again"
                )
            }
            _ => error.to_string(),
        };
        Self::Io { what: what.into(), why }
    }

    /// Builds the error for a background task that was cancelled or panicked.
    pub(super) fn cut_short(what: impl Into<String>, error: &tokio::task::JoinError) -> Self {
        Self::Io { what: what.into(), why: format!("the work was interrupted: {error}") }
    }

    /// Builds the error for a failed download.
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
    fn a_full_disk_is_reported_as_such() {
        let error =
            BundleError::io("write /var/cache/labctl/x.part", &io::Error::from_raw_os_error(28));
        let text = error.to_string();
        assert!(text.starts_with("write /var/cache/labctl/x.part: the disk is full"), "{text}");
        assert!(text.contains("free some space"), "{text}");
    }
}
