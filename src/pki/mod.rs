//! Certificates, keys and kubeconfigs of a lab: which ones it needs, how they are issued, and where
//! they are stored.
//!
//! - [`spec`] defines the certificates that a cluster needs, and their contents (pure);
//! - [`inspect`] parses a certificate and decides whether it must be issued again (pure);
//! - [`issue`] generates keys and signs certificates; the only file that uses the certificate
//!   library;
//! - [`store`] compares the lab directory with the specs, and issues and saves the difference;
//! - [`rotation`] defines the stages of a CA rotation and the steps between them (pure), and
//!   [`rotate`] executes them;
//! - [`kubeconfig`] renders kubeconfigs (pure), and [`merge`] merges one into the user's own
//!   (pure);
//! - [`user`] issues certificates for users of a lab;
//! - [`listing`] finds certificates and parses them;
//! - [`identity`] compares a node's mark with the keys in the lab directory (pure);
//! - [`recovery`] reconstructs the lab directory's files from those on nodes (pure).
//!
//! The current time is always an argument, and nothing is written before [`store::Ensured::save`],
//! so that a plan can show what a run would issue.

mod files;
#[cfg(test)]
mod fixture;
pub mod identity;
pub mod inspect;
pub mod issue;
pub mod kubeconfig;
pub mod list;
pub mod listing;
pub mod merge;
pub mod recovery;
pub mod rotate;
pub mod rotation;
pub mod spec;
pub mod store;
pub mod user;

use std::io;
use std::path::PathBuf;

pub use kubeconfig::kubeconfigs;
pub use spec::{CertSpec, Usage, specs};
pub use store::{Ensured, Issued, Pki, ensure, renew};

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
