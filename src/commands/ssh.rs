//! `ssh`: a shell on a node, through the OpenSSH client with the lab's own key and known hosts.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::session::{lab_of, node, open, refuse_lost_nodes};
use super::{Exit, Stop};
use crate::cli::Ssh;
use crate::engine::connect::target;
use crate::report::Reporter;

/// Becomes `ssh`. Returns only when that could not be started.
pub fn ssh(args: &Ssh, reporter: &Reporter) -> Result<Exit, Stop> {
    let lab = args.lab();
    let cluster = open(&lab.inventory, reporter)?;
    let node = node(&cluster, args.node())?;
    refuse_lost_nodes(&cluster)?;
    let runs = |local: &crate::local::LocalNode| local.name == node.name && local.pid.is_some();
    if cluster.local.is_some() && !crate::local::nodes(&lab_of(&cluster)).iter().any(runs) {
        return Err(Stop::failed(format!("the local node {} does not run", node.name))
            .help(format!("`labctl up {}` starts it", lab.inventory.display())));
    }
    let target = target(&cluster, node);
    let mut ssh = Command::new("ssh");
    // ssh splits the list at blanks, which a folder's name may have.
    let known_hosts: Vec<String> =
        target.known_hosts.iter().map(|path| format!("\"{}\"", path.display())).collect();
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", known_hosts.join(" ")));
    ssh.arg("-p").arg(target.ssh.port.to_string());
    if let Some(identity) = &target.ssh.identity {
        ssh.arg("-i").arg(identity);
    }
    if let Some(jump) = &target.ssh.jump {
        ssh.arg("-J").arg(format!("{}@{}:{}", jump.user, jump.host, jump.port));
    }
    ssh.arg("-l").arg(&target.ssh.user).arg(&target.ssh.host).args(&args.command);
    let error = ssh.exec();
    Err(Stop::failed(format!("cannot start ssh: {error}"))
        .help("install the OpenSSH client: apt-get install openssh-client"))
}
