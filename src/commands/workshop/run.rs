//! Runs a verb for each cluster: a process each, several at once.

use std::num::NonZeroUsize;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::outcome::ClusterEnd;
use super::seat::{NUMBER, Seat};
use crate::commands::exit::{Exit, Stop};
use crate::commands::next;
use crate::commands::options::Options;
use crate::commands::stop::stops;
use crate::report::Reporter;
use crate::report::workshop::ClusterRun;

/// Runs `labctl VERB` for every cluster, at most `at_once` at a time, and reports each when it has
/// ended. Returns how they ended.
pub async fn all(
    verb: &'static str,
    seats: &[Seat],
    at_once: NonZeroUsize,
    options: &Options,
    reporter: &Reporter,
) -> Result<Vec<ClusterEnd>, Stop> {
    let program = std::env::current_exe()
        .map_err(|error| Stop::failed(format!("cannot find labctl's own program: {error}")))?;
    let turns = Arc::new(Semaphore::new(at_once.get()));
    let (stop, stopped) = watch::channel(0);
    let listener = tokio::spawn(stops(stop));
    let mut runs = JoinSet::new();
    for (index, seat) in seats.iter().enumerate() {
        let mut command = Command::new(&program);
        command
            .args(words(verb, options))
            .env(NUMBER, seat.number.to_string())
            // What was typed for the workshop is among the words.
            .env_remove("LABCTL_LIMIT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C reaches all processes of a terminal's group; these are told once, by us.
            .process_group(0)
            .kill_on_drop(true);
        let (turns, stopped, number) = (Arc::clone(&turns), stopped.clone(), seat.number);
        let reporter = reporter.clone();
        runs.spawn(async move {
            let _turn = turns.acquire().await;
            (index, one(command, number, stopped, &reporter).await)
        });
    }
    let mut ends = Vec::new();
    while let Some(joined) = runs.join_next().await {
        let (index, ended) = joined.map_err(|error| Stop::failed(error.to_string()))?;
        let Some(seat) = seats.get(index) else { continue };
        tell(verb, seat, &ended, options, reporter)?;
        ends.push(ended);
    }
    listener.abort();
    Ok(ends)
}

/// What a cluster's run is typed as.
fn words(verb: &str, options: &Options) -> Vec<String> {
    let mut words: Vec<String> =
        [verb, "--yes", "--output", "json", "--forks"].map(Into::into).into();
    words.push(options.forks.to_string());
    for node in &options.take_over {
        words.extend(["--take-over".to_owned(), node.clone()]);
    }
    words.push(options.inventory.display().to_string());
    words
}

/// Runs one cluster's process to its end.
async fn one(
    mut command: Command,
    number: u16,
    mut stopped: watch::Receiver<u32>,
    reporter: &Reporter,
) -> ClusterEnd {
    let started = Instant::now();
    if *stopped.borrow() > 0 {
        return ClusterEnd { number, exit: Some(130), took: Duration::ZERO, why: Vec::new() };
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let why = vec![format!("cannot start labctl: {error}")];
            return ClusterEnd { number, exit: None, took: Duration::ZERO, why };
        }
    };
    let events = child.stdout.take().map(|it| tokio::spawn(read(it, number, reporter.clone())));
    let errors = child.stderr.take().map(|mut it| {
        tokio::spawn(async move {
            let mut text = String::new();
            // What is not UTF-8 ends it; the run's log has the rest.
            let _ = it.read_to_string(&mut text).await;
            text
        })
    });
    let exit = loop {
        tokio::select! {
            ended = child.wait() => break ended.ok().and_then(|status| status.code()),
            Ok(()) = stopped.changed() => interrupt(&child),
        }
    };
    let mut why = match events {
        Some(events) => events.await.unwrap_or_default(),
        None => Vec::new(),
    };
    if let Some(errors) = errors {
        why.extend(errors.await.unwrap_or_default().lines().map(str::to_owned));
    }
    ClusterEnd { number, exit, took: started.elapsed(), why }
}

/// Reads a run's events: passes them on where a program listens, and returns which tasks failed.
async fn read(from: tokio::process::ChildStdout, number: u16, reporter: Reporter) -> Vec<String> {
    let mut failed = Vec::new();
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(mut event) = serde_json::from_str::<Value>(&line) else { continue };
        if event["event"] == "task_failed" {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let mut why = format!("{}: {}", text("node"), text("task"));
            if !text("reason").is_empty() {
                why += &format!(": {}", text("reason"));
            }
            failed.push(why);
            let last = event["stderr"].as_array().and_then(|lines| lines.last());
            failed.extend(last.and_then(Value::as_str).map(|line| format!("  {line}")));
        }
        if reporter.is_json() {
            event["cluster"] = number.into();
            let _ = reporter.print(&format!("{event}\n"));
        }
    }
    failed
}

/// Asks a run to stop, as Ctrl-C does.
fn interrupt(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // It may have ended in this moment.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
}

/// Reports how a cluster's run ended.
pub fn tell(
    verb: &str,
    seat: &Seat,
    ended: &ClusterEnd,
    options: &Options,
    reporter: &Reporter,
) -> Result<(), Stop> {
    let again = format!("{NUMBER}={} {}", seat.number, next::command(verb, options));
    let api = seat.cluster.api_url();
    let told = ClusterRun {
        number: seat.number,
        lab: &seat.cluster.name,
        verb,
        exit: ended.exit,
        took: ended.took,
        api: (verb == "up").then_some(api.as_str()),
        why: &ended.why,
        again: &again,
    };
    reporter.cluster(&told).map_err(Stop::failed)
}

/// The exit of all: the worst of theirs.
pub fn exit(ends: &[ClusterEnd]) -> Exit {
    let ended_with = |code| ends.iter().any(|end| end.exit == Some(code));
    if ends.iter().all(|end| end.exit == Some(0)) {
        Exit::Done
    } else if ended_with(130) {
        Exit::Cancelled
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_well_only_if_every_cluster_is() {
        let exit_of = |exits: &[Option<i32>]| {
            let end = |exit: &Option<i32>| ClusterEnd {
                number: 1,
                exit: *exit,
                took: Duration::ZERO,
                why: Vec::new(),
            };
            exit(&exits.iter().map(end).collect::<Vec<_>>())
        };
        assert_eq!(exit_of(&[Some(0), Some(0)]), Exit::Done);
        assert_eq!(exit_of(&[Some(0), Some(2)]), Exit::Failed);
        assert_eq!(exit_of(&[Some(0), None]), Exit::Failed);
        assert_eq!(exit_of(&[Some(1), Some(130)]), Exit::Cancelled);
    }
}
