//! Where a lab's images come from: a mirror with a password, and a registry behind a proxy. One
//! small server is all of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::lab::Lab;
use crate::{goes_without_a_trace, is_settled, no_run_has_told_a_secret};

/// In no other text.
const PASSWORD: &str = "heron-37-lantern";

const REGISTRIES: &str = "\
registries:
  images.test: { mirrors: [\"http://10.231.0.1:PORT\"] }
  10.231.0.1:PORT: { credentials: password }
  elsewhere.test: { mirrors: [\"http://elsewhere.test\"] }
proxy: { http: \"http://10.231.0.1:PORT\", no: [10.231.0.0/24] }

";

/// What the server has: by path, with its type.
type Files = BTreeMap<String, (&'static str, Vec<u8>)>;

/// A registry that has busybox, asks for a password, and is an HTTP proxy as well.
struct Server {
    port: u16,
    /// The first line of every request that was answered.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (files, log) = (Arc::new(files()), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, log) = (Arc::clone(&files), Arc::clone(&log));
                std::thread::spawn(move || answer(stream, &files, &log));
            }
        });
        Self { port, asked }
    }

    fn was_asked(&self, begin: &str) -> bool {
        self.asked.lock().expect("a log").iter().any(|line| line.starts_with(begin))
    }
}

/// Answers one request.
fn answer(stream: TcpStream, files: &Files, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let first = head.first()?.clone();
    let (method, target) = first.split_once(' ')?;
    let target = target.split([' ', '?']).next()?;
    // What a proxy is asked begins with the whole URL.
    let proxied = target.strip_prefix("http://elsewhere.test");
    let login = base64::engine::general_purpose::STANDARD.encode(format!("ann:{PASSWORD}"));
    let login = format!("authorization: basic {login}").to_lowercase();
    let stream = reader.get_mut();
    if proxied.is_none() && !head.iter().any(|line| line.to_lowercase() == login) {
        let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
            Content-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(refusal.as_bytes()).ok();
    }
    let Some((kind, body)) = files.get(proxied.unwrap_or(target)) else {
        let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return stream.write_all(gone.as_bytes()).ok();
    };
    log.lock().expect("a log").push(first.clone());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nDocker-Content-Digest: {}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        digest(body),
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    if method == "GET" { stream.write_all(body).ok() } else { Some(()) }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// busybox of the bundle, as a registry serves it.
fn files() -> Files {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/images/busybox.tar");
    let mut archive = tar::Archive::new(fs::File::open(path).expect("an archive"));
    let mut parts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its content");
        parts.insert(name, bytes);
    }
    let (mut config, layer) = (parts["config.json"].clone(), parts["layer.tar"].clone());
    // Another checksum than that of the bundle's image, which every node has already.
    config.push(b'\n');
    let part = |kind: &str, bytes: &[u8]| {
        let size = bytes.len();
        serde_json::json!({ "mediaType": kind, "digest": digest(bytes), "size": size })
    };
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": kind,
        "config": part("application/vnd.oci.image.config.v1+json", &config),
        "layers": [part("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut files = Files::new();
    for name in ["1".to_owned(), digest(&manifest)] {
        files.insert(format!("/v2/busybox/manifests/{name}"), (kind, manifest.clone()));
    }
    for blob in [config, layer] {
        let path = format!("/v2/busybox/blobs/{}", digest(&blob));
        files.insert(path, ("application/octet-stream", blob));
    }
    files
}

/// Runs a pod of an image, which has to be pulled.
fn runs(lab: &Lab, name: &str, image: &str) {
    let run =
        format!("run {name} --image={image} --image-pull-policy=Always --restart=Never -- true");
    assert!(lab.kubectl(&run).status.success());
    let phase = format!("get pod {name} -o jsonpath={{.status.phase}}");
    let done = lab.within_two_minutes(|| lab.kubectl(&phase).stdout == b"Succeeded");
    let why = lab.kubectl(&format!("describe pod {name}"));
    assert!(done, "{}", String::from_utf8_lossy(&why.stdout));
}

#[test]
fn images_come_from_where_the_inventory_says() {
    let server = Server::new();
    let registries = REGISTRIES.replace("PORT", &server.port.to_string());
    let lab = Lab::changed("single", &[("nodes:\n", &format!("{registries}nodes:\n"))]);
    let file = lab.folder().join("password");

    // Credentials that others may read are refused.
    fs::write(&file, format!("ann:{PASSWORD}\n")).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its mode");
    let refused = lab.run(&["up"]);
    assert_eq!(refused.code, Some(2), "{}", refused.story());
    assert!(refused.stderr.contains("others may read"), "{}", refused.stderr);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");

    lab.must(&["up"]);
    runs(&lab, "mirrored", "images.test/busybox:1");
    assert!(server.was_asked("GET /v2/busybox/blobs/"), "{:?}", server.asked);
    runs(&lab, "proxied", "elsewhere.test/busybox:1");
    assert!(server.was_asked("HEAD http://elsewhere.test/v2/busybox/"), "{:?}", server.asked);
    no_run_has_told_a_secret(&lab, &[PASSWORD]);
    assert_eq!(lab.on("node-0", "stat -c %a /etc/containerd/config.toml"), "600");
    is_settled(&lab);

    // Somebody else's file stays when the inventory says nothing of registries any more.
    lab.on(
        "node-0",
        "mkdir /etc/containerd/certs.d/theirs && cd /etc/containerd/certs.d/theirs && \
        echo '# Theirs.' > hosts.toml",
    );
    let path = lab.folder().join("inventory.yaml");
    let text = fs::read_to_string(&path).expect("an inventory");
    fs::write(&path, text.replace(&registries, "")).expect("an inventory");
    lab.must(&["up"]);
    assert_eq!(lab.on("node-0", "ls /etc/containerd/certs.d"), "theirs");
    let look = "cat /etc/containerd/config.toml /etc/systemd/system/containerd.service";
    let left = lab.on("node-0", look);
    assert!(!left.contains(PASSWORD) && !left.contains("HTTP_PROXY"), "{left}");
    is_settled(&lab);
    fs::remove_file(&file).expect("it was there");
    goes_without_a_trace(&lab);
}
