//! Which lab a machine belongs to, by fingerprints of the keys that cannot be recreated (pure).
//!
//! Every node has a [`Mark`]: the lab's name and a SHA-256 of each key that cannot be replaced
//! without a rotation. The lab directory contains the keys themselves, and the fingerprints of
//! earlier ones. [`Holding::judge`] compares the two before anything is touched.
//!
//! A fingerprint reveals nothing: each key has at least 128 random bits.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::list::{ENCRYPTION_KEY, SERVICE_ACCOUNT_KEY};
use super::rotation::{AUTHORITIES, NEXT_SERVICE_ACCOUNT_KEY, PkiContent, next_key};

/// Fingerprints by key, oldest first. Keys are named as in the pki directory: `etcd/ca.key`.
pub type Fingerprints = BTreeMap<String, Vec<String>>;

/// The certificates of the CA that nodes know a lab by, in every stage of a rotation.
const AUTHORITY_CERTIFICATES: [&str; 3] = ["ca.crt", "ca-next.crt", "ca-old.crt"];

/// Returns the names of the keys that cannot be recreated, as in the pki directory.
pub fn names() -> impl Iterator<Item = String> {
    AUTHORITIES
        .iter()
        .map(|ca| format!("{ca}.key"))
        .chain([SERVICE_ACCOUNT_KEY, ENCRYPTION_KEY].map(str::to_owned))
}

/// Returns the fingerprint of the key `name`: of its file, or of the key that Secrets are encrypted
/// with and nothing beside it, because on nodes that key is inside another file.
pub fn fingerprint(name: &str, content: &[u8]) -> String {
    let content = if name == ENCRYPTION_KEY { encrypting(content) } else { content };
    hex::encode(Sha256::digest(content))
}

/// Returns the key that encrypts: the last word of the first line.
fn encrypting(keys: &[u8]) -> &[u8] {
    let line = keys.trim_ascii().split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.rsplit(|byte| *byte == b' ').next().unwrap_or_default()
}

/// A lab's name and fingerprints of its keys, as recorded on a node and in the lab directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// The lab's name.
    pub lab: String,
    /// The fingerprints: on a node the newest of each key, in the lab directory all of them.
    pub keys: Fingerprints,
}

impl Mark {
    /// Returns the mark as the text of a file.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# The lab that this belongs to, and SHA-256 fingerprints of its keys. Nothing \
            secret.\n\
             lab {}\n",
            self.lab
        );
        for (name, fingerprints) in &self.keys {
            for fingerprint in fingerprints {
                text.push_str(&format!("key {name} {fingerprint}\n"));
            }
        }
        text
    }

    /// Parses a mark. Unknown lines are from a newer version and are ignored.
    pub fn parse(text: &str) -> Self {
        let mut mark = Self::default();
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["lab", lab] => mark.lab = lab.to_owned(),
                ["key", name, fingerprint] => {
                    mark.keys.entry(name.to_owned()).or_default().push(fingerprint.to_owned());
                }
                _ => {}
            }
        }
        mark
    }
}

/// What a node has that shows which lab it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnNode {
    /// The mark, if there is one.
    pub mark: Option<Mark>,
    /// Whether labctl has a record there.
    pub recorded: bool,
    /// The text of the CA's certificate file.
    pub ca: Option<String>,
    /// Fingerprints of the key files that exist.
    pub keys: BTreeMap<String, String>,
    /// Paths that are evidence of a cluster and were not created by labctl.
    pub signs: Vec<&'static str>,
}

/// Why a node may not be changed by this lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stranger {
    /// It belongs to a lab of this name, or of an unknown one, whose keys are missing in the lab
    /// directory.
    KeysLost {
        /// The lab's name, if the node knows it.
        lab: Option<String>,
        /// The keys that are missing.
        missing: Vec<String>,
    },
    /// It belongs to a lab of this name, or of an unknown one, whose keys differ from those in the
    /// lab directory.
    OtherKeys {
        /// The lab's name, if the node knows it.
        lab: Option<String>,
        /// The keys that differ.
        differing: Vec<String>,
    },
    /// It belongs to another lab.
    OtherLab(String),
    /// Another tool has built a cluster on it.
    OtherCluster(Vec<&'static str>),
}

/// The keys of a lab directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    /// The lab's name.
    pub lab: String,
    /// The fingerprints of the current keys, by name.
    current: BTreeMap<String, String>,
    /// All fingerprints, present and earlier, oldest first.
    known: Fingerprints,
    /// The certificates of the current CAs, each a PEM block.
    authorities: Vec<String>,
}

impl Holding {
    /// The files of a lab's pki directory that a holding is made of.
    pub fn files() -> impl Iterator<Item = String> {
        let next = AUTHORITIES.iter().map(|ca| next_key(ca));
        let others = AUTHORITY_CERTIFICATES.iter().chain([&NEXT_SERVICE_ACCOUNT_KEY]);
        names().chain(next).chain(others.map(|&name| name.to_owned()))
    }

    /// Returns the keys of a lab directory: those in its pki directory, and the fingerprints that
    /// it remembers.
    pub fn new(lab: &str, content: &PkiContent, remembered: &Mark) -> Self {
        let mut holding =
            Self { lab: lab.to_owned(), known: remembered.keys.clone(), ..Self::default() };
        for name in names() {
            if let Some(key) = content.get(&name) {
                let fingerprint = fingerprint(&name, key.expose());
                holding.learn(&name, &fingerprint);
                holding.current.insert(name, fingerprint);
            }
        }
        // In a rotation, the next keys come after the present ones.
        let next = AUTHORITIES.iter().map(|ca| (format!("{ca}.key"), next_key(ca)));
        let account = (SERVICE_ACCOUNT_KEY.to_owned(), NEXT_SERVICE_ACCOUNT_KEY.to_owned());
        for (name, next) in next.chain([account]) {
            if let Some(key) = content.get(&next) {
                holding.learn(&name, &fingerprint(&name, key.expose()));
            }
        }
        let texts =
            AUTHORITY_CERTIFICATES.iter().filter_map(|name| content.get(*name)?.expose_text());
        holding.authorities = texts.flat_map(blocks).collect();
        holding
    }

    /// Adds a fingerprint as the newest one; a known one keeps its place.
    fn learn(&mut self, name: &str, fingerprint: &str) {
        let known = self.known.entry(name.to_owned()).or_default();
        if !known.iter().any(|it| it == fingerprint) {
            known.push(fingerprint.to_owned());
        }
    }

    /// Makes the current keys the newest: they come from a backup with older keys.
    pub fn renewed(mut self) -> Self {
        for (name, fingerprint) in &self.current {
            let known = self.known.entry(name.clone()).or_default();
            known.retain(|it| it != fingerprint);
            known.push(fingerprint.clone());
        }
        self
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    /// Returns the mark for a node of this lab.
    pub fn mark(&self) -> Mark {
        let keys = self
            .current
            .iter()
            .map(|(name, fingerprint)| (name.clone(), vec![fingerprint.clone()]));
        Mark { lab: self.lab.clone(), keys: keys.collect() }
    }

    /// Returns what the lab directory should remember.
    pub fn remembered(&self) -> Mark {
        Mark { lab: self.lab.clone(), keys: self.known.clone() }
    }

    /// Returns the fingerprints of keys that this lab may replace: its own, present and earlier.
    pub fn related(&self) -> impl Iterator<Item = &str> {
        self.known.values().flatten().map(String::as_str)
    }

    /// Checks that a node belongs to this lab or to none.
    ///
    /// # Errors
    /// Returns what it belongs to otherwise.
    pub fn judge(&self, node: &OnNode) -> Result<(), Stranger> {
        match &node.mark {
            Some(mark) => {
                let newest = |(name, all): (&String, &Vec<String>)| {
                    Some((name.clone(), all.last()?.clone()))
                };
                let keys = mark.keys.iter().filter_map(newest).collect();
                self.compare(Some(&mark.lab), &keys, &[])
            }
            None if node.recorded => {
                // The node was set up before there were marks. A node without a CA has nothing to
                // lose.
                let ca: Vec<String> = node.ca.iter().flat_map(|text| blocks(text)).collect();
                self.compare(None, &node.keys, &ca)
            }
            None if node.signs.is_empty() => Ok(()),
            None => Err(Stranger::OtherCluster(node.signs.clone())),
        }
    }

    fn compare(
        &self,
        lab: Option<&str>,
        keys: &BTreeMap<String, String>,
        authorities: &[String],
    ) -> Result<(), Stranger> {
        let mut missing: Vec<String> =
            keys.keys().filter(|name| !self.current.contains_key(*name)).cloned().collect();
        if !authorities.is_empty() && self.authorities.is_empty() {
            missing.push("ca.crt".to_owned());
        }
        let mut differing: Vec<String> = keys
            .iter()
            .filter(|(name, key)| !self.succeeds(name, key))
            .map(|(name, _)| name.clone())
            .collect();
        if !authorities.is_empty() && !authorities.iter().any(|ca| self.authorities.contains(ca)) {
            differing.push("ca.crt".to_owned());
        }
        // A copy of the lab directory under another name is still the same lab.
        if missing.is_empty() && differing.is_empty() {
            return Ok(());
        }
        match lab {
            Some(lab) if lab != self.lab => Err(Stranger::OtherLab(lab.to_owned())),
            _ => {
                let lab = lab.map(str::to_owned);
                Err(if missing.is_empty() {
                    Stranger::OtherKeys { lab, differing }
                } else {
                    Stranger::KeysLost { lab, missing }
                })
            }
        }
    }

    /// Whether the key in the lab directory is this one, will be replaced by it, or has replaced
    /// it.
    ///
    /// Not if this one is newer than the lab directory's, because then the directory is an old
    /// copy.
    fn succeeds(&self, name: &str, fingerprint: &str) -> bool {
        let Some(known) = self.known.get(name) else { return false };
        let place = |wanted: &str| known.iter().position(|it| it == wanted);
        let Some(current) = self.current.get(name).and_then(|it| place(it)) else { return false };
        place(fingerprint).is_some_and(|there| there <= current)
    }
}

/// Returns the PEM blocks of a text, each trimmed.
fn blocks(text: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut blocks: Vec<String> =
        text.split_inclusive(END).map(|part| part.trim().to_owned()).collect();
    blocks.retain(|block| block.ends_with(END));
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::rotation;

    fn content(salt: &str) -> PkiContent {
        let keys = names().map(|name| (name.clone(), format!("{salt} {name}\n").into()));
        let certificate = ("ca.crt".to_owned(), certificate(salt).into());
        keys.chain([certificate]).collect()
    }

    fn certificate(salt: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{salt}\n-----END CERTIFICATE-----\n")
    }

    fn holding(lab: &str, content: &PkiContent) -> Holding {
        Holding::new(lab, content, &Mark::default())
    }

    fn marked(mark: Mark) -> OnNode {
        OnNode { mark: Some(mark), recorded: true, ..OnNode::default() }
    }

    #[test]
    fn a_mark_reads_back_the_same() {
        let mark = holding("sandbox", &content("a")).mark();
        assert_eq!(Mark::parse(&mark.text()), mark);
        assert_eq!(mark.keys.len(), 5);
        assert_eq!(Mark::parse("torn"), Mark::default());
    }

    #[test]
    fn a_node_of_this_lab_and_a_bare_machine_may_be_changed() {
        let ours = holding("sandbox", &content("a"));
        assert_eq!(ours.judge(&marked(ours.mark())), Ok(()));
        assert_eq!(ours.judge(&OnNode::default()), Ok(()));
        assert_eq!(holding("sandbox", &PkiContent::new()).judge(&OnNode::default()), Ok(()));
        // A load balancer that was marked before there were keys, and a renamed lab.
        assert_eq!(
            ours.judge(&marked(Mark { lab: "sandbox".to_owned(), ..Mark::default() })),
            Ok(())
        );
        assert_eq!(holding("renamed", &content("a")).judge(&marked(ours.mark())), Ok(()));
    }

    #[test]
    fn a_lab_directory_that_lost_any_of_the_keys_is_refused() {
        let mark = holding("sandbox", &content("a")).mark();
        for name in names() {
            let mut left = content("a");
            left.remove(&name);
            // Remembering the key is not the same as having it.
            let lost = Holding::new("sandbox", &left, &mark);
            let missing = vec![name];
            let lab = Some("sandbox".to_owned());
            assert_eq!(lost.judge(&marked(mark.clone())), Err(Stranger::KeysLost { lab, missing }));
        }
        let empty = holding("sandbox", &PkiContent::new());
        let refused = empty.judge(&marked(mark));
        assert!(matches!(refused, Err(Stranger::KeysLost { missing, .. }) if missing.len() == 5));
    }

    #[test]
    fn other_keys_under_the_same_name_are_another_lab() {
        let ours = holding("sandbox", &content("a"));
        for name in names() {
            let mut theirs = content("a");
            theirs.insert(name.clone(), b"another".into());
            let lab = Some("sandbox".to_owned());
            let expected = Err(Stranger::OtherKeys { lab, differing: vec![name] });
            assert_eq!(ours.judge(&marked(holding("sandbox", &theirs).mark())), expected);
        }
        let other = marked(holding("other", &content("b")).mark());
        assert_eq!(ours.judge(&other), Err(Stranger::OtherLab("other".to_owned())));
        assert_eq!(
            holding("new", &PkiContent::new()).judge(&other),
            Err(Stranger::OtherLab("other".to_owned()))
        );
    }

    #[test]
    fn nodes_from_before_are_adopted_when_their_keys_fit() {
        let ours = holding("sandbox", &content("a"));
        let key = |salt: &str| {
            (
                SERVICE_ACCOUNT_KEY.to_owned(),
                fingerprint(SERVICE_ACCOUNT_KEY, content(salt)[SERVICE_ACCOUNT_KEY].expose()),
            )
        };
        let node = |ca: &str, keys: &[&str]| OnNode {
            recorded: true,
            ca: Some(certificate(ca)),
            keys: keys.iter().map(|salt| key(salt)).collect(),
            ..OnNode::default()
        };
        assert_eq!(ours.judge(&node("a", &["a"])), Ok(()));
        assert_eq!(ours.judge(&node("a", &[])), Ok(()), "a worker");
        // Interrupted before it had any certificate.
        assert_eq!(ours.judge(&OnNode { recorded: true, ..OnNode::default() }), Ok(()));
        let differing = vec!["ca.crt".to_owned()];
        assert_eq!(ours.judge(&node("b", &[])), Err(Stranger::OtherKeys { lab: None, differing }));
        let missing = vec![SERVICE_ACCOUNT_KEY.to_owned(), "ca.crt".to_owned()];
        let empty = holding("sandbox", &PkiContent::new());
        assert_eq!(empty.judge(&node("a", &["a"])), Err(Stranger::KeysLost { lab: None, missing }));
        // During a rotation a node trusts two CAs.
        let mut both = node("b", &[]);
        both.ca = Some(certificate("b") + &certificate("a"));
        assert_eq!(ours.judge(&both), Ok(()));
    }

    #[test]
    fn another_cluster_is_refused_but_not_our_own() {
        let ours = holding("sandbox", &content("a"));
        let signs = vec!["/var/lib/etcd/member"];
        let node = OnNode { signs: signs.clone(), ..OnNode::default() };
        assert_eq!(ours.judge(&node), Err(Stranger::OtherCluster(signs.clone())));
        assert_eq!(ours.judge(&OnNode { signs, recorded: true, ..OnNode::default() }), Ok(()));
    }

    #[test]
    fn a_rotation_is_followed_forwards_and_never_backwards() {
        let mut folder = content("a");
        let before = holding("sandbox", &folder);
        for name in names().filter(|name| name != ENCRYPTION_KEY) {
            let next = name.replace(".key", "-next.key");
            folder.insert(next.clone(), format!("b {next}").into());
            folder.insert(next.replace(".key", ".crt"), certificate(&next).into());
        }
        let trust = Holding::new("sandbox", &folder, &before.remembered());
        assert_eq!(trust.judge(&marked(before.mark())), Ok(()));
        assert_eq!(trust.mark(), before.mark(), "the old keys still sign");
        rotation::apply(&mut folder.clone(), &[]);
        let steps = rotation::replace(&folder);
        rotation::apply(&mut folder, &steps);
        let after = Holding::new("sandbox", &folder, &trust.remembered());
        assert_ne!(after.mark(), before.mark());
        // A node that was off during the rotation is accepted, and so are the new keys.
        assert_eq!(after.judge(&marked(before.mark())), Ok(()));
        assert_eq!(after.judge(&marked(after.mark())), Ok(()));
        // A restored old pki directory would replace the only copies of the new keys.
        let rolled_back = Holding::new("sandbox", &content("a"), &after.remembered());
        assert!(matches!(
            rolled_back.judge(&marked(after.mark())),
            Err(Stranger::OtherKeys { .. })
        ));
        // A restore does so on purpose.
        assert_eq!(rolled_back.renewed().judge(&marked(after.mark())), Ok(()));
    }
}
