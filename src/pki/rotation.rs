//! Rotation: the stage of the CAs and the service account key, and the steps from one stage to the
//! next (pure).
//!
//! The contents of the pki directory define the stage, and the stage alone defines what a node
//! should have, so that `up` converges to whichever stage a rotation is in:
//!
//! | stage | in the directory | what nodes have |
//! |---|---|---|
//! | settled | `NAME.crt`, `NAME.key` | the one CA |
//! | trust | `NAME-next.*` and `sa-next.key` too | the new CA is trusted beside the old, which still signs |
//! | replace | next has become `NAME.*`; `NAME-old.crt`, `sa-old.pub` are left of the old | the new CA signs, the old one is still trusted |
//! | drop | the old files are gone, and `rotation-ends` is there until every node knows | the one CA, the new one |
//!
//! After the last stage the lab is settled again. Steps may be interrupted between any two: the
//! result is either a stage, or [`unfinished`] returns the remaining steps.

use std::collections::BTreeMap;

use super::list::{SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY};
use super::spec::{CA, ETCD_CA, FRONT_PROXY_CA};
use crate::secret::Secret;

/// The CAs, which are rotated together.
pub const AUTHORITIES: [&str; 3] = [CA, ETCD_CA, FRONT_PROXY_CA];
/// The service account key that signs from the next stage on.
pub const NEXT_SERVICE_ACCOUNT_KEY: &str = "sa-next.key";
/// The public half of the previous service account key.
pub const OLD_SERVICE_ACCOUNT_PUBLIC_KEY: &str = "sa-old.pub";

/// Exists while old files are deleted here but may not be from every node.
pub const DROPPING: &str = "rotation-ends";

/// Files in the pki directory, by name.
pub type PkiContent = BTreeMap<String, Secret>;

/// The stage of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// There is no rotation.
    #[default]
    Settled,
    /// The new CAs and key are trusted beside the old ones, which still sign.
    Trust,
    /// The new CAs and key sign; the old ones are still trusted.
    Replace,
    /// Only the new ones are left, and the nodes are being updated.
    Drop,
}

/// One atomic change of the pki directory.
#[derive(Clone, PartialEq, Eq)]
pub enum FileChange {
    /// Writes a file with this content.
    Write(String, Secret),
    /// Renames a file, replacing another.
    Rename(String, String),
    /// Removes a file.
    Remove(String),
}

impl std::fmt::Debug for FileChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Contents are keys, so do not print them.
        match self {
            FileChange::Write(name, _) => write!(f, "write {name}"),
            FileChange::Rename(from, to) => write!(f, "rename {from} to {to}"),
            FileChange::Remove(name) => write!(f, "remove {name}"),
        }
    }
}

/// Returns the file name of the next certificate of `ca`.
pub fn next_certificate(ca: &str) -> String {
    format!("{ca}-next.crt")
}

/// Returns the file name of the next key of `ca`.
pub fn next_key(ca: &str) -> String {
    format!("{ca}-next.key")
}

/// Returns the file name of the previous certificate of `ca`.
pub fn old_certificate(ca: &str) -> String {
    format!("{ca}-old.crt")
}

/// Returns every file name that only a rotation uses.
pub fn names() -> impl Iterator<Item = String> {
    let of_cas =
        AUTHORITIES.iter().flat_map(|ca| [next_certificate(ca), next_key(ca), old_certificate(ca)]);
    of_cas.chain(
        [NEXT_SERVICE_ACCOUNT_KEY, OLD_SERVICE_ACCOUNT_PUBLIC_KEY, DROPPING].map(str::to_owned),
    )
}

/// Returns the stage of a directory; a partly executed step, which [`unfinished`] completes, counts
/// as done.
pub fn stage(content: &PkiContent) -> Stage {
    if content.contains_key(DROPPING) {
        Stage::Drop
    } else if old_names().any(|name| content.contains_key(&name)) {
        Stage::Replace
    } else if next_names().any(|name| content.contains_key(&name)) {
        Stage::Trust
    } else {
        Stage::Settled
    }
}

/// Returns the rest of an interrupted step.
pub fn unfinished(content: &PkiContent) -> Vec<FileChange> {
    match stage(content) {
        // The first old file is written before anything else, so next and old files only exist
        // together in between.
        Stage::Replace => replace(content),
        Stage::Drop => removed(content),
        Stage::Settled | Stage::Trust => Vec::new(),
    }
}

/// Returns the steps from trust to replace: every next CA and key replaces the old one.
pub fn replace(content: &PkiContent) -> Vec<FileChange> {
    let mut steps = Vec::new();
    let has = |name: &str| content.contains_key(name);
    for ca in AUTHORITIES {
        let (next, key, old) = (next_certificate(ca), next_key(ca), old_certificate(ca));
        if has(&next) {
            if !has(&old)
                && let Some(current) = content.get(&format!("{ca}.crt"))
            {
                steps.push(FileChange::Write(old, current.clone()));
            }
            // The key is renamed first, so that a certificate that is still called next shows that
            // this one is not done.
            if has(&key) {
                steps.push(FileChange::Rename(key, format!("{ca}.key")));
            }
            steps.push(FileChange::Rename(next, format!("{ca}.crt")));
        }
    }
    if has(NEXT_SERVICE_ACCOUNT_KEY) {
        if !has(OLD_SERVICE_ACCOUNT_PUBLIC_KEY)
            && let Some(current) = content.get(SERVICE_ACCOUNT_PUBLIC_KEY)
        {
            steps.push(FileChange::Write(
                OLD_SERVICE_ACCOUNT_PUBLIC_KEY.to_owned(),
                current.clone(),
            ));
        }
        steps.push(FileChange::Rename(
            NEXT_SERVICE_ACCOUNT_KEY.to_owned(),
            SERVICE_ACCOUNT_KEY.to_owned(),
        ));
    }
    steps
}

/// Returns the steps from replace to drop: nothing may trust the old CAs and key any more.
pub fn drop_old(content: &PkiContent) -> Vec<FileChange> {
    let note = "The old CAs are deleted here; `labctl certs rotate-ca` makes sure that no node \
        has them.\n";
    [FileChange::Write(DROPPING.to_owned(), note.into())]
        .into_iter()
        .chain(removed(content))
        .collect()
}

/// Returns the steps from drop to settled.
pub fn settle() -> Vec<FileChange> {
    vec![FileChange::Remove(DROPPING.to_owned())]
}

fn removed(content: &PkiContent) -> Vec<FileChange> {
    old_names().filter(|name| content.contains_key(name)).map(FileChange::Remove).collect()
}

/// Applies `steps` to a directory.
pub fn apply(content: &mut PkiContent, steps: &[FileChange]) {
    for step in steps {
        match step {
            FileChange::Write(name, bytes) => {
                content.insert(name.clone(), bytes.clone());
            }
            FileChange::Rename(from, to) => {
                if let Some(bytes) = content.remove(from) {
                    content.insert(to.clone(), bytes);
                }
            }
            FileChange::Remove(name) => {
                content.remove(name);
            }
        }
    }
}

/// Returns the certificates to trust for `ca`, the one that signs first.
pub fn trusted(content: &PkiContent, ca: &str) -> Option<Vec<u8>> {
    let issuing = content.get(&format!("{ca}.crt"))?;
    let others = [next_certificate(ca), old_certificate(ca)];
    Some(joined([issuing].into_iter().chain(others.iter().filter_map(|name| content.get(name)))))
}

/// Joins PEM files without duplicates, each ending with a line end.
pub fn joined<'a>(files: impl Iterator<Item = &'a Secret>) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for file in files {
        let file = file.expose().trim_ascii_end();
        if !file.is_empty() && !parts.contains(&file) {
            parts.push(file);
        }
    }
    // A single file is unchanged, to the last byte.
    let mut joined = parts.join(&b'\n');
    joined.push(b'\n');
    joined
}

fn old_names() -> impl Iterator<Item = String> {
    AUTHORITIES
        .iter()
        .map(|ca| old_certificate(ca))
        .chain([OLD_SERVICE_ACCOUNT_PUBLIC_KEY.to_owned()])
}

fn next_names() -> impl Iterator<Item = String> {
    let of_cas = AUTHORITIES.iter().flat_map(|ca| [next_key(ca), next_certificate(ca)]);
    of_cas.chain([NEXT_SERVICE_ACCOUNT_KEY.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[(&str, &str)]) -> PkiContent {
        names.iter().map(|(name, text)| ((*name).to_owned(), format!("{text}\n").into())).collect()
    }

    fn settled() -> PkiContent {
        let mut content = folder(&[("sa.key", "k0"), ("sa.pub", "p0")]);
        for ca in AUTHORITIES {
            content.extend(folder(&[
                (&format!("{ca}.crt"), &format!("{ca} 0")),
                (&format!("{ca}.key"), "key 0"),
            ]));
        }
        content
    }

    fn trust() -> PkiContent {
        let mut content = settled();
        content.extend(folder(&[("sa-next.key", "k1")]));
        for ca in AUTHORITIES {
            content.extend(folder(&[
                (&next_certificate(ca), &format!("{ca} 1")),
                (&next_key(ca), "key 1"),
            ]));
        }
        content
    }

    fn after(mut content: PkiContent, steps: &[FileChange]) -> PkiContent {
        apply(&mut content, steps);
        content
    }

    #[test]
    fn a_rotation_goes_through_its_stages_and_ends_settled() {
        assert_eq!(stage(&settled()), Stage::Settled);
        assert_eq!(stage(&trust()), Stage::Trust);
        assert_eq!(trusted(&trust(), CA).expect("a bundle"), b"ca 0\nca 1\n");
        let replaced = after(trust(), &replace(&trust()));
        assert_eq!(stage(&replaced), Stage::Replace);
        assert_eq!(trusted(&replaced, CA).expect("a bundle"), b"ca 1\nca 0\n");
        assert_eq!(
            (replaced["ca.key"].expose(), replaced["sa.key"].expose()),
            (&b"key 1\n"[..], &b"k1\n"[..])
        );
        assert_eq!(replaced[OLD_SERVICE_ACCOUNT_PUBLIC_KEY].expose(), b"p0\n");
        assert_eq!(unfinished(&replaced), []);
        let dropped = after(replaced.clone(), &drop_old(&replaced));
        assert_eq!(stage(&dropped), Stage::Drop);
        let dropped = after(dropped, &settle());
        assert_eq!(stage(&dropped), Stage::Settled);
        assert_eq!(trusted(&dropped, ETCD_CA).expect("a bundle"), b"etcd/ca 1\n");
        assert_eq!(dropped.keys().collect::<Vec<_>>(), settled().keys().collect::<Vec<_>>());
    }

    #[test]
    fn replacing_can_be_interrupted_between_any_two_files() {
        let steps = replace(&trust());
        let whole = after(trust(), &steps);
        for done in 1..=steps.len() {
            let cut = after(trust(), &steps[..done]);
            assert_eq!(stage(&cut), Stage::Replace, "after {:?}", &steps[..done]);
            // The remaining steps may be interrupted too.
            for again in 0..=unfinished(&cut).len() {
                let twice = after(cut.clone(), &unfinished(&cut)[..again]);
                assert_eq!(
                    after(twice.clone(), &unfinished(&twice)),
                    whole,
                    "after {done} and {again} steps"
                );
            }
        }
    }

    #[test]
    fn dropping_can_be_interrupted_between_any_two_files() {
        let replaced = after(trust(), &replace(&trust()));
        let steps = drop_old(&replaced);
        let whole = after(replaced.clone(), &steps);
        for done in 1..=steps.len() {
            let cut = after(replaced.clone(), &steps[..done]);
            assert_eq!(stage(&cut), Stage::Drop);
            assert_eq!(after(cut.clone(), &unfinished(&cut)), whole, "after {done} steps");
        }
    }

    #[test]
    fn a_partial_start_trusts_the_finished_cas() {
        let mut begun = settled();
        begun.extend(folder(&[("ca-next.key", "key 1")]));
        assert_eq!((stage(&begun), unfinished(&begun)), (Stage::Trust, Vec::new()));
        assert_eq!(trusted(&begun, CA).expect("a bundle"), b"ca 0\n");
    }

    #[test]
    fn no_step_shows_what_it_writes() {
        let shown = format!("{:?}", replace(&trust()));
        assert!(shown.contains("write ca-old.crt") && !shown.contains("ca 0"), "{shown}");
    }
}
