//! `file`, `template` and `binary`: a file with content, mode and owner.
//!
//! Small content is part of the apply's stream. Large content (binaries, image archives) is sent to
//! the node's blob store beforehand, named by its SHA-256, and linked into place, so that the same
//! bytes are never sent twice.

use std::sync::Arc;

use serde::Deserialize;

pub use super::content::{Blob, Content};
use super::{
    Actions, Arguments, AtHand, Desired, Difference, Facts, Question, Site, State, attributes,
    probe::PathFact, quote,
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

impl File {
    /// What is typed to put a file in place that is there under its origin.
    fn copied(&self) -> String {
        let (user, group) = self.owner.split_once(':').unwrap_or((&self.owner, &self.owner));
        let (mode, origin, path) = (&self.mode, quote(&self.origin), quote(&self.path));
        format!("install -D -m {mode} -o {user} -g {group} {origin} {path}")
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
                Ok(text) if text.ends_with('\n') => format!(
                    "install -D -m {mode} -o {user} -g {group} /dev/stdin {path} \
                    <<'EOF'\n{text}EOF"
                ),
                Ok(text) => format!(
                    "printf %s {} | install -D -m {mode} -o {user} -g {group} /dev/stdin {path}",
                    quote(text)
                ),
                Err(_) => self.copied(),
            },
            _ => self.copied(),
        }
    }

    fn beside(&self) -> Vec<AtHand> {
        if !self.sensitive && self.content.text().is_some() {
            return Vec::new();
        }
        let (name, content) = (self.origin.clone(), self.content.clone());
        vec![AtHand { name, content, secret: self.sensitive }]
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

    fn is_only_put(&self) -> bool {
        true
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
