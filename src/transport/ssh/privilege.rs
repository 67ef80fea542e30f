//! How a command becomes root's: by the login itself, or by sudo or doas, with a password where one
//! is wanted.
//!
//! A password is sent on standard input, when the program asks for it and not before; what the
//! command reads follows once it has begun. So neither can be taken for the other.

use std::sync::{Arc, Mutex, PoisonError};

use super::keyring::Keyring;
use super::refusal::Refusal;
use crate::cluster::{Escalation, PasswordSource, Tool};
use crate::secret::Secret;

/// Why there is no further way, and what to do.
type NoWay = (String, String);

/// How commands of one connection become root's.
pub(super) struct Privilege {
    user: String,
    node: String,
    /// None when the login is root's.
    tool: Option<Tool>,
    source: PasswordSource,
    keyring: Arc<Keyring>,
    /// The way that a command has begun in.
    proven: Mutex<Option<Way>>,
}

/// One way to begin a command as root.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// The login is root's.
    Root,
    /// With a program that asks for nothing. It is not sure that this is so until it has worked.
    Quietly(Tool, Sure),
    /// With sudo, which asks for the password with this prompt.
    Password {
        prompt: String,
        password: Secret,
        /// The password's number in the keyring.
        number: u32,
    },
}

/// Whether a way has worked before.
type Sure = bool;

impl Privilege {
    /// How `user` becomes root on `node`.
    pub(super) fn of(
        user: &str,
        escalation: &Escalation,
        node: &str,
        keyring: Arc<Keyring>,
    ) -> Self {
        Self {
            user: user.to_owned(),
            node: node.to_owned(),
            tool: (user != "root").then_some(escalation.tool),
            source: escalation.password.clone(),
            keyring,
            proven: Mutex::default(),
        }
    }

    /// The program that makes commands root's.
    pub(super) fn tool(&self) -> Option<Tool> {
        self.tool
    }

    /// The way to try first: the one that has worked, and a password at once where the inventory
    /// says where it comes from.
    pub(super) async fn way(&self) -> Result<Way, NoWay> {
        if let Some(way) = self.proven.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(way);
        }
        match (self.tool, &self.source) {
            (None, _) => Ok(Way::Root),
            (Some(Tool::Sudo), PasswordSource::File(_) | PasswordSource::Command(_)) => {
                self.with_password(None).await
            }
            (Some(tool), _) => Ok(Way::Quietly(tool, false)),
        }
    }

    /// A command has begun in this way.
    pub(super) fn proven(&self, way: Way) {
        let way = match way {
            Way::Quietly(tool, _) => Way::Quietly(tool, true),
            way => way,
        };
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
    }

    /// The way to try after `way` did not do; `wrong`: it was the password that was wrong.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn another_way(
        &self,
        way: &Way,
        refusal: Refusal,
        wrong: bool,
    ) -> Result<Way, NoWay> {
        let Refusal { why, help, password } = refusal;
        match way {
            Way::Quietly(Tool::Sudo, false) if password && self.keyring.can_ask() => {
                self.with_password(None).await
            }
            Way::Password { number, .. } if wrong => self.with_password(Some(*number)).await,
            _ => Err((why, help)),
        }
    }

    async fn with_password(&self, refused: Option<u32>) -> Result<Way, NoWay> {
        let asked = self.keyring.password(&self.source, &self.user, &self.node, refused).await;
        let (password, number) = asked.map_err(|why| {
            let help = format!(
                "try it there: ssh to {}, then `sudo -k true`; and see ssh.become_password_file \
                and ssh.become_password_command",
                self.node
            );
            (format!("sudo asks {} for a password, and {why}", self.user), help)
        })?;
        let prompt = format!("labctl-asks-{:016x}", rand::random::<u64>());
        Ok(Way::Password { prompt, password, number })
    }
}

impl Way {
    /// The words before the command.
    pub(super) fn before(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Quietly(Tool::Sudo, _) => "sudo -n".to_owned(),
            Self::Quietly(Tool::Doas, _) => "doas -n".to_owned(),
            Self::Password { prompt, .. } => format!("sudo -S -p {prompt}"),
        }
    }

    /// Whether a command may not begin in this way, and then be tried in another.
    pub(super) fn is_careful(&self) -> bool {
        matches!(self, Self::Quietly(_, false) | Self::Password { .. })
    }

    /// The prompt to wait for, and the password to answer with.
    pub(super) fn password(&self) -> Option<(&str, &Secret)> {
        match self {
            Self::Password { prompt, password, .. } => Some((prompt, password)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: &str, tool: Tool) -> Privilege {
        let escalation = Escalation { tool, password: PasswordSource::Person };
        Privilege::of(user, &escalation, "node", Arc::default())
    }

    #[tokio::test]
    async fn only_root_goes_without_a_program() {
        assert_eq!(of("root", Tool::Sudo).way().await.expect("a way").before(), "");
        assert_eq!(of("ops", Tool::Sudo).way().await.expect("a way").before(), "sudo -n");
        assert_eq!(of("ops", Tool::Doas).way().await.expect("a way").before(), "doas -n");
    }

    #[tokio::test]
    async fn a_password_is_in_no_word_of_the_line_and_in_no_message() {
        let password = Secret::from("hunter2");
        let way = Way::Password { prompt: "asks".into(), password, number: 1 };
        assert_eq!(way.before(), "sudo -S -p asks");
        assert!(!format!("{way:?}").contains("hunter2"));
    }
}
