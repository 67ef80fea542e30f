//! Generates keys and signs certificates: the only file that uses the certificate library.
//!
//! Everything here is random or depends on the time, so it is separate from the decisions
//! ([`inspect`](super::inspect)) and from the file system ([`store`](super::store)). Keys are
//! PKCS#8 PEM, which every Kubernetes component and etcd can read.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::TryRng as _;
use rand::rngs::SysRng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData,
    SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::error::PkiError;
use super::inspect::Certificate;
use super::spec::{CertSpec, Usage};
use crate::cluster::KeyAlgorithm;
use crate::secret::Secret;

/// How long before the time of issue a certificate becomes valid, because nodes' clocks differ
/// slightly.
const CLOCK_SKEW: Duration = Duration::minutes(5);
/// Length in bytes of the key that encrypts Secrets in etcd, for providers that use 32 bytes
/// (secretbox, aescbc).
const ENCRYPTION_KEY_BYTES: usize = 32;

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: Secret,
}

/// A validated CA that can sign.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.certificate).finish()
    }
}

impl Authority {
    /// Loads the CA that `spec` describes from its PEM files, and checks it: the right subject, a
    /// CA that may sign, valid at `now`, and a matching key.
    ///
    /// `folder` is the directory of the files, for messages only.
    ///
    /// # Errors
    /// Returns [`PkiError::Unusable`] with the file, what is wrong with it and what to do.
    pub fn load(
        spec: &CertSpec,
        pair: &Pair,
        folder: &Path,
        now: OffsetDateTime,
    ) -> Result<Self, PkiError> {
        const RESTORE: &str = "restore it from a backup of the lab directory";
        const OVER: &str = "`labctl certs rotate-ca` creates new CAs and revives the lab";
        let unusable = |file: String, problem: String, remedy: &str| PkiError::Unusable {
            path: folder.join(file),
            problem,
            remedy: remedy.to_owned(),
        };
        let bad_certificate = |problem, remedy| unusable(spec.certificate_file(), problem, remedy);
        let bad_key = |problem| unusable(spec.key_file(), problem, RESTORE);

        let certificate = Certificate::from_pem(pair.certificate.as_bytes())
            .map_err(|e| bad_certificate(e, RESTORE))?;
        if !certificate.has_subject_of(spec) {
            let problem = format!(
                "is for `{}`, not for `CN={}`",
                certificate.subject.join(", "),
                spec.common_name
            );
            return Err(bad_certificate(problem, RESTORE));
        }
        if !certificate.is_ca {
            return Err(bad_certificate(
                "is not a CA certificate that may sign others".to_owned(),
                RESTORE,
            ));
        }
        if now < certificate.not_before {
            let problem = format!("is not valid before {}", certificate.not_before);
            return Err(bad_certificate(problem, "check the clock of the workstation"));
        }
        if now > certificate.not_after {
            return Err(bad_certificate(
                format!("expired on {}", certificate.not_after.date()),
                OVER,
            ));
        }
        let key = read_key(pair.key.expose_text().unwrap_or_default()).map_err(bad_key)?;
        if key.subject_public_key_info() != certificate.public_key {
            return Err(bad_key(format!("does not belong to {}", spec.certificate_file())));
        }
        // This comes last, because the library does not validate what it reads.
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key)
            .map_err(|e| bad_certificate(format!("cannot be used to sign: {e}"), RESTORE))?;
        Ok(Self { certificate, issuer })
    }

    /// Returns the CA's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Generates a key and a certificate for it as described by `spec`, valid from shortly before
    /// `now` for `spec.life`, but not longer than the CA.
    ///
    /// # Errors
    /// Returns [`PkiError::Issue`] if a name is not allowed in a certificate, or the key cannot be
    /// generated.
    pub fn issue(&self, spec: &CertSpec, now: OffsetDateTime) -> Result<Pair, PkiError> {
        let failed = failed_to_issue(&spec.name);
        let mut params = params(spec, now).map_err(&failed)?;
        params.not_before = params.not_before.max(self.certificate.not_before);
        params.not_after = params.not_after.min(self.certificate.not_after);
        // Writes `CA:FALSE` explicitly, and adds the subject key identifier.
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if spec.algorithm == KeyAlgorithm::Rsa2048 {
            // TLS 1.2 with RSA key exchange encrypts to the certificate's key.
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = spec.usages.iter().copied().map(purpose).collect();
        let key = new_key(spec.algorithm).map_err(&failed)?;
        let certificate =
            params.signed_by(&key, &self.issuer).map_err(|e| failed(e.to_string()))?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem().into() })
    }
}

/// Generates the CA that `spec` describes: a key, and a certificate signed with it.
///
/// It may sign certificates and revocation lists, but no intermediate CA: path length 0.
///
/// # Errors
/// Returns [`PkiError::Issue`] if a name is not allowed in a certificate, or the key cannot be
/// generated.
pub fn new_ca(spec: &CertSpec, now: OffsetDateTime) -> Result<Pair, PkiError> {
    let failed = failed_to_issue(&spec.name);
    let mut params = params(spec, now).map_err(&failed)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    let key = new_key(spec.algorithm).map_err(&failed)?;
    let certificate = params.self_signed(&key).map_err(|e| failed(e.to_string()))?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem().into() })
}

/// Generates a private key (PKCS#8 PEM) for signing service account tokens.
///
/// # Errors
/// Returns [`PkiError::Issue`] if the key cannot be generated.
pub fn service_account_key(algorithm: KeyAlgorithm) -> Result<Secret, PkiError> {
    Ok(new_key(algorithm).map_err(failed_to_issue("sa"))?.serialize_pem().into())
}

/// Generates a key for encrypting Secrets in etcd: 32 random bytes in base64 without a line end,
/// for the API server's `EncryptionConfiguration`
/// (<https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/>).
///
/// # Errors
/// Returns [`PkiError::Issue`] if the operating system cannot provide randomness.
pub fn encryption_key() -> Result<Secret, PkiError> {
    let bytes = random::<ENCRYPTION_KEY_BYTES>().map_err(failed_to_issue("encryption"))?;
    Ok(BASE64.encode(Zeroizing::new(bytes)).into())
}

/// Whether `text` is an encryption key in the format of [`encryption_key`].
pub fn is_encryption_key(text: &str) -> bool {
    BASE64.decode(text).is_ok_and(|bytes| bytes.len() == ENCRYPTION_KEY_BYTES)
}

/// Returns the public half of a private key in PEM (SubjectPublicKeyInfo, DER).
///
/// # Errors
/// Returns what is wrong with the key, as a predicate; never any part of it.
pub fn public_key(key_pem: &str) -> Result<Vec<u8>, String> {
    Ok(read_key(key_pem)?.subject_public_key_info())
}

/// Returns the public half of a private key in PEM as a PEM `PUBLIC KEY`, for
/// `--service-account-key-file`.
///
/// # Errors
/// Returns what is wrong with the key, as a predicate; never any part of it.
pub fn public_key_pem(key_pem: &str) -> Result<String, String> {
    Ok(read_key(key_pem)?.public_key_pem())
}

/// Returns the key's id in the tokens that it signs (`kid`): the SHA-256 of its public half.
///
/// # Errors
/// Returns what is wrong with the key, as a predicate; never any part of it.
pub fn key_id(key_pem: &str) -> Result<String, String> {
    use sha2::Digest as _;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(sha2::Sha256::digest(public_key(key_pem)?)))
}

fn read_key(pem: &str) -> Result<KeyPair, String> {
    // Leave out the library's message, because it could quote parts of the key.
    KeyPair::from_pem(pem).map_err(|_| "contains no readable private key".to_owned())
}

fn new_key(algorithm: KeyAlgorithm) -> Result<KeyPair, String> {
    KeyPair::generate_for(match algorithm {
        KeyAlgorithm::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
        KeyAlgorithm::Rsa2048 => &PKCS_RSA_SHA256,
    })
    .map_err(|e| format!("no key: {e}"))
}

/// Returns what all certificates have in common: subject, names, serial number, validity.
fn params(spec: &CertSpec, now: OffsetDateTime) -> Result<CertificateParams, String> {
    let mut subject = DistinguishedName::new();
    if let Some(organization) = &spec.organization {
        subject.push(DnType::OrganizationName, organization.as_str());
    }
    subject.push(DnType::CommonName, spec.common_name.as_str());

    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    for name in &spec.dns_names {
        let name = name
            .as_str()
            .try_into()
            .map_err(|_| format!("`{name}` cannot be a DNS name in a certificate"))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.subject_alt_names.extend(spec.ip_addresses.iter().copied().map(SanType::IpAddress));
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    // Certificates only have whole seconds in UTC.
    let now =
        OffsetDateTime::from_unix_timestamp(now.unix_timestamp()).map_err(|e| e.to_string())?;
    let end = now.checked_add(spec.life);
    params.not_before = now.checked_sub(CLOCK_SKEW).ok_or("the workstation's clock is far off")?;
    params.not_after = end.ok_or_else(|| {
        format!("{} days from now are beyond the year 9999", spec.life.whole_days())
    })?;
    Ok(params)
}

fn purpose(usage: Usage) -> ExtendedKeyUsagePurpose {
    match usage {
        Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
    }
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|e| format!("no randomness: {e}"))?;
    Ok(bytes)
}

fn failed_to_issue(name: &str) -> impl Fn(String) -> PkiError {
    move |problem| PkiError::Issue { name: name.to_owned(), problem }
}
