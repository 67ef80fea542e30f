//! Certificates, keys and kubeconfigs of a lab: which ones it needs, issuing them, keeping them.
//!
//! - [`spec`] says which certificates a cluster needs and what stands in each (pure);
//! - [`inspect`] reads a certificate back and says why it would have to be issued again (pure);
//! - [`issue`] makes keys and signs certificates, the only file that names the certificate library;
//! - [`store`] compares the lab directory with the specs, and issues and saves the difference;
//! - [`rotation`] says how far a rotation of the CAs is and how it goes on (pure), and [`rotate`]
//!   takes it there;
//! - [`kubeconfig`] renders the kubeconfigs from the result (pure), and [`merge`] puts one into
//!   somebody's own (pure);
//! - [`user`] issues what people use a lab with;
//! - [`listing`] finds certificates and reads them back;
//! - [`identity`] compares what a node says of its lab with what the lab directory holds (pure);
//! - [`recovery`] makes the lab directory's files of those on nodes (pure).
//!
//! The clock is an argument everywhere, and nothing is written before [`store::Ensured::save`], so
//! a plan can show what a run would issue.

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

/// Why a lab's certificates could not be had. Never carries key material.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of the lab directory is there but cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        cause: io::Error,
    },
    /// A file could not be written to the lab directory.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        cause: io::Error,
    },
    /// A file can be read, but cannot be used as what it should be.
    #[error("{} {problem}; {remedy}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as a predicate: "is not a PEM certificate".
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// Something that cannot be made a second time is gone: a new one would not fit what was made
    /// with the old.
    #[error(
        "{} is missing, but {evidence} is there: this lab already runs with the lost one, and a \
        new one would not fit; \
         `labctl recover` reads it back from a controller",
        path.display()
    )]
    Lost {
        /// The file that is gone.
        path: PathBuf,
        /// A file that shows that it once existed, relative to the pki folder.
        evidence: String,
    },
    /// Making a key or signing a certificate failed.
    #[error("cannot issue {name}: {problem}")]
    Issue {
        /// Name of the certificate or key.
        name: String,
        /// What went wrong.
        problem: String,
    },
    /// A kubeconfig needs a file that the set of certificates does not hold.
    #[error("{name} is not among this lab's certificates; issue them first")]
    Absent {
        /// Name of the file, relative to the pki folder.
        name: String,
    },
}
