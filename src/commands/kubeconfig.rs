//! `kubeconfig`: prints the administrator's or a new user's kubeconfig, or merges it into the
//! user's own.

use std::io;
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

use super::exit::{Exit, Stop};
use super::next;
use super::options::Options;
use super::session::{lab_of, open_to_use, print};
use crate::cluster::Cluster;
use crate::pki::kubeconfig::{Access, Entries, kubeconfig as written};
use crate::pki::merge::merge;
use crate::pki::user;
use crate::report::Reporter;

/// A user whom a certificate is issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The group, for RBAC.
    pub group: Option<String>,
    /// How long the certificate is valid.
    pub days: u32,
}

/// Where a kubeconfig goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The standard output.
    Print,
    /// A kubeconfig that the user has: this file, or the one that kubectl uses.
    MergeInto(Option<PathBuf>),
}

/// Prints or merges a kubeconfig: a new user's, or the administrator's.
pub fn kubeconfig(
    user: Option<&NewUser>,
    destination: &Destination,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let lab = lab_of(&cluster);
    let admin = lab.admin_conf();
    let text = std::fs::read_to_string(&admin).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => none_yet(&cluster, &admin, options),
        _ => Stop::failed(format!("cannot read {}: {error}", admin.display()))
            .help("run labctl as the user who brought the lab up"),
    })?;
    if user.is_none() && *destination == Destination::Print {
        return print(reporter, &text);
    }
    let (given, user) = match user {
        Some(NewUser { name, group, days }) => {
            let (now, life) = (OffsetDateTime::now_utc(), Duration::days((*days).into()));
            let given = user::issue(&cluster, &lab, now, name, group.as_deref(), life);
            (given.map_err(Stop::failed)?, name.as_str())
        }
        None => (user::admin(&cluster, &lab).map_err(Stop::failed)?, "admin"),
    };
    let server = cluster.api_url();
    let access = Access {
        lab: &cluster.name,
        user,
        server: &server,
        ca: &given.ca,
        certificate: given.pair.certificate.as_bytes(),
        key: given.pair.key.expose(),
    };
    match destination {
        Destination::Print => print(reporter, written(&access).expose_text().unwrap_or_default()),
        Destination::MergeInto(file) => {
            merge_into(&cluster, file.as_deref(), &Entries::new(&access), reporter)
        }
    }
}

/// Why a lab that was never brought up has no kubeconfig.
pub(super) fn none_yet(cluster: &Cluster, admin: &Path, options: &Options) -> Stop {
    let (name, admin) = (&cluster.name, admin.display());
    Stop::failed(format!("lab {name} has no kubeconfig yet: there is no {admin}"))
        .help(format!("`{}` makes the lab, and it", next::command("up", options)))
}

/// Merges `entries` into the user's kubeconfig and keeps a copy of the original beside it.
fn merge_into(
    cluster: &Cluster,
    into: Option<&Path>,
    entries: &Entries,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let named = target(into)?;
    // Keep a symbolic link and write its target.
    let file = named
        .canonicalize()
        .or_else(|_| std::path::absolute(&named))
        .unwrap_or_else(|_| named.clone());
    let elsewhere = "`labctl kubeconfig` prints one; save it to a file and add that to KUBECONFIG";
    let refused = |why: &dyn std::fmt::Display| {
        Stop::failed(format!("{} {why}; it was not changed", named.display())).help(elsewhere)
    };
    let before = match std::fs::read(&file) {
        Ok(bytes) => Some(String::from_utf8(bytes).map_err(|_| refused(&"is not UTF-8 text"))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(Stop::failed(format!("cannot read {}: {error}", named.display())));
        }
    };
    let merged =
        merge(before.as_deref().unwrap_or_default(), entries).map_err(|why| refused(&why))?;
    let lab = lab_of(cluster);
    let write = |path: &Path, text: &str| {
        lab.write_private(path, text.as_bytes())
            .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))
    };
    let use_it = format!("kubectl --context {} get nodes", entries.context);
    if before.as_deref() == Some(merged.as_str()) {
        reporter.note(&format!(
            "{} has context {} already; nothing was changed",
            named.display(),
            entries.context
        ));
        return Ok(Exit::Done);
    }
    if let Some(before) = &before {
        let backup = PathBuf::from(format!("{}.before-labctl", file.display()));
        // Keep only the first original: the current file may be the result of an earlier merge.
        if std::fs::symlink_metadata(&backup).is_ok() {
            reporter
                .note(&format!("the file before the first merge is still in {}", backup.display()));
        } else {
            write(&backup, before)?;
            reporter.note(&format!("the previous file is kept in {}", backup.display()));
        }
    }
    write(&file, &merged)?;
    reporter.note(&format!("{} has context {} now: {use_it}", named.display(), entries.context));
    Ok(Exit::Done)
}

/// Returns the kubeconfig to merge into: `--into`, the one in `KUBECONFIG`, or `~/.kube/config`.
fn target(into: Option<&Path>) -> Result<PathBuf, Stop> {
    if let Some(into) = into {
        return Ok(into.to_owned());
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(value) = set("KUBECONFIG") {
        let mut files = std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty());
        return match (files.next(), files.next()) {
            (Some(one), None) => Ok(one),
            _ => {
                Err(Stop::bad("KUBECONFIG names several files").help("choose one with --into FILE"))
            }
        };
    }
    let home = set("HOME")
        .ok_or_else(|| Stop::bad("HOME is not set").help("choose a file with --into FILE"))?;
    Ok(PathBuf::from(home).join(".kube/config"))
}
