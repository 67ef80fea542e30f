//! Registries and a proxy of an inventory, as a worker gets them.

use std::collections::BTreeMap;
use std::fs;

use labctl::cluster;
use labctl::module::Desired;
use labctl::module::file::{Content, File};
use labctl::playbook::standard;
use labctl::render::context::RegistryAccess;

use crate::support::workshop::Workshop;

const INVENTORY: &str = "\
name: t
kubernetes: \"1.34.4\"
registries:
  docker.io: { mirrors: [\"https://mirror.test/v2/hub\", \"http://10.0.0.1:5000\"] }
  own.test:5000: { ca: ca.crt, credentials: password }
proxy: { https: http://proxy.test:3128, no: [.own.test] }
nodes:
  - { name: one, address: 192.0.2.10, roles: [controller, worker] }
";

fn text(file: &File) -> String {
    let Content::Inline { bytes, .. } = &file.content else { panic!("{} is small", file.path) };
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn a_worker_gets_mirrors_certificates_and_passwords_where_containerd_looks() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("inventory.yaml");
    fs::write(&path, INVENTORY).expect("an inventory");
    let (cluster, _) = cluster::open(&path).expect("an inventory without mistakes");
    let mut workshop = Workshop::new(cluster);
    let access = RegistryAccess {
        ca: Some("a certificate\n".to_owned()),
        user: "ann".to_owned(),
        password: "it's \"1\"".into(),
    };
    workshop.artefacts.registries = BTreeMap::from([("own.test:5000".to_owned(), access)]);
    let playbook = standard::find("up", None).expect("a playbook");
    let plays = workshop.expand(&playbook).expect("a plan");
    let tasks = plays.into_iter().flat_map(|play| play.nodes).flat_map(|on| on.tasks);
    let files: BTreeMap<String, File> = tasks
        .filter_map(|task| match &*task.desired {
            Desired::File(file) => Some((file.path.clone(), file.clone())),
            _ => None,
        })
        .collect();

    let hub = text(&files["/etc/containerd/certs.d/docker.io/hosts.toml"]);
    assert!(hub.contains("[host.'https://mirror.test/v2/hub']"), "{hub}");
    assert_eq!(hub.matches("override_path = true").count(), 1, "{hub}");
    assert!(!hub.contains("server ="), "containerd knows where Docker Hub is: {hub}");
    let own = text(&files["/etc/containerd/certs.d/own.test:5000/hosts.toml"]);
    assert!(own.contains("server = 'https://own.test:5000'"), "{own}");
    assert!(own.contains("ca = '/etc/containerd/certs.d/own.test:5000/ca.crt'"), "{own}");
    assert_eq!(text(&files["/etc/containerd/certs.d/own.test:5000/ca.crt"]), "a certificate\n");

    let config = &files["/etc/containerd/config.toml"];
    let auth = "registry.configs.'own.test:5000'.auth]\n      username = \"ann\"\n      \
        password = \"it's \\\"1\\\"\"\n";
    assert!(text(config).contains(auth), "{}", text(config));
    assert!(config.sensitive && config.mode == "600");
    let unit = text(&files["/etc/systemd/system/containerd.service"]);
    for part in [
        "Environment=\"HTTPS_PROXY=http://proxy.test:3128\"",
        "Environment=\"NO_PROXY=localhost,127.0.0.1,10.200.0.0/16,10.32.0.0/24,.cluster.local,\
            .own.test\"",
    ] {
        assert!(unit.contains(part), "{part} in {unit}");
    }
    assert!(!unit.contains("HTTP_PROXY"), "{unit}");
}
