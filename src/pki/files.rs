//! The contents of the pki directory: read completely, under the names that the cluster knows.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::PkiError;
use super::inspect::{Certificate, Found};
use super::issue;
use super::rotation::{self, Content};
use super::spec::CertSpec;
use super::store::{ENCRYPTION_KEY, Pki, SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY};

/// The files in the pki directory under the names that the cluster knows.
pub(super) struct Files {
    /// The directory.
    pub folder: PathBuf,
    /// The files' contents by name.
    pub content: Content,
}

impl Files {
    pub fn read(folder: &Path, specs: &[CertSpec]) -> Result<Self, PkiError> {
        let pairs = specs.iter().flat_map(|spec| [spec.certificate_file(), spec.key_file()]);
        let others =
            [SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY, ENCRYPTION_KEY].map(str::to_owned);
        let mut content = BTreeMap::new();
        for name in pairs.chain(others).chain(rotation::names()) {
            let path = folder.join(&name);
            match fs::read(&path) {
                Ok(bytes) => {
                    content.insert(name, bytes);
                }
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                // Any other error might hide an existing file, so never treat it as "missing".
                Err(cause) => return Err(PkiError::Read { path, cause }),
            }
        }
        Ok(Self { folder: folder.to_owned(), content })
    }

    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.content.get(name).map(Vec::as_slice)
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
            if let Some(bytes) = self.get(&name) {
                pki.put(name, bytes);
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
