//! `etcd restore`: gives all members of etcd the data of a backup.
//!
//! The work is two playbooks with `up` between them. This file decides before the first of them
//! whether they may be run at all: what can be known beforehand is known before anything is
//! stopped.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Instant;

use time::OffsetDateTime;

use super::converge::{bring_up, converge, converge_on, start_local_nodes};
use super::etcd::{bad, failed};
use super::session::{Outcome, Working, exit_of, lab_of, limited, open, under_lock};
use super::workshop::{bundle, workshop_from};
use super::{Exit, Stop, next};
use crate::backup::{Archive, BackupError, archive, differing, misfit};
use crate::cli::{Global, Restore, Sources};
use crate::cluster::{Cluster, Role};
use crate::engine::connect::connect;
use crate::event::Event;
use crate::lab::LabDirectory;
use crate::module::file::Blob;
use crate::module::quote;
use crate::pki::{identity::Holding, store};
use crate::playbook::{Playbook, standard};
use crate::render::context;
use crate::report::{Answer, Reporter};

/// The snapshot, as the playbook calls it.
const SNAPSHOT: &str = "backup/snapshot.db";

/// What to do about a lab that is older than the backup.
const OLDER: &str = "name the backup's version, or a later one, in the inventory";

/// Restores a backup.
pub async fn restore(args: &Restore, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let inventory = args.place.lab().inventory;
    let cluster = open(&inventory, reporter)?;
    let playbooks = Playbooks::find(&args.sources)?;
    let nodes = limited(&cluster, &global.limit)?;
    let left_out: Vec<&str> = cluster
        .with_role(Role::Controller)
        .filter(|node| !nodes.iter().any(|kept| kept.name == node.name))
        .map(|node| node.name.as_str())
        .collect();
    if !left_out.is_empty() {
        return Err(Stop::bad(format!(
            "--limit leaves out {}, and members of etcd are restored together",
            left_out.join(", ")
        ))
        .help(
            "leave out other nodes than controllers, or take a controller that is gone out of \
            the inventory",
        ));
    }
    let backup = archive::read(args.place.file(), &mut io::sink()).map_err(bad)?;
    if backup.manifest.lab != cluster.name && !args.force {
        let what = format!(
            "this is a backup of the lab {}, and not of {}",
            backup.manifest.lab, cluster.name
        );
        return Err(Stop::bad(what)
            .help("add --force to give this lab the data and the certificates of the other"));
    }
    // The etcd of the lab's bundle is asked about later: the bundle may have to be fetched first.
    if let Some(why) = misfit(&backup.manifest, cluster.kubernetes, None) {
        return Err(Stop::bad(why).help(OLDER));
    }
    let kept = archive::read_pki(&lab_of(&cluster).pki()).map_err(bad)?;
    let differing = differing(&kept, &backup.pki);
    let id = stamp(OffsetDateTime::now_utc());
    let pki = match (kept.is_empty(), differing.is_empty()) {
        (_, true) => Certificates::Same,
        (true, false) => Certificates::None,
        (false, false) => Certificates::Other(format!("pki.before-restore-{id}")),
    };
    if !global.yes {
        ask(&cluster, &backup, &pki, &differing, reporter)?;
    }
    let work = Work { args, cluster: &cluster, backup, pki, id, playbooks };
    let report =
        under_lock("etcd restore", &cluster, global, reporter, |working| work.run(global, working))
            .await?;
    let then = if report.ok() {
        vec![format!("labctl smoke {}", inventory.display())]
    } else {
        let verb = format!("etcd restore {}", quote(&inventory.display().to_string()));
        vec![next::again(&verb, args.place.file(), &args.sources, global)]
    };
    reporter.close(&report, &then);
    Ok(exit_of(&report))
}

/// What becomes of the lab directory's certificates and keys.
enum Certificates {
    /// They are those that the backup's data was written with.
    Same,
    /// There are none: the backup's are taken.
    None,
    /// They are others: the backup's take their place, and they are kept under this name.
    Other(String),
}

struct Playbooks {
    restore: Playbook,
    up: Playbook,
    restored: Playbook,
}

impl Playbooks {
    fn find(sources: &Sources) -> Result<Self, Stop> {
        let find = |name| standard::find(name, sources.playbooks.as_deref()).map_err(Stop::bad);
        Ok(Self { restore: find("restore")?, up: find("up")?, restored: find("restored")? })
    }
}

/// Says what will be lost, and goes on only when somebody wants that.
fn ask(
    cluster: &Cluster,
    backup: &Archive,
    pki: &Certificates,
    differing: &[&str],
    reporter: &Reporter,
) -> Result<(), Stop> {
    let manifest = &backup.manifest;
    let keys = match pki {
        Certificates::Same => String::new(),
        Certificates::None => {
            "The lab directory has no certificates and keys, so the backup's are taken. ".to_owned()
        }
        Certificates::Other(kept) => format!(
            "The backup's data can only be read with its own certificates and keys, and the lab's \
            are others ({}): the \
             backup's take their place everywhere, and the lab's are kept in {kept}. ",
            differing.join(", ")
        ),
    };
    let question = format!(
        "{keys}Give etcd of the lab {} the data of {} (revision {}, {} keys)? All that was \
        written since is lost.",
        cluster.name, manifest.created, manifest.revision, manifest.keys
    );
    match reporter.confirm(&question).map_err(Stop::failed)? {
        Answer::Yes => Ok(()),
        Answer::No => Err(Stop::silent(Exit::Cancelled)),
        Answer::Nobody => Err(Stop::bad(
            "nobody is there to answer whether etcd's data may be replaced: this is no terminal",
        )
        .help("add --yes to restore without being asked")),
    }
}

struct Work<'a> {
    args: &'a Restore,
    cluster: &'a Cluster,
    backup: Archive,
    pki: Certificates,
    id: String,
    playbooks: Playbooks,
}

impl Work<'_> {
    async fn run(self, global: &Global, working: Working) -> Result<Outcome, Stop> {
        let (cluster, sources) = (self.cluster, &self.args.sources);
        let events = working.events.clone();
        let bundle = bundle(cluster, &events).await?;
        let etcd = bundle.file("etcd").ok().map(|file| file.version.as_str());
        if let Some(why) = misfit(&self.backup.manifest, cluster.kubernetes, etcd) {
            return Err(Stop::bad(why).help(OLDER));
        }
        let staged = Staged::new(&self)?;
        // Whatever is wrong with templates, playbooks or certificates is found now, while
        // everything still runs.
        let workshop = workshop_from(&staged.certificates, cluster, bundle, sources)?;
        workshop.expand(&self.playbooks.up, cluster)?;
        let restored = workshop.expand(&self.playbooks.restored, cluster)?;
        let (restore, snapshot) = self.snapshot(&staged);
        let restoring =
            workshop.handing(restore, snapshot).expand(&self.playbooks.restore, cluster)?;

        start_local_nodes(cluster, &events).await?;
        let Some(global) = self.reachable(global, &working).await? else {
            return Ok(Outcome::default());
        };
        let (step, started) = ("restore".to_owned(), Instant::now());
        let nodes = limited(cluster, &global.limit)?;
        let whose = self.whose(&staged)?;
        let mut outcome =
            converge_on(cluster, &nodes, restoring, &working.run, whose, |_| Ok(())).await?;
        if !outcome.ok || working.run.is_cancelled() {
            return Ok(outcome);
        }
        self.exchange_certificates(&staged)?;
        if let Certificates::Other(kept) = &self.pki {
            let kept = lab_of(cluster).pki().with_file_name(kept);
            let message = format!(
                "the backup's certificates and keys have taken the place of the lab's, which are \
                kept in {}",
                kept.display()
            );
            events.emit(Event::Warning { node: None, message });
        }
        drop(staged);
        let up = bring_up(cluster, &self.playbooks.up, sources, &global, working.clone()).await?;
        outcome = after(outcome, up);
        if !outcome.ok || working.run.is_cancelled() {
            return Ok(outcome);
        }
        outcome = after(outcome, converge(cluster, restored, &global, &working.run).await?);
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

    /// Whose the nodes must be: the backup's where the lab directory has no keys, else the lab's.
    fn whose(&self, staged: &Staged) -> Result<Option<Holding>, Stop> {
        match self.pki {
            Certificates::None => {
                store::holding(self.cluster, &staged.certificates).map(Some).map_err(Stop::failed)
            }
            Certificates::Same | Certificates::Other(_) => Ok(None),
        }
    }

    /// What the playbook is told of the snapshot, and the snapshot itself.
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

    /// The same options, for the nodes that can be reached; `None` when a controller cannot, which
    /// was told.
    async fn reachable(&self, global: &Global, working: &Working) -> Result<Option<Global>, Stop> {
        let nodes = limited(self.cluster, &global.limit)?;
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
            let message = "left out, because it cannot be reached: run `labctl up` once it is back"
                .to_owned();
            working.events.emit(Event::Warning { node: Some(node.name.clone()), message });
        }
        let limit: BTreeSet<&str> = there.iter().map(|node| node.name.as_str()).collect();
        let limit = if gone.is_empty() {
            global.limit.clone()
        } else {
            limit.into_iter().map(str::to_owned).collect()
        };
        Ok(Some(Global { limit, ..global.clone() }))
    }

    /// Puts the backup's certificates and keys in the place of the lab's. Cut off in between, the
    /// lab has none, and the next run takes the backup's.
    fn exchange_certificates(&self, staged: &Staged) -> Result<(), Stop> {
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
            // An empty folder, which cannot be renamed over on every file system.
            fs::remove_dir_all(&pki).map_err(|cause| {
                failed(BackupError::Io { doing: "remove", path: pki.clone(), cause })
            })?;
        }
        rename(staged.certificates.pki(), pki.clone())?;
        lab.sync_names([pki.as_path()])
            .map_err(|(path, cause)| failed(BackupError::Io { doing: "sync", path, cause }))?;
        // The nodes' keys are older from here on, whichever were made first.
        store::remember(&holding()?.renewed(), &lab).map_err(Stop::failed)
    }
}

/// What is unpacked of the backup while it is restored, in a folder of the lab directory that goes
/// with it.
struct Staged {
    folder: PathBuf,
    /// Where the certificates are that the lab will have.
    certificates: LabDirectory,
}

impl Staged {
    fn new(work: &Work<'_>) -> Result<Self, Stop> {
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
        let again = archive::read(work.args.place.file(), &mut file).map_err(bad)?;
        if again != work.backup {
            return Err(Stop::bad(format!(
                "{} has changed in the meantime",
                work.args.place.file().display()
            ))
            .help("look at what writes there, and run the same again"));
        }
        if !matches!(work.pki, Certificates::Same) {
            for (name, bytes) in &work.backup.pki {
                let path = own.pki().join(name);
                own.write_private(&path, bytes).map_err(io("write", &path))?;
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

/// What two parts of a run came to together.
fn after(mut first: Outcome, second: Outcome) -> Outcome {
    first.ok &= second.ok;
    first.applied.ok &= second.applied.ok;
    for (node, changed) in second.applied.changed {
        *first.applied.changed.entry(node).or_default() += changed;
    }
    for (node, unchanged) in second.unchanged {
        *first.unchanged.entry(node).or_default() += unchanged;
    }
    first.applied.failed.extend(second.applied.failed);
    first.connections = second.connections;
    first
}

/// A moment, as part of a file's name.
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
