//! Executes a plan: every play on every node, when it is due.
//!
//! Each play on each node is a cell. A cell starts when the plays that its play comes after have
//! finished on all of their nodes, the nodes before it are done (in a rolling play), and its large
//! files have arrived. A failure ends the run on its node; plays that come after the failed play
//! are skipped, all others continue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::inbox::Pushed;
use super::remedy::remedy;
use super::run::failure;
use super::script::{Line, command, patience, stream};
use super::spread::{Demand, deliver};
use super::{Connections, Run, cause};
use crate::event::{Awaited, Event, Failure, PlayOutcome};
use crate::plan::{Change, Plan, PlannedNode, PlannedPlay};
use crate::playbook::Strategy;
use crate::transport::{Exec, Stdin, Transport, TransportError, lines};

/// Maximum number of lines of output and of the journal in a failure, and maximum length of a line
/// in characters. A node sends the same number of journal lines, because the line with the reason
/// may come before a page of usage.
const LINES: usize = 200;
const LINE: usize = 1000;

/// The result of executing a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Whether every play succeeded on every node.
    pub ok: bool,
    /// Number of tasks that changed something, by node.
    pub changed: BTreeMap<String, usize>,
    /// The title of the failed task, by node.
    pub failed: BTreeMap<String, String>,
}

/// The progress of a play over all of its nodes.
#[derive(Debug, Clone, Copy)]
struct PlayProgress {
    remaining: usize,
    failed: bool,
}

/// A play that others come after: its name and progress.
type Earlier = (String, watch::Receiver<PlayProgress>);

/// One play on one node.
struct Cell {
    play: String,
    node: String,
    changes: Vec<Change>,
    /// The plays that must have finished.
    after: Vec<Earlier>,
    /// Whether the node starts together with others that it may have to wait for.
    together: bool,
    /// In a rolling play, the nodes before this one, and whether they succeeded, once they are
    /// done.
    before: Vec<(String, watch::Receiver<Option<bool>>)>,
    transport: Option<Transport>,
    pushed: watch::Receiver<Pushed>,
    /// Becomes true when anything fails on this node.
    node_failed: Arc<AtomicBool>,
    run: Run,
}

/// The result of one cell.
struct Ended {
    outcome: PlayOutcome,
    changed: usize,
    failed: Option<String>,
}

/// Executes `plan`. A node in the plan without a connection counts as failed.
pub async fn apply(plan: Plan, connections: &Connections, run: &Run) -> Applied {
    let (senders, stores) = connections
        .keys()
        .map(|node| {
            let (sender, receiver) = watch::channel(Pushed::default());
            ((node.clone(), sender), (node.clone(), receiver))
        })
        .unzip();
    let delivery = tokio::spawn(deliver(
        wanted(&plan, connections),
        connections.clone(),
        senders,
        run.clone(),
    ));
    let mut cells = JoinSet::new();
    let mut plays: Vec<Earlier> = Vec::new();
    let failed_nodes: BTreeMap<String, Arc<AtomicBool>> = plan
        .plays
        .iter()
        .flat_map(|play| &play.nodes)
        .map(|on| (on.node.clone(), Arc::new(AtomicBool::new(!connections.contains_key(&on.node)))))
        .collect();
    for play in plan.plays {
        let after = play.after.iter().map(|&index| plays[index].clone()).collect::<Vec<_>>();
        let name = play.name.clone();
        plays.push((
            name,
            start_play(play, &after, connections, &stores, &failed_nodes, run, &mut cells),
        ));
    }
    let mut applied = Applied { ok: true, ..Applied::default() };
    while let Some(joined) = cells.join_next().await {
        // A panic in a cell is a bug in labctl; the run must still end, as a failure.
        let Ok((node, ended)) = joined else {
            applied.ok = false;
            continue;
        };
        applied.ok &= ended.outcome == PlayOutcome::Done;
        *applied.changed.entry(node.clone()).or_default() += ended.changed;
        if let Some(task) = ended.failed {
            applied.failed.entry(node).or_insert(task);
        }
    }
    // It watches for cancellation itself, because it may have to clean up.
    applied.ok &= delivery.await.is_ok();
    applied
}

/// Starts the cells of one play and returns its progress.
fn start_play(
    play: PlannedPlay,
    after: &[Earlier],
    connections: &Connections,
    stores: &BTreeMap<String, watch::Receiver<Pushed>>,
    failed_nodes: &BTreeMap<String, Arc<AtomicBool>>,
    run: &Run,
    cells: &mut JoinSet<(String, Ended)>,
) -> watch::Receiver<PlayProgress> {
    let (progress, watched) =
        watch::channel(PlayProgress { remaining: play.nodes.len(), failed: false });
    let progress = Arc::new(progress);
    if play.nodes.is_empty() {
        // A play without nodes must still forward the failure or progress of the plays that it
        // comes after.
        let after = after.to_vec();
        progress.send_modify(|state| state.remaining = 1);
        cells.spawn(async move {
            let well = ended_well(after, &mut Awaited::Plan).await;
            progress.send_modify(|state| *state = PlayProgress { remaining: 0, failed: !well });
            (String::new(), Ended { outcome: PlayOutcome::Done, changed: 0, failed: None })
        });
        return watched;
    }
    let rolling = play.strategy == Strategy::Rolling;
    // Nodes on which nothing is running go first and together; each other node waits for all before
    // it.
    let (mut nodes, running): (Vec<_>, Vec<_>) =
        play.nodes.into_iter().partition(|on| !rolling || on.fresh);
    let together = nodes.len();
    nodes.extend(running);
    let mut ahead: Vec<(String, watch::Receiver<Option<bool>>)> = Vec::new();
    for (index, on) in nodes.into_iter().enumerate() {
        let (done, after_me) = watch::channel(None);
        let (_, no_push) = watch::channel(Pushed::default());
        let cell = Cell {
            play: play.name.clone(),
            node: on.node.clone(),
            changes: on.changes,
            after: after.to_vec(),
            together: rolling && index < together,
            before: if index < together { Vec::new() } else { ahead.clone() },
            transport: connections.get(&on.node).cloned(),
            pushed: stores.get(&on.node).cloned().unwrap_or(no_push),
            node_failed: Arc::clone(&failed_nodes[&on.node]),
            run: run.clone(),
        };
        if rolling {
            ahead.push((on.node, after_me));
        }
        let progress = Arc::clone(&progress);
        cells.spawn(async move {
            let node = cell.node.clone();
            let ended = cell.go().await;
            let well = ended.outcome == PlayOutcome::Done;
            done.send_replace(Some(well));
            progress.send_modify(|state| {
                state.remaining -= 1;
                state.failed |= !well;
            });
            (node, ended)
        });
    }
    watched
}

/// Waits for plays to finish and returns whether all succeeded. `awaited` becomes the last one that
/// was not finished yet.
async fn ended_well(plays: Vec<Earlier>, awaited: &mut Awaited) -> bool {
    let mut well = true;
    for (name, mut play) in plays {
        if play.borrow().remaining > 0 {
            *awaited = Awaited::Play(name);
        }
        match play.wait_for(|progress| progress.remaining == 0).await {
            Ok(progress) => well &= !progress.failed,
            Err(_) => well = false,
        }
    }
    well
}

/// Returns what each node needs, in the order in which plays need it, and which nodes may already
/// have it.
fn wanted(plan: &Plan, connections: &Connections) -> Demand {
    let mut wanted = Demand::default();
    for play in &plan.plays {
        let mut shared = false;
        for on in play.nodes.iter().filter(|on| connections.contains_key(&on.node)) {
            for blob in on.changes.iter().flat_map(|change| &change.actions.blobs) {
                shared = true;
                let lacking = wanted.lacking.entry(on.node.clone()).or_default();
                if !lacking.contains(blob) {
                    lacking.push(blob.clone());
                }
            }
        }
        // A node of the same play that lacks nothing probably has what the others lack.
        let has_all =
            |on: &&PlannedNode| on.changes.iter().all(|change| change.actions.blobs.is_empty());
        let having =
            play.nodes.iter().filter(has_all).filter(|on| connections.contains_key(&on.node));
        wanted.having.extend(having.filter(|_| shared).map(|on| on.node.clone()));
    }
    wanted.having.retain(|node| !wanted.lacking.contains_key(node));
    wanted
}

impl Cell {
    async fn go(mut self) -> Ended {
        let skipped = Ended { outcome: PlayOutcome::Skipped, changed: 0, failed: None };
        let mut awaited = Awaited::Plan;
        let mut well = ended_well(std::mem::take(&mut self.after), &mut awaited).await;
        for (node, mut before) in std::mem::take(&mut self.before) {
            if before.borrow().is_none() {
                awaited = Awaited::Node(node);
            }
            well &= matches!(before.wait_for(Option::is_some).await.as_deref(), Ok(Some(true)));
        }
        if !well || self.node_failed.load(Ordering::Acquire) || self.run.is_cancelled() {
            return self.skip(skipped);
        }
        if self.changes.is_empty() {
            return Ended { outcome: PlayOutcome::Done, changed: 0, failed: None };
        }
        let Some(transport) = self.transport.take() else { return self.skip(skipped) };
        let mut cancelled = self.run.cancelled.clone();
        if !self.has_arrived(&self.pushed.borrow()) {
            awaited = Awaited::Push;
        }
        let arrived = tokio::select! {
            arrived = self.blobs_arrived() => arrived,
            // A push is not a running task, so a user who asks to stop does not wait for it.
            Ok(_) = cancelled.wait_for(|stop| *stop) => return self.skip(skipped),
        };
        if !arrived {
            self.node_failed.store(true, Ordering::Release);
            self.tell_end(PlayOutcome::Failed, Instant::now());
            return Ended {
                outcome: PlayOutcome::Failed,
                changed: 0,
                failed: Some("push binaries".to_owned()),
            };
        }
        // Nodes that start together wait for each other; if each needed a permit, a small number of
        // forks would block them forever.
        let _permit = match self.together {
            true => None,
            false => {
                if self.run.forks.available_permits() == 0 {
                    awaited = Awaited::Turn;
                }
                match self.run.forks.clone().acquire_owned().await {
                    Ok(permit) => Some(permit),
                    Err(_) => return self.skip(skipped),
                }
            }
        };
        // While waiting, the run may have been cancelled, or another play may have failed on this
        // node.
        if self.node_failed.load(Ordering::Acquire) || self.run.is_cancelled() {
            return self.skip(skipped);
        }
        let started = Instant::now();
        let (play, node) = (self.play.clone(), self.node.clone());
        self.run.events.emit(Event::PlayStarted { play, node, tasks: self.changes.len(), awaited });
        let ended = self.carry_out(&transport).await;
        if ended.outcome == PlayOutcome::Failed {
            self.node_failed.store(true, Ordering::Release);
        }
        self.tell_end(ended.outcome, started);
        ended
    }

    fn skip(&self, ended: Ended) -> Ended {
        self.tell_end(PlayOutcome::Skipped, Instant::now());
        ended
    }

    fn tell_end(&self, outcome: PlayOutcome, started: Instant) {
        let (play, node) = (self.play.clone(), self.node.clone());
        self.run.events.emit(Event::PlayEnded { play, node, outcome, took: started.elapsed() });
    }

    /// Whether the node's blob store has everything that this play needs.
    fn has_arrived(&self, state: &Pushed) -> bool {
        let mut needed = self.changes.iter().flat_map(|change| &change.actions.blobs);
        needed.all(|blob| state.blobs.contains(&blob.sha256))
    }

    /// Waits until the node's blob store has everything that this play needs, or gets nothing more.
    async fn blobs_arrived(&self) -> bool {
        let mut pushed = self.pushed.clone();
        if let Ok(state) =
            pushed.wait_for(|state| state.error.is_some() || self.has_arrived(state)).await
        {
            return self.has_arrived(&state);
        }
        // The push is over, so nothing more will arrive.
        self.has_arrived(&self.pushed.borrow())
    }

    async fn carry_out(&self, transport: &Transport) -> Ended {
        let stream = match stream(&self.changes, &self.run.turn, &self.run.mark) {
            Ok(stream) => stream,
            Err(error) => {
                return self.transport_failed("pack the play's files", &plain("pack", error));
            }
        };
        let (lines, heard) = lines();
        let exec =
            Exec::new(command(), patience(&self.changes)).stdin(Stdin::Bytes(stream)).lines(lines);
        let (output, heard) = tokio::join!(transport.exec(exec), self.listen(heard));
        if let Some(task) = heard.failed {
            return Ended {
                outcome: PlayOutcome::Failed,
                changed: heard.changed,
                failed: Some(task),
            };
        }
        let doing = heard.doing.map_or("begin", |number| self.changes[number].title.as_str());
        match output {
            Err(error) => Ended { changed: heard.changed, ..self.transport_failed(doing, &error) },
            Ok(_) if heard.ended => {
                Ended { outcome: PlayOutcome::Done, changed: heard.changed, failed: None }
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let error = plain(
                    "run the play's script",
                    format!("exit code {}: {}", output.code, said.trim()),
                );
                Ended { changed: heard.changed, ..self.transport_failed(doing, &error) }
            }
        }
    }

    fn transport_failed(&self, task: &str, error: &TransportError) -> Ended {
        self.run.events.emit(Event::TaskFailed(failure(&self.node, &self.play, task, error)));
        Ended { outcome: PlayOutcome::Failed, changed: 0, failed: Some(task.to_owned()) }
    }

    /// Converts the script's output to events.
    async fn listen(&self, mut lines: mpsc::Receiver<String>) -> Heard {
        let mut heard = Heard::default();
        // A unit's task ends when the unit has stayed up, and other tasks may start before that.
        let mut began: BTreeMap<usize, Instant> = BTreeMap::new();
        let (mut output, mut journal) = (Vec::new(), Vec::new());
        while let Some(line) = lines.recv().await {
            let Some(line) = Line::parse(&line) else { continue };
            match line {
                Line::Start(number) if number < self.changes.len() => {
                    began.insert(number, Instant::now());
                    heard.doing = Some(number);
                    self.run.events.emit(Event::TaskStarted {
                        play: self.play.clone(),
                        node: self.node.clone(),
                        task: self.changes[number].title.clone(),
                    });
                }
                Line::Done(number) | Line::Same(number) if number < self.changes.len() => {
                    let changed = matches!(line, Line::Done(_));
                    heard.changed += usize::from(changed);
                    self.run.events.emit(Event::TaskEnded {
                        play: self.play.clone(),
                        node: self.node.clone(),
                        task: self.changes[number].title.clone(),
                        changed,
                        took: began.get(&number).map(Instant::elapsed).unwrap_or_default(),
                    });
                }
                Line::Fail(number, code) if number < self.changes.len() => {
                    let change = &self.changes[number];
                    heard.failed.get_or_insert_with(|| change.title.clone());
                    let said = std::mem::take(&mut journal);
                    // The reason for a change does not explain its failure; what the program itself
                    // reports comes first.
                    let reason = match cause::line_that_matters(&said) {
                        Some(line) => format!("{line}\n{}", change.why),
                        None => change.why.clone(),
                    };
                    self.run.events.emit(Event::TaskFailed(Failure {
                        node: self.node.clone(),
                        play: self.play.clone(),
                        task: change.title.clone(),
                        command: Some(change.shell()),
                        code: Some(code),
                        reason,
                        help: remedy(&said, &output).map(str::to_owned),
                        stderr: std::mem::take(&mut output),
                        journal: cause::shown(said),
                    }));
                }
                Line::Output(text) => note(&mut output, &text),
                Line::Journal(text) => note(&mut journal, &text),
                Line::Remark(message) => {
                    self.run.events.emit(Event::Warning { node: Some(self.node.clone()), message });
                }
                Line::End => heard.ended = true,
                Line::Start(_) | Line::Done(_) | Line::Same(_) | Line::Fail(..) => {}
            }
        }
        heard
    }
}

/// Adds a line that explains a failure, up to a limit; the last lines are kept.
fn note(lines: &mut Vec<String>, text: &str) {
    if lines.len() == LINES {
        lines.remove(0);
    }
    lines.push(text.chars().take(LINE).collect());
}

/// The output of a script.
#[derive(Default)]
struct Heard {
    doing: Option<usize>,
    changed: usize,
    failed: Option<String>,
    ended: bool,
}

fn plain(what: &str, why: impl ToString) -> TransportError {
    TransportError { what: what.to_owned(), why: why.to_string(), help: None }
}
