//! Backups: their contents, how they are read and written, and whether one fits a lab.
//!
//! A backup is one file that only its owner can read (0600), a `tar.gz` that any tar unpacks:
//!
//! | in the archive | what |
//! |---|---|
//! | `manifest.json` | the [`Manifest`]: of which lab, when, which versions, how much |
//! | `inventory.yaml` | the inventory as it was |
//! | `pki/` | the lab directory's certificates and keys, the encryption key among them: without it no Secret can be read |
//! | `snapshot.db` | etcd's own snapshot, which `etcdutl snapshot restore` takes as it is |
//! | `SHA256SUMS` | of all of these, for `sha256sum -c` |
//!
//! [`archive`] writes it, [`unpack`] reads it; [`snapshot`] is the shell script with which a node
//! takes a snapshot. The verbs and `playbooks/restore.yaml` do the rest.

pub mod archive;
pub mod snapshot;
pub mod unpack;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

pub use archive::Archive;

/// The format that this version of labctl writes, and the newest that it can read.
pub const FORMAT: u32 = 1;

/// Without these files no lab can use a backup's data: the CAs, and the keys that cannot be
/// recreated.
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

/// The description of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The archive's format.
    pub format: u32,
    /// The version of labctl that wrote it.
    pub labctl: String,
    /// The lab's name.
    pub lab: String,
    /// The time in UTC: `2026-11-21T10:55:00Z`.
    pub created: String,
    /// The version of Kubernetes in the lab's inventory.
    pub kubernetes: String,
    /// The version of etcd from which the snapshot was taken.
    pub etcd: String,
    /// The node that it was taken on.
    pub node: String,
    /// The members of etcd, by name.
    pub members: Vec<String>,
    /// The snapshot's own hash, as `etcdutl snapshot status` prints it.
    pub hash: u32,
    /// The newest revision in the snapshot.
    pub revision: u64,
    /// Number of keys.
    pub keys: u64,
    /// Size of `snapshot.db` in bytes.
    pub size: u64,
}

/// Why a backup cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// An operation on a file or directory on the workstation failed.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A file already exists at the destination.
    #[error("{} already exists", path.display())]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// There can be no file at the destination.
    #[error("cannot write a backup to {}: {why}", path.display())]
    NoPlace {
        /// The destination.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The file is not a backup.
    #[error("{} is not a labctl backup: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that was noticed.
        why: String,
    },
    /// It is a damaged backup.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is a backup of a later version of labctl.
    #[error("{} has format {found}; this labctl reads formats up to {FORMAT}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

impl BackupError {
    /// Returns what to do next.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io { doing: "read", cause, .. } if cause.kind() == ErrorKind::NotFound => {
                "name a file that is there: `labctl etcd backup` writes one"
            }
            Self::Io { cause, .. } => match cause.kind() {
                ErrorKind::PermissionDenied => "check who may read and write there",
                ErrorKind::StorageFull => "make room there, or choose another place",
                _ => "check the permissions there, and the free space",
            },
            Self::NoPlace { .. } => "choose a file in an existing directory",
            Self::Exists { .. } => "choose another file, or add --force to replace it",
            Self::Foreign { .. } => "choose a file that was written by `labctl etcd backup`",
            Self::Damaged { .. } => {
                "use another copy: the changed byte may be in a key or in the data"
            }
            Self::Newer { .. } => "use the version of labctl that wrote it, or a newer one",
        }
    }
}

/// Returns why a backup must not be restored into a lab; `None` if it may be. `etcd` is the version
/// of etcd in the lab's bundle.
pub fn misfit(
    manifest: &Manifest,
    kubernetes: crate::cluster::Version,
    etcd: Option<&str>,
) -> Option<String> {
    // An earlier release may be unable to read objects of a later one, and would drop them.
    let taken: Option<crate::cluster::Version> = manifest.kubernetes.parse().ok();
    if taken.is_none_or(|taken| (taken.major, taken.minor) > (kubernetes.major, kubernetes.minor)) {
        return Some(format!(
            "the backup was taken from Kubernetes {}, but the inventory has {kubernetes}, \
            which may not be able to \
             read what a newer release stored",
            manifest.kubernetes
        ));
    }
    let (from, to) = (minor(&manifest.etcd), etcd.and_then(minor));
    if to.is_some() && from > to {
        return Some(format!(
            "the backup was taken from etcd {}, but the lab's bundle has etcd {}, which cannot \
            read the data of a newer \
             release",
            manifest.etcd,
            etcd.unwrap_or_default()
        ));
    }
    None
}

/// Returns the first two numbers of a version.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Returns which essential files of a lab differ from the backup's. Restored data can only be read
/// with the backup's keys.
pub fn differing(
    lab: &BTreeMap<String, Secret>,
    backup: &BTreeMap<String, Secret>,
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
        // If the bundle's version is unknown, it is no reason to refuse.
        assert_eq!(misfit_in("1.34.4", None), None);
    }

    #[test]
    fn a_backup_does_not_fit_a_lab_of_an_earlier_release() {
        let why = misfit_in("1.33.9", Some("3.6.16")).expect("refused");
        assert!(
            why.starts_with(
                "the backup was taken from Kubernetes 1.34.4, but the inventory has 1.33.9"
            ),
            "{why}"
        );
        let why = misfit_in("1.34.4", Some("3.5.30")).expect("refused");
        assert!(
            why.starts_with(
                "the backup was taken from etcd 3.6.16, but the lab's bundle has etcd 3.5.30"
            ),
            "{why}"
        );
    }

    #[test]
    fn only_files_that_cannot_be_recreated_count_as_a_difference() {
        let backup: BTreeMap<String, Secret> =
            ESSENTIAL.iter().map(|name| ((*name).to_owned(), name.as_bytes().into())).collect();
        let mut lab = backup.clone();
        lab.insert("admin.crt".to_owned(), b"renewed".into());
        assert_eq!(differing(&lab, &backup), [""; 0]);
        lab.insert("encryption.key".to_owned(), b"another".into());
        lab.remove("ca.key");
        assert_eq!(differing(&lab, &backup), ["ca.key", "encryption.key"]);
    }
}
