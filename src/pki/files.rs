//! The files of the pki directory: read under the names that the cluster knows, and written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::PkiError;
use super::inspect::Certificate;
use super::issue;
use super::list::{ENCRYPTION_KEY, SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY};
use super::reissue::Found;
use super::rotation::{self, FileChange, PkiContent};
use super::spec::CertSpec;
use crate::lab::LabDirectory;
use crate::secret::Secret;

/// A lab's certificates and keys: file names in the pki directory (`apiserver.crt`,
/// `nodes/worker-0/kubelet.key`) and contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pki {
    files: BTreeMap<String, Secret>,
}

impl Pki {
    /// Returns the content of the file `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.file(name).map(Secret::expose)
    }

    /// The same, to pass on.
    pub fn file(&self, name: &str) -> Option<&Secret> {
        self.files.get(name)
    }

    /// Returns the names of all files, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns the content of the file `name`, for callers that need it.
    ///
    /// # Errors
    /// Returns [`PkiError::Absent`] if there is no such file.
    pub fn require(&self, name: &str) -> Result<&[u8], PkiError> {
        self.get(name).ok_or_else(|| PkiError::Absent { name: name.to_owned() })
    }

    pub(super) fn put(&mut self, name: String, content: impl Into<Secret>) {
        self.files.insert(name, content.into());
    }
}

/// The files in the pki directory under the names that the cluster knows.
pub(super) struct PkiFiles {
    /// The directory.
    pub folder: PathBuf,
    /// The files' contents by name.
    pub content: PkiContent,
}

impl PkiFiles {
    /// Everything that a lab with these certificates has.
    pub fn read(folder: &Path, specs: &[CertSpec]) -> Result<Self, PkiError> {
        let pairs = specs.iter().flat_map(|spec| [spec.certificate_file(), spec.key_file()]);
        let others =
            [SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY, ENCRYPTION_KEY].map(str::to_owned);
        Self::named(folder, pairs.chain(others).chain(rotation::names()))
    }

    /// Those of the files called `names` that are there: a lab of many nodes has thousands of
    /// files, and most questions are about a few.
    pub fn named(folder: &Path, names: impl IntoIterator<Item = String>) -> Result<Self, PkiError> {
        let mut content = BTreeMap::new();
        for name in names {
            let path = folder.join(&name);
            match fs::read(&path) {
                Ok(bytes) => {
                    content.insert(name, bytes.into());
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                // Any other error might hide an existing file, so never treat it as "missing".
                Err(cause) => return Err(PkiError::Read { path, cause }),
            }
        }
        Ok(Self { folder: folder.to_owned(), content })
    }

    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.content.get(name).map(Secret::expose)
    }

    pub fn text(&self, name: &str, remedy: &str) -> Result<Option<&str>, PkiError> {
        let text = self.get(name).map(str::from_utf8).transpose();
        text.map_err(|_| self.unusable(name, "is not a text file".to_owned(), remedy))
    }

    /// Returns what exists for a certificate that can be issued again.
    pub fn found(&self, spec: &CertSpec) -> Result<Found, PkiError> {
        let (certificate, key) = (spec.certificate_file(), spec.key_file());
        let remedy = format!("delete {certificate} and {key} there to have both issued again");
        let read_certificate = |bytes| {
            Certificate::from_pem(bytes)
                .map_err(|problem| self.unusable(&certificate, problem, &remedy))
        };
        let read_key =
            |pem| issue::public_key(pem).map_err(|problem| self.unusable(&key, problem, &remedy));
        Ok(Found {
            certificate: self.get(&certificate).map(read_certificate).transpose()?,
            public_key: self.text(&key, &remedy)?.map(read_key).transpose()?,
        })
    }

    /// Returns a file that proves that this certificate was issued once.
    pub fn trace_of(&self, spec: &CertSpec) -> Option<String> {
        [spec.certificate_file(), spec.key_file()]
            .into_iter()
            .find(|name| self.content.contains_key(name))
    }

    pub fn keep(&self, pki: &mut Pki, names: impl IntoIterator<Item = String>) {
        for name in names {
            if let Some(content) = self.content.get(&name) {
                pki.put(name, content);
            }
        }
    }

    pub fn refuse_if_used(&self, name: &str, evidence: Option<String>) -> Result<(), PkiError> {
        evidence.map_or(Ok(()), |evidence| Err(self.lost(name, evidence)))
    }

    pub fn lost(&self, name: &str, evidence: String) -> PkiError {
        PkiError::Lost { path: self.folder.join(name), evidence }
    }

    pub fn unusable(&self, name: &str, problem: String, remedy: &str) -> PkiError {
        PkiError::Unusable { path: self.folder.join(name), problem, remedy: remedy.to_owned() }
    }
}

/// Executes steps in the pki directory, with each file written atomically and with mode 0600.
/// Consecutive files are synced in parallel and appear in order.
pub(super) fn carry_out(steps: &[FileChange], lab: &LabDirectory) -> Result<(), PkiError> {
    let folder = lab.pki();
    let failed = |name: &str, cause: io::Error| PkiError::Write { path: folder.join(name), cause };
    let written = |step: &FileChange| matches!(step, FileChange::Write(..));
    let mut renamed: Vec<PathBuf> = Vec::new();
    for alike in steps.chunk_by(|one, next| written(one) && written(next)) {
        let mut files: Vec<(PathBuf, &[u8])> = Vec::new();
        for step in alike {
            match step {
                FileChange::Write(name, content) => {
                    files.push((folder.join(name), content.expose()))
                }
                FileChange::Rename(from, to) => {
                    fs::rename(folder.join(from), folder.join(to))
                        .map_err(|cause| failed(to, cause))?;
                    renamed.push(folder.join(to));
                }
                FileChange::Remove(name) => {
                    fs::remove_file(folder.join(name)).map_err(|cause| failed(name, cause))?;
                    renamed.push(folder.join(name));
                }
            }
        }
        if !files.is_empty() {
            lab.write_all_private(&files)
                .map_err(|(path, cause)| PkiError::Write { path, cause })?;
        }
    }
    if renamed.is_empty() {
        return Ok(());
    }
    let synced = lab.sync_names(renamed.iter().map(PathBuf::as_path));
    synced.map_err(|(path, cause)| PkiError::Write { path, cause })
}
