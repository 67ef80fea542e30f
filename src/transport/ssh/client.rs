//! russh's side of a connection: what it is configured with, what it calls back, and what its
//! errors mean to someone who has never heard of it.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, DisconnectReason};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, cipher, kex};
use tokio::sync::watch;

use super::super::TransportError;
use super::known_hosts::{Recorded, bare};

/// Maximum size in bytes of a packet to receive, which is russh's maximum.
const PACKET: u32 = 65535;

/// How keys are agreed on: russh's own list, and after it the curves that some hardened servers
/// have nothing but.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G18_SHA512,
    kex::DH_G17_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G15_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

/// Implements russh's callbacks.
pub(super) struct Client {
    pub(super) place: String,
    pub(super) recorded: Recorded,
    pub(super) accept_new: bool,
    pub(super) host_key: Arc<OnceLock<String>>,
    pub(super) ended: watch::Sender<Option<String>>,
}

/// Why a connection ended early.
#[derive(Debug)]
pub(super) enum Fault {
    Ssh(russh::Error),
    HostKey(TransportError),
}

impl From<russh::Error> for Fault {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Client {
    type Error = Fault;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        let (key, certificate) = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => (key.clone(), None),
            PublicKeyOrCertificate::Certificate(certificate) => {
                (PublicKey::new(certificate.public_key().clone(), ""), Some(certificate))
            }
        };
        self.recorded
            .check(&self.place, &key, certificate, self.accept_new)
            .map_err(Fault::HostKey)?;
        let _ = self.host_key.set(bare(&key));
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        let reason = match reason {
            DisconnectReason::ReceivedDisconnect(farewell) => {
                format!("the server hung up: {}", farewell.message)
            }
            DisconnectReason::Error(Fault::Ssh(error)) => {
                format!("the connection was lost: {}", describe(&error))
            }
            DisconnectReason::Error(Fault::HostKey(error)) => error.to_string(),
        };
        self.ended.send_replace(Some(reason));
        Ok(())
    }
}

/// The settings for a connection to a host that this is recorded of, with `window` for each of its
/// channels.
pub(super) fn config(
    recorded: &Recorded,
    window: u32,
    keepalive: (Duration, usize),
) -> client::Config {
    client::Config {
        window_size: window,
        maximum_packet_size: PACKET,
        // Silence is not an error, because a command may take long. Keepalive requests detect a
        // lost server.
        inactivity_timeout: None,
        keepalive_interval: Some(keepalive.0),
        keepalive_max: keepalive.1,
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            key: Cow::Owned(recorded.algorithms()),
            host_key_certificates: Cow::Owned(recorded.certificates()),
            // AES-GCM first, because every processor that runs Kubernetes has instructions for it.
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
                cipher::AES_192_CTR,
                cipher::AES_128_CTR,
            ]),
            // What is pushed is compressed already, or the network is faster than compressing.
            compression: Cow::Borrowed(&[russh::compression::NONE]),
            ..Preferred::default()
        },
        nodelay: true,
        ..client::Config::default()
    }
}

/// Whether the server has ended the connection, as sshd does if too many come at once.
pub(super) fn hung_up(error: &russh::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        russh::Error::Disconnect
        | russh::Error::HUP
        | russh::Error::SendError
        | russh::Error::RecvError => true,
        russh::Error::IO(error) => {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        }
        _ => false,
    }
}

/// Describes a russh error for users.
pub(super) fn describe(error: &russh::Error) -> String {
    match error {
        russh::Error::Disconnect
        | russh::Error::HUP
        | russh::Error::SendError
        | russh::Error::RecvError => "the server closed the connection".to_owned(),
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the server closed the connection".to_owned()
        }
        russh::Error::IO(error) => lowered(&error.to_string()),
        russh::Error::KeepaliveTimeout => "the server gave no sign of life".to_owned(),
        russh::Error::NoCommonAlgo { kind, ours, theirs } => format!(
            "no common {kind:?} algorithm: here {}, there {}",
            ours.join(","),
            theirs.join(",")
        )
        .to_lowercase(),
        other => lowered(&other.to_string()),
    }
}

/// `text` with a small first letter, as the middle of a message has it.
pub(super) fn lowered(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
