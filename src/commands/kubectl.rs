//! `kubectl`: the bundle's own kubectl, of the lab's version, as the administrator.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::exit::{Exit, Stop};
use super::kubeconfig::none_yet;
use super::options::Options;
use super::session::{lab_of, open_to_use};
use crate::bundle;
use crate::bundle::pull::host_architecture;
use crate::cluster::Cluster;
use crate::lab::cache_directory;
use crate::report::Reporter;

/// Replaces the process by kubectl; returns only if that cannot be started.
pub fn kubectl(arguments: &[String], options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let admin = lab_of(&cluster).admin_conf();
    if !admin.exists() {
        return Err(none_yet(&cluster, &admin, options));
    }
    let program = program(&cluster);
    let error = Command::new(&program).args(arguments).env("KUBECONFIG", admin).exec();
    Err(Stop::failed(format!("cannot start {}: {error}", program.display()))
        .help("the bundle's kubectl is for another machine or missing; install kubectl here"))
}

/// The bundle's, where that runs on this machine; else the one that is installed here.
pub(super) fn program(cluster: &Cluster) -> PathBuf {
    let bundle = bundle::outlook(cluster, &cache_directory()).ok().map(|(bundle, _)| bundle);
    let ours = bundle.filter(|bundle| bundle.architecture == host_architecture());
    let path = ours.and_then(|bundle| bundle.file("kubectl").map(|file| file.path.clone()).ok());
    path.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("kubectl"))
}
