//! The official releases: which versions belong together, and where they and their checksums are
//! published.
//!
//! Pure: from a Kubernetes version and an architecture to URLs. In [`components`]' table, etcd,
//! CoreDNS and pause have the versions that kubeadm of the same minor release deploys
//! (`cmd/kubeadm/app/constants/constants.go` in kubernetes/kubernetes), and containerd follows the
//! "Kubernetes support" table of its `RELEASES.md`. runc and the CNI plugins do not depend on the
//! Kubernetes version, so one version serves all. The table uses a late patch release of each
//! component, not the one that was current when Kubernetes was released.

use std::collections::BTreeMap;

use super::BundleError;
use super::lock::Lock;
use crate::cluster::Version;

pub use super::sources::{IMAGE_REGISTRY, Patience, Sources, Sums};

/// The versions of everything in a bundle that is not Kubernetes itself, without a `v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// etcd, with etcdctl and etcdutl.
    pub etcd: String,
    /// containerd, with its shim and ctr.
    pub containerd: String,
    /// runc.
    pub runc: String,
    /// The reference CNI plugins.
    pub cni: String,
    /// Container images, by name: `coredns`.
    pub images: BTreeMap<&'static str, String>,
}

/// One file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// Its URL.
    pub url: String,
    /// The URL of its published checksum.
    pub checksum_url: String,
    /// The format of the checksum at that URL.
    pub checksum_format: ChecksumFormat,
    /// The component's version, without a `v`.
    pub version: String,
    /// The files that a bundle takes from it.
    pub content: ArtefactContent,
}

/// The format of a published checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumFormat {
    /// Only the hex digits.
    Bare,
    /// Lines of `<hex>  <file name>`, one of them for this file; possibly inside a signed message.
    Listed,
}

/// What a bundle takes from an artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtefactContent {
    /// The artefact is a program.
    Program(BundledFile),
    /// The artefact is a tar.gz that contains programs.
    Archive(Vec<ArchiveMember>),
}

/// A program in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveMember {
    /// Its path in the archive, without a leading `./`.
    pub path: String,
    /// The bundle's file for it.
    pub target: BundledFile,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundledFile {
    /// Its name in the bundle.
    pub name: String,
    /// Its path in the bundle's directory.
    pub path: String,
}

/// A container image to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRelease {
    /// The bundle's file for it.
    pub target: BundledFile,
    /// The repository in the registry: `coredns/coredns`.
    pub repository: String,
    /// The tag, as published: `v1.12.1`.
    pub tag: String,
    /// The version, without a `v`.
    pub version: String,
}

/// Everything to download for a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Releases {
    /// Binaries and archives.
    pub artefacts: Vec<Artefact>,
    /// Container images.
    pub images: Vec<ImageRelease>,
}

/// One row of the table: the versions that apply from a minor release on.
struct Row {
    from_minor: u16,
    etcd: &'static str,
    containerd: &'static str,
}

/// Newest first; a row applies until the next newer one. etcd is 3.5 even where kubeadm has 3.4,
/// because backups are restored with its etcdutl and every API server in the table supports it.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { from_minor: 37, etcd: "3.7.0",  containerd: "2.2.1" },
    Row { from_minor: 36, etcd: "3.6.8",  containerd: "2.2.1" },
    Row { from_minor: 35, etcd: "3.6.6",  containerd: "2.2.1" },
    Row { from_minor: 34, etcd: "3.6.6",  containerd: "2.1.5" },
    Row { from_minor: 31, etcd: "3.5.24", containerd: "2.1.5" },
    // Among them the last kubelets that speak CRI v1alpha2: containerd 1.7 is the newest that still
    // knows it.
    Row { from_minor: 20, etcd: "3.5.24", containerd: "1.7.29" },
];

const RUNC: &str = "1.3.4";
const CNI: &str = "1.8.0";

/// One container image: all that there is to say about it.
struct ImageRow {
    /// Its name in a bundle, after `image/`.
    name: &'static str,
    /// Its repository in the registry.
    repository: &'static str,
    /// What a tag has before the version.
    prefix: &'static str,
    /// From which minor release of Kubernetes on it has which version, newest first.
    versions: &'static [(u16, &'static str)],
}

/// Every container image. A component imports those that it needs in its `images`.
#[rustfmt::skip]
const IMAGES: &[ImageRow] = &[
    // Holds a pod's namespaces.
    ImageRow { name: "pause", repository: "pause", prefix: "", versions: &[
        (36, "3.10.2"), (34, "3.10.1"), (31, "3.10"), (20, "3.9"),
    ] },
    // The API server of 1.20 has no discovery.k8s.io/v1: CoreDNS 1.8 is the newest without it.
    ImageRow { name: "coredns", repository: "coredns/coredns", prefix: "v", versions: &[
        (37, "1.14.6"), (36, "1.14.2"), (35, "1.13.1"), (34, "1.12.1"), (33, "1.12.0"),
        (31, "1.11.3"), (29, "1.11.1"), (27, "1.10.1"), (25, "1.9.3"), (20, "1.8.6"),
    ] },
    // The "Compatibility Matrix" of its README.
    ImageRow { name: "metrics-server", repository: "metrics-server/metrics-server", prefix: "v",
        versions: &[(31, "0.8.0"), (27, "0.7.2"), (20, "0.6.4")] },
    // What smoke tests run.
    ImageRow { name: "busybox", repository: "e2e-test-images/busybox", prefix: "", versions: &[
        (20, "1.36.1-1"),
    ] },
];

const KUBERNETES_PROGRAMS: [&str; 6] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
];
const ETCD_PROGRAMS: [&str; 3] = ["etcd", "etcdctl", "etcdutl"];
const CONTAINERD_PROGRAMS: [&str; 3] = ["containerd", "containerd-shim-runc-v2", "ctr"];
const CNI_PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// Returns the versions for a Kubernetes version; `None` if labctl knows none.
pub fn components(kubernetes: Version) -> Option<Components> {
    if !kubernetes.is_supported() {
        return None;
    }
    let row = TABLE.iter().find(|row| kubernetes.minor >= row.from_minor)?;
    Some(Components {
        etcd: row.etcd.into(),
        containerd: row.containerd.into(),
        runc: RUNC.into(),
        cni: CNI.into(),
        images: IMAGES
            .iter()
            .filter_map(|image| Some((image.name, image.version(kubernetes)?.into())))
            .collect(),
    })
}

impl ImageRow {
    fn version(&self, kubernetes: Version) -> Option<&'static str> {
        let (_, version) = self.versions.iter().find(|(from, _)| kubernetes.minor >= *from)?;
        Some(version)
    }

    fn release(&self, version: &str) -> ImageRelease {
        let name = self.name;
        ImageRelease {
            target: BundledFile {
                name: format!("image/{name}"),
                path: format!("images/{name}.tar"),
            },
            repository: self.repository.into(),
            tag: format!("{}{version}", self.prefix),
            version: version.into(),
        }
    }
}

impl Components {
    /// Replaces these versions by those recorded in `lock`: a bundle is completed with the versions
    /// that it was created with, even by a newer labctl.
    pub fn or_locked(mut self, lock: &Lock) -> Self {
        let programs = [
            (&mut self.etcd, "etcd".to_owned()),
            (&mut self.containerd, "containerd".to_owned()),
            (&mut self.runc, "runc".to_owned()),
            (&mut self.cni, "cni/bridge".to_owned()),
        ];
        let images = self.images.iter_mut().map(|(name, it)| (it, format!("image/{name}")));
        for (version, name) in programs.into_iter().chain(images) {
            if let Some(file) = lock.files.get(&name) {
                version.clone_from(&file.version);
            }
        }
        self
    }
}

/// Returns everything to download for a lab of `kubernetes`.
///
/// # Errors
/// If there are no releases for the architecture.
pub fn releases(
    kubernetes: Version,
    architecture: &str,
    components: &Components,
    sources: &Sources,
) -> Result<Releases, BundleError> {
    if !matches!(architecture, "amd64" | "arm64") {
        return Err(BundleError::Unsupported {
            version: kubernetes,
            architecture: architecture.into(),
            why: "all components are published together for amd64 and arm64 only".into(),
        });
    }
    let mut artefacts: Vec<_> = KUBERNETES_PROGRAMS
        .iter()
        .map(|name| kubernetes_program(kubernetes, architecture, name, sources))
        .collect();
    artefacts.push(etcd(&components.etcd, architecture, sources));
    artefacts.push(containerd(&components.containerd, architecture, sources));
    artefacts.push(runc(&components.runc, architecture, sources));
    artefacts.push(cni(&components.cni, architecture, sources));
    let of = |row: &ImageRow| Some(row.release(components.images.get(row.name)?));
    let images = IMAGES.iter().filter_map(of).collect();
    Ok(Releases { artefacts, images })
}

impl Releases {
    /// Returns every file of the bundle that comes from these releases.
    pub fn targets(&self) -> impl Iterator<Item = &BundledFile> {
        let images = self.images.iter().map(|image| &image.target);
        self.artefacts.iter().flat_map(Artefact::targets).chain(images)
    }
}

impl Artefact {
    /// Returns the files that come from this artefact.
    pub fn targets(&self) -> Vec<&BundledFile> {
        match &self.content {
            ArtefactContent::Program(target) => vec![target],
            ArtefactContent::Archive(members) => {
                members.iter().map(|member| &member.target).collect()
            }
        }
    }

    /// Returns the last part of its URL.
    pub fn file_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }

    /// Finds the artefact's checksum in the text published at its checksum URL.
    pub fn checksum_in(&self, published: &str) -> Option<String> {
        let hex = |word: &str| {
            Some(word.to_ascii_lowercase()).filter(|word| super::lock::is_sha256(word))
        };
        match self.checksum_format {
            ChecksumFormat::Bare => hex(published.split_whitespace().next()?),
            ChecksumFormat::Listed => published.lines().find_map(|line| {
                let mut words = line.split_whitespace();
                let (sum, name) = (words.next()?, words.next()?);
                // sha256sum marks binary mode with `*`, and some lists have names like `./file`.
                let name = name.trim_start_matches('*').trim_start_matches("./");
                if name == self.file_name() { hex(sum) } else { None }
            }),
        }
    }
}

impl ImageRelease {
    /// Returns the reference that pods use and that the archive is imported as.
    pub fn reference(&self) -> String {
        format!("{IMAGE_REGISTRY}/{}:{}", self.repository, self.tag)
    }
}

fn program(name: &str) -> BundledFile {
    BundledFile { name: name.into(), path: format!("bin/{name}") }
}

fn kubernetes_program(
    version: Version,
    architecture: &str,
    name: &str,
    sources: &Sources,
) -> Artefact {
    let url = format!("{}/release/v{version}/bin/linux/{architecture}/{name}", sources.kubernetes);
    Artefact {
        checksum_url: format!("{url}.sha256"),
        checksum_format: ChecksumFormat::Bare,
        version: version.to_string(),
        content: ArtefactContent::Program(program(name)),
        url,
    }
}

fn etcd(version: &str, architecture: &str, sources: &Sources) -> Artefact {
    let release = format!("{}/etcd-io/etcd/releases/download/v{version}", sources.github);
    let folder = format!("etcd-v{version}-linux-{architecture}");
    let members = ETCD_PROGRAMS
        .map(|name| ArchiveMember { path: format!("{folder}/{name}"), target: program(name) });
    Artefact {
        url: format!("{release}/{folder}.tar.gz"),
        checksum_url: format!("{release}/SHA256SUMS"),
        checksum_format: ChecksumFormat::Listed,
        version: version.into(),
        content: ArtefactContent::Archive(members.into()),
    }
}

fn containerd(version: &str, architecture: &str, sources: &Sources) -> Artefact {
    let release = format!("{}/containerd/containerd/releases/download/v{version}", sources.github);
    let url = format!("{release}/containerd-{version}-linux-{architecture}.tar.gz");
    let members = CONTAINERD_PROGRAMS
        .map(|name| ArchiveMember { path: format!("bin/{name}"), target: program(name) });
    Artefact {
        checksum_url: format!("{url}.sha256sum"),
        checksum_format: ChecksumFormat::Listed,
        version: version.into(),
        content: ArtefactContent::Archive(members.into()),
        url,
    }
}

fn runc(version: &str, architecture: &str, sources: &Sources) -> Artefact {
    let release = format!("{}/opencontainers/runc/releases/download/v{version}", sources.github);
    Artefact {
        url: format!("{release}/runc.{architecture}"),
        checksum_url: format!("{release}/runc.sha256sum"),
        checksum_format: ChecksumFormat::Listed,
        version: version.into(),
        content: ArtefactContent::Program(program("runc")),
    }
}

fn cni(version: &str, architecture: &str, sources: &Sources) -> Artefact {
    let release =
        format!("{}/containernetworking/plugins/releases/download/v{version}", sources.github);
    let url = format!("{release}/cni-plugins-linux-{architecture}-v{version}.tgz");
    let members = CNI_PLUGINS.map(|name| {
        let target = BundledFile { name: format!("cni/{name}"), path: format!("cni/{name}") };
        ArchiveMember { path: name.into(), target }
    });
    Artefact {
        checksum_url: format!("{url}.sha256"),
        checksum_format: ChecksumFormat::Listed,
        version: version.into(),
        content: ArtefactContent::Archive(members.into()),
        url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: &str, architecture: &str) -> Releases {
        let version: Version = version.parse().expect("a version");
        releases(
            version,
            architecture,
            &components(version).expect("supported"),
            &Sources::official(),
        )
        .expect("releases")
    }

    #[test]
    fn every_supported_minor_has_versions() {
        for minor in Version::OLDEST_MINOR..=Version::NEWEST_MINOR {
            assert!(components(Version { major: 1, minor, patch: 0 }).is_some(), "1.{minor}");
        }
        assert_eq!(
            components(Version { major: 1, minor: Version::NEWEST_MINOR + 1, patch: 0 }),
            None
        );
        assert_eq!(
            components(Version { major: 1, minor: Version::OLDEST_MINOR - 1, patch: 0 }),
            None
        );
    }

    #[test]
    fn addresses_are_the_official_ones() {
        let urls: Vec<_> =
            of("1.34.2", "arm64").artefacts.into_iter().map(|a| (a.url, a.checksum_url)).collect();
        let has = |url: &str, sum: &str| {
            assert!(urls.contains(&(url.into(), sum.into())), "{url} in {urls:#?}")
        };
        has(
            "https://dl.k8s.io/release/v1.34.2/bin/linux/arm64/kubelet",
            "https://dl.k8s.io/release/v1.34.2/bin/linux/arm64/kubelet.sha256",
        );
        has(
            "https://github.com/etcd-io/etcd/releases/download/v3.6.6/etcd-v3.6.6-linux-arm64.tar.gz",
            "https://github.com/etcd-io/etcd/releases/download/v3.6.6/SHA256SUMS",
        );
        has(
            "https://github.com/containerd/containerd/releases/download/v2.1.5/containerd-2.1.5-linux-arm64.tar.gz",
            "https://github.com/containerd/containerd/releases/download/v2.1.5/containerd-2.1.5-linux-arm64.tar.gz.sha256sum",
        );
        has(
            "https://github.com/opencontainers/runc/releases/download/v1.3.4/runc.arm64",
            "https://github.com/opencontainers/runc/releases/download/v1.3.4/runc.sha256sum",
        );
        has(
            "https://github.com/containernetworking/plugins/releases/download/v1.8.0/cni-plugins-linux-arm64-v1.8.0.tgz",
            "https://github.com/containernetworking/plugins/releases/download/v1.8.0/cni-plugins-linux-arm64-v1.8.0.tgz.sha256",
        );
    }

    #[test]
    fn a_bundle_has_everything_a_lab_needs() {
        let releases = of("1.28.15", "amd64");
        let mut names: Vec<_> = releases.targets().map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        let needed = "cni/bridge cni/host-local cni/loopback cni/portmap containerd \
                      containerd-shim-runc-v2 ctr etcd etcdctl etcdutl image/busybox \
                      image/coredns image/metrics-server image/pause kube-apiserver \
                      kube-controller-manager kube-proxy kube-scheduler kubectl kubelet runc";
        assert_eq!(names, needed.split_whitespace().collect::<Vec<_>>());
        assert!(
            releases
                .images
                .iter()
                .any(|i| i.reference() == "registry.k8s.io/coredns/coredns:v1.10.1")
        );
    }

    #[test]
    fn checksums_are_found_in_every_published_form() {
        let releases = of("1.34.2", "amd64");
        let named = |part: &str| {
            releases.artefacts.iter().find(|a| a.url.contains(part)).expect("an artefact")
        };
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let other = "0".repeat(64);
        assert_eq!(named("kubelet").checksum_in(&format!("{sum}\n")).as_deref(), Some(sum));
        assert_eq!(named("kubelet").checksum_in("<html>not found</html>"), None);
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{other}  runc.arm64\n{sum} \
            *runc.amd64\n-----BEGIN \
             PGP SIGNATURE-----\n"
        );
        assert_eq!(named("runc.amd64").checksum_in(&signed).as_deref(), Some(sum));
        assert_eq!(
            named("etcd").checksum_in(&format!("{other}  etcd-v3.6.6-linux-amd64.zip\n")),
            None
        );
    }

    #[test]
    fn unknown_architectures_are_refused() {
        let version = "1.34.2".parse().expect("a version");
        let components = components(version).expect("supported");
        let error =
            releases(version, "riscv64", &components, &Sources::official()).expect_err("riscv64");
        assert!(error.to_string().contains("amd64 and arm64"), "{error}");
    }
}
