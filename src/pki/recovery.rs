//! Reconstructs the files of the lab directory from those on nodes: pure.
//!
//! A controller has everything that cannot be recreated, each node has its own certificates, and
//! some certificates are inside kubeconfigs. During a CA rotation, a CA file on a node contains two
//! certificates, the one that signs and one that is only trusted; the lab directory keeps the
//! second in a separate file (`ca-old.crt`). The same applies to the public keys of service
//! accounts (`sa-old.pub`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::encryption::EncryptionKeys;
use super::inspect::Certificate;
use super::issue;
use super::list::{
    CERTIFICATES, CertEntry, ENCRYPTION_KEY, SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY,
    on_node,
};
use super::rotation::AUTHORITIES;
use crate::cluster::Node;
use crate::secret::Secret;

/// The file on a controller with the key that encrypts Secrets.
const ENCRYPTION_CONFIG: &str = "/etc/kubernetes/encryption-config.yaml";
/// Files of nodes by path, with their text.
pub type NodeTexts = BTreeMap<String, String>;

/// What was found, under the names in the lab directory's pki directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Names and contents.
    pub files: BTreeMap<String, Secret>,
    /// What exists but cannot be used, one sentence each. All of it can be issued again.
    pub left_out: Vec<String>,
}

/// Returns the files to read from one controller because all controllers share them.
pub fn shared_files() -> Vec<String> {
    let shared = || CERTIFICATES.iter().filter(|entry| entry.is_shared_by_controllers());
    let pairs = shared().filter(|entry| entry.is_file()).flat_map(CertEntry::pair);
    let kubeconfigs = shared().filter(|entry| !entry.is_file()).map(CertEntry::kubeconfig_path);
    let others = [SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY].map(on_node);
    pairs.chain(others).chain(kubeconfigs).chain([ENCRYPTION_CONFIG.to_owned()]).collect()
}

/// Returns the files to read from a node because they are its own or its role's.
pub fn own_files(node: &Node) -> Vec<String> {
    own(node)
        .flat_map(|entry| {
            if entry.is_file() { entry.pair().to_vec() } else { vec![entry.kubeconfig_path()] }
        })
        .collect()
}

/// Returns the certificates of a node that not every controller has.
fn own(node: &Node) -> impl Iterator<Item = &'static CertEntry> {
    CERTIFICATES.iter().filter(|entry| !entry.is_shared_by_controllers() && entry.is_on(node))
}

/// Returns what all controllers share, from one of them.
///
/// # Errors
/// Returns everything that cannot be recreated and is missing or damaged there, one sentence each.
pub fn shared(texts: &NodeTexts) -> Result<Recovered, Vec<String>> {
    let mut recovered = Recovered::default();
    let mut lacking = Vec::new();
    for authority in CERTIFICATES.iter().filter(|entry| entry.issuer.is_none()) {
        let [certificate, key] = authority.pair().map(|path| (texts.get(&path), path));
        let name = authority.name;
        match (certificate, key) {
            ((Some(certificates), path), (Some(key), _)) => {
                match split_authorities(certificates, key) {
                    Ok((issuing, old)) => {
                        recovered.put(format!("{name}.crt"), issuing);
                        recovered.put(format!("{name}.key"), key.clone());
                        if !old.is_empty() {
                            recovered.put(format!("{name}-old.crt"), old);
                        }
                    }
                    Err(why) => lacking.push(format!("{path} {why}")),
                }
            }
            (certificate, key) => {
                lacking.extend(
                    [certificate, key]
                        .into_iter()
                        .filter(|it| it.0.is_none())
                        .map(|(_, path)| missing(&path)),
                );
            }
        }
    }
    lacking.extend(recovered.put_service_account(texts).err());
    match texts.get(ENCRYPTION_CONFIG).map(|text| EncryptionKeys::from_config(text)) {
        None => lacking.push(missing(ENCRYPTION_CONFIG)),
        Some(None) => {
            lacking.push(format!("{ENCRYPTION_CONFIG} contains no key in labctl's format"))
        }
        Some(Some(keys)) => recovered.put(ENCRYPTION_KEY.to_owned(), keys.to_text()),
    }
    if !lacking.is_empty() {
        return Err(lacking);
    }
    for entry in CERTIFICATES
        .iter()
        .filter(|entry| entry.is_shared_by_controllers() && entry.issuer.is_some())
    {
        recovered.put_entry(entry, texts, entry.name);
    }
    Ok(recovered)
}

fn missing(path: &str) -> String {
    format!("{path} is missing")
}

impl Recovered {
    /// Adds a node's own files.
    pub fn add_own(&mut self, node: &Node, texts: &NodeTexts) {
        for entry in own(node) {
            let name = entry.in_lab(Some(node));
            // What a role shares is identical on each of its nodes.
            if !self.files.contains_key(&format!("{name}.key")) {
                self.put_entry(entry, texts, &name);
            }
        }
    }

    fn put(&mut self, name: String, content: impl Into<Secret>) {
        self.files.insert(name, content.into());
    }

    /// Adds the service account's keys.
    fn put_service_account(&mut self, texts: &NodeTexts) -> Result<(), String> {
        let [path, public] = [SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY].map(on_node);
        let key = texts.get(&path).ok_or_else(|| missing(&path))?;
        let public = texts.get(&public).map_or("", String::as_str);
        let (own, old) = split_public_keys(public, key).map_err(|why| format!("{path} {why}"))?;
        self.put(SERVICE_ACCOUNT_KEY.to_owned(), key.clone());
        self.put(SERVICE_ACCOUNT_PUBLIC_KEY.to_owned(), own);
        if !old.is_empty() {
            self.put("sa-old.pub".to_owned(), old);
        }
        Ok(())
    }

    /// Adds a certificate with its key under `name`. If one is missing or they do not match, both
    /// are issued again.
    fn put_entry(&mut self, entry: &CertEntry, texts: &NodeTexts, name: &str) {
        if !entry.is_file() {
            return self.put_identity(&entry.kubeconfig_path(), texts, name);
        }
        let [certificate, key] = entry.pair().map(|path| texts.get(&path));
        if let (Some(certificate), Some(key)) = (certificate, key) {
            self.put_checked(name, certificate, key);
        }
    }

    /// Adds the certificate and key of a kubeconfig.
    fn put_identity(&mut self, path: &str, texts: &NodeTexts, name: &str) {
        let Some(text) = texts.get(path) else { return };
        let decoded = |field| {
            Some(String::from_utf8(BASE64.decode(value(text, field)?).ok()?).ok()).flatten()
        };
        match (decoded("client-certificate-data"), decoded("client-key-data")) {
            (Some(certificate), Some(key)) => self.put_checked(name, &certificate, &key),
            _ => self.left_out.push(format!("{path} contains no certificate with its key")),
        }
    }

    fn put_checked(&mut self, name: &str, certificate: &str, key: &str) {
        match belong_together(certificate, key) {
            Ok(()) => {
                self.put(format!("{name}.crt"), certificate);
                self.put(format!("{name}.key"), key);
            }
            Err(why) => self.left_out.push(format!("{name}.crt {why}")),
        }
    }

    /// Returns the names in an order in which writing them can be interrupted anywhere: a
    /// certificate proves that everything before it was written, so secrets come first, then the
    /// CAs, and a key before its certificate.
    pub fn in_order(&self) -> Vec<&str> {
        let rank = |name: &str| {
            let authority = AUTHORITIES.iter().any(|ca| {
                name.strip_prefix(ca)
                    .is_some_and(|rest| matches!(rest, ".key" | ".crt" | "-old.crt"))
            });
            let secret = [ENCRYPTION_KEY, SERVICE_ACCOUNT_KEY].contains(&name);
            (!secret, !authority, name.ends_with(".crt"))
        };
        let mut names: Vec<&str> = self.files.keys().map(String::as_str).collect();
        names.sort_by_key(|name| (rank(name), *name));
        names
    }
}

fn belong_together(certificate: &str, key: &str) -> Result<(), String> {
    let certificate = Certificate::from_pem(certificate.as_bytes())?;
    if issue::public_key(key)? == certificate.public_key {
        Ok(())
    } else {
        Err("does not belong to its key".to_owned())
    }
}

/// Returns the certificate of a CA file that belongs to `key`, and all others in it.
///
/// # Errors
/// Returns why none does, as a predicate.
pub fn split_authorities(certificates: &str, key: &str) -> Result<(String, String), String> {
    let public = issue::public_key(key).map_err(|why| format!("has a key that {why}"))?;
    let blocks = blocks(certificates);
    if blocks.is_empty() {
        return Err("contains no certificate".to_owned());
    }
    let mut issuing = None;
    let mut old = String::new();
    for block in &blocks {
        // A certificate that was renewed with the same key: the first is newer, and the one that it
        // replaced is not needed.
        match Certificate::from_pem(block.as_bytes())?.public_key == public {
            true if issuing.is_none() => issuing = Some(block.clone()),
            true => {}
            false => old.push_str(block),
        }
    }
    match issuing {
        // A single certificate is copied byte for byte, with everything around it.
        Some(_) if blocks.len() == 1 => Ok((certificates.to_owned(), String::new())),
        Some(issuing) => Ok((issuing, old)),
        None => Err("contains no certificate that belongs to its key".to_owned()),
    }
}

/// Returns the public half of a service account key, and the other public keys in a file.
///
/// # Errors
/// Returns what is wrong with the key, as a predicate.
pub fn split_public_keys(public_keys: &str, key: &str) -> Result<(String, String), String> {
    let own = issue::public_key_pem(key)?;
    let same = |block: &String| body(block) == body(&own);
    let old: String = blocks(public_keys).into_iter().filter(|block| !same(block)).collect();
    Ok((own, old))
}

/// Returns the content of a PEM block without line breaks.
fn body(block: &str) -> String {
    block.split_whitespace().collect()
}

/// Returns the PEM blocks of a text, each with a line end.
fn blocks(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block = String::new();
    for line in text.lines() {
        if line.starts_with("-----BEGIN ") {
            block.clear();
        }
        block.push_str(line.trim_end());
        block.push('\n');
        if line.starts_with("-----END ") {
            found.push(std::mem::take(&mut block));
        }
    }
    found
}

/// Returns the value of the first `field:` in a YAML file written by labctl.
fn value<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest =
            line.trim_start().trim_start_matches("- ").strip_prefix(field)?.strip_prefix(':')?;
        Some(rest.trim().trim_matches(['"', '\'']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Role;
    use crate::lab::LabDirectory;
    use crate::pki::{fixture, kubeconfigs, list::files_of, store};

    /// Returns a cluster's certificates, and the path of each on its nodes.
    fn lab() -> (crate::cluster::Cluster, store::Pki, BTreeMap<String, NodeTexts>) {
        let cluster = fixture::cluster();
        let folder = tempfile::tempdir().expect("a directory");
        let pki = store::ensure(&cluster, &LabDirectory::new(folder.path()), fixture::now())
            .expect("issued")
            .pki;
        let kubeconfigs = kubeconfigs(&cluster, &pki).expect("kubeconfigs");
        let text =
            |name: &str| String::from_utf8(pki.get(name).expect(name).to_vec()).expect("text");
        let mut nodes = BTreeMap::new();
        for node in &cluster.nodes {
            let mut texts = NodeTexts::new();
            let mut add = |path: String, content: String| texts.insert(path, content);
            for file in files_of(node) {
                let content = match file.from.split_once('/').expect("a place and a name") {
                    ("pki", name) => text(name),
                    (_, name) => {
                        kubeconfigs.get(name).expect(name).expose_text().expect("text").to_owned()
                    }
                };
                add(file.to, content);
            }
            if node.has(Role::Controller) {
                let key = text(ENCRYPTION_KEY);
                let config = format!(
                    "providers:\n  - secretbox:\n      keys:\n        - name: key1\n          \
                    secret: {key}\n"
                );
                add(ENCRYPTION_CONFIG.to_owned(), config);
            }
            nodes.insert(node.name.clone(), texts);
        }
        (cluster, pki, nodes)
    }

    fn first_controller(cluster: &crate::cluster::Cluster) -> &Node {
        cluster.with_role(Role::Controller).next().expect("a controller")
    }

    #[test]
    fn files_on_nodes_are_recovered_byte_for_byte() {
        let (cluster, pki, nodes) = lab();
        let mut recovered = Recovered::default();
        for node in &cluster.nodes {
            // What is read is what nodes have, and it is enough.
            let mut asked = own_files(node);
            if node.has(Role::Controller) {
                asked.extend(shared_files());
            }
            let there = &nodes[&node.name];
            assert!(asked.iter().all(|path| there.contains_key(path)), "{}: {asked:?}", node.name);
            let answers = there.iter().filter(|(path, _)| asked.contains(path));
            let answers: NodeTexts =
                answers.map(|(path, text)| (path.clone(), text.clone())).collect();
            if node.has(Role::Controller) {
                recovered = shared(&answers).expect("all is there");
            }
            recovered.add_own(node, &answers);
        }
        assert_eq!(recovered.left_out, [""; 0]);
        // A copy for one program, created from the CA's certificate whenever nodes get their files.
        let names: Vec<&str> =
            pki.names().filter(|name| *name != crate::pki::store::SIGNER).collect();
        assert_eq!(recovered.files.keys().map(String::as_str).collect::<Vec<_>>(), names);
        for name in names {
            assert_eq!(Some(&recovered.files[name]), pki.file(name), "{name}");
        }
    }

    #[test]
    fn an_interrupted_recovery_is_completed_by_the_next() {
        let (cluster, _, nodes) = lab();
        let recovered = shared(&nodes[&first_controller(&cluster).name]).expect("all is there");
        let order = recovered.in_order();
        assert_eq!(order[..2], ["encryption.key", "sa.key"]);
        let at = |name: &str| order.iter().position(|other| *other == name).expect(name);
        assert!(
            at("ca.key") < at("ca.crt")
                && at("ca.crt") < at("admin.key")
                && at("admin.key") < at("admin.crt")
        );
        assert_eq!(order.len(), recovered.files.len());
    }

    #[test]
    fn nothing_is_recovered_from_a_controller_without_the_essential_keys() {
        let (cluster, _, nodes) = lab();
        let whole = &nodes[&first_controller(&cluster).name];
        let mut lacking = whole.clone();
        lacking.remove("/etc/kubernetes/pki/ca.key");
        lacking.remove("/etc/kubernetes/pki/sa.key");
        lacking.insert(ENCRYPTION_CONFIG.to_owned(), "secret: short".to_owned());
        assert_eq!(
            shared(&lacking).expect_err("refused"),
            [
                "/etc/kubernetes/pki/ca.key is missing",
                "/etc/kubernetes/pki/sa.key is missing",
                "/etc/kubernetes/encryption-config.yaml contains no key in labctl's format",
            ]
        );
        let mut foreign = whole.clone();
        foreign.insert(on_node("ca.key"), whole[&on_node("etcd/ca.key")].clone());
        assert_eq!(
            shared(&foreign).expect_err("refused"),
            ["/etc/kubernetes/pki/ca.crt contains no certificate that belongs to its key"]
        );
    }

    #[test]
    fn missing_or_mismatched_leaves_are_issued_again() {
        let (cluster, _, nodes) = lab();
        let mut texts = nodes[&first_controller(&cluster).name].clone();
        texts.remove(&on_node("front-proxy-client.key"));
        texts.insert(on_node("apiserver.key"), texts[&on_node("ca.key")].clone());
        texts.insert("/etc/kubernetes/scheduler.conf".to_owned(), "kind: Config\n".to_owned());
        let recovered = shared(&texts).expect("what counts is there");
        assert_eq!(
            recovered.left_out,
            [
                "apiserver.crt does not belong to its key",
                "/etc/kubernetes/scheduler.conf contains no certificate with its key",
            ]
        );
        for name in ["front-proxy-client.crt", "apiserver.key", "scheduler.crt"] {
            assert!(!recovered.files.contains_key(name), "{name}");
        }
    }

    #[test]
    fn during_a_rotation_the_old_ca_has_a_separate_file() {
        let (cluster, _, nodes) = lab();
        let (_, other, _) = lab();
        let old =
            |name: &str| String::from_utf8(other.get(name).expect(name).to_vec()).expect("text");
        let whole = &nodes[&first_controller(&cluster).name];
        let (ca, sa) = (on_node("ca.crt"), on_node("sa.pub"));
        for old_first in [true, false] {
            let both = |new: &str, old: &str| {
                if old_first { format!("{old}{new}") } else { format!("{new}{old}") }
            };
            let mut texts = whole.clone();
            texts.insert(ca.clone(), both(&whole[&ca], &old("ca.crt")));
            texts.insert(sa.clone(), both(&whole[&sa], &old("sa.pub")));
            let recovered = shared(&texts).expect("all is there");
            let file = |name: &str| recovered.files[name].expose_text().expect("text").to_owned();
            assert_eq!((file("ca.crt"), file("ca-old.crt")), (whole[&ca].clone(), old("ca.crt")));
            assert_eq!((file("sa.pub"), file("sa-old.pub")), (whole[&sa].clone(), old("sa.pub")));
        }
    }
}
