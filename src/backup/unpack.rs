//! Reads the archive of a backup, after a check that every byte is as it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::archive::{
    Archive, Hashing, INVENTORY, MANIFEST, PKI, SNAPSHOT, SUMS, TRAILER, TRAILER_HEAD,
    TRAILER_TAIL, trailer,
};
use super::{BackupError, ESSENTIAL, FORMAT, Manifest};
use crate::secret::Secret;

/// Maximum size in bytes of every file except the snapshot: far more than any certificate or
/// inventory has.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The beginning of a tar.gz.
const GZIP: &[u8] = b"\x1f\x8b\x08";

/// Reads the backup at `path`, and writes its snapshot to `snapshot`.
///
/// # Errors
/// If the file is not a backup, any byte of it has changed, it is truncated, or it lacks something
/// essential.
pub fn read(path: &Path, snapshot: &mut dyn Write) -> Result<Archive, BackupError> {
    let io = |cause| BackupError::Io { doing: "read", path: path.to_owned(), cause };
    let foreign = |why: &str| BackupError::Foreign { path: path.to_owned(), why: why.to_owned() };
    let damaged = |why: String| BackupError::Damaged { path: path.to_owned(), why };
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(foreign("it is not a file"));
    }
    let mut head = [0; 3];
    if file.read_exact(&mut head).is_err() || head != GZIP {
        return Err(foreign("it does not start like a tar.gz"));
    }
    file.rewind().map_err(io)?;
    let length = metadata.len().saturating_sub(TRAILER as u64);
    let mut whole = Hashing::new(io::sink());
    io::copy(&mut (&mut file).take(length), &mut whole).map_err(io)?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).map_err(io)?;
    if end != trailer(&whole.hex()) {
        let cut = !end.ends_with(TRAILER_TAIL) || !end.starts_with(TRAILER_HEAD);
        return Err(damaged(if cut {
            "it does not end like a backup: it was truncated, something was appended, or it is \
            another tar.gz"
                .to_owned()
        } else {
            "its checksum differs from the one written with it".to_owned()
        }));
    }
    file.rewind().map_err(io)?;
    unpack(BufReader::new(file).take(length), snapshot).map_err(|why| match why {
        Unpack::Io(cause) => io(cause),
        Unpack::Damaged(why) => damaged(why),
        Unpack::Newer(found) => BackupError::Newer { path: path.to_owned(), found },
    })
}

/// Why an archive cannot be used although its bytes are unchanged.
enum Unpack {
    Io(io::Error),
    Damaged(String),
    Newer(u32),
}

impl From<io::Error> for Unpack {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

/// What an archive was found to contain.
struct Unpacked {
    /// Every file but the snapshot, by name.
    small: BTreeMap<String, Secret>,
    /// The lines of [`SUMS`] that these files and the snapshot have.
    sums: BTreeSet<String>,
    /// The snapshot's SHA-256 and length.
    snapshot: Option<(String, u64)>,
}

impl Unpacked {
    fn take(&mut self, name: &str) -> Result<Secret, Unpack> {
        self.small.remove(name).ok_or_else(|| Unpack::Damaged(format!("there is no {name} in it")))
    }
}

fn unpack(stream: impl Read, snapshot: &mut dyn Write) -> Result<Archive, Unpack> {
    let mut unpacked = entries(stream, snapshot)?;
    let written = unpacked.take(SUMS)?;
    let manifest = manifest(unpacked.take(MANIFEST)?.expose())?;
    let inventory = unpacked.take(INVENTORY)?.expose().to_vec();
    let written = String::from_utf8_lossy(written.expose());
    if written.lines().map(str::to_owned).collect::<BTreeSet<_>>() != unpacked.sums {
        return Err(Unpack::Damaged(format!("its files are not those that its {SUMS} lists")));
    }
    let (snapshot_sha256, size) = unpacked
        .snapshot
        .ok_or_else(|| Unpack::Damaged(format!("there is no {SNAPSHOT} in it")))?;
    if size != manifest.size {
        return Err(Unpack::Damaged(format!(
            "its {SNAPSHOT} has {size} bytes, and {} were written",
            manifest.size
        )));
    }
    let mut pki = BTreeMap::new();
    for (name, content) in unpacked.small {
        let Some(name) = name.strip_prefix(PKI) else {
            return Err(Unpack::Damaged(format!(
                "it contains {name}, which does not belong in a backup"
            )));
        };
        pki.insert(name.to_owned(), content);
    }
    if let Some(name) = ESSENTIAL.into_iter().find(|name| !pki.contains_key(*name)) {
        return Err(Unpack::Damaged(format!("there is no {PKI}{name} in it")));
    }
    Ok(Archive { manifest, inventory, pki, snapshot_sha256 })
}

/// Reads every entry; the snapshot goes to `snapshot`.
fn entries(stream: impl Read, snapshot: &mut dyn Write) -> Result<Unpacked, Unpack> {
    let mut tar = tar::Archive::new(GzDecoder::new(stream));
    let mut found = Unpacked { small: BTreeMap::new(), sums: BTreeSet::new(), snapshot: None };
    for entry in tar.entries()? {
        let mut entry = entry?;
        let name = name(&entry.path()?)
            .ok_or_else(|| Unpack::Damaged("a name in it points outside the backup".to_owned()))?;
        let sum = if name == SNAPSHOT {
            let mut hashing = Hashing::new(&mut *snapshot);
            io::copy(&mut entry, &mut hashing)?;
            found.snapshot = Some((hashing.hex(), hashing.length));
            hashing.hex()
        } else {
            let mut bytes = Vec::new();
            (&mut entry).take(LONGEST).read_to_end(&mut bytes)?;
            let sum = hex::encode(Sha256::digest(&bytes));
            found.small.insert(name.clone(), bytes.into());
            sum
        };
        if name != SUMS {
            found.sums.insert(format!("{sum}  {name}"));
        }
    }
    snapshot.flush()?;
    Ok(found)
}

/// Reads the manifest. The format comes first, because a later one may have other files and fields.
fn manifest(json: &[u8]) -> Result<Manifest, Unpack> {
    let unreadable = |error: serde_json::Error| {
        Unpack::Damaged(format!("its {MANIFEST} cannot be read: {error}"))
    };
    let format: Format = serde_json::from_slice(json).map_err(unreadable)?;
    if format.format > FORMAT {
        return Err(Unpack::Newer(format.format));
    }
    serde_json::from_slice(json).map_err(unreadable)
}

#[derive(serde::Deserialize)]
struct Format {
    format: u32,
}

/// Returns the name of an entry if it stays inside the directory in which it is unpacked.
fn name(path: &Path) -> Option<String> {
    let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    path.to_str().filter(|name| plain && !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(name(Path::new("pki/etcd/ca.crt")).as_deref(), Some("pki/etcd/ca.crt"));
        for bad in ["../x", "/etc/passwd", "pki/../../x", ""] {
            assert_eq!(name(Path::new(bad)), None, "{bad}");
        }
    }
}
