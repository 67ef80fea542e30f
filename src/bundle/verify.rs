//! Verifies a bundle: hashes every file and compares it with the lock.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::progress::Progress;
use super::{Bundle, BundleError, STEP};
use crate::event::{Event, Events};

/// Hashes all files of the bundle, in parallel on all processors, and compares them with its lock.
///
/// # Errors
/// Returns all files whose content does not match the lock in one error, or the first file that
/// cannot be read.
pub async fn verify(bundle: &Bundle, events: &Events) -> Result<(), BundleError> {
    let started = Instant::now();
    events.emit(Event::StepStarted { step: STEP.into() });
    let progress = Arc::new(Progress::new(events));
    progress.expect(bundle.files.values().map(|file| file.size).sum());
    let slots =
        Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)));
    let mut tasks = JoinSet::new();
    for (name, file) in bundle.files.clone() {
        let (slots, progress) = (slots.clone(), progress.clone());
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let hashing = tokio::task::spawn_blocking(move || {
                let got = sha256_of(&file.path, |bytes| progress.advance(bytes, &name)).map_err(
                    |error| BundleError::io(format!("read {}", file.path.display()), &error),
                )?;
                let differs = got != file.sha256;
                Ok(differs.then(|| {
                    format!("{name}: expected {}, got {got} ({})", file.sha256, file.path.display())
                }))
            });
            hashing.await.map_err(|error| BundleError::cut_short("verify the bundle", &error))?
        });
    }
    let mut files = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let verdict: Result<Option<String>, BundleError> =
            ended.map_err(|error| BundleError::cut_short("verify the bundle", &error))?;
        files.extend(verdict?);
    }
    if !files.is_empty() {
        files.sort();
        return Err(BundleError::Mismatch { folder: bundle.folder.clone(), files });
    }
    progress.tell("verified");
    let detail =
        format!("{} files of Kubernetes {} verified", bundle.files.len(), bundle.kubernetes);
    events.emit(Event::StepEnded {
        step: STEP.into(),
        detail,
        changed: false,
        took: started.elapsed(),
    });
    Ok(())
}

/// Returns the SHA-256 of a file in lower-case hex; calls `read` with the length of every chunk.
pub fn sha256_of(path: &Path, mut read: impl FnMut(u64)) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex::encode(hash.finalize())),
            Ok(length) => {
                hash.update(&piece[..length]);
                read(length as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
