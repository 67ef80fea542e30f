//! Writes files into a bundle's directory: each is hashed while it is written, checked against the
//! lock, and visible only when complete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::BundleError;
use super::lock::{FILE_NAME, Lock, LockedFile};
use super::releases::{ArchiveMember, Artefact, ArtefactContent, BundledFile, ImageRelease};

/// Mode of programs: executable by everyone.
const PROGRAM: u32 = 0o755;

/// Mode of image archives: readable by everyone.
const DATA: u32 = 0o644;

/// A bundle's directory that is being filled.
#[derive(Debug, Clone)]
pub struct Placer {
    folder: PathBuf,
    /// SHA-256 by name, as recorded by an earlier pull.
    locked: BTreeMap<String, String>,
}

/// A file that is being written under a temporary name. Deleted on drop.
#[derive(Debug)]
pub struct PartialFile {
    draft: PathBuf,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
    kept: bool,
}

/// What is recorded about a finished file.
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    url: &'a str,
    version: &'a str,
    image: Option<&'a str>,
}

impl Placer {
    /// Returns a placer for `folder`; contents must match what an earlier pull recorded in `lock`.
    pub fn new(folder: &Path, lock: Option<&Lock>) -> Self {
        let locked = lock.into_iter().flat_map(|lock| &lock.files);
        let locked = locked.map(|(name, file)| (name.clone(), file.sha256.clone())).collect();
        Self { folder: folder.to_owned(), locked }
    }

    /// Places everything that a bundle takes from a downloaded artefact; returns each file's name
    /// and record.
    ///
    /// # Errors
    /// If an archive is broken or lacks a program, a content differs from the lock, or the disk is
    /// full.
    pub fn artefact(
        &self,
        artefact: &Artefact,
        cached: &Path,
    ) -> Result<Vec<(String, LockedFile)>, BundleError> {
        let origin = Origin { url: &artefact.url, version: &artefact.version, image: None };
        let source = File::open(cached).map_err(|error| {
            BundleError::io(format!("open the download {}", cached.display()), &error)
        })?;
        match &artefact.content {
            ArtefactContent::Program(target) => Ok(vec![self.program(target, source, origin)?]),
            ArtefactContent::Archive(members) => self.archive(members, source, origin),
        }
    }

    /// Places an image archive that `write` writes.
    ///
    /// # Errors
    /// If `write` fails, the content differs from the lock, or the disk is full.
    pub fn image(
        &self,
        release: &ImageRelease,
        url: &str,
        write: impl FnOnce(&mut PartialFile) -> io::Result<()>,
    ) -> Result<(String, LockedFile), BundleError> {
        let mut draft = self.draft(&release.target, DATA)?;
        write(&mut draft).map_err(|error| draft.wrong(&error))?;
        let reference = release.reference();
        let origin = Origin { url, version: &release.version, image: Some(&reference) };
        self.keep(draft, &release.target, origin)
    }

    fn program(
        &self,
        target: &BundledFile,
        mut source: impl io::Read,
        origin: Origin<'_>,
    ) -> Result<(String, LockedFile), BundleError> {
        let mut draft = self.draft(target, PROGRAM)?;
        // A broken archive also shows up here: reading fails, not writing.
        let mut piece = vec![0; 256 * 1024];
        loop {
            let length = match source.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(origin.url, &error)),
            };
            draft.write_all(&piece[..length]).map_err(|error| draft.wrong(&error))?;
        }
        self.keep(draft, target, origin)
    }

    fn archive(
        &self,
        members: &[ArchiveMember],
        source: File,
        origin: Origin<'_>,
    ) -> Result<Vec<(String, LockedFile)>, BundleError> {
        let mut archive = tar::Archive::new(GzDecoder::new(io::BufReader::new(source)));
        let mut missing: Vec<&ArchiveMember> = members.iter().collect();
        let mut placed = Vec::new();
        for entry in archive.entries().map_err(|error| broken(origin.url, &error))? {
            let entry = entry.map_err(|error| broken(origin.url, &error))?;
            let path = entry.path().map_err(|error| broken(origin.url, &error))?;
            let path = path.strip_prefix(".").unwrap_or(&path);
            let Some(index) = missing.iter().position(|member| Path::new(&member.path) == path)
            else {
                continue;
            };
            if !entry.header().entry_type().is_file() {
                continue;
            }
            placed.push(self.program(&missing.swap_remove(index).target, entry, origin)?);
            if missing.is_empty() {
                break;
            }
        }
        if missing.is_empty() {
            return Ok(placed);
        }
        let names: Vec<_> = missing.iter().map(|member| format!("`{}`", member.path)).collect();
        let why = format!(
            "the archive has no {}; its layout has changed, so labctl needs an update",
            names.join(" and no ")
        );
        Err(BundleError::Archive { origin: origin.url.into(), why })
    }

    fn draft(&self, target: &BundledFile, mode: u32) -> Result<PartialFile, BundleError> {
        let path = self.folder.join(&target.path);
        let (folder, name) = target.path.rsplit_once('/').unwrap_or(("", &target.path));
        let folder = self.folder.join(folder);
        // The name is always the same, so that the next pull overwrites the leftovers of a killed
        // one.
        let draft = folder.join(format!(".{name}.part"));
        let open = || -> io::Result<File> {
            fs::create_dir_all(&folder)?;
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file =
                fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
            // The umask may have removed bits in `open`.
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
            Ok(file)
        };
        let file = open()
            .map_err(|error| BundleError::io(format!("write {}", draft.display()), &error))?;
        Ok(PartialFile { draft, path, file, hash: Sha256::new(), size: 0, kept: false })
    }

    fn keep(
        &self,
        mut draft: PartialFile,
        target: &BundledFile,
        origin: Origin<'_>,
    ) -> Result<(String, LockedFile), BundleError> {
        let sha256 = hex::encode(std::mem::take(&mut draft.hash).finalize());
        if let Some(locked) = self.locked.get(&target.name).filter(|locked| **locked != sha256) {
            return Err(BundleError::LockDiffers {
                name: target.name.clone(),
                origin: origin.url.into(),
                locked: locked.clone(),
                got: sha256,
                lock: self.folder.join(FILE_NAME),
            });
        }
        let finish = || -> io::Result<()> {
            draft.file.sync_all()?;
            fs::rename(&draft.draft, &draft.path)
        };
        finish().map_err(|error| draft.wrong(&error))?;
        draft.kept = true;
        let file = LockedFile {
            version: origin.version.into(),
            path: target.path.clone(),
            size: draft.size,
            sha256,
            image: origin.image.map(str::to_owned),
        };
        Ok((target.name.clone(), file))
    }
}

impl PartialFile {
    fn wrong(&self, error: &io::Error) -> BundleError {
        BundleError::io(format!("write {}", self.path.display()), error)
    }
}

impl Write for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hash.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.kept {
            // Ignore errors on drop; the next pull overwrites the file.
            let _ = fs::remove_file(&self.draft);
        }
    }
}

fn broken(url: &str, error: &io::Error) -> BundleError {
    BundleError::Archive { origin: url.into(), why: format!("the archive is broken: {error}") }
}
