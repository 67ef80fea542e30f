//! What people and files are asked for once in a run: passphrases of keys, passwords of sudo, codes
//! of a second factor. None of it is written anywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::PrivateKey;
use tokio::process::Command;
use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use tokio::time::timeout;

use super::super::collect::readable;
use super::keys::unlocked;
use crate::cluster::PasswordSource;
use crate::secret::Secret;

/// How often a passphrase or a password is asked for before it is given up.
const ATTEMPTS: u32 = 3;

/// How long a command may take that prints a password. It may ask somebody itself.
const PATIENCE: Duration = Duration::from_secs(120);

/// A person at a terminal.
pub trait Ask: Send + Sync {
    /// Asks `question`, and shows what is typed unless it is `hidden`. `None`: there is no
    /// terminal, or they will not say. It may block for as long as a person thinks.
    fn ask(&self, question: &str, hidden: bool) -> Option<Secret>;
}

/// What was asked for in a run so far, and who can be asked.
#[derive(Default)]
pub struct Keyring {
    person: Option<Arc<dyn Ask>>,
    /// One question at a time.
    turn: AsyncMutex<()>,
    keys: Mutex<BTreeMap<PathBuf, Unlocked>>,
    passwords: Mutex<BTreeMap<PasswordOf, Arc<AsyncMutex<Password>>>>,
}

/// The key of a locked file; none when nobody could unlock it.
type Unlocked = Arc<OnceCell<Option<Arc<PrivateKey>>>>;

/// Where a password comes from, and whose it is.
type PasswordOf = (PasswordSource, String);

/// A password of sudo, and how many there were before it was the right one.
#[derive(Default)]
struct Password {
    current: Option<Secret>,
    number: u32,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("asks", &self.can_ask()).finish_non_exhaustive()
    }
}

impl Keyring {
    /// One that asks `person`.
    pub fn asking(person: Arc<dyn Ask>) -> Self {
        Self { person: Some(person), ..Self::default() }
    }

    /// Whether there is somebody to ask.
    pub(super) fn can_ask(&self) -> bool {
        self.person.is_some()
    }

    /// Asks a person.
    pub(super) async fn ask(&self, question: String, hidden: bool) -> Option<Secret> {
        let person = Arc::clone(self.person.as_ref()?);
        let _turn = self.turn.lock().await;
        tokio::task::spawn_blocking(move || person.ask(&question, hidden)).await.ok().flatten()
    }

    /// The key of a locked file, when it was unlocked before.
    pub(super) fn key(&self, file: &Path) -> Option<Arc<PrivateKey>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(file)?.get()?.clone()
    }

    /// Unlocks a key file with a passphrase that is asked for, once in a run; whether that worked.
    pub(super) async fn unlock(&self, file: &Path) -> bool {
        let cell = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(keys.entry(file.to_owned()).or_default())
        };
        let unlock = || async {
            for attempt in 0..ATTEMPTS {
                let again = if attempt == 0 { "" } else { "That was not it. " };
                let question = format!("{again}Passphrase of the key {}:", file.display());
                let passphrase = self.ask(question, true).await?;
                let file = file.to_owned();
                // Making a key of a passphrase takes its time, on purpose.
                let opened = tokio::task::spawn_blocking(move || unlocked(&file, &passphrase));
                if let Ok(Some(key)) = opened.await {
                    return Some(Arc::new(key));
                }
            }
            None
        };
        cell.get_or_init(unlock).await.is_some()
    }

    /// The password of `user` for sudo, and its number. `refused` is the number of the one that was
    /// tried in vain at `place`, if one was.
    ///
    /// # Errors
    /// When there is none, or no other than the one that was refused.
    pub(super) async fn password(
        &self,
        source: &PasswordSource,
        user: &str,
        place: &str,
        refused: Option<u32>,
    ) -> Result<(Secret, u32), String> {
        let password = {
            let mut passwords = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(passwords.entry((source.clone(), user.to_owned())).or_default())
        };
        let mut password = password.lock().await;
        if let Some(current) = &password.current
            && refused != Some(password.number)
        {
            return Ok((current.clone(), password.number));
        }
        let again = refused.is_some();
        let new = match source {
            PasswordSource::File(file) if again => {
                return Err(format!("the password in {} is refused", file.display()));
            }
            PasswordSource::Command(command) if again => {
                return Err(format!("the password that `{command}` prints is refused"));
            }
            PasswordSource::File(file) => of_file(file)?,
            PasswordSource::Command(command) => of_command(command).await?,
            PasswordSource::Person if password.number >= ATTEMPTS => {
                return Err("the passwords that were typed are refused".to_owned());
            }
            PasswordSource::Person => {
                let again = if again { "That was not it. " } else { "" };
                let question =
                    format!("{again}Password of {user} for sudo (at {place}, and wherever asked):");
                self.ask(question, true).await.ok_or("nobody typed a password")?
            }
        };
        password.number += 1;
        password.current = Some(new.clone());
        Ok((new, password.number))
    }
}

/// The first line of a file that nobody else may read.
fn of_file(file: &Path) -> Result<Secret, String> {
    let name = file.display();
    let cannot = |error: std::io::Error| format!("cannot read the password in {name}: {error}");
    let mode = fs::metadata(file).map_err(cannot)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "others may read the password in {name} (mode {:03o}): chmod 600 {name}",
            mode & 0o777
        ));
    }
    let text = fs::read_to_string(file).map_err(cannot)?;
    first_line(&text).ok_or_else(|| format!("there is no password in the first line of {name}"))
}

/// The first line that a command prints.
async fn of_command(command: &str) -> Result<Secret, String> {
    let printing =
        Command::new("sh").args(["-c", command]).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(PATIENCE, printing).await {
        Err(_) => return Err(format!("`{command}` printed no password within 120 s")),
        Ok(Err(error)) => return Err(format!("cannot run `{command}`: {error}")),
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().filter_map(readable).next_back();
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        return Err(format!("`{command}` printed no password ({}){said}", output.status));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| format!("what `{command}` prints is not text"))?;
    first_line(&text).ok_or_else(|| format!("`{command}` printed no password"))
}

fn first_line(text: &str) -> Option<Secret> {
    text.lines().next().filter(|line| !line.is_empty()).map(Secret::from)
}
