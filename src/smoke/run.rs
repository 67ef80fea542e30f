//! Runs the smoke test's checks on a lab and reports each result.

use std::time::{Duration, Instant};

use super::{Check, begin_clean_up, checks, clean_up, failover, set_up};
use crate::cluster::{Cluster, Role};
use crate::engine::{Connections, Run};
use crate::event::{Event, Events};
use crate::transport::{Exec, Output, Stdin, Transport};

/// Time limit for setting up, and for cleaning up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs every check and returns whether all passed. Everything that was created is removed in any
/// case.
pub async fn run(cluster: &Cluster, manifest: &str, connections: &Connections, run: &Run) -> bool {
    let events = &run.events;
    let first = cluster.with_role(Role::Controller).find_map(|node| connections.get(&node.name));
    let Some(controller) = first else {
        let name = "a controller can be reached".to_owned();
        events.emit(Event::Check {
            name,
            failure: Some("no controller can be reached".to_owned()),
            took: Duration::ZERO,
        });
        return false;
    };
    let started = Instant::now();
    let prepared = match shell(controller, clean_up(), PATIENCE).await {
        Ok(()) => shell(controller, set_up(manifest), PATIENCE).await,
        Err(error) => Err(error),
    };
    let mut passed =
        tell(events, "the API takes a Deployment, a Secret and Services", prepared, started);
    if passed {
        passed = run_checks(&checks(cluster), controller, run).await;
        // An error here is reported at the end, by the clean-up that waits.
        let _ = shell(controller, begin_clean_up(), PATIENCE).await;
        if !run.is_cancelled() {
            passed &= run_failover(cluster, controller, connections, events).await;
        }
    }
    let started = Instant::now();
    let cleaned = shell(controller, clean_up(), PATIENCE).await;
    passed & tell(events, "the test's namespace is gone again", cleaned, started)
}

async fn run_checks(checks: &[Check], controller: &Transport, run: &Run) -> bool {
    let mut passed = true;
    for check in checks {
        if run.is_cancelled() {
            return false;
        }
        let started = Instant::now();
        let result = shell(controller, check.script.clone(), check.timeout).await;
        let holds = tell(&run.events, &check.name, result, started);
        passed &= holds;
        if check.essential && !holds {
            return false;
        }
    }
    passed
}

async fn run_failover(
    cluster: &Cluster,
    first: &Transport,
    connections: &Connections,
    events: &Events,
) -> bool {
    let Some(failover) = failover(cluster) else { return true };
    // If one controller is lost already, stopping another one would only show that two are too
    // many.
    let lost =
        cluster.with_role(Role::Controller).find(|node| !connections.contains_key(&node.name));
    let (None, Some(victim)) = (lost, connections.get(&failover.victim)) else {
        events.emit(Event::Warning {
            node: lost.map(|node| node.name.clone()),
            message: "cannot be reached; skipped stopping a controller".to_owned(),
        });
        return true;
    };
    let started = Instant::now();
    let mut result = shell(victim, failover.stop, PATIENCE).await;
    if result.is_ok() {
        result = shell(first, failover.watch, PATIENCE).await;
    }
    // Start it again in any case; a control plane that does not come back is a failure too.
    let restarted = shell(victim, failover.start, PATIENCE).await;
    tell(events, &failover.name, result.and(restarted), started)
}

fn tell(events: &Events, name: &str, result: Result<(), String>, started: Instant) -> bool {
    let failure = result.err();
    let holds = failure.is_none();
    events.emit(Event::Check { name: name.to_owned(), failure, took: started.elapsed() });
    holds
}

/// Runs a shell script. Returns the last lines of its output if it fails.
async fn shell(node: &Transport, script: String, timeout: Duration) -> Result<(), String> {
    let exec = Exec::new("sh -s", timeout).stdin(Stdin::Bytes(script.into_bytes()));
    match node.exec(exec).await {
        Ok(Output { code: 0, .. }) => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
            let end = lines[lines.len().saturating_sub(5)..].join("; ");
            Err(if end.is_empty() { format!("exit code {}", output.code) } else { end })
        }
        Err(error) => Err(error.to_string()),
    }
}
