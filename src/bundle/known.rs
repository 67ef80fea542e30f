//! Checksums that labctl knows itself, so that neither a release host nor a mirror can pass off
//! another file as the release.
//!
//! They are in `sums.txt`: of containerd, runc and the CNI plugins in the table of versions, and
//! of some releases of etcd and Kubernetes. For other files, the checksum that the host publishes
//! counts.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const TEXT: &str = include_str!("sums.txt");

static SUMS: LazyLock<BTreeMap<&str, &str>> = LazyLock::new(|| lines().collect());

/// Returns the SHA-256 of a released file. Its path begins with the official host:
/// `dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubelet`.
pub fn sum(path: &str) -> Option<&'static str> {
    SUMS.get(path).copied()
}

/// Returns each path with its sum.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXT.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once("  ").map(|(sum, path)| (path, sum)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::lock::is_sha256;
    use crate::bundle::releases::{Sources, components, releases};
    use crate::cluster::Version;

    #[test]
    fn every_line_is_one_file_with_its_sum() {
        let written = TEXT.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(SUMS.len(), written, "no line is malformed, and no file has two");
        assert!(SUMS.values().all(|sum| is_sha256(sum)));
        let sums: std::collections::BTreeSet<_> = SUMS.values().collect();
        assert_eq!(sums.len(), written, "no two files are the same");
    }

    #[test]
    fn every_file_is_one_that_labctl_downloads() {
        for (path, _) in lines() {
            let kubernetes = path.strip_prefix("dl.k8s.io/release/v").map(|rest| {
                rest.split('/').next().expect("a version").parse::<Version>().expect("a version")
            });
            let versions = kubernetes.map_or_else(
                || {
                    let minors = Version::OLDEST_MINOR..=Version::NEWEST_MINOR;
                    minors.map(|minor| Version { major: 1, minor, patch: 0 }).collect()
                },
                |version| vec![version],
            );
            let sources = Sources::official();
            let downloaded = versions.into_iter().any(|version| {
                let components = components(version).expect("supported");
                ["amd64", "arm64"].iter().any(|architecture| {
                    releases(version, architecture, &components, &sources)
                        .expect("releases")
                        .artefacts
                        .iter()
                        .any(|artefact| artefact.url == format!("https://{path}"))
                })
            });
            assert!(downloaded, "{path}");
        }
    }

    #[test]
    fn containerd_runc_and_the_cni_plugins_are_known_for_every_version() {
        for minor in Version::OLDEST_MINOR..=Version::NEWEST_MINOR {
            let version = Version { major: 1, minor, patch: 0 };
            let components = components(version).expect("supported");
            for architecture in ["amd64", "arm64"] {
                let all = releases(version, architecture, &components, &Sources::official());
                for artefact in all.expect("releases").artefacts {
                    let owners = ["containerd/", "opencontainers/", "containernetworking/"];
                    let url = artefact.url.strip_prefix("https://").expect("TLS");
                    if owners.iter().any(|owner| url.starts_with(&format!("github.com/{owner}"))) {
                        assert!(sum(url).is_some(), "{url}");
                    }
                }
            }
        }
    }
}
