//! Downloads into a content-addressed cache: `<cache>/downloads/<sha256>`.
//!
//! The checksum of a file is known before its download starts. So nothing is downloaded twice, an
//! interrupted download resumes (`<sha256>.part`), and a file appears in the cache only after its
//! checksum was verified.

use std::path::{Path, PathBuf};

use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::BundleError;
use super::http::{Http, Trouble, trouble};
use super::progress::Progress;
use super::verify::sha256_of;

/// A file to download into the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its URL.
    pub url: String,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// Its size in bytes, if a trusted source has published it.
    pub size: Option<u64>,
    /// Its name in progress messages.
    pub label: String,
}

/// The cache, and the client that fills it.
#[derive(Debug)]
pub struct Downloads {
    http: Http,
    folder: PathBuf,
}

/// One file that is being downloaded.
struct Download<'a> {
    wanted: &'a RemoteFile,
    part: PathBuf,
    progress: &'a Progress,
    /// Bytes that were already reported as progress.
    counted: u64,
}

impl Downloads {
    /// Opens the cache in `cache`, creating it if it is missing.
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub fn new(http: Http, cache: &Path) -> Result<Self, BundleError> {
        let folder = cache.join("downloads");
        std::fs::create_dir_all(&folder).map_err(|error| {
            BundleError::io(format!("create the cache directory {}", folder.display()), &error)
        })?;
        Ok(Self { http, folder })
    }

    /// Returns the client for downloads.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Returns the path of a file with this checksum in the cache, whether or not it exists.
    pub fn path_of(&self, sha256: &str) -> PathBuf {
        self.folder.join(sha256)
    }

    /// Downloads a file into the cache unless it is there already, and returns its path.
    ///
    /// # Errors
    /// If the server does not have it, all attempts have failed, the disk is full, or the content
    /// does not match its checksum.
    pub async fn fetch(
        &self,
        wanted: &RemoteFile,
        progress: &Progress,
    ) -> Result<PathBuf, BundleError> {
        let path = self.path_of(&wanted.sha256);
        if self.is_good(&path, wanted).await? {
            return Ok(path);
        }
        let part = self.folder.join(format!("{}.part", wanted.sha256));
        let mut transfer = Download { wanted, part, progress, counted: 0 };
        let (mut failed, mut farthest) = (0, transfer.length().await);
        loop {
            let from_start = transfer.length().await == 0;
            match transfer.attempt(&self.http).await {
                Ok(()) => {
                    let got = hash(&transfer.part).await?;
                    if got == wanted.sha256 {
                        break;
                    }
                    transfer.discard().await?;
                    // A resumed part may belong to another file, so start over; a complete download
                    // has no such excuse.
                    if from_start {
                        let (url, expected) = (wanted.url.clone(), wanted.sha256.clone());
                        return Err(BundleError::Checksum { url, expected, got });
                    }
                }
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { why, pause }) => {
                    // Only bytes beyond the furthest point so far count as progress. Otherwise a
                    // server that keeps breaking the connection and starting over could occupy us
                    // forever.
                    let length = transfer.length().await;
                    failed = if length > farthest { 1 } else { failed + 1 };
                    farthest = farthest.max(length);
                    self.http.rest(&wanted.url, failed, why, pause).await?;
                }
            }
        }
        fs::rename(&transfer.part, &path).await.map_err(|error| {
            BundleError::io(format!("move a download to {}", path.display()), &error)
        })?;
        progress.tell(&wanted.label);
        Ok(path)
    }

    /// Whether the cache has the file. A cached file is hashed before it is used, and a damaged one
    /// is deleted.
    async fn is_good(&self, path: &Path, wanted: &RemoteFile) -> Result<bool, BundleError> {
        if !fs::try_exists(path).await.unwrap_or(false) {
            return Ok(false);
        }
        if hash(path).await? == wanted.sha256 {
            return Ok(true);
        }
        fs::remove_file(path).await.map_err(|error| {
            BundleError::io(format!("delete the damaged {}", path.display()), &error)
        })?;
        Ok(false)
    }
}

impl Download<'_> {
    /// Returns the number of bytes that are already there.
    async fn length(&self) -> u64 {
        fs::metadata(&self.part).await.map_or(0, |found| found.len())
    }

    /// Requests the missing bytes and writes them as they arrive.
    async fn attempt(&mut self, http: &Http) -> Result<(), Trouble> {
        let mut offset = self.length().await;
        if self.wanted.size.is_some_and(|size| offset > size) {
            self.discard().await.map_err(Trouble::Final)?;
            offset = 0;
        }
        if offset > 0 && self.wanted.size == Some(offset) {
            self.count_to(offset);
            return Ok(());
        }
        let response = http.get(&self.wanted.url, offset).await?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => {
                // Nothing is left to send: the part is either the whole file, as its checksum will
                // show, or garbage.
                self.count_to(offset);
                Ok(())
            }
            StatusCode::PARTIAL_CONTENT if begins_at(&response) == Some(offset) => {
                self.count_to(offset);
                let file = self.open(true).await.map_err(Trouble::Final)?;
                self.receive(response, file).await
            }
            StatusCode::PARTIAL_CONTENT => {
                self.discard().await.map_err(Trouble::Final)?;
                let why = "the server sent a different part than requested".to_owned();
                Err(Trouble::Passing { why, pause: None })
            }
            // The whole file, even if only its end was requested, because servers may ignore Range.
            _ => {
                self.count_to(0);
                let file = self.open(false).await.map_err(Trouble::Final)?;
                self.receive(response, file).await
            }
        }
    }

    async fn receive(&mut self, mut response: Response, mut file: File) -> Result<(), Trouble> {
        let wrong = |error| {
            Trouble::Final(BundleError::io(format!("write {}", self.part.display()), &error))
        };
        let ended = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    file.write_all(&chunk).await.map_err(wrong)?;
                    self.counted += chunk.len() as u64;
                    self.progress.advance(chunk.len() as u64, &self.wanted.label);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(trouble(&self.wanted.url, error)),
            }
        };
        // Bytes that arrived before an interruption are kept; the next attempt resumes after them.
        file.flush().await.map_err(wrong)?;
        if ended.is_ok() {
            file.sync_all().await.map_err(wrong)?;
        }
        ended
    }

    async fn open(&self, append: bool) -> Result<File, BundleError> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(append).truncate(!append);
        options
            .open(&self.part)
            .await
            .map_err(|error| BundleError::io(format!("open {}", self.part.display()), &error))
    }

    async fn discard(&mut self) -> Result<(), BundleError> {
        self.count_to(0);
        fs::remove_file(&self.part)
            .await
            .map_err(|error| BundleError::io(format!("delete {}", self.part.display()), &error))
    }

    /// Updates progress to what the part contains.
    fn count_to(&mut self, length: u64) {
        if length > self.counted {
            self.progress.advance(length - self.counted, &self.wanted.label);
        } else {
            self.progress.retreat(self.counted - length);
        }
        self.counted = length;
    }
}

async fn hash(path: &Path) -> Result<String, BundleError> {
    let owned = path.to_owned();
    tokio::task::spawn_blocking(move || sha256_of(&owned, |_| {}))
        .await
        .map_err(|error| BundleError::cut_short(format!("read {}", path.display()), &error))?
        .map_err(|error| BundleError::io(format!("read {}", path.display()), &error))
}

/// Returns the offset at which a partial response begins: `Content-Range: bytes 100-199/200`.
fn begins_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
