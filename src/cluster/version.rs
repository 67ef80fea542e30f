//! Kubernetes versions, and which of them labctl's templates support.

use std::fmt;
use std::str::FromStr;

/// A Kubernetes version: `1.34.2`. Serialized as that string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Always 1 so far.
    pub major: u16,
    /// The minor release; templates branch on it.
    pub minor: u16,
    /// The patch release.
    pub patch: u16,
}

impl Version {
    /// The oldest minor release that the templates were written for.
    pub const OLDEST_MINOR: u16 = 20;
    /// The version that labs are tested with, and that `init` begins with: the newest minor release
    /// that has had three patch releases, and whose etcd has had more than its first.
    pub const TESTED: Self = Self { major: 1, minor: 36, patch: 3 };
    /// The newest minor release that the templates were checked against.
    pub const NEWEST_MINOR: u16 = 37;

    /// Whether the templates support this version.
    pub fn is_supported(self) -> bool {
        self.major == 1 && (Self::OLDEST_MINOR..=Self::NEWEST_MINOR).contains(&self.minor)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("`{text}` is not a version like 1.34.2");
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let mut part = || {
            let digits =
                parts.next().filter(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse::<u16>().ok()
        };
        let (Some(major), Some(minor), Some(patch)) = (part(), part(), part()) else {
            return Err(bad());
        };
        if parts.next().is_some() {
            return Err(bad());
        }
        Ok(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl<'de> serde::Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
