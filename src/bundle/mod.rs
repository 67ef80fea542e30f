//! Bundles: directories with the binaries, archives and container images that a lab is built from,
//! and their checksums.
//!
//! `bundle.lock` lists every file with its version, size and SHA-256. Later stages refer to a
//! bundle's files by name (`kubelet`, `cni/bridge`, `image/coredns`), never by path.
//!
//! Only [`pull`](pull::pull) creates bundles: the [releases] table contains what belongs to a
//! Kubernetes version and where it is published, [`download`] fetches it into a cache, [`images`]
//! does the same for container images, `known` has the checksums that ship with labctl, [`place`]
//! puts programs and images into the directory, and the [lock] is written last, so that a directory
//! with a lock is a complete bundle.

pub mod download;
pub mod error;
pub mod flags;
pub mod http;
pub mod images;
mod known;
pub mod lock;
pub mod outlook;
pub mod place;
pub mod progress;
pub mod pull;
pub mod releases;
pub mod saved;
mod sources;
pub mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cluster::Version;

pub use error::BundleError;
pub use outlook::{at_hand, outlook};
pub use pull::{for_cluster, pull};
pub use releases::Sources;
pub use verify::verify;

/// The step of all of a bundle's events.
pub const STEP: &str = "bundle";

/// An opened bundle: its lock was read, and every file in it exists with the right size.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The directory, absolute.
    pub folder: PathBuf,
    /// The Kubernetes version that it was made for.
    pub kubernetes: Version,
    /// `amd64` or `arm64`, in Go's words.
    pub architecture: String,
    /// Files by name.
    pub files: BTreeMap<String, BundleFile>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct BundleFile {
    /// The component's own version, without a `v`.
    pub version: String,
    /// Its absolute path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// For an image archive: the reference that it is imported as.
    pub image: Option<String>,
}

impl Bundle {
    /// Returns an empty bundle, for playbooks that install nothing.
    pub fn empty(kubernetes: Version) -> Self {
        Self {
            folder: PathBuf::new(),
            kubernetes,
            architecture: String::new(),
            files: BTreeMap::new(),
        }
    }

    /// Opens the bundle in `folder`: reads its lock and checks that every file exists with the
    /// recorded size.
    ///
    /// Does not hash any file, so that it is cheap enough for every run; [`verify()`] is the
    /// thorough check.
    ///
    /// # Errors
    /// If there is no lock, if the lock is invalid, or if files are missing or incomplete; the
    /// error lists all of them.
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        let folder = std::path::absolute(folder).map_err(|error| {
            BundleError::io(format!("find the bundle directory {}", folder.display()), &error)
        })?;
        let lock =
            lock::read(&folder)?.ok_or_else(|| BundleError::NoLock { folder: folder.clone() })?;
        let bundle = lock.into_bundle(folder);
        let broken = bundle.broken_files();
        if broken.is_empty() {
            return Ok(bundle);
        }
        let files = broken.into_iter().map(|(name, why)| format!("{name}: {why}")).collect();
        Err(BundleError::Broken { folder: bundle.folder, files })
    }

    /// Returns the directory of the bundle for `version`: `folder` itself, or the one of that name
    /// in it where bundles of several versions are side by side.
    pub fn folder_of(folder: &Path, version: Version) -> PathBuf {
        let of_version = folder.join(version.to_string());
        let is_bundle = |folder: &Path| folder.join(lock::FILE_NAME).exists();
        if !is_bundle(folder) && is_bundle(&of_version) { of_version } else { folder.to_owned() }
    }

    /// Returns the versions of the bundles that are side by side in `folder`.
    pub fn versions_in(folder: &Path) -> Vec<Version> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let of_bundle = |entry: std::fs::DirEntry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            entry.path().join(lock::FILE_NAME).exists().then_some(version)
        };
        entries.filter_map(of_bundle).collect()
    }

    /// Returns the file called `name`.
    ///
    /// # Errors
    /// If the bundle has no such file.
    pub fn file(&self, name: &str) -> Result<&BundleFile, BundleError> {
        self.files.get(name).ok_or_else(|| BundleError::NoFile {
            folder: self.folder.clone(),
            name: name.to_owned(),
        })
    }

    /// Formats the bundle as a table.
    pub fn table(&self) -> String {
        let width = |cell: fn(&str, &BundleFile) -> usize| {
            self.files.iter().map(|(name, file)| cell(name, file)).max()
        };
        let name_width = width(|name, _| name.len()).unwrap_or(0);
        let version_width = width(|_, file| file.version.len()).unwrap_or(0);
        let mut text = String::new();
        for (name, file) in &self.files {
            let (version, megabytes) = (&file.version, file.size as f64 / 1e6);
            let short = file.sha256.get(..12).unwrap_or_default();
            let image = file.image.as_ref().map(|image| format!("  {image}")).unwrap_or_default();
            let line = format!(
                "{name:<name_width$}  {version:<version_width$}  {megabytes:>6.1} MB  \
                {short}{image}\n"
            );
            text.push_str(&line);
        }
        let megabytes = self.files.values().map(|file| file.size).sum::<u64>() as f64 / 1e6;
        let (number, folder) = (self.files.len(), self.folder.display());
        let (version, architecture) = (self.kubernetes, &self.architecture);
        text.push_str(&format!(
            "\n{number} files, {megabytes:.1} MB: Kubernetes {version} for {architecture} in \
            {folder}\n"
        ));
        text
    }

    /// Returns the files that are missing or have another size than the lock records, each with
    /// what is wrong.
    fn broken_files(&self) -> Vec<(&str, String)> {
        let wrong = |file: &BundleFile| match std::fs::metadata(&file.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some(format!("{} is missing", file.path.display()))
            }
            Err(error) => Some(format!("{} cannot be read: {error}", file.path.display())),
            Ok(found) if !found.is_file() => Some(format!("{} is not a file", file.path.display())),
            Ok(found) if found.len() != file.size => Some(format!(
                "{} has {} bytes, not {}",
                file.path.display(),
                found.len(),
                file.size
            )),
            Ok(_) => None,
        };
        self.files.iter().filter_map(|(name, file)| Some((name.as_str(), wrong(file)?))).collect()
    }
}
