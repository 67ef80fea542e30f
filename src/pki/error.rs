//! Why a lab's certificates are not available.

use std::io;
use std::path::PathBuf;

/// Why a lab's certificates are not available. Never contains key material.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file in the lab directory exists but cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        cause: io::Error,
    },
    /// A file could not be written to the lab directory.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The file system's error.
        cause: io::Error,
    },
    /// A file can be read but is invalid.
    #[error("{} {problem}; {remedy}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as a predicate: "is not a PEM certificate".
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// Something that cannot be recreated is missing: a new one would not match what was made with
    /// the old one.
    #[error(
        "{} is missing, but {evidence} exists: this lab already uses the lost one, and a \
        new one would not fit; \
         `labctl recover` reads it back from a controller",
        path.display()
    )]
    Lost {
        /// The missing file.
        path: PathBuf,
        /// A file that proves that it existed, relative to the pki directory.
        evidence: String,
    },
    /// A key could not be generated, or a certificate not signed.
    #[error("cannot issue {name}: {problem}")]
    Issue {
        /// Name of the certificate or key.
        name: String,
        /// What went wrong.
        problem: String,
    },
    /// A kubeconfig needs a file that the set of certificates lacks.
    #[error("{name} is not among this lab's certificates; issue them first")]
    Absent {
        /// Name of the file, relative to the pki directory.
        name: String,
    },
}
