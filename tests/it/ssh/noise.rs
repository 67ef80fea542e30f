//! What comes between a command and a node, and what a node prints.

use super::*;

#[tokio::test]
async fn sudo_in_the_way_is_explained() {
    for (stderr, code, why) in [
        ("sudo: a password is required\n", 1, "sudo asks ops for a password"),
        ("bash: line 1: sudo: command not found\n", 127, "ops is not root, and there is no sudo"),
        ("sudo: sorry, you must have a tty to run sudo\n", 1, "requiretty"),
    ] {
        let workstation = Workstation::new();
        let host_key = key(Algorithm::Ed25519);
        // The login shell has greeted before.
        let options = Options::new(&host_key, &workstation.login).answering(move |_| {
            Some(Answer::Instead { stdout: "Welcome\n".into(), stderr: stderr.into(), code })
        });
        let server = options.start().await;
        workstation.knows("", server.address.port(), &host_key);
        let mut target = workstation.target(server.address.port());
        target.ssh.user = Some("ops".into());
        let session = Session::connect(&target).await.expect("a connection");
        let error = run(&session, "id").await.expect_err("no root");
        assert!(error.why.contains(why), "{error}");
        assert!(error.help.is_some());
        assert!(server.commands.lock().expect("a lock")[0].starts_with("sudo -n sh -c '"));
    }
}

#[tokio::test]
async fn a_forced_command_is_shown_as_what_it_is() {
    // What cloud-init answers root's key with.
    let said = "Please login as the user \"ubuntu\" rather than the user \"root\".\n\n";
    let (_workstation, _server, session) = lab(|options| {
        options.answering(|_| {
            Some(Answer::Instead { stdout: said.into(), stderr: String::new(), code: 142 })
        })
    })
    .await;
    // Whatever is asked: text, lines, a stream into a file, a script on standard input.
    let (lines, _heard) = labctl::transport::lines();
    let script = Stdin::Bytes(b"echo never\n".to_vec());
    for exec in [
        Exec::new("id", LONG),
        Exec::new("id", LONG).lines(lines),
        Exec::new("id", LONG).sink(tempfile::tempfile().expect("a file")),
        Exec::new("sh -s", LONG).stdin(script),
    ] {
        let error = session.exec(exec).await.expect_err("it never began");
        assert!(error.why.contains("Please login as the user \"ubuntu\""), "{error}");
        let help = error.help.expect("what to do");
        assert!(help.contains("ssh.user") && help.contains("ubuntu"), "{help}");
    }
}

#[tokio::test]
async fn what_a_profile_prints_is_dropped() {
    for profile in [
        "echo Welcome; echo careful >&2; ",
        r"printf '\033]0;root@node\007'; ",
        "printf '@ready raw\\n@end\\nclock\\t1'; printf 'no line end' >&2; ",
        "head -c 500000 /dev/zero; ",
    ] {
        let (_workstation, _server, session) = lab(|mut options| {
            options.profile = profile;
            options
        })
        .await;
        let output = run(&session, "echo out; echo aside >&2; exit 3").await.expect("an end");
        assert_eq!(
            (text(&output.stdout), text(&output.stderr), output.code),
            ("out\n", "aside\n", 3),
            "{profile}"
        );

        let (lines, mut heard) = labctl::transport::lines();
        session.exec(Exec::new("echo @ready zst", LONG).lines(lines)).await.expect("an end");
        assert_eq!(heard.recv().await.as_deref(), Some("@ready zst"), "{profile}");
        assert_eq!(heard.recv().await, None);

        let mut file = tempfile::tempfile().expect("a file");
        let sink = file.try_clone().expect("the same file");
        session.exec(Exec::new("head -c 20000 /dev/zero", LONG).sink(sink)).await.expect("an end");
        assert_eq!(
            std::io::Seek::stream_position(&mut file).expect("a position"),
            20_000,
            "{profile}"
        );

        let script = Stdin::Bytes(b"echo from a script\n".to_vec());
        let output = session.exec(Exec::new("sh -s", LONG).stdin(script)).await.expect("an end");
        assert_eq!(text(&output.stdout), "from a script\n", "{profile}");
    }
}

/// How much memory this process has had at most, in bytes.
fn most_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_prints_without_end_is_ended_and_takes_no_memory() {
    let endless = |first: &str, piece: &str, errors| {
        let piece = piece.repeat(32 * 1024 / piece.len()).into_bytes();
        Answer::Endless { first: first.into(), piece, errors }
    };
    for (answer, why) in [
        (endless("MARKER\n", "y\n", false), "too much output: it printed more than 4 MiB"),
        (endless("MARKER\n", "\n", false), "too much output: it printed more than 4 MiB"),
        (endless("MARKER\n", "x", false), "too much output: it printed more than 4 MiB"),
        (endless("", "y\n", false), "too much output of the login shell"),
        (endless("", "y\n", true), "too much output of the login shell"),
    ] {
        let (_workstation, _server, session) = lab(|options| {
            options.answering(move |command| command.contains("babble").then(|| answer.clone()))
        })
        .await;
        let before = most_memory();
        // Nobody hears the lines: what waits to be heard is bounded too.
        let (lines, mut heard) = labctl::transport::lines();
        let listening = tokio::spawn(async move {
            let mut count = 0_usize;
            while heard.recv().await.is_some() {
                count += 1;
            }
            count
        });
        let error =
            session.exec(Exec::new("babble", LONG).lines(lines)).await.expect_err("without an end");
        assert!(error.why.contains(why), "{error}");
        listening.await.expect("no panic");
        // The channel's window, what is kept, and what other tests of this process do meanwhile.
        let more = most_memory().saturating_sub(before);
        assert!(more < 300 * MEGABYTE, "{why}: {} MiB more", more / MEGABYTE);
        // The connection itself is all right.
        let output = session.exec(Exec::new("echo on", LONG)).await.expect("an end");
        assert_eq!(output.stdout, b"on\n");
    }
}

#[tokio::test]
async fn a_user_with_sudo_runs_as_root() {
    let workstation = Workstation::new();
    let sudo = workstation.folder.path().join("sudo");
    fs::write(&sudo, "#!/bin/sh\n[ \"$1\" = -n ] && shift\nAS_ROOT=yes exec \"$@\"\n")
        .expect("a file");
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).expect("permissions");
    let host_key = key(Algorithm::Ed25519);
    let mut options = Options::new(&host_key, &workstation.login);
    options.path = Some(workstation.folder.path().display().to_string());
    let server = options.start().await;
    workstation.knows("", server.address.port(), &host_key);
    let mut target = workstation.target(server.address.port());
    target.ssh.user = Some("ops".into());
    let session = Session::connect(&target).await.expect("a connection");
    let output = run(&session, "echo \"$AS_ROOT it's\"").await.expect("an end");
    assert_eq!(text(&output.stdout), "yes it's\n");
}
