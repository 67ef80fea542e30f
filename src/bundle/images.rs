//! Container images: pulled from a registry by the OCI distribution protocol and written as an
//! archive for import.
//!
//! Only the bundle's platform of a multi-platform image is pulled. Its manifest is kept byte by
//! byte, so that the image keeps its digest. The archive is an OCI image layout for `ctr images
//! import`, with the image's name in the annotation that containerd reads. The same image always
//! produces the same bytes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::BundleError;
use super::download::RemoteFile;
use super::http::{Http, Small};
use super::lock::is_sha256;
use super::releases::{ImageRelease, Sources};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// An image for one platform with everything except its blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryImage {
    /// The reference that it is imported as.
    pub reference: String,
    /// The URL of its manifest.
    pub url: String,
    architecture: String,
    media_type: String,
    manifest: Vec<u8>,
    /// Config and layers, each once.
    blobs: Vec<ImageBlob>,
    /// The URL below which the registry keeps blobs.
    blob_base: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ImageBlob {
    sha256: String,
    size: u64,
}

/// An index or a manifest, depending on its fields.
#[derive(Deserialize)]
struct ImageDocument {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// Looks up what `release` consists of on `architecture` in the registry.
///
/// # Errors
/// If the registry does not have it, or its response does not match its digest.
pub async fn resolve(
    http: &Http,
    sources: &Sources,
    release: &ImageRelease,
    architecture: &str,
) -> Result<RegistryImage, BundleError> {
    let reference = release.reference();
    let wrong = |why: String| BundleError::Image { reference: reference.clone(), why };
    let base = format!("{}/v2/{}", sources.registry, release.repository);
    let mut url = format!("{base}/manifests/{}", release.tag);
    let accept = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST].join(", ");
    let mut answer = http.small(&url, Some(&accept)).await?;
    let mut document = read(&answer).map_err(wrong)?;
    if let Some(manifests) = &document.manifests {
        let chosen =
            manifests.iter().find(|manifest| manifest.is_for(architecture)).ok_or_else(|| {
                let has: Vec<_> = manifests.iter().filter_map(Descriptor::platform_name).collect();
                wrong(format!(
                    "the registry has it for {} only, not for linux/{architecture}",
                    has.join(", ")
                ))
            })?;
        let expected = chosen.sha256().map_err(wrong)?.to_owned();
        let media_type = chosen.media_type.clone();
        url = format!("{base}/manifests/{}", chosen.digest);
        answer = http.small(&url, Some(&media_type)).await?;
        let got = hex::encode(Sha256::digest(&answer.bytes));
        if got != expected {
            return Err(BundleError::Checksum { url, expected, got });
        }
        document = read(&answer).map_err(wrong)?;
    }
    let (Some(config), Some(layers)) = (&document.config, &document.layers) else {
        return Err(wrong(format!("{url} did not return an image manifest")));
    };
    let mut seen = BTreeSet::new();
    let mut blobs = Vec::new();
    for descriptor in std::iter::once(config).chain(layers) {
        let sha256 = descriptor.sha256().map_err(wrong)?.to_owned();
        // Images often contain the same empty layer many times.
        if seen.insert(sha256.clone()) {
            blobs.push(ImageBlob { sha256, size: descriptor.size });
        }
    }
    let media_type =
        document.media_type.or(answer.media_type).unwrap_or_else(|| OCI_MANIFEST.into());
    Ok(RegistryImage {
        url,
        architecture: architecture.into(),
        media_type,
        manifest: answer.bytes,
        blobs,
        blob_base: format!("{base}/blobs"),
        reference,
    })
}

impl RegistryImage {
    /// Returns its config and layers as files to download.
    pub fn wanted(&self) -> Vec<RemoteFile> {
        let wanted = self.blobs.iter().map(|blob| RemoteFile {
            url: format!("{}/sha256:{}", self.blob_base, blob.sha256),
            sha256: blob.sha256.clone(),
            size: Some(blob.size),
            label: self.reference.clone(),
        });
        wanted.collect()
    }

    /// Writes the archive; `cached` returns the path of a blob. The same image always produces the
    /// same bytes.
    ///
    /// # Errors
    /// If reading a blob or writing the archive fails.
    pub fn write(&self, out: &mut impl Write, cached: impl Fn(&str) -> PathBuf) -> io::Result<()> {
        let mut archive = tar::Builder::new(out);
        append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut archive, "index.json", &self.index())?;
        let digest = hex::encode(Sha256::digest(&self.manifest));
        append(&mut archive, &format!("blobs/sha256/{digest}"), &self.manifest)?;
        for blob in &self.blobs {
            let file = File::open(cached(&blob.sha256))?;
            let mut header = header(file.metadata()?.len());
            archive.append_data(&mut header, format!("blobs/sha256/{}", blob.sha256), file)?;
        }
        archive.finish()
    }

    fn index(&self) -> Vec<u8> {
        let tag = self.reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let index = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [{
                "mediaType": self.media_type,
                "digest": format!("sha256:{}", hex::encode(Sha256::digest(&self.manifest))),
                "size": self.manifest.len(),
                "platform": { "architecture": self.architecture, "os": "linux" },
                "annotations": {
                    // The first is containerd's own and has the full name; the second is OCI's and
                    // has the tag.
                    "io.containerd.image.name": self.reference,
                    "org.opencontainers.image.ref.name": tag,
                },
            }],
        });
        index.to_string().into_bytes()
    }
}

impl Descriptor {
    fn is_for(&self, architecture: &str) -> bool {
        self.platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture)
    }

    fn platform_name(&self) -> Option<String> {
        self.platform.as_ref().map(|platform| format!("{}/{}", platform.os, platform.architecture))
    }

    fn sha256(&self) -> Result<&str, String> {
        self.digest.strip_prefix("sha256:").filter(|hex| is_sha256(hex)).ok_or_else(|| {
            format!("its manifest has the digest `{}`, which is not a SHA-256", self.digest)
        })
    }
}

fn read(answer: &Small) -> Result<ImageDocument, String> {
    serde_json::from_slice(&answer.bytes)
        .map_err(|error| format!("the registry's manifest cannot be parsed: {error}"))
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(bytes.len() as u64), path, bytes)
}

/// Returns a header without owner and time, so that the archive does not depend on the workstation.
fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
