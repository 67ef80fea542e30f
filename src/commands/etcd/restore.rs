//! `etcd restore`: restores a backup on all members of etcd.
//!
//! A restore is two playbooks with `up` between them. Before the first of them, this file checks
//! everything that can be checked, because after that etcd is stopped.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem::discriminant;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use time::OffsetDateTime;

use super::{bad, failed};
use crate::backup::{Archive, BackupError, archive, differing, misfit, unpack};
use crate::cluster::{Cluster, Node, Role};
use crate::commands::bring_up::{bring_up, start_local_nodes};
use crate::commands::converge::{converge, converge_on};
use crate::commands::exit::{Exit, Stop};
use crate::commands::inputs::{Inputs, bundle};
use crate::commands::named::limited;
use crate::commands::next;
use crate::commands::options::Options;
use crate::commands::runbook::Runbook;
use crate::commands::session::{
    Outcome, Working, confirm, exit_of, lab_of, open_to_use, under_lock,
};
use crate::engine::connect::connect;
use crate::event::{Event, Events};
use crate::lab::LabDirectory;
use crate::module::file::Blob;
use crate::pki::{identity::Holding, store};
use crate::playbook::Playbook;
use crate::render::context;
use crate::report::Reporter;

/// The snapshot's name in the playbook.
const SNAPSHOT: &str = "backup/snapshot.db";

/// Help for a lab that is older than the backup.
const OLDER: &str = "set the backup's version, or a later one, in the inventory";

/// Restores a backup.
pub async fn restore(
    file: &Path,
    force: bool,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let playbooks = RestorePlaybooks::find(&cluster, options)?;
    let nodes = limited(&cluster, &options.limit)?;
    let left_out: Vec<&str> = cluster
        .with_role(Role::Controller)
        .filter(|node| !nodes.iter().any(|kept| kept.name == node.name))
        .map(|node| node.name.as_str())
        .collect();
    if !left_out.is_empty() {
        return Err(Stop::bad(format!(
            "--limit leaves out {}, but all members of etcd are restored together",
            left_out.join(", ")
        ))
        .help(
            "leave out only nodes that are not controllers, or remove a lost controller from \
            the inventory",
        ));
    }
    let backup = unpack::read(file, &mut io::sink()).map_err(bad)?;
    if backup.manifest.lab != cluster.name && !force {
        let what =
            format!("this is a backup of the lab {}, not of {}", backup.manifest.lab, cluster.name);
        return Err(Stop::bad(what)
            .help("add --force to give this lab the data and the certificates of the other"));
    }
    // The etcd of the lab's bundle is asked about later: the bundle may have to be fetched first.
    if let Some(why) = misfit(&backup.manifest, cluster.kubernetes, None) {
        return Err(Stop::bad(why).help(OLDER));
    }
    let id = stamp(OffsetDateTime::now_utc());
    let (pki, differing) = Certificates::of(&cluster, &backup, &id)?;
    let question = question(&cluster, &backup, &pki, &differing);
    confirm(options, &question, "restore without being asked", reporter)?;
    let work = Restoration { file, cluster: &cluster, backup, pki, id, playbooks };
    let report = under_lock("etcd restore", &cluster, options, reporter, |working| {
        work.run(options, working)
    })
    .await?;
    let then = if report.ok() {
        next::command("smoke", options)
    } else {
        next::command_with("etcd restore", options, &[&file.display().to_string()])
    };
    reporter.close(&report, &[then]);
    Ok(exit_of(&report))
}

/// What happens to the certificates and keys in the lab directory.
enum Certificates {
    /// They are the ones in the backup.
    Same,
    /// There are none; the backup's are used.
    None,
    /// They differ from the backup's, which replace them; the old ones are kept under this name.
    Other(String),
}

impl Certificates {
    /// What happens to them, and which differ.
    fn of<'a>(
        cluster: &Cluster,
        backup: &'a Archive,
        id: &str,
    ) -> Result<(Self, Vec<&'a str>), Stop> {
        let kept = archive::read_pki(&lab_of(cluster).pki()).map_err(bad)?;
        let differing = differing(&kept, &backup.pki);
        let pki = match (kept.is_empty(), differing.is_empty()) {
            (_, true) => Self::Same,
            (true, false) => Self::None,
            (false, false) => Self::Other(format!("pki.before-restore-{id}")),
        };
        Ok((pki, differing))
    }
}

struct RestorePlaybooks {
    restore: Playbook,
    up: Playbook,
    restored: Playbook,
}

impl RestorePlaybooks {
    fn find(cluster: &Cluster, options: &Options) -> Result<Self, Stop> {
        let find = |name| options.playbook(name, cluster);
        Ok(Self { restore: find("restore")?, up: find("up")?, restored: find("restored")? })
    }
}

/// What is asked before anything is stopped: what will be lost.
fn question(cluster: &Cluster, backup: &Archive, pki: &Certificates, differing: &[&str]) -> String {
    let manifest = &backup.manifest;
    let keys = match pki {
        Certificates::Same => String::new(),
        Certificates::None => {
            "The lab directory has no certificates and keys, so the backup's are used. ".to_owned()
        }
        Certificates::Other(kept) => format!(
            "The backup's data can only be read with its own certificates and keys, and the lab's \
            are others ({}): the \
             backup's replace them everywhere, and the lab's are kept in {kept}. ",
            differing.join(", ")
        ),
    };
    format!(
        "{keys}Replace the data of etcd in the lab {} by {} (revision {}, {} keys)? Everything \
        written since is lost.",
        cluster.name, manifest.created, manifest.revision, manifest.keys
    )
}

struct Restoration<'a> {
    file: &'a Path,
    cluster: &'a Cluster,
    backup: Archive,
    pki: Certificates,
    id: String,
    playbooks: RestorePlaybooks,
}

impl Restoration<'_> {
    async fn run(self, options: &Options, working: Working) -> Result<Outcome, Stop> {
        let cluster = self.cluster;
        // Another run may have ended while the question stood open.
        let (now, _) = Certificates::of(cluster, &self.backup, &self.id)?;
        if discriminant(&now) != discriminant(&self.pki) {
            return Err(Stop::failed("the lab's certificates and keys have just been changed")
                .help("run the same command again: it asks about those that are there now"));
        }
        let events = working.events.clone();
        let bundle = bundle(cluster, &events).await?;
        let etcd = bundle.file("etcd").ok().map(|file| file.version.as_str());
        if let Some(why) = misfit(&self.backup.manifest, cluster.kubernetes, etcd) {
            return Err(Stop::bad(why).help(OLDER));
        }
        let staged = Staged::new(&self)?;
        // Find errors in templates, playbooks or certificates now, while everything is still
        // running.
        let inputs =
            Inputs::new(cluster, options)?.with_certificates_of(&staged.certificates, bundle)?;
        inputs.expand(&self.playbooks.up)?;
        let restored = Runbook::new(inputs.clone(), &self.playbooks.restored, cluster)?;
        let (restore, snapshot) = self.snapshot(&staged);
        let inputs = inputs.handing(restore, snapshot);
        let restoring = Runbook::new(inputs, &self.playbooks.restore, cluster)?;

        start_local_nodes(cluster, &events).await?;
        let Some(options) = self.reachable(options, &working).await? else {
            return Ok(Outcome::default());
        };
        let (step, started) = ("restore".to_owned(), Instant::now());
        let nodes = limited(cluster, &options.limit)?;
        let whose = self.whose(&staged)?;
        // The backup's certificates are the lab's later: until then nodes are marked with its own.
        let own = |_: &[&Node], _| store::holding(cluster, &lab_of(cluster)).map_err(Stop::failed);
        let mut outcome = converge_on(cluster, &nodes, restoring, &working.run, whose, own).await?;
        if !outcome.ok || working.run.is_cancelled() {
            return Ok(outcome);
        }
        self.exchange_certificates(&staged, &events)?;
        drop(staged);
        let up = bring_up(cluster, &self.playbooks.up, &options, working.clone()).await?;
        outcome.and(up);
        if !outcome.ok || working.run.is_cancelled() {
            return Ok(outcome);
        }
        outcome.and(converge(cluster, restored, &options, &working.run).await?);
        let manifest = &self.backup.manifest;
        let members = cluster.with_role(Role::Controller).count();
        let detail = format!(
            "{} keys as of {} (revision {}), on {members} {}",
            manifest.keys,
            manifest.created,
            manifest.revision,
            if members == 1 { "member" } else { "members" }
        );
        events.emit(Event::StepEnded { step, detail, changed: true, took: started.elapsed() });
        Ok(outcome)
    }

    /// Returns the keys that the nodes must have: the backup's if the lab directory has none, else
    /// the lab's.
    fn whose(&self, staged: &Staged) -> Result<Option<Holding>, Stop> {
        match self.pki {
            Certificates::None => {
                store::holding(self.cluster, &staged.certificates).map(Some).map_err(Stop::failed)
            }
            Certificates::Same | Certificates::Other(_) => Ok(None),
        }
    }

    /// Returns the snapshot's metadata for the playbook, and the snapshot itself.
    fn snapshot(&self, staged: &Staged) -> (context::Restore, Blob) {
        let manifest = &self.backup.manifest;
        let sha256 = self.backup.snapshot_sha256.clone();
        let restore = context::Restore {
            id: self.id.clone(),
            hash: manifest.hash,
            revision: manifest.revision,
            keys: manifest.keys,
            size: manifest.size,
            sha256: sha256.clone(),
        };
        (
            restore,
            Blob {
                sha256,
                size: manifest.size,
                source: staged.snapshot(),
                name: SNAPSHOT.to_owned(),
            },
        )
    }

    /// Returns the options limited to the nodes that can be reached; `None` if a controller cannot,
    /// which is reported.
    async fn reachable(
        &self,
        options: &Options,
        working: &Working,
    ) -> Result<Option<Options>, Stop> {
        let nodes = limited(self.cluster, &options.limit)?;
        let connections = connect(self.cluster, &nodes, &working.run).await;
        let (there, gone): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|node| connections.contains_key(&node.name));
        let controllers: Vec<&str> = gone
            .iter()
            .filter(|node| node.has(Role::Controller))
            .map(|node| node.name.as_str())
            .collect();
        if !controllers.is_empty() {
            let message = format!(
                "nothing was stopped: members of etcd are restored together, and {} cannot be \
                reached; a controller that \
                 is gone for good has to be taken out of the inventory first",
                controllers.join(", ")
            );
            working.events.emit(Event::Warning { node: None, message });
            return Ok(None);
        }
        for node in &gone {
            let up = next::command("up", options);
            let message =
                format!("skipped, because it cannot be reached: run `{up}` once it is back");
            working.events.emit(Event::Warning { node: Some(node.name.clone()), message });
        }
        let limit: BTreeSet<&str> = there.iter().map(|node| node.name.as_str()).collect();
        let limit = if gone.is_empty() {
            options.limit.clone()
        } else {
            limit.into_iter().map(str::to_owned).collect()
        };
        Ok(Some(Options { limit, ..options.clone() }))
    }

    /// Replaces the lab's certificates and keys by the backup's. After an interruption the lab has
    /// none, and the next run uses the backup's.
    fn exchange_certificates(&self, staged: &Staged, events: &Events) -> Result<(), Stop> {
        let lab = lab_of(self.cluster);
        let pki = lab.pki();
        let holding = || store::holding(self.cluster, &lab).map_err(Stop::failed);
        store::remember(&holding()?, &lab).map_err(Stop::failed)?;
        let rename = |from: PathBuf, to: PathBuf| {
            fs::rename(&from, &to)
                .map_err(|cause| failed(BackupError::Io { doing: "rename", path: from, cause }))
        };
        match &self.pki {
            Certificates::Same => return Ok(()),
            Certificates::None => {}
            Certificates::Other(kept) => rename(pki.clone(), pki.with_file_name(kept))?,
        }
        if pki.exists() {
            // Not every file system can rename over an empty directory.
            fs::remove_dir_all(&pki).map_err(|cause| {
                failed(BackupError::Io { doing: "remove", path: pki.clone(), cause })
            })?;
        }
        rename(staged.certificates.pki(), pki.clone())?;
        lab.sync_names([pki.as_path()])
            .map_err(|(path, cause)| failed(BackupError::Io { doing: "sync", path, cause }))?;
        // From here on the nodes' keys are the older ones, whichever were created first.
        store::remember(&holding()?.renewed(), &lab).map_err(Stop::failed)?;
        if let Certificates::Other(kept) = &self.pki {
            let message = format!(
                "the backup's certificates and keys have replaced the lab's, which are \
                kept in {}",
                pki.with_file_name(kept).display()
            );
            events.emit(Event::Warning { node: None, message });
        }
        Ok(())
    }
}

/// The unpacked backup, in a temporary directory inside the lab directory.
struct Staged {
    folder: PathBuf,
    /// The certificates that the lab will have.
    certificates: LabDirectory,
}

impl Staged {
    fn new(work: &Restoration<'_>) -> Result<Self, Stop> {
        let lab = lab_of(work.cluster);
        let folder = lab.root().join("restore");
        let io = |doing, path: &PathBuf| {
            let path = path.clone();
            move |cause| failed(BackupError::Io { doing, path, cause })
        };
        match fs::remove_dir_all(&folder) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(io("remove", &folder)(cause));
            }
            _ => {}
        }
        lab.make_folder(&folder).map_err(io("make", &folder))?;
        let own = LabDirectory::new(&folder);
        let mut staged = Self { folder, certificates: lab };
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(staged.snapshot());
        let mut file = file.map_err(io("write", &staged.snapshot()))?;
        let again = unpack::read(work.file, &mut file).map_err(bad)?;
        if again != work.backup {
            return Err(Stop::bad(format!("{} has changed in the meantime", work.file.display()))
                .help("find out what writes there, then run the same command again"));
        }
        if !matches!(work.pki, Certificates::Same) {
            for (name, file) in &work.backup.pki {
                let path = own.pki().join(name);
                own.write_private(&path, file.expose()).map_err(io("write", &path))?;
            }
            staged.certificates = own;
        }
        Ok(staged)
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshot.db")
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Formats a time for a file name.
fn stamp(moment: OffsetDateTime) -> String {
    let (date, time) = (moment.date(), moment.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}
