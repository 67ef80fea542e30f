//! What a server wants of a person, beside a key or in place of one: a code of a second factor, a
//! password (RFC 4256, and RFC 4252 in 8).

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Reply};
use tokio::time::timeout;

use super::super::TransportError;
use super::super::collect::readable;
use super::client::{Client, describe};
use super::login::{Login, Wants};

/// How often it may go wrong.
const ATTEMPTS: usize = 3;

/// How many rounds of questions a server may ask in one attempt.
const ROUNDS: usize = 10;

impl Login<'_> {
    /// Continues with a person's answers; without any, fails with `refused`.
    ///
    /// # Errors
    /// When nobody answers, or the answers are wrong.
    pub(super) async fn with_answers(
        &self,
        handle: &mut Handle<Client>,
        wants: Wants,
        refused: TransportError,
    ) -> Result<(), TransportError> {
        if !self.keyring.can_ask() {
            return Err(refused);
        }
        for _ in 0..ATTEMPTS {
            let accepted = match wants {
                Wants::Answers => self.answer(handle).await?,
                Wants::Password => self.password(handle).await?,
            };
            if accepted {
                return Ok(());
            }
            if handle.is_closed() {
                break;
            }
        }
        let help = "try it with `ssh`, which asks the same".to_owned();
        Err(self.failed("the answers were refused".to_owned(), help))
    }

    /// One attempt with the questions of the server; whether it was accepted.
    async fn answer(&self, handle: &mut Handle<Client>) -> Result<bool, TransportError> {
        let user = self.machine.user.clone();
        let mut reply =
            self.in_time(handle.authenticate_keyboard_interactive_start(user, None)).await?;
        for _ in 0..ROUNDS {
            let (instructions, prompts) = match reply {
                Reply::Success => return Ok(true),
                Reply::Failure { .. } => return Ok(false),
                Reply::InfoRequest { instructions, prompts, .. } => (instructions, prompts),
            };
            let mut answers = Vec::new();
            for prompt in prompts {
                let words = format!("{instructions} {}", prompt.prompt);
                answers.push(self.ask(&words, !prompt.echo).await?);
            }
            reply = self.in_time(handle.authenticate_keyboard_interactive_respond(answers)).await?;
        }
        let help = "try it with `ssh`".to_owned();
        Err(self.failed("the server asks without an end".to_owned(), help))
    }

    async fn password(&self, handle: &mut Handle<Client>) -> Result<bool, TransportError> {
        let password = self.ask("password:", true).await?;
        let user = self.machine.user.clone();
        let answer = self.in_time(handle.authenticate_password(user, password)).await?;
        Ok(matches!(answer, AuthResult::Success))
    }

    /// Asks a person the server's questions.
    async fn ask(&self, words: &str, hidden: bool) -> Result<String, TransportError> {
        let words = readable(words).unwrap_or_default();
        let question = format!("{}@{}: {words}", self.machine.user, self.place);
        match self.keyring.ask(question, hidden).await {
            Some(answer) => Ok(answer.expose_text().unwrap_or_default().to_owned()),
            None => {
                let help = "run it on a terminal, and answer there".to_owned();
                Err(self.failed(format!("nobody answered `{words}`"), help))
            }
        }
    }

    /// An answer of the server, which has the time of a login for it.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, russh::Error>>,
    ) -> Result<T, TransportError> {
        let help = || "try it with `ssh`".to_owned();
        match timeout(self.machine.connect_timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(describe(&error), help())),
            Err(_) => Err(self.failed("the server went silent".to_owned(), help())),
        }
    }
}
