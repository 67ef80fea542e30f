//! Where releases are downloaded from, with time limits.

use std::time::Duration;

use reqwest::Url;

use super::known;

const KUBERNETES_HOST: &str = "dl.k8s.io";
const GITHUB_HOST: &str = "github.com";

/// The registry in image references, whatever mirror the images are pulled from, because pods use
/// this name.
pub const IMAGE_REGISTRY: &str = "registry.k8s.io";

/// Where releases are downloaded from, with time limits. Mirrors have the same paths as the
/// official hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Kubernetes' own binaries: `https://dl.k8s.io`.
    pub kubernetes: String,
    /// etcd, containerd, runc and the CNI plugins: `https://github.com`.
    pub github: String,
    /// Container images: `https://registry.k8s.io`.
    pub registry: String,
    /// Which checksums count.
    pub sums: Sums,
    /// Time limits and retries.
    pub patience: Patience,
}

/// Which checksums downloads are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sums {
    /// Those that labctl knows itself; for other files, those that the host publishes.
    Known,
    /// Those that the host publishes, also where labctl knows another one.
    Published,
}

/// When a download is retried, and when it fails. The total time has no limit: a slow connection is
/// fine as long as bytes arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Time limit for establishing a connection.
    pub connect: Duration,
    /// Time limit for the next bytes to arrive.
    pub stall: Duration,
    /// Number of consecutive attempts without progress.
    pub attempts: u32,
    /// The pause after the first failed attempt; it doubles with each.
    pub pause: Duration,
    /// Number of parallel downloads.
    pub parallel: usize,
}

impl Sources {
    /// Returns the projects' own hosts.
    pub fn official() -> Self {
        Self {
            kubernetes: format!("https://{KUBERNETES_HOST}"),
            github: format!("https://{GITHUB_HOST}"),
            registry: format!("https://{IMAGE_REGISTRY}"),
            sums: Sums::Known,
            patience: Patience::default(),
        }
    }

    /// Returns a mirror that has what the projects' own hosts have, each below its name:
    /// `URL/dl.k8s.io/release/...`.
    ///
    /// # Errors
    /// If it is no address of a web server: what is wrong with it, to follow it.
    pub fn mirrored(url: &str) -> Result<Self, String> {
        let parsed = Url::parse(url).map_err(|error| format!("is no URL: {error}"))?;
        if !["http", "https"].contains(&parsed.scheme()) || parsed.query().is_some() {
            return Err("is no address of a web server, such as https://mirror.example.org".into());
        }
        let below = |host: &str| format!("{}/{host}", url.trim_end_matches('/'));
        Ok(Self {
            kubernetes: below(KUBERNETES_HOST),
            github: below(GITHUB_HOST),
            registry: below(IMAGE_REGISTRY),
            sums: Sums::Known,
            patience: Patience::default(),
        })
    }

    /// Returns the SHA-256 that labctl knows of what is at a URL of these sources, if that counts.
    pub fn known_sum(&self, url: &str) -> Option<&'static str> {
        if self.sums == Sums::Published {
            return None;
        }
        let hosts = [(&self.kubernetes, KUBERNETES_HOST), (&self.github, GITHUB_HOST)];
        hosts.iter().find_map(|(base, host)| {
            let path = url.strip_prefix(base.as_str())?;
            known::sum(&format!("{host}{path}"))
        })
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_millis(500),
            parallel: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_labctl_knows_is_known_of_a_mirror_as_of_the_official_host() {
        let path =
            "containerd/containerd/releases/download/v2.2.1/containerd-2.2.1-linux-amd64.tar.gz";
        let mut mirror = Sources::mirrored("http://mirror.test/x").expect("a mirror");
        let official = Sources::official().known_sum(&format!("https://github.com/{path}"));
        let there = format!("http://mirror.test/x/github.com/{path}");
        assert!(official.is_some());
        assert_eq!(mirror.known_sum(&there), official);
        assert_eq!(mirror.known_sum(&format!("http://mirror.test/{path}")), None);
        mirror.sums = Sums::Published;
        assert_eq!(mirror.known_sum(&there), None);
    }

    #[test]
    fn a_mirror_has_every_host_below_its_name() {
        for url in ["https://mirror.test/k8s", "https://mirror.test/k8s/"] {
            let sources = Sources::mirrored(url).expect("a mirror");
            assert_eq!(sources.kubernetes, "https://mirror.test/k8s/dl.k8s.io");
            assert_eq!(sources.github, "https://mirror.test/k8s/github.com");
            assert_eq!(sources.registry, "https://mirror.test/k8s/registry.k8s.io");
        }
        for wrong in ["", "mirror.test", "ftp://mirror.test", "https://mirror.test/?a=b"] {
            Sources::mirrored(wrong).expect_err(wrong);
        }
    }
}
