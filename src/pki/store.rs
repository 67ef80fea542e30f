//! Keeps a lab's certificates and keys in its lab directory, and makes what is missing there or no longer fits.
//!
//! [`ensure`] reads, compares with the specs and issues in memory; nothing changes on disk before [`Ensured::save`].
//! What can be made again is made again (certificates and their keys); what cannot, because nodes already rely on it,
//! is an error when it is gone or spoilt: a CA, the service account key, the encryption key. Files of nodes that are no
//! longer in the cluster stay where they are and are not part of the result.
//!
//! The caller holds the lab's lock.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;

use time::OffsetDateTime;

use super::PkiError;
use super::inspect::{Certificate, Found, Why, why_issue};
use super::issue::{self, Authority, Pair};
use super::spec::{CertSpec, specs};
use crate::cluster::{Cluster, KeyAlgorithm};
use crate::lab::LabDirectory;

/// The key that signs service account tokens, the same on every controller.
pub const SERVICE_ACCOUNT_KEY: &str = "sa.key";
/// Its public half, which API servers check tokens with.
pub const SERVICE_ACCOUNT_PUBLIC_KEY: &str = "sa.pub";
/// The key that Secrets are encrypted with in etcd: base64 text.
pub const ENCRYPTION_KEY: &str = "encryption.key";

/// A lab's certificates and keys: file names under the pki folder (`apiserver.crt`, `nodes/worker-0/kubelet.key`) and
/// what is in those files.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pki {
    files: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
    }
}

impl Pki {
    /// The content of the file `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The content of the file `name`, for callers that cannot go on without it.
    ///
    /// # Errors
    /// [`PkiError::Absent`] when there is no such file.
    pub fn require(&self, name: &str) -> Result<&[u8], PkiError> {
        self.get(name).ok_or_else(|| PkiError::Absent { name: name.to_owned() })
    }

    fn put(&mut self, name: String, content: impl Into<Vec<u8>>) {
        self.files.insert(name, content.into());
    }
}

/// One thing that was issued, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Name of the certificate (as in its spec), or `sa`, `sa.pub`, `encryption`.
    pub name: String,
    /// The reason.
    pub why: Why,
}

/// A complete set of certificates and keys, some of them perhaps not on disk yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// Everything that the cluster needs.
    pub pki: Pki,
    /// What was issued, in the order of the specs; empty when all was there and good.
    pub issued: Vec<Issued>,
    /// The files to write, in an order that can be interrupted anywhere.
    unsaved: Vec<String>,
}

impl Ensured {
    /// Writes what was issued to the lab directory, each file 0600 and whole, and nothing else.
    ///
    /// May be interrupted at any point: secrets come before the CAs, the CAs before what they sign, and a key before
    /// its certificate, so the next [`ensure`] sees a pair that does not match and issues that pair again.
    ///
    /// # Errors
    /// [`PkiError::Write`] naming the file.
    pub fn save(&self, lab: &LabDirectory) -> Result<(), PkiError> {
        let folder = lab.pki();
        let files = self.unsaved.iter().map(|name| Ok((folder.join(name), self.pki.require(name)?)));
        let files = files.collect::<Result<Vec<_>, PkiError>>()?;
        lab.write_all_private(&files).map_err(|(path, cause)| PkiError::Write { path, cause })
    }

    fn add(&mut self, name: &str, why: Why, files: impl IntoIterator<Item = (String, String)>) {
        self.issued.push(Issued { name: name.to_owned(), why });
        for (file, content) in files {
            self.pki.put(file.clone(), content);
            self.unsaved.push(file);
        }
    }

    fn add_pair(&mut self, spec: &CertSpec, why: Why, pair: Pair) {
        self.add(&spec.name, why, [(spec.key_file(), pair.key), (spec.certificate_file(), pair.certificate)]);
    }
}

/// Loads the lab's certificates and keys, and issues (in memory) what is missing or no longer fits the cluster.
///
/// # Errors
/// [`PkiError::Unusable`] for a file that is spoilt, [`PkiError::Lost`] for a CA or secret that is gone while the lab
/// relies on it, [`PkiError::Read`], [`PkiError::Issue`].
pub fn ensure(cluster: &Cluster, lab: &LabDirectory, now: OffsetDateTime) -> Result<Ensured, PkiError> {
    renew(cluster, lab, now, |_| false)
}

/// Like [`ensure`], and issues again every certificate that `wanted` picks. CAs are never renewed by this.
///
/// # Errors
/// As [`ensure`].
pub fn renew(
    cluster: &Cluster,
    lab: &LabDirectory,
    now: OffsetDateTime,
    wanted: impl Fn(&CertSpec) -> bool,
) -> Result<Ensured, PkiError> {
    let specs = specs(cluster);
    let files = Files::read(&lab.pki(), &specs)?;
    let mut ensured = Ensured { pki: Pki::default(), issued: Vec::new(), unsaved: Vec::new() };

    ensure_secrets(&mut ensured, &files, &specs, cluster.pki.algorithm)?;

    let mut authorities = BTreeMap::new();
    for spec in specs.iter().filter(|spec| spec.is_ca()) {
        authorities.insert(spec.name.as_str(), ensure_ca(&mut ensured, &files, &specs, spec, now)?);
    }

    let mut jobs = Vec::new();
    for spec in &specs {
        // Every issuer that the specs name is one of the CAs among them.
        let Some(authority) = spec.issuer.and_then(|issuer| authorities.get(issuer)) else { continue };
        let why = why_issue(spec, &files.found(spec)?, authority.certificate(), now);
        match why.or_else(|| wanted(spec).then_some(Why::Renewal)) {
            Some(why) => jobs.push((spec, authority, why)),
            None => files.keep(&mut ensured.pki, [spec.key_file(), spec.certificate_file()]),
        }
    }
    let pairs = issue_all(&jobs, now)?;
    for ((spec, _, why), pair) in jobs.into_iter().zip(pairs) {
        ensured.add_pair(spec, why, pair);
    }
    Ok(ensured)
}

/// The encryption key and the service account's pair.
fn ensure_secrets(
    ensured: &mut Ensured,
    files: &Files,
    specs: &[CertSpec],
    algorithm: KeyAlgorithm,
) -> Result<(), PkiError> {
    // Secrets are saved first of all, so a certificate on disk proves that they once were there.
    let evidence = || specs.iter().filter(|spec| !spec.is_ca()).find_map(|spec| files.trace_of(spec));
    let restore = "restore it from a backup of the lab directory";

    match files.text(ENCRYPTION_KEY, restore)? {
        Some(text) if issue::is_encryption_key(text.trim()) => {
            ensured.pki.put(ENCRYPTION_KEY.to_owned(), text.trim());
        }
        Some(_) => return Err(files.unusable(ENCRYPTION_KEY, "does not hold 32 bytes in base64".to_owned(), restore)),
        None => {
            files.refuse_if_used(ENCRYPTION_KEY, evidence())?;
            ensured.add("encryption", Why::New, [(ENCRYPTION_KEY.to_owned(), issue::encryption_key()?)]);
        }
    }

    let public_half =
        |key: &str| issue::public_key_pem(key).map_err(|what| files.unusable(SERVICE_ACCOUNT_KEY, what, restore));
    match files.text(SERVICE_ACCOUNT_KEY, restore)? {
        Some(key) => {
            let public = public_half(key)?;
            files.keep(&mut ensured.pki, [SERVICE_ACCOUNT_KEY.to_owned()]);
            match files.get(SERVICE_ACCOUNT_PUBLIC_KEY) {
                Some(found) if found == public.as_bytes() => {
                    files.keep(&mut ensured.pki, [SERVICE_ACCOUNT_PUBLIC_KEY.to_owned()]);
                }
                found => {
                    let why = if found.is_some() { Why::NotThePublicHalf } else { Why::New };
                    ensured.add(SERVICE_ACCOUNT_PUBLIC_KEY, why, [(SERVICE_ACCOUNT_PUBLIC_KEY.to_owned(), public)]);
                }
            }
        }
        None => {
            files.refuse_if_used(SERVICE_ACCOUNT_KEY, evidence())?;
            let key = issue::service_account_key(algorithm)?;
            let public = public_half(&key)?;
            let pair = [(SERVICE_ACCOUNT_KEY.to_owned(), key), (SERVICE_ACCOUNT_PUBLIC_KEY.to_owned(), public)];
            ensured.add("sa", Why::New, pair);
        }
    }
    Ok(())
}

/// Takes up the CA on disk, or makes it when nothing was signed by it yet.
fn ensure_ca(
    ensured: &mut Ensured,
    files: &Files,
    specs: &[CertSpec],
    spec: &CertSpec,
    now: OffsetDateTime,
) -> Result<Authority, PkiError> {
    let (certificate, key) = (spec.certificate_file(), spec.key_file());
    let restore = "restore it from a backup of the lab directory";
    let pair = match (files.text(&certificate, restore)?, files.text(&key, restore)?) {
        (Some(certificate), Some(key)) => Pair { certificate: certificate.to_owned(), key: key.to_owned() },
        // A run never leaves a certificate without its key, so this one's key was lost, not never made.
        (Some(_), None) => return Err(files.lost(&key, certificate)),
        (None, found_key) => {
            let signed = |leaf: &&CertSpec| leaf.issuer == Some(spec.name.as_str());
            files.refuse_if_used(&certificate, specs.iter().filter(signed).find_map(|leaf| files.trace_of(leaf)))?;
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

/// Issues on all cores: an RSA key takes a tenth of a second and more, and a lab may have many nodes.
fn issue_all(jobs: &[(&CertSpec, &Authority, Why)], now: OffsetDateTime) -> Result<Vec<Pair>, PkiError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = jobs.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let one_share = |jobs: &[(&CertSpec, &Authority, Why)]| {
            jobs.iter().map(|(spec, authority, _)| authority.issue(spec, now)).collect::<Result<Vec<_>, _>>()
        };
        let running: Vec<_> = jobs.chunks(share).map(|jobs| scope.spawn(move || one_share(jobs))).collect();
        let mut pairs = Vec::with_capacity(jobs.len());
        for thread in running {
            pairs.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(pairs)
    })
}

/// What lies in the pki folder under the names that the cluster knows.
struct Files {
    folder: PathBuf,
    content: BTreeMap<String, Vec<u8>>,
}

impl Files {
    fn read(folder: &Path, specs: &[CertSpec]) -> Result<Self, PkiError> {
        let pairs = specs.iter().flat_map(|spec| [spec.certificate_file(), spec.key_file()]);
        let others = [SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY, ENCRYPTION_KEY].map(str::to_owned);
        let mut content = BTreeMap::new();
        for name in pairs.chain(others) {
            let path = folder.join(&name);
            match fs::read(&path) {
                Ok(bytes) => {
                    content.insert(name, bytes);
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                // Anything else might hide a file that is there: never take it for "missing".
                Err(cause) => return Err(PkiError::Read { path, cause }),
            }
        }
        Ok(Self { folder: folder.to_owned(), content })
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.content.get(name).map(Vec::as_slice)
    }

    fn text(&self, name: &str, remedy: &str) -> Result<Option<&str>, PkiError> {
        let text = self.get(name).map(str::from_utf8).transpose();
        text.map_err(|_| self.unusable(name, "is not a text file".to_owned(), remedy))
    }

    /// What there is for a certificate that can be issued again.
    fn found(&self, spec: &CertSpec) -> Result<Found, PkiError> {
        let (certificate, key) = (spec.certificate_file(), spec.key_file());
        let remedy = format!("delete {certificate} and {key} there to have both issued again");
        let read_certificate =
            |bytes| Certificate::from_pem(bytes).map_err(|problem| self.unusable(&certificate, problem, &remedy));
        let read_key = |pem| issue::public_key(pem).map_err(|problem| self.unusable(&key, problem, &remedy));
        Ok(Found {
            certificate: self.get(&certificate).map(read_certificate).transpose()?,
            public_key: self.text(&key, &remedy)?.map(read_key).transpose()?,
        })
    }

    /// A file that shows that this certificate was once issued.
    fn trace_of(&self, spec: &CertSpec) -> Option<String> {
        [spec.certificate_file(), spec.key_file()].into_iter().find(|name| self.content.contains_key(name))
    }

    fn keep(&self, pki: &mut Pki, names: impl IntoIterator<Item = String>) {
        for name in names {
            if let Some(bytes) = self.get(&name) {
                pki.put(name, bytes);
            }
        }
    }

    fn refuse_if_used(&self, name: &str, evidence: Option<String>) -> Result<(), PkiError> {
        evidence.map_or(Ok(()), |evidence| Err(self.lost(name, evidence)))
    }

    fn lost(&self, name: &str, evidence: String) -> PkiError {
        PkiError::Lost { path: self.folder.join(name), evidence }
    }

    fn unusable(&self, name: &str, problem: String, remedy: &str) -> PkiError {
        PkiError::Unusable { path: self.folder.join(name), problem, remedy: remedy.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::fixture;

    fn lab() -> (tempfile::TempDir, LabDirectory) {
        let folder = tempfile::tempdir().expect("a temporary folder");
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
            let second = ensure(&cluster, &lab, fixture::now())
                .unwrap_or_else(|e| panic!("after {written} files ({:?}): {e}", first.unsaved[..written].last()));
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
        let renewed = renew(&cluster, &lab, fixture::now(), |spec| spec.name == "admin").expect("renewed");
        assert_eq!(renewed.unsaved, ["admin.key", "admin.crt"]);
        let killed = Ensured { unsaved: vec!["admin.key".to_owned()], ..renewed };
        killed.save(&lab).expect("saved");
        let next = ensure(&cluster, &lab, fixture::now()).expect("recovers");
        assert_eq!(next.issued, [Issued { name: "admin".to_owned(), why: Why::KeyMismatch }]);
    }

    #[test]
    fn nothing_is_written_before_save() {
        let (folder, lab) = lab();
        ensure(&fixture::cluster(), &lab, fixture::now()).expect("issued");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
    }

    #[test]
    fn debug_names_files_and_shows_no_content() {
        let (_folder, lab) = lab();
        let ensured = ensure(&fixture::cluster(), &lab, fixture::now()).expect("issued");
        let shown = format!("{ensured:?}");
        let secret = ensured.pki.get(ENCRYPTION_KEY).and_then(|key| str::from_utf8(key).ok()).expect("a key");
        assert!(shown.contains("admin.key") && !shown.contains("BEGIN") && !shown.contains(secret), "{shown}");
    }
}
