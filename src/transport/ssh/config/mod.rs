//! What the user's SSH configuration says of a host, as OpenSSH itself reads it: `ssh -G HOST`.
//!
//! OpenSSH is asked once for each host that its files may say something of, a few at a time; hosts
//! that they cannot tell apart share an answer ([`survey`]). Where there is no OpenSSH, or nothing
//! in its files that matters here, nobody is asked.

mod answer;
mod survey;
mod tokens;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::super::TransportError;
use answer::UNSAID;
pub(super) use answer::{AgentChoice, HostConfig, HostWay};
use survey::{Class, Survey};
pub(super) use tokens::{Tokens, local_user};

/// How many processes of OpenSSH may read its files at once.
const AT_ONCE: usize = 8;

/// How long one of them may take. `Match exec` may ask a network.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked: a host, and what the inventory says already, which `Match` may depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostQuery<'a> {
    pub(super) host: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) port: Option<u16>,
}

/// Answers are kept by this: the class of the host or the host itself, and user and port as said.
type Key = (Result<Class, String>, Option<String>, Option<u16>);

/// An answer that is asked for once.
type SharedAnswer = Arc<OnceCell<Result<HostConfig, TransportError>>>;

/// The configuration of OpenSSH in some files, the user's own first.
pub(super) struct OpenSsh {
    survey: Survey,
    /// Includes the files, and marks what they do not say.
    file: NamedTempFile,
    answers: Mutex<BTreeMap<Key, SharedAnswer>>,
    turns: Semaphore,
}

impl OpenSsh {
    /// The configuration in `files`; none when they say nothing that matters here.
    ///
    /// # Errors
    /// When the file that is to include them cannot be written.
    pub(super) fn of(files: &[PathBuf]) -> Result<Option<Self>, TransportError> {
        let survey = Survey::of(files);
        if !survey.matters() {
            return Ok(None);
        }
        let write = || {
            let mut file = tempfile::Builder::new().prefix("labctl-ssh-").tempfile()?;
            for path in files.iter().filter(|path| path.exists()) {
                writeln!(file, "Include \"{}\"", path.display())?;
            }
            write!(file, "Host *\n    User {UNSAID}\n    IdentityFile {UNSAID}\n")?;
            Ok::<_, io::Error>(file)
        };
        let file = write().map_err(|error| TransportError {
            what: "ask OpenSSH for its configuration".into(),
            why: format!("cannot write a temporary file: {error}"),
            help: None,
        })?;
        let turns = Semaphore::new(AT_ONCE);
        Ok(Some(Self { survey, file, answers: Mutex::default(), turns }))
    }

    /// What the files say; none when there is no OpenSSH to read them.
    ///
    /// # Errors
    /// When OpenSSH refuses its files, or does not answer in time.
    pub(super) async fn ask(&self, question: HostQuery<'_>) -> Result<HostConfig, TransportError> {
        let host = question.host;
        if !self.survey.matters_to(host) {
            return Ok(HostConfig::none(host));
        }
        if let Some(class) = self.survey.class(host) {
            let answer = self.shared(Ok(class), question).await?;
            if let Some(answer) = answer.of_another(host) {
                return Ok(answer);
            }
        }
        self.shared(Err(host.to_owned()), question).await
    }

    /// The answer that is kept under `name`, asked for when it is the first time.
    async fn shared(
        &self,
        name: Result<Class, String>,
        question: HostQuery<'_>,
    ) -> Result<HostConfig, TransportError> {
        let key = (name, question.user.map(str::to_owned), question.port);
        let cell = Arc::clone(
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default(),
        );
        cell.get_or_init(|| self.run(question)).await.clone()
    }

    /// Asks OpenSSH.
    async fn run(&self, question: HostQuery<'_>) -> Result<HostConfig, TransportError> {
        let failed = |why: String, help: &str| TransportError {
            what: format!("read the SSH configuration for {}", question.host),
            why,
            help: Some(help.to_owned()),
        };
        // The semaphore is never closed, so there is nothing to handle.
        let _turn = self.turns.acquire().await.ok();
        let mut ssh = Command::new("ssh");
        ssh.arg("-G").arg("-F").arg(self.file.path());
        if let Some(user) = question.user {
            ssh.arg("-l").arg(user);
        }
        if let Some(port) = question.port {
            ssh.arg("-p").arg(port.to_string());
        }
        ssh.arg("--").arg(question.host).stdin(Stdio::null()).kill_on_drop(true);
        let output = match timeout(PATIENCE, ssh.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(HostConfig::none(question.host));
            }
            Ok(Err(error)) => return Err(failed(format!("cannot start ssh: {error}"), "try it")),
            Err(_) => {
                let why = format!("`ssh -G` gave no answer within {} s", PATIENCE.as_secs());
                return Err(failed(why, "does a `Match exec` there wait for something?"));
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: Vec<&str> =
                said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let said = said[said.len().saturating_sub(3)..].join(" / ");
            let help = format!("mend the file; `ssh -G {}` reads it, too", question.host);
            return Err(failed(format!("OpenSSH refuses it: {said}"), &help));
        }
        Ok(HostConfig::read(&String::from_utf8_lossy(&output.stdout), question.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(host: &str) -> HostQuery<'_> {
        HostQuery { host, user: None, port: None }
    }

    async fn openssh(text: &str) -> (tempfile::TempDir, OpenSsh) {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("config");
        std::fs::write(&file, text).expect("a file");
        let openssh = OpenSsh::of(&[file, folder.path().join("none")]).expect("room");
        (folder, openssh.expect("it says something"))
    }

    #[tokio::test]
    async fn what_openssh_reads_is_what_counts() {
        let text = "Host bastion\n  HostName 192.0.2.1\n  User jumper\n  Port 2222\n  \
            IdentityFile ~/jump.pem\n  IdentitiesOnly yes\n\
            Host 10.*\n  ProxyJump bastion,deep@inner:23\n  User ops\n\
            Host *\n  ServerAliveInterval 7\n  ConnectTimeout 3\n";
        let (_folder, openssh) = openssh(text).await;
        let bastion = openssh.ask(question("bastion")).await.expect("an answer");
        assert_eq!((bastion.host.as_str(), bastion.port), ("192.0.2.1", 2222));
        assert_eq!(bastion.user.as_deref(), Some("jumper"));
        assert_eq!(bastion.identities, ["~/jump.pem"]);
        assert!(bastion.identities_only);
        assert_eq!(bastion.way, HostWay::Direct);
        assert_eq!(bastion.connect_timeout, Some(Duration::from_secs(3)));
        assert_eq!(bastion.keepalive, Some((Duration::from_secs(7), 3)));

        for address in ["10.0.0.1", "10.0.0.2"] {
            let node = openssh.ask(question(address)).await.expect("an answer");
            assert_eq!((node.host.as_str(), node.port), (address, 22));
            assert_eq!(node.way, HostWay::Jumps("bastion,deep@inner:23".into()));
            assert!(node.identities.is_empty(), "the usual ones are not said: {node:?}");
        }
        let asked = openssh.answers.lock().expect("a lock").len();
        assert_eq!(asked, 2, "addresses that no file distinguishes share an answer");

        let other = openssh.ask(question("elsewhere")).await.expect("an answer");
        assert_eq!((other.user, other.way), (None, HostWay::Direct));
    }

    #[tokio::test]
    async fn what_the_inventory_says_wins_and_matches() {
        let text = "Match user ops\n  Port 2200\nHost *\n  User jane\n  Port 2300\n";
        let (_folder, openssh) = openssh(text).await;
        let said = HostQuery { host: "node", user: Some("ops"), port: None };
        let answer = openssh.ask(said).await.expect("an answer");
        assert_eq!((answer.user.as_deref(), answer.port), (Some("ops"), 2200));
        let said = HostQuery { host: "node", user: None, port: Some(24) };
        let answer = openssh.ask(said).await.expect("an answer");
        assert_eq!((answer.user.as_deref(), answer.port), (Some("jane"), 24));
    }

    #[tokio::test]
    async fn a_host_name_that_is_made_of_the_host_is_each_hosts_own() {
        let (_folder, openssh) = openssh("Host *\n  HostName %h.example.org\n").await;
        for host in ["one", "two"] {
            let answer = openssh.ask(question(host)).await.expect("an answer");
            assert_eq!(answer.host, format!("{host}.example.org"));
        }
    }

    #[tokio::test]
    async fn a_file_that_openssh_refuses_is_told_of() {
        let (_folder, openssh) = openssh("Host *\n  User ops\n  NoSuchOption yes\n").await;
        let error = openssh.ask(question("node")).await.expect_err("it is wrong");
        assert!(error.why.contains("nosuchoption"), "{error}");
        assert!(error.help.is_some_and(|help| help.contains("ssh -G node")));
    }

    #[test]
    fn files_that_say_nothing_of_interest_are_not_asked() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("config");
        let files = [file];
        assert!(OpenSsh::of(&files).expect("room").is_none(), "there is no file");
        std::fs::write(&files[0], "# mine\nHost *\n  SendEnv LANG LC_*\n  HashKnownHosts yes\n")
            .expect("a file");
        assert!(OpenSsh::of(&files).expect("room").is_none());
    }
}
