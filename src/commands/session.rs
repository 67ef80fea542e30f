//! What operations have in common: opening the inventory, asking for confirmation,
//! and running with a log, a report and an ear for Ctrl-C.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::future::Future;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::ask;
use super::exit::{Exit, Stop};
use super::named::{limited, names};
use super::next;
use super::options::Options;
use super::stop::{listen_for_stop, stop_signals};
use crate::cluster::{self, Cluster, Node, Role};
use crate::engine::apply::Applied;
use crate::engine::lock::{self, RunLock};
use crate::engine::script::Turn;
use crate::engine::{Connections, Delivery, Run};
use crate::event::{Event, Events, NodeSummary, RunSummary};
use crate::inventory::{Problem, called};
use crate::lab::{LabDirectory, cache_directory};
use crate::local::LocalError;
use crate::report::{Answer, Reporter, RunLog, RunReport};

/// Reads and resolves the inventory; reports everything that is wrong with it, and warnings: for
/// operations on the inventory, and those that bring the lab to what it says.
pub fn open(path: &Path, reporter: &Reporter) -> Result<Cluster, Stop> {
    let (cluster, warnings) = resolved(path, reporter)?;
    warn(reporter, &warnings);
    Ok(cluster)
}

/// Like [`open`], but without warnings: for operations on the lab as it is.
pub fn open_to_use(path: &Path, reporter: &Reporter) -> Result<Cluster, Stop> {
    resolved(path, reporter).map(|(cluster, _)| cluster)
}

/// The cluster, and warnings; reports errors.
fn resolved(path: &Path, reporter: &Reporter) -> Result<(Cluster, Vec<Problem>), Stop> {
    let subject = called(path);
    match cluster::open(path) {
        Ok(found) => Ok(found),
        Err(problems) => {
            let (errors, warnings): (Vec<Problem>, Vec<Problem>) =
                problems.into_iter().partition(Problem::is_error);
            warn(reporter, &warnings);
            reporter.problems(&subject, &errors);
            Err(Stop::silent(Exit::Bad))
        }
    }
}

/// Prints the inventory's warnings, each with its position and what would be better.
fn warn(reporter: &Reporter, warnings: &[Problem]) {
    for warning in warnings {
        reporter.warning(&format!("{warning:#}"));
    }
}

/// Returns the lab directory of a cluster.
pub fn lab_of(cluster: &Cluster) -> LabDirectory {
    LabDirectory::new(&cluster.lab_directory)
}

/// Refuses a lab that was never brought up, because it has no certificates to renew.
pub fn must_have_a_ca(cluster: &Cluster, options: &Options) -> Result<(), Stop> {
    if lab_of(cluster).pki().join("ca.crt").exists() {
        return Ok(());
    }
    Err(Stop::failed(format!("lab {} has no CA yet", cluster.name)).help(format!(
        "`{}` makes it for a new lab; `{}` reads it back from the nodes of one that runs",
        next::command("up", options),
        next::command("recover", options)
    )))
}

/// Asks before something is destroyed, unless the answer was given with `--yes`. `consent` is what
/// that option does: "remove it without being asked".
///
/// # Errors
/// When the answer is no, or nobody can answer.
pub fn confirm(
    options: &Options,
    question: &str,
    consent: &str,
    reporter: &Reporter,
) -> Result<(), Stop> {
    if options.yes {
        return Ok(());
    }
    match reporter.confirm(question).map_err(Stop::failed)? {
        Answer::Yes => Ok(()),
        Answer::No => Err(Stop::silent(Exit::Cancelled)),
        Answer::Nobody => Err(Stop::bad("cannot ask for confirmation: stdin is not a terminal")
            .help(format!("add --yes to {consent}"))),
    }
}

/// Refuses to write over a file of another kind than `content`, as its first bytes tell: over an
/// inventory, say.
pub fn may_replace(path: &Path, content: &[u8]) -> Result<(), Stop> {
    let mut found = Vec::new();
    let regular = fs::metadata(path).is_ok_and(|it| it.is_file());
    if regular {
        let read = File::open(path).and_then(|file| file.take(2).read_to_end(&mut found));
        read.map_err(|error| Stop::failed(format!("cannot read {}: {error}", path.display())))?;
    }
    if found.is_empty() || content.starts_with(&found) {
        return Ok(());
    }
    Err(Stop::bad(format!("{} exists, and is something else", path.display()))
        .help("name another file; an earlier one of the same kind is replaced"))
}

/// Prints to stdout. A closed pipe is not an error.
pub fn print(reporter: &Reporter, text: &str) -> Result<Exit, Stop> {
    reporter.print(text).map_err(Stop::failed)?;
    Ok(Exit::Done)
}

/// What a verb's work needs.
#[derive(Clone)]
pub struct Working {
    /// The run: events, forks and cancellation.
    pub run: Run,
    /// The run's events.
    pub events: Events,
}

/// The outcome of a verb's work, for the closing table.
#[derive(Default)]
pub struct Outcome {
    /// Whether everything succeeded.
    pub ok: bool,
    /// What was applied, per node.
    pub applied: Applied,
    /// Number of unchanged tasks, per node.
    pub unchanged: BTreeMap<String, usize>,
    /// The connections, for the traffic figures.
    pub connections: Connections,
    /// Nodes that joined or left the lab.
    pub turnover: Vec<String>,
}

impl Outcome {
    /// Adds the outcome of later work.
    pub fn and(&mut self, later: Self) {
        self.ok &= later.ok;
        for (node, changed) in later.applied.changed {
            *self.applied.changed.entry(node).or_default() += changed;
        }
        self.applied.failed.extend(later.applied.failed);
        self.applied.ok &= later.applied.ok;
        for (node, unchanged) in later.unchanged {
            *self.unchanged.entry(node).or_default() += unchanged;
        }
        self.connections.extend(later.connections);
        self.turnover.extend(later.turnover);
    }

    /// Adds the outcome of a part of an operation that looks at the same tasks in every part, over
    /// new connections. Returns whether that part succeeded.
    pub fn and_part(&mut self, part: Self) -> bool {
        let ok = part.ok;
        self.unchanged.clear();
        self.connections.clear();
        self.and(part);
        self.applied.ok = self.ok;
        ok
    }
}

impl Working {
    /// Does something on the workstation and reports it as a step.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn step(
        &self,
        step: &str,
        detail: &str,
        work: impl FnOnce() -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (step, started) = (step.to_owned(), Instant::now());
        self.events.emit(Event::StepStarted { step: step.clone() });
        work()?;
        let (detail, took) = (detail.to_owned(), started.elapsed());
        self.events.emit(Event::StepEnded { step, detail, changed: true, took });
        Ok(())
    }
}

/// Runs `work` under the lab's lock, with a run log and a report. The first Ctrl-C asks it to stop,
/// the second stops at once.
///
/// # Errors
/// If the lock is held or the work returns an error. A run that ended, successfully or not, is a
/// [`RunReport`].
pub async fn under_lock<F, W>(
    verb: &str,
    cluster: &Cluster,
    options: &Options,
    reporter: &Reporter,
    work: W,
) -> Result<RunReport, Stop>
where
    W: FnOnce(Working) -> F,
    F: Future<Output = Result<Outcome, Stop>>,
{
    let nodes = limited(cluster, &options.limit)?;
    let taken_over = names(cluster, &options.take_over)?;
    let lab = lab_of(cluster);
    if verb != "down" {
        refuse_lost_nodes(cluster)?;
    }
    let _lock = lock(&lab, verb)?;
    let log = RunLog::create(&lab.runs(), SystemTime::now()).map_err(|error| {
        Stop::failed(format!("cannot write the run log in {}: {error}", lab.runs().display()))
    })?;
    let log_path = log.path().to_path_buf();
    let (events, receiver) = Events::channel();
    let telling = reporter.spawn(receiver, Some(log));
    let (cancel, cancelled) = watch::channel(false);
    let turn = turn(verb, &cluster.name, &log_path);
    let run =
        run_of(cluster, options, events.clone(), cancelled).taking_over(taken_over).known_as(turn);
    let listener = tokio::spawn(listen_for_stop(stop_signals(), cancel, events.clone()));
    events.emit(Event::RunStarted {
        verb: verb.to_owned(),
        lab: cluster.name.clone(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    });
    let started = Instant::now();
    let result = work(Working { run: run.clone(), events: events.clone() }).await;
    if let Ok(outcome) = &result {
        let cancelled = run.is_cancelled();
        events.emit(Event::RunEnded(summary(
            &nodes,
            outcome,
            cancelled,
            started.elapsed(),
            log_path,
        )));
    }
    listener.abort();
    let _ = listener.await;
    drop((run, events));
    let report = telling.await.map_err(Stop::failed)?;
    result.map(|_| report)
}

/// Takes a lab's lock; another run that finds it locked reports `doing`.
pub fn lock(lab: &LabDirectory, doing: &str) -> Result<RunLock, Stop> {
    lock::take(lab, doing).map_err(|error| {
        let help = error.help();
        Stop::failed(error).help(help)
    })
}

/// A run that only looks at a lab.
pub fn looking(options: &Options, events: Events, cancelled: watch::Receiver<bool>) -> Run {
    Run::new(events, options.forks.get(), cancelled).asking(ask::keyring()).passing_over(stopped)
}

/// A run on a lab, with all that the options say of it.
fn run_of(
    cluster: &Cluster,
    options: &Options,
    events: Events,
    cancelled: watch::Receiver<bool>,
) -> Run {
    let lab = lab_of(cluster);
    let delivery =
        Delivery::of(cluster, options.spread, &cache_directory(), |node| lab.cleared_beside(node));
    looking(options, events, cancelled).telling_new_texts(options.diff).delivering(delivery)
}

/// What nodes remember of this run as long as it has a connection to them.
fn turn(verb: &str, lab: &str, log: &Path) -> Turn {
    let began = log.file_stem().unwrap_or_default().to_string_lossy();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let at = user.map_or_else(|| host.clone(), |user| format!("{user}@{host}"));
    let process = std::process::id();
    Turn {
        run: format!("{} {process} {began}", workplace(&host, log)),
        who: format!("labctl {verb} of lab {lab}, by {at}, process {process}, since {began}"),
    }
}

/// Returns a word for the lab directory of a run's log: on this workstation, and on no other.
fn workplace(host: &str, log: &Path) -> String {
    use sha2::Digest as _;
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let place = std::path::absolute(log).unwrap_or_else(|_| log.to_path_buf());
    let place = place.parent().unwrap_or(&place).display().to_string();
    let digest = sha2::Sha256::digest(format!("{machine}\n{host}\n{place}"));
    hex::encode(&digest[..8])
}

/// Returns the local nodes that do not run: none of a lab on machines that are there already.
pub fn stopped(cluster: &Cluster) -> BTreeSet<String> {
    if cluster.local.is_none() {
        return BTreeSet::new();
    }
    let running: BTreeSet<String> = crate::local::nodes(&lab_of(cluster))
        .into_iter()
        .filter(|local| local.pid.is_some())
        .map(|local| local.name)
        .collect();
    let names = cluster.nodes.iter().map(|node| node.name.clone());
    names.filter(|name| !running.contains(name)).collect()
}

/// Refuses a lab whose local nodes are running although their directories were moved or deleted.
pub fn refuse_lost_nodes(cluster: &Cluster) -> Result<(), Stop> {
    if cluster.local.is_none() {
        return Ok(());
    }
    let lab = lab_of(cluster);
    crate::local::check_not_lost(&lab).map_err(|error| {
        let help = match &error {
            LocalError::Lost { moved: Some(moved), .. } => format!(
                "move {} back to {}; or run `labctl down` with this inventory, which removes the \
                nodes",
                moved.display(),
                lab.root().display()
            ),
            _ => {
                "`labctl down` with this inventory removes them; without the lab directory nobody \
                can log in to them"
                    .to_owned()
            }
        };
        Stop::failed(error).help(help)
    })
}

fn summary(
    nodes: &[&Node],
    outcome: &Outcome,
    cancelled: bool,
    took: Duration,
    log: std::path::PathBuf,
) -> RunSummary {
    use std::sync::atomic::Ordering::Relaxed;
    let rows = nodes.iter().map(|node| {
        let traffic = outcome.connections.get(&node.name).map(|connection| connection.traffic());
        let counted =
            |map: &BTreeMap<String, usize>| map.get(&node.name).copied().unwrap_or_default();
        NodeSummary {
            node: node.name.clone(),
            roles: node.roles.iter().map(Role::to_string).collect::<Vec<_>>().join(","),
            address: node.address.to_string(),
            changed: counted(&outcome.applied.changed),
            unchanged: counted(&outcome.unchanged),
            failed: outcome.applied.failed.get(&node.name).cloned(),
            round_trips: traffic.map_or(0, |traffic| traffic.round_trips.load(Relaxed)),
            bytes_sent: traffic.map_or(0, |traffic| traffic.bytes_sent.load(Relaxed)),
            bytes_received: traffic.map_or(0, |traffic| traffic.bytes_received.load(Relaxed)),
            turnover: outcome.turnover.contains(&node.name),
        }
    });
    RunSummary {
        ok: outcome.ok && !cancelled,
        cancelled,
        nodes: rows.collect(),
        took,
        log: Some(log),
    }
}

/// Returns the exit for a finished run.
pub fn exit_of(report: &RunReport) -> Exit {
    match (report.cancelled(), report.ok()) {
        (true, _) => Exit::Cancelled,
        (false, true) => Exit::Done,
        (false, false) => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::named::tests::cluster;

    fn report(ok: bool, cancelled: bool) -> RunReport {
        let cluster = cluster();
        let nodes: Vec<&Node> = cluster.nodes.iter().collect();
        let mut outcome = Outcome { ok, ..Outcome::default() };
        outcome.applied.changed.insert("worker-0".to_owned(), 3);
        outcome.unchanged.insert("worker-0".to_owned(), 4);
        outcome.applied.failed.insert("worker-1".to_owned(), "etcd".to_owned());
        let summary =
            summary(&nodes, &outcome, cancelled, Duration::from_secs(1), "run.jsonl".into());
        let mut report = RunReport::default();
        report.summary = Some(summary);
        report
    }

    #[test]
    fn the_exit_matches_the_outcome_of_the_run() {
        assert_eq!(exit_of(&report(true, false)), Exit::Done);
        assert_eq!(exit_of(&report(false, false)), Exit::Failed);
        assert_eq!(exit_of(&report(true, true)), Exit::Cancelled);
        assert_eq!(exit_of(&report(false, true)), Exit::Cancelled);
        // A run without an end is not a success.
        assert_eq!(exit_of(&RunReport::default()), Exit::Failed);
    }

    #[test]
    fn the_closing_table_has_a_row_for_every_node() {
        let summary = report(true, true).summary.expect("a summary");
        assert!(!summary.ok, "what was stopped is not done");
        let row = |node: &NodeSummary| {
            (node.node.clone(), node.changed, node.unchanged, node.failed.clone())
        };
        let rows: Vec<_> = summary.nodes.iter().map(row).collect();
        let expected = [
            ("worker-1".to_owned(), 0, 0, Some("etcd".to_owned())),
            ("controller-0".to_owned(), 0, 0, None),
            ("worker-0".to_owned(), 3, 4, None),
        ];
        assert_eq!(rows, expected);
        assert_eq!(
            (summary.nodes[0].roles.as_str(), summary.nodes[0].address.as_str()),
            ("worker", "192.0.2.3")
        );
    }

    #[test]
    fn a_file_is_replaced_by_one_of_its_kind_only() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("lab.yaml");
        let page = b"<!doctype html>";
        may_replace(&path, page).expect("there is none yet");
        for (text, replaced) in [("name: lab\n", false), ("", true), ("<!doctype html>\nold", true)]
        {
            fs::write(&path, text).expect("a file");
            assert_eq!(may_replace(&path, page).is_ok(), replaced, "{text}");
        }
        may_replace(Path::new("/dev/null"), page).expect("a device is no file");
    }
}
