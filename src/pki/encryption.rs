//! The keys that Secrets are encrypted with in etcd, and how one takes another's place (pure).
//!
//! The file `encryption.key` has a line per key; the first key writes, all of them read. There are
//! two only while one replaces the other, and their order is the stage:
//!
//! | stage | lines | what API servers do |
//! |---|---|---|
//! | single | the key | write and read with it |
//! | readable | old, new | write with the old one; each of them can read what others will write |
//! | writing | new, old | write with the new one; what is stored is written again |
//!
//! After
//! <https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#rotating-a-decryption-key>.

use super::error::PkiError;
use super::files::{Pki, PkiFiles, carry_out};
use super::issue;
use super::list::ENCRYPTION_KEY;
use super::rotation::FileChange;
use crate::lab::LabDirectory;
use crate::secret::Secret;

/// Name of a lab's first key, which its line need not say.
const FIRST: u32 = 1;

/// A key, and the name that is stored with each Secret that it has encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionKey {
    number: u32,
    /// 32 bytes in base64.
    pub secret: Secret,
}

impl EncryptionKey {
    /// Its name: `key1`, and the next number for each key that replaced another.
    pub fn name(&self) -> String {
        format!("key{}", self.number)
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, secret) = line.split_once(' ').unwrap_or(("key1", line));
        let number = name.strip_prefix("key")?.parse().ok()?;
        issue::is_encryption_key(secret).then(|| Self { number, secret: secret.into() })
    }
}

/// Where the replacement of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStage {
    /// There is one key.
    Single,
    /// The new key is there to read with.
    Readable,
    /// The new key writes.
    Writing,
}

/// The keys of a lab, the one that writes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionKeys(Vec<EncryptionKey>);

impl EncryptionKeys {
    /// Reads the file; `None` if it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Self::of(text.trim().lines().map(EncryptionKey::parse).collect::<Option<_>>()?)
    }

    /// Reads names and secrets from an `EncryptionConfiguration` that labctl rendered.
    pub fn from_config(config: &str) -> Option<Self> {
        let of = |field: &str| -> Vec<&str> {
            let lines = config.lines().map(|line| line.trim_start().trim_start_matches("- "));
            let values = lines.filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            values.map(|value| value.trim().trim_matches(['"', '\''])).collect()
        };
        let (names, secrets) = (of("name"), of("secret"));
        if names.len() != secrets.len() {
            return None;
        }
        let lines = names.iter().zip(secrets).map(|(name, secret)| format!("{name} {secret}"));
        Self::of(lines.map(|line| EncryptionKey::parse(&line)).collect::<Option<_>>()?)
    }

    fn of(keys: Vec<EncryptionKey>) -> Option<Self> {
        let apart =
            keys.iter().all(|key| keys.iter().filter(|it| it.number == key.number).count() == 1);
        ((1..=2).contains(&keys.len()) && apart).then_some(Self(keys))
    }

    /// Returns the file's text, without a line end at its end.
    pub fn to_text(&self) -> Secret {
        let mut text = Vec::new();
        for key in &self.0 {
            if !text.is_empty() {
                text.push(b'\n');
            }
            // A lab that has had one key only has nothing but that in its file.
            if key.number != FIRST {
                text.extend_from_slice(format!("{} ", key.name()).as_bytes());
            }
            text.extend_from_slice(key.secret.expose());
        }
        text.into()
    }

    /// Where the replacement is.
    pub fn stage(&self) -> KeyStage {
        match self.0.as_slice() {
            [first, second, ..] if first.number < second.number => KeyStage::Readable,
            [_, _, ..] => KeyStage::Writing,
            _ => KeyStage::Single,
        }
    }

    /// Returns the keys of the next stage; `fresh` is needed after the stage `Single`.
    pub fn next(&self, fresh: Secret) -> Self {
        let mut keys = self.0.clone();
        match self.stage() {
            KeyStage::Single => {
                let number = keys.iter().map(|key| key.number).max().unwrap_or_default() + 1;
                keys.push(EncryptionKey { number, secret: fresh });
            }
            KeyStage::Readable => keys.reverse(),
            KeyStage::Writing => keys.truncate(1),
        }
        Self(keys)
    }
}

/// Returns the names and secrets of a lab's keys, the one that writes first.
///
/// # Errors
/// [`PkiError::Absent`].
pub fn named(pki: &Pki) -> Result<Vec<(String, Secret)>, PkiError> {
    let keys = str::from_utf8(pki.require(ENCRYPTION_KEY)?).ok().and_then(EncryptionKeys::parse);
    let keys = keys.ok_or_else(|| PkiError::Absent { name: ENCRYPTION_KEY.to_owned() })?;
    Ok(keys.0.into_iter().map(|key| (key.name(), key.secret)).collect())
}

/// Returns the stage of the lab directory.
///
/// # Errors
/// [`PkiError::Read`], [`PkiError::Absent`], [`PkiError::Unusable`].
pub fn stage(lab: &LabDirectory) -> Result<KeyStage, PkiError> {
    read(lab).map(|keys| keys.stage())
}

/// Moves the lab directory to the next stage. The caller holds the lab's lock, and all nodes have
/// reached this stage.
///
/// # Errors
/// Those of [`stage`], [`PkiError::Issue`], [`PkiError::Write`].
pub fn advance(lab: &LabDirectory) -> Result<(), PkiError> {
    let next = read(lab)?.next(issue::encryption_key()?);
    carry_out(&[FileChange::Write(ENCRYPTION_KEY.to_owned(), next.to_text())], lab)
}

fn read(lab: &LabDirectory) -> Result<EncryptionKeys, PkiError> {
    let files = PkiFiles::named(&lab.pki(), [ENCRYPTION_KEY.to_owned()])?;
    let absent = || PkiError::Absent { name: ENCRYPTION_KEY.to_owned() };
    let text = files.text(ENCRYPTION_KEY, RESTORE)?.ok_or_else(absent)?;
    EncryptionKeys::parse(text)
        .ok_or_else(|| files.unusable(ENCRYPTION_KEY, NOT_OURS.to_owned(), RESTORE))
}

/// What is wrong with a file that has no keys.
pub(super) const NOT_OURS: &str = "does not contain 32 bytes in base64";
/// What to do about a file that cannot be recreated.
pub(super) const RESTORE: &str = "restore it from a backup of the lab directory";

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> String {
        issue::encryption_key().expect("a key").expose_text().expect("text").to_owned()
    }

    fn text(keys: &EncryptionKeys) -> String {
        keys.to_text().expose_text().expect("text").to_owned()
    }

    #[test]
    fn a_key_is_replaced_in_three_steps_and_the_next_one_has_a_name_of_its_own() {
        let (old, new) = (key(), key());
        let single = EncryptionKeys::parse(&format!("{old}\n")).expect("a lab's first key");
        assert_eq!((single.stage(), single.0[0].name()), (KeyStage::Single, "key1".into()));
        assert_eq!(text(&single), old, "as it always was");
        let readable = single.next(new.as_str().into());
        assert_eq!(
            (readable.stage(), text(&readable)),
            (KeyStage::Readable, format!("{old}\nkey2 {new}"))
        );
        let writing = readable.next(key().as_str().into());
        assert_eq!(
            (writing.stage(), text(&writing)),
            (KeyStage::Writing, format!("key2 {new}\n{old}"))
        );
        let settled = writing.next(key().as_str().into());
        assert_eq!((settled.stage(), text(&settled)), (KeyStage::Single, format!("key2 {new}")));
        let again = settled.next(old.as_str().into());
        assert_eq!(text(&again), format!("key2 {new}\nkey3 {old}"), "no name is used twice");
        for keys in [single, readable, writing, settled, again] {
            assert_eq!(EncryptionKeys::parse(&text(&keys)), Some(keys));
        }
    }

    #[test]
    fn what_a_node_has_gives_the_file_back() {
        let (old, new) = (key(), key());
        let config = format!(
            "providers:\n  - secretbox:\n      keys:\n        - name: key2\n          \
            secret: {new}\n        - name: key1\n          secret: \"{old}\"\n  - identity: {{}}\n"
        );
        let keys = EncryptionKeys::from_config(&config).expect("two keys");
        assert_eq!(text(&keys), format!("key2 {new}\n{old}"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = key();
        for bad in ["", "key1 ", "short", "key1 c2hvcnQ=", "other x", &format!("key0x {good}")] {
            assert_eq!(EncryptionKeys::parse(bad), None, "{bad}");
        }
        assert_eq!(EncryptionKeys::parse(&format!("{good}\n{good}")), None, "one name twice");
        let three = format!("{good}\nkey2 {good}\nkey3 {good}");
        assert_eq!(EncryptionKeys::parse(&three), None);
        assert_eq!(EncryptionKeys::from_config("name: key1\n"), None);
        assert_eq!(EncryptionKeys::from_config(""), None);
    }
}
