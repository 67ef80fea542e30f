//! `node stop` and `node start`: the power of local nodes.

use std::future::Future;
use std::time::Instant;

use crate::cluster::{Cluster, Node};
use crate::commands::exit::{Exit, Stop};
use crate::commands::named::names;
use crate::commands::next;
use crate::commands::options::Options;
use crate::commands::roster::refuse_drift_of_nodes;
use crate::commands::session::{lab_of, lock, open_to_use, refuse_lost_nodes, stopped};
use crate::event::{Event, Events};
use crate::lab::cache_directory;
use crate::local;
use crate::report::Reporter;

/// Stops local nodes as a power failure does: their data stays.
pub async fn stop(words: &[String], options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let (cluster, nodes) = local_nodes(words, options, reporter)?;
    let lab = lab_of(&cluster);
    let off = stopped(&cluster);
    let running: Vec<&String> = nodes.iter().filter(|node| !off.contains(*node)).collect();
    if running.is_empty() {
        reporter.note(&format!("{} not running", are(&nodes)));
        return Ok(Exit::Done);
    }
    let _lock = lock(&lab, "node stop")?;
    told(reporter, |events| async move {
        let begun = Instant::now();
        let step = "local nodes".to_owned();
        events.emit(Event::StepStarted { step: step.clone() });
        for node in &running {
            local::kill(&lab, node).await.map_err(Stop::failed)?;
        }
        let detail = format!("{} stopped", running.len());
        events.emit(Event::StepEnded { step, detail, changed: true, took: begun.elapsed() });
        Ok(())
    })
    .await?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let start = next::command_with("node start", options, &words);
    reporter.note(&format!("`{start}` starts them again"));
    Ok(Exit::Done)
}

/// Starts local nodes with the data that they have.
pub async fn start(words: &[String], options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let (cluster, nodes) = local_nodes(words, options, reporter)?;
    refuse_drift_of_nodes(&cluster, &options.inventory, reporter)?;
    let lab = lab_of(&cluster);
    let there: Vec<String> = local::nodes(&lab).into_iter().map(|local| local.name).collect();
    if let Some(new) = nodes.iter().find(|node| !there.contains(node)) {
        return Err(Stop::failed(format!("there is no local node {new} yet"))
            .help(format!("`{}` makes it", next::command("up", options))));
    }
    let _lock = lock(&lab, "node start")?;
    told(reporter, |events| async move {
        let wanted = |node: &Node| nodes.contains(&node.name);
        local::start(&cluster, &lab, &cache_directory(), &events, wanted)
            .await
            .map(drop)
            .map_err(Stop::failed)
    })
    .await?;
    Ok(Exit::Done)
}

/// Does work that is reported as it goes.
async fn told<F>(reporter: &Reporter, work: impl FnOnce(Events) -> F) -> Result<(), Stop>
where
    F: Future<Output = Result<(), Stop>>,
{
    let (events, receiver) = Events::channel();
    let reporting = reporter.spawn(receiver, None);
    let done = work(events).await;
    reporting.await.map_err(Stop::failed)?;
    done
}

/// The lab and the names of the nodes that are meant.
fn local_nodes(
    words: &[String],
    options: &Options,
    reporter: &Reporter,
) -> Result<(Cluster, Vec<String>), Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let nodes = names(&cluster, words)?;
    if cluster.local.is_none() {
        let what = format!("{} runs on machines that are not labctl's to switch off", cluster.name);
        return Err(Stop::bad(what).help("`node stop` and `node start` are for local nodes"));
    }
    refuse_lost_nodes(&cluster)?;
    Ok((cluster, nodes))
}

fn are(nodes: &[String]) -> String {
    format!("{} {}", nodes.join(", "), if nodes.len() == 1 { "is" } else { "are" })
}
