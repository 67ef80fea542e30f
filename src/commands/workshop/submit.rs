//! `workshop submit`: more clusters than one workstation should work on, cut into slices that pods
//! of another cluster work on.
//!
//! The scheduling is Kubernetes': a slice is an index of a Job, and a machine that dies in the
//! middle costs its slices a second try. Certificates and keys are made here before anything is
//! submitted, so that a pod that is lost takes none with it; from the pods come run logs, host keys
//! and what was noted of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::driver::{Driver, OFTEN};
use super::job::{SLICES, Submission, slices, too_large};
use super::outcome::{ClusterEnd, SliceOutcome};
use super::progress::{JobProgress, SliceState};
use super::seat::{Seat, seats_with};
use super::{parcel, run};
use crate::bundle::Bundle;
use crate::commands::exit::{Exit, Stop};
use crate::commands::inputs::{Inputs, ensured};
use crate::commands::kubectl;
use crate::commands::options::Options;
use crate::commands::prepared::keep;
use crate::commands::session::{lab_of, lock};
use crate::commands::stop::stops;
use crate::inventory::load;
use crate::lab::{LabDirectory, cache_directory};
use crate::pki::store;
use crate::report::Reporter;
use crate::report::workshop::SliceChange;
use crate::secret::Secret;

/// How long it may give no answer.
const SILENT: Duration = Duration::from_secs(90);
/// How often the log of a pod that has ended is asked for, when there is no answer.
const TRIES: usize = 5;
/// How long no slice may be able to start.
const STUCK: Duration = Duration::from_secs(300);

/// How a workshop is submitted.
#[derive(Debug)]
pub struct Submitted {
    /// The image of labctl, as `workshop image` writes it.
    pub image: String,
    /// The kubeconfig of the cluster that works; without, kubectl finds its own.
    pub kubeconfig: Option<PathBuf>,
    /// How many clusters are in a slice.
    pub slice: u16,
    /// How many slices to work on at once.
    pub at_once: u16,
}

/// Brings up all clusters from pods of another cluster.
pub async fn submit(how: &Submitted, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let (seats, variables) = seats_with(options, reporter)?;
    refuse_local(&seats)?;
    let inventory = place(&options.inventory).map_err(Stop::failed)?;
    let slices: Vec<_> = slices(&seats, how.slice).collect();
    // A login that does not work from there is no reason to make keys.
    for seats in &slices {
        belongings(&inventory, seats)?;
    }
    let locks = seats.iter().map(|seat| lock(&lab_of(&seat.cluster), "workshop submit"));
    let _locks: Vec<_> = locks.collect::<Result<_, _>>()?;
    let new = make_keys(&seats, options)?;
    let parcels = parcels(&inventory, &slices)?;
    if let Some(index) = too_large(&parcels) {
        let what = format!("what slice {index} takes along is larger than a Secret can be (1 MiB)");
        return Err(Stop::bad(what).help("make slices smaller: --slice 1"));
    }
    let submission = Submission {
        workshop: seats.first().map(|seat| seat.cluster.name.as_str()).unwrap_or_default(),
        image: &how.image,
        arguments: arguments(how, &inventory, options),
        variables: &variables,
        environment: environment(),
        parcels: &parcels,
        at_once: how.at_once,
    };
    let program = seats.first().map(|seat| kubectl::program(&seat.cluster));
    let driver = Driver {
        program: program.unwrap_or_else(|| "kubectl".into()),
        kubeconfig: how.kubeconfig.clone(),
        namespace: submission.namespace(),
    };
    driver.refuse_another(submission.workshop).await?;
    driver.ask_for(&submission.objects()).await?;
    reporter.note(&format!("{} slices are submitted: {}", slices.len(), driver.watching()));
    let (stop, stopped) = watch::channel(0);
    let listener = tokio::spawn(stops(stop));
    let mut following = Following { slices, driver: &driver, options, reporter, ends: Vec::new() };
    let watched = following.follow(stopped).await?;
    let ends = following.ends;
    listener.abort();
    let gave_up = match watched {
        Watched::Ended => None,
        Watched::GaveUp(why) => Some(why),
        Watched::Left(why) => {
            reporter.note(&format!(
                "the cluster continues; the same command watches it again, and `kubectl delete \
                namespace {}` ends it",
                driver.namespace
            ));
            return why.map_or(Ok(Exit::Cancelled), Err);
        }
    };
    driver.remove().await?;
    forget_unused(&seats, &new, &ends)?;
    gave_up.map_or_else(|| Ok(run::exit(&ends)), Err)
}

/// Where an inventory is: the paths in it begin at its real directory.
fn place(inventory: &Path) -> std::io::Result<PathBuf> {
    let folder = load::folder_of(inventory)?;
    Ok(inventory.file_name().map_or_else(|| folder.clone(), |name| folder.join(name)))
}

fn refuse_local(seats: &[Seat]) -> Result<(), Stop> {
    match seats.iter().find(|seat| seat.cluster.local.is_some()) {
        None => Ok(()),
        Some(seat) => {
            let what =
                format!("cluster {} has local nodes, which only this machine has", seat.number);
            Err(Stop::bad(what).help("`labctl workshop up` works on them from here"))
        }
    }
}

/// What each slice takes along.
fn parcels(inventory: &Path, slices: &[&[Seat]]) -> Result<Vec<Secret>, Stop> {
    slices.iter().map(|seats| parcel::pack(&belongings(inventory, seats)?)).collect()
}

fn belongings(inventory: &Path, seats: &[Seat]) -> Result<Vec<PathBuf>, Stop> {
    let clusters: Vec<_> = seats.iter().map(|seat| &seat.cluster).collect();
    parcel::belongings(inventory, &clusters)
}

/// Makes what is missing of certificates and keys. Returns the clusters that had none at all.
fn make_keys(seats: &[Seat], options: &Options) -> Result<BTreeSet<u16>, Stop> {
    let mut new = BTreeSet::new();
    for Seat { number, cluster } in seats {
        let lab = lab_of(cluster);
        let holding = store::holding(cluster, &lab).map_err(Stop::failed)?;
        if holding.is_empty() {
            new.insert(*number);
        }
        let issued = ensured(cluster, &lab)?;
        keep(&issued, cluster, holding)?;
        let inputs = Inputs::new(cluster, options)?;
        let inputs = inputs.with(issued.pki, Bundle::empty(cluster.kubernetes))?;
        if let Some(admin) = inputs.admin_conf() {
            lab.write_private(&lab.admin_conf(), admin.expose()).map_err(Stop::failed)?;
        }
    }
    Ok(new)
}

/// Takes away the keys that were made for clusters of which no node was touched: they may belong to
/// a lab already, whose keys `recover` finds only where there are no others.
fn forget_unused(seats: &[Seat], new: &BTreeSet<u16>, ends: &[ClusterEnd]) -> Result<(), Stop> {
    for seat in seats.iter().filter(|seat| new.contains(&seat.number)) {
        let lab = lab_of(&seat.cluster);
        let end = ends.iter().find(|end| end.number == seat.number);
        if are_unused(end, lab.roster().exists()) {
            std::fs::remove_dir_all(lab.pki()).map_err(Stop::failed)?;
            for file in [lab.admin_conf(), lab.identity()] {
                std::fs::remove_file(file).map_err(Stop::failed)?;
            }
        }
    }
    Ok(())
}

/// Whether no node can have a cluster's keys. Where it is not known how its run ended, one may.
fn are_unused(end: Option<&ClusterEnd>, has_roster: bool) -> bool {
    !has_roster && end.and_then(|end| end.exit).is_some_and(|exit| exit != 0)
}

/// What labctl is started with in a pod.
fn arguments(how: &Submitted, inventory: &Path, options: &Options) -> Vec<String> {
    let mut words: Vec<String> = ["workshop", "slice", "--from", SLICES].map(Into::into).into();
    words.extend(["--size".to_owned(), how.slice.to_string()]);
    words.extend(["--forks".to_owned(), options.forks.to_string()]);
    for node in &options.take_over {
        words.extend(["--take-over".to_owned(), node.clone()]);
    }
    words.push(inventory.display().to_string());
    words
}

/// The variables that make paths lead where they lead here.
fn environment() -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::from([("LABCTL_CACHE", cache_directory().display().to_string())]);
    if let Ok(home) = std::env::var("HOME") {
        all.insert("HOME", home);
    }
    all
}

/// Why nobody looks at a submission any more.
enum Watched {
    /// All slices have ended.
    Ended,
    /// It cannot come to an end.
    GaveUp(Stop),
    /// Its user has left, or the cluster gives no answer.
    Left(Option<Stop>),
}

/// A submission that is worked on.
struct Following<'a> {
    slices: Vec<&'a [Seat]>,
    driver: &'a Driver,
    options: &'a Options,
    reporter: &'a Reporter,
    /// How clusters have ended until now.
    ends: Vec<ClusterEnd>,
}

impl Following<'_> {
    /// Reports what happens until every slice has ended, and collects what each hands over.
    async fn follow(&mut self, mut stopped: watch::Receiver<u32>) -> Result<Watched, Stop> {
        let mut known: BTreeMap<usize, SliceState> = BTreeMap::new();
        let (mut heard, mut moving) = (Instant::now(), Instant::now());
        while known.values().filter(|it| it.is_ended()).count() < self.slices.len() {
            tokio::select! {
                () = tokio::time::sleep(OFTEN) => {}
                Ok(()) = stopped.changed() => return Ok(Watched::Left(None)),
            }
            let list = match self.driver.look().await {
                Ok(list) => list,
                // One that loses a machine may be busy with itself.
                Err(_) if heard.elapsed() < SILENT => continue,
                Err(stop) => return Ok(Watched::Left(Some(stop))),
            };
            heard = Instant::now();
            let progress = JobProgress::of(&list);
            for (index, state) in progress.slices {
                let before = known.entry(index).or_default();
                // What has been collected stays, whatever becomes of the pod.
                if *before == state || before.is_ended() {
                    continue;
                }
                let lost = before.lost_by(&state);
                before.clone_from(&state);
                if let Some(lost) = lost {
                    self.tell(index, &lost)?;
                }
                self.tell(index, &state)?;
                if let SliceState::Ended(pod) = &state {
                    self.collect(index, pod).await?;
                }
            }
            if let Some(why) = progress.failed {
                let what = format!("the cluster has given up: {why}");
                return Ok(Watched::GaveUp(Stop::failed(what)));
            }
            if known.is_empty() || !known.values().all(|it| it.is_stuck() || it.is_ended()) {
                moving = Instant::now();
            } else if moving.elapsed() > STUCK {
                let what = "no slice could start for five minutes";
                let help = "mend what is said of each above, and submit it again";
                return Ok(Watched::GaveUp(Stop::failed(what).help(help)));
            }
        }
        Ok(Watched::Ended)
    }

    fn tell(&self, index: usize, state: &SliceState) -> Result<(), Stop> {
        let Some(seats) = self.slices.get(index) else { return Ok(()) };
        let (what, detail) = match state {
            SliceState::Queued => return Ok(()),
            SliceState::Waiting(why) => ("waits", why.as_str()),
            SliceState::Running(machine) => ("runs", machine.as_str()),
            SliceState::Lost(machine) => ("lost", machine.as_str()),
            SliceState::Ended(pod) => ("ended", pod.as_str()),
        };
        let number = |seat: Option<&Seat>| seat.map(|seat| seat.number).unwrap_or_default();
        let change = SliceChange {
            slice: index,
            clusters: (number(seats.first()), number(seats.last())),
            what,
            detail,
        };
        self.reporter.slice(&change).map_err(Stop::failed)
    }

    /// Takes over what a slice has handed over.
    async fn collect(&mut self, index: usize, pod: &str) -> Result<(), Stop> {
        let Some(seats) = self.slices.get(index) else { return Ok(()) };
        let mut log = self.driver.log(pod).await;
        for _ in 1..TRIES {
            if log.is_err() {
                tokio::time::sleep(OFTEN).await;
                log = self.driver.log(pod).await;
            }
        }
        let log = match log {
            Ok(log) => SliceOutcome::of_log(&log),
            Err(stop) => Err(stop.error.map(|error| error.to_string()).unwrap_or_default()),
        };
        let outcome = log.unwrap_or_else(|why| SliceOutcome {
            ends: seats.iter().map(|seat| unknown(seat.number, &why)).collect(),
            files: Vec::new(),
        });
        for seat in *seats {
            let lab = lab_of(&seat.cluster);
            for (_, path, content) in outcome.files.iter().filter(|it| it.0 == seat.number) {
                put(&lab, path, content).map_err(Stop::failed)?;
            }
            let end = outcome.ends.iter().find(|end| end.number == seat.number).cloned();
            let end = end.unwrap_or_else(|| unknown(seat.number, "its slice does not speak of it"));
            run::tell("up", seat, &end, self.options, self.reporter)?;
            self.ends.push(end);
        }
        Ok(())
    }
}

/// The end of a cluster's run of which nothing is known.
fn unknown(number: u16, why: &str) -> ClusterEnd {
    ClusterEnd { number, exit: None, took: Duration::ZERO, why: vec![why.to_owned()] }
}

fn put(lab: &LabDirectory, path: &Path, content: &[u8]) -> std::io::Result<()> {
    let path = lab.root().join(path);
    if let Some(folder) = path.parent() {
        lab.make_folder(folder)?;
    }
    lab.write_private(&path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_a_node_may_have_are_kept() {
        let end = |exit| ClusterEnd { exit, ..unknown(1, "why") };
        assert!(are_unused(Some(&end(Some(1))), false), "refused before anything was touched");
        for (end, has_roster) in [
            (Some(end(Some(1))), true),
            (Some(end(Some(0))), false),
            (Some(end(None)), false),
            (None, false),
        ] {
            assert!(!are_unused(end.as_ref(), has_roster), "{end:?}, {has_roster}");
        }
    }

    #[test]
    fn an_inventory_is_where_its_paths_begin() {
        let folder = tempfile::tempdir().expect("a directory");
        let real = folder.path().canonicalize().expect("a directory").join("real");
        std::fs::create_dir(&real).expect("a directory");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        assert_eq!(place(&link.join("class.yaml")).expect("it is there"), real.join("class.yaml"));
    }
}
