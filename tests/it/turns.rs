//! One run at a time on a node: the shell that decides it, with connections that come and go.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use labctl::node::TURN;

/// A node: where labctl keeps its own things there, and a server of connections.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().expect("a directory"));
        // A shell that serves one connection: it takes commands until the connection ends.
        let server = node.path().join("sshd");
        fs::write(&server, "#!/bin/sh\nwhile read -r line; do eval \"$line\"; done\n")
            .expect("a server");
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).expect("a program");
        fs::write(node.path().join("turn.sh"), TURN).expect("the script");
        node
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The command by which a run takes its turn.
    fn turn(&self, run: &str) -> String {
        let at = self.path().display();
        format!(
            "patience=0 state={at} here={at} sh -c '. {at}/turn.sh; turn \"$@\" && echo mine' \
            turn '{run}' 'labctl up by {run}'\n"
        )
    }

    /// A connection over which `run` has taken its turn.
    fn connected(&self, run: &str) -> Child {
        let mut server = Command::new(self.path().join("sshd"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server");
        let stdin = server.stdin.as_mut().expect("its input");
        stdin.write_all(self.turn(run).as_bytes()).expect("it reads");
        let mut answer = std::io::BufReader::new(server.stdout.as_mut().expect("its output"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut answer, &mut line).expect("an answer");
        assert_eq!(line, "mine\n", "{run} gets its turn");
        server
    }

    /// What `run` is answered over a connection of its own that ends at once.
    fn asked(&self, run: &str) -> String {
        let mut server = Command::new(self.path().join("sshd"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server");
        let mut stdin = server.stdin.take().expect("its input");
        stdin.write_all(self.turn(run).as_bytes()).expect("it reads");
        drop(stdin);
        let Output { stdout, .. } = server.wait_with_output().expect("it ends");
        String::from_utf8(stdout).expect("text")
    }
}

fn hang_up(mut connection: Child) {
    drop(connection.stdin.take());
    connection.wait().expect("the server of the connection ends");
}

#[test]
fn a_second_run_is_refused_by_the_firsts_name_until_its_connection_ends() {
    let node = Node::new();
    let first = node.connected("first");
    let refused = node.asked("second");
    assert!(refused.contains("@output another run is changing this node: labctl up by first\n"));
    assert!(refused.ends_with("@fail 0 1\n"), "{refused}");
    assert_eq!(node.asked("first"), "mine\n", "other scripts of the run, over any connection");
    hang_up(first);
    assert_eq!(node.asked("second"), "mine\n");
    assert_eq!(node.asked("first"), "mine\n", "the second has gone, too");
}

#[test]
fn a_run_waits_for_the_connection_of_one_that_was_killed() {
    let node = Node::new();
    let first = node.connected("first");
    let at = node.path().display();
    // As long as it takes: what ends the wait is the end of the first run's connection.
    let waiting = Command::new("sh")
        .arg("-c")
        .arg(node.turn("second").replace("patience=0", "patience=600"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let output = node.path().join("output");
    while !fs::read_to_string(&output).unwrap_or_default().contains("another run") {
        std::thread::yield_now();
    }
    hang_up(first);
    let Output { stdout, .. } = waiting.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&stdout), "mine\n", "in {at}");
}

#[test]
fn a_connection_that_hangs_does_not_keep_the_next_run_of_the_same_lab_directory_out() {
    let node = Node::new();
    let first = node.connected("desk 100 monday");
    let second = node.connected("desk 200 tuesday");
    let refused = node.asked("laptop 300 tuesday");
    assert!(refused.contains("labctl up by desk 200 tuesday"), "{refused}");
    let process = first.id();
    hang_up(first);
    hang_up(second);
    let stale = fs::read_to_string(node.path().join("run")).expect("who it is");
    assert!(!stale.contains(&format!("\n{process} ")), "the second run has its own connection");
}

#[test]
fn a_server_that_is_called_otherwise_does_not_hold_a_node() {
    let node = Node::new();
    fs::rename(node.path().join("sshd"), node.path().join("tinysshd")).expect("another name");
    let at = node.path().display();
    let both = [node.turn("first one"), node.turn("second one")].concat();
    let served = Command::new("sh")
        .arg("-c")
        .arg(format!("printf '%s' \"$1\" | {at}/tinysshd"))
        .args(["sh", &both])
        .output()
        .expect("a server");
    assert_eq!(String::from_utf8_lossy(&served.stdout), "mine\nmine\n");
}

#[test]
fn a_node_that_was_started_again_remembers_no_run() {
    let node = Node::new();
    let first = node.connected("first");
    let file = node.path().join("run");
    let held = fs::read_to_string(&file).expect("who it is");
    let since = held.lines().nth(1).expect("the connection").split(' ').nth(1).expect("a start");
    // The same number of a process, at the same moment after another start of the machine.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the boot's name");
    fs::write(&file, held.replace(boot.trim(), "another")).expect("written");
    assert_eq!(node.asked("second"), "mine\n");
    // The same number of a process, which began at another moment.
    fs::write(&file, held.replace(since, "1")).expect("written");
    assert_eq!(node.asked("second"), "mine\n");
    // What a power failure leaves of the file.
    for torn in ["", "first", "first\n", "first\n12 34"] {
        fs::write(&file, torn).expect("written");
        assert_eq!(node.asked("second"), "mine\n", "{torn:?}");
    }
    hang_up(first);
}
