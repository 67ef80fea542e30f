//! Key files: what is in them, and whether it can be used.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey, decode_secret_key};

use super::super::TransportError;
use super::known_hosts::bare;
use crate::secret::Secret;

/// A key pair for the duration of one run.
pub struct TemporaryKey {
    /// The private half, in OpenSSH's format.
    pub private: String,
    /// The public half in authorized_keys format, without a comment.
    pub public: String,
}

impl TemporaryKey {
    /// A new one.
    ///
    /// # Errors
    /// If it cannot be written in OpenSSH's format.
    pub fn new() -> Result<Self, TransportError> {
        let failed = |error: russh::keys::ssh_key::Error| TransportError {
            what: "make a key for this run".to_owned(),
            why: error.to_string(),
            help: None,
        };
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).map_err(failed)?;
        let private = key.to_openssh(LineEnding::LF).map_err(failed)?.as_str().to_owned();
        Ok(Self { private, public: bare(key.public_key()) })
    }
}

/// A key file, opened.
pub(super) enum Opened {
    Key(Box<PrivateKey>),
    /// Locked with a passphrase; the public half can be read in OpenSSH's own format, or lies
    /// beside it.
    Locked(Option<PublicKey>),
    /// Only the public half: it selects one of the agent's keys.
    Public(Box<PublicKey>),
}

/// Opens a key file.
pub(super) fn open(file: &Path) -> io::Result<Opened> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let text = match fs::read_to_string(file) {
        // The private half may be in an agent only, as OpenSSH has it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return beside(file, ".pub").map(Box::new).map(Opened::Public).ok_or(error);
        }
        other => other?,
    };
    let locked = || PrivateKey::from_openssh(&text).ok().map(|key| key.public_key().clone());
    let opened = match decode_secret_key(&text, None) {
        Ok(key) => Opened::Key(Box::new(key)),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            Opened::Locked(locked().or_else(|| beside(file, ".pub")))
        }
        Err(_) if text.contains("ENCRYPTED") => Opened::Locked(beside(file, ".pub")),
        Err(error) => match PublicKey::from_openssh(text.trim()) {
            Ok(public) => return Ok(Opened::Public(Box::new(public))),
            // The private half of a security key is in its hardware, and an agent speaks to that.
            Err(_) => match beside(file, ".pub").filter(|_| text.contains("PRIVATE KEY")) {
                Some(public) => return Ok(Opened::Public(Box::new(public))),
                None => return Err(invalid(format!("not a private key: {error}"))),
            },
        },
    };
    let metadata = fs::metadata(file)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 && metadata.uid() == rustix::process::getuid().as_raw() {
        let name = file.display();
        return Err(invalid(format!("others may read it (mode {mode:03o}): chmod 600 {name}")));
    }
    Ok(opened)
}

/// The key of a locked file; none when the passphrase is another.
pub(super) fn unlocked(file: &Path, passphrase: &Secret) -> Option<PrivateKey> {
    let text = fs::read_to_string(file).ok()?;
    decode_secret_key(&text, Some(passphrase.expose_text()?)).ok()
}

/// The public key in the file whose name has `ending` after that of `file`.
fn beside(file: &Path, ending: &str) -> Option<PublicKey> {
    let text = fs::read_to_string(with_ending(file, ending)).ok()?;
    PublicKey::from_openssh(text.trim()).ok()
}

fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The certificate for `key`, which was found in `file`: the one that lies beside it
/// (`KEY-cert.pub`), or one of `others`.
pub(super) fn certificate(file: &Path, others: &[PathBuf], key: &PublicKey) -> Option<Certificate> {
    let private = file.to_string_lossy();
    let private = Path::new(private.strip_suffix(".pub").unwrap_or(&private));
    std::iter::once(with_ending(private, "-cert.pub"))
        .chain(others.iter().cloned())
        .filter_map(|file| Certificate::from_openssh(fs::read_to_string(file).ok()?.trim()).ok())
        .find(|certificate| certificate.public_key() == key.key_data())
}
