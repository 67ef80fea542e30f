//! Bundles: a folder of the binaries, archives and container images that a lab is built from, with checksums.
//!
//! `bundle.lock` names every file with its version, size and SHA-256. Everything to the right of this module speaks of
//! a bundle's files by name (`kubelet`, `cni/bridge`, `image/coredns`) and never by path.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cluster::Version;

/// An opened bundle: its lock was read and every file in it is there with the right size.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// The folder, absolute.
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
