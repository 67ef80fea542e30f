//! Logs in with a key: the identity file that the inventory names, else the agent's keys, else the
//! usual files.
//!
//! A server counts every key that it is shown and hangs up after a few (`MaxAuthTries`, 6 by
//! default), so only a few are shown, and what became of each is told when none is accepted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::MethodKind;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{
    Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, decode_secret_key,
};
use tokio::net::UnixStream;

use super::super::TransportError;
use super::host_key::bare;
use super::{Client, describe};

/// How many keys are shown before giving up: one less than sshd's default `MaxAuthTries`.
const TRIES: usize = 5;

/// A key pair that lives as long as one run.
pub struct TemporaryKey {
    /// The private half, in OpenSSH's format.
    pub private: String,
    /// The public half, as authorized_keys has it, without a comment.
    pub public: String,
}

impl TemporaryKey {
    /// A new one.
    ///
    /// # Errors
    /// When it cannot be written in OpenSSH's format.
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

/// Where the keys for a login come from.
pub(super) struct Login<'a> {
    /// The machine, as messages name it.
    pub(super) place: &'a str,
    /// The name to log in with.
    pub(super) user: &'a str,
    /// The one private key file to use, when the inventory names one.
    pub(super) identity: Option<&'a Path>,
    /// The agent's socket.
    pub(super) agent: Option<&'a Path>,
    /// The files to try otherwise; those that do not exist are passed over.
    pub(super) usual: &'a [PathBuf],
}

/// What is tried, and what became of it.
struct Attempts<'a> {
    login: &'a Login<'a>,
    handle: &'a mut Handle<Client>,
    /// The signature hash for RSA keys, once the server was asked.
    rsa_hash: Option<Option<HashAlg>>,
    shown: usize,
    told: Vec<String>,
}

/// Why no further key needs to be tried.
enum Stop {
    /// Logged in.
    Accepted,
    /// The server will not take any key.
    Because(String),
}

/// A private key file, opened.
enum Opened {
    Key(Box<PrivateKey>),
    /// Locked with a passphrase; the public half can be read in OpenSSH's own format.
    Locked(Option<PublicKey>),
    /// The public half only: it picks one of the agent's keys.
    Public(Box<PublicKey>),
}

/// Logs in over `handle`.
///
/// # Errors
/// When the identity file cannot be used, or no key is accepted; the error tells what was tried.
pub(super) async fn authenticate(
    handle: &mut Handle<Client>,
    login: &Login<'_>,
) -> Result<(), TransportError> {
    let mut attempts = Attempts { login, handle, rsa_hash: None, shown: 0, told: Vec::new() };
    let stop = match login.identity {
        Some(file) => attempts.with_identity(file).await?,
        None => attempts.with_agent_and_usual_files().await,
    };
    let why = match stop {
        Some(Stop::Accepted) => return Ok(()),
        Some(Stop::Because(why)) => why,
        None => "no key was accepted".to_owned(),
    };
    let told = if attempts.told.is_empty() {
        "there was no key to try".to_owned()
    } else {
        attempts.told.join("; ")
    };
    let help = match login.identity {
        Some(file) => format!(
            "the public key belongs in ~{}/.ssh/authorized_keys there: ssh-copy-id -i {}",
            login.user,
            file.display()
        ),
        None => {
            "name the key in the inventory (ssh.identity), or load it into the agent: ssh-add FILE"
                .to_owned()
        }
    };
    Err(failed(login, format!("{why}: {told}"), Some(help)))
}

fn failed(login: &Login<'_>, why: String, help: Option<String>) -> TransportError {
    TransportError { what: format!("log in to {} as {}", login.place, login.user), why, help }
}

impl Attempts<'_> {
    /// Tries the one identity file; when it is locked, the agent may hold the same key.
    async fn with_identity(&mut self, file: &Path) -> Result<Option<Stop>, TransportError> {
        let name = file.display();
        match open(file) {
            Err(error) => {
                let help = "ssh.identity names a private key file, in OpenSSH or PEM format, or \
                    the public half of a key of the agent"
                    .to_owned();
                Err(failed(
                    self.login,
                    format!("cannot use the identity {name}: {error}"),
                    Some(help),
                ))
            }
            Ok(Opened::Key(key)) => Ok(self.show_file(file, key).await),
            Ok(Opened::Public(public)) => match self.held_by_agent(Some(&public)).await {
                Some((mut agent, identity)) => Ok(self.show_agent_key(&mut agent, identity).await),
                None => {
                    let mut why = format!(
                        "the identity {name} is a public key, and the agent does not hold its \
                        other half"
                    );
                    if let Some(told) = self.told.first() {
                        why.push_str(&format!(" ({told})"));
                    }
                    let help = "see what it holds with `ssh-add -L`, or name the private key file \
                        (ssh.identity)";
                    Err(failed(self.login, why, Some(help.to_owned())))
                }
            },
            Ok(Opened::Locked(public)) => match self.held_by_agent(public.as_ref()).await {
                Some((mut agent, identity)) => Ok(self.show_agent_key(&mut agent, identity).await),
                None => {
                    let mut why = format!(
                        "the identity {name} is locked with a passphrase, and the agent does not \
                        hold it"
                    );
                    if let Some(told) = self.told.first() {
                        why.push_str(&format!(" ({told})"));
                    }
                    Err(failed(
                        self.login,
                        why,
                        Some(format!("unlock it once for the agent: ssh-add {name}")),
                    ))
                }
            },
        }
    }

    /// Tries the agent's keys, then the usual files.
    async fn with_agent_and_usual_files(&mut self) -> Option<Stop> {
        let mut seen = Vec::new();
        for (mut agent, identity) in self.agent_keys().await {
            if self.shown == TRIES {
                self.told.push(format!("stopped after {TRIES} keys"));
                return None;
            }
            seen.push(identity.public_key().key_data().clone());
            let stop = self.show_agent_key(&mut agent, identity).await;
            if stop.is_some() {
                return stop;
            }
        }
        for file in self.login.usual {
            let name = file.display();
            match open(file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.told.push(format!("{name}: {error}")),
                Ok(Opened::Locked(_)) => {
                    self.told.push(format!("{name}: locked with a passphrase"))
                }
                Ok(Opened::Public(_)) => self.told.push(format!("{name}: only a public key")),
                Ok(Opened::Key(key)) if seen.contains(key.public_key().key_data()) => {}
                Ok(Opened::Key(_)) if self.shown == TRIES => {
                    self.told
                        .push(format!("{name}: not tried, {TRIES} keys were refused before it"));
                }
                Ok(Opened::Key(key)) => {
                    let stop = self.show_file(file, key).await;
                    if stop.is_some() {
                        return stop;
                    }
                }
            }
        }
        None
    }

    /// The agent's key that is the other half of `public`.
    async fn held_by_agent(
        &mut self,
        public: Option<&PublicKey>,
    ) -> Option<(AgentClient<UnixStream>, AgentIdentity)> {
        let is_it = |held: &AgentIdentity| {
            public.is_some_and(|key| key.key_data() == held.public_key().key_data())
        };
        self.agent_keys().await.into_iter().find(|(_, held)| is_it(held))
    }

    /// The keys that the agent holds, each with a connection to ask for its signature. No agent is
    /// no error.
    async fn agent_keys(&mut self) -> Vec<(AgentClient<UnixStream>, AgentIdentity)> {
        let Some(socket) = self.login.agent else {
            self.told.push("no agent (SSH_AUTH_SOCK is not set)".to_owned());
            return Vec::new();
        };
        let asked = async {
            let mut keys = Vec::new();
            for identity in AgentClient::connect_uds(socket).await?.request_identities().await? {
                keys.push((AgentClient::connect_uds(socket).await?, identity));
            }
            Ok::<_, russh::keys::Error>(keys)
        };
        match asked.await {
            Ok(keys) => {
                if keys.is_empty() {
                    self.told.push("the agent holds no key".to_owned());
                }
                keys
            }
            Err(error) => {
                self.told
                    .push(format!("the agent at {} did not answer: {error}", socket.display()));
                Vec::new()
            }
        }
    }

    async fn show_file(&mut self, file: &Path, key: Box<PrivateKey>) -> Option<Stop> {
        let hash = if key.algorithm().is_rsa() { self.rsa_hash().await } else { None };
        let key = PrivateKeyWithHashAlg::new(Arc::from(key), hash);
        self.shown += 1;
        let answer = self.handle.authenticate_publickey(self.login.user, key).await;
        self.judge(&file.display().to_string(), answer.map_err(|error| describe(&error)))
    }

    async fn show_agent_key(
        &mut self,
        agent: &mut AgentClient<UnixStream>,
        identity: AgentIdentity,
    ) -> Option<Stop> {
        let print = identity.public_key().fingerprint(HashAlg::Sha256);
        let name = format!("agent key {} {print}", identity.comment());
        let hash =
            if identity.public_key().algorithm().is_rsa() { self.rsa_hash().await } else { None };
        self.shown += 1;
        let answer = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                self.handle.authenticate_publickey_with(self.login.user, key, hash, agent).await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                self.handle
                    .authenticate_certificate_with(self.login.user, certificate, hash, agent)
                    .await
            }
        };
        self.judge(&name, answer.map_err(|error| format!("the agent did not sign: {error}")))
    }

    /// The best hash that the server takes for RSA signatures. Without a word from it, SHA-512:
    /// every server since OpenSSH 7.2 knows it, and SHA-1 is refused since 8.8.
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

    /// Notes what became of the key called `name`; says whether to go on with the next one.
    fn judge(&mut self, name: &str, answer: Result<AuthResult, String>) -> Option<Stop> {
        match answer {
            Ok(AuthResult::Success) => Some(Stop::Accepted),
            Ok(AuthResult::Failure { partial_success: true, remaining_methods }) => {
                let wanted: Vec<String> = remaining_methods.iter().map(String::from).collect();
                self.told.push(format!("{name}: accepted"));
                Some(Stop::Because(format!(
                    "the server wants more than a key ({})",
                    wanted.join(", ")
                )))
            }
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                self.told.push(format!("{name}: refused"));
                if remaining_methods.is_empty() {
                    return Some(Stop::Because("the server hung up".to_owned()));
                }
                if remaining_methods.contains(&MethodKind::PublicKey) {
                    return None;
                }
                let offered: Vec<String> = remaining_methods.iter().map(String::from).collect();
                Some(Stop::Because(format!(
                    "the server takes no keys, only {}",
                    offered.join(", ")
                )))
            }
            Err(error) => {
                self.told.push(format!("{name}: {error}"));
                self.handle.is_closed().then(|| Stop::Because("the server hung up".to_owned()))
            }
        }
    }
}

/// Opens a private key file.
fn open(file: &Path) -> io::Result<Opened> {
    let text = fs::read_to_string(file)?;
    match decode_secret_key(&text, None) {
        Ok(key) => Ok(Opened::Key(Box::new(key))),
        Err(russh::keys::Error::KeyIsEncrypted) => Ok(Opened::Locked(
            PrivateKey::from_openssh(&text).ok().map(|key| key.public_key().clone()),
        )),
        Err(_) if text.contains("ENCRYPTED") => Ok(Opened::Locked(None)),
        Err(error) => match PublicKey::from_openssh(text.trim()) {
            Ok(public) => Ok(Opened::Public(Box::new(public))),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("not a private key: {error}"),
            )),
        },
    }
}
