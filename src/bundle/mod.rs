//! Bundles: a directory of the binaries, archives and container images that a lab is built from,
//! with checksums.
//!
//! `bundle.lock` names every file with its version, size and SHA-256. Everything to the right of
//! this module speaks of a bundle's files by name (`kubelet`, `cni/bridge`, `image/coredns`) and
//! never by path.
//!
//! A bundle is made in one way only, by [`pull`](pull::pull): the [releases] table says what
//! belongs to a Kubernetes version and where it is published, [`download`] brings it into a cache
//! where nothing is downloaded twice, [`images`] does the same for container images, [`place`] puts
//! programs and images into the directory, and the [lock] is written last, so a directory with a
//! lock is a whole bundle.

pub mod download;
pub mod error;
pub mod http;
pub mod images;
pub mod lock;
pub mod outlook;
pub mod place;
pub mod progress;
pub mod pull;
pub mod releases;
pub mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cluster::Version;

pub use error::BundleError;
pub use outlook::outlook;
pub use pull::{for_cluster, pull};
pub use releases::Sources;
pub use verify::verify;

/// The step that all of a bundle's events belong to.
pub const STEP: &str = "bundle";

/// An opened bundle: its lock was read and every file in it is there with the right size.
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
    /// Where it lies, absolute.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// For an image archive: the reference that it is imported as.
    pub image: Option<String>,
}

impl Bundle {
    /// A bundle with nothing in it, for playbooks that install nothing.
    pub fn empty(kubernetes: Version) -> Self {
        Self {
            folder: PathBuf::new(),
            kubernetes,
            architecture: String::new(),
            files: BTreeMap::new(),
        }
    }

    /// Opens the bundle in `folder`: reads its lock and checks that every file is there with the
    /// size recorded.
    ///
    /// Nothing is hashed, so this is cheap enough for every run; [`verify()`] is the thorough
    /// check.
    ///
    /// # Errors
    /// When there is no lock, when it says something it must not, or when files are missing or cut
    /// short: all of them are named.
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

    /// The file called `name`.
    ///
    /// # Errors
    /// When the bundle has no such file.
    pub fn file(&self, name: &str) -> Result<&BundleFile, BundleError> {
        self.files.get(name).ok_or_else(|| BundleError::NoFile {
            folder: self.folder.clone(),
            name: name.to_owned(),
        })
    }

    /// The bundle as a table for a reader.
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

    /// The names of files that are not there, or not with the size that the lock records, each with
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
