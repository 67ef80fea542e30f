//! The lab directory: where the workstation keeps a lab's PKI, kubeconfigs, known hosts, lock and run logs.
//!
//! It is `.labctl/<name>/` beside the inventory, for its owner's eyes only: folders 0700, files 0600. This module
//! knows where each thing lies in it and how to write there safely; what is written is its callers' business.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where labctl keeps what can be had again: releases, the base image of local nodes.
///
/// `LABCTL_CACHE`, or `labctl` in the user's cache folder.
pub fn cache_directory() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("LABCTL_CACHE").unwrap_or_else(|| {
        let home = || set("HOME").unwrap_or_else(|| PathBuf::from("/var/cache"));
        set("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache")).join("labctl")
    })
}

/// One lab's folder on the workstation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDirectory {
    root: PathBuf,
}

impl LabDirectory {
    /// The lab directory at `root`; nothing is made yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Certificates and keys, in kubeadm's layout; what belongs to one node under `nodes/<name>/`.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The administrator's kubeconfig.
    pub fn admin_conf(&self) -> PathBuf {
        self.root.join("admin.conf")
    }

    /// The nodes that were last worked on.
    pub fn roster(&self) -> PathBuf {
        self.root.join("roster.json")
    }

    /// Host keys of the lab's nodes, in OpenSSH's format.
    pub fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    /// The private key that labctl logs in to local nodes with.
    pub fn ssh_identity(&self) -> PathBuf {
        self.root.join("ssh/id_ed25519")
    }

    /// File systems and state of local nodes, one folder a node.
    pub fn local_nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// Run logs, one JSON-lines file a run.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The lock that keeps two runs apart.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Makes `folder` (under the lab directory) and every folder above it that is missing, 0700.
    ///
    /// # Errors
    /// As the file system has them.
    pub fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    /// Writes a 0600 file that appears whole or not at all; makes its folder when missing.
    ///
    /// # Errors
    /// As the file system has them; an existing file is then as it was.
    pub fn write_private(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        self.make_folder(folder)?;
        let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}
