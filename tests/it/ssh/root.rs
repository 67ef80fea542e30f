//! How a command becomes root's: sudo and doas, with and without a password.

use labctl::cluster::{Escalation, PasswordSource, Tool};

use super::person::Person;
use super::*;

/// What the program that stands for sudo does: it asks as sudo does with `-S`, three times at most,
/// and refuses as sudo does with `-n`. It does not ask when the file `free` is there.
const SUDO: &str = r#"#!/bin/sh
echo run >> FOLDER/tries
prompt=
while :; do
    case $1 in
        -n) quiet=yes; shift ;;
        -S) shift ;;
        -p) prompt=$2; shift 2 ;;
        *) break ;;
    esac
done
if [ ! -e FOLDER/free ]; then
    if [ "$quiet" ]; then
        echo "sudo: a password is required" >&2
        exit 1
    fi
    try=1
    while :; do
        printf %s "$prompt" >&2
        if ! IFS= read -r answer; then
            echo "sudo: no password was provided" >&2
            exit 1
        fi
        [ "$answer" = 'pass word$1' ] && break
        echo wrong >> FOLDER/wrong
        try=$((try + 1))
        [ $try -gt 3 ] && exit 1
        echo "Sorry, try again." >&2
    done
fi
AS_ROOT=yes exec "$@"
"#;

/// A machine where `ops` needs a password for sudo.
struct Guarded {
    workstation: Workstation,
    server: Server,
    target: Target,
}

impl Guarded {
    async fn new() -> Self {
        let workstation = Workstation::new();
        let folder = workstation.folder.path();
        let sudo = SUDO.replace("FOLDER", &folder.display().to_string());
        fs::write(folder.join("sudo"), sudo).expect("a file");
        fs::set_permissions(folder.join("sudo"), fs::Permissions::from_mode(0o755)).expect("mode");
        let host_key = key(Algorithm::Ed25519);
        let mut options = Options::new(&host_key, &workstation.login);
        options.path = Some(folder.display().to_string());
        let server = options.start().await;
        workstation.knows("", server.address.port(), &host_key);
        let mut target = workstation.target(server.address.port());
        target.ssh.user = Some("ops".into());
        Self { workstation, server, target }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.workstation.folder.path().join(name)
    }

    /// How many lines the file called `name` has.
    fn count(&self, name: &str) -> usize {
        fs::read_to_string(self.file(name)).unwrap_or_default().lines().count()
    }

    fn with(&self, password: PasswordSource) -> Target {
        let mut target = self.target.clone();
        target.ssh.escalation = Escalation { tool: Tool::Sudo, password };
        target
    }

    fn password_file(&self, text: &str) -> PathBuf {
        let file = self.file("password");
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("permissions");
        file
    }

    /// No command line that went over the wire has the password in it.
    fn nothing_leaked(&self) {
        let commands = self.server.commands.lock().expect("a lock");
        assert!(commands.iter().all(|line| !line.contains("pass word")), "{commands:?}");
    }
}

/// What a command reads is its own, to the last byte, whatever is read before it.
async fn own_input(session: &Session) {
    for size in [0, 1, 3 * MEGABYTE] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let exec =
            Exec::new("echo \"$AS_ROOT\"; sha256sum", LONG).stdin(Stdin::Bytes(bytes.clone()));
        let output = session.exec(exec).await.expect("an end");
        let sum = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        assert_eq!(text(&output.stdout), format!("yes\n{sum}  -\n"));
        assert_eq!(text(&output.stderr), "");
    }
}

#[tokio::test]
async fn a_password_comes_from_a_file_or_a_command() {
    let guarded = Guarded::new().await;
    let file = guarded.password_file("pass word$1\nnot this\n");
    for source in [
        PasswordSource::File(file.clone()),
        PasswordSource::Command(format!("cat '{}'", file.display())),
    ] {
        let session = Session::connect(&guarded.with(source)).await.expect("a connection");
        own_input(&session).await;
        // sudo may also want none, and then none is sent.
        fs::write(guarded.file("free"), "").expect("a file");
        own_input(&session).await;
        fs::remove_file(guarded.file("free")).expect("a file");
    }
    assert_eq!(guarded.count("wrong"), 0);
    guarded.nothing_leaked();
}

#[tokio::test]
async fn a_wrong_password_of_a_file_is_tried_once() {
    let guarded = Guarded::new().await;
    let file = guarded.password_file("password\n");
    let source = PasswordSource::File(file.clone());
    let session = Session::connect(&guarded.with(source.clone())).await.expect("a connection");
    let error = run(&session, "id").await.expect_err("it is wrong");
    let said = format!("the password in {} is refused", file.display());
    assert!(error.why.contains(&said), "{error}");
    assert!(!format!("{error:?}").contains("password\\n"));
    assert_eq!(guarded.count("wrong"), 1, "a lock after three failures is not tempted");

    for (change, why) in
        [(0o644, "others may read the password"), (0o600, "there is no password in the first line")]
    {
        fs::write(&file, "\n").expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(change)).expect("permissions");
        let session = Session::connect(&guarded.with(source.clone())).await.expect("a connection");
        let error = run(&session, "id").await.expect_err("no password");
        assert!(error.why.contains(why) && error.help.is_some(), "{error}");
    }
    let source = PasswordSource::Command("echo no pass here >&2; exit 3".into());
    let session = Session::connect(&guarded.with(source)).await.expect("a connection");
    let error = run(&session, "id").await.expect_err("no password");
    assert!(
        error.why.contains("printed no password") && error.why.contains("no pass here"),
        "{error}"
    );
}

#[tokio::test]
async fn a_person_types_it_once_for_all_nodes() {
    let guarded = Guarded::new().await;
    let person = Person::with(&["pasword", "pass word$1"]);
    let dialler = person.dialler();
    for _ in 0..3 {
        let session = dialler.connect(&guarded.target).await.expect("a connection");
        own_input(&session).await;
    }
    let asked = person.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|(question, hidden)| *hidden && question.contains("Password of ops")));
    assert_eq!(guarded.count("wrong"), 1);
    guarded.nothing_leaked();

    let person = Person::with(&["a", "b", "c", "d"]);
    let session = person.dialler().connect(&guarded.target).await.expect("a connection");
    let error = run(&session, "id").await.expect_err("none is right");
    assert!(error.why.contains("the passwords that were typed are refused"), "{error}");
    assert_eq!(person.asked().len(), 3);

    let session = Session::connect(&guarded.target).await.expect("a connection");
    let error = run(&session, "id").await.expect_err("nobody is there");
    assert!(error.why.contains("sudo asks ops for a password"), "{error}");
    assert!(error.help.is_some_and(|help| help.contains("become_password_file")));
}

#[tokio::test]
async fn nobody_is_asked_where_sudo_wants_no_password() {
    let guarded = Guarded::new().await;
    fs::write(guarded.file("free"), "").expect("a file");
    let person = Person::with(&["never"]);
    let session = person.dialler().connect(&guarded.target).await.expect("a connection");
    own_input(&session).await;
    assert_eq!((person.asked().len(), guarded.count("tries")), (0, 3), "one sudo a command");
}

#[tokio::test]
async fn doas_in_place_of_sudo() {
    let guarded = Guarded::new().await;
    let doas = guarded.file("doas");
    let says = |text: &str| {
        fs::write(&doas, format!("#!/bin/sh\n{text}\n")).expect("a file");
        fs::set_permissions(&doas, fs::Permissions::from_mode(0o755)).expect("permissions");
    };
    let mut target = guarded.target.clone();
    target.ssh.escalation.tool = Tool::Doas;
    says("[ \"$1\" = -n ] && shift; AS_ROOT=yes exec \"$@\"");
    own_input(&Session::connect(&target).await.expect("a connection")).await;
    for (text, why) in [
        ("echo 'doas: Authorization required' >&2; exit 1", "doas asks ops for a password"),
        ("echo 'doas: Operation not permitted' >&2; exit 1", "ops may not use doas"),
    ] {
        says(text);
        let session = Session::connect(&target).await.expect("a connection");
        let error = run(&session, "id").await.expect_err("refused");
        assert!(error.why.contains(why), "{error}");
        assert!(error.help.is_some_and(|help| help.contains("permit nopass ops as root")));
    }
}
