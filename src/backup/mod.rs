//! Backups: what is in one, how it is read and written, and whether it fits a lab.
//!
//! A backup is one file for its owner's eyes only (0600), a `tar.gz` that any tar unpacks:
//!
//! | in the archive | what |
//! |---|---|
//! | `manifest.json` | the [`Manifest`]: of which lab, when, which versions, how much |
//! | `inventory.yaml` | the inventory as it was |
//! | `pki/` | the lab directory's certificates and keys, the encryption key among them: without it no Secret can be read |
//! | `snapshot.db` | etcd's own snapshot, which `etcdutl snapshot restore` takes as it is |
//! | `SHA256SUMS` | of all of these, for `sha256sum -c` |
//!
//! [`archive`] writes and reads it; [`snapshot`] is the shell text that has a node make a snapshot.
//! What is asked of a node, and what becomes of a backup, is the business of the verbs and of
//! `playbooks/restore.yaml`.

pub mod archive;
pub mod snapshot;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use archive::Archive;

/// The format that this labctl writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Without these no lab can be run with a backup's data: its authorities, and the keys that no one
/// can make again.
pub const ESSENTIAL: [&str; 8] = [
    "ca.crt",
    "ca.key",
    "etcd/ca.crt",
    "etcd/ca.key",
    "front-proxy-ca.crt",
    "front-proxy-ca.key",
    "sa.key",
    "encryption.key",
];

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The archive's format.
    pub format: u32,
    /// The labctl that wrote it.
    pub labctl: String,
    /// The lab's name.
    pub lab: String,
    /// When, in UTC: `2026-11-21T10:55:00Z`.
    pub created: String,
    /// The version of Kubernetes that the lab's inventory asked for.
    pub kubernetes: String,
    /// The version of etcd that the snapshot was taken from.
    pub etcd: String,
    /// The node that it was taken on.
    pub node: String,
    /// The members that etcd had, by name.
    pub members: Vec<String>,
    /// The snapshot's own hash, as `etcdutl snapshot status` prints it.
    pub hash: u32,
    /// The newest revision in the snapshot.
    pub revision: u64,
    /// How many keys it holds.
    pub keys: u64,
    /// The length of `snapshot.db` in bytes.
    pub size: u64,
}

/// Why a backup cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or directory on the workstation.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Something else is at the place where the backup should go.
    #[error("{} already exists", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// There can be no file at the place where the backup should go.
    #[error("cannot write a backup to {}: {why}", path.display())]
    NoPlace {
        /// The place.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The file is something else than a backup.
    #[error("{} is not a labctl backup: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What gives it away.
        why: String,
    },
    /// It was a backup once.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is whole, and of a later labctl.
    #[error("{} has format {found}; this labctl reads formats up to {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

impl BackupError {
    /// What to do next.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the permissions there, and the free space",
            Self::NoPlace { .. } => "name a file in an existing directory",
            Self::Exists { .. } => "name another file, or add --force to replace it",
            Self::Foreign { .. } => "name a file that `labctl etcd backup` has written",
            Self::Damaged { .. } => {
                "use another copy: the changed byte may be in a key or in the data"
            }
            Self::Newer { .. } => "use the version of labctl that wrote it, or a newer one",
        }
    }
}

/// Why a backup must not be restored into a lab; `None` when it may. `etcd` is the version of etcd
/// in the lab's bundle.
pub fn misfit(
    manifest: &Manifest,
    kubernetes: crate::cluster::Version,
    etcd: Option<&str>,
) -> Option<String> {
    // Objects of a later release may be stored in a form that an earlier one cannot read, and would
    // be dropped.
    let taken: Option<crate::cluster::Version> = manifest.kubernetes.parse().ok();
    if taken.is_none_or(|taken| (taken.major, taken.minor) > (kubernetes.major, kubernetes.minor)) {
        return Some(format!(
            "the backup was taken from Kubernetes {}, and the inventory asks for {kubernetes}, \
            which may not be able to \
             read what a newer release stored",
            manifest.kubernetes
        ));
    }
    let (from, to) = (minor(&manifest.etcd), etcd.and_then(minor));
    if to.is_some() && from > to {
        return Some(format!(
            "the backup was taken from etcd {}, and the lab's bundle has etcd {}, which cannot \
            read the data of a newer \
             release",
            manifest.etcd,
            etcd.unwrap_or_default()
        ));
    }
    None
}

/// The first two numbers of a version.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Which essential files of a lab differ from the backup's. Restored data can be read with the
/// backup's keys only.
pub fn differing(
    lab: &BTreeMap<String, Vec<u8>>,
    backup: &BTreeMap<String, Vec<u8>>,
) -> Vec<&'static str> {
    ESSENTIAL.into_iter().filter(|name| lab.get(*name) != backup.get(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            labctl: "0.1.0".to_owned(),
            lab: "sandbox".to_owned(),
            created: "2026-11-21T10:55:00Z".to_owned(),
            kubernetes: "1.34.4".to_owned(),
            etcd: "3.6.16".to_owned(),
            node: "controller-0".to_owned(),
            members: vec!["controller-0".to_owned(), "controller-1".to_owned()],
            hash: 4_000_000_000,
            revision: 1234,
            keys: 321,
            size: 20_512,
        }
    }

    fn misfit_in(kubernetes: &str, etcd: Option<&str>) -> Option<String> {
        misfit(&manifest(), kubernetes.parse().expect("a version"), etcd)
    }

    #[test]
    fn a_backup_fits_labs_of_its_own_version_and_of_later_ones() {
        for (kubernetes, etcd) in
            [("1.34.4", Some("3.6.16")), ("1.34.0", Some("3.6.4")), ("1.35.1", Some("3.7.0"))]
        {
            assert_eq!(misfit_in(kubernetes, etcd), None, "{kubernetes} {etcd:?}");
        }
        // What a bundle does not say, nothing can be held against.
        assert_eq!(misfit_in("1.34.4", None), None);
    }

    #[test]
    fn a_backup_does_not_fit_a_lab_of_an_earlier_release() {
        let why = misfit_in("1.33.9", Some("3.6.16")).expect("refused");
        assert!(
            why.starts_with(
                "the backup was taken from Kubernetes 1.34.4, and the inventory asks for 1.33.9"
            ),
            "{why}"
        );
        let why = misfit_in("1.34.4", Some("3.5.30")).expect("refused");
        assert!(
            why.starts_with(
                "the backup was taken from etcd 3.6.16, and the lab's bundle has etcd 3.5.30"
            ),
            "{why}"
        );
    }

    #[test]
    fn only_what_cannot_be_made_again_counts_as_a_difference() {
        let backup: BTreeMap<String, Vec<u8>> =
            ESSENTIAL.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect();
        let mut lab = backup.clone();
        lab.insert("admin.crt".to_owned(), b"renewed".to_vec());
        assert_eq!(differing(&lab, &backup), [""; 0]);
        lab.insert("encryption.key".to_owned(), b"another".to_vec());
        lab.remove("ca.key");
        assert_eq!(differing(&lab, &backup), ["ca.key", "encryption.key"]);
    }
}
