//! `image`: a container image of the bundle, imported into containerd's `k8s.io` namespace for the
//! kubelet.

use serde::Deserialize;

use crate::event::ChangeKind;

use super::{
    Actions, Arguments, AtHand, Content, Desired, Difference, Facts, Question, STATE_FOLDER, Site,
    State, file::Blob, quote,
};
use crate::node::record::{self, Kind};

/// `image`: a container image from the bundle.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageArgs {
    /// Its name in the bundle: `image/coredns`.
    pub from: String,
}

impl Arguments for ImageArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let (archive, reference) = site.blob(&site.text(&self.from)?)?;
        let reference =
            reference.ok_or_else(|| format!("the bundle has no image `{}`", archive.name))?;
        Ok(Desired::Image(Image { reference, archive }))
    }
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The reference that pods use.
    pub reference: String,
    /// The archive that contains it.
    pub archive: Blob,
}

impl Image {
    /// Returns the file in which labctl records the archive that an image came from, because the
    /// same reference may come from another archive later.
    fn record(&self) -> String {
        let name: String = self
            .reference
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' })
            .collect();
        format!("{STATE_FOLDER}/images/{name}")
    }
}

impl Image {
    fn origin(&self) -> String {
        format!("bundle/{}", self.archive.name)
    }
}

impl State for Image {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Images, Question::Text(self.record()), self.archive.question()]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        if !facts.images.contains(&self.reference) {
            return Some(Difference::new(ChangeKind::Make, "not imported"));
        }
        match facts.texts.get(&self.record()) {
            Some(sha256) if sha256.trim_end() == self.archive.sha256 => None,
            _ => Some(Difference::alter("imported from another archive")),
        }
    }

    fn actions(&self, facts: &Facts) -> Actions {
        let record = self.record();
        Actions {
            script: format!(
                "ctr -n k8s.io images import {0}\nnote {1} {2}\n",
                quote(&self.archive.path()),
                quote(&self.archive.sha256),
                quote(&record)
            ),
            blobs: self.archive.missing(facts),
            unit: Some("containerd.service".to_owned()),
            ..Actions::default()
        }
    }

    fn shell(&self) -> String {
        format!("ctr -n k8s.io images import {}", quote(&self.origin()))
    }

    fn note(&self) -> Option<String> {
        let (record, sha256) = (self.record(), &self.archive.sha256);
        Some(format!("install -D -m 644 /dev/stdin {} <<'EOF'\n{sha256}\nEOF", quote(&record)))
    }

    fn beside(&self) -> Vec<AtHand> {
        let content = Content::Blob(self.archive.clone());
        vec![AtHand { name: self.origin(), content, secret: false }]
    }

    fn title(&self) -> String {
        format!("image {}", self.reference)
    }

    fn records(&self) -> &'static [Kind] {
        record::FILES
    }

    fn settle(&self, facts: &mut Facts) {
        facts.images.insert(self.reference.clone());
        facts.texts.insert(self.record(), format!("{}\n", self.archive.sha256));
        self.archive.settle(facts);
    }
}
