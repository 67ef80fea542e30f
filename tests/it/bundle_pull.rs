//! Bundles: pulled from a server laid out like the official hosts, cut, stalled, tampered with, and
//! pulled again.

mod servers;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::http_server::{Reply, Server};
use crate::support::releases::{
    ETCD, KUBERNETES, MANIFEST, RUNC, layer_of, program, serve_etcd, serve_image, serve_releases,
    sha256,
};
use labctl::bundle::pull::for_cluster_from;
use labctl::bundle::releases::{Patience, Sums};
use labctl::bundle::{Bundle, BundleError, Sources, pull, verify};
use labctl::cluster::{
    Api, Cluster, KeyAlgorithm, Network, PkiPolicy, PodNetwork, ProxyMode, Version,
};
use labctl::event::{Event, Events, Stamped};
use tokio::sync::mpsc::UnboundedReceiver;

/// A server with every official release of Kubernetes 1.34.2, a folder to pull into, and a cache.
struct World {
    server: Server,
    place: tempfile::TempDir,
    sources: Sources,
    events: Events,
    seen: UnboundedReceiver<Stamped>,
}

impl World {
    async fn new() -> Self {
        let server = Server::start().await;
        serve_releases(&server);
        let patience = Patience {
            connect: Duration::from_secs(2),
            stall: Duration::from_millis(800),
            attempts: 3,
            pause: Duration::from_millis(10),
            parallel: 4,
        };
        let base = server.url.clone();
        let sources = Sources {
            kubernetes: base.clone(),
            github: base.clone(),
            registry: base,
            sums: Sums::Published,
            patience,
        };
        let (events, seen) = Events::channel();
        Self {
            server,
            place: tempfile::tempdir().expect("a temporary folder"),
            sources,
            events,
            seen,
        }
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("bundle")
    }

    fn cache(&self) -> PathBuf {
        self.place.path().join("cache")
    }

    async fn pull(&self) -> Result<Bundle, BundleError> {
        pull(version(), "amd64", &self.folder(), &self.cache(), &self.sources, &self.events).await
    }

    async fn complaint(&self) -> String {
        self.pull().await.expect_err("the pull went well").to_string()
    }

    /// How often a path was asked for with GET, and where each request began.
    fn gets(&self, path: &str) -> Vec<Option<usize>> {
        let requests = self.server.take_requests();
        requests
            .iter()
            .filter(|r| r.method == "GET" && r.path == path)
            .map(|r| r.range_start())
            .collect()
    }

    fn part_of(&self, content: &[u8]) -> PathBuf {
        self.cache().join("downloads").join(format!("{}.part", sha256(content)))
    }
}

fn version() -> Version {
    "1.34.2".parse().expect("a version")
}

#[tokio::test]
async fn a_pull_brings_everything_and_writes_the_lock() {
    let mut world = World::new().await;
    let bundle = world.pull().await.expect("the pull");
    assert_eq!(bundle.files.len(), 21);
    for (name, file) in &bundle.files {
        let mode = fs::metadata(&file.path).expect(name).permissions().mode() & 0o777;
        assert_eq!(mode, if name.starts_with("image/") { 0o644 } else { 0o755 }, "mode of {name}");
    }
    assert_eq!(
        fs::read(world.folder().join("cni/host-local")).expect("a plugin"),
        program("host-local")
    );
    assert_eq!(
        fs::read(world.folder().join("bin/etcdutl")).expect("a program"),
        program("etcdutl")
    );

    let lock = fs::read_to_string(world.folder().join("bundle.lock")).expect("the lock");
    let lines: Vec<_> = lock.lines().collect();
    assert_eq!(lines[..3], ["kubernetes: \"1.34.2\"", "architecture: amd64", "files:"]);
    let record = |name: &str, version: &str, path: &str| {
        let content = program(path.rsplit('/').next().expect("a name"));
        let (size, sum) = (content.len(), sha256(&content));
        format!(
            "  - {{ name: {name}, version: \"{version}\", path: {path}, size: {size}, sha256: \
            {sum} }}"
        )
    };
    for expected in [
        record("cni/bridge", "1.8.0", "cni/bridge"),
        record("containerd-shim-runc-v2", "2.1.5", "bin/containerd-shim-runc-v2"),
        record("etcdctl", "3.6.6", "bin/etcdctl"),
        record("kubelet", "1.34.2", "bin/kubelet"),
        record("runc", "1.3.4", "bin/runc"),
    ] {
        assert!(lines.contains(&expected.as_str()), "{expected}\nis not in\n{lock}");
    }
    let coredns = bundle.file("image/coredns").expect("coredns");
    assert_eq!(coredns.image.as_deref(), Some("registry.k8s.io/coredns/coredns:v1.12.1"));
    assert_eq!(coredns.version, "1.12.1");
    verify(&bundle, &world.events).await.expect("a fresh bundle verifies");

    let mut told = Vec::new();
    while let Ok(stamped) = world.seen.try_recv() {
        told.push(stamped.event);
    }
    assert!(matches!(&told[0], Event::StepStarted { step } if step == "bundle"), "{:?}", told[0]);
    let ended = |event: &&Event| matches!(event, Event::StepEnded { changed: true, .. });
    assert_eq!(told.iter().filter(ended).count(), 1);
    for event in &told {
        if let Event::StepProgress { done, total, .. } = event {
            assert!(done <= total, "{done} of {total} bytes");
        }
    }
}

#[tokio::test]
async fn an_image_archive_is_an_oci_layout_with_its_name() {
    let world = World::new().await;
    world.pull().await.expect("the pull");
    let bytes = fs::read(world.folder().join("images/coredns.tar")).expect("the archive");
    let mut entries = std::collections::BTreeMap::new();
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).expect("content");
        let path = entry.path().expect("a path").display().to_string();
        assert!(entries.insert(path.clone(), content).is_none(), "{path} is there twice");
    }
    let index: serde_json::Value = serde_json::from_slice(&entries["index.json"]).expect("JSON");
    let manifest = &index["manifests"][0];
    assert_eq!(
        manifest["annotations"]["io.containerd.image.name"],
        "registry.k8s.io/coredns/coredns:v1.12.1"
    );
    assert_eq!(manifest["mediaType"], MANIFEST);
    for (path, content) in &entries {
        if let Some(digest) = path.strip_prefix("blobs/sha256/") {
            assert_eq!(digest, sha256(content), "content of {path}");
        }
    }
    let digest = manifest["digest"].as_str().expect("a digest").replace("sha256:", "blobs/sha256/");
    assert!(entries.contains_key(&digest));
    assert!(entries.contains_key("oci-layout"));
    assert!(
        entries.contains_key(&format!("blobs/sha256/{}", sha256(&layer_of("coredns/coredns"))))
    );
    assert_eq!(entries.len(), 5, "oci-layout, index, manifest, config, layer");
}

#[tokio::test]
async fn a_second_pull_asks_the_server_nothing() {
    let mut world = World::new().await;
    let first = world.pull().await.expect("the pull");
    let locked = fs::read(world.folder().join("bundle.lock")).expect("the lock");
    world.server.take_requests();
    while world.seen.try_recv().is_ok() {}
    assert_eq!(world.pull().await.expect("the second pull"), first);
    assert!(world.server.take_requests().is_empty());
    assert_eq!(fs::read(world.folder().join("bundle.lock")).expect("the lock"), locked);
    world.seen.recv().await.expect("the start");
    let ended = world.seen.recv().await.expect("the end").event;
    assert!(matches!(ended, Event::StepEnded { changed: false, .. }), "{ended:?}");
}

#[tokio::test]
async fn another_folder_is_filled_from_the_cache() {
    let world = World::new().await;
    let first = world.pull().await.expect("the pull");
    world.server.take_requests();
    let other = world.place.path().join("other");
    let second =
        pull(version(), "amd64", &other, &world.cache(), &world.sources, &world.events).await;
    let second = second.expect("the second pull");
    for request in world.server.take_requests() {
        let small = request.path.contains(".sha256") || request.path.contains("SHA256SUMS");
        assert!(
            small || request.path.contains("/manifests/"),
            "{} was fetched again",
            request.path
        );
    }
    let sums =
        |bundle: &Bundle| bundle.files.values().map(|file| file.sha256.clone()).collect::<Vec<_>>();
    assert_eq!(
        sums(&first),
        sums(&second),
        "the same releases give the same bundle, image archives too"
    );
}

#[tokio::test]
async fn a_damaged_cache_is_not_believed() {
    let world = World::new().await;
    world.pull().await.expect("the pull");
    let cached = world.cache().join("downloads").join(sha256(&program("kubelet")));
    fs::write(&cached, "damaged").expect("the cached file");
    fs::remove_file(world.folder().join("bin/kubelet")).expect("the program");
    world.pull().await.expect("the second pull");
    assert_eq!(
        fs::read(world.folder().join("bin/kubelet")).expect("the program"),
        program("kubelet")
    );
}

#[tokio::test]
async fn the_lock_outlives_a_release_that_is_changed_afterwards() {
    let world = World::new().await;
    world.pull().await.expect("the pull");
    fs::remove_file(world.folder().join("bin/kubelet")).expect("the program");
    world.server.file(&format!("{KUBERNETES}/kubelet"), "changed after publication");
    world
        .server
        .file(&format!("{KUBERNETES}/kubelet.sha256"), sha256(b"changed after publication"));
    let text = world.complaint().await;
    for part in
        [&sha256(&program("kubelet")), &sha256(b"changed after publication"), "bundle.lock records"]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(!world.folder().join("bin/kubelet").exists());
}

#[tokio::test]
async fn missing_files_are_all_named_and_only_they_are_fetched_again() {
    let world = World::new().await;
    world.pull().await.expect("the pull");
    fs::remove_file(world.folder().join("bin/runc")).expect("the program");
    fs::write(world.folder().join("images/pause.tar"), "cut").expect("the archive");
    let text = Bundle::open(&world.folder()).expect_err("a broken bundle").to_string();
    for part in [
        "2 files are different from bundle.lock",
        "bin/runc is missing",
        "pause.tar has 3 bytes, not",
        "labctl bundle pull",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    world.server.take_requests();
    world.pull().await.expect("the second pull");
    for request in world.server.take_requests() {
        assert!(
            request.path.contains("runc") || request.path.contains("/v2/pause/"),
            "{} was asked",
            request.path
        );
    }
}

#[tokio::test]
async fn verify_names_every_file_with_other_content() {
    let world = World::new().await;
    let bundle = world.pull().await.expect("the pull");
    for name in ["etcd", "cni/portmap"] {
        let path = &bundle.file(name).expect(name).path;
        let mut file = fs::OpenOptions::new().write(true).open(path).expect("the program");
        file.write_all(b"?").expect("one byte");
    }
    let bundle = Bundle::open(&world.folder()).expect("sizes are right");
    let text = verify(&bundle, &world.events).await.expect_err("two files differ").to_string();
    for part in
        ["2 files have", "etcd: expected", "cni/portmap: expected", &sha256(&program("etcd"))]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[tokio::test]
async fn another_versions_bundle_is_not_overwritten() {
    let world = World::new().await;
    world.pull().await.expect("the pull");
    let newer = "1.35.0".parse().expect("a version");
    let error =
        pull(newer, "amd64", &world.folder(), &world.cache(), &world.sources, &world.events).await;
    let text = error.expect_err("another version").to_string();
    assert!(text.contains("has Kubernetes 1.34.2, but the lab needs 1.35.0"), "{text}");
    let error =
        pull(version(), "arm64", &world.folder(), &world.cache(), &world.sources, &world.events)
            .await;
    assert!(matches!(error, Err(BundleError::OtherArchitecture { .. })), "{error:?}");
}

#[tokio::test]
async fn a_tampered_lock_is_refused() {
    let world = World::new().await;
    world.pull().await.expect("the pull");
    let lock = world.folder().join("bundle.lock");
    let good = fs::read_to_string(&lock).expect("the lock");
    let kubelet = sha256(&program("kubelet"));
    let line = good.lines().find(|line| line.contains("name: kubelet,")).expect("kubelet's line");
    for (bad, complaint) in [
        (good.replace("bin/kubelet", "../kubelet"), "leaves the bundle's directory"),
        (good.replace("bin/kubelet", "/usr/bin/kubelet"), "leaves the bundle's directory"),
        (format!("{good}{line}\n"), "`kubelet` is listed twice"),
        (good.replace(&kubelet, "abc"), "`abc` is not 64 lower-case hex digits"),
        (good.replace("name: kubelet,", "name: kubelet, mode: 4755,"), "unknown field `mode`"),
        (good.replace("architecture: amd64", "architecture: x86"), "neither amd64 nor arm64"),
        (good.replace("\"1.34.2\"\narch", "\"latest\"\narch"), "`latest` is not a version"),
        (good.replace("registry.k8s.io/pause:3.10.1", "x; reboot"), "is not a reference"),
    ] {
        assert_ne!(bad, good, "nothing was tampered with for: {complaint}");
        fs::write(&lock, bad).expect("the lock");
        let text = Bundle::open(&world.folder()).expect_err(complaint).to_string();
        assert!(
            text.contains(complaint) && text.contains("bundle.lock"),
            "{complaint}\nis not in\n{text}"
        );
        assert_eq!(world.complaint().await, text, "a pull trusts such a lock no more");
    }
    fs::remove_file(&lock).expect("the lock");
    let text = Bundle::open(&world.folder()).expect_err("no lock").to_string();
    assert!(text.contains("has no bundle.lock"), "{text}");
}

#[tokio::test]
async fn two_pulls_at_once_take_turns() {
    let world = World::new().await;
    let other = world.place.path().join("other");
    let cache = world.cache();
    let (first, second) = tokio::join!(
        world.pull(),
        pull(version(), "amd64", &other, &cache, &world.sources, &world.events)
    );
    first.expect("the first pull");
    second.expect("the second pull");
    assert_eq!(world.gets(&format!("{KUBERNETES}/kubelet")), [None], "downloaded once");
}

#[tokio::test]
async fn no_network_is_said_after_all_attempts() {
    let mut world = World::new().await;
    world.sources.kubernetes = "http://127.0.0.1:1".into();
    let text = world.complaint().await;
    assert!(text.contains("cannot connect") && text.contains("(3 attempts)"), "{text}");
}

#[tokio::test]
async fn a_cluster_gets_its_folder_or_the_official_releases() {
    let world = World::new().await;
    let get = async |cluster: Cluster| {
        for_cluster_from(&cluster, "amd64", &world.cache(), &world.sources, &world.events).await
    };
    let official = get(cluster("1.34.2", None)).await.expect("the official releases");
    assert_eq!(official.folder, world.cache().join("bundles/official-1.34.2-amd64"));
    world.server.take_requests();
    assert_eq!(get(cluster("1.34.2", None)).await.as_ref(), Ok(&official));
    assert_eq!(get(cluster("1.34.2", Some(&official))).await.as_ref(), Ok(&official));
    assert!(world.server.take_requests().is_empty());
    let error = get(cluster("1.33.1", Some(&official))).await.expect_err("another version");
    assert!(
        error.to_string().contains("has Kubernetes 1.34.2, but the lab needs 1.33.1"),
        "{error}"
    );
}

fn cluster(kubernetes: &str, bundle: Option<&Bundle>) -> Cluster {
    Cluster {
        name: "sandbox".into(),
        kubernetes: kubernetes.parse().expect("a version"),
        domain: "cluster.local".into(),
        nodes: Vec::new(),
        network: Network {
            pods: "10.200.0.0/16".parse().expect("a network"),
            node_prefix: 24,
            services: "10.32.0.0/24".parse().expect("a network"),
            kubernetes_service: [10, 32, 0, 1].into(),
            dns_service: [10, 32, 0, 10].into(),
            second: None,
            mode: PodNetwork::Routes,
            mtu: 1500,
            proxy: ProxyMode::Iptables,
        },
        api: Api {
            host: "10.240.0.5".into(),
            port: 6443,
            loadbalancer: None,
            server_port: 6443,
            names: Vec::new(),
        },
        pki: PkiPolicy { algorithm: KeyAlgorithm::EcdsaP256, ca_days: 3650, leaf_days: 365 },
        addons: Vec::new(),
        manifests: Vec::new(),
        components: labctl::cluster::SettingsByProgram::default(),
        registries: Vec::new(),
        proxy: None,
        bundle: bundle.map(|bundle| bundle.folder.clone()),
        playbooks: None,
        templates: None,
        local: None,
        lab_directory: PathBuf::new(),
    }
}
