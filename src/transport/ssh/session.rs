//! A kept connection to one node.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::Semaphore;

use super::super::Traffic;
use super::hop::{Connected, PLACES};
use super::keyring::Keyring;
use super::privilege::Privilege;
use super::route::RouteHost;
use super::target::Target;

/// An open connection to one node. A clone is the same connection, which ends when the last clone
/// is dropped.
#[derive(Clone)]
pub struct Session {
    pub(super) inner: Arc<Inner>,
}

/// What the clones of a session share.
pub(super) struct Inner {
    pub(super) node: String,
    pub(super) user: String,
    port: u16,
    pub(super) connected: Connected,
    /// Limits the number of open channels.
    pub(super) places: Semaphore,
    pub(super) allowed: AtomicUsize,
    pub(super) privilege: Privilege,
    pub(super) traffic: Traffic,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("node", &self.inner.node)
            .field("user", &self.inner.user)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Over a connection to `machine` that is logged in.
    pub(super) fn over(
        target: &Target,
        machine: &RouteHost,
        connected: Connected,
        keyring: Arc<Keyring>,
    ) -> Self {
        let privilege = Privilege::of(&machine.user, &target.ssh.escalation, &target.node, keyring);
        Self {
            inner: Arc::new(Inner {
                node: target.node.clone(),
                user: machine.user.clone(),
                port: machine.port,
                connected,
                places: Semaphore::new(PLACES),
                allowed: AtomicUsize::new(PLACES),
                privilege,
                traffic: Traffic::default(),
            }),
        }
    }

    /// Returns the verified host key that the node has presented: type and key, in known_hosts
    /// format.
    pub fn host_key(&self) -> &str {
        &self.inner.connected.host_key
    }

    /// The name that was logged in with.
    pub fn user(&self) -> &str {
        &self.inner.user
    }

    /// The port that was connected to.
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// Returns the traffic of this connection so far.
    pub fn traffic(&self) -> &Traffic {
        &self.inner.traffic
    }

    /// Disconnects and waits at most two seconds until the connection has ended. Commands that are
    /// still running fail.
    pub async fn close(&self) {
        self.inner.connected.disconnect().await;
        // Other nodes may still use the same jump host; the last of them ends the connection.
        let mut below = self.inner.connected.below.as_ref();
        while let Some(jump) = below.filter(|jump| Arc::strong_count(jump) == 1) {
            jump.disconnect().await;
            below = jump.below.as_ref();
        }
    }
}
