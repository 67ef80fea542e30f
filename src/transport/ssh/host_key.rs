//! Decides whether a machine is the one it claims to be, from what known_hosts files say of it.
//!
//! Strict: a host that no file knows is refused, and so is one that shows another key than the
//! recorded one, of whatever type. A certificate counts when an authority that is recorded for the
//! host has signed it, for this host and this time.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey};

use super::super::TransportError;
use super::known_hosts::{Entry, Recorded, SSH_PORT, glob};

/// How a presented key compares with the recorded ones.
#[derive(Debug)]
enum Verdict<'a> {
    Known,
    Unknown,
    Changed(&'a Entry),
    Revoked(&'a Entry),
}

impl Recorded {
    /// Returns the host key algorithms to request, the recorded ones first, so that a server with
    /// several keys presents one that can be verified. SHA-1 signatures are never requested.
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

    /// The key types whose certificates to ask for: none when no authority is recorded for the
    /// host.
    pub(super) fn certificates(&self) -> Vec<Algorithm> {
        if self.authorities.is_empty() { Vec::new() } else { all_algorithms() }
    }

    /// Whether `certificate` proves that its key is the host's; `Err` says why not.
    fn certified(&self, certificate: &Certificate) -> Result<(), String> {
        let signer = PublicKey::new(certificate.signature_key().clone(), "");
        let is_signer = |entry: &&Entry| entry.key.key_data() == signer.key_data();
        if let Some(entry) = self.revoked.iter().find(is_signer) {
            return Err(format!("its authority is revoked by {}", place(entry)));
        }
        if !self.authorities.iter().any(|entry| is_signer(&entry)) {
            return Err(format!("its authority is {}, which no file names", print(&signer)));
        }
        if certificate.cert_type() != CertType::Host {
            return Err("it is a user's".to_owned());
        }
        if certificate.critical_options().iter().next().is_some() {
            return Err("it has critical options that are not known".to_owned());
        }
        let names = certificate.valid_principals();
        let is_for = |name: &String| glob(name.to_lowercase().as_bytes(), self.host.as_bytes());
        if !names.is_empty() && !names.iter().any(is_for) {
            return Err(format!("it is for {}, not for {}", names.join(", "), self.host));
        }
        certificate
            .validate(&[signer.fingerprint(HashAlg::Sha256)])
            .map_err(|_| "it has expired, is not valid yet, or its signature is wrong".to_owned())
    }

    fn judge(&self, presented: &PublicKey) -> Verdict<'_> {
        let same = |entry: &&Entry| entry.key.key_data() == presented.key_data();
        if let Some(entry) = self.revoked.iter().find(same) {
            return Verdict::Revoked(entry);
        }
        if self.keys.iter().chain(&self.portless).any(|entry| same(&entry)) {
            return Verdict::Known;
        }
        // Report the line with a key of the same type, if there is one.
        let changed = self
            .keys
            .iter()
            .find(|entry| same_kind(&entry.key.algorithm(), &presented.algorithm()));
        match changed.or(self.keys.first()) {
            Some(entry) => Verdict::Changed(entry),
            None => Verdict::Unknown,
        }
    }

    /// Accepts `presented` or says why not; `certificate` is what it came in, if it did. With
    /// `accept_new` the key of an unknown host is written to the first of the files and accepted; a
    /// changed or revoked key never is.
    ///
    /// # Errors
    /// If the key is unknown, differs from the recorded one, is revoked, or cannot be recorded.
    pub(super) fn check(
        &self,
        place: &str,
        presented: &PublicKey,
        certificate: Option<&Certificate>,
        accept_new: bool,
    ) -> Result<(), TransportError> {
        let what = format!("check the host key of {place}");
        let certified = certificate.map(|certificate| self.certified(certificate));
        let (why, help) = match (self.judge(presented), &certified) {
            (Verdict::Revoked(entry), _) => (
                format!("the host key is revoked by {}: {}", self::place(entry), print(presented)),
                "someone may have a copy of this key: generate a new one on the machine".to_owned(),
            ),
            (Verdict::Known, _) | (_, Some(Ok(()))) => return Ok(()),
            (Verdict::Unknown, _) if accept_new => {
                return self.record(presented).map_err(|error| TransportError {
                    what: format!("record the host key of {place}"),
                    why: error.to_string(),
                    help: None,
                });
            }
            (Verdict::Unknown, _) => (self.unknown(presented, certified), self.how_to_record()),
            (Verdict::Changed(entry), _) => self.changed(entry, presented),
        };
        Err(TransportError { what, why, help: Some(help) })
    }

    fn unknown(&self, presented: &PublicKey, certified: Option<Result<(), String>>) -> String {
        let files: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        let mut why =
            format!("the host is unknown: no key for {} in {}", self.name(), files.join(" or "));
        match (certified, self.authorities.first()) {
            (Some(Err(wrong)), _) => {
                why.push_str(&format!(", and its certificate is not valid for it: {wrong}"))
            }
            (_, Some(authority)) => why.push_str(&format!(
                " but a certificate authority ({}), and it shows no certificate",
                place(authority)
            )),
            (_, None) => {}
        }
        format!("{why}; it shows {}", print(presented))
    }

    fn changed(&self, entry: &Entry, presented: &PublicKey) -> (String, String) {
        let why = format!(
            "the host key has changed, or another machine answers in its place: {} has {}, but it \
            shows {}",
            place(entry),
            print(&entry.key),
            print(presented)
        );
        let help = format!(
            "if the machine was reinstalled, compare its key on its console, then forget the old \
            one: ssh-keygen -R '{}' -f '{}'",
            self.name(),
            entry.file.display()
        );
        (why, help)
    }

    fn how_to_record(&self) -> String {
        let port = if self.port == SSH_PORT { String::new() } else { format!("-p {} ", self.port) };
        let first = self.files.first().map(|file| file.display().to_string()).unwrap_or_default();
        format!(
            "compare the key with the one on the machine's console, then record it: log in once \
            with `ssh {port}{host}`, or run `ssh-keyscan {port}{host} >> {first}` \
            (ssh.host_keys: accept-new does so by itself)",
            host = self.host
        )
    }
}

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

/// Where a key is recorded.
fn place(entry: &Entry) -> String {
    format!("{} line {}", entry.file.display(), entry.line)
}

/// Formats a key for messages: type and fingerprint, like `ssh-keygen -l`.
fn print(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

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
        // Generated with `ssh-keygen -H`.
        let line =
            format!("|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= {ED25519}");
        assert_eq!(verdict(&line, "example.com", 22), "known");
        assert_eq!(verdict(&line, "example.org", 22), "unknown");
        assert_eq!(verdict(&format!("|1|broken {ED25519}"), "example.org", 22), "unknown");
    }

    #[test]
    fn the_recorded_type_is_requested_first() {
        let recorded = recorded(&format!("node-0 {ECDSA}"), "node-0", 22).expect("a readable file");
        let algorithms = recorded.algorithms();
        assert_eq!(algorithms[0], Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 });
        assert_eq!(algorithms.len(), all_algorithms().len());
        assert!(!algorithms.contains(&Algorithm::Rsa { hash: None }), "SHA-1 is never requested");
    }

    #[test]
    fn an_invalid_line_about_the_host_is_an_error() {
        for line in ["node-0", "node-0 ssh-ed25519 %%%", "@new node-0 ssh-ed25519 AAAA"] {
            let error = recorded(line, "node-0", 22).expect_err(line);
            assert!(error.why.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_empty() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = Recorded::read(&[folder.path().to_owned()], "node-0", 22)
            .expect_err("a directory is not a file");
        assert!(error.why.starts_with("cannot read"), "{error}");
        assert!(Recorded::read(&[folder.path().join("none")], "node-0", 22).is_ok());
    }

    #[test]
    fn a_new_key_is_recorded_once_and_then_known() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = [folder.path().join("lab/known_hosts")];
        let key = PublicKey::from_openssh(ED25519).expect("a key");
        let other = PublicKey::from_openssh(OTHER).expect("a key");
        Recorded::read(&files, "node-0", 2222)
            .and_then(|r| r.check("node-0", &key, None, true))
            .expect("recorded");
        assert_eq!(
            fs::read_to_string(&files[0]).expect("a file"),
            format!("[node-0]:2222 {ED25519}\n")
        );
        let recorded = Recorded::read(&files, "node-0", 2222).expect("readable");
        recorded.check("node-0", &key, None, false).expect("known");
        recorded.check("node-0", &other, None, true).expect_err("a changed key is never recorded");
    }
}
