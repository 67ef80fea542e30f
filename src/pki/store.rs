//! Stores a lab's certificates and keys in its lab directory, and issues what is missing or
//! outdated.
//!
//! [`ensure`] reads, compares with the specs and issues in memory; nothing changes on disk before
//! [`Ensured::save`]. Certificates and their keys can be issued again. The CAs, the service account
//! key and the encryption key cannot, because nodes already rely on them, so it is an error if one
//! is missing or damaged. Files of nodes that are no longer in the cluster stay and are not part of
//! the result.
//!
//! The caller holds the lab's lock.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZero;
use std::thread;

use time::{Duration, OffsetDateTime};

use super::encryption::{self, EncryptionKeys, RESTORE};
use super::error::PkiError;
pub use super::files::Pki;
use super::files::{PkiFiles, carry_out};
use super::identity::{Holding, Mark};
use super::issue::{self, Authority, Pair};
pub use super::list::{ENCRYPTION_KEY, SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY, SIGNER};
use super::reissue::{Why, why_issue};
use super::rotation::{self, AUTHORITIES, FileChange, Stage};
use super::spec::{CA, CertSpec, specs};
use crate::cluster::{Cluster, KeyAlgorithm};
use crate::lab::LabDirectory;
use crate::secret::Secret;

/// Something that was issued, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Name of the certificate (as in its spec), or `sa`, `sa.pub`, `encryption`.
    pub name: String,
    /// The reason.
    pub why: Why,
}

/// A complete set of certificates and keys, some of them possibly not on disk yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// Everything that the cluster needs, as nodes get it: `ca.crt` and the like contain all
    /// trusted CAs.
    pub pki: Pki,
    /// The stage of a CA rotation.
    pub stage: Stage,
    /// What was issued, in the order of the specs; empty if everything was good.
    pub issued: Vec<Issued>,
    /// Steps in the pki directory, in an order that can be interrupted anywhere.
    unsaved: Vec<FileChange>,
}

impl Ensured {
    /// Writes what was issued to the lab directory, each file atomically and with mode 0600, and
    /// nothing else.
    ///
    /// May be interrupted at any point: secrets come before the CAs, the CAs before what they sign,
    /// and a key before its certificate, so that the next [`ensure`] sees a pair that does not
    /// match and issues it again.
    ///
    /// # Errors
    /// Returns [`PkiError::Write`] with the file.
    pub fn save(&self, lab: &LabDirectory) -> Result<(), PkiError> {
        carry_out(&self.unsaved, lab)
    }

    /// Whether there is anything to [`save`](Self::save).
    pub fn is_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    fn add(&mut self, name: &str, why: Why, files: impl IntoIterator<Item = (String, Secret)>) {
        self.issued.push(Issued { name: name.to_owned(), why });
        for (file, content) in files {
            self.pki.put(file.clone(), content.clone());
            self.unsaved.push(FileChange::Write(file, content));
        }
    }

    fn add_pair(&mut self, spec: &CertSpec, why: Why, pair: Pair) {
        self.add(
            &spec.name,
            why,
            [(spec.key_file(), pair.key), (spec.certificate_file(), pair.certificate.into())],
        );
    }
}

/// Returns the keys in the lab directory that cannot be recreated, present and earlier.
///
/// # Errors
/// [`PkiError::Read`].
pub fn holding(cluster: &Cluster, lab: &LabDirectory) -> Result<Holding, PkiError> {
    let files = PkiFiles::named(&lab.pki(), Holding::files())?;
    let path = lab.identity();
    let remembered = match fs::read_to_string(&path) {
        Ok(text) => Mark::parse(&text),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Mark::default(),
        Err(cause) => return Err(PkiError::Read { path, cause }),
    };
    Ok(Holding::new(&cluster.name, &files.content, &remembered))
}

/// Records which keys the lab directory has, before any node gets them.
///
/// # Errors
/// [`PkiError::Write`].
pub fn remember(holding: &Holding, lab: &LabDirectory) -> Result<(), PkiError> {
    let (path, text) = (lab.identity(), holding.remembered().text());
    if holding.is_empty() || fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    lab.write_private(&path, text.as_bytes()).map_err(|cause| PkiError::Write { path, cause })
}

/// Loads the lab's certificates and keys, and issues (in memory) what is missing or no longer
/// matches the cluster.
///
/// # Errors
/// Returns [`PkiError::Unusable`] for a damaged file, [`PkiError::Lost`] for a missing CA or secret
/// that the lab relies on, [`PkiError::Read`], [`PkiError::Issue`].
pub fn ensure(
    cluster: &Cluster,
    lab: &LabDirectory,
    now: OffsetDateTime,
) -> Result<Ensured, PkiError> {
    renew(cluster, lab, now, |_| false, None)
}

/// Like [`ensure`], and also issues every certificate that `wanted` selects, with the given
/// validity instead of the policy's, if any. Never renews CAs.
///
/// # Errors
/// Same as [`ensure`].
pub fn renew(
    cluster: &Cluster,
    lab: &LabDirectory,
    now: OffsetDateTime,
    wanted: impl Fn(&CertSpec) -> bool,
    life: Option<Duration>,
) -> Result<Ensured, PkiError> {
    let specs = specs(cluster);
    let mut files = PkiFiles::read(&lab.pki(), &specs)?;
    // Complete an interrupted step of a rotation first, because it determines what has to be
    // issued.
    let unsaved = rotation::unfinished(&files.content);
    rotation::apply(&mut files.content, &unsaved);
    let stage = rotation::stage(&files.content);
    let mut ensured = Ensured { pki: Pki::default(), stage, issued: Vec::new(), unsaved };

    ensure_secrets(&mut ensured, &files, &specs, cluster.pki.algorithm)?;

    let mut authorities = BTreeMap::new();
    for spec in specs.iter().filter(|spec| spec.is_ca()) {
        authorities.insert(spec.name.as_str(), ensure_ca(&mut ensured, &files, &specs, spec, now)?);
    }

    let mut jobs = Vec::new();
    for spec in &specs {
        // Every issuer in the specs is one of the CAs.
        let Some(authority) = spec.issuer.and_then(|issuer| authorities.get(issuer)) else {
            continue;
        };
        let why = why_issue(spec, &files.found(spec)?, authority.certificate(), now);
        let asked_for = wanted(spec);
        let mut spec = spec.clone();
        spec.life = life.filter(|_| asked_for).unwrap_or(spec.life);
        match why.or_else(|| asked_for.then_some(Why::Renewal)) {
            Some(why) => jobs.push((spec, authority, why)),
            None => files.keep(&mut ensured.pki, [spec.key_file(), spec.certificate_file()]),
        }
    }
    let pairs = issue_all(&jobs, now)?;
    for ((spec, _, why), pair) in jobs.into_iter().zip(pairs) {
        ensured.add_pair(&spec, why, pair);
    }
    trust_beside(&mut ensured.pki, &files);
    Ok(ensured)
}

/// Adds all trusted CAs to each CA's certificate, and all trusted public keys to the service
/// account's: during a rotation there are two of each.
fn trust_beside(pki: &mut Pki, files: &PkiFiles) {
    if let Some(issuing) = pki.file(&format!("{CA}.crt")).cloned() {
        pki.put(SIGNER.to_owned(), issuing);
    }
    for ca in AUTHORITIES {
        if let Some(bundle) = rotation::trusted(&files.content, ca) {
            pki.put(format!("{ca}.crt"), bundle);
        }
    }
    let next = files.content.get(rotation::NEXT_SERVICE_ACCOUNT_KEY);
    let next =
        next.and_then(|key| issue::public_key_pem(key.expose_text()?).ok()).map(Secret::from);
    let old = files.content.get(rotation::OLD_SERVICE_ACCOUNT_PUBLIC_KEY);
    if let Some(current) = pki.file(SERVICE_ACCOUNT_PUBLIC_KEY).cloned() {
        let all = [Some(&current), next.as_ref(), old];
        pki.put(SERVICE_ACCOUNT_PUBLIC_KEY.to_owned(), rotation::joined(all.into_iter().flatten()));
    }
}

/// Returns the encryption key and the service account's key pair.
fn ensure_secrets(
    ensured: &mut Ensured,
    files: &PkiFiles,
    specs: &[CertSpec],
    algorithm: KeyAlgorithm,
) -> Result<(), PkiError> {
    // Secrets are saved first, so a certificate on disk proves that they existed.
    let evidence =
        || specs.iter().filter(|spec| !spec.is_ca()).find_map(|spec| files.trace_of(spec));
    ensure_encryption_key(ensured, files, evidence)?;
    ensure_service_account(ensured, files, evidence, algorithm)
}

fn ensure_encryption_key(
    ensured: &mut Ensured,
    files: &PkiFiles,
    evidence: impl Fn() -> Option<String>,
) -> Result<(), PkiError> {
    match files.text(ENCRYPTION_KEY, RESTORE)? {
        Some(text) if EncryptionKeys::parse(text).is_some() => {
            ensured.pki.put(ENCRYPTION_KEY.to_owned(), text.trim());
        }
        Some(_) => {
            return Err(files.unusable(ENCRYPTION_KEY, encryption::NOT_OURS.to_owned(), RESTORE));
        }
        None => {
            files.refuse_if_used(ENCRYPTION_KEY, evidence())?;
            let key = issue::encryption_key()?;
            ensured.add("encryption", Why::New, [(ENCRYPTION_KEY.to_owned(), key)]);
        }
    }
    Ok(())
}

fn ensure_service_account(
    ensured: &mut Ensured,
    files: &PkiFiles,
    evidence: impl Fn() -> Option<String>,
    algorithm: KeyAlgorithm,
) -> Result<(), PkiError> {
    let public_half = |key: &str| {
        let public = issue::public_key_pem(key);
        public.map_err(|what| files.unusable(SERVICE_ACCOUNT_KEY, what, RESTORE))
    };
    let public_file = || SERVICE_ACCOUNT_PUBLIC_KEY.to_owned();
    let Some(key) = files.text(SERVICE_ACCOUNT_KEY, RESTORE)? else {
        files.refuse_if_used(SERVICE_ACCOUNT_KEY, evidence())?;
        let key = issue::service_account_key(algorithm)?;
        let public = Secret::from(public_half(key.expose_text().unwrap_or_default())?);
        let pair = [(SERVICE_ACCOUNT_KEY.to_owned(), key), (public_file(), public)];
        ensured.add("sa", Why::New, pair);
        return Ok(());
    };
    let public = public_half(key)?;
    files.keep(&mut ensured.pki, [SERVICE_ACCOUNT_KEY.to_owned()]);
    match files.get(SERVICE_ACCOUNT_PUBLIC_KEY) {
        Some(found) if found == public.as_bytes() => {
            files.keep(&mut ensured.pki, [public_file()]);
        }
        found => {
            let why = if found.is_some() { Why::NotThePublicHalf } else { Why::New };
            let files = [(public_file(), Secret::from(public))];
            ensured.add(SERVICE_ACCOUNT_PUBLIC_KEY, why, files);
        }
    }
    Ok(())
}

/// Loads the CA from disk, or generates it if nothing was signed by it yet.
fn ensure_ca(
    ensured: &mut Ensured,
    files: &PkiFiles,
    specs: &[CertSpec],
    spec: &CertSpec,
    now: OffsetDateTime,
) -> Result<Authority, PkiError> {
    let (certificate, key) = (spec.certificate_file(), spec.key_file());
    let pair = match (files.text(&certificate, RESTORE)?, files.text(&key, RESTORE)?) {
        (Some(certificate), Some(key)) => {
            Pair { certificate: certificate.to_owned(), key: key.into() }
        }
        // A run never leaves a certificate without its key, so this key was lost.
        (Some(_), None) => return Err(files.lost(&key, certificate)),
        (None, found_key) => {
            let signed = |leaf: &&CertSpec| leaf.issuer == Some(spec.name.as_str());
            files.refuse_if_used(
                &certificate,
                specs.iter().filter(signed).find_map(|leaf| files.trace_of(leaf)),
            )?;
            let pair = issue::new_ca(spec, now)?;
            let why = if found_key.is_some() { Why::CertificateMissing } else { Why::New };
            ensured.add_pair(spec, why, pair.clone());
            return Authority::load(spec, &pair, &files.folder, now);
        }
    };
    let authority = Authority::load(spec, &pair, &files.folder, now)?;
    files.keep(&mut ensured.pki, [certificate, key]);
    Ok(authority)
}

/// Issues on all cores: an RSA key takes a tenth of a second or more, and a lab may have many
/// nodes.
fn issue_all(
    jobs: &[(CertSpec, &Authority, Why)],
    now: OffsetDateTime,
) -> Result<Vec<Pair>, PkiError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = jobs.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let one_share = |jobs: &[(CertSpec, &Authority, Why)]| {
            jobs.iter()
                .map(|(spec, authority, _)| authority.issue(spec, now))
                .collect::<Result<Vec<_>, _>>()
        };
        let running: Vec<_> =
            jobs.chunks(share).map(|jobs| scope.spawn(move || one_share(jobs))).collect();
        let mut pairs = Vec::with_capacity(jobs.len());
        for thread in running {
            pairs.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(pairs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::fixture;

    fn lab() -> (tempfile::TempDir, LabDirectory) {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let lab = LabDirectory::new(folder.path().join("lab"));
        (folder, lab)
    }

    #[test]
    fn a_save_interrupted_after_any_file_is_completed_by_the_next_run() {
        let cluster = fixture::cluster();
        let (_folder, whole) = lab();
        let first = ensure(&cluster, &whole, fixture::now()).expect("issued");
        for written in 0..=first.unsaved.len() {
            let (_folder, lab) = lab();
            let killed = Ensured { unsaved: first.unsaved[..written].to_vec(), ..first.clone() };
            killed.save(&lab).expect("saved");
            let second = ensure(&cluster, &lab, fixture::now()).unwrap_or_else(|e| {
                panic!("after {written} files ({:?}): {e}", first.unsaved[..written].last())
            });
            second.save(&lab).expect("saved");
            let third = ensure(&cluster, &lab, fixture::now()).expect("complete");
            assert_eq!(third.issued, [], "after {written} files the lab did not settle");
        }
    }

    #[test]
    fn a_renewal_interrupted_between_key_and_certificate_is_completed_by_the_next_run() {
        let cluster = fixture::cluster();
        let (_folder, lab) = lab();
        ensure(&cluster, &lab, fixture::now()).expect("issued").save(&lab).expect("saved");
        let renewed = renew(&cluster, &lab, fixture::now(), |spec| spec.name == "admin", None)
            .expect("renewed");
        assert_eq!(format!("{:?}", renewed.unsaved), "[write admin.key, write admin.crt]");
        let killed = Ensured { unsaved: renewed.unsaved[..1].to_vec(), ..renewed };
        killed.save(&lab).expect("saved");
        let next = ensure(&cluster, &lab, fixture::now()).expect("recovers");
        assert_eq!(next.issued, [Issued { name: "admin".to_owned(), why: Why::KeyMismatch }]);
    }

    #[test]
    fn a_new_api_name_renews_only_the_api_servers_certificate() {
        let mut cluster = fixture::cluster();
        let (_folder, lab) = lab();
        ensure(&cluster, &lab, fixture::now()).expect("issued").save(&lab).expect("saved");
        cluster.api.names = vec!["api.example.org".to_owned(), "192.0.2.7".to_owned()];
        let named = ensure(&cluster, &lab, fixture::now()).expect("issued");
        let missing = vec!["api.example.org".to_owned(), "192.0.2.7".to_owned()];
        let why = Why::Names { missing, surplus: Vec::new() };
        assert_eq!(named.issued, [Issued { name: "apiserver".to_owned(), why }]);
    }

    #[test]
    fn nothing_is_written_before_save() {
        let (folder, lab) = lab();
        ensure(&fixture::cluster(), &lab, fixture::now()).expect("issued");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
    }

    #[test]
    fn debug_output_has_file_names_but_no_content() {
        let (_folder, lab) = lab();
        let ensured = ensure(&fixture::cluster(), &lab, fixture::now()).expect("issued");
        let shown = format!("{ensured:?}");
        let secret = ensured
            .pki
            .get(ENCRYPTION_KEY)
            .and_then(|key| str::from_utf8(key).ok())
            .expect("a key");
        assert!(
            shown.contains("admin.key") && !shown.contains("BEGIN") && !shown.contains(secret),
            "{shown}"
        );
    }
}
