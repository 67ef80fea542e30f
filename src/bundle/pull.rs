//! Pulls the official releases into a new bundle, or completes one.
//!
//! Checksums and manifests are downloaded first: they are small, they determine the total size, and
//! a version that does not exist is reported before a gigabyte is downloaded. The lock is written
//! last. A pull that is killed at any moment resumes when run again; a pull of a complete bundle
//! sends no requests.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::download::{Downloads, RemoteFile};
use super::http::Http;
use super::images::{self, RegistryImage};
use super::lock::{self, Lock, LockedFile};
use super::place::Placer;
use super::progress::Progress;
use super::releases::{self, Artefact, ImageRelease, Releases, Sources};
use super::{Bundle, BundleError, STEP};
use crate::cluster::{Cluster, Version};
use crate::event::{Event, Events};

/// Pause between checks whether another labctl has released the cache.
const TURN: Duration = Duration::from_millis(200);

/// An artefact with its checksum.
#[derive(Debug, Clone)]
struct Checked {
    artefact: Artefact,
    wanted: RemoteFile,
}

/// What one pull works with; its tasks share it.
#[derive(Debug)]
struct Pull {
    sources: Sources,
    architecture: String,
    downloads: Downloads,
    progress: Progress,
    placer: Placer,
}

/// Returns the bundle of a cluster: in the inventory's directory, or pulled into the cache.
///
/// # Errors
/// If the directory is not a complete bundle of the cluster's version, or the releases cannot be
/// pulled.
pub async fn for_cluster(
    cluster: &Cluster,
    cache: &Path,
    events: &Events,
) -> Result<Bundle, BundleError> {
    for_cluster_from(cluster, host_architecture(), cache, &Sources::official(), events).await
}

/// Like [`for_cluster`], for nodes of a given architecture and with other sources.
///
/// # Errors
/// Same as [`for_cluster`].
pub async fn for_cluster_from(
    cluster: &Cluster,
    architecture: &str,
    cache: &Path,
    sources: &Sources,
    events: &Events,
) -> Result<Bundle, BundleError> {
    let Some(folder) = &cluster.bundle else {
        let folder = official_folder(cache, cluster.kubernetes, architecture);
        return pull(cluster.kubernetes, architecture, &folder, cache, sources, events).await;
    };
    let started = Instant::now();
    events.emit(Event::StepStarted { step: STEP.into() });
    let folder = Bundle::folder_of(folder, cluster.kubernetes);
    let bundle = blocking("open the bundle", move || Bundle::open(&folder)).await?;
    if bundle.kubernetes != cluster.kubernetes {
        let (folder, wanted) = (bundle.folder, cluster.kubernetes);
        return Err(BundleError::OtherVersion { folder, bundle: bundle.kubernetes, wanted });
    }
    tell_end(&bundle, false, started, events);
    Ok(bundle)
}

/// Downloads the official releases for `version` into `folder`, through the cache in `cache`.
///
/// A complete directory is left alone. Missing files of a bundle are downloaded in the versions
/// that its lock records, and must have the recorded content.
///
/// # Errors
/// If labctl knows no releases, the directory contains another version's bundle, a download fails
/// or does not match its checksum, or the disk is full. What was downloaded so far stays in the
/// cache.
pub async fn pull(
    version: Version,
    architecture: &str,
    folder: &Path,
    cache: &Path,
    sources: &Sources,
    events: &Events,
) -> Result<Bundle, BundleError> {
    let started = Instant::now();
    events.emit(Event::StepStarted { step: STEP.into() });
    let folder = std::path::absolute(folder).map_err(|error| {
        BundleError::io(format!("find the bundle directory {}", folder.display()), &error)
    })?;
    std::fs::create_dir_all(cache).map_err(|error| {
        BundleError::io(format!("create the cache directory {}", cache.display()), &error)
    })?;
    let _turn = take_turn(cache, events).await?;

    let mut components = releases::components(version).ok_or_else(|| BundleError::Unsupported {
        version,
        architecture: architecture.into(),
        why: format!("labctl knows 1.{} to 1.{}", Version::OLDEST_MINOR, Version::NEWEST_MINOR),
    })?;
    let locked = lock::read(&folder)?;
    if let Some(lock) = &locked {
        fits(lock, &folder, version, architecture)?;
        components = components.or_locked(lock);
    }
    let wanted = releases::releases(version, architecture, &components, sources)?;
    let kept = present(&folder, locked.as_ref());
    let missing = without(wanted, &kept);
    if missing.artefacts.is_empty() && missing.images.is_empty() {
        let bundle = Bundle::open(&folder)?;
        tell_end(&bundle, false, started, events);
        return Ok(bundle);
    }

    let pull = Arc::new(Pull {
        sources: sources.clone(),
        architecture: architecture.into(),
        downloads: Downloads::new(Http::new(sources)?, cache)?,
        progress: Progress::new(events),
        placer: Placer::new(&folder, locked.as_ref()),
    });
    let mut files = locked.map(|lock| lock.files).unwrap_or_default();
    files.extend(pull.run(missing).await?);
    let lock = Lock { kubernetes: version, architecture: architecture.into(), files };
    lock::write(&folder, &lock)?;
    let bundle = Bundle::open(&folder)?;
    tell_end(&bundle, true, started, events);
    Ok(bundle)
}

/// Returns the directory for the official releases of a version.
pub fn official_folder(cache: &Path, version: Version, architecture: &str) -> PathBuf {
    cache.join("bundles").join(format!("official-{version}-{architecture}"))
}

/// Returns the versions whose official releases are in the cache, complete.
pub fn official_versions(cache: &Path, architecture: &str) -> Vec<Version> {
    let entries = std::fs::read_dir(cache.join("bundles")).into_iter().flatten().flatten();
    let version = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let named = name.strip_prefix("official-")?.strip_suffix(architecture)?;
        let version = named.strip_suffix('-')?.parse().ok()?;
        entry.path().join(lock::FILE_NAME).exists().then_some(version)
    };
    entries.filter_map(version).collect()
}

/// Returns the workstation's architecture in Go's terms: that of its local nodes, and the best
/// guess for all others.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Pull {
    /// Looks up everything, downloads it and places it.
    async fn run(
        self: &Arc<Self>,
        missing: Releases,
    ) -> Result<BTreeMap<String, LockedFile>, BundleError> {
        let look_ups = missing.artefacts.into_iter().map(|artefact| self.clone().look_up(artefact));
        let resolutions = missing.images.into_iter().map(|release| self.clone().resolve(release));
        let limit = self.sources.patience.parallel;
        let (artefacts, images) =
            tokio::try_join!(in_parallel(limit, look_ups), in_parallel(limit, resolutions))?;

        let mut wanted: Vec<RemoteFile> =
            artefacts.iter().map(|checked| checked.wanted.clone()).collect();
        wanted.extend(images.iter().flat_map(|(_, image)| image.wanted()));
        // Images share layers; two tasks writing the same `.part` would corrupt it.
        wanted.sort_by(|a, b| a.sha256.cmp(&b.sha256));
        wanted.dedup_by(|a, b| a.sha256 == b.sha256);
        let new = wanted.iter().filter(|wanted| !self.downloads.path_of(&wanted.sha256).exists());
        self.progress.expect(new.filter_map(|wanted| wanted.size).sum());
        // Largest first, so that only small downloads are left at the end.
        wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.size));
        in_parallel(limit, wanted.into_iter().map(|wanted| self.clone().fetch(wanted))).await?;

        let artefacts = artefacts.into_iter().map(|checked| self.clone().place(checked));
        let images =
            images.into_iter().map(|(release, image)| self.clone().place_image(release, image));
        let (artefacts, images) =
            tokio::try_join!(in_parallel(limit, artefacts), in_parallel(limit, images))?;
        Ok(artefacts.into_iter().flatten().chain(images).collect())
    }

    async fn look_up(self: Arc<Self>, artefact: Artefact) -> Result<Checked, BundleError> {
        let http = self.downloads.http();
        let sha256 = match self.sources.known_sum(&artefact.url) {
            Some(known) => known.to_owned(),
            None => self.published_sum(&artefact).await?,
        };
        let cached = self.downloads.path_of(&sha256).exists();
        let size = if cached { None } else { http.size_of(&artefact.url).await };
        let label = artefact.file_name().to_owned();
        Ok(Checked {
            wanted: RemoteFile { url: artefact.url.clone(), sha256, size, label },
            artefact,
        })
    }

    async fn published_sum(&self, artefact: &Artefact) -> Result<String, BundleError> {
        let published = self.downloads.http().small(&artefact.checksum_url, None).await?;
        artefact.checksum_in(&String::from_utf8_lossy(&published.bytes)).ok_or_else(|| {
            let why = format!(
                "there is no SHA-256 of {} in it; is this a mirror's error page?",
                artefact.file_name()
            );
            BundleError::download(&artefact.checksum_url, why)
        })
    }

    async fn resolve(
        self: Arc<Self>,
        release: ImageRelease,
    ) -> Result<(ImageRelease, RegistryImage), BundleError> {
        let image =
            images::resolve(self.downloads.http(), &self.sources, &release, &self.architecture)
                .await?;
        Ok((release, image))
    }

    async fn fetch(self: Arc<Self>, wanted: RemoteFile) -> Result<(), BundleError> {
        self.downloads.fetch(&wanted, &self.progress).await.map(|_| ())
    }

    async fn place(
        self: Arc<Self>,
        checked: Checked,
    ) -> Result<Vec<(String, LockedFile)>, BundleError> {
        blocking("place a program", move || {
            let cached = self.downloads.path_of(&checked.wanted.sha256);
            self.placer.artefact(&checked.artefact, &cached)
        })
        .await
    }

    async fn place_image(
        self: Arc<Self>,
        release: ImageRelease,
        image: RegistryImage,
    ) -> Result<(String, LockedFile), BundleError> {
        blocking("write an image archive", move || {
            let cached = |sha256: &str| self.downloads.path_of(sha256);
            self.placer.image(&release, &image.url, |draft| image.write(draft, cached))
        })
        .await
    }
}

/// Whether this pull may complete a bundle with an existing lock.
fn fits(
    lock: &Lock,
    folder: &Path,
    version: Version,
    architecture: &str,
) -> Result<(), BundleError> {
    let folder = folder.to_owned();
    if lock.kubernetes != version {
        return Err(BundleError::OtherVersion { folder, bundle: lock.kubernetes, wanted: version });
    }
    if lock.architecture != architecture {
        let (bundle, wanted) = (lock.architecture.clone(), architecture.to_owned());
        return Err(BundleError::OtherArchitecture { folder, bundle, wanted });
    }
    Ok(())
}

/// Returns the names of the lock's files that exist with the right size.
fn present(folder: &Path, lock: Option<&Lock>) -> Vec<String> {
    let Some(lock) = lock else { return Vec::new() };
    let is_there = |file: &LockedFile| {
        std::fs::metadata(folder.join(&file.path))
            .is_ok_and(|found| found.is_file() && found.len() == file.size)
    };
    lock.files.iter().filter(|(_, file)| is_there(file)).map(|(name, _)| name.clone()).collect()
}

/// Returns `releases` without the files in `kept`.
fn without(mut releases: Releases, kept: &[String]) -> Releases {
    releases
        .artefacts
        .retain(|artefact| artefact.targets().iter().any(|target| !kept.contains(&target.name)));
    releases.images.retain(|image| !kept.contains(&image.target.name));
    releases
}

/// Waits for the lock on the cache, because two pulls would write the same files. The lock is
/// released when the process exits, however it ends.
async fn take_turn(cache: &Path, events: &Events) -> Result<File, BundleError> {
    let path: PathBuf = cache.join("lock");
    let wrong = |error: &std::io::Error| {
        BundleError::io(format!("lock the cache with {}", path.display()), error)
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| wrong(&error))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(wrong(&error)),
            Err(TryLockError::WouldBlock) if told => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "another labctl is downloading into {}; waiting for it",
                    cache.display()
                );
                events.emit(Event::Warning { node: None, message });
                told = true;
            }
        }
        tokio::time::sleep(TURN).await;
    }
}

/// Runs tasks, `limit` at a time; the first error cancels the others.
async fn in_parallel<T: Send + 'static>(
    limit: usize,
    tasks: impl Iterator<Item = impl Future<Output = Result<T, BundleError>> + Send + 'static>,
) -> Result<Vec<T>, BundleError> {
    let slots = Arc::new(Semaphore::new(limit.max(1)));
    let mut running = JoinSet::new();
    for task in tasks {
        let slots = slots.clone();
        running.spawn(async move {
            let _slot = slots.acquire_owned().await;
            task.await
        });
    }
    let mut results = Vec::new();
    while let Some(ended) = running.join_next().await {
        results.push(ended.map_err(|error| BundleError::cut_short("pull the bundle", &error))??);
    }
    Ok(results)
}

/// Runs blocking work on a thread of its own.
async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, BundleError> + Send + 'static,
) -> Result<T, BundleError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BundleError::cut_short(what, &error))?
}

fn tell_end(bundle: &Bundle, changed: bool, started: Instant, events: &Events) {
    let what = if changed { "pulled" } else { "ready" };
    let detail = format!(
        "Kubernetes {} for {}: {} files {what}",
        bundle.kubernetes,
        bundle.architecture,
        bundle.files.len()
    );
    events.emit(Event::StepEnded { step: STEP.into(), detail, changed, took: started.elapsed() });
}
