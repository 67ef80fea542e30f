//! `etcd backup`: writes etcd's data, the certificates and keys, and the inventory to one file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek;
use std::path::Path;
use std::time::Instant;

use sha2::Digest;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{bad, failed};
use crate::backup::{Archive, BackupError, ESSENTIAL, FORMAT, Manifest, archive, snapshot};
use crate::cluster::{Cluster, Node, Role};
use crate::commands::exit::{Exit, Stop};
use crate::commands::named::limited;
use crate::commands::next;
use crate::commands::node::text::text_of;
use crate::commands::options::Options;
use crate::commands::ownership::connected_must_be_ours;
use crate::commands::session::{
    Outcome, Working, exit_of, lab_of, must_have_a_ca, open_to_use, under_lock,
};
use crate::engine::{connect::connect, fetch::fetch};
use crate::event::{Event, Failure};
use crate::report::Reporter;
use crate::secret::Secret;

/// The name of a new backup of a lab, or of what is said of it: the time makes it its own.
pub(in crate::commands) fn file_name(of: &str) -> String {
    let now = OffsetDateTime::now_utc();
    let (date, (hour, minute, second)) = (now.date(), now.to_hms());
    format!("{of}-{date}T{hour:02}-{minute:02}-{second:02}Z.backup")
}

/// Writes a backup to `file`, a new one in the current directory if none is named; with `force`, it
/// replaces an existing file.
pub async fn backup(
    file: Option<&Path>,
    force: bool,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let file = &file.map_or_else(|| file_name(&cluster.name).into(), Path::to_path_buf);
    archive::check_place(file, force).map_err(bad)?;
    must_have_a_ca(&cluster, options)?;
    let inventory = text_of(&options.inventory)?.into_bytes();
    let report = under_lock("etcd backup", &cluster, options, reporter, |working| {
        take(&cluster, inventory, file, &options.limit, working)
    })
    .await?;
    let next = if report.ok() {
        // All members are restored together, whichever the snapshot is of.
        let whole = Options { limit: Vec::new(), ..options.clone() };
        next::command_with("etcd restore", &whole, &[&file.display().to_string()])
    } else {
        next::command("smoke", options)
    };
    reporter.close(&report, &[next]);
    Ok(exit_of(&report))
}

/// A snapshot that has arrived.
struct Snapshot<'a> {
    node: &'a Node,
    facts: snapshot::Taken,
    file: File,
}

/// Takes a snapshot on the first healthy controller and writes everything to `file`.
pub(in crate::commands) async fn take(
    cluster: &Cluster,
    inventory: Vec<u8>,
    file: &Path,
    limit: &[String],
    working: Working,
) -> Result<Outcome, Stop> {
    let folder = lab_of(cluster).pki();
    let pki = archive::read_pki(&folder).map_err(failed)?;
    if let Some(name) = ESSENTIAL.into_iter().find(|name| !pki.contains_key(*name)) {
        let what = format!(
            "{} is missing, and a backup is useless without it",
            folder.join(name).display()
        );
        return Err(Stop::failed(what).help("`labctl recover` reads it back from a controller"));
    }
    let controllers: Vec<&Node> =
        limited(cluster, limit)?.into_iter().filter(|n| n.has(Role::Controller)).collect();
    if controllers.is_empty() {
        return Err(Stop::bad(
            "a snapshot of etcd needs a controller, but --limit excludes all of them",
        ));
    }
    let mut outcome = Outcome::default();
    // One by one, because the snapshot of the first healthy controller is enough.
    for node in controllers {
        let taken = snapshot_on(node, cluster, file, &working, &mut outcome).await?;
        if working.run.is_cancelled() {
            break;
        }
        if let Some(mut taken) = taken {
            let (step, started) = ("backup".to_owned(), Instant::now());
            working.events.emit(Event::StepStarted { step: step.clone() });
            let detail = write(cluster, inventory, pki, &mut taken, file)?;
            let took = started.elapsed();
            working.events.emit(Event::StepEnded { step, detail, changed: true, took });
            outcome.ok = true;
            break;
        }
    }
    Ok(outcome)
}

/// Has one controller make a snapshot and send it; none when it cannot, which is reported.
async fn snapshot_on<'a>(
    node: &'a Node,
    cluster: &Cluster,
    file: &Path,
    working: &Working,
    outcome: &mut Outcome,
) -> Result<Option<Snapshot<'a>>, Stop> {
    let Working { run, events } = working;
    let (step, started) = (format!("snapshot on {}", node.name), Instant::now());
    let connections = connect(cluster, &[node], run).await;
    let Some(transport) = connections.get(&node.name) else {
        outcome.applied.failed.insert(node.name.clone(), "connect".to_owned());
        return Ok(None);
    };
    // Data of one lab with the keys of another is not a usable backup of either.
    connected_must_be_ours(cluster, &connections, run).await?;
    events.emit(Event::StepStarted { step: step.clone() });
    let scratch = archive::scratch(file).map_err(failed)?;
    let sink = scratch.try_clone().map_err(|cause| {
        failed(BackupError::Io { doing: "write", path: file.to_owned(), cause })
    })?;
    let fetched = fetch(transport, snapshot::SCRIPT, sink, run).await;
    if run.is_cancelled() {
        return Ok(None);
    }
    outcome.connections.extend(connections.clone());
    let taken = match fetched {
        Err(error) => Err(error.to_string()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let whole = match output.code {
                0 => snapshot::parse(&said),
                _ => Err(snapshot::complaint(&said)),
            };
            whole.and_then(|facts| arrived(&facts, &scratch).map(|()| facts))
        }
    };
    match taken {
        Ok(facts) => {
            let size = megabytes(facts.size);
            let detail = format!("revision {}, {} keys, {size}", facts.revision, facts.keys);
            let took = started.elapsed();
            events.emit(Event::StepEnded { step, detail, changed: false, took });
            Ok(Some(Snapshot { node, facts, file: scratch }))
        }
        Err(why) => {
            outcome.applied.failed.insert(node.name.clone(), "snapshot".to_owned());
            events.emit(Event::TaskFailed(not_taken(node, why)));
            Ok(None)
        }
    }
}

fn not_taken(node: &Node, why: String) -> Failure {
    Failure {
        node: node.name.clone(),
        play: String::new(),
        task: "take a snapshot of etcd".to_owned(),
        command: None,
        code: None,
        reason: why,
        stderr: Vec::new(),
        journal: Vec::new(),
        help: None,
    }
}

/// Writes the archive. Returns what to report.
fn write(
    cluster: &Cluster,
    inventory: Vec<u8>,
    pki: BTreeMap<String, Secret>,
    snapshot: &mut Snapshot<'_>,
    file: &Path,
) -> Result<String, Stop> {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let facts = &snapshot.facts;
    let archive = Archive {
        manifest: Manifest {
            format: FORMAT,
            labctl: env!("CARGO_PKG_VERSION").to_owned(),
            lab: cluster.name.clone(),
            created: now.format(&Rfc3339).map_err(Stop::failed)?,
            kubernetes: cluster.kubernetes.to_string(),
            etcd: facts.etcd.clone(),
            node: snapshot.node.name.clone(),
            members: facts.members.clone(),
            hash: facts.hash,
            revision: facts.revision,
            keys: facts.keys,
            size: facts.size,
        },
        inventory,
        pki,
        snapshot_sha256: facts.sha256.clone(),
    };
    let created = u64::try_from(now.unix_timestamp()).unwrap_or_default();
    let length = archive::write(file, &archive, &mut snapshot.file, created).map_err(failed)?;
    let size = megabytes(length);
    Ok(format!("{}: {size}, with the certificates and the inventory", file.display()))
}

/// Whether the snapshot in `file` is identical to the one that was sent.
fn arrived(facts: &snapshot::Taken, file: &std::fs::File) -> Result<(), String> {
    let mut file = file;
    let mut hasher = sha2::Sha256::new();
    let read = file.rewind().and_then(|()| std::io::copy(&mut file, &mut HashWriter(&mut hasher)));
    let length = read.map_err(|error| format!("the snapshot cannot be read back: {error}"))?;
    if length == facts.size && hex::encode(hasher.finalize()) == facts.sha256 {
        return Ok(());
    }
    Err(format!("{length} of {} bytes arrived, or the checksum differs", facts.size))
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

/// Formats a size.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
