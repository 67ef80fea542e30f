//! The lab directory: where the workstation keeps a lab's PKI, kubeconfigs, known hosts, lock and
//! run logs.
//!
//! It is `.labctl/<name>/` beside the inventory, for its owner's eyes only: directories 0700, files
//! 0600. This module knows the paths in it and how to write there safely; what is
//! written is its callers' business.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempPath;

/// Number of files to write in parallel.
const AT_A_TIME: usize = 16;

/// From this number of files on, one sync of the whole file system is faster than a sync per file.
const MANY: usize = 32;

/// Makes git ignore the directory, including this file.
const IGNORE_ALL: &str = "*\n";

/// Returns the directory for what labctl can recreate: releases, the base image of local nodes.
///
/// `LABCTL_CACHE`, or `labctl` in the user's cache directory.
pub fn cache_directory() -> PathBuf {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("LABCTL_CACHE").unwrap_or_else(|| {
        let home = || set("HOME").unwrap_or_else(|| PathBuf::from("/var/cache"));
        set("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache")).join("labctl")
    })
}

/// One lab's directory on the workstation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabDirectory {
    root: PathBuf,
}

impl LabDirectory {
    /// Returns the lab directory at `root` without creating it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of certificates and keys, in kubeadm's layout, with those of one node
    /// in `nodes/<name>/`.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// Returns the path of the administrator's kubeconfig.
    pub fn admin_conf(&self) -> PathBuf {
        self.root.join("admin.conf")
    }

    /// Returns the path of the roster: the nodes that were last worked on.
    pub fn roster(&self) -> PathBuf {
        self.root.join("roster.json")
    }

    /// What was last known of the nodes' machines.
    pub fn facts(&self) -> PathBuf {
        self.root.join("facts.json")
    }

    /// Returns the path of the fingerprints of the lab's keys, which are compared with those on
    /// nodes.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// Returns the path of the host keys of the lab's nodes, in OpenSSH's format.
    pub fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    /// Returns the path of the private key for logging in to local nodes.
    pub fn ssh_identity(&self) -> PathBuf {
        self.root.join("ssh/id_ed25519")
    }

    /// Returns the directory of local nodes, with one directory per node.
    pub fn local_nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    /// Returns the directory of a local node into which binaries are put for it.
    pub fn beside(&self, node: &str) -> PathBuf {
        self.local_nodes().join(node).join("beside")
    }

    /// Returns that directory without what a killed run has left in it. What cannot be removed is
    /// replaced by the next push.
    pub fn cleared_beside(&self, node: &str) -> PathBuf {
        let beside = self.beside(node);
        let files = fs::read_dir(&beside).into_iter().flatten().flatten();
        files.for_each(|file| drop(fs::remove_file(file.path())));
        beside
    }

    /// Returns the directory of run logs, one JSON-lines file per run.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Returns the path of the lock that prevents concurrent runs.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Creates the lab directory and makes git ignore it, because it contains private keys.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn create(&self) -> io::Result<()> {
        self.make_folder(&self.root)?;
        match self.ignore_file() {
            Some(ignore) if !ignore.exists() => fs::write(ignore, IGNORE_ALL),
            _ => Ok(()),
        }
    }

    /// Removes the lab directory with its contents, and `.labctl` if it has no other lab.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.root)?;
        let Some(parent) = self.root.parent() else { return Ok(()) };
        let is_last =
            fs::read_dir(parent)?.flatten().all(|entry| entry.file_name() == ".gitignore");
        if let Some(ignore) = self.ignore_file()
            && is_last
            && fs::read_to_string(&ignore).is_ok_and(|text| text == IGNORE_ALL)
        {
            fs::remove_file(ignore)?;
        }
        // Other files in it stay.
        let _ = fs::remove_dir(parent);
        Ok(())
    }

    /// Returns the `.gitignore` of the directory of all labs; `None` if the lab directory is
    /// elsewhere.
    fn ignore_file(&self) -> Option<PathBuf> {
        let parent = self.root.parent()?;
        (parent.file_name()? == ".labctl").then(|| parent.join(".gitignore"))
    }

    /// Creates `folder` (in the lab directory) and its missing parents with mode 0700.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    /// Writes a file with mode 0600 atomically; creates its directory if missing.
    ///
    /// # Errors
    /// If the file system refuses; an existing file is then unchanged.
    pub fn write_private(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.prepare_private(path, content, true)?.persist(path)?;
        self.sync_names([path]).map_err(|(_, error)| error)
    }

    /// Syncs the directories of these files, and their parents, to disk.
    ///
    /// # Errors
    /// If the file system refuses; returns the directory too.
    pub fn sync_names<'a>(
        &self,
        files: impl IntoIterator<Item = &'a Path>,
    ) -> Result<(), (PathBuf, io::Error)> {
        let above =
            |path: &'a Path| path.ancestors().skip(1).take_while(|it| it.starts_with(&self.root));
        let directories: BTreeSet<&Path> = files.into_iter().flat_map(above).collect();
        for directory in directories.into_iter().chain(self.root.parent()) {
            let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| (directory.to_owned(), error))?;
        }
        Ok(())
    }

    /// Writes many files like [`LabDirectory::write_private`]; they appear in this order.
    ///
    /// Syncing many files in parallel takes little longer than syncing one, and a large lab has
    /// thousands.
    ///
    /// # Errors
    /// If the file system refuses; returns the file too. If a file cannot be prepared, none is
    /// written. If a file cannot be renamed into place, those before it are written and none after
    /// it.
    pub fn write_all_private(
        &self,
        files: &[(PathBuf, &[u8])],
    ) -> Result<(), (PathBuf, io::Error)> {
        let each = files.len() <= MANY;
        let mut prepared: Vec<TempPath> = Vec::with_capacity(files.len());
        for part in files.chunks(AT_A_TIME) {
            let written: Vec<io::Result<TempPath>> = thread::scope(|scope| {
                let threads: Vec<_> = part
                    .iter()
                    .map(|(path, content)| {
                        scope.spawn(move || self.prepare_private(path, content, each))
                    })
                    .collect();
                let lost = || Err(io::Error::other("the thread that wrote it panicked"));
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
            });
            for ((path, _), written) in part.iter().zip(written) {
                prepared.push(written.map_err(|error| (path.clone(), error))?);
            }
        }
        if !each {
            self.sync_all()?;
        }
        for ((path, _), prepared) in files.iter().zip(prepared) {
            prepared.persist(path).map_err(|error| (path.clone(), error.error))?;
        }
        // A file name survives a power failure only once its directory is synced. Nodes must not
        // get a key that the lab directory could lose.
        if each {
            self.sync_names(files.iter().map(|(path, _)| path.as_path()))
        } else {
            self.sync_all()
        }
    }

    /// Syncs the whole file system.
    fn sync_all(&self) -> Result<(), (PathBuf, io::Error)> {
        let synced = fs::File::open(&self.root).and_then(|root| Ok(rustix::fs::syncfs(root)?));
        synced.map_err(|error| (self.root.clone(), error))
    }

    /// Writes the content of a file under a temporary name, which is deleted on drop unless
    /// persisted. Syncs it if `synced`.
    fn prepare_private(&self, path: &Path, content: &[u8], synced: bool) -> io::Result<TempPath> {
        let folder = path.parent().unwrap_or(&self.root);
        self.make_folder(folder)?;
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        file.write_all(content)?;
        if synced {
            file.as_file().sync_all()?;
        }
        Ok(file.into_temp_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> (tempfile::TempDir, LabDirectory) {
        let folder = tempfile::tempdir().expect("a directory");
        let lab = LabDirectory::new(folder.path().join("lab"));
        (folder, lab)
    }

    #[test]
    fn what_a_killed_run_left_beside_a_node_is_removed() {
        let (_directory, lab) = lab();
        let beside = lab.beside("worker-0");
        lab.cleared_beside("worker-0");
        fs::create_dir_all(&beside).expect("a directory");
        fs::write(beside.join("kubelet"), "a program").expect("a file");
        assert_eq!(lab.cleared_beside("worker-0"), beside);
        assert_eq!(fs::read_dir(&beside).expect("it stays").count(), 0);
    }

    #[test]
    fn git_ignores_lab_directories_and_removal_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a directory");
        let git = |arguments: &[&str]| {
            let output = std::process::Command::new("git")
                .arg("-C")
                .arg(folder.path())
                .args(arguments)
                .output();
            String::from_utf8_lossy(&output.expect("git").stdout).into_owned()
        };
        git(&["init", "-q"]);
        let labs =
            ["one", "two"].map(|name| LabDirectory::new(folder.path().join(".labctl").join(name)));
        for lab in &labs {
            lab.create().expect("made");
            lab.write_private(&lab.pki().join("ca.key"), b"secret").expect("written");
        }
        assert_eq!(git(&["status", "--porcelain", "--untracked-files=all"]), "");
        labs[0].remove().expect("removed");
        assert_eq!(git(&["status", "--porcelain", "--untracked-files=all"]), "");
        labs[1].remove().expect("removed");
        assert!(!folder.path().join(".labctl").exists());
    }

    #[test]
    fn many_files_are_written_whole_and_private() {
        let (_folder, lab) = lab();
        let texts: Vec<(PathBuf, String)> = (0..3 * AT_A_TIME + 1)
            .map(|i| (lab.pki().join(format!("nodes/{}/{i}", i % 5)), i.to_string()))
            .collect();
        let files: Vec<(PathBuf, &[u8])> =
            texts.iter().map(|(path, text)| (path.clone(), text.as_bytes())).collect();
        lab.write_all_private(&files).expect("written");
        for (path, text) in &texts {
            assert_eq!(fs::read_to_string(path).expect("a file"), *text);
            assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
        }
        let found: usize = (0..5)
            .map(|i| fs::read_dir(lab.pki().join(format!("nodes/{i}"))).expect("it").count())
            .sum();
        assert_eq!(found, texts.len(), "nothing else is left there");
    }

    #[test]
    fn a_failed_write_is_reported_and_no_later_file_appears() {
        let (_folder, lab) = lab();
        let path = |name: &str| lab.pki().join(name);
        lab.make_folder(&path("folder")).expect("a directory");
        let files: Vec<(PathBuf, &[u8])> = ["a.key", "folder", "b.crt"]
            .into_iter()
            .map(|name| (path(name), &b"text"[..]))
            .collect();
        let (which, _) =
            lab.write_all_private(&files).expect_err("a directory cannot be replaced by a file");
        assert_eq!(which, path("folder"));
        let mut found: Vec<_> = fs::read_dir(lab.pki())
            .expect("it")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        found.sort();
        assert_eq!(found, ["a.key", "folder"]);
    }
}
