//! The content of a file on a node: bytes in memory, or a large file of the bundle that nodes store
//! under its checksum.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::probe::PathFact;
use super::{Facts, Question, STATE_FOLDER};

/// The content of a file.
#[derive(Clone, PartialEq)]
pub enum Content {
    /// Bytes in memory.
    Inline {
        /// The bytes.
        bytes: Arc<[u8]>,
        /// Their SHA-256, lower-case hex.
        sha256: String,
    },
    /// A file of the bundle.
    Blob(Blob),
}

/// A large file that nodes store under its checksum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// Its path on the workstation.
    pub source: PathBuf,
    /// Its name in the bundle.
    pub name: String,
}

impl Content {
    /// Returns content from memory and computes its hash.
    pub fn inline(bytes: impl Into<Arc<[u8]>>) -> Self {
        use sha2::Digest as _;
        let bytes = bytes.into();
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        Content::Inline { bytes, sha256 }
    }

    /// Returns the SHA-256 in lower-case hex.
    pub fn sha256(&self) -> &str {
        match self {
            Content::Inline { sha256, .. } => sha256,
            Content::Blob(blob) => &blob.sha256,
        }
    }

    /// Returns the content as text; `None` for a blob or binary data.
    pub fn text(&self) -> Option<&str> {
        let Content::Inline { bytes, .. } = self else { return None };
        std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
    }
}

impl fmt::Debug for Content {
    // Content may be a private key, and debug output may end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Inline { bytes, sha256 } => {
                write!(f, "Inline({} bytes, sha256 {sha256})", bytes.len())
            }
            Content::Blob(blob) => blob.fmt(f),
        }
    }
}

impl Blob {
    /// Returns its path on a node.
    pub fn path(&self) -> String {
        format!("{STATE_FOLDER}/blobs/{}", self.sha256)
    }

    /// Returns the question whether a node has it.
    pub fn question(&self) -> Question {
        Question::File { path: self.path(), sha256: self.sha256.clone(), text: false }
    }

    /// Whether the node has it completely.
    pub fn is_there(&self, facts: &Facts) -> bool {
        facts
            .paths
            .get(&self.path())
            .is_some_and(|found| found.sha256.as_deref() == Some(&*self.sha256))
    }

    /// Returns it as a list if the node lacks it: what must be pushed before an action that uses
    /// it.
    pub fn missing(&self, facts: &Facts) -> Vec<Blob> {
        if self.is_there(facts) { Vec::new() } else { vec![self.clone()] }
    }

    /// Updates the facts as if the node had it.
    pub fn settle(&self, facts: &mut Facts) {
        let fact = PathFact {
            kind: "regular file".to_owned(),
            mode: "600".to_owned(),
            owner: "root:root".to_owned(),
            size: self.size,
            sha256: Some(self.sha256.clone()),
        };
        facts.paths.insert(self.path(), fact);
    }
}
