//! Tests of the renderer with their own templates; `tests/it/golden.rs` tests the standard ones.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::context::Restore;
use super::*;
use crate::cluster::registries::Registry;
use crate::cluster::{
    Api, Cluster, KeyAlgorithm, Network, Node, PkiPolicy, PodNetwork, ProxyMode, Role, Ssh, Version,
};

#[test]
fn a_file_of_the_same_name_replaces_a_standard_template() {
    let folder = folder(&[
        ("etcd/etcd.service.tera", "mine, for {{ node.name }}\n"),
        ("extra.conf", "{{ minor }}"),
    ]);
    let renderer = Renderer::new(Some(folder.path())).expect("parses");
    assert_eq!(
        renderer.render("etcd/etcd.service", &context()).expect("renders"),
        "mine, for one\n"
    );
    assert_eq!(renderer.render("extra.conf", &context()).expect("renders"), "34");
    assert!(
        renderer
            .render("kubelet/kubelet.service", &context())
            .expect("renders")
            .contains("[Service]")
    );
}

#[test]
fn a_template_beside_its_components_directory_is_refused() {
    let folder = folder(&[("etcd.service.tera", "mine")]);
    let error =
        Renderer::new(Some(folder.path())).expect_err("it would change nothing").to_string();
    let expected = folder.path().join("etcd/etcd.service.tera");
    assert!(
        error.ends_with(&format!(
            "labctl uses {}; move the file there, or rename it",
            expected.display()
        )),
        "{error}"
    );
}

#[test]
fn a_template_with_two_files_is_an_error() {
    let folder = folder(&[("a.conf.tera", "1"), ("a.conf", "2")]);
    let error = Renderer::new(Some(folder.path())).expect_err("two files").to_string();
    assert!(error.contains("are both the template `a.conf`"), "{error}");
}

#[test]
fn an_error_has_file_and_line() {
    let folder = folder(&[("a.conf.tera", "fine\n{% if x %}\n{{ minor + }}\n{% endif %}\n")]);
    let error = Renderer::new(Some(folder.path())).expect_err("a mistake").to_string();
    assert!(
        error.starts_with(&format!("{}:3:", folder.path().join("a.conf.tera").display())),
        "{error}"
    );
    assert!(error.contains("^"), "{error}");
}

#[test]
fn an_unknown_filter_is_reported_with_file_and_line() {
    let folder = folder(&[("a.conf.tera", "fine\n{{ minor | shout }}\n")]);
    let error = Renderer::new(Some(folder.path())).expect_err("a mistake").to_string();
    assert!(error.contains("unknown filter `shout`") && error.contains("a.conf:2:"), "{error}");
}

#[test]
fn an_unknown_variable_is_an_error_with_its_line() {
    let folder = folder(&[("a.conf.tera", "fine\n{% if local %}\n{% endif %}\n{{ node.nam }}\n")]);
    let renderer = Renderer::new(Some(folder.path())).expect("parses");
    let error = renderer.render("a.conf", &context()).expect_err("no such field").to_string();
    assert!(error.contains("a.conf.tera:4:"), "{error}");
    let error =
        renderer.text("x {{ peer.name }}", &context()).expect_err("no peer here").to_string();
    assert!(error.starts_with("`x {{ peer.name }}`: "), "{error}");
}

#[test]
fn an_unknown_template_suggests_a_known_one() {
    let renderer = Renderer::new(None).expect("parses");
    let error =
        renderer.render("etcd/etcd.servce", &context()).expect_err("no such template").to_string();
    assert_eq!(error, "there is no template `etcd/etcd.servce`; did you mean `etcd/etcd.service`?");
}

#[test]
fn conditions_must_be_true_or_false() {
    let renderer = Renderer::new(None).expect("parses");
    let condition = |text: &str| renderer.condition(text, &context());
    assert!(condition("network.routes and 'worker' in node.roles").expect("a condition"));
    assert!(!condition("local").expect("a condition"));
    assert!(!condition("versions['image/coredns'] is defined").expect("a condition"));
    let error = condition("node.name").expect_err("a name is not a condition").to_string();
    assert_eq!(error, "`node.name` is not a condition: expected true or false, got `one`");
    condition("netwrk.routes").expect_err("a typing mistake");
    condition("lokal").expect_err("a typing mistake");
}

#[test]
fn plain_text_is_unchanged() {
    let renderer = Renderer::new(None).expect("parses");
    assert_eq!(renderer.text("a } b & <c>", &context()).expect("renders"), "a } b & <c>");
    assert_eq!(renderer.text("<{{ node.name }}>", &context()).expect("renders"), "<one>");
}

#[test]
fn the_list_of_variables_is_complete() {
    let restore =
        Restore { id: "1".into(), hash: 1, revision: 1, keys: 1, size: 1, sha256: "a".into() };
    let leaving = Some(context::Leaving { node: node(), gone: true, forced: false });
    let upgrading = Some(context::Upgrading { nodes: vec!["one".to_owned()], forced: false });
    let restore = Some(restore);
    let artefacts = Artefacts { restore, leaving, upgrading, ..Artefacts::default() };
    let registry =
        Registry { host: "a".to_owned(), mirrors: Vec::new(), ca: None, credentials: None };
    let with_all = Context::new(&cluster(), &node(), Some(&node()), &artefacts);
    let with_all = with_all.of_registry(&registry, &artefacts);
    for (name, _) in context::VARIABLES {
        assert!(with_all.variables().contains_key(name), "`{name}` is described but missing");
    }
    assert_eq!(format!("{with_all:?}").matches('"').count(), 2 * context::VARIABLES.len());
}

#[test]
fn debug_output_does_not_show_the_key() {
    let artefacts = Artefacts {
        encryption_keys: vec![("key1".into(), "c2VjcmV0".into())],
        ..Artefacts::default()
    };
    assert!(!format!("{artefacts:?}").contains("c2VjcmV0"));
    assert!(
        !format!("{:?}", Context::new(&cluster(), &node(), None, &artefacts)).contains("c2VjcmV0")
    );
}

#[test]
fn a_directory_without_any_used_template_is_refused_with_a_suggestion() {
    let mine = tempfile::tempdir().expect("a directory");
    let (right, other) = (mine.path().join("templates"), mine.path().join("playbooks"));
    fs::create_dir_all(right.join("kubelet")).expect("a directory");
    fs::create_dir_all(&other).expect("a directory");
    fs::write(right.join("kubelet/kubelet.service.tera"), "mine").expect("a file");
    let said = |directory: &std::path::Path, used: &[&str]| {
        let renderer = Renderer::new(Some(directory)).expect("parses");
        renderer.check_folder(used.iter().copied()).map_err(|error| error.to_string())
    };
    let meant = |directory: &std::path::Path| {
        let (directory, right) = (directory.display(), right.display());
        let what = "no template in this directory replaces a standard one";
        Err(format!("{directory}: {what}; did you mean {right}?"))
    };
    assert_eq!(said(&right, &[]), Ok(()));
    assert_eq!(
        said(mine.path(), &["kubelet/kubelet.service"]),
        meant(mine.path()),
        "it is one directory too high"
    );
    assert_eq!(said(&other, &[]), meant(&other), "it is the one beside");
    fs::write(other.join("peers.tera"), "own").expect("a file");
    assert_eq!(said(&other, &["peers"]), Ok(()), "a custom playbook uses custom templates");
    assert_eq!(said(&other, &[]), meant(&other));
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    folder
}

fn context() -> Context {
    Context::new(&cluster(), &node(), None, &Artefacts::default())
}

fn node() -> Node {
    let address = Ipv4Addr::new(10, 0, 0, 1);
    Node {
        name: "one".to_owned(),
        address: address.into(),
        second_address: None,
        roles: vec![Role::Worker],
        labels: BTreeMap::new(),
        taints: Vec::new(),
        pod_cidr: Some("10.200.0.0/24".parse().expect("a network")),
        second_pod_cidr: None,
        ssh: Ssh::to(address.to_string()),
        facts: crate::machine::Machine::default(),
    }
}

fn cluster() -> Cluster {
    Cluster {
        name: "test".to_owned(),
        kubernetes: Version { major: 1, minor: 34, patch: 0 },
        domain: "cluster.local".to_owned(),
        nodes: vec![node()],
        network: Network {
            pods: "10.200.0.0/16".parse().expect("a network"),
            node_prefix: 24,
            services: "10.32.0.0/24".parse().expect("a network"),
            kubernetes_service: Ipv4Addr::new(10, 32, 0, 1).into(),
            dns_service: Ipv4Addr::new(10, 32, 0, 10).into(),
            second: None,
            mode: PodNetwork::Routes,
            mtu: 1500,
            proxy: ProxyMode::Iptables,
        },
        api: Api {
            host: "10.0.0.1".to_owned(),
            port: 6443,
            loadbalancer: None,
            server_port: 6443,
            names: Vec::new(),
        },
        pki: PkiPolicy { algorithm: KeyAlgorithm::EcdsaP256, ca_days: 3650, leaf_days: 365 },
        addons: Vec::new(),
        manifests: Vec::new(),
        components: crate::cluster::SettingsByProgram::default(),
        registries: Vec::new(),
        proxy: None,
        bundle: None,
        playbooks: None,
        templates: None,
        local: None,
        lab_directory: "/labs/.labctl/test".into(),
    }
}
