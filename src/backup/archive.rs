//! The archive of a backup: written atomically, and read only if no byte has changed.
//!
//! The file is a `tar.gz`, followed by a second, empty gzip member whose comment is the SHA-256 of
//! everything before it. Tools skip such a member, so `tar xzf` unpacks a backup; and a byte that
//! changed anywhere, even where gzip and tar would not notice (their headers, the padding of
//! blocks), is detected before anything is used.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

use super::{BackupError, Manifest};
use crate::secret::Secret;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const INVENTORY: &str = "inventory.yaml";
pub(super) const SNAPSHOT: &str = "snapshot.db";
pub(super) const SUMS: &str = "SHA256SUMS";
pub(super) const PKI: &str = "pki/";

/// The beginning of a gzip member with a comment: magic, deflate, flag, no time, no level, no
/// system.
pub(super) const TRAILER_HEAD: &[u8] = b"\x1f\x8b\x08\x10\0\0\0\0\0\xffsha256 ";
/// Its end: the end of the comment, empty data, and the checksum and length of empty data.
pub(super) const TRAILER_TAIL: &[u8] = b"\0\x03\0\0\0\0\0\0\0\0\0";
pub(super) const TRAILER: usize = TRAILER_HEAD.len() + 64 + TRAILER_TAIL.len();

/// A verified backup without the snapshot, which may be large.
#[derive(Clone, PartialEq, Eq)]
pub struct Archive {
    /// The manifest.
    pub manifest: Manifest,
    /// The inventory.
    pub inventory: Vec<u8>,
    /// Certificates and keys, by path in the pki directory.
    pub pki: BTreeMap<String, Secret>,
    /// SHA-256 of the snapshot, lower-case hex.
    pub snapshot_sha256: String,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Prints only names, because there are keys in it.
        f.debug_struct("Archive")
            .field("manifest", &self.manifest)
            .field("pki", &self.pki.keys())
            .finish()
    }
}

/// Returns everything in a pki directory, by path; empty if there is no such directory.
///
/// # Errors
/// If something in it cannot be read, or is neither a file nor a directory.
pub fn read_pki(folder: &Path) -> Result<BTreeMap<String, Secret>, BackupError> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let error = |cause| BackupError::Io { doing: "read", path: next.clone(), cause };
        let entries = match fs::read_dir(&next) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && next == folder => {
                return Ok(found);
            }
            Err(cause) => return Err(error(cause)),
        };
        for entry in entries {
            let path = entry.map_err(error)?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let bytes = fs::read(&path).map_err(|cause| BackupError::Io {
                doing: "read",
                path: path.clone(),
                cause,
            })?;
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            found.insert(name, bytes.into());
        }
    }
    Ok(found)
}

/// Checks the destination before a backup is made: there must be a directory, and no file of that
/// name (unless `replace`).
///
/// # Errors
/// Returns what is in the way.
pub fn check_place(path: &Path, replace: bool) -> Result<(), BackupError> {
    let refused = |why: String| Err(BackupError::NoPlace { path: path.to_owned(), why });
    if path.file_name().is_none() || path.is_dir() {
        return refused("it is a directory".to_owned());
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        return refused(format!("there is no directory {}", folder.display()));
    }
    if fs::symlink_metadata(path).is_ok() && !replace {
        return Err(BackupError::Exists { path: path.to_owned() });
    }
    Ok(())
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// Returns an unnamed temporary file for the snapshot, which never leaves anything behind.
///
/// # Errors
/// If it cannot be created beside `path`.
pub fn scratch(path: &Path) -> Result<File, BackupError> {
    let folder = folder_of(path);
    tempfile::tempfile_in(&folder).map_err(|cause| BackupError::Io {
        doing: "write into",
        path: folder,
        cause,
    })
}

/// Writes a backup to `path` atomically, with mode 0600, and returns its size in bytes.
///
/// `created` is the time of its entries, in seconds since 1970.
///
/// # Errors
/// If it cannot be written, or the snapshot cannot be read.
pub fn write(
    path: &Path,
    archive: &Archive,
    snapshot: &mut File,
    created: u64,
) -> Result<u64, BackupError> {
    let io = |cause| BackupError::Io { doing: "write", path: path.to_owned(), cause };
    // Always the same name, so that the next run replaces what a killed run has left.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let part = Part(folder_of(path).join(format!(".{name}.part")));
    match fs::remove_file(&part.0) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(io(cause)),
        _ => {}
    }
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part.0)
        .map_err(io)?;
    let mut sink = Hashing::new(BufWriter::new(&file));
    pack(&mut sink, archive, snapshot, created).map_err(io)?;
    let trailer = trailer(&sink.hex());
    sink.inner.write_all(&trailer).map_err(io)?;
    let length = sink.length + trailer.len() as u64;
    sink.inner.flush().map_err(io)?;
    drop(sink);
    file.sync_all().map_err(io)?;
    fs::rename(&part.0, path).map_err(io)?;
    // The new name must survive a power failure.
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok(length)
}

/// A file that is removed unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn trailer(sha256: &str) -> Vec<u8> {
    [TRAILER_HEAD, sha256.as_bytes(), TRAILER_TAIL].concat()
}

fn pack(sink: impl Write, archive: &Archive, snapshot: &mut File, created: u64) -> io::Result<()> {
    let mut tar = tar::Builder::new(GzBuilder::new().write(sink, Compression::fast()));
    let header = |size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(created);
        header
    };
    let mut sums = String::new();
    let manifest = serde_json::to_vec_pretty(&archive.manifest).map_err(io::Error::other)?;
    let small = [(MANIFEST, &manifest), (INVENTORY, &archive.inventory)];
    let small = small.map(|(name, bytes)| (name.to_owned(), bytes.as_slice()));
    let pki = archive.pki.iter().map(|(name, file)| (format!("{PKI}{name}"), file.expose()));
    for (name, bytes) in small.into_iter().chain(pki) {
        tar.append_data(&mut header(bytes.len() as u64), &name, bytes)?;
        sums.push_str(&format!("{}  {name}\n", hex::encode(Sha256::digest(bytes))));
    }
    snapshot.seek(SeekFrom::Start(0))?;
    tar.append_data(&mut header(archive.manifest.size), SNAPSHOT, BufReader::new(snapshot))?;
    sums.push_str(&format!("{}  {SNAPSHOT}\n", archive.snapshot_sha256));
    tar.append_data(&mut header(sums.len() as u64), SUMS, sums.as_bytes())?;
    tar.into_inner()?.finish()?;
    Ok(())
}

/// Forwards bytes and hashes them.
pub(super) struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    pub length: u64,
}

impl<W> Hashing<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), length: 0 }
    }

    pub fn hex(&self) -> String {
        hex::encode(self.hasher.clone().finalize())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::backup::tests::manifest;
    use crate::backup::unpack::read;
    use crate::backup::{ESSENTIAL, FORMAT};

    const DATA: &[u8] = b"etcd's own bytes, whatever they are";

    fn archive() -> Archive {
        let pki = ESSENTIAL.iter().map(|name| ((*name).to_owned(), format!("the {name}").into()));
        Archive {
            manifest: Manifest { size: DATA.len() as u64, ..manifest() },
            inventory: b"name: sandbox\n".to_vec(),
            pki: pki.chain([("nodes/worker-0/kubelet.crt".to_owned(), b"a leaf".into())]).collect(),
            snapshot_sha256: hex::encode(Sha256::digest(DATA)),
        }
    }

    fn written(archive: &Archive) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("lab.backup");
        let mut snapshot = scratch(&path).expect("a file");
        snapshot.write_all(DATA).expect("written");
        let length = write(&path, archive, &mut snapshot, 1_000_000_000).expect("written");
        assert_eq!(length, fs::metadata(&path).expect("there").len());
        (folder, path)
    }

    fn refused(bytes: &[u8]) -> BackupError {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("lab.backup");
        fs::write(&path, bytes).expect("written");
        read(&path, &mut io::sink()).expect_err("no backup")
    }

    #[test]
    fn a_backup_reads_back_the_same_and_is_private() {
        let (folder, path) = written(&archive());
        let mut snapshot = Vec::new();
        assert_eq!(read(&path, &mut snapshot).expect("whole"), archive());
        assert_eq!(snapshot, DATA);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(folder.path())
            .expect("a directory")
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert_eq!(names, ["lab.backup"], "nothing is left beside it");
    }

    #[test]
    fn tar_unpacks_a_backup_and_sha256sum_checks_it() {
        let (folder, path) = written(&archive());
        let command = format!("tar xzf {} && sha256sum --quiet -c SHA256SUMS", path.display());
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .current_dir(folder.path())
            .output();
        let output = output.expect("a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "",
            "tar has nothing to complain about"
        );
    }

    #[test]
    fn a_changed_byte_is_detected_anywhere() {
        let (_folder, path) = written(&archive());
        let good = fs::read(&path).expect("read");
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let error = refused(&bad);
                assert!(
                    matches!(error, BackupError::Damaged { .. } | BackupError::Foreign { .. }),
                    "{at}: {error}"
                );
            }
        }
    }

    #[test]
    fn a_truncated_or_extended_archive_is_refused() {
        let (_folder, path) = written(&archive());
        let good = fs::read(&path).expect("read");
        for length in 0..good.len() {
            refused(&good[..length]);
        }
        assert!(refused(&good[..good.len() - 1]).to_string().contains("truncated"));
        refused(&[good.as_slice(), b"\n"].concat());
        refused(&[good.as_slice(), good.as_slice()].concat());
        refused(&good[1..]);
    }

    #[test]
    fn other_files_are_not_taken_for_backups() {
        assert!(refused(b"").to_string().ends_with("it does not start like a tar.gz"));
        assert!(refused(b"PK\x03\x04 a zip").to_string().contains("is not a labctl backup"));
        let folder = tempfile::tempdir().expect("a directory");
        let error = read(folder.path(), &mut io::sink()).expect_err("a directory");
        assert!(error.to_string().contains("it is not a file"), "{error}");
        let error = read(&folder.path().join("none"), &mut io::sink()).expect_err("nothing");
        assert!(matches!(error, BackupError::Io { .. }), "{error}");
    }

    #[test]
    fn an_archive_that_contradicts_its_contents_is_refused() {
        let refused = |archive: &Archive| {
            let (_folder, path) = written(archive);
            read(&path, &mut io::sink()).expect_err("refused").to_string()
        };
        let mut lacking = archive();
        lacking.pki.remove("encryption.key");
        assert!(refused(&lacking).contains("there is no pki/encryption.key in it"));
        let mut newer = archive();
        newer.manifest.format = FORMAT + 1;
        assert!(refused(&newer).contains("has format 2; this labctl reads formats up to 1"));
        let other = Archive { snapshot_sha256: "00".repeat(32), ..archive() };
        assert!(refused(&other).contains("its files are not those that its SHA256SUMS lists"));
    }

    #[test]
    fn a_backup_replaces_a_file_only_if_requested() {
        let (folder, path) = written(&archive());
        assert!(matches!(check_place(&path, false), Err(BackupError::Exists { .. })));
        check_place(&path, true).expect("it may");
        check_place(&folder.path().join("new"), false).expect("nothing is there");
        check_place(folder.path(), true).expect_err("a directory is there");
        check_place(&folder.path().join("none/new"), true).expect_err("there is no such directory");
    }
}
