//! Masks what is secret in texts that leave this workstation: the lab's own keys wherever they are,
//! and whatever looks like a key, a token or a password.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::lab::LabDirectory;

/// What is there instead.
const REMOVED: &str = "[removed]";
/// Shorter parts of a key occur in other texts too.
const SHORTEST: usize = 16;
/// Words before a value that is secret; in small letters.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "client-key-data",
    "api-key",
    "apikey",
    "private-key",
    "auth",
    "identitytoken",
];

/// Knows a lab's secrets.
pub struct Mask {
    /// The longest first, so that no part of one stays.
    secrets: Vec<String>,
}

impl Mask {
    /// Of everything private in a lab directory.
    pub fn of(lab: &LabDirectory) -> Self {
        let mut secrets = BTreeSet::new();
        gather(&lab.pki(), &mut secrets);
        gather(&lab.root().join("ssh"), &mut secrets);
        let mut secrets: Vec<String> = secrets.into_iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// The text without secrets.
    pub fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REMOVED);
            }
        }
        let mut kept = String::new();
        let mut inside = false;
        for line in text.lines() {
            let begins = line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----");
            if begins {
                kept.push_str(REMOVED);
                kept.push('\n');
            }
            inside |= begins;
            if !inside {
                kept.push_str(&line_of(line));
                kept.push('\n');
            }
            if line.contains("-----END") {
                inside = false;
            }
        }
        kept
    }
}

/// The files of a directory that hold keys: their texts line by line, and as kubeconfigs have them.
fn gather(directory: &Path, secrets: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, secrets);
            continue;
        }
        let is_public = path.extension().is_some_and(|it| it == "crt" || it == "pub");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if is_public {
            continue;
        }
        secrets.insert(BASE64.encode(&text));
        let words = text.lines().filter(|line| !line.starts_with("-----"));
        let words = words.flat_map(str::split_whitespace).filter(|word| word.len() >= SHORTEST);
        secrets.extend(words.map(str::to_owned));
    }
}

/// A line without what looks like a secret.
fn line_of(line: &str) -> String {
    let line = named_values(line);
    let mut masked = String::new();
    let mut after_bearer = false;
    for word in line.split_inclusive([' ', '\t', '"', '\'', ',']) {
        let bare = word.trim_end_matches([' ', '\t', '"', '\'', ',']);
        let end = &word[bare.len()..];
        let is_token = bare.starts_with("eyJ") && bare.matches('.').count() == 2;
        // What a PEM file begins with, encoded: in kubeconfigs.
        let is_pem = bare.contains("LS0tLS1CRUdJTi");
        if is_token || is_pem || (after_bearer && !bare.is_empty()) {
            masked.push_str(REMOVED);
        } else {
            masked.push_str(&url(bare));
        }
        masked.push_str(end);
        after_bearer = ["Bearer", "bearer", "Basic"].contains(&bare);
    }
    masked
}

/// Masks values after names of secrets: `password: x`, `--token=x`, `"secret": "x"`.
fn named_values(line: &str) -> String {
    let small = line.to_ascii_lowercase();
    let mut masked = line.to_owned();
    // From the right, so that what is masked moves nothing that is still looked at.
    let mut ends: Vec<usize> = NAMES
        .iter()
        .flat_map(|name| small.match_indices(name).map(|(at, _)| at + name.len()))
        .collect();
    ends.sort_unstable();
    ends.dedup();
    for end in ends.into_iter().rev() {
        let Some(rest) = masked.get(end..) else { continue };
        let before = rest.trim_start_matches(['"', '\'', ' ', '\\']);
        let Some(text) = before.strip_prefix([':', '=']) else { continue };
        let value = value_at_the_start_of(text);
        if !value.is_empty() && !text[value.clone()].starts_with(['{', '[']) {
            let start = masked.len() - text.len();
            masked.replace_range(start + value.start..start + value.end, REMOVED);
        }
    }
    masked
}

/// Where the value is that a text begins with. One in quotes ends at the next quote with as many
/// backslashes before it: a text inside of another has some, and a quote that is part of the value
/// has more.
fn value_at_the_start_of(text: &str) -> Range<usize> {
    let rest = text.trim_start_matches(' ');
    let bare = rest.trim_start_matches('\\');
    let slashes = rest.len() - bare.len();
    let Some(quote) = bare.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        let length = rest.find([' ', '"', '\'', ',', '}']).unwrap_or(rest.len());
        return text.len() - rest.len()..text.len() - rest.len() + length;
    };
    let value = &bare[1..];
    let before = |at: usize| at - value[..at].trim_end_matches('\\').len();
    let end = value.match_indices(quote).map(|(at, _)| at).find(|at| before(*at) == slashes);
    let start = text.len() - value.len();
    start..start + end.map_or(value.len(), |end| end - slashes)
}

/// A URL without the user and the password in it.
fn url(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let host = rest.find('/').unwrap_or(rest.len());
    match rest[..host].rfind('@') {
        Some(at) => format!("{scheme}://{REMOVED}{}", &rest[at..]),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plants what a lab has of secrets into a text, in every form, and finds none of it.
    #[test]
    fn no_secret_of_a_lab_is_left() {
        let folder = tempfile::tempdir().expect("a directory");
        let lab = LabDirectory::new(folder.path());
        fs::create_dir_all(lab.pki().join("nodes/worker-0")).expect("a directory");
        let body = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        let key = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        let encryption = "c2VjcmV0IG9mIHRoZSBsYWIgaXMgMzIgYnl0ZXM=";
        fs::write(lab.pki().join("ca.key"), &key).expect("a file");
        fs::write(lab.pki().join("nodes/worker-0/kubelet.key"), &key).expect("a file");
        fs::write(lab.pki().join("encryption.key"), encryption).expect("a file");
        fs::write(lab.pki().join("ca.crt"), "certificates are public").expect("a file");
        let encoded = BASE64.encode(&key);
        let text = format!(
            "{key}after\nkey: {body}\nsecret: {encryption}\njournal {encryption} of it\n\
             client-key-data: {encoded}\nodd {encoded}\ncertificates are public\n"
        );
        let masked = Mask::of(&lab).masked(&text);
        for secret in [body, encryption, encoded.as_str(), "PRIVATE KEY"] {
            assert!(!masked.contains(secret), "{secret} in:\n{masked}");
        }
        assert!(masked.contains("\nafter\n"), "{masked}");
        assert!(masked.ends_with("certificates are public\n"), "{masked}");
    }

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        let mask = Mask { secrets: Vec::new() };
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl";
        for (line, expected) in [
            ("  password: hunter2", "  password: [removed]"),
            ("token=\"abc\", x", "token=\"[removed]\", x"),
            ("run --token=abc.def --v=2", "run --token=[removed] --v=2"),
            ("{\"auth\": \"dXNlcg==\"}", "{\"auth\": \"[removed]\"}"),
            // As a line of a journal is in a run's log.
            (r#"{"line":"password=\"hunter2\" x"}"#, r#"{"line":"password=\"[removed]\" x"}"#),
            (r#"{"line":"{\"auth\": \"dXNl\"}"}"#, r#"{"line":"{\"auth\": \"[removed]\"}"}"#),
            ("password: \"two words\" x", "password: \"[removed]\" x"),
            ("token: /abcdef", "token: [removed]"),
            (r"password=ab\cd x", "password=[removed] x"),
            (r#"password: "ab\cd" x"#, r#"password: "[removed]" x"#),
            (r#"password: "ab\"cd" x"#, r#"password: "[removed]" x"#),
            (r#"{"line":"password: \"a\\\"b\" x"}"#, r#"{"line":"password: \"[removed]\" x"}"#),
            ("password: '\"quoted\"' x", "password: '[removed]' x"),
            (r#"{"password": "", "user": "ann"}"#, r#"{"password": "", "user": "ann"}"#),
            ("token-auth-file=/etc/tokens", "token-auth-file=/etc/tokens"),
            ("Authorization: Bearer abc", "Authorization: Bearer [removed]"),
            (jwt, REMOVED),
            ("http://me:pw@proxy:3128/x", "http://[removed]@proxy:3128/x"),
            ("client-key-data: LS0tLS1CRUdJTi4=", "client-key-data: [removed]"),
            ("x LS0tLS1CRUdJTiBQUklW y", "x [removed] y"),
            ("become_password_file: /etc/pw", "become_password_file: /etc/pw"),
            ("--service-account-key-file=/a", "--service-account-key-file=/a"),
            ("https://10.0.0.1:6443/readyz", "https://10.0.0.1:6443/readyz"),
        ] {
            assert_eq!(mask.masked(line).trim_end_matches('\n'), expected, "{line}");
        }
    }
}
