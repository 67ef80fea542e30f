//! The names that local nodes have on the host: bridge, machines, namespaces, links, hardware
//! addresses.
//!
//! Every name is derived from the lab directory's path, so two labs never meet, and what a killed
//! run left behind is found again without a record of it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::lab::LabDirectory;

/// The kernel's limit for a link's name.
#[cfg(test)]
const LINK_NAME_LIMIT: usize = 15;
/// systemd-nspawn's limit for a machine's name.
const MACHINE_NAME_LIMIT: usize = 64;

/// Whether `name` is one that a machine of some lab has.
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
    /// The names of the lab in `lab`; of its real path, so that a link to it is the same lab.
    pub fn of(lab: &LabDirectory) -> Self {
        let root = real(lab.root());
        let id = format!("lab{}", &digest(&[root.as_os_str().as_bytes()])[..8]);
        Self { root, id }
    }

    /// The lab directory's real path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bridge that joins the lab's nodes; also what every other name of the lab begins with.
    pub fn bridge(&self) -> &str {
        &self.id
    }

    /// What the names of all machines of this lab begin with.
    pub fn machine_prefix(&self) -> String {
        format!("{}-", self.id)
    }

    /// One node's machine: names its cgroups and its network namespace too.
    pub fn machine(&self, node: &str) -> String {
        let name = format!("{}-{node}", self.id);
        if name.len() <= MACHINE_NAME_LIMIT {
            name
        } else {
            format!("{}-{}", self.id, &self.node_digest(node)[..16])
        }
    }

    /// The host's end of one node's link.
    pub fn link(&self, node: &str) -> String {
        format!("labv{}", &self.node_digest(node)[..10])
    }

    /// The node's hardware address: the same after a restart, or its neighbours would talk to the
    /// old one for a while.
    pub fn node_hardware_address(&self, node: &str) -> String {
        hardware_address(&self.node_digest(node))
    }

    /// The bridge's hardware address. Left alone, a bridge takes its ports' lowest and changes it
    /// as nodes come.
    pub fn bridge_hardware_address(&self) -> String {
        hardware_address(&digest(&[self.root.as_os_str().as_bytes(), b"bridge"]))
    }

    /// The node's machine id: systemd's 32 hexadecimal digits.
    pub fn machine_id(&self, node: &str) -> String {
        digest(&[self.root.as_os_str().as_bytes(), b"machine-id", node.as_bytes()])[..32].to_owned()
    }

    fn node_digest(&self, node: &str) -> String {
        digest(&[self.root.as_os_str().as_bytes(), node.as_bytes()])
    }
}

/// The real path of `path`, also of one that is not there any more: then that of the folder that it
/// was in.
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

/// SHA-256 over `parts`, each with its length, in hexadecimal.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(hasher.finalize())
}

/// A locally administered unicast address (second digit 2) from a digest.
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
    fn a_machine_of_any_lab_is_told_from_the_rest() {
        let names = Names::of(&LabDirectory::new("/labs/sandbox"));
        assert!(is_machine(&names.machine("worker-0")));
        for other in ["lab1234-worker-0", "labor-0", "cni-1", "lab01234567-", "lab0123456z-a"] {
            assert!(!is_machine(other), "{other}");
        }
    }

    #[test]
    fn a_lab_keeps_its_names_when_its_folder_is_gone_also_behind_a_link() {
        let here = tempfile::tempdir().expect("a folder");
        let (labs, link) = (here.path().join("labs"), here.path().join("link"));
        std::fs::create_dir_all(labs.join("a/deep")).expect("a folder");
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
