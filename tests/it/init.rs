//! `init` as a new user runs it: an inventory for local nodes, and one for machines that it has
//! logged in to. Whatever it writes is right at once; and where it cannot, it writes nothing.

use std::fs;
use std::path::Path;
use std::process::Output;

use russh::keys::{Algorithm, PrivateKey, ssh_key};

use crate::cli::Tools;
use crate::support::ssh_server::{self, Server};

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs labctl with success; its standard output.
fn must(tools: &Tools, folder: &Path, line: &str) -> String {
    let output = tools.labctl(folder, line);
    let (stdout, stderr) = text(&output);
    assert!(output.status.success(), "{line}:\n{stdout}{stderr}");
    stdout
}

/// Runs labctl, which refuses; its standard error.
fn refused(tools: &Tools, folder: &Path, line: &str) -> String {
    let output = tools.labctl(folder, line);
    let (stdout, stderr) = text(&output);
    assert!(!output.status.success(), "{line}:\n{stdout}{stderr}");
    stderr
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a directory").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_lab_of_local_nodes_is_written_and_right_at_once() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    let here = folder.path().join("my-lab");
    fs::create_dir(&here).expect("a directory");
    for (options, name, counted) in [
        ("", "my-lab", "3 nodes (1 controller, 2 workers)"),
        (" --controllers 3 --workers 4 --name big", "big", "8 nodes (3 controllers, 4 workers)"),
        (" --controllers 1 --workers 0", "my-lab", "1 node (1 controller, 1 worker)"),
        (" --controllers 11 --workers 90", "my-lab", "102 nodes (11 controllers, 90 workers)"),
        (" --like sandbox", "sandbox", "6 nodes (2 controllers, 2 workers)"),
        (" --name 2024", "2024", "3 nodes (1 controller, 2 workers)"),
        (" --like single --name null", "null", "1 node (1 controller, 1 worker)"),
        (" --like ha --name mine", "mine", "7 nodes (3 controllers, 3 workers)"),
        (" --like single", "single", "1 node (1 controller, 1 worker)"),
        (" --like multinode", "multinode", "3 nodes (1 controller, 3 workers)"),
    ] {
        let said = must(&tools, &here, &format!("init{options}"));
        assert!(said.starts_with(&format!("inventory.yaml: lab {name}\n")), "{said}");
        assert!(said.contains("Next:\n  labctl plan "), "{said}");
        let valid = must(&tools, &here, "validate");
        assert!(valid.contains(&format!("lab {name}, ")) && valid.contains(counted), "{valid}");
        assert_eq!(names(&here), ["inventory.schema.json", "inventory.yaml"]);
        let written = fs::read_to_string(here.join("inventory.yaml")).expect("an inventory");
        assert!(written.starts_with("# yaml-language-server: $schema=inventory.schema.json\n"));
        assert!(written.lines().all(|line| line.chars().count() <= 100), "{written}");
        assert_eq!(must(&tools, &here, &format!("init{options} --to -")), written);
        fs::remove_file(here.join("inventory.yaml")).expect("it is there");
    }
    let schema = fs::read_to_string(here.join("inventory.schema.json")).expect("a schema");
    assert_eq!(schema, must(&tools, &here, "schema"));
}

#[test]
fn what_is_there_is_not_overwritten() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    let file = folder.path().join("inventory.yaml");
    fs::write(&file, "mine\n").expect("a file");
    for line in ["init", "init --like ha", "init root@192.0.2.1"] {
        let said = refused(&tools, folder.path(), line);
        assert!(said.contains("inventory.yaml exists already"), "{said}");
    }
    assert_eq!(fs::read_to_string(&file).expect("a file"), "mine\n");
    must(&tools, folder.path(), "init --name other --to other.yaml");
    must(&tools, folder.path(), "validate other.yaml");
    // Nor is somebody's dangling link followed.
    std::os::unix::fs::symlink("nowhere", folder.path().join("link.yaml")).expect("a link");
    let said = refused(&tools, folder.path(), "init --to link.yaml");
    assert!(said.contains("link.yaml exists already"), "{said}");
}

/// A machine, which is this one, behind a server that lets `key` in.
async fn machine(key: &PrivateKey) -> Server {
    ssh_server::Options::new(key, key).start().await
}

/// Writes the key where `--identity` finds it.
fn identity(folder: &Path) -> PrivateKey {
    let key = ssh_server::key(Algorithm::Ed25519);
    let text = key.to_openssh(ssh_key::LineEnding::LF).expect("a key");
    fs::write(folder.join("key"), text.as_bytes()).expect("a file");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(folder.join("key"), private).expect("its mode");
    key
}

#[test]
fn machines_are_looked_at_and_proposed() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    let here = folder.path();
    let key = identity(here);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(machine(&key));
    let port = server.address.port();
    let line = format!("init --name own --identity key root@127.0.0.1:{port}");
    // Nobody knows its key yet.
    let said = refused(&tools, here, &line);
    assert!(said.contains("--accept-new-host-keys"), "{said}");
    assert!(said.contains("nothing was written"), "{said}");
    assert_eq!(names(here), ["key"]);
    let said = must(&tools, here, &format!("{line} --accept-new-host-keys"));
    assert!(said.starts_with("inventory.yaml: lab own\n"), "{said}");
    assert!(said.contains("controller, worker"), "{said}");
    let written = fs::read_to_string(here.join("inventory.yaml")).expect("an inventory");
    assert!(written.contains("  user: root\n  identity: key\n"), "{written}");
    assert!(
        written.contains(&format!("ssh: {{ host: \"127.0.0.1\", port: {port} }}")),
        "{written}"
    );
    must(&tools, here, "validate");
    fs::create_dir(here.join("sub")).expect("a directory");
    must(&tools, here, &format!("{line} --accept-new-host-keys --to sub/lab.yaml"));
    let written = fs::read_to_string(here.join("sub/lab.yaml")).expect("an inventory");
    assert!(written.contains(&format!("  identity: {}/key\n", here.display())), "{written}");
    // Nothing was done on it but to ask.
    let asked = server.commands.lock().expect("its commands").len();
    assert!(asked <= 4, "{asked} commands");

    // Two ways to one machine are one node.
    let other = runtime.block_on(machine(&key));
    let two = format!("root@127.0.0.1:{port} root@127.0.0.1:{}", other.address.port());
    let said = refused(
        &tools,
        here,
        &format!("init --name own --to two.yaml --identity key --accept-new-host-keys {two}"),
    );
    assert!(said.contains("are one machine"), "{said}");
    assert!(!here.join("two.yaml").exists());
}

#[test]
fn machines_that_cannot_be_used_are_named_and_nothing_is_written() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    let here = folder.path();
    let key = identity(here);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let said = refused(&tools, here, &format!("init --identity key root@127.0.0.1:{port}"));
    assert!(said.contains("connection refused"), "{said}");
    assert!(said.contains("nothing was written"), "{said}");
    for (line, what) in [
        ("init a a", "`a` is named twice"),
        ("init root@a other@a", "`a` is named twice"),
        ("init root@:22", "`root@:22` has a host that"),
        ("init a:0", "`a:0` has a port that is not a number from 1 to 65535"),
        ("init fd00::1::2", "`fd00::1::2` has a host that"),
        ("init --name Lab", "the lab's name `Lab` has capital letters"),
        ("init --to no/lab.yaml", "there is no directory no"),
        ("init --controllers 0", "a lab needs a controller"),
        ("init --controllers 91", "at most 90 of a kind"),
    ] {
        let said = refused(&tools, here, line);
        assert!(said.contains(what), "{line}: {said}");
    }
    assert_eq!(names(here), ["key"]);
    drop(key);
}
