//! Where releases are downloaded from, with time limits.

use std::time::Duration;

use reqwest::Url;

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
    /// Time limits and retries.
    pub patience: Patience,
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
            kubernetes: "https://dl.k8s.io".into(),
            github: "https://github.com".into(),
            registry: format!("https://{IMAGE_REGISTRY}"),
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
            kubernetes: below("dl.k8s.io"),
            github: below("github.com"),
            registry: below(IMAGE_REGISTRY),
            patience: Patience::default(),
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
