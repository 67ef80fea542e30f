//! The official hosts by their own names, for a program that is told to go through a proxy: TLS is
//! spoken by a CA of the test's own, and what they serve comes from a [`Server`].

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::http_server::Server;

/// Whose names the certificate has.
const HOSTS: [&str; 3] = ["dl.k8s.io", "github.com", "registry.k8s.io"];

/// The proxy, and what is behind it.
pub struct Official {
    /// What all of the hosts serve.
    pub server: Server,
    proxy: String,
    trust: tempfile::NamedTempFile,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Official {
    /// Begins to listen.
    pub async fn start() -> Self {
        let server = Server::start().await;
        let names: Vec<String> = HOSTS.map(str::to_owned).into();
        let own = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let trust = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(trust.path(), own.cert.pem()).expect("a file");
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (behind, told) = (server.url.replace("http://", ""), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind, told) = (acceptor.clone(), behind.clone(), told.clone());
                // Whoever hangs up has what it wanted.
                tokio::spawn(async move { drop(pass(stream, &acceptor, &behind, &told).await) });
            }
        });
        Self { server, proxy, trust, asked }
    }

    /// What a program needs in its environment to come here.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("HTTPS_PROXY", self.proxy.clone()),
            ("NO_PROXY", String::new()),
            ("SSL_CERT_FILE", self.trust.path().display().to_string()),
        ]
    }

    /// The hosts that were asked for, in their order.
    pub fn hosts(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// One connection: `CONNECT`, TLS, and then whatever is said.
async fn pass(
    mut stream: TcpStream,
    acceptor: &TlsAcceptor,
    behind: &str,
    told: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let host = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    told.lock().expect("no panic").push(host.unwrap_or(&head).to_owned());
    stream.write_all(b"HTTP/1.1 200 Through\r\n\r\n").await?;
    let mut outside = acceptor.accept(stream).await?;
    let mut inside = TcpStream::connect(behind).await?;
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await.map(drop)
}
