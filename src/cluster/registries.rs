//! Where containerd finds images: registries, their mirrors, and the way out.

use std::path::PathBuf;

use serde::Serialize;

/// A registry that an inventory says something of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registry {
    /// Its name in references of images: `docker.io`, `registry.example.org:5000`.
    pub host: String,
    /// URLs to ask before the registry itself, in order.
    pub mirrors: Vec<Mirror>,
    /// A file with the CA that has signed its certificate and those of its mirrors.
    #[serde(skip)]
    pub ca: Option<PathBuf>,
    /// A file with `user:password`.
    #[serde(skip)]
    pub credentials: Option<PathBuf>,
}

/// A mirror of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// Its URL.
    pub url: String,
    /// Whether the URL has a path of its own, and containerd is not to add `/v2`.
    pub has_path: bool,
}

/// The HTTP proxy that containerd pulls images through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Proxy {
    /// For `http` URLs; empty for none.
    pub http: String,
    /// For `https` URLs; empty for none.
    pub https: String,
    /// What is reached without it.
    pub no: Vec<String>,
}

impl Registry {
    /// Returns the host that containerd asks for credentials of: that of Docker Hub has another
    /// name than its images.
    pub fn contacted(&self) -> &str {
        if self.host == "docker.io" { "registry-1.docker.io" } else { &self.host }
    }
}
