//! known_hosts files in OpenSSH's format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): what they say of
//! one host.
//!
//! russh's own helper is not used: it takes an unreadable file for an empty one, and knows no
//! patterns or markers.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{PublicKey, parse_public_key_base64};
use sha1::Sha1;

use super::super::TransportError;

/// SSH's default port, which known_hosts omits.
pub const SSH_PORT: u16 = 22;

/// The requested key types in known_hosts format.
const KINDS: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// Everything that known_hosts files contain about one host.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) files: Vec<PathBuf>,
    pub(super) keys: Vec<Entry>,
    /// Keys recorded for the host without its port: sufficient to accept, as in OpenSSH, but no
    /// reason to refuse.
    pub(super) portless: Vec<Entry>,
    pub(super) revoked: Vec<Entry>,
    /// The authorities whose certificates are good for the host.
    pub(super) authorities: Vec<Entry>,
}

/// A key and where it is recorded.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) key: PublicKey,
}

impl Recorded {
    /// Returns what `files` contain about `host` at `port`. A file that does not exist is empty.
    ///
    /// # Errors
    /// If a file cannot be read, or a line about this host is invalid.
    pub fn read(files: &[PathBuf], host: &str, port: u16) -> Result<Self, TransportError> {
        let mut recorded = Self {
            host: host.to_lowercase(),
            port,
            files: files.to_vec(),
            keys: Vec::new(),
            portless: Vec::new(),
            revoked: Vec::new(),
            authorities: Vec::new(),
        };
        for file in files {
            let failed = |why: String| TransportError {
                what: format!("look up the host key of {host}"),
                why,
                help: Some(
                    "host keys are checked against this file: make it readable, or fix the line"
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
        let exact = is_about(patterns, &known_hosts_name(&self.host, self.port));
        if !exact && (self.port == SSH_PORT || !is_about(patterns, &self.host)) {
            return Ok(());
        }
        let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
            return Err("a host without a key".into());
        };
        match marker {
            None | Some("@revoked" | "@cert-authority") => {}
            // The meaning of a marker from a later version of OpenSSH is unknown.
            Some(other) => return Err(format!("unknown marker {other}")),
        }
        if !KINDS.contains(&kind) {
            // DSA, hardware-backed keys and later types are never requested.
            return Ok(());
        }
        let key =
            parse_public_key_base64(encoded).map_err(|_| "the key cannot be decoded".to_owned())?;
        let entry = Entry { file: file.to_owned(), line: number, key };
        match marker {
            Some("@cert-authority") => self.authorities.push(entry),
            Some(_) => self.revoked.push(entry),
            None if exact => self.keys.push(entry),
            None => self.portless.push(entry),
        }
        Ok(())
    }

    /// How the files name the host.
    pub(super) fn name(&self) -> String {
        known_hosts_name(&self.host, self.port)
    }

    /// Writes `key` down for the host, in the first of the files.
    pub(super) fn record(&self, key: &PublicKey) -> io::Result<()> {
        let Some(file) = self.files.first() else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "there is no known_hosts file to write to",
            ));
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // One write in append mode, so that concurrent connections do not mix their lines.
        let mut file =
            fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
        // A manually edited file may end without a newline.
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        let end = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{end}{} {}\n", self.name(), bare(key)).as_bytes())
    }
}

/// Formats a key for known_hosts: its type and the key itself.
pub(super) fn bare(key: &PublicKey) -> String {
    PublicKey::new(key.key_data().clone(), "").to_openssh().unwrap_or_default()
}

/// Returns the name of a host in known_hosts: `host`, or `[host]:port` if the port is not 22.
pub fn known_hosts_name(host: &str, port: u16) -> String {
    if port == SSH_PORT { host.to_owned() } else { format!("[{host}]:{port}") }
}

/// Whether a known_hosts line with these comma-separated patterns is about `name`: one matches, and
/// no negated (`!`) one does.
fn is_about(patterns: &str, name: &str) -> bool {
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

/// Whether `salt|hash`, both in base64, is the HMAC-SHA1 of `name` with the salt.
fn hash_matches(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    Hmac::<Sha1>::new_from_slice(&salt)
        .is_ok_and(|mac| mac.chain_update(name).verify_slice(&hash).is_ok())
}

/// Whether `text` matches `pattern`, in which `*` is any number of characters and `?` is one.
pub(super) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to resume when a match fails: after the last star, which then matches one more
    // character.
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
