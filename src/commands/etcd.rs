//! `etcd backup`: etcd's data, the certificates and keys, and the inventory, in one file.

use std::io::Seek;
use std::path::Path;
use std::time::Instant;

use sha2::Digest;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::converge::connected_must_be_ours;
use super::session::{Outcome, Working, exit_of, lab_of, limited, open, under_lock};
use super::{Exit, Stop};
use crate::backup::{Archive, BackupError, ESSENTIAL, FORMAT, Manifest, archive, snapshot};
use crate::cli::{Backup, Global};
use crate::cluster::{Cluster, Role};
use crate::engine::{connect::connect, fetch::fetch};
use crate::event::{Event, Failure};
use crate::report::Reporter;

/// Writes a backup.
pub async fn backup(args: &Backup, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let (inventory, file) = (args.place.lab().inventory, args.place.file());
    let cluster = open(&inventory, reporter)?;
    archive::check_place(file, args.force).map_err(bad)?;
    let text = std::fs::read(&inventory).map_err(|cause| {
        failed(BackupError::Io { doing: "read", path: inventory.clone(), cause })
    })?;
    let report = under_lock("etcd backup", &cluster, global, reporter, |working| {
        take(&cluster, text, file, global, working)
    })
    .await?;
    let (inventory, file) = (inventory.display(), file.display());
    let next = if report.ok() {
        vec![format!("labctl etcd restore {inventory} {file}")]
    } else {
        vec![format!("labctl smoke {inventory}")]
    };
    reporter.close(&report, &next);
    Ok(exit_of(&report))
}

/// Has the first healthy controller make a snapshot, and writes all into `file`.
async fn take(
    cluster: &Cluster,
    inventory: Vec<u8>,
    file: &Path,
    global: &Global,
    working: Working,
) -> Result<Outcome, Stop> {
    let (run, events) = (working.run, working.events);
    let folder = lab_of(cluster).pki();
    let pki = archive::read_pki(&folder).map_err(failed)?;
    if let Some(name) = ESSENTIAL.into_iter().find(|name| !pki.contains_key(*name)) {
        let what = format!(
            "{} is missing, and nobody could use a backup without it",
            folder.join(name).display()
        );
        return Err(Stop::failed(what).help("`labctl recover` reads it back from a controller"));
    }
    let controllers: Vec<_> =
        limited(cluster, &global.limit)?.into_iter().filter(|n| n.has(Role::Controller)).collect();
    if controllers.is_empty() {
        return Err(Stop::bad(
            "a snapshot of etcd is taken on a controller, and --limit leaves none",
        ));
    }
    let mut outcome = Outcome::default();
    let mut taken = None;
    // One after the other: one snapshot is enough, and the first controller that is well will do.
    for node in controllers {
        let (step, started) = (format!("snapshot on {}", node.name), Instant::now());
        let connections = connect(cluster, &[node], &run).await;
        let Some(transport) = connections.get(&node.name) else {
            outcome.applied.failed.insert(node.name.clone(), "connect".to_owned());
            continue;
        };
        // Data of one lab with the keys of another is a backup of neither.
        connected_must_be_ours(cluster, &connections, &run).await?;
        events.emit(Event::StepStarted { step: step.clone() });
        let scratch = archive::scratch(file).map_err(failed)?;
        let sink = scratch.try_clone().map_err(|cause| {
            failed(BackupError::Io { doing: "write", path: file.to_owned(), cause })
        })?;
        let fetched = fetch(transport, snapshot::SCRIPT, sink, &run).await;
        if run.is_cancelled() {
            return Ok(outcome);
        }
        outcome.connections.extend(connections.clone());
        let why = match fetched {
            Err(error) => error.to_string(),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let whole = if output.code == 0 {
                    snapshot::parse(&said)
                } else {
                    Err(snapshot::complaint(&said))
                };
                match whole.and_then(|facts| arrived(&facts, &scratch).map(|()| facts)) {
                    Ok(facts) => {
                        let detail = format!(
                            "revision {}, {} keys, {}",
                            facts.revision,
                            facts.keys,
                            megabytes(facts.size)
                        );
                        events.emit(Event::StepEnded {
                            step,
                            detail,
                            changed: false,
                            took: started.elapsed(),
                        });
                        taken = Some((node, facts, scratch));
                        break;
                    }
                    Err(why) => why,
                }
            }
        };
        outcome.applied.failed.insert(node.name.clone(), "snapshot".to_owned());
        events.emit(Event::TaskFailed(Failure {
            node: node.name.clone(),
            play: String::new(),
            task: "take a snapshot of etcd".to_owned(),
            command: None,
            code: None,
            reason: why,
            stderr: Vec::new(),
            journal: Vec::new(),
            help: None,
        }));
    }
    let Some((node, facts, mut scratch)) = taken else { return Ok(outcome) };
    let (step, started) = ("backup".to_owned(), Instant::now());
    events.emit(Event::StepStarted { step: step.clone() });
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let archive = Archive {
        manifest: Manifest {
            format: FORMAT,
            labctl: env!("CARGO_PKG_VERSION").to_owned(),
            lab: cluster.name.clone(),
            created: now.format(&Rfc3339).map_err(Stop::failed)?,
            kubernetes: cluster.kubernetes.to_string(),
            etcd: facts.etcd,
            node: node.name.clone(),
            members: facts.members,
            hash: facts.hash,
            revision: facts.revision,
            keys: facts.keys,
            size: facts.size,
        },
        inventory,
        pki,
        snapshot_sha256: facts.sha256,
    };
    let created = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let length = archive::write(file, &archive, &mut scratch, created).map_err(failed)?;
    let detail = format!(
        "{}: {}, with the certificates and the inventory",
        file.display(),
        megabytes(length)
    );
    events.emit(Event::StepEnded { step, detail, changed: true, took: started.elapsed() });
    outcome.ok = true;
    Ok(outcome)
}

/// Whether the snapshot that is in `file` is the one that was sent.
fn arrived(facts: &snapshot::Taken, file: &std::fs::File) -> Result<(), String> {
    let mut file = file;
    let mut hasher = sha2::Sha256::new();
    let read = file.rewind().and_then(|()| std::io::copy(&mut file, &mut HashWriter(&mut hasher)));
    let length = read.map_err(|error| format!("the snapshot cannot be read back: {error}"))?;
    if length == facts.size && hex::encode(hasher.finalize()) == facts.sha256 {
        return Ok(());
    }
    Err(format!("{length} of {} bytes arrived, and not as they were sent", facts.size))
}

struct HashWriter<'a>(&'a mut sha2::Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A length as a person reads it.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A backup that cannot be used: nothing was done.
pub(super) fn bad(error: BackupError) -> Stop {
    let help = error.help();
    Stop::bad(error).help(help)
}

/// A backup that could not be written or read while something was being done.
pub(super) fn failed(error: BackupError) -> Stop {
    let help = error.help();
    Stop::failed(error).help(help)
}
