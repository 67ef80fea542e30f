//! A lab's certificates, judged by openssl: another implementation says whether they are what they
//! should be.

mod again;
mod by_hand;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use labctl::cluster::{
    Api, Cluster, KeyAlgorithm, Network, Node, PkiPolicy, PodNetwork, ProxyMode, Role, Ssh, Version,
};
use labctl::lab::LabDirectory;
use labctl::pki::{self, CertSpec, Ensured, PkiError};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2025-06-01 12:00 UTC);

fn node(name: &str, host: u8, role: Role) -> Node {
    let address = Ipv4Addr::new(10, 240, 0, host);
    let ssh = Ssh::to(address.to_string());
    Node {
        name: name.to_owned(),
        address: address.into(),
        second_address: None,
        roles: vec![role],
        labels: BTreeMap::new(),
        taints: Vec::new(),
        pod_cidr: None,
        second_pod_cidr: None,
        facts: labctl::machine::Machine::default(),
        ssh,
    }
}

fn cluster() -> Cluster {
    Cluster {
        name: "sandbox".to_owned(),
        kubernetes: Version { major: 1, minor: 34, patch: 2 },
        domain: "cluster.local".to_owned(),
        nodes: vec![
            node("lb-0", 5, Role::Loadbalancer),
            node("controller-0", 10, Role::Controller),
            node("controller-1", 11, Role::Controller),
            node("worker-0", 20, Role::Worker),
        ],
        network: Network {
            pods: "10.200.0.0/16".parse().expect("a CIDR"),
            node_prefix: 24,
            services: "10.32.0.0/24".parse().expect("a CIDR"),
            kubernetes_service: Ipv4Addr::new(10, 32, 0, 1).into(),
            dns_service: Ipv4Addr::new(10, 32, 0, 10).into(),
            second: None,
            mode: PodNetwork::Routes,
            mtu: 1500,
            proxy: ProxyMode::Iptables,
        },
        api: Api {
            host: "api.example.org".to_owned(),
            port: 443,
            loadbalancer: Some("lb-0".to_owned()),
            server_port: 6443,
            names: Vec::new(),
        },
        pki: PkiPolicy { algorithm: KeyAlgorithm::EcdsaP256, ca_days: 3650, leaf_days: 365 },
        addons: Vec::new(),
        manifests: Vec::new(),
        components: labctl::cluster::SettingsByProgram::default(),
        registries: Vec::new(),
        proxy: None,
        bundle: None,
        playbooks: None,
        templates: None,
        local: None,
        lab_directory: PathBuf::new(),
    }
}

/// A lab directory of its own, gone at the end of the test.
struct Lab {
    directory: LabDirectory,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            directory: LabDirectory::new(folder.path().join(".labctl/sandbox")),
            _folder: folder,
        }
    }

    fn with_certificates_for(cluster: &Cluster) -> Self {
        let lab = Self::empty();
        lab.up(cluster);
        lab
    }

    fn try_up(&self, cluster: &Cluster) -> Result<Ensured, PkiError> {
        let ensured = pki::ensure(cluster, &self.directory, NOW)?;
        ensured.save(&self.directory)?;
        Ok(ensured)
    }

    fn up(&self, cluster: &Cluster) -> Ensured {
        self.try_up(cluster).unwrap_or_else(|e| panic!("the certificates cannot be had: {e}"))
    }

    fn refuses(&self, cluster: &Cluster) -> String {
        let before = self.content();
        let error = self.try_up(cluster).expect_err("this must be refused").to_string();
        assert_eq!(self.content(), before, "a refused run changed the lab directory");
        error.replace(&format!("{}/", self.directory.pki().display()), "pki/")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.pki().join(name)
    }

    fn delete(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("the file was there");
    }

    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(self.directory.root())
            .into_iter()
            .map(|path| (path.clone(), fs::read(path).expect("a file")))
            .collect()
    }

    /// `openssl x509` about one certificate, without blank space at either end.
    fn x509(&self, name: &str, arguments: &[&str]) -> String {
        let file = self.path(&format!("{name}.crt"));
        openssl(&[&["x509", "-noout", "-in", text(&file)], arguments].concat())
    }

    /// The text of one extension, without its heading; empty when it is not there.
    fn extension(&self, name: &str, extension: &str) -> String {
        let shown = self.x509(name, &["-ext", extension]);
        shown.lines().skip(1).map(str::trim).collect::<Vec<_>>().join("\n")
    }

    fn verify(&self, spec: &CertSpec, purpose: &str) {
        let ca = self.path(&format!("{}.crt", spec.issuer.expect("a leaf")));
        let leaf = self.path(&spec.certificate_file());
        let at = NOW.unix_timestamp().to_string();
        let arguments = [
            "verify",
            "-x509_strict",
            "-attime",
            &at,
            "-purpose",
            purpose,
            "-CAfile",
            text(&ca),
            text(&leaf),
        ];
        assert!(openssl(&arguments).ends_with("OK"));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn openssl(arguments: &[&str]) -> String {
    let output =
        Command::new("openssl").args(arguments).output().expect("these tests need openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {}: {said}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn issued(ensured: &Ensured) -> Vec<String> {
    ensured.issued.iter().map(|issued| format!("{}: {}", issued.name, issued.why)).collect()
}

fn leaves(cluster: &Cluster) -> Vec<CertSpec> {
    pki::specs(cluster).into_iter().filter(|spec| !spec.is_ca()).collect()
}

fn openssl_accepts_all(cluster: &Cluster, key_usage: &str) {
    let lab = Lab::with_certificates_for(cluster);
    for spec in leaves(cluster) {
        let purposes: &[&str] = match spec.usages.as_slice() {
            [pki::Usage::Server] => &["sslserver"],
            [pki::Usage::Client] => &["sslclient"],
            _ => &["sslserver", "sslclient"],
        };
        for purpose in purposes {
            lab.verify(&spec, purpose);
        }
        assert_eq!(lab.extension(&spec.name, "keyUsage"), key_usage, "{}", spec.name);
        assert_eq!(lab.extension(&spec.name, "basicConstraints"), "CA:FALSE", "{}", spec.name);
    }
    for ca in ["ca", "etcd/ca", "front-proxy-ca"] {
        assert_eq!(lab.extension(ca, "keyUsage"), "Digital Signature, Certificate Sign, CRL Sign");
        assert_eq!(lab.extension(ca, "basicConstraints"), "CA:TRUE, pathlen:0");
        assert_eq!(
            lab.x509(ca, &["-ext", "basicConstraints"]).lines().next(),
            Some("X509v3 Basic Constraints: critical")
        );
    }
    for spec in pki::specs(cluster) {
        let key = lab.path(&spec.key_file());
        let of_key = openssl(&["pkey", "-pubout", "-in", text(&key)]);
        assert_eq!(lab.x509(&spec.name, &["-pubkey"]), of_key, "{}: another key", spec.name);
        let pem = fs::read_to_string(&key).expect("a key");
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{} is not PKCS#8", spec.name);
    }
    let of_key = openssl(&["pkey", "-pubout", "-in", text(&lab.path("sa.key"))]);
    assert_eq!(fs::read_to_string(lab.path("sa.pub")).expect("sa.pub").trim(), of_key);
}

#[test]
fn openssl_accepts_every_certificate_and_key() {
    openssl_accepts_all(&cluster(), "Digital Signature");
}

#[test]
fn openssl_accepts_every_certificate_and_key_with_rsa() {
    let mut cluster = cluster();
    cluster.pki.algorithm = KeyAlgorithm::Rsa2048;
    openssl_accepts_all(&cluster, "Digital Signature, Key Encipherment");
}

#[test]
fn the_key_algorithm_is_the_one_asked_for() {
    let mut cluster = cluster();
    let shown = |cluster: &Cluster| {
        let lab = Lab::with_certificates_for(cluster);
        let all = lab.x509("admin", &["-text"]);
        all.lines().find(|line| line.contains("Public-Key:")).map(str::trim).map(str::to_owned)
    };
    assert_eq!(shown(&cluster).as_deref(), Some("Public-Key: (256 bit)"));
    cluster.pki.algorithm = KeyAlgorithm::Rsa2048;
    assert_eq!(shown(&cluster).as_deref(), Some("Public-Key: (2048 bit)"));
}

#[test]
fn names_and_usages_are_as_listed() {
    let lab = Lab::with_certificates_for(&cluster());
    assert_eq!(
        lab.extension("apiserver", "subjectAltName"),
        "DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc, \
        DNS:kubernetes.default.svc.cluster.local, \
         DNS:localhost, DNS:lb-0, DNS:controller-0, DNS:controller-1, DNS:api.example.org, IP \
        Address:10.32.0.1, \
         IP Address:127.0.0.1, IP Address:10.240.0.5, IP Address:10.240.0.10, IP \
        Address:10.240.0.11"
    );
    assert_eq!(
        lab.extension("nodes/controller-1/etcd/peer", "subjectAltName"),
        "DNS:controller-1, DNS:localhost, IP Address:10.240.0.11, IP Address:127.0.0.1"
    );
    assert_eq!(
        lab.extension("nodes/worker-0/kubelet", "subjectAltName"),
        "DNS:worker-0, IP Address:10.240.0.20"
    );

    let (server, client) = ("TLS Web Server Authentication", "TLS Web Client Authentication");
    assert_eq!(lab.extension("apiserver", "extendedKeyUsage"), server);
    assert_eq!(lab.extension("admin", "extendedKeyUsage"), client);
    let both = format!("{server}, {client}");
    for name in
        ["nodes/controller-0/etcd/server", "nodes/controller-0/etcd/peer", "nodes/worker-0/kubelet"]
    {
        assert_eq!(lab.extension(name, "extendedKeyUsage"), both, "{name}");
    }
}

#[test]
fn subjects_are_the_identities_that_kubernetes_knows() {
    let lab = Lab::with_certificates_for(&cluster());
    for (name, subject) in [
        ("ca", "CN = kubernetes"),
        ("etcd/ca", "CN = etcd-ca"),
        ("front-proxy-ca", "CN = front-proxy-ca"),
        ("apiserver", "CN = kube-apiserver"),
        ("apiserver-kubelet-client", "CN = kube-apiserver-kubelet-client"),
        ("apiserver-etcd-client", "CN = kube-apiserver-etcd-client"),
        ("etcd/healthcheck-client", "CN = kube-etcd-healthcheck-client"),
        ("front-proxy-client", "CN = front-proxy-client"),
        ("controller-manager", "CN = system:kube-controller-manager"),
        ("scheduler", "CN = system:kube-scheduler"),
        ("kube-proxy", "O = system:node-proxier, CN = system:kube-proxy"),
        ("admin", "O = system:masters, CN = admin"),
        ("nodes/worker-0/kubelet", "O = system:nodes, CN = system:node:worker-0"),
        ("nodes/controller-0/etcd/server", "CN = controller-0"),
    ] {
        // Releases of openssl differ in the space around the equals sign.
        let found = lab.x509(name, &["-subject"]).replace(" = ", "=").replace("subject=", "");
        assert_eq!(found, subject.replace(" = ", "="), "{name}");
    }
}

#[test]
fn a_ca_lives_ten_years_and_all_others_one() {
    let lab = Lab::with_certificates_for(&cluster());
    let dates = |name: &str| lab.x509(name, &["-startdate", "-enddate", "-dateopt", "iso_8601"]);
    assert_eq!(dates("ca"), "notBefore=2025-06-01 11:55:00Z\nnotAfter=2035-05-30 12:00:00Z");
    assert_eq!(dates("admin"), "notBefore=2025-06-01 11:55:00Z\nnotAfter=2026-06-01 12:00:00Z");
}

#[test]
fn serial_numbers_are_positive_and_differ_and_authorities_are_named() {
    let cluster = cluster();
    let lab = Lab::with_certificates_for(&cluster);
    let serials: Vec<_> =
        pki::specs(&cluster).iter().map(|spec| lab.x509(&spec.name, &["-serial"])).collect();
    let mut distinct = serials.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), serials.len(), "two certificates have one serial number");
    assert!(serials.iter().all(|serial| !serial.contains('-')), "a serial number is negative");
    let of_ca = lab.extension("etcd/ca", "subjectKeyIdentifier");
    assert_eq!(lab.extension("apiserver-etcd-client", "authorityKeyIdentifier"), of_ca);
    assert!(!lab.extension("apiserver-etcd-client", "subjectKeyIdentifier").is_empty());
}

#[test]
fn only_the_owner_can_read_anything() {
    let lab = Lab::with_certificates_for(&cluster());
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let all = files(lab.directory.root());
    assert_eq!(all.len(), pki::specs(&cluster()).len() * 2 + 3);
    for path in all {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        for folder in
            path.ancestors().skip(1).take_while(|folder| folder.starts_with(lab.directory.root()))
        {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
    }
}

#[test]
fn kubeconfigs_carry_the_right_identity_to_the_right_server() {
    let cluster = cluster();
    let lab = Lab::empty();
    let files = pki::kubeconfigs(&cluster, &lab.up(&cluster).pki).expect("complete");
    let again = pki::kubeconfigs(&cluster, &lab.up(&cluster).pki).expect("complete");
    assert_eq!(files, again, "kubeconfigs must be the same bytes every time");
    let servers: Vec<_> = files
        .iter()
        .map(|(name, bytes)| {
            let config: serde_yaml::Value =
                serde_yaml::from_slice(bytes.expose()).expect("valid YAML");
            let server = &config["clusters"][0]["cluster"]["server"];
            let context = &config["current-context"];
            [name.as_str(), server.as_str().expect("text"), context.as_str().expect("text")]
                .join(" ")
        })
        .collect();
    assert_eq!(
        servers,
        [
            "admin.conf https://api.example.org:443 admin@sandbox",
            "controller-manager.conf https://127.0.0.1:6443 system:kube-controller-manager@sandbox",
            "kube-proxy.conf https://api.example.org:443 system:kube-proxy@sandbox",
            "nodes/worker-0/kubelet.conf https://api.example.org:443 system:node:worker-0@sandbox",
            "scheduler.conf https://127.0.0.1:6443 system:kube-scheduler@sandbox",
        ]
    );
}
