//! The names of local nodes on the host: bridge, machines, namespaces, links, hardware addresses.
//!
//! All names are derived from the path of the lab directory. Two labs never conflict, and leftovers
//! of a killed run can be found without a record.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::lab::LabDirectory;

/// The kernel's length limit for the name of a link.
#[cfg(test)]
const LINK_NAME_LIMIT: usize = 15;
/// systemd-nspawn's length limit for the name of a machine.
const MACHINE_NAME_LIMIT: usize = 64;

/// Whether `name` is the name of a machine of some lab.
pub(super) fn is_machine(name: &str) -> bool {
    let Some((lab, node)) = name.strip_prefix("lab").and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    lab.len() == 8 && lab.bytes().all(|byte| byte.is_ascii_hexdigit()) && !node.is_empty()
}

/// The names of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    root: PathBuf,
    id: String,
}

impl Names {
    /// Returns the names of the lab in `lab`, derived from its real path, so that a symbolic link
    /// to it is the same lab.
    pub fn of(lab: &LabDirectory) -> Self {
        let root = real(lab.root());
        let id = format!("lab{}", &digest(&[root.as_os_str().as_bytes()])[..8]);
        Self { root, id }
    }

    /// Returns the lab directory's real path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the name of the bridge that joins the lab's nodes. All other names of the lab begin
    /// with it.
    pub fn bridge(&self) -> &str {
        &self.id
    }

    /// Returns the prefix of the names of all machines of this lab.
    pub fn machine_prefix(&self) -> String {
        format!("{}-", self.id)
    }

    /// Returns the name of a node's machine, which is also the name of its cgroups and its network
    /// namespace.
    pub fn machine(&self, node: &str) -> String {
        let name = format!("{}-{node}", self.id);
        if name.len() <= MACHINE_NAME_LIMIT {
            name
        } else {
            format!("{}-{}", self.id, &self.node_digest(node)[..16])
        }
    }

    /// Returns the name of the host's end of a node's link.
    pub fn link(&self, node: &str) -> String {
        format!("labv{}", &self.node_digest(node)[..10])
    }

    /// Returns the node's hardware address. It stays the same after a restart; otherwise neighbours
    /// would use the old one for a while.
    pub fn node_hardware_address(&self, node: &str) -> String {
        hardware_address(&self.node_digest(node))
    }

    /// Returns the bridge's hardware address. By default, a bridge takes the lowest one of its
    /// ports and changes it as nodes come and go.
    pub fn bridge_hardware_address(&self) -> String {
        hardware_address(&digest(&[self.root.as_os_str().as_bytes(), b"bridge"]))
    }

    /// Returns the node's machine id: systemd's 32 hexadecimal digits.
    pub fn machine_id(&self, node: &str) -> String {
        digest(&[self.root.as_os_str().as_bytes(), b"machine-id", node.as_bytes()])[..32].to_owned()
    }

    fn node_digest(&self, node: &str) -> String {
        digest(&[self.root.as_os_str().as_bytes(), node.as_bytes()])
    }
}

/// Returns the real path of `path`. If `path` no longer exists, resolves the nearest parent that
/// does.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = std::fs::canonicalize(path) {
        return real;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => real(folder).join(name),
        _ => absolute,
    }
}

/// Returns the SHA-256 over `parts`, each with its length, in hexadecimal.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

/// Derives a locally administered unicast address (second digit 2) from a digest.
fn hardware_address(digest: &str) -> String {
    format!(
        "02:{}:{}:{}:{}:{}",
        &digest[..2],
        &digest[2..4],
        &digest[4..6],
        &digest[6..8],
        &digest[8..10]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_labs_are_recognised() {
        let names = Names::of(&LabDirectory::new("/labs/sandbox"));
        assert!(is_machine(&names.machine("worker-0")));
        for other in ["lab1234-worker-0", "labor-0", "cni-1", "lab01234567-", "lab0123456z-a"] {
            assert!(!is_machine(other), "{other}");
        }
    }

    #[test]
    fn a_lab_keeps_its_names_without_its_directory_even_behind_a_link() {
        let here = tempfile::tempdir().expect("a directory");
        let (labs, link) = (here.path().join("labs"), here.path().join("link"));
        std::fs::create_dir_all(labs.join("a/deep")).expect("a directory");
        std::os::unix::fs::symlink(&labs, &link).expect("a link");
        let there = Names::of(&LabDirectory::new(link.join("a/deep")));
        assert_eq!(there, Names::of(&LabDirectory::new(labs.join("a/deep"))));
        std::fs::remove_dir_all(labs.join("a")).expect("it goes");
        assert_eq!(Names::of(&LabDirectory::new(link.join("a/deep"))), there);
    }

    #[test]
    fn names_fit_the_kernel_and_nspawn() {
        let names = Names::of(&LabDirectory::new("/labs/sandbox"));
        let longest = "n".repeat(63);
        for node in ["a", longest.as_str()] {
            assert!(names.link(node).len() <= LINK_NAME_LIMIT);
            assert!(names.machine(node).len() <= MACHINE_NAME_LIMIT);
            assert!(names.machine(node).starts_with(&names.machine_prefix()));
            assert_eq!(names.machine_id(node).len(), 32);
        }
        assert!(names.bridge().len() <= LINK_NAME_LIMIT);
    }

    #[test]
    fn two_labs_with_the_same_nodes_share_no_name() {
        let one = Names::of(&LabDirectory::new("/labs/one"));
        let two = Names::of(&LabDirectory::new("/labs/two"));
        assert_ne!(one.bridge(), two.bridge());
        assert_ne!(one.machine("worker-0"), two.machine("worker-0"));
        assert_ne!(one.link("worker-0"), two.link("worker-0"));
        assert_ne!(one.machine_id("worker-0"), two.machine_id("worker-0"));
        assert_ne!(one.machine_id("worker-0"), one.machine_id("worker-1"));
    }
}
