//! Certificates, keys and kubeconfigs of a lab: which ones it needs, how they are issued, and where
//! they are stored.
//!
//! - [`spec`] defines the certificates that a cluster needs, and their contents (pure);
//! - [`inspect`] parses a certificate, and [`reissue`] decides whether it must be issued again
//!   (pure);
//! - [`issue`] generates keys and signs certificates; the only file that uses the certificate
//!   library;
//! - [`store`] compares the lab directory with the specs, and issues and saves the difference;
//! - [`rotation`] defines the stages of a CA rotation and the steps between them (pure), and
//!   [`rotate`] executes them;
//! - [`kubeconfig`] renders kubeconfigs (pure), and [`merge`] merges one into the user's own
//!   (pure);
//! - [`token`] derives the bootstrap token (pure);
//! - [`user`] issues certificates for users of a lab;
//! - [`listing`] finds certificates and parses them;
//! - [`identity`] compares a node's mark with the keys in the lab directory (pure);
//! - [`recovery`] reconstructs the lab directory's files from those on nodes (pure).
//!
//! The current time is always an argument, and nothing is written before [`store::Ensured::save`],
//! so that a plan can show what a run would issue.

pub mod encryption;
mod error;
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
pub mod reissue;
pub mod rotate;
pub mod rotation;
pub mod spec;
pub mod store;
pub mod token;
pub mod user;

pub use error::PkiError;
pub use files::Pki;
pub use kubeconfig::kubeconfigs;
pub use spec::{CertSpec, Usage, specs};
pub use store::{Ensured, Issued, ensure, renew};
