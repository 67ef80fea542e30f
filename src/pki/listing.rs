//! Finds certificates in files, for listing them.

use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::error::PkiError;
use super::inspect::Certificate;
use crate::lab::LabDirectory;

/// Returns the certificates in one file, PEM or kubeconfig.
///
/// # Errors
/// Returns what is wrong with the file, as a predicate; never any part of it.
pub fn read(file: &str, text: &str) -> Result<Vec<Certificate>, String> {
    if !file.ends_with(".conf") {
        return Certificate::all_from_pem(text.as_bytes());
    }
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().trim_start_matches("- ").split_once(':') else {
            continue;
        };
        if key != "client-certificate-data" {
            continue;
        }
        let pem = BASE64.decode(value.trim().trim_matches(['"', '\'']));
        let pem = pem.map_err(|_| format!("contains a {key} that is not base64"))?;
        found.extend(Certificate::all_from_pem(&pem)?);
    }
    if found.is_empty() { Err("contains no client certificate".to_owned()) } else { Ok(found) }
}

/// Returns the files of a lab directory that contain certificates, by name, with their text.
///
/// # Errors
/// Returns [`PkiError::Read`] with the file or directory.
pub fn in_lab_directory(lab: &LabDirectory) -> Result<Vec<(String, String)>, PkiError> {
    let mut files = Vec::new();
    walk(lab.root(), &lab.pki(), &mut files)?;
    let admin = lab.admin_conf();
    if admin.exists() {
        files.push((relative(lab.root(), &admin), text(&admin)?));
    }
    files.sort();
    Ok(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> Result<(), PkiError> {
    let failed = |cause| PkiError::Read { path: folder.to_owned(), cause };
    let entries = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "crt") {
            files.push((relative(root, &path), text(&path)?));
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, PkiError> {
    let bytes = fs::read(path).map_err(|cause| PkiError::Read { path: path.to_owned(), cause })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{fixture, kubeconfigs, specs, store};

    #[test]
    fn certificates_are_found_in_bundles_and_in_kubeconfigs() {
        let folder = tempfile::tempdir().expect("a directory");
        let (cluster, lab) = (fixture::cluster(), LabDirectory::new(folder.path()));
        let ensured = store::ensure(&cluster, &lab, fixture::now()).expect("issued");
        ensured.save(&lab).expect("saved");
        let files = in_lab_directory(&lab).expect("listed");
        assert_eq!(files.len(), specs(&cluster).len(), "one for each certificate");
        for (file, text) in &files {
            assert_eq!(read(file, text).map(|found| found.len()), Ok(1), "{file}");
        }
        let ca = &files.iter().find(|(file, _)| file == "pki/ca.crt").expect("a CA").1;
        assert_eq!(read("ca.crt", &format!("{ca}{ca}")).map(|found| found.len()), Ok(2));
        let admin = kubeconfigs(&cluster, &ensured.pki)
            .expect("kubeconfigs")
            .remove("admin.conf")
            .expect("the admin's");
        let text = admin.expose_text().expect("text");
        let found = read("admin.conf", text).expect("a certificate");
        assert_eq!((found.len(), found[0].issuer.join(",")), (1, "CN=kubernetes".to_owned()));
        assert!(found[0].subject.contains(&"CN=admin".to_owned()));
        assert_eq!(
            read("admin.conf", "clusters: []"),
            Err("contains no client certificate".to_owned())
        );
        assert_eq!(read("ca.crt", "oh"), Err("contains no certificate".to_owned()));
    }
}
