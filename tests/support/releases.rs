//! The official hosts on loopback: every release of Kubernetes 1.34.2's bundle, with small fakes
//! for programs.

use flate2::Compression;
use flate2::write::GzEncoder;
use labctl::bundle::releases::{Sources, components, releases};
use sha2::{Digest, Sha256};

use crate::support::http_server::{Reply, Server};

/// Where Kubernetes' programs are.
pub const KUBERNETES: &str = "/release/v1.34.2/bin/linux/amd64";
/// etcd's release.
pub const ETCD: &str = "/etcd-io/etcd/releases/download/v3.6.6";
/// containerd's archive.
pub const CONTAINERD: &str =
    "/containerd/containerd/releases/download/v2.1.5/containerd-2.1.5-linux-amd64.tar.gz";
/// runc's release.
pub const RUNC: &str = "/opencontainers/runc/releases/download/v1.3.4";
/// The CNI plugins' archive.
pub const CNI: &str =
    "/containernetworking/plugins/releases/download/v1.8.0/cni-plugins-linux-amd64-v1.8.0.tgz";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The type of every image's manifest.
pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// In lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A program's fake content: long enough to be cut.
pub fn program(name: &str) -> Vec<u8> {
    format!("#!/bin/sh\necho {name}\n").repeat(2000).into_bytes()
}

fn archive(prefix: &str, names: &[&str]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for name in names {
        let content = program(name);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = format!("{prefix}{name}");
        header.as_gnu_mut().expect("a GNU header").name[..path.len()]
            .copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_slice()).expect("a tar entry");
    }
    archive.into_inner().and_then(GzEncoder::finish).expect("a tar.gz")
}

/// Serves everything.
pub fn serve_releases(server: &Server) {
    for name in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
    ] {
        server.file(&format!("{KUBERNETES}/{name}"), program(name));
        server.file(&format!("{KUBERNETES}/{name}.sha256"), sha256(&program(name)));
    }
    serve_etcd(server, &["README.md", "etcd", "etcdctl", "etcdutl"]);
    let containerd =
        archive("bin/", &["containerd", "containerd-stress", "containerd-shim-runc-v2", "ctr"]);
    let sums = format!("{}  containerd-2.1.5-linux-amd64.tar.gz\n", sha256(&containerd));
    server.file(CONTAINERD, containerd);
    server.file(&format!("{CONTAINERD}.sha256sum"), sums);
    let sums =
        format!("{}  runc.arm64\n{}  runc.amd64\n", sha256(b"other"), sha256(&program("runc")));
    server.file(&format!("{RUNC}/runc.amd64"), program("runc"));
    server.file(&format!("{RUNC}/runc.sha256sum"), sums);
    let cni = archive("./", &["bandwidth", "bridge", "host-local", "loopback", "portmap"]);
    let sums = format!("{}  cni-plugins-linux-amd64-v1.8.0.tgz\n", sha256(&cni));
    server.file(CNI, cni);
    server.file(&format!("{CNI}.sha256"), sums);
    let version = "1.34.2".parse().expect("a version");
    let components = components(version).expect("a version that labctl knows");
    let releases = releases(version, "amd64", &components, &Sources::official());
    for image in releases.expect("releases").images {
        serve_image(server, &image.repository, &image.tag, None);
    }
}

/// Serves an etcd release with these members in its archive.
pub fn serve_etcd(server: &Server, members: &[&str]) {
    let etcd = archive("etcd-v3.6.6-linux-amd64/", members);
    let sums = format!(
        "{}  etcd-v3.6.6-darwin-amd64.zip\n{}  etcd-v3.6.6-linux-amd64.tar.gz\n",
        sha256(b"other"),
        sha256(&etcd)
    );
    server.file(&format!("{ETCD}/etcd-v3.6.6-linux-amd64.tar.gz"), etcd);
    server.file(&format!("{ETCD}/SHA256SUMS"), sums);
}

/// The content of an image's only layer.
pub fn layer_of(repository: &str) -> Vec<u8> {
    format!("layer of {repository} ").repeat(500).into_bytes()
}

/// An image for two platforms; with a `token`, for those who carry it.
pub fn serve_image(server: &Server, repository: &str, tag: &str, token: Option<&'static str>) {
    let base = format!("/v2/{repository}");
    let layer = layer_of(repository);
    let config =
        format!(r#"{{"architecture":"amd64","os":"linux","of":"{repository}"}}"#).into_bytes();
    let blob =
        |bytes: &[u8]| format!(r#"{{"digest":"sha256:{}","size":{}}}"#, sha256(bytes), bytes.len());
    // The same layer twice, as empty layers often are.
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{},{}]}}"#,
        blob(&config),
        blob(&layer),
        blob(&layer)
    )
    .into_bytes();
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[
            {{"mediaType":"{MANIFEST}","digest":"sha256:{}","size":9,
              "platform":{{"architecture":"arm64","os":"linux"}}}},
            {{"mediaType":"{MANIFEST}","digest":"sha256:{}","size":{},
              "platform":{{"architecture":"amd64","os":"linux"}}}}
        ]}}"#,
        sha256(b"other"),
        sha256(&manifest),
        manifest.len()
    )
    .into_bytes();
    let files = [
        (format!("{base}/manifests/{tag}"), index, INDEX),
        (format!("{base}/manifests/sha256:{}", sha256(&manifest)), manifest, MANIFEST),
        (format!("{base}/blobs/sha256:{}", sha256(&config)), config, "application/octet-stream"),
        (format!("{base}/blobs/sha256:{}", sha256(&layer)), layer, "application/octet-stream"),
    ];
    let (realm, scope) =
        (format!("{}/token", server.url), format!("repository:{repository}:pull,push"));
    for (path, body, media_type) in files {
        let challenge =
            format!(r#"Bearer realm="{realm}",service="registry.test",scope="{scope}""#);
        server.handle(&path, move |request, _| {
            let carried = request.headers.get("authorization").map(String::as_str);
            if token.is_some_and(|token| carried != Some(&format!("Bearer {token}"))) {
                return Reply::status(401).header("WWW-Authenticate", challenge.clone());
            }
            Reply::file(request, &body).header("Content-Type", media_type)
        });
    }
}
