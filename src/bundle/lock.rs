//! `bundle.lock`: the contents of a bundle, in a form that people can review.
//!
//! Parsing is strict, because this file decides which programs run as root on the nodes: unknown
//! keys, duplicate names, paths that leave the directory and malformed checksums are errors, all
//! reported at once. The file is written without serde, one line per file, so that a change of
//! versions is a short and readable diff.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::{Bundle, BundleError, BundleFile};
use crate::cluster::Version;

/// The file's name in a bundle's directory.
pub const FILE_NAME: &str = "bundle.lock";

/// A validated lock: every path stays inside the directory and every checksum is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The Kubernetes version of the bundle.
    pub kubernetes: Version,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Files by name.
    pub files: BTreeMap<String, LockedFile>,
}

/// One file of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedFile {
    /// The component's own version, without a `v`.
    pub version: String,
    /// Relative to the bundle's directory, with `/`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// For an image archive: the reference that it is imported as.
    pub image: Option<String>,
}

/// The lock as YAML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockDocument {
    kubernetes: String,
    architecture: String,
    files: Vec<LockEntry>,
}

/// One line of the lock as YAML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockEntry {
    name: String,
    version: String,
    path: String,
    #[serde(default)]
    image: Option<String>,
    size: u64,
    sha256: String,
}

/// Reads the lock of the bundle in `folder`; `None` if there is none.
///
/// # Errors
/// If the file cannot be read or is invalid.
pub fn read(folder: &Path) -> Result<Option<Lock>, BundleError> {
    let path = folder.join(FILE_NAME);
    let text = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BundleError::io(format!("read {}", path.display()), &error)),
    };
    let text = String::from_utf8(text).map_err(|_| BundleError::BadLock {
        path: path.clone(),
        problems: vec!["it is not UTF-8 text".into()],
    })?;
    parse(&text).map(Some).map_err(|problems| BundleError::BadLock { path, problems })
}

/// Parses the text of a lock.
///
/// # Errors
/// Returns everything that is wrong with it.
pub fn parse(text: &str) -> Result<Lock, Vec<String>> {
    // serde's messages end with "at line L column C".
    let document: LockDocument =
        serde_yaml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let mut problems = Vec::new();
    let kubernetes = document
        .kubernetes
        .parse::<Version>()
        .map_err(|why| problems.push(format!("kubernetes: {why}")));
    if !matches!(document.architecture.as_str(), "amd64" | "arm64") {
        problems
            .push(format!("architecture: `{}` is neither amd64 nor arm64", document.architecture));
    }
    let mut files = BTreeMap::new();
    let mut paths = BTreeSet::new();
    for entry in document.files {
        problems.extend(
            entry.problems().into_iter().map(|problem| format!("file `{}`: {problem}", entry.name)),
        );
        if !paths.insert(entry.path.clone()) {
            problems.push(format!(
                "file `{}`: path `{}` already belongs to another file",
                entry.name, entry.path
            ));
        }
        let LockEntry { name, version, path, image, size, sha256 } = entry;
        if files.insert(name.clone(), LockedFile { version, path, size, sha256, image }).is_some() {
            problems.push(format!("file `{name}` is listed twice"));
        }
    }
    match kubernetes {
        Ok(kubernetes) if problems.is_empty() => {
            Ok(Lock { kubernetes, architecture: document.architecture, files })
        }
        _ => Err(problems),
    }
}

/// Writes `lock` into `folder` atomically.
///
/// # Errors
/// If the file system refuses.
pub fn write(folder: &Path, lock: &Lock) -> Result<(), BundleError> {
    let path = folder.join(FILE_NAME);
    let attempt = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".bundle.lock.")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(lock.to_yaml().as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    attempt().map_err(|error| BundleError::io(format!("write {}", path.display()), &error))
}

impl Lock {
    /// Formats the lock: one line per file, ordered by directory and name.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "kubernetes: {}", quoted(&self.kubernetes.to_string()));
        let _ = writeln!(text, "architecture: {}", scalar(&self.architecture));
        let _ = writeln!(text, "files:");
        for (name, file) in &self.files {
            let _ =
                write!(text, "  - {{ name: {}, version: {}, ", scalar(name), quoted(&file.version));
            let _ = write!(text, "path: {}, ", scalar(&file.path));
            if let Some(image) = &file.image {
                let _ = write!(text, "image: {}, ", quoted(image));
            }
            let _ = writeln!(text, "size: {}, sha256: {} }}", file.size, scalar(&file.sha256));
        }
        text
    }

    /// Returns the bundle in `folder` that this lock describes, without checking its files.
    pub(super) fn into_bundle(self, folder: PathBuf) -> Bundle {
        let files = self.files.into_iter().map(|(name, file)| {
            let LockedFile { version, path, size, sha256, image } = file;
            (name, BundleFile { version, path: folder.join(path), size, sha256, image })
        });
        Bundle {
            files: files.collect(),
            kubernetes: self.kubernetes,
            architecture: self.architecture,
            folder,
        }
    }
}

impl LockEntry {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let plain = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
            !text.is_empty() && text.bytes().all(allowed)
        };
        if !plain(&self.name) {
            problems.push("a name has letters, digits and `-_./` only".to_owned());
        }
        // A version becomes part of a URL when a bundle is completed.
        if !plain(&self.version) || self.version.contains('/') {
            problems.push(format!("`{}` is not a version like 1.7.1", self.version));
        }
        if let Err(why) = stays_inside(&self.path) {
            problems.push(format!("path `{}` {why}", self.path));
        }
        if !is_sha256(&self.sha256) {
            problems.push(format!("sha256 `{}` is not 64 lower-case hex digits", self.sha256));
        }
        match (&self.image, self.name.starts_with("image/")) {
            (None, true) => problems
                .push("an image archive needs `image`, the reference it is imported as".to_owned()),
            (Some(_), false) => {
                problems.push("only an image archive (`image/...`) has `image`".to_owned())
            }
            (Some(image), true) if !is_reference(image) => {
                problems.push(format!(
                    "image `{image}` is not a reference like registry.example/name:tag"
                ));
            }
            _ => {}
        }
        problems
    }
}

/// Whether `text` is a SHA-256 in lower-case hex.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether `image` only has the characters of a reference, because it becomes part of a command on
/// the nodes.
fn is_reference(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(allowed)
}

fn stays_inside(path: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte);
    if path.is_empty() || path.ends_with('/') {
        return Err("does not name a file");
    }
    if !path.bytes().all(allowed) {
        return Err("has characters other than letters, digits and `-_./+`");
    }
    if Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    Err("leaves the bundle's directory; paths are relative to it and have no `.` or `..`")
}

/// Quotes a scalar; JSON's strings are valid YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a plain scalar if YAML can only read it as a string, otherwise a quoted one.
fn scalar(text: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    // These characters alone could be a number: 12e4, 0x1f, or 1_000 in YAML 1.1.
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || b"eE+-_.xob".contains(&byte));
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off"
    );
    if begins && text.bytes().all(safe) && !number && !word {
        text.to_owned()
    } else {
        quoted(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn with(files: &str) -> Result<Lock, Vec<String>> {
        parse(&format!("kubernetes: \"1.34.2\"\narchitecture: amd64\nfiles:\n{files}"))
    }

    fn complaint(files: &str) -> String {
        with(files).expect_err("the lock was accepted").join("; ")
    }

    #[test]
    fn a_written_lock_reads_back_the_same() {
        let mut lock = Lock {
            kubernetes: Version { major: 1, minor: 34, patch: 2 },
            architecture: "arm64".into(),
            files: BTreeMap::new(),
        };
        for (name, path, sha, image) in [
            ("kubelet", "bin/kubelet", SHA.to_owned(), None),
            (
                "image/pause",
                "images/pause.tar",
                "1".repeat(64),
                Some("registry.k8s.io/pause:3.10".to_owned()),
            ),
            ("on", "bin/on", format!("{}e{}", "1".repeat(31), "2".repeat(32)), None),
        ] {
            let file =
                LockedFile { version: "1".into(), path: path.into(), size: 7, sha256: sha, image };
            lock.files.insert(name.into(), file);
        }
        assert_eq!(parse(&lock.to_yaml()), Ok(lock));
    }

    #[test]
    fn a_path_may_not_leave_the_directory() {
        for path in
            ["../kubelet", "/usr/bin/kubelet", "bin/../../kubelet", "bin/", "", "./kubelet", "a;b"]
        {
            let text = complaint(&format!(
                "  - {{ name: kubelet, version: \"1\", path: \"{path}\", size: 1, sha256: {SHA} \
                }}\n"
            ));
            assert!(text.contains("file `kubelet`: path"), "{path}: {text}");
        }
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let text = complaint(&format!(
            "  - {{ name: a, version: \"1\", path: bin/a, size: 1, sha256: {SHA} }}\n  \
               - {{ name: a, version: \"1\", path: bin/a, size: 1, sha256: abc }}\n  \
               - {{ name: image/x, version: \"\", path: images/x.tar, size: 1, sha256: {} }}\n",
            SHA.to_uppercase()
        ));
        for part in [
            "`a` is listed twice",
            "belongs to another file",
            "`abc` is not 64",
            "`` is not a version",
            "needs `image`",
            "`BA7816",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn an_unknown_key_is_reported_with_its_line() {
        let text = complaint(&format!(
            "  - {{ name: a, version: \"1\", path: bin/a, size: 1, sha256: {SHA}, mode: 4755 }}\n"
        ));
        assert!(text.contains("mode") && text.contains("line 4"), "{text}");
    }
}
