//! `ssh`: a shell on a node, through the OpenSSH client, by the way that every other verb takes:
//! the same jump hosts, keys and known hosts.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::exit::{Exit, Stop};
use super::named::one;
use super::next;
use super::options::Options;
use super::session::{open_to_use, refuse_lost_nodes, stopped};
use crate::engine::connect::way_in;
use crate::report::Reporter;

/// Replaces the process by `ssh`; returns only if that cannot be started.
pub async fn ssh(
    name: &str,
    command: &[String],
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let error = client(name, options, reporter).await?.args(command).exec();
    Err(not_started(&error))
}

/// Opens a shell on a node, and returns when it ends.
pub async fn shell(name: &str, options: &Options, reporter: &Reporter) -> Result<(), Stop> {
    let mut client = client(name, options, reporter).await?;
    client.status().map(drop).map_err(|error| not_started(&error))
}

fn not_started(error: &std::io::Error) -> Stop {
    Stop::failed(format!("cannot start ssh: {error}"))
        .help("install the OpenSSH client: apt-get install openssh-client")
}

/// The OpenSSH client with the words that lead to a node.
async fn client(name: &str, options: &Options, reporter: &Reporter) -> Result<Command, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let node = one(&cluster, name)?;
    refuse_lost_nodes(&cluster)?;
    if stopped(&cluster).contains(&node.name) {
        return Err(Stop::failed(format!("the local node {} is not running", node.name))
            .help(format!("`{}` starts it", next::command("up", options))));
    }
    let words = way_in(&cluster, node).await.map_err(|error| {
        let stop = Stop::failed(error.to_string());
        match error.help {
            Some(help) => stop.help(help),
            None => stop,
        }
    })?;
    let mut client = Command::new("ssh");
    client.args(words);
    Ok(client)
}
