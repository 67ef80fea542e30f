//! How certificates and keys are made by hand, with OpenSSL 3: the chapter of every guide that
//! labctl does with a library.
//!
//! `-config /dev/null` leaves out what a distribution's configuration adds, and `-copy_extensions`
//! (<https://docs.openssl.org/3.0/man1/openssl-x509/>) takes what the request asks for into the
//! certificate, as nobody but the person at the keyboard made the request.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::cluster::KeyAlgorithm;
use crate::module::quote;
use crate::pki::CertSpec;
use crate::pki::list::{ENCRYPTION_KEY, SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY, Usage};

/// One thing to make: its name, what it is for, and the commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeByHand {
    /// Its name in `pki`, without the end of the file.
    pub name: String,
    /// What it is, in a sentence.
    pub what: String,
    /// The commands, to be typed in the directory that has `pki`.
    pub commands: String,
}

/// Returns how `specs` are made, in their order, and the keys that are no certificate's: those
/// whose files are among `files`, and the CAs that sign them.
pub fn made_by_hand(specs: &[CertSpec], files: &BTreeSet<String>) -> Vec<MadeByHand> {
    let is_asked_for = |spec: &&CertSpec| {
        files.contains(&spec.certificate_file()) || files.contains(&spec.key_file())
    };
    let issuers: BTreeSet<&str> =
        specs.iter().filter(is_asked_for).filter_map(|spec| spec.issuer).collect();
    let wanted: Vec<&CertSpec> = specs
        .iter()
        .filter(|spec| is_asked_for(spec) || issuers.contains(spec.name.as_str()))
        .collect();
    let Some(first) = specs.first() else { return Vec::new() };
    let mut made = Vec::new();
    made.extend(wanted.iter().map(|spec| certificate(spec, &wanted)));
    if [SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY].iter().any(|it| files.contains(*it)) {
        made.push(service_account(first.algorithm));
    }
    if files.contains(ENCRYPTION_KEY) {
        made.push(encryption());
    }
    if !made.is_empty() {
        made.insert(0, place(&wanted));
    }
    made
}

/// The directories, which only their owner may read.
fn place(specs: &[&CertSpec]) -> MadeByHand {
    let below = specs.iter().filter_map(|spec| spec.name.rsplit_once('/'));
    let top = std::iter::once("pki".to_owned());
    let folders: BTreeSet<String> =
        top.chain(below.map(|(folder, _)| format!("pki/{folder}"))).collect();
    let folders: Vec<String> = folders.into_iter().collect();
    MadeByHand {
        name: "Directories".to_owned(),
        what: "Whoever reads a CA's key is administrator of the lab.".to_owned(),
        commands: format!("umask 077\nmkdir -p {}\n", folders.join(" ")),
    }
}

fn certificate(spec: &CertSpec, all: &[&CertSpec]) -> MadeByHand {
    let mut commands = new_key(&spec.key_file(), spec.algorithm);
    let (key, certificate) = (file(&spec.key_file()), file(&spec.certificate_file()));
    let subject = quote(&subject(spec)).into_owned();
    let days = spec.life.whole_days();
    let extensions: String =
        extensions(spec).iter().map(|it| format!(" \\\n  -addext {}", quote(it))).collect();
    let _ = match spec.issuer {
        None => writeln!(
            commands,
            "openssl req -x509 -new -config /dev/null -key {key} -subj {subject} -days {days}\
             {extensions} \\\n  -out {certificate}"
        ),
        Some(ca) => writeln!(
            commands,
            "openssl req -new -config /dev/null -key {key} -subj {subject}{extensions} |\n  \
             openssl x509 -req -CA {} -CAkey {} -days {days} -copy_extensions copyall \\\n  \
             -out {certificate}",
            file(&format!("{ca}.crt")),
            file(&format!("{ca}.key")),
        ),
    };
    MadeByHand { name: spec.name.clone(), what: what(spec, all), commands }
}

/// What a certificate is, for somebody who makes it.
fn what(spec: &CertSpec, all: &[&CertSpec]) -> String {
    let Some(ca) = spec.issuer else {
        let signed: Vec<&str> = all
            .iter()
            .filter(|it| it.issuer == Some(spec.name.as_str()))
            .map(|it| it.name.as_str())
            .collect();
        return format!("A CA. It signs {}.", signed.join(", "));
    };
    let group = spec.organization.as_ref().map(|it| format!(" in the group {it}"));
    let use_of = match &spec.usages[..] {
        [Usage::Server] => "a server",
        [Usage::Client] => "a client",
        _ => "a server and a client",
    };
    format!("For {}{}, as {use_of}; signed by {ca}.", spec.common_name, group.unwrap_or_default())
}

fn subject(spec: &CertSpec) -> String {
    let group = spec.organization.as_ref().map(|it| format!("/O={it}")).unwrap_or_default();
    format!("{group}/CN={}", spec.common_name)
}

/// The extensions of a certificate, as `-addext` takes them.
fn extensions(spec: &CertSpec) -> Vec<String> {
    if spec.is_ca() {
        return vec![
            "basicConstraints=critical,CA:TRUE,pathlen:0".to_owned(),
            "keyUsage=critical,digitalSignature,keyCertSign,cRLSign".to_owned(),
        ];
    }
    // TLS 1.2 with RSA key exchange encrypts to the certificate's key.
    let encipherment =
        if spec.algorithm == KeyAlgorithm::Rsa2048 { ",keyEncipherment" } else { "" };
    let usages: Vec<&str> = spec.usages.iter().copied().map(purpose).collect();
    let mut all = vec![
        "basicConstraints=critical,CA:FALSE".to_owned(),
        format!("keyUsage=critical,digitalSignature{encipherment}"),
        format!("extendedKeyUsage={}", usages.join(",")),
    ];
    let names = spec.dns_names.iter().map(|name| format!("DNS:{name}"));
    let names: Vec<String> =
        names.chain(spec.ip_addresses.iter().map(|address| format!("IP:{address}"))).collect();
    if !names.is_empty() {
        all.push(format!("subjectAltName={}", names.join(",")));
    }
    all
}

fn purpose(usage: Usage) -> &'static str {
    match usage {
        Usage::Server => "serverAuth",
        Usage::Client => "clientAuth",
    }
}

fn service_account(algorithm: KeyAlgorithm) -> MadeByHand {
    let (key, public) = (file(SERVICE_ACCOUNT_KEY), file(SERVICE_ACCOUNT_PUBLIC_KEY));
    let make = new_key(SERVICE_ACCOUNT_KEY, algorithm);
    MadeByHand {
        name: "sa".to_owned(),
        what: "It signs the tokens of service accounts; no certificate goes with it.".to_owned(),
        commands: format!("{make}openssl pkey -in {key} -pubout -out {public}\n"),
    }
}

fn encryption() -> MadeByHand {
    MadeByHand {
        name: "encryption".to_owned(),
        what: "It encrypts Secrets in etcd: 32 random bytes.".to_owned(),
        commands: format!("head -c 32 /dev/urandom | base64 > {}\n", file(ENCRYPTION_KEY)),
    }
}

fn new_key(name: &str, algorithm: KeyAlgorithm) -> String {
    let options = match algorithm {
        KeyAlgorithm::EcdsaP256 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        KeyAlgorithm::Rsa2048 => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    };
    format!("openssl genpkey {options} -out {}\n", file(name))
}

fn file(name: &str) -> String {
    quote(&format!("pki/{name}")).into_owned()
}
