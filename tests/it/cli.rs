//! The command line as a user meets it: every story under `tests/cli/` is run as it stands there,
//! with its exact output and exit code. `TRYCMD=overwrite cargo test --test it cli` writes what is
//! said today into the stories, for review.
//!
//! A story begins in a copy of its `.in` folder. `$BUNDLE` is a small bundle with everything that a
//! lab of 1.34.4 needs and no real program in it, `$PORT` is an SSH server that nobody knows.
//! Console blocks of README and `docs/` are run too.

use crate::support::ssh_server;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use labctl::bundle::lock::{self, Lock, LockedFile};
use labctl::bundle::releases::{Sources, components, releases};
use labctl::lab::LabDirectory;
use labctl::pki::store;
use sha2::{Digest, Sha256};

const LABCTL: &str = env!("CARGO_BIN_EXE_labctl");

/// A machine with one lab on it: one node that exists and is reached by nobody.
const INVENTORY: &str = "\
name: quiet
kubernetes: \"1.34.4\"
bundle: bundle
nodes:
  - { name: one, address: 192.0.2.10, roles: [controller, worker, loadbalancer, client], ssh: { \
    host: 127.0.0.1, port: 1 } }
";

#[test]
fn every_story_is_told_as_written() {
    let tools = Tools::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let key = ssh_server::key(russh::keys::Algorithm::Ed25519);
    let stranger = runtime.block_on(ssh_server::Options::new(&key, &key).start());
    let stories = trycmd::TestCases::new();
    for (name, value) in tools.environment() {
        stories.env(name, value);
    }
    stories.env("INVENTORIES", shipped().display().to_string());
    stories.env("PORT", stranger.address.port().to_string());
    stories.insert_var("[PORT]", stranger.address.port().to_string()).expect("a name");
    stories
        .insert_var("[HOME]", tools.folder.path().join("home").display().to_string())
        .expect("a name");
    stories.insert_var("[INVENTORIES]", shipped().display().to_string()).expect("a name");
    // A program that is not registered is passed over in silence, and its story with it.
    stories.register_bin("sh", Path::new("/bin/sh"));
    stories.register_bin("as-nobody", tools.folder.path().join("as-nobody"));
    stories.register_bin("without-programs", tools.folder.path().join("without-programs"));
    stories.case("tests/cli/*.trycmd").case("tests/cli/*.toml");
    // Console blocks of the documentation, in the repository's own directory; they write nothing.
    stories.case("README.md").case("docs/*.md").case("docs/labs/*.md");
    stories.run();
}

#[test]
fn a_run_that_is_told_to_end_stops_as_on_ctrl_c() {
    use std::io::BufRead as _;
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a folder"));
    // A node that is reached and then says nothing, so that the run is in the middle of it.
    let node = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = node.local_addr().expect("an address").port();
    let inventory = quiet_lab(&tools, folder.path());
    fs::write(&inventory, INVENTORY.replace("port: 1 ", &format!("port: {port} ")))
        .expect("an inventory");
    for (first, second) in [("TERM", "TERM"), ("HUP", "TERM"), ("INT", "HUP")] {
        let mut run = Command::new("sh")
            .args(["-c", "exec \"$0\" up 2>&1", LABCTL])
            .current_dir(folder.path())
            .envs(tools.environment())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("labctl starts");
        let _connection = node.accept().expect("it dials the node");
        let id = run.id().to_string();
        let tell = |signal: &str| {
            let told = Command::new("kill").args([&format!("-{signal}"), &id]).status();
            assert!(told.expect("kill").success());
        };
        tell(first);
        let mut said = std::io::BufReader::new(run.stdout.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok);
        assert!(
            said.any(|line| line.contains("stopping: running tasks may finish")),
            "{first} stops it gently"
        );
        tell(second);
        assert_eq!(run.wait().expect("an end").code(), Some(130), "{first}, then {second}");
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a folder"));
    let inventory = quiet_lab(&tools, folder.path());
    let (cluster, _) = labctl::cluster::open(&inventory).expect("a lab");
    let lab = LabDirectory::new(&cluster.lab_directory);
    let kept =
        store::ensure(&cluster, &lab, time::OffsetDateTime::now_utc()).expect("certificates");
    kept.save(&lab).expect("certificates are kept");
    let mut secrets: BTreeSet<String> = BTreeSet::from(["PRIVATE KEY".to_owned()]);
    for name in kept.pki.names().filter(|name| name.ends_with(".key")) {
        let text = String::from_utf8_lossy(kept.pki.get(name).expect("a key")).into_owned();
        let body: Vec<String> =
            text.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect();
        // In a kubeconfig a key is encoded a second time; its first line is enough to find it.
        secrets.insert(
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &text)
                [..60.min(text.len())]
                .to_owned(),
        );
        // What follows on the first two lines of a key is its public half, which certificates show
        // too.
        secrets.extend(body.into_iter().take(2).filter(|line| line.len() > 20));
    }
    assert!(secrets.len() > 10);
    for line in
        ["render", "explain", "plan", "plan -v", "plan --output json", "up", "up --output json"]
    {
        let output = tools.labctl(folder.path(), line);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.len() > 100, "{line}: {said}");
        for secret in &secrets {
            assert!(!said.contains(secret.as_str()), "`labctl {line}` prints a secret: {secret}");
        }
    }
    for name in
        ["encryption-config.yaml", "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/admin.conf"]
    {
        let output = tools.labctl(folder.path(), &format!("render --file {name}"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{name}");
    }
    assert!(tools.labctl(folder.path(), "render --to out").status.success());
    for file in files_under(&folder.path().join("out")).into_keys() {
        let text = fs::read_to_string(folder.path().join("out").join(&file)).expect("a file");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{} holds a secret", file.display());
        }
    }
}

#[test]
fn a_mistake_in_a_playbook_cannot_print_the_encryption_key() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a folder"));
    quiet_lab(&tools, folder.path());
    let playbook = |task: &str| {
        fs::create_dir_all(folder.path().join("mine")).expect("a folder");
        let text = format!("name: up\nplays:\n- name: leak\n  hosts: all\n  tasks:\n  - {task}\n");
        fs::write(folder.path().join("mine/up.yaml"), text).expect("a playbook");
    };
    for task in [
        "command: { run: 'echo {{ encryption_keys[0].secret }}', unless: 'false' }",
        "wait: { for: '{{ encryption_keys[0].secret }}', until: 'true', timeout: 1s }",
        "directory: { path: '/{{ encryption_keys[0].secret }}' }",
    ] {
        playbook(task);
        let output = tools.labctl(folder.path(), "explain --playbooks mine");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{task}: {said}");
        assert!(said.contains("this would reveal a secret of the lab"), "{task}: {said}");
    }
    playbook("file: { content: 'key {{ encryption_keys[0].secret }} end', to: /x }");
    let output = tools.labctl(folder.path(), "explain --playbooks mine");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("playbook /x") && !said.contains("key "),
        "{said}"
    );
}

#[test]
fn reading_a_lab_writes_nothing() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a folder"));
    quiet_lab(&tools, folder.path());
    let here = files_under(folder.path());
    let home = files_under(tools.folder.path());
    for (line, code) in [
        ("validate", 0),
        ("render", 0),
        ("explain", 0),
        ("graph", 0),
        ("bundle list", 0),
        ("bundle verify", 0),
        ("plan", 1),
        ("kubeconfig", 1),
        ("ssh nix", 2),
    ] {
        let output = tools.labctl(folder.path(), line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "`labctl {line}`: {said}");
        assert!(
            files_under(folder.path()) == here,
            "`labctl {line}` writes in the lab's directory"
        );
        assert!(files_under(tools.folder.path()) == home, "`labctl {line}` writes at home");
    }
    // Neither does a lab whose bundle was never made, nor one that has no bundle of its own.
    fs::remove_file(folder.path().join("bundle")).expect("the bundle goes");
    for inventory in [INVENTORY.to_owned(), INVENTORY.replace("bundle: bundle\n", "")] {
        fs::write(folder.path().join("inventory.yaml"), inventory).expect("an inventory");
        for line in ["render", "explain"] {
            let output = tools.labctl(folder.path(), line);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            let left: Vec<PathBuf> = files_under(folder.path()).into_keys().collect();
            assert_eq!(left, [PathBuf::from("inventory.yaml")], "after `labctl {line}`");
        }
    }
    assert!(files_under(tools.folder.path()) == home);
}

/// What the stories leave out because it is long: the standard playbooks and templates, as they are
/// in the sources.
#[test]
fn standard_files_are_shown_and_exported_as_they_are() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a folder"));
    quiet_lab(&tools, folder.path());
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let said = |line: &str| {
        let output = tools.labctl(folder.path(), line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let playbooks = files_under(&sources.join("playbooks"));
    assert!(playbooks.contains_key(Path::new("up/etcd.yaml")), "{:?}", playbooks.keys());
    for (file, text) in &playbooks {
        let name = file.with_extension("");
        let name = name.display();
        assert_eq!(said(&format!("playbook show {name}")).as_bytes(), text, "{name}");
    }
    said("playbook export mine");
    assert!(files_under(&folder.path().join("mine/playbooks")) == playbooks);
    assert!(
        files_under(&folder.path().join("mine/templates"))
            == files_under(&sources.join("templates"))
    );
    // What somebody has altered is written over only when that is asked for.
    fs::write(folder.path().join("mine/playbooks/down.yaml"), "mine").expect("a playbook");
    said("playbook export mine");
    assert_eq!(files_under(&folder.path().join("mine/playbooks"))[Path::new("down.yaml")], b"mine");
    said("playbook export mine --force");
    assert!(files_under(&folder.path().join("mine/playbooks")) == playbooks);
}

#[test]
fn a_timeline_is_drawn_of_the_last_run_of_a_named_one_and_as_a_page() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    quiet_lab(&tools, folder.path());
    let runs = folder.path().join(".labctl/quiet/runs");
    fs::create_dir_all(&runs).expect("a directory");
    let log = include_str!("../cli/timeline.in/up.jsonl");
    fs::write(runs.join("2026-01-01T00-00-00Z.jsonl"), log.replace("\"up\"", "\"first\""))
        .expect("a log");
    fs::write(runs.join("2026-01-02T00-00-00Z.jsonl"), log.replace("worker-0", "<worker&0>"))
        .expect("a log");
    let said = |line: &str| {
        let output = tools.labctl(folder.path(), line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let list = said("timeline --list");
    let at = |run: &str| list.find(run).unwrap_or_else(|| panic!("{run} in {list}"));
    assert!(at("2026-01-02") < at("2026-01-01"), "the newest first: {list}");
    let last = said("timeline");
    assert!(last.contains("<worker&0>") && last.contains("etcd"), "{last}");
    let first = said("timeline inventory.yaml 2026-01-01T00-00-00Z");
    assert!(first.contains("first") && !first.contains("<worker&0>"), "{first}");

    said("timeline --html page.html");
    let page = fs::read_to_string(folder.path().join("page.html")).expect("the page");
    assert!(page.starts_with("<!doctype html>\n") && page.ends_with("</html>\n"), "{page}");
    assert!(
        page.contains("&lt;worker&amp;0&gt;") && !page.contains("<worker&0>"),
        "names are text, not markup: {page}"
    );
    assert!(!page.contains("http") && !page.contains("<script"), "a page that needs nothing else");
    let count = |what: &str| page.matches(what).count();
    assert_eq!(count("<svg"), count("</svg>"));
    assert!(
        count("<rect") > 5 && count("<rect") == count("</rect>"),
        "a bar with its tooltip: {page}"
    );
    assert!(count("<li>") > 2, "the critical path: {page}");
}

/// Both forms of the graph have the same plays and the same arrows.
#[test]
fn the_graph_is_the_same_in_both_forms() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a folder"));
    quiet_lab(&tools, folder.path());
    let text = |line: &str| {
        let output = tools.labctl(folder.path(), line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let (mermaid, dot) = (text("graph"), text("graph --format dot"));
    // `p3["etcd<br/>controllers"]` there, and `"etcd" [label="etcd\ncontrollers"]` here.
    let plays: BTreeMap<&str, &str> = mermaid
        .lines()
        .filter_map(|line| line.trim().split_once("[\""))
        .map(|(id, title)| (id, title.split("<br/>").next().expect("a name")))
        .collect();
    let arrows: BTreeSet<(&str, &str)> = mermaid
        .lines()
        .filter_map(|line| line.trim().split_once(" --> "))
        .map(|(from, to)| (plays[from], plays[to]))
        .collect();
    let (mut named, mut drawn) = (BTreeSet::new(), BTreeSet::new());
    for line in dot.lines().map(str::trim).filter(|line| line.starts_with('"')) {
        if let Some((from, to)) = line.split_once(" -> ") {
            drawn.insert((from.trim_matches('"'), to.trim_matches('"')));
        } else {
            named.insert(line[1..].split('"').next().expect("a name"));
        }
    }
    assert!(plays.len() > 15 && arrows.len() > 25, "{mermaid}");
    assert_eq!(named, plays.values().copied().collect());
    assert_eq!(drawn, arrows);
}

#[test]
fn a_playbook_with_a_mistake_leaves_no_certificates_behind() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a folder"));
    quiet_lab(&tools, folder.path());
    fs::create_dir(folder.path().join("mine")).expect("a folder");
    fs::write(folder.path().join("mine/etcd.service.tera"), "{{ nodes.nix }}").expect("a template");
    let output = tools.labctl(folder.path(), "up --templates mine");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!folder.path().join(".labctl/quiet/pki").exists());
}

/// What stories and tests run with: a home with nothing in it, a bundle, and other users' shoes.
pub struct Tools {
    folder: tempfile::TempDir,
}

impl Tools {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tools = Self { folder };
        let here = tools.folder.path();
        // Another user has to come by.
        fs::set_permissions(here, fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::create_dir(here.join("home")).expect("a folder");
        bundle(&here.join("bundle"));
        script(&here.join("as-nobody"), AS_NOBODY);
        script(&here.join("without-programs"), WITHOUT_PROGRAMS);
        fs::copy(LABCTL, here.join("labctl")).expect("labctl, where everybody can run it");
        tools
    }

    pub fn environment(&self) -> [(&'static str, String); 6] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let programs = std::env::var("PATH").expect("a PATH");
        [
            ("PATH", format!("{}:{programs}", self.folder.path().display())),
            ("COLUMNS", "100".to_owned()),
            ("HOME", path("home")),
            ("LABCTL_CACHE", path("home/cache")),
            ("BUNDLE", path("bundle")),
            ("SSH_AUTH_SOCK", String::new()),
        ]
    }

    pub fn labctl(&self, folder: &Path, line: &str) -> Output {
        let mut command = Command::new(LABCTL);
        command
            .current_dir(folder)
            .args(line.split(' '))
            .envs(self.environment())
            .stdin(std::process::Stdio::null());
        command.output().expect("labctl runs")
    }
}

/// Runs labctl as a user who is not root, whoever runs the tests.
const AS_NOBODY: &str = r#"#!/bin/sh
labctl=$(dirname "$0")/labctl
if [ "$(id -u)" != 0 ]; then exec "$labctl" "$@"; fi
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$labctl" "$@"
"#;

/// Runs labctl on a machine that has no programs at all, and as nobody, so that nothing can come of
/// it.
const WITHOUT_PROGRAMS: &str = r#"#!/bin/sh
here=$(dirname "$0")
cp "$(command -v mount)" "$(command -v setpriv)" "$here/" || exit 99
if [ "$(id -u)" = 0 ]; then map=''; else map=--map-root-user; fi
exec unshare $map --mount sh -c '
  here=$1 map=$2
  shift 2
  for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
    "$here/mount" -t tmpfs none $folder || exit 98
  done
  if [ "$map" ]; then exec "$here/labctl" "$@"; fi
  exec "$here/setpriv" --reuid=65534 --regid=65534 --clear-groups "$here/labctl" "$@"
' sh "$here" "$map" "$@"
"#;

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// A bundle of 1.34.4 in which every file holds its own name.
fn bundle(folder: &Path) {
    let version = "1.34.4".parse().expect("a version");
    let known = components(version).expect("a version that labctl knows");
    let known = releases(version, "amd64", &known, &Sources::official()).expect("releases");
    let mut files = BTreeMap::new();
    let mut place = |name: &str, path: &str, version: &str, image: Option<String>| {
        let target = folder.join(path);
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::write(&target, name).expect("a file");
        let (sha256, size) = (hex::encode(Sha256::digest(name)), name.len() as u64);
        let file =
            LockedFile { version: version.to_owned(), path: path.to_owned(), size, sha256, image };
        files.insert(name.to_owned(), file);
    };
    for artefact in &known.artefacts {
        for target in artefact.targets() {
            place(&target.name, &target.path, &artefact.version, None);
        }
    }
    for image in &known.images {
        place(&image.target.name, &image.target.path, &image.version, Some(image.reference()));
    }
    lock::write(folder, &Lock { kubernetes: version, architecture: "amd64".to_owned(), files })
        .expect("a lock");
}

/// The lab of [`INVENTORY`] with its bundle, in `folder`.
pub fn quiet_lab(tools: &Tools, folder: &Path) -> PathBuf {
    let inventory = folder.join("inventory.yaml");
    fs::write(&inventory, INVENTORY).expect("an inventory");
    std::os::unix::fs::symlink(tools.folder.path().join("bundle"), folder.join("bundle"))
        .expect("a link");
    inventory
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories")
}

/// Every file below `folder` with its content, and every link with where it leads; links are not
/// followed.
fn files_under(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let entry = entry.expect("an entry");
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            if kind.is_dir() {
                open.push(path);
            } else {
                let content = if kind.is_symlink() {
                    fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
                } else {
                    fs::read(&path).expect("a file")
                };
                found.insert(path.strip_prefix(folder).expect("below it").to_owned(), content);
            }
        }
    }
    found
}
