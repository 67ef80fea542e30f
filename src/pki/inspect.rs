//! Parses certificates: [`Certificate`] describes one in the terms of [`CertSpec`], so that both
//! can be compared field by field.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME,
};
use x509_parser::pem::{Pem, parse_x509_pem};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use super::spec::{CertSpec, Usage};
use crate::cluster::KeyAlgorithm;

/// The content of a certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// Attributes of the subject, such as `CN=admin`, in the certificate's order.
    pub subject: Vec<String>,
    /// Attributes of the issuer, in the same format.
    pub issuer: Vec<String>,
    /// DNS names among the subject alternative names.
    pub dns_names: BTreeSet<String>,
    /// Addresses among the subject alternative names.
    pub ip_addresses: BTreeSet<IpAddr>,
    /// Subject alternative names of other types, which labctl never issues, as text.
    pub other_names: Vec<String>,
    /// Extended key usages; `None` if there are usages that labctl never issues.
    pub usages: Option<BTreeSet<Usage>>,
    /// Whether it may sign other certificates: basic constraints say CA, and key usage, if present,
    /// allows it.
    pub is_ca: bool,
    /// Whether key usage, if present, allows signatures, and key encipherment too for an RSA key.
    pub fit_for_tls: bool,
    /// Its key's algorithm; `None` for one that labctl never issues.
    pub algorithm: Option<KeyAlgorithm>,
    /// The beginning of its validity.
    pub not_before: OffsetDateTime,
    /// The last second of its validity.
    pub not_after: OffsetDateTime,
    /// Its public key (SubjectPublicKeyInfo, DER).
    pub public_key: Vec<u8>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A certificate is not secret, but its bytes are noise.
        write!(f, "Certificate({}, until {})", self.subject.join(", "), self.not_after)
    }
}

impl Certificate {
    /// Parses the first certificate of a PEM file.
    ///
    /// # Errors
    /// Returns what is wrong with the file, as a predicate: "is not a PEM certificate".
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let (_, block) = parse_x509_pem(pem).map_err(|_| "is not a PEM file".to_owned())?;
        if block.label != "CERTIFICATE" {
            return Err(format!("contains a PEM block `{}` instead of a certificate", block.label));
        }
        Self::from_der(&block.contents)
    }

    /// Parses every certificate of a PEM file; a file of CAs may have several.
    ///
    /// # Errors
    /// Returns what is wrong with the file, as a predicate.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, String> {
        let mut found = Vec::new();
        for block in Pem::iter_from_buffer(pem) {
            let block = block.map_err(|_| "is not a PEM file".to_owned())?;
            if block.label == "CERTIFICATE" {
                found.push(Self::from_der(&block.contents)?);
            }
        }
        if found.is_empty() { Err("contains no certificate".to_owned()) } else { Ok(found) }
    }

    fn from_der(der: &[u8]) -> Result<Self, String> {
        let unreadable =
            |error: &dyn fmt::Display| format!("contains no readable X.509 certificate ({error})");
        let (rest, parsed) =
            x509_parser::parse_x509_certificate(der).map_err(|e| unreadable(&e))?;
        if !rest.is_empty() {
            return Err(unreadable(&"bytes follow its end"));
        }
        let mut dns_names = BTreeSet::new();
        let mut ip_addresses = BTreeSet::new();
        let mut other_names = Vec::new();
        if let Some(names) = parsed.subject_alternative_name().map_err(|e| unreadable(&e))? {
            for name in &names.value.general_names {
                match (name, address(name)) {
                    (GeneralName::DNSName(dns), _) => {
                        dns_names.insert((*dns).to_owned());
                    }
                    (_, Some(ip)) => {
                        ip_addresses.insert(ip);
                    }
                    (other, None) => other_names.push(other.to_string()),
                }
            }
        }
        let extended = parsed.extended_key_usage().map_err(|e| unreadable(&e))?;
        let key_usage = parsed.key_usage().map_err(|e| unreadable(&e))?;
        let constraints = parsed.basic_constraints().map_err(|e| unreadable(&e))?;
        let algorithm = algorithm(parsed.public_key());
        Ok(Self {
            der: der.to_vec(),
            subject: attributes(parsed.subject()),
            issuer: attributes(parsed.issuer()),
            dns_names,
            ip_addresses,
            other_names,
            usages: extended.map_or(Some(BTreeSet::new()), |found| usages(found.value)),
            is_ca: constraints.is_some_and(|found| found.value.ca)
                && key_usage.as_ref().is_none_or(|found| found.value.key_cert_sign()),
            fit_for_tls: key_usage.as_ref().is_none_or(|found| {
                let enciphers =
                    algorithm != Some(KeyAlgorithm::Rsa2048) || found.value.key_encipherment();
                found.value.digital_signature() && enciphers
            }),
            algorithm,
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            public_key: parsed.public_key().raw.to_vec(),
        })
    }

    /// Returns every subject alternative name as text, DNS names first.
    pub fn names(&self) -> Vec<String> {
        let addresses = self.ip_addresses.iter().map(IpAddr::to_string);
        self.dns_names
            .iter()
            .cloned()
            .chain(addresses)
            .chain(self.other_names.iter().cloned())
            .collect()
    }

    /// Whether `ca` issued this certificate: the issuer is the CA's subject, and the signature is
    /// the CA's.
    pub fn is_signed_by(&self, ca: &Certificate) -> bool {
        let parse = |der| x509_parser::parse_x509_certificate(der).map(|(_, parsed)| parsed);
        let (Ok(leaf), Ok(ca)) = (parse(&self.der), parse(&ca.der)) else { return false };
        chains(&leaf, &ca)
    }

    /// Whether the subject is exactly that of `spec`.
    pub fn has_subject_of(&self, spec: &CertSpec) -> bool {
        // The order of attributes is irrelevant to Kubernetes.
        let found: BTreeSet<&str> = self.subject.iter().map(String::as_str).collect();
        let wanted = wanted_subject(spec);
        found.len() == self.subject.len() && found == wanted.iter().map(String::as_str).collect()
    }
}

fn chains(leaf: &X509Certificate<'_>, ca: &X509Certificate<'_>) -> bool {
    leaf.issuer().as_raw() == ca.subject().as_raw()
        && leaf.verify_signature(Some(ca.public_key())).is_ok()
}

fn address(name: &GeneralName<'_>) -> Option<IpAddr> {
    let GeneralName::IPAddress(bytes) = name else { return None };
    if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from)
}

fn attributes(name: &X509Name<'_>) -> Vec<String> {
    name.iter_attributes()
        .map(|attribute| {
            let key = if *attribute.attr_type() == OID_X509_COMMON_NAME {
                "CN".to_owned()
            } else if *attribute.attr_type() == OID_X509_ORGANIZATION_NAME {
                "O".to_owned()
            } else {
                attribute.attr_type().to_id_string()
            };
            format!("{key}={}", attribute.as_str().unwrap_or("?"))
        })
        .collect()
}

fn wanted_subject(spec: &CertSpec) -> Vec<String> {
    let organization = spec.organization.iter().map(|organization| format!("O={organization}"));
    organization.chain([format!("CN={}", spec.common_name)]).collect()
}

/// Converts usages; `None` if there are others than the two that labctl issues.
fn usages(found: &ExtendedKeyUsage<'_>) -> Option<BTreeSet<Usage>> {
    let beyond = found.any
        || found.code_signing
        || found.email_protection
        || found.time_stamping
        || found.ocsp_signing;
    if beyond || !found.other.is_empty() {
        return None;
    }
    let server = found.server_auth.then_some(Usage::Server);
    let client = found.client_auth.then_some(Usage::Client);
    Some(server.into_iter().chain(client).collect())
}

fn algorithm(key: &SubjectPublicKeyInfo<'_>) -> Option<KeyAlgorithm> {
    if key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
        return (curve == OID_EC_P256).then_some(KeyAlgorithm::EcdsaP256);
    }
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() == 2048 => Some(KeyAlgorithm::Rsa2048),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::fixture;
    use crate::pki::issue::new_ca;
    use crate::pki::spec::{CA, specs};

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        let specs = specs(&fixture::cluster());
        let ca = specs.iter().find(|spec| spec.name == CA).expect("a CA");
        let key = new_ca(ca, fixture::now()).expect("a CA").key;
        let cases: [(&[u8], &str); 4] = [
            (b"", "is not a PEM file"),
            (b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "is not a PEM file"),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "contains no readable X.509 certificate",
            ),
            (key.expose(), "contains a PEM block `PRIVATE KEY`"),
        ];
        for (file, expected) in cases {
            let problem = Certificate::from_pem(file).expect_err("it is no certificate");
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
