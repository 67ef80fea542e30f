//! What a person is asked for: passphrases, codes, passwords; once each.

use std::collections::VecDeque;
use std::sync::Mutex;

use labctl::secret::Secret;
use labctl::transport::ssh::{Ask, Keyring};

use super::*;

/// Somebody with answers ready; what was asked is kept, with whether it was hidden.
pub(super) struct Person {
    answers: Mutex<VecDeque<&'static str>>,
    asked: Mutex<Vec<(String, bool)>>,
}

impl Person {
    pub(super) fn with(answers: &[&'static str]) -> Arc<Self> {
        let answers = Mutex::new(answers.iter().copied().collect());
        Arc::new(Self { answers, asked: Mutex::default() })
    }

    pub(super) fn asked(&self) -> Vec<(String, bool)> {
        self.asked.lock().expect("a lock").clone()
    }

    pub(super) fn dialler(self: &Arc<Self>) -> Dialler {
        Dialler::with(Arc::new(Keyring::asking(Arc::clone(self) as Arc<dyn Ask>)))
    }
}

impl Ask for Person {
    fn ask(&self, question: &str, hidden: bool) -> Option<Secret> {
        self.asked.lock().expect("a lock").push((question.to_owned(), hidden));
        self.answers.lock().expect("a lock").pop_front().map(Secret::from)
    }
}

/// A key that is locked with the passphrase `secret`.
fn locked(folder: &std::path::Path) -> (PathBuf, PrivateKey) {
    let file = folder.join("locked");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "secret", "-f"])
        .arg(&file)
        .status();
    assert!(made.expect("ssh-keygen is installed").success());
    let key = russh::keys::load_secret_key(&file, Some("secret")).expect("a key");
    (file, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_key_is_unlocked_once_for_all_nodes() {
    let workstation = Workstation::new();
    let (file, login) = locked(workstation.folder.path());
    let host_key = key(Algorithm::Ed25519);
    let server = Options::new(&host_key, &login).start().await;
    workstation.knows("", server.address.port(), &host_key);
    let mut target = workstation.target(server.address.port());
    // Thinking takes longer than a login may.
    target.connect_timeout = Duration::from_secs(5);
    for named in [true, false] {
        target.ssh.identity = named.then(|| file.clone());
        target.identities = vec![file.clone()];
        let person = Person::with(&["sceret", "secret"]);
        let dialler = person.dialler();
        let logins = (0..3).map(|_| dialler.connect(&target));
        for session in futures_util::future::join_all(logins).await {
            session.expect("unlocked").close().await;
        }
        let asked = person.asked();
        assert_eq!(asked.len(), 2, "{asked:?}");
        assert!(asked.iter().all(|(question, hidden)| *hidden && question.contains("locked:")));
        assert!(asked[1].0.starts_with("That was not it."), "{asked:?}");
    }
    target.ssh.identity = Some(file);
    let person = Person::with(&["no", "nor", "that"]);
    let error = person.dialler().connect(&target).await.expect_err("nobody knows it");
    assert!(error.why.contains("encrypted with a passphrase"), "{error}");
    assert_eq!(person.asked().len(), 3);
}

#[tokio::test]
async fn a_code_is_asked_for_after_the_key() {
    let (workstation, server, session) = lab(|options| options).await;
    session.close().await;
    drop(server);
    let host_key = key(Algorithm::Ed25519);
    let mut options = Options::new(&host_key, &workstation.login);
    options.code = Some("123456");
    let server = options.start().await;
    workstation.knows("", server.address.port(), &host_key);
    let target = workstation.target(server.address.port());

    let error = refused(&target).await;
    assert!(error.why.contains("wants more than a key (keyboard-interactive)"), "{error}");
    assert!(error.help.is_some_and(|help| help.contains("terminal")));

    let person = Person::with(&["000000", "1", "123456", "1"]);
    let session = person.dialler().connect(&target).await.expect("the right code");
    let asked = person.asked();
    assert_eq!(asked.len(), 4);
    let place = format!("root@127.0.0.1:{}", server.address.port());
    assert_eq!(asked[0], (format!("{place}: Second factor [2J Verification code:"), false));
    assert!(asked[1].1, "what is not echoed is hidden");
    assert_eq!(run(&session, "echo in").await.expect("an end").stdout, b"in\n");

    let person = Person::with(&["0"; 6]);
    let error = person.dialler().connect(&target).await.expect_err("wrong three times");
    assert!(error.why.contains("the answers were refused"), "{error}");
    let person = Person::with(&[]);
    let error = person.dialler().connect(&target).await.expect_err("no answer");
    assert!(error.why.contains("nobody answered"), "{error}");
}
