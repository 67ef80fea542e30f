//! Decides whether a machine is the one it claims to be, from known_hosts files in OpenSSH's format
//! (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! Strict: a host that no file knows is refused, and so is one that shows another key than the
//! recorded one, of whatever type. russh's own helper is not used: it takes an unreadable file for
//! an empty one, knows no patterns or markers, and answers "unknown" when a known host comes with a
//! key of another type.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, parse_public_key_base64};
use sha1::Sha1;

use super::super::TransportError;

/// SSH's own port, the one that known_hosts leaves out.
const SSH_PORT: u16 = 22;

/// All that known_hosts files say of one host.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    host: String,
    port: u16,
    files: Vec<PathBuf>,
    keys: Vec<Entry>,
    /// Keys recorded for the host without its port: good enough to accept, as in OpenSSH, but no
    /// reason to refuse.
    portless: Vec<Entry>,
    revoked: Vec<Entry>,
    /// Whether a certificate authority is recorded for the host. Host certificates are never asked
    /// for.
    authority: bool,
}

/// One key, and where it is recorded.
#[derive(Debug, Clone)]
struct Entry {
    file: PathBuf,
    line: usize,
    key: PublicKey,
}

/// What a presented key is, measured by what is recorded.
#[derive(Debug)]
enum Verdict<'a> {
    Known,
    Unknown,
    Changed(&'a Entry),
    Revoked(&'a Entry),
}

impl Recorded {
    /// What `files` say of `host` at `port`. A file that does not exist says nothing.
    ///
    /// # Errors
    /// When a file cannot be read, or a line that is about this host makes no sense.
    pub(super) fn read(files: &[PathBuf], host: &str, port: u16) -> Result<Self, TransportError> {
        let mut recorded = Self {
            host: host.to_lowercase(),
            port,
            files: files.to_vec(),
            keys: Vec::new(),
            portless: Vec::new(),
            revoked: Vec::new(),
            authority: false,
        };
        for file in files {
            let failed = |why: String| TransportError {
                what: format!("look up the host key of {host}"),
                why,
                help: Some(
                    "host keys are checked against this file: make it readable, or mend the line"
                        .into(),
                ),
            };
            let content = match fs::read(file) {
                Ok(content) => content,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(failed(format!("cannot read {}: {error}", file.display())));
                }
            };
            for (index, line) in String::from_utf8_lossy(&content).lines().enumerate() {
                recorded.take_in(file, index + 1, line).map_err(|why| {
                    failed(format!("{} line {}: {why}", file.display(), index + 1))
                })?;
            }
        }
        Ok(recorded)
    }

    /// Adds one line, if it is about this host.
    fn take_in(&mut self, file: &Path, number: usize, line: &str) -> Result<(), String> {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let Some(patterns) = words.next().filter(|word| !word.starts_with('#')) else {
            return Ok(());
        };
        let full = known_hosts_name(&self.host, self.port);
        let exact = matches(patterns, &full);
        if !exact && !matches(patterns, &self.host) {
            return Ok(());
        }
        let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
            return Err("a host without a key".into());
        };
        match marker {
            Some("@cert-authority") => {
                self.authority = true;
                return Ok(());
            }
            None | Some("@revoked") => {}
            // A marker that later versions of OpenSSH may bring says something that is not
            // understood here.
            Some(other) => return Err(format!("unknown marker {other}")),
        }
        if !KINDS.contains(&kind) {
            // DSA, hardware-backed keys and whatever comes later are never asked for.
            return Ok(());
        }
        let key =
            parse_public_key_base64(encoded).map_err(|_| "the key cannot be decoded".to_owned())?;
        let entry = Entry { file: file.to_owned(), line: number, key };
        match marker {
            Some(_) => self.revoked.push(entry),
            None if exact => self.keys.push(entry),
            None => self.portless.push(entry),
        }
        Ok(())
    }

    /// The host key algorithms to ask for, the recorded ones first: a server with several keys then
    /// shows the one that can be checked. SHA-1 signatures are never asked for.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let is_recorded = |algorithm: &Algorithm| {
            self.keys
                .iter()
                .chain(&self.portless)
                .any(|entry| same_kind(&entry.key.algorithm(), algorithm))
        };
        let (mut first, rest): (Vec<_>, Vec<_>) =
            all_algorithms().into_iter().partition(is_recorded);
        first.extend(rest);
        first
    }

    fn judge(&self, presented: &PublicKey) -> Verdict<'_> {
        let same = |entry: &&Entry| entry.key.key_data() == presented.key_data();
        if let Some(entry) = self.revoked.iter().find(same) {
            return Verdict::Revoked(entry);
        }
        if self.keys.iter().chain(&self.portless).any(|entry| same(&entry)) {
            return Verdict::Known;
        }
        // The line to name is the one of the same type, when there is one.
        let changed = self
            .keys
            .iter()
            .find(|entry| same_kind(&entry.key.algorithm(), &presented.algorithm()));
        match changed.or(self.keys.first()) {
            Some(entry) => Verdict::Changed(entry),
            None => Verdict::Unknown,
        }
    }

    /// Accepts `presented` or says why not. With `accept_new` the key of an unknown host is written
    /// to the first of the files and accepted; a changed or revoked key never is.
    ///
    /// # Errors
    /// When the key is unknown, another than recorded, or revoked, or cannot be written down.
    pub(super) fn check(
        &self,
        place: &str,
        presented: &PublicKey,
        accept_new: bool,
    ) -> Result<(), TransportError> {
        let what = format!("check the host key of {place}");
        let name = known_hosts_name(&self.host, self.port);
        match self.judge(presented) {
            Verdict::Known => Ok(()),
            Verdict::Unknown if accept_new => {
                self.record(&name, presented).map_err(|error| TransportError {
                    what: format!("record the host key of {place}"),
                    why: error.to_string(),
                    help: None,
                })
            }
            Verdict::Unknown => {
                let files: Vec<_> =
                    self.files.iter().map(|file| file.display().to_string()).collect();
                let mut why =
                    format!("the host is unknown: no key for {name} in {}", files.join(" or "));
                if self.authority {
                    why.push_str(" (only a certificate authority, which labctl does not support)");
                }
                Err(TransportError {
                    what,
                    why: format!("{why}; it shows {}", print(presented)),
                    help: Some(self.how_to_record()),
                })
            }
            Verdict::Changed(entry) => Err(TransportError {
                what,
                why: format!(
                    "the host key has changed, or another machine answers in its place: {} line \
                    {} has {}, but it shows {}",
                    entry.file.display(),
                    entry.line,
                    print(&entry.key),
                    print(presented)
                ),
                help: Some(format!(
                    "if the machine was made anew, compare its key on its console, then forget \
                    the old one: \
                     ssh-keygen -R '{name}' -f {}",
                    entry.file.display()
                )),
            }),
            Verdict::Revoked(entry) => Err(TransportError {
                what,
                why: format!(
                    "the host key is revoked by {} line {}: {}",
                    entry.file.display(),
                    entry.line,
                    print(presented)
                ),
                help: Some(
                    "someone may hold a copy of this key: give the machine a new one".into(),
                ),
            }),
        }
    }

    fn how_to_record(&self) -> String {
        let port = if self.port == SSH_PORT { String::new() } else { format!("-p {} ", self.port) };
        let first = self.files.first().map(|file| file.display().to_string()).unwrap_or_default();
        format!(
            "compare the key with the one on the machine's console, then record it: log in once \
            with \
             `ssh {port}{host}`, or run `ssh-keyscan {port}{host} >> {first}`",
            host = self.host
        )
    }

    fn record(&self, name: &str, key: &PublicKey) -> io::Result<()> {
        let Some(file) = self.files.first() else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no known_hosts file to write to",
            ));
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // One write in append mode: nodes that are met at the same time do not mix their lines.
        let mut file =
            fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
        // A file that was written by hand may end in the middle of a line.
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        let end = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{end}{name} {}\n", bare(key)).as_bytes())
    }
}

/// The key types that are asked for, as known_hosts spells them.
const KINDS: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

fn all_algorithms() -> Vec<Algorithm> {
    vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ]
}

/// Whether a key of type `key` can sign with `algorithm`: an RSA key can with each of its hashes.
fn same_kind(key: &Algorithm, algorithm: &Algorithm) -> bool {
    matches!((key, algorithm), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. })) || key == algorithm
}

/// A key as messages show it: type and fingerprint, as `ssh-keygen -l` prints them.
fn print(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// A key as known_hosts has it: its type and the key itself.
pub(super) fn bare(key: &PublicKey) -> String {
    PublicKey::new(key.key_data().clone(), "").to_openssh().unwrap_or_default()
}

/// The name of a host in known_hosts: `host`, or `[host]:port` when the port is not 22.
fn known_hosts_name(host: &str, port: u16) -> String {
    if port == SSH_PORT { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// Whether a known_hosts line with these comma-separated patterns is about `name`: one matches, and
/// no `!` one does.
fn matches(patterns: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        if let Some(hashed) = pattern.strip_prefix("|1|") {
            found |= hash_matches(hashed, name);
        } else if let Some(pattern) = pattern.strip_prefix('!') {
            if glob(pattern.to_lowercase().as_bytes(), name.as_bytes()) {
                return false;
            }
        } else {
            found |= glob(pattern.to_lowercase().as_bytes(), name.as_bytes());
        }
    }
    found
}

/// Whether `salt|hash`, both in base64, is `name`: HMAC-SHA1 of the name under the salt.
fn hash_matches(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    Hmac::<Sha1>::new_from_slice(&salt)
        .is_ok_and(|mac| mac.chain_update(name).verify_slice(&hash).is_ok())
}

/// Whether `text` matches `pattern`, where `*` is any run of characters and `?` any one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to go on when a match fails: after the last star, with one more character given to it.
    let mut retry = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, from));
            }
            Some(symbol) if *symbol == b'?' || *symbol == text[from] => {
                at += 1;
                from += 1;
            }
            _ => match retry {
                Some((after, given)) => {
                    at = after;
                    from = given + 1;
                    retry = Some((after, from));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|symbol| *symbol == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
    const ECDSA: &str = "ecdsa-sha2-nistp256 \
        AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBMxBTpMIGvo7CnordO7w\
                         P0QQRqpBwUjOLl4CMhfucfE1sjTYyK5wmTl1UqoSDS1PtRVTBdl+0+9pquFb46U7fwg=";

    fn recorded(content: &str, host: &str, port: u16) -> Result<Recorded, TransportError> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(content.as_bytes()).expect("room for it");
        Recorded::read(&[file.path().to_owned()], host, port)
    }

    fn verdict(content: &str, host: &str, port: u16) -> &'static str {
        let key = PublicKey::from_openssh(ED25519).expect("a key");
        match recorded(content, host, port).expect("a readable file").judge(&key) {
            Verdict::Known => "known",
            Verdict::Unknown => "unknown",
            Verdict::Changed(_) => "changed",
            Verdict::Revoked(_) => "revoked",
        }
    }

    #[test]
    fn names_ports_and_patterns() {
        let cases = [
            ("node-0 KEY", "node-0", 22, "known"),
            ("NODE-0 KEY", "Node-0", 22, "known"),
            ("other,node-0 KEY comment", "node-0", 22, "known"),
            ("node-0\tKEY", "node-0", 22, "known"),
            ("  node-0 KEY", "node-0", 22, "known"),
            ("# node-0 KEY", "node-0", 22, "unknown"),
            ("#node-0 KEY", "node-0", 22, "unknown"),
            ("node-1 KEY", "node-0", 22, "unknown"),
            ("[node-0]:2222 KEY", "node-0", 2222, "known"),
            ("[node-0]:2222 KEY", "node-0", 22, "unknown"),
            ("node-0 KEY", "node-0", 2222, "known"),
            ("node-0 OTHER", "node-0", 2222, "unknown"),
            ("*.example.org KEY", "a.example.org", 22, "known"),
            ("10.240.0.?? KEY", "10.240.0.10", 22, "known"),
            ("10.240.0.?? KEY", "10.240.0.5", 22, "unknown"),
            ("*,!node-0 KEY", "node-0", 22, "unknown"),
            ("!node-1,node-* KEY", "node-0", 22, "known"),
            ("[10.*]:22?2 KEY", "10.0.0.1", 2222, "known"),
            ("node-0 OTHER", "node-0", 22, "changed"),
            ("node-0 ECDSA", "node-0", 22, "changed"),
            ("node-0 OTHER\nnode-0 KEY", "node-0", 22, "known"),
            ("node-0 KEY\n@revoked * KEY", "node-0", 22, "revoked"),
            ("node-0 KEY\n@revoked * OTHER", "node-0", 22, "known"),
            ("@cert-authority * KEY", "node-0", 22, "unknown"),
            ("@cert-authority * KEY\nnode-0 OTHER", "node-0", 22, "changed"),
            ("node-0 ssh-dss AAAAB3NzaC1kc3MAAACB", "node-0", 22, "unknown"),
            ("node-1 nonsense", "node-0", 22, "unknown"),
        ];
        for (content, host, port, expected) in cases {
            let content =
                content.replace("KEY", ED25519).replace("OTHER", OTHER).replace("ECDSA", ECDSA);
            assert_eq!(verdict(&content, host, port), expected, "{host}:{port} with {content}");
        }
    }

    #[test]
    fn hashed_names() {
        // Made by `ssh-keygen -H`.
        let line =
            format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {ED25519}");
        assert_eq!(verdict(&line, "example.com", 22), "known");
        assert_eq!(verdict(&line, "example.org", 22), "unknown");
        assert_eq!(verdict(&format!("|1|broken {ED25519}"), "example.org", 22), "unknown");
    }

    #[test]
    fn the_recorded_type_is_asked_for_first() {
        let recorded = recorded(&format!("node-0 {ECDSA}"), "node-0", 22).expect("a readable file");
        let algorithms = recorded.algorithms();
        assert_eq!(algorithms[0], Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
        assert_eq!(algorithms.len(), all_algorithms().len());
        assert!(!algorithms.contains(&Algorithm::Rsa { hash: None }), "SHA-1 is never asked for");
    }

    #[test]
    fn a_line_about_the_host_that_makes_no_sense_is_an_error() {
        for line in ["node-0", "node-0 ssh-ed25519 %%%", "@new node-0 ssh-ed25519 AAAA"] {
            let error = recorded(line, "node-0", 22).expect_err(line);
            assert!(error.why.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_empty() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = Recorded::read(&[folder.path().to_owned()], "node-0", 22)
            .expect_err("a folder is no file");
        assert!(error.why.starts_with("cannot read"), "{error}");
        assert!(Recorded::read(&[folder.path().join("none")], "node-0", 22).is_ok());
    }

    #[test]
    fn a_new_key_is_recorded_once_and_known_from_then_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = [folder.path().join("lab/known_hosts")];
        let key = PublicKey::from_openssh(ED25519).expect("a key");
        let other = PublicKey::from_openssh(OTHER).expect("a key");
        Recorded::read(&files, "node-0", 2222)
            .and_then(|r| r.check("node-0", &key, true))
            .expect("recorded");
        assert_eq!(
            fs::read_to_string(&files[0]).expect("a file"),
            format!("[node-0]:2222 {ED25519}\n")
        );
        let recorded = Recorded::read(&files, "node-0", 2222).expect("readable");
        recorded.check("node-0", &key, false).expect("known");
        recorded.check("node-0", &other, true).expect_err("a changed key is never recorded");
    }
}
