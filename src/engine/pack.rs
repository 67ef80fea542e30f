//! Compresses what is pushed, once: a packed copy is kept in the cache, under the checksum of what
//! is in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use tokio::sync::{OnceCell, Semaphore};

use crate::module::file::Blob;

/// zstd's own default. A third of the size at hundreds of megabytes a second; what a higher level
/// saves on top is less than what it costs on a first run.
const LEVEL: i32 = 3;

/// A compressed copy of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

/// Packs blobs, each once, one after the other with all processors.
#[derive(Debug, Clone)]
pub(super) struct Packer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where packed copies are kept; nothing is packed without.
    folder: Option<PathBuf>,
    cells: Mutex<BTreeMap<String, Arc<OnceCell<Option<Packed>>>>>,
    turn: Semaphore,
}

impl Packer {
    /// A packer that keeps its copies in `folder`, or packs nothing.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { folder, cells: Mutex::default(), turn: Semaphore::new(1) }))
    }

    /// Whether anything is packed at all.
    pub fn packs(&self) -> bool {
        self.0.folder.is_some()
    }

    /// Packs `blobs` in this order, while others are on their way already.
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

    /// The packed copy of a blob; `None` when it is better sent as it is, or no copy can be had.
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

    /// Forgets a copy that turned out to be no good.
    pub fn discard(&self, blob: &Blob) {
        let Some(folder) = &self.0.folder else { return };
        let _ = fs::remove_file(place(folder, blob));
        self.0.cells.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob.sha256);
    }
}

/// Whether a packed copy is enough smaller to be worth unpacking: an archive that is compressed
/// already is not.
fn pays(size: u64, packed: u64) -> bool {
    packed < size - size / 10
}

fn place(folder: &Path, blob: &Blob) -> PathBuf {
    folder.join(format!("{}.zst", blob.sha256))
}

/// The packed copy in `folder`, made when it is not there yet. It appears whole or not at all.
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
    // More than one thread needs more than one part, which costs a little of the gain; one thread
    // needs none.
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
    async fn a_copy_is_made_once_and_holds_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
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

        // Another run, for which the source would be gone: nothing is compressed again.
        fs::remove_file(&blob.source).expect("a file");
        let again = Packer::new(Some(cache));
        assert_eq!(again.packed(&blob).await, Some(packed));
        again.discard(&blob);
        assert_eq!(again.packed(&blob).await, None, "a copy that was no good is not used again");
    }

    #[tokio::test]
    async fn what_does_not_shrink_goes_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
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
