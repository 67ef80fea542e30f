//! Previews of changes: the lines that differ, new values, and the files because of which a unit
//! restarts. Secret content is never shown.

use similar::TextDiff;

use super::Change;
use crate::event::{ChangeKind, NewValue, Preview};
use crate::module::file::{Content, File};
use crate::module::probe::PathFact;
use crate::module::{Desired, Facts};
use crate::pki::inspect::Certificate;

/// Number of context lines around a difference.
const CONTEXT: usize = 3;

/// Number of characters of a checksum to show.
const SHORT: usize = 12;

/// Returns a preview of a change of this kind, for a task that is not as desired.
pub(super) fn preview(desired: &Desired, kind: ChangeKind, facts: &Facts) -> Preview {
    match desired {
        Desired::File(file) => Preview { kind, ..of_file(file, facts) },
        Desired::Unit(unit) => {
            Preview { kind, because: unit.not_taken_up(facts), ..Preview::default() }
        }
        Desired::KubectlApply(apply) => {
            let old = facts.other_texts.get(&apply.path());
            let diff = old.zip(apply.manifest.text()).map(|(old, new)| unified(old, new));
            let diff = diff.filter(|_| !apply.sensitive);
            Preview { kind, diff, secret: apply.sensitive, ..Preview::default() }
        }
        _ => Preview { kind, ..Preview::default() },
    }
}

/// Returns the whole text of a new file, as a difference from nothing.
pub(super) fn of_new_text(change: &Change) -> Option<String> {
    let made = change.preview.kind == ChangeKind::Make && !change.preview.secret;
    let [(_, bytes)] = &*change.actions.payloads else { return None };
    let text = std::str::from_utf8(bytes).ok().filter(|text| made && !is_pem(text))?;
    Some(unified("", text)).filter(|diff| !diff.is_empty())
}

fn of_file(file: &File, facts: &Facts) -> Preview {
    let secret = file.sensitive || !everyone_reads(&file.mode);
    let Some(found) = facts.paths.get(&file.path) else {
        let size = NewValue {
            what: "size".to_owned(),
            from: None,
            to: content_size(&file.content).to_string(),
        };
        return Preview { values: vec![size], secret, ..Preview::default() };
    };
    let mut values = Vec::new();
    let mut differs = |what: &str, from: &str, to: &str| {
        if from != to {
            values.push(NewValue {
                what: what.to_owned(),
                from: Some(from.to_owned()),
                to: to.to_owned(),
            });
        }
    };
    differs("mode", &found.mode, &file.mode);
    differs("owner", &found.owner, &file.owner);
    if !content_differs(file, found) {
        return Preview { values, ..Preview::default() };
    }
    let old = facts.other_texts.get(&file.path).map(String::as_str);
    let secret = secret
        || !everyone_reads(&found.mode)
        || old.is_some_and(|old| old.contains("PRIVATE KEY-----"));
    let mut diff = None;
    match (&file.content, old) {
        _ if secret => {}
        (Content::Blob(blob), _) => {
            let short = |sha256: &str| sha256.get(..SHORT).unwrap_or(sha256).to_owned();
            differs(
                "sha256",
                &found.sha256.as_deref().map(short).unwrap_or_default(),
                &short(&blob.sha256),
            );
            differs("size", &found.size.to_string(), &blob.size.to_string());
        }
        (content, Some(old)) => match content.text() {
            // The text of a certificate is meaningless to a reader; its expiry is not.
            Some(new) if is_pem(new) => differs("valid until", &last_day(old), &last_day(new)),
            Some(new) => diff = Some(unified(old, new)),
            None => {}
        },
        (content, None) => {
            differs("size", &found.size.to_string(), &content_size(content).to_string())
        }
    }
    Preview { values, secret, diff, ..Preview::default() }
}

fn content_differs(file: &File, found: &PathFact) -> bool {
    found.kind.starts_with("regular") && found.sha256.as_deref() != Some(file.content.sha256())
}

/// Whether the mode lets every user of the node read the file. Otherwise its text is not shown here
/// either.
fn everyone_reads(mode: &str) -> bool {
    mode.ends_with(['4', '5', '6', '7'])
}

fn is_pem(text: &str) -> bool {
    text.starts_with("-----BEGIN ")
}

fn last_day(pem: &str) -> String {
    match Certificate::from_pem(pem.as_bytes()) {
        Ok(certificate) => certificate.not_after.date().to_string(),
        Err(problem) => problem,
    }
}

fn content_size(content: &Content) -> u64 {
    match content {
        Content::Inline { bytes, .. } => bytes.len() as u64,
        Content::Blob(blob) => blob.size,
    }
}

/// Compares two texts like `diff -u`, without the lines with the file names.
fn unified(old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new).unified_diff().context_radius(CONTEXT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::State;
    use crate::module::file::Blob;
    use crate::module::probe::unit_record;
    use crate::module::unit::{OnChange, Unit, Used};

    fn file(content: Content) -> File {
        let (path, mode, owner) = ("/etc/x".to_owned(), "644".to_owned(), "root:root".to_owned());
        File { path, mode, owner, content, sensitive: false, origin: "x".to_owned() }
    }

    /// Returns facts with other content at /etc/x, with this mode.
    fn found(mode: &str, text: &str) -> Facts {
        let (kind, owner, size) =
            ("regular file".to_owned(), "root:root".to_owned(), text.len() as u64);
        let fact = PathFact {
            kind,
            mode: mode.to_owned(),
            owner,
            size,
            sha256: Some("0123456789abcdef".to_owned()),
        };
        let mut facts = Facts::default();
        facts.paths.insert("/etc/x".to_owned(), fact);
        facts.other_texts.insert("/etc/x".to_owned(), text.to_owned());
        facts
    }

    fn seen(desired: Desired, facts: &Facts) -> Preview {
        let kind = desired.diff(facts).expect("it differs").kind;
        preview(&desired, kind, facts)
    }

    fn values(preview: &Preview) -> Vec<String> {
        let value = |value: &NewValue| {
            format!("{} {} -> {}", value.what, value.from.as_deref().unwrap_or_default(), value.to)
        };
        preview.values.iter().map(value).collect()
    }

    #[test]
    fn differing_lines_of_a_text_are_shown() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = old.replace('5', "five");
        let preview =
            seen(Desired::File(file(Content::inline(new.as_bytes()))), &found("644", old));
        let diff = "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(preview.diff.as_deref(), Some(diff));
        assert_eq!(
            (preview.kind, preview.secret, values(&preview).len()),
            (ChangeKind::Alter, false, 0)
        );
        let preview = seen(Desired::File(file(Content::inline(&b"a"[..]))), &found("644", "b\n"));
        let diff = preview.diff.expect("a difference");
        assert_eq!(diff, "@@ -1 +1 @@\n-b\n+a\n\\ No newline at end of file\n");
    }

    #[test]
    fn only_the_mode_of_a_secret_is_shown() {
        let secret = |file: File, facts: &Facts| {
            let preview = seen(Desired::File(file), facts);
            assert!(preview.secret && preview.diff.is_none(), "{preview:?}");
            assert!(!format!("{preview:?}").contains("hidden"), "{preview:?}");
            values(&preview)
        };
        let hidden = || Content::inline(&b"hidden\n"[..]);
        let sensitive = File { sensitive: true, mode: "600".to_owned(), ..file(hidden()) };
        assert_eq!(secret(sensitive.clone(), &found("644", "hidden too\n")), ["mode 644 -> 600"]);
        assert_eq!(secret(sensitive, &Facts::default()), ["size  -> 7"]);
        // These are not marked as secret, but not everyone on the node may read them.
        assert!(
            secret(file(hidden()), &found("640", "hidden too\n"))
                .contains(&"mode 640 -> 644".to_owned())
        );
        secret(File { mode: "600".to_owned(), ..file(hidden()) }, &found("644", "x"));
        secret(file(hidden()), &found("644", "-----BEGIN PRIVATE KEY-----\nhidden\n"));
    }

    #[test]
    fn another_mode_alone_shows_no_content() {
        let mut facts = found("600", "");
        let desired = Desired::File(file(Content::inline(&b"same"[..])));
        desired.settle(&mut facts);
        facts.paths.get_mut("/etc/x").expect("a file").mode = "600".to_owned();
        let preview = seen(desired, &facts);
        assert_eq!(
            (values(&preview), preview.diff, preview.secret),
            (vec!["mode 600 -> 644".to_owned()], None, false)
        );
    }

    #[test]
    fn a_binary_is_shown_by_checksum_and_size() {
        let blob = Blob {
            sha256: "fedcba9876543210".into(),
            size: 9,
            source: "/b".into(),
            name: "b".into(),
        };
        let binary = File { mode: "755".to_owned(), ..file(Content::Blob(blob)) };
        let facts = found("755", "\u{7f}ELF");
        let preview = seen(Desired::File(binary), &facts);
        let expected = ["sha256 0123456789ab -> fedcba987654", "size 4 -> 9"];
        assert_eq!((values(&preview), preview.diff), (expected.map(str::to_owned).to_vec(), None));
    }

    #[test]
    fn a_unit_lists_the_files_that_cause_its_restart() {
        let used =
            |path: &str, sha256: &str| Used { path: path.to_owned(), sha256: sha256.to_owned() };
        let unit = |uses: &[Used]| {
            let (name, uses) = ("x.service".to_owned(), uses.to_vec());
            Desired::Unit(Unit {
                name,
                started: true,
                enabled: true,
                on_change: OnChange::Restart,
                uses,
                leaves: Vec::new(),
            })
        };
        let mut facts = Facts::default();
        unit(&[used("/a", "1"), used("/b", "2"), used("/gone", "3")]).settle(&mut facts);
        let now = unit(&[used("/a", "1"), used("/b", "9"), used("/new", "4")]);
        let preview = seen(now.clone(), &facts);
        assert_eq!(preview.kind, ChangeKind::Restart);
        assert_eq!(preview.because, ["/b changed", "/new is new to it", "/gone is no longer used"]);
        facts.texts.remove(&unit_record("x.service"));
        let preview = seen(now.clone(), &facts);
        assert_eq!((preview.kind, preview.because.len()), (ChangeKind::Restart, 0));
        assert_eq!(seen(now, &Facts::default()).kind, ChangeKind::Start);
    }
}
