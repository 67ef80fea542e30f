//! `ssh`: a shell on a node, through the OpenSSH client, by the way that every other verb takes:
//! the same jump hosts, keys and known hosts.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::session::{lab_of, node, open, refuse_lost_nodes};
use super::{Exit, Stop};
use crate::cli::Ssh;
use crate::engine::connect::way_in;
use crate::report::Reporter;

/// Becomes `ssh`. Returns only when that could not be started.
pub async fn ssh(args: &Ssh, reporter: &Reporter) -> Result<Exit, Stop> {
    let lab = args.lab();
    let cluster = open(&lab.inventory, reporter)?;
    let node = node(&cluster, args.node())?;
    refuse_lost_nodes(&cluster)?;
    let runs = |local: &crate::local::LocalNode| local.name == node.name && local.pid.is_some();
    if cluster.local.is_some() && !crate::local::nodes(&lab_of(&cluster)).iter().any(runs) {
        return Err(Stop::failed(format!("the local node {} does not run", node.name))
            .help(format!("`labctl up {}` starts it", lab.inventory.display())));
    }
    let words = way_in(&cluster, node).await.map_err(|error| {
        let stop = Stop::failed(error.to_string());
        match error.help {
            Some(help) => stop.help(help),
            None => stop,
        }
    })?;
    let error = Command::new("ssh").args(words).args(&args.command).exec();
    Err(Stop::failed(format!("cannot start ssh: {error}"))
        .help("install the OpenSSH client: apt-get install openssh-client"))
}
