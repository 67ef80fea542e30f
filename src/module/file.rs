//! `file`, `template` and `binary`: a file with content, mode and owner.
//!
//! Small content is part of the apply's stream. Large content (binaries, image archives) is sent to
//! the node's blob store beforehand, named by its SHA-256, and linked into place, so that the same
//! bytes are never sent twice.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::{
    Actions, Arguments, Desired, Difference, Facts, Question, STATE_FOLDER, Site, State,
    attributes, probe::PathFact, quote,
};
use crate::node::record::{self, Kind};

/// `file`: a file from the lab's PKI, kubeconfigs or a backup, or with inline content.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileArgs {
    /// `pki/NAME` or `kubeconfig/NAME`; in a restore also `backup/snapshot.db`.
    #[serde(default)]
    pub from: Option<String>,
    /// Inline content.
    #[serde(default)]
    pub content: Option<String>,
    /// Absolute path on the node.
    pub to: String,
    /// Octal permissions; `0644` unless given.
    #[serde(default)]
    pub mode: Option<String>,
    /// `user:group`; `root:root` unless given.
    #[serde(default)]
    pub owner: Option<String>,
}

/// `template`: a file rendered from a template.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateArgs {
    /// The template's name, without `.tera`.
    pub from: String,
    /// Absolute path on the node.
    pub to: String,
    /// Octal permissions; `0644` unless given.
    #[serde(default)]
    pub mode: Option<String>,
    /// `user:group`; `root:root` unless given.
    #[serde(default)]
    pub owner: Option<String>,
    /// Whether the content must never be displayed.
    #[serde(default)]
    pub sensitive: bool,
    /// Whether the file is the same on every node and is rendered once, without `node`.
    #[serde(default)]
    pub shared: bool,
}

/// `binary`: a program from the bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinaryArgs {
    /// Its name in the bundle.
    pub from: String,
    /// Absolute path on the node.
    pub to: String,
    /// Octal permissions; `0755` unless given.
    #[serde(default)]
    pub mode: Option<String>,
}

impl Arguments for FileArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let (content, sensitive, origin) = match (&self.from, &self.content) {
            (Some(from), None) => {
                let from = site.text(from)?;
                let (content, sensitive) = site.artefact(&from)?;
                (content, sensitive, from)
            }
            (None, Some(content)) => {
                let (content, sensitive) = site.content(content)?;
                (content, sensitive, "playbook".to_owned())
            }
            _ => return Err("a file has either `from` or `content`".to_owned()),
        };
        Ok(Desired::File(File {
            path: site.file_path(&self.to)?,
            mode: attributes::mode(self.mode.as_ref(), "644")?,
            owner: attributes::owner(self.owner.as_ref())?,
            content,
            sensitive,
            origin,
        }))
    }
}

impl Arguments for TemplateArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let from = site.text(&self.from)?;
        let (content, secret) = site.template(&from, self.shared)?;
        Ok(Desired::File(File {
            path: site.file_path(&self.to)?,
            mode: attributes::mode(self.mode.as_ref(), "644")?,
            owner: attributes::owner(self.owner.as_ref())?,
            sensitive: self.sensitive || secret,
            content,
            origin: format!("templates/{from}.tera"),
        }))
    }

    fn template(&self) -> Option<&str> {
        Some(&self.from)
    }
}

impl Arguments for BinaryArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let (blob, _) = site.blob(&site.text(&self.from)?)?;
        Ok(Desired::File(File {
            path: site.file_path(&self.to)?,
            mode: attributes::mode(self.mode.as_ref(), "755")?,
            owner: "root:root".to_owned(),
            origin: format!("bundle/{}", blob.name),
            content: Content::Blob(blob),
            sensitive: false,
        }))
    }
}

/// A file on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Octal permissions without leading zeros, as stat prints them: `644`.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
    /// Where the content comes from.
    pub content: Content,
    /// Whether the content must never be shown.
    pub sensitive: bool,
    /// The content's name in the playbook: `template etcd.service`, `pki/ca.crt`, `kubelet 1.34.2`.
    pub origin: String,
}

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

impl State for File {
    fn probe(&self) -> Vec<Question> {
        // The node sends only the hash of a secret file.
        let text = !self.sensitive && self.content.text().is_some();
        let sha256 = self.content.sha256().to_owned();
        let mut questions = vec![Question::File { path: self.path.clone(), sha256, text }];
        if let Content::Blob(blob) = &self.content {
            questions.push(blob.question());
        }
        questions
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let Some(found) = facts.paths.get(&self.path) else { return Some(Difference::missing()) };
        if !found.kind.starts_with("regular") {
            return Some(Difference::alter(format!("is a {}, not a file", found.kind)));
        }
        if self.content.sha256().is_empty() {
            return Some(Difference::alter("can only be compared once the bundle is downloaded"));
        }
        if found.sha256.as_deref() != Some(self.content.sha256()) {
            return Some(Difference::alter("content differs"));
        }
        attributes::attributes_differ(found, &self.mode, &self.owner)
    }

    fn actions(&self, facts: &Facts) -> Actions {
        let (mode, owner, path, sha256) =
            (&self.mode, &self.owner, quote(&self.path), self.content.sha256());
        match &self.content {
            Content::Inline { bytes, .. } => Actions {
                script: format!("put {mode} {owner} {sha256} \"$payload/{sha256}\" {path}\n"),
                payloads: vec![(sha256.to_owned(), Arc::clone(bytes))],
                ..Actions::default()
            },
            Content::Blob(blob) => Actions {
                script: format!("link {mode} {owner} {sha256} {path}\n"),
                blobs: blob.missing(facts),
                ..Actions::default()
            },
        }
    }

    fn shell(&self) -> String {
        let (user, group) = self.owner.split_once(':').unwrap_or((&self.owner, &self.owner));
        let (mode, path) = (&self.mode, quote(&self.path));
        match &self.content {
            Content::Inline { bytes, .. } if !self.sensitive => match std::str::from_utf8(bytes) {
                Ok(text) => {
                    let end = if text.ends_with('\n') { "" } else { "\n" };
                    format!(
                        "install -m {mode} -o {user} -g {group} /dev/stdin {path} \
                        <<'EOF'\n{text}{end}EOF"
                    )
                }
                Err(_) => {
                    format!("install -m {mode} -o {user} -g {group} {} {path}", quote(&self.origin))
                }
            },
            _ => format!("install -m {mode} -o {user} -g {group} {} {path}", quote(&self.origin)),
        }
    }

    fn title(&self) -> String {
        self.path.clone()
    }

    fn records(&self) -> &'static [Kind] {
        record::FILES
    }

    fn subject(&self) -> Option<(String, String)> {
        let state = format!("file {} {} {}", self.content.sha256(), self.mode, self.owner);
        Some((self.path.clone(), state))
    }

    fn settle(&self, facts: &mut Facts) {
        let fact = PathFact {
            kind: "regular file".to_owned(),
            mode: self.mode.clone(),
            owner: self.owner.clone(),
            size: 0,
            sha256: Some(self.content.sha256().to_owned()),
        };
        facts.paths.insert(self.path.clone(), fact);
        facts.other_texts.remove(&self.path);
        if let Content::Blob(blob) = &self.content {
            blob.settle(facts);
        }
    }
}
