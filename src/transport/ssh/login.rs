//! Logs in: with the keys that are named, the agent's, and the usual files; and where that is not
//! enough, with the answers of a person.
//!
//! A server counts every key that it is offered and disconnects after a few (`MaxAuthTries`, 6 by
//! default). So only a few are offered, and if none is accepted, the error lists each with its
//! result.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};

use super::super::TransportError;
use super::agent::Agent;
use super::client::{Client, describe};
use super::keyring::Keyring;
use super::keys::{Opened, certificate, open};
use super::route::RouteHost;

/// Maximum number of keys to offer: one less than sshd's default `MaxAuthTries`.
const TRIES: usize = 5;

/// A login to one machine.
pub(super) struct Login<'a> {
    /// The machine's name in messages.
    pub(super) place: &'a str,
    pub(super) machine: &'a RouteHost,
    pub(super) keyring: &'a Keyring,
}

/// No key was enough.
pub(super) struct Refused {
    pub(super) error: TransportError,
    /// A key file that was not tried, because it is locked.
    pub(super) locked: Option<PathBuf>,
    /// What the server wants beside a key, or in place of one.
    pub(super) wants: Option<Wants>,
}

/// The keys that were tried, with their results.
struct Attempts<'a> {
    login: &'a Login<'a>,
    handle: &'a mut Handle<Client>,
    agent: Agent,
    /// The signature hash for RSA keys, once the server was asked.
    rsa_hash: Option<Option<HashAlg>>,
    shown: usize,
    /// The keys that were shown.
    seen: Vec<KeyData>,
    told: Vec<String>,
    locked: Option<PathBuf>,
    wants: Option<Wants>,
}

/// What a server wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Answers to questions of its own (`keyboard-interactive`).
    Answers,
    /// A password.
    Password,
}

impl Wants {
    /// What can be done about `methods`.
    pub(super) fn among(methods: &MethodSet) -> Option<Self> {
        if methods.contains(&MethodKind::KeyboardInteractive) {
            Some(Self::Answers)
        } else if methods.contains(&MethodKind::Password) {
            Some(Self::Password)
        } else {
            None
        }
    }
}

/// Why no further key needs to be tried.
enum LoginEnd {
    /// Logged in.
    Accepted,
    /// The server does not accept any key.
    Because(String),
}

impl Login<'_> {
    /// Logs in over `handle` with keys alone.
    ///
    /// # Errors
    /// When a key that the inventory names cannot be used, or no key is accepted; the error tells
    /// what was tried.
    pub(super) async fn with_keys(&self, handle: &mut Handle<Client>) -> Result<(), Refused> {
        let mut attempts = Attempts {
            login: self,
            handle,
            agent: Agent::default(),
            rsa_hash: None,
            shown: 0,
            seen: Vec::new(),
            told: Vec::new(),
            locked: None,
            wants: None,
        };
        let why = match attempts.all().await {
            Ok(Some(LoginEnd::Accepted)) => return Ok(()),
            Ok(Some(LoginEnd::Because(why))) => why,
            Ok(None) => "no key was accepted".to_owned(),
            Err(error) => {
                let locked = attempts.locked.filter(|_| self.keyring.can_ask());
                return Err(Refused { error, locked, wants: None });
            }
        };
        let (told, wants) = (attempts.told, attempts.wants);
        let locked = attempts.locked.filter(|_| self.keyring.can_ask());
        let told = if told.is_empty() { "found no key to try".to_owned() } else { told.join("; ") };
        let error = self.failed(format!("{why}: {told}"), self.help(wants.as_ref()));
        Err(Refused { error, locked, wants })
    }

    fn help(&self, wants: Option<&Wants>) -> String {
        let keys = &self.machine.keys;
        match keys.named.first() {
            _ if wants.is_some() && !self.keyring.can_ask() => {
                "run it on a terminal: there it can be asked for".to_owned()
            }
            Some(file) if keys.binding => format!(
                "the public key belongs in ~{}/.ssh/authorized_keys there: ssh-copy-id -i {}",
                self.machine.user,
                file.display()
            ),
            _ => {
                "name the key in the inventory (ssh.identity), or load it into the agent: ssh-add \
                FILE"
                    .to_owned()
            }
        }
    }

    /// The error of a login that failed.
    pub(super) fn failed(&self, why: String, help: String) -> TransportError {
        let what = format!("log in to {} as {}", self.place, self.machine.user);
        TransportError { what, why, help: Some(help) }
    }
}

impl Attempts<'_> {
    /// Tries what there is, in its order.
    async fn all(&mut self) -> Result<Option<LoginEnd>, TransportError> {
        let keys = &self.login.machine.keys;
        for file in &keys.named {
            let stop = match self.file(file).await {
                Ok(stop) => stop,
                Err(error) if keys.binding => return Err(error),
                Err(error) => {
                    self.told.push(error.why);
                    None
                }
            };
            if stop.is_some() || keys.binding {
                return Ok(stop);
            }
        }
        self.agent.ask(keys.agent.as_deref()).await;
        if let Some(silence) = self.agent.silence() {
            self.told.push(silence.to_owned());
        }
        let held: Vec<_> = self.agent.held().iter().filter(|_| !keys.only).cloned().collect();
        for identity in held {
            if self.seen.contains(identity.public_key().key_data()) {
                continue;
            }
            if self.shown == TRIES {
                self.told.push(format!("stopped after {TRIES} keys"));
                return Ok(None);
            }
            let stop = self.show_held(identity).await;
            if stop.is_some() {
                return Ok(stop);
            }
        }
        for file in &keys.usual {
            if !file.exists() {
                continue;
            }
            match self.file(file).await {
                Ok(None) => {}
                Ok(stop) => return Ok(stop),
                Err(error) => self.told.push(error.why),
            }
        }
        Ok(None)
    }

    /// Tries the key of one file, or the agent's for it. An error says why it cannot be used.
    async fn file(&mut self, file: &Path) -> Result<Option<LoginEnd>, TransportError> {
        let name = file.display();
        if self.shown == TRIES {
            self.told.push(format!("{name}: not tried, {TRIES} keys were refused before it"));
            return Ok(None);
        }
        let opened = open(file);
        if matches!(opened, Ok(Opened::Public(_) | Opened::Locked(_))) {
            self.agent.ask(self.login.machine.keys.agent.as_deref()).await;
        }
        match opened {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && !self.login.machine.keys.binding =>
            {
                Ok(None)
            }
            Err(error) => Err(self.login.failed(
                format!("cannot use the identity {name}: {error}"),
                "ssh.identity names a private key file, in OpenSSH or PEM format, or the public \
                half of a key of the agent"
                    .to_owned(),
            )),
            Ok(Opened::Key(key)) => Ok(self.show_file(file, Arc::new(*key)).await),
            Ok(Opened::Public(public)) => match self.agent.of(&public) {
                Some(identity) => Ok(self.show_named(file, identity).await),
                None => Err(self.login.failed(
                    format!(
                        "the identity {name} is a public key, but the agent does not have its \
                        other half{}",
                        self.silence()
                    ),
                    "see what it holds with `ssh-add -L`, or name the private key file \
                    (ssh.identity)"
                        .to_owned(),
                )),
            },
            Ok(Opened::Locked(public)) => {
                if let Some(identity) = public.as_ref().and_then(|public| self.agent.of(public)) {
                    return Ok(self.show_named(file, identity).await);
                }
                if let Some(key) = self.login.keyring.key(file) {
                    return Ok(self.show_file(file, key).await);
                }
                self.locked.get_or_insert_with(|| file.to_owned());
                Err(self.login.failed(
                    format!(
                        "the identity {name} is encrypted with a passphrase, and the agent does \
                        not have it{}",
                        self.silence()
                    ),
                    format!("unlock it once for the agent: ssh-add {name}"),
                ))
            }
        }
    }

    /// Why the agent holds nothing, in brackets.
    fn silence(&self) -> String {
        self.agent.silence().map(|silence| format!(" ({silence})")).unwrap_or_default()
    }

    /// Shows the key of a file, and its certificate before it.
    async fn show_file(&mut self, file: &Path, key: Arc<PrivateKey>) -> Option<LoginEnd> {
        if self.seen.contains(key.public_key().key_data()) {
            return None;
        }
        self.seen.push(key.public_key().key_data().clone());
        let user = self.login.machine.user.as_str();
        let others = &self.login.machine.keys.certificates;
        if let Some(certificate) = certificate(file, others, key.public_key()) {
            self.shown += 1;
            let answer =
                self.handle.authenticate_openssh_cert(user, Arc::clone(&key), certificate).await;
            let name = format!("the certificate of {}", file.display());
            let stop = self.judge(&name, answer.map_err(|error| describe(&error)));
            if stop.is_some() {
                return stop;
            }
        }
        let hash = if key.algorithm().is_rsa() { self.rsa_hash().await } else { None };
        self.shown += 1;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let answer = self.handle.authenticate_publickey(user, key).await;
        self.judge(&file.display().to_string(), answer.map_err(|error| describe(&error)))
    }

    /// Shows the agent's key for a file, and the certificate of the file before it.
    async fn show_named(&mut self, file: &Path, identity: AgentIdentity) -> Option<LoginEnd> {
        let others = &self.login.machine.keys.certificates;
        let public = PublicKey::new(identity.public_key().key_data().clone(), "");
        if let Some(certificate) = certificate(file, others, &public) {
            let comment = identity.comment().to_owned();
            let certified = AgentIdentity::Certificate { certificate, comment };
            let stop = self.show_held(certified).await;
            if stop.is_some() {
                return stop;
            }
        }
        self.show_held(identity).await
    }

    /// Shows a key of the agent.
    async fn show_held(&mut self, identity: AgentIdentity) -> Option<LoginEnd> {
        let print = identity.public_key().fingerprint(HashAlg::Sha256);
        let hash =
            if identity.public_key().algorithm().is_rsa() { self.rsa_hash().await } else { None };
        self.seen.push(identity.public_key().key_data().clone());
        self.shown += 1;
        let user = self.login.machine.user.as_str();
        let signer = self.agent.signer()?;
        let (name, answer) = match identity {
            AgentIdentity::PublicKey { key, comment } => (
                format!("agent key {comment} {print}"),
                self.handle.authenticate_publickey_with(user, key, hash, signer).await,
            ),
            AgentIdentity::Certificate { certificate, comment } => (
                format!("certificate of agent key {comment} {print}"),
                self.handle.authenticate_certificate_with(user, certificate, hash, signer).await,
            ),
        };
        self.judge(&name, answer.map_err(|error| format!("the agent did not sign: {error}")))
    }

    /// Returns the best hash that the server accepts for RSA signatures. If the server does not
    /// announce any, SHA-512: every server since OpenSSH 7.2 supports it, and SHA-1 is refused
    /// since 8.8.
    async fn rsa_hash(&mut self) -> Option<HashAlg> {
        if let Some(hash) = self.rsa_hash {
            return hash;
        }
        let hash = match self.handle.best_supported_rsa_hash().await {
            Ok(Some(hash)) => hash,
            Ok(None) | Err(_) => Some(HashAlg::Sha512),
        };
        self.rsa_hash = Some(hash);
        hash
    }

    /// Records the result for the key called `name`; returns whether to stop.
    fn judge(&mut self, name: &str, answer: Result<AuthResult, String>) -> Option<LoginEnd> {
        let listed = |methods: &russh::MethodSet| {
            methods.iter().map(String::from).collect::<Vec<_>>().join(", ")
        };
        match answer {
            Ok(AuthResult::Success) => Some(LoginEnd::Accepted),
            Ok(AuthResult::Failure { partial_success: true, remaining_methods }) => {
                self.told.push(format!("{name}: accepted"));
                self.wants = Wants::among(&remaining_methods);
                // It may want a second key.
                if remaining_methods.contains(&MethodKind::PublicKey) && self.wants.is_none() {
                    return None;
                }
                let wanted = listed(&remaining_methods);
                Some(LoginEnd::Because(format!("the server wants more than a key ({wanted})")))
            }
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                self.told.push(format!("{name}: refused"));
                if remaining_methods.is_empty() {
                    return Some(LoginEnd::Because("the server hung up".to_owned()));
                }
                if remaining_methods.contains(&MethodKind::PublicKey) {
                    return None;
                }
                self.wants = Wants::among(&remaining_methods);
                let offered = listed(&remaining_methods);
                Some(LoginEnd::Because(format!("the server takes no keys, only {offered}")))
            }
            Err(error) => {
                self.told.push(format!("{name}: {error}"));
                self.handle.is_closed().then(|| LoginEnd::Because("the server hung up".to_owned()))
            }
        }
    }
}
