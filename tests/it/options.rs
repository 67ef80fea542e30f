//! Options that no node is needed for, each with what comes of it: bundles in another directory or
//! pulled from the official hosts, playbooks and templates that users wrote, one file of many.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::cli::{Tools, quiet_lab};
use crate::support::http_server::Server;
use crate::support::official::Official;
use crate::support::releases::serve_releases;

/// What a verb prints. It must succeed.
fn said(tools: &Tools, folder: &Path, line: &str) -> String {
    let output = tools.labctl(folder, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_bundle_is_listed_and_verified_where_it_is_said_to_be() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    quiet_lab(&tools, folder.path());
    let other = folder.path().join("other");
    let copied = std::process::Command::new("cp")
        .args(["-rL", "bundle", "other"])
        .current_dir(folder.path())
        .status();
    assert!(copied.expect("cp").success());
    let lock = fs::read_to_string(other.join("bundle.lock")).expect("a lock");
    fs::write(
        other.join("bundle.lock"),
        lock.replace("name: runc, version: \"", "name: runc, version: \"9."),
    )
    .expect("a lock");
    let runc = |line: &str| -> String {
        let table = said(&tools, folder.path(), line);
        table.lines().find(|line| line.starts_with("runc ")).expect("runc").to_owned()
    };
    assert!(!runc("bundle list").contains(" 9."));
    assert!(runc("bundle list --bundle other").contains(" 9."));

    let verified = said(&tools, folder.path(), "bundle verify --bundle other");
    assert!(verified.contains("files as other/bundle.lock says"), "{verified}");
    fs::write(other.join("bin/kubelet"), "worm").expect("a program");
    let refused = tools.labctl(folder.path(), "bundle verify --bundle other");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{why}");
    assert!(why.contains("other/bin/kubelet"), "{why}");
    said(&tools, folder.path(), "bundle verify");
}

/// The verb itself, by the official addresses: names, TLS and all. Only what they lead to is here.
#[test]
fn a_bundle_is_pulled_from_the_official_hosts_and_used() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    let inventory = "name: pulled\nkubernetes: \"1.34.2\"\nnodes:\n  \
                     - { name: one, address: 192.0.2.10, roles: [controller, worker] }\n";
    fs::write(folder.path().join("inventory.yaml"), inventory).expect("an inventory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let official = runtime.block_on(Official::start());
    serve_releases(&official.server);
    let pull = |options: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_labctl"));
        let words = format!("bundle pull --published-checksums{options}");
        let output = command
            .args(words.split(' '))
            .current_dir(folder.path())
            .envs(tools.environment())
            .envs(official.environment())
            .stdin(std::process::Stdio::null())
            .output()
            .expect("labctl runs");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}: {why}");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    };
    let cached = pull("");
    assert!(Path::new(&cached).starts_with(tools.environment()[3].1.as_str()), "{cached}");
    let asked: Vec<String> = official.hosts();
    for host in ["dl.k8s.io:443", "github.com:443", "registry.k8s.io:443"] {
        assert!(asked.iter().any(|it| it == host), "{host} in {asked:?}");
    }
    assert_eq!(pull(" --bundle mine"), "mine");
    for line in ["bundle verify", "bundle verify --bundle mine"] {
        assert!(said(&tools, folder.path(), line).contains("21 files as "), "{line}");
    }
    // What was pulled is what a lab is made of, by the names that it was pulled by.
    let image = "image: registry.k8s.io/coredns/coredns:v1.12.1";
    let manifest = said(&tools, folder.path(), "render --file coredns.yaml");
    assert!(manifest.contains(image), "{manifest}");
    official.server.take_requests();
    pull("");
    assert!(official.server.take_requests().is_empty(), "all of it is there");
}

#[test]
fn a_bundle_is_pulled_from_a_mirror() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    let inventory = "name: mirrored\nkubernetes: \"1.34.2\"\nnodes:\n  \
                     - { name: one, address: 192.0.2.10, roles: [controller, worker] }\n";
    fs::write(folder.path().join("inventory.yaml"), inventory).expect("an inventory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    for host in ["dl.k8s.io", "github.com", "registry.k8s.io"] {
        serve_releases(&server.below(&format!("/mirror/{host}")));
    }
    let pull = format!("bundle pull --mirror {}/mirror --bundle b", server.url);
    // What this mirror has is not what was released, and it publishes sums of what it has.
    let lied = tools.labctl(folder.path(), &pull);
    let why = String::from_utf8_lossy(&lied.stderr).into_owned();
    assert_eq!(lied.status.code(), Some(1), "{why}");
    assert!(why.contains("its SHA-256 is not that of the release"), "{why}");
    assert!(why.contains("--published-checksums"), "{why}");
    assert!(!folder.path().join("b/bundle.lock").exists(), "there is no bundle");
    said(&tools, folder.path(), &format!("{pull} --published-checksums"));
    assert!(said(&tools, folder.path(), "bundle verify --bundle b").contains("21 files as "));
    let asked = server.take_requests();
    let of_host =
        |host: &str| asked.iter().any(|it| it.path.starts_with(&format!("/mirror/{host}")));
    assert!(["dl.k8s.io", "github.com", "registry.k8s.io"].iter().all(|host| of_host(host)));

    let refused = tools.labctl(folder.path(), "bundle pull --mirror mirror.test");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(why.contains("--mirror mirror.test: is no URL"), "{why}");
}

/// What `render --to` writes, by path below the node.
fn rendered(tools: &Tools, folder: &Path, options: &str) -> BTreeMap<String, String> {
    let out = tempfile::tempdir().expect("a directory");
    let line = format!("render --to {}{options}", out.path().display());
    let files = said(tools, folder, &line);
    let root = out.path().join("one");
    let read = |file: &str| {
        let name = Path::new(file).strip_prefix(&root).expect("of the node").display().to_string();
        (name, fs::read_to_string(file).expect("a file"))
    };
    // Certificates are issued again each time.
    files.lines().map(read).filter(|(name, _)| !name.contains("/pki/")).collect()
}

#[test]
fn playbooks_and_templates_of_ones_own_take_the_standard_ones_place() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    quiet_lab(&tools, folder.path());
    let standard = rendered(&tools, folder.path(), "");
    said(&tools, folder.path(), "playbook export mine");
    let mine = folder.path().join("mine");
    let change = |file: &str, old: &str, new: &str| {
        let text = fs::read_to_string(mine.join(file)).expect("a file");
        assert!(text.contains(old), "{text}");
        fs::write(mine.join(file), text.replacen(old, new, 1)).expect("a file");
    };
    let play = "plays:\n  - name: motd\n    hosts: all\n\
                \x20   why: Greetings to whoever logs in.\n\
                \x20   tasks:\n      - template: { from: motd, to: /etc/motd }\n";
    change("playbooks/up.yaml", "plays:\n", play);
    change("templates/kubelet/kubelet.service.tera", "[Unit]\n", "[Unit]\n# mine\n");
    fs::write(mine.join("templates/motd.tera"), "this is {{ node.name }}").expect("a template");
    let both = " --playbooks mine/playbooks --templates mine/templates";

    let own = rendered(&tools, folder.path(), both);
    let differ: Vec<&String> = own
        .iter()
        .filter(|(name, text)| standard.get(*name) != Some(text))
        .map(|it| it.0)
        .collect();
    assert_eq!(differ, ["etc/motd", "etc/systemd/system/kubelet.service"]);
    assert_eq!(own["etc/motd"], "this is one");
    assert_eq!(own.len(), standard.len() + 1);

    // One of the two alone, and one file of many: by its path, its name or its template.
    let motd = said(&tools, folder.path(), &format!("render --file motd{both}"));
    assert_eq!(motd, "# one: /etc/motd\nthis is one\n");
    for name in
        ["kubelet.service", "/etc/systemd/system/kubelet.service", "kubelet/kubelet.service"]
    {
        let line = format!("render --file {name}");
        let (theirs, ours) = (
            said(&tools, folder.path(), &line),
            said(&tools, folder.path(), &format!("{line} --templates mine/templates")),
        );
        assert!(theirs.starts_with("# one: /etc/systemd/system/kubelet.service\n"), "{theirs}");
        assert_eq!(theirs.matches("# one: ").count(), 1, "{theirs}");
        assert_eq!(ours, theirs.replacen("[Unit]\n", "[Unit]\n# mine\n", 1));
    }

    let explained = |options: &str| said(&tools, folder.path(), &format!("explain{options}"));
    let (theirs, ours) = (explained(""), explained(both));
    assert!(ours.contains("Greetings to whoever logs in."), "{ours}");
    assert!(!theirs.contains("Greetings") && ours.len() > theirs.len());
    let drawn = said(&tools, folder.path(), &format!("graph{both}"));
    assert!(drawn.contains("motd") && !said(&tools, folder.path(), "graph").contains("motd"));

    // The same when the inventory names them, and the options take precedence over it.
    let inventory = folder.path().join("inventory.yaml");
    let text = fs::read_to_string(&inventory).expect("an inventory");
    let keys = "playbooks: mine/playbooks\ntemplates: mine/templates\n";
    fs::write(&inventory, text.replacen("nodes:", &format!("{keys}nodes:"), 1)).expect("it");
    assert_eq!(rendered(&tools, folder.path(), ""), own);
    said(&tools, folder.path(), "playbook export yours");
    let yours = " --playbooks yours/playbooks --templates yours/templates";
    assert_eq!(rendered(&tools, folder.path(), yours), standard);
}

/// Labs with steps of their own: the playbooks and templates that an inventory names are right.
#[test]
fn every_shipped_inventory_can_be_explained_and_rendered() {
    let (tools, root) = (Tools::new(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut own = 0;
    for file in fs::read_dir(root.join("inventories")).expect("inventories").flatten() {
        let path = file.path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let explained = said(&tools, root, &format!("explain inventories/{name}"));
        assert!(explained.contains("\n## "), "{name}: {explained}");
        let files = said(&tools, root, &format!("render inventories/{name}"));
        assert!(files.contains(".service\n"), "{name}: {files}");
        let text = fs::read_to_string(&path).expect("an inventory");
        own += usize::from(text.contains("\nplaybooks: "));
    }
    assert!(own >= 1, "labs with playbooks of their own");
}

#[test]
fn a_secret_in_a_manifest_of_ones_own_is_not_printed() {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a directory"));
    quiet_lab(&tools, folder.path());
    let mine = folder.path().join("mine");
    fs::create_dir(&mine).expect("a directory");
    let playbook = "name: up\nplays:\n  - name: objects\n    hosts: controller\n    tasks:\n      \
                    - kubectl_apply: { from: words }\n      \
                    - kubectl_apply: { from: plain }\n      \
                    - kubectl_apply: { from: asked, sensitive: true }\n";
    fs::write(mine.join("up.yaml"), playbook).expect("a playbook");
    let template = |name: &str, kind: &str, word: &str| {
        let text = format!(
            "apiVersion: v1\nkind: {kind}\nmetadata: {{ name: {name} }}\ndata: {{ word: {word} }}\n"
        );
        fs::write(mine.join(format!("{name}.tera")), text).expect("a template");
    };
    template("words", "Secret", "aGlkZGVuCg==");
    template("plain", "ConfigMap", "shown");
    template("asked", "ConfigMap", "hidden-too");
    let options = " --playbooks mine --templates mine";
    let rendered = said(&tools, folder.path(), &format!("render{options}"));
    assert!(rendered.contains("word: shown"), "{rendered}");
    let explained = said(&tools, folder.path(), &format!("explain{options}"));
    assert!(explained.contains("kubectl apply words"), "{explained}");
    let out = tempfile::tempdir().expect("a directory");
    let line = format!("render{options} --to {}", out.path().display());
    let written = said(&tools, folder.path(), &line);
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let files: String = written.lines().map(read).collect();
    assert!(files.contains("word: shown"), "{written}");
    for text in [&rendered, &explained, &files] {
        assert!(!text.contains("aGlkZGVu") && !text.contains("hidden-too"), "{text}");
    }
}
