//! Compresses what is pushed, once: the compressed copy is kept in the cache under the checksum of
//! its content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use tokio::sync::{OnceCell, Semaphore};

use crate::module::file::Blob;

/// zstd's default: a third of the size at hundreds of megabytes per second. A higher level would
/// save less than it costs on a first run.
const LEVEL: i32 = 3;

/// A compressed copy of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    /// Its path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
}

/// Compresses blobs, each once, one after the other with all processors.
#[derive(Debug, Clone)]
pub(super) struct Packer(Arc<PackerInner>);

#[derive(Debug)]
struct PackerInner {
    /// Where compressed copies are kept; `None` to compress nothing.
    folder: Option<PathBuf>,
    cells: Mutex<BTreeMap<String, Arc<OnceCell<Option<Packed>>>>>,
    turn: Semaphore,
}

impl Packer {
    /// Returns a packer that keeps its copies in `folder`, or compresses nothing.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(Arc::new(PackerInner { folder, cells: Mutex::default(), turn: Semaphore::new(1) }))
    }

    /// Whether anything is compressed.
    pub fn packs(&self) -> bool {
        self.0.folder.is_some()
    }

    /// Compresses `blobs` in this order, while others are already being sent.
    pub fn begin(&self, blobs: &[Blob]) {
        if self.packs() {
            let (packer, blobs) = (self.clone(), blobs.to_vec());
            tokio::spawn(async move {
                for blob in blobs {
                    packer.packed(&blob).await;
                }
            });
        }
    }

    /// Returns the compressed copy of a blob; `None` if the blob should be sent uncompressed, or
    /// compressing failed.
    pub async fn packed(&self, blob: &Blob) -> Option<Packed> {
        let folder = self.0.folder.clone()?;
        let cell = {
            let mut cells = self.0.cells.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry(blob.sha256.clone()).or_default())
        };
        let packed = cell.get_or_init(|| async {
            let _turn = self.0.turn.acquire().await.ok()?;
            let blob = blob.clone();
            let work =
                move || pack(&folder, &blob).ok().filter(|packed| pays(blob.size, packed.size));
            tokio::task::spawn_blocking(work).await.ok().flatten()
        });
        packed.await.clone()
    }

    /// Deletes a copy that turned out to be damaged.
    pub fn discard(&self, blob: &Blob) {
        let Some(folder) = &self.0.folder else { return };
        let _ = fs::remove_file(place(folder, blob));
        self.0.cells.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob.sha256);
    }
}

/// Whether a compressed copy is small enough to be worth decompressing; a copy of a compressed
/// archive is not.
fn pays(size: u64, packed: u64) -> bool {
    packed < size - size / 10
}

fn place(folder: &Path, blob: &Blob) -> PathBuf {
    folder.join(format!("{}.zst", blob.sha256))
}

/// Returns the compressed copy in `folder`, creating it atomically if it does not exist.
fn pack(folder: &Path, blob: &Blob) -> io::Result<Packed> {
    let path = place(folder, blob);
    if let Ok(found) = fs::metadata(&path) {
        return Ok(Packed { path, size: found.len() });
    }
    fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    let threads =
        available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    // More than one thread needs more than one part, which costs a little compression.
    encoder.multithread(if threads > 1 { threads } else { 0 })?;
    io::copy(&mut File::open(&blob.source)?, &mut encoder)?;
    let file = encoder.finish()?;
    let size = file.as_file().metadata()?.len();
    file.persist(&path)?;
    Ok(Packed { path, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn blob(folder: &Path, bytes: &[u8]) -> Blob {
        let source = folder.join("source");
        fs::write(&source, bytes).expect("a file");
        Blob { sha256: "5a".repeat(32), size: bytes.len() as u64, source, name: "source".into() }
    }

    #[tokio::test]
    async fn a_copy_is_made_once_and_has_the_same_content() {
        let folder = tempfile::tempdir().expect("a directory");
        let cache = folder.path().join("packed");
        let text = b"the same again and ".repeat(100_000);
        let blob = blob(folder.path(), &text);
        let packed = Packer::new(Some(cache.clone())).packed(&blob).await.expect("it shrinks");
        assert!(packed.size < blob.size / 10);
        let mut unpacked = Vec::new();
        let mut decoder =
            zstd::Decoder::new(File::open(&packed.path).expect("a file")).expect("a decoder");
        decoder.read_to_end(&mut unpacked).expect("it can be unpacked");
        assert!(unpacked == text);

        // As for a later run without the source: nothing is compressed again.
        fs::remove_file(&blob.source).expect("a file");
        let again = Packer::new(Some(cache));
        assert_eq!(again.packed(&blob).await, Some(packed));
        again.discard(&blob);
        assert_eq!(again.packed(&blob).await, None, "a copy that was no good is not used again");
    }

    #[tokio::test]
    async fn what_does_not_shrink_is_sent_uncompressed() {
        let folder = tempfile::tempdir().expect("a directory");
        let mut noise = vec![0; 100_000];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut noise);
        let blob = blob(folder.path(), &noise);
        assert_eq!(Packer::new(Some(folder.path().join("packed"))).packed(&blob).await, None);
        assert_eq!(
            Packer::new(None).packed(&blob).await,
            None,
            "and nothing is packed where nothing is to be"
        );
    }
}
