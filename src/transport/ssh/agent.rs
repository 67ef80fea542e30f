//! The SSH agent: which keys it holds, and a connection to have it sign.

use std::path::Path;

use russh::keys::PublicKey;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use tokio::net::UnixStream;

/// An agent, asked once in a login, and only when it may hold what is wanted.
#[derive(Default)]
pub(super) struct Agent {
    asked: bool,
    client: Option<AgentClient<UnixStream>>,
    held: Vec<AgentIdentity>,
    /// Why it holds nothing.
    silence: Option<String>,
}

impl Agent {
    /// Asks the agent at `socket` for its keys, when it was not asked before. No agent is no error.
    pub(super) async fn ask(&mut self, socket: Option<&Path>) {
        if !self.asked {
            *self = Self::at(socket).await;
        }
    }

    async fn at(socket: Option<&Path>) -> Self {
        let none =
            |why: String| Self { asked: true, client: None, held: Vec::new(), silence: Some(why) };
        let Some(socket) = socket else {
            return none("no agent (SSH_AUTH_SOCK is not set)".to_owned());
        };
        let asked = async {
            let mut client = AgentClient::connect_uds(socket).await?;
            let held = client.request_identities().await?;
            Ok::<_, russh::keys::Error>((client, held))
        };
        match asked.await {
            Ok((client, held)) => {
                let silence = held.is_empty().then(|| "the agent has no keys".to_owned());
                Self { asked: true, client: Some(client), held, silence }
            }
            Err(error) => {
                none(format!("the agent at {} did not answer: {error}", socket.display()))
            }
        }
    }

    /// What it holds.
    pub(super) fn held(&self) -> &[AgentIdentity] {
        &self.held
    }

    /// Why it holds nothing.
    pub(super) fn silence(&self) -> Option<&str> {
        self.silence.as_deref()
    }

    /// What it holds for `key`: the other half of it, certificates last.
    pub(super) fn of(&self, key: &PublicKey) -> Option<AgentIdentity> {
        let is_it = |held: &&AgentIdentity| held.public_key().key_data() == key.key_data();
        let plain = |held: &&AgentIdentity| matches!(held, AgentIdentity::PublicKey { .. });
        let found = self.held.iter().filter(is_it).find(plain);
        found.or_else(|| self.held.iter().find(is_it)).cloned()
    }

    /// The connection to have it sign.
    pub(super) fn signer(&mut self) -> Option<&mut AgentClient<UnixStream>> {
        self.client.as_mut()
    }
}
