//! `exec`: one command on many nodes at once.

use serde_json::json;

use super::exit::{Exit, Stop};
use super::named::named_within;
use super::options::Options;
use super::session::{looking, open_to_use, print, refuse_lost_nodes};
use crate::cluster::{Cluster, Node};
use crate::engine::connect::connect;
use crate::engine::everywhere::{Said, everywhere};
use crate::event::Events;
use crate::report::Reporter;

/// Runs `command` on `named` nodes, all of the lab without any, and prints what they say with the
/// node's name before each line. Done if the command succeeded on all of them.
pub async fn exec(
    named: &[String],
    command: &[String],
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let nodes = named_within(&cluster, named, &options.limit)?;
    refuse_lost_nodes(&cluster)?;
    let mut ok = true;
    let width = nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or_default();
    let told = |one| {
        ok &= !matches!(&one, Said::Ended { code, .. } if *code != Ok(0));
        if reporter.is_json() {
            return print(reporter, &as_json(&one)).map(drop);
        }
        match one {
            Said::Output { node, line } => {
                print(reporter, &format!("{node:width$} | {line}\n"))?;
            }
            Said::Ended { node, errors, code } => {
                for line in errors {
                    reporter.note(&format!("{node:width$} | {line}"));
                }
                match code {
                    Ok(0) => {}
                    Ok(code) => reporter.note(&format!("{node:width$} | exit code {code}")),
                    Err(why) => reporter.note(&format!("{node:width$} | {why}")),
                }
            }
        }
        Ok(())
    };
    ok &= hear(&cluster, &nodes, &command.join(" "), options, reporter, told).await?;
    Ok(if ok { Exit::Done } else { Exit::Failed })
}

/// Runs `command` on `nodes`, and hands on what they say as it comes. Returns whether all of them
/// were reached.
pub(super) async fn hear(
    cluster: &Cluster,
    nodes: &[&Node],
    command: &str,
    options: &Options,
    reporter: &Reporter,
    mut told: impl FnMut(Said) -> Result<(), Stop>,
) -> Result<bool, Stop> {
    let (events, receiver) = Events::channel();
    let reporting = reporter.spawn(receiver, None);
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let run = looking(options, events.clone(), cancelled);
    let connections = connect(cluster, nodes, &run).await;
    let mut said = everywhere(&connections, command, &run);
    while let Some(one) = said.recv().await {
        told(one)?;
    }
    drop((run, events));
    reporter.failures(&reporting.await.map_err(Stop::failed)?);
    Ok(connections.len() == nodes.len())
}

/// One JSON object and a line end.
fn as_json(said: &Said) -> String {
    let value = match said {
        Said::Output { node, line } => json!({ "event": "output", "node": node, "line": line }),
        Said::Ended { node, errors, code } => json!({
            "event": "exited",
            "node": node,
            "code": code.as_ref().ok(),
            "error": code.as_ref().err(),
            "stderr": errors,
        }),
    };
    format!("{value}\n")
}
