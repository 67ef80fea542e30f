//! Renders kubeconfigs with embedded certificates and keys, so that each is one self-contained
//! file.
//!
//! Pure: the same input gives the same bytes. The text is written without a serializer, because it
//! is short, its structure never varies, and it comes in the usual order
//! (<https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::error::PkiError;
use super::files::Pki;
use super::list::{CERTIFICATES, Server};
use super::spec::CA;
use crate::cluster::{Cluster, Node};
use crate::secret::Secret;

/// The administrator's kubeconfig.
pub const ADMIN: &str = "admin.conf";
/// The content of a kubeconfig.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The lab's name, used as the cluster's name.
    pub lab: &'a str,
    /// The user's name in the file, usually that of its certificate.
    pub user: &'a str,
    /// URL of the API server.
    pub server: &'a str,
    /// Certificate of the CA that signed the API server's certificate, PEM.
    pub ca: &'a [u8],
    /// The user's certificate, PEM.
    pub certificate: &'a [u8],
    /// The user's private key, PEM.
    pub key: &'a [u8],
}

impl fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({}@{} at {})", self.user, self.lab, self.server)
    }
}

/// Renders a kubeconfig with one context, `<user>@<lab>`.
pub fn kubeconfig(access: &Access<'_>) -> Secret {
    let lab = quoted(access.lab);
    let user = quoted(access.user);
    let context = quoted(&format!("{}@{}", access.user, access.lab));
    format!(
        "\
apiVersion: v1
kind: Config
clusters:
- name: {lab}
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: {context}
  context:
    cluster: {lab}
    user: {user}
current-context: {context}
",
        server = quoted(access.server),
        ca = BASE64.encode(access.ca),
        certificate = BASE64.encode(access.certificate),
        key = *Zeroizing::new(BASE64.encode(access.key)),
    )
    .into()
}

/// The entries of one user of one lab in a kubeconfig shared with other clusters: names that
/// include the lab's, and PEM files in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// Name of the cluster.
    pub lab: String,
    /// Name of the user: `jane@sandbox`, because every lab has its own `admin`.
    pub user: String,
    /// Name of the context.
    pub context: String,
    /// URL of the API server.
    pub server: String,
    /// The trusted CAs.
    pub ca: String,
    /// The user's certificate.
    pub certificate: String,
    /// The user's key.
    pub key: Secret,
}

impl Entries {
    /// Returns the entries for `access`.
    pub fn new(access: &Access<'_>) -> Self {
        let named = format!("{}@{}", access.user, access.lab);
        Self {
            lab: access.lab.to_owned(),
            user: named.clone(),
            context: named,
            server: access.server.to_owned(),
            ca: BASE64.encode(access.ca),
            certificate: BASE64.encode(access.certificate),
            key: BASE64.encode(access.key).into(),
        }
    }

    /// Returns the name and the fields of the entry in `list`: `clusters`, `users` or `contexts`.
    pub fn list(&self, list: &str) -> (&str, Vec<(&str, &str)>) {
        match list {
            "clusters" => (
                &self.lab,
                vec![("server", &self.server), ("certificate-authority-data", &self.ca)],
            ),
            "users" => (
                &self.user,
                vec![
                    ("client-certificate-data", &self.certificate),
                    ("client-key-data", self.key.expose_text().unwrap_or_default()),
                ],
            ),
            _ => (&self.context, vec![("cluster", &self.lab), ("user", &self.user)]),
        }
    }

    /// Returns a kubeconfig with only these entries.
    pub fn whole(&self) -> String {
        let mut text = "apiVersion: v1\nkind: Config\n".to_owned();
        for (list, kind) in [("clusters", "cluster"), ("users", "user"), ("contexts", "context")] {
            let (name, fields) = self.list(list);
            text.push_str(&format!("{list}:\n- name: {}\n  {kind}:\n", quoted(name)));
            for (key, value) in fields {
                text.push_str(&format!("    {key}: {}\n", quoted(value)));
            }
        }
        text.push_str(&format!("current-context: {}\n", quoted(&self.context)));
        text
    }
}

/// Returns every kubeconfig of the lab by file name: `admin.conf`, and
/// `nodes/<worker>/kubelet.conf` for each worker.
///
/// # Errors
/// Returns [`PkiError::Absent`] if `pki` lacks a certificate of this cluster.
pub fn kubeconfigs(cluster: &Cluster, pki: &Pki) -> Result<BTreeMap<String, Secret>, PkiError> {
    let endpoint = cluster.api_url();
    let beside = format!("https://127.0.0.1:{}", cluster.api.server_port);
    let ca = pki.require(&format!("{CA}.crt"))?;
    let mut files = BTreeMap::new();
    for entry in CERTIFICATES {
        let Some(server) = entry.kubeconfig else { continue };
        let nodes: Vec<Option<&Node>> = match entry.is_per_node() {
            true => cluster.nodes.iter().filter(|node| entry.is_on(node)).map(Some).collect(),
            false => vec![None],
        };
        for node in nodes {
            let name = entry.in_lab(node);
            let access = Access {
                lab: &cluster.name,
                user: &entry.user_of(node),
                server: if server == Server::Beside { &beside } else { &endpoint },
                ca,
                certificate: pki.require(&format!("{name}.crt"))?,
                key: pki.require(&format!("{name}.key"))?,
            };
            files.insert(format!("{name}.conf"), kubeconfig(&access));
        }
    }
    Ok(files)
}

/// Returns a YAML double-quoted scalar, because a lab called `1` or `on` must stay a string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCESS: Access<'_> = Access {
        lab: "sandbox",
        user: "system:kube-proxy",
        server: "https://10.240.0.5:6443",
        ca: b"the ca",
        certificate: b"the certificate",
        key: b"the key",
    };

    #[test]
    fn a_kubeconfig_has_the_usual_layout() {
        assert_eq!(
            kubeconfig(&ACCESS).expose_text().expect("text"),
            r#"apiVersion: v1
kind: Config
clusters:
- name: "sandbox"
  cluster:
    server: "https://10.240.0.5:6443"
    certificate-authority-data: dGhlIGNh
users:
- name: "system:kube-proxy"
  user:
    client-certificate-data: dGhlIGNlcnRpZmljYXRl
    client-key-data: dGhlIGtleQ==
contexts:
- name: "system:kube-proxy@sandbox"
  context:
    cluster: "sandbox"
    user: "system:kube-proxy"
current-context: "system:kube-proxy@sandbox"
"#
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_its_quotes() {
        assert_eq!(quoted("a\"b\\c\nd"), r#""a\"b\\c\u000ad""#);
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(
            format!("{ACCESS:?}"),
            "Access(system:kube-proxy@sandbox at https://10.240.0.5:6443)"
        );
    }

    #[test]
    fn a_missing_certificate_is_reported() {
        let error = kubeconfigs(&crate::pki::fixture::cluster(), &Pki::default())
            .expect_err("nothing is there");
        assert_eq!(
            error.to_string(),
            "ca.crt is not among this lab's certificates; issue them first"
        );
    }
}
