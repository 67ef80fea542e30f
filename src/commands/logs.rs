//! `logs`: the journal of a node's units.

use super::ask;
use super::exit::{Exit, Stop};
use super::options::Options;
use super::session::{node, open_to_use, print, refuse_lost_nodes};
use crate::engine::Run;
use crate::engine::connect::connect;
use crate::engine::everywhere::{Said, everywhere};
use crate::engine::logs::{JournalPart, journal};
use crate::event::Events;
use crate::report::Reporter;

/// Prints a part of the journal of the node called `name`, line by line as it comes.
pub async fn logs(
    name: &str,
    part: &JournalPart,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let node = node(&cluster, name)?;
    refuse_lost_nodes(&cluster)?;
    let (events, receiver) = Events::channel();
    let reporting = reporter.spawn(receiver, None);
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let run = Run::new(events.clone(), options.forks.get(), cancelled).asking(ask::keyring());
    let connections = connect(&cluster, &[node], &run).await;
    let mut ok = !connections.is_empty();
    let mut said = everywhere(&connections, &journal(part), &run);
    while let Some(one) = said.recv().await {
        match one {
            Said::Output { node, line } if reporter.is_json() => {
                let event = serde_json::json!({ "event": "output", "node": node, "line": line });
                print(reporter, &format!("{event}\n"))?;
            }
            Said::Output { line, .. } => drop(print(reporter, &format!("{line}\n"))?),
            Said::Ended { errors, code, .. } => {
                errors.iter().for_each(|line| reporter.note(line));
                if let Err(why) = &code {
                    reporter.note(why);
                }
                ok &= code == Ok(0);
            }
        }
    }
    drop((run, events));
    reporter.failures(&reporting.await.map_err(Stop::failed)?);
    Ok(if ok { Exit::Done } else { Exit::Failed })
}
