//! Where releases are downloaded from, with time limits.

use std::time::Duration;

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
