//! `kubeconfig`: prints the administrator's kubeconfig or a new user's, or merges it into
//! somebody's own.

use std::io;
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};

use super::session::{lab_of, open, print};
use super::{Exit, Stop};
use crate::cli::Kubeconfig;
use crate::cluster::Cluster;
use crate::pki::kubeconfig::{Access, Entries, kubeconfig as written};
use crate::pki::merge::merge;
use crate::pki::user;
use crate::report::Reporter;

/// Prints or merges a kubeconfig.
pub fn kubeconfig(args: &Kubeconfig, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let lab = lab_of(&cluster);
    let up = format!("`labctl up {}` makes the lab, and it", args.lab.inventory.display());
    let admin = lab.admin_conf();
    let text = std::fs::read_to_string(&admin).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Stop::failed(format!(
            "lab {} has no kubeconfig yet: there is no {}",
            cluster.name,
            admin.display()
        ))
        .help(up),
        _ => Stop::failed(format!("cannot read {}: {error}", admin.display()))
            .help("run labctl as the user who brought the lab up"),
    })?;
    if args.user.is_none() && !args.merge {
        return print(reporter, &text);
    }
    let (given, user) = match &args.user {
        Some(user) => {
            let life = Duration::days(args.days.into());
            let given = user::issue(
                &cluster,
                &lab,
                OffsetDateTime::now_utc(),
                user,
                args.group.as_deref(),
                life,
            );
            (given.map_err(Stop::failed)?, user.as_str())
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
        key: given.pair.key.as_bytes(),
    };
    if args.merge {
        return merge_into(&cluster, args.into.as_deref(), &Entries::new(&access), reporter);
    }
    print(reporter, &written(&access))
}

/// Merges `entries` into the kubeconfig that the user has; what was there before is kept beside it.
fn merge_into(
    cluster: &Cluster,
    into: Option<&Path>,
    entries: &Entries,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let named = target(into)?;
    // A link stays a link; what it leads to is written.
    let file = named
        .canonicalize()
        .or_else(|_| std::path::absolute(&named))
        .unwrap_or_else(|_| named.clone());
    let elsewhere = "`labctl kubeconfig` prints the lab's own, for a file that KUBECONFIG names";
    let refused = |why: &dyn std::fmt::Display| {
        Stop::failed(format!("{} {why}; it is as it was", named.display())).help(elsewhere)
    };
    let before = match std::fs::read(&file) {
        Ok(bytes) => Some(String::from_utf8(bytes).map_err(|_| refused(&"is no text"))?),
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
        // Only the first one is an original: what is there now may be the work of an earlier merge.
        if std::fs::symlink_metadata(&backup).is_ok() {
            reporter.note(&format!(
                "what was there before the first merge is still in {}",
                backup.display()
            ));
        } else {
            write(&backup, before)?;
            reporter.note(&format!("what was there before is kept in {}", backup.display()));
        }
    }
    write(&file, &merged)?;
    reporter.note(&format!("{} has context {} now: {use_it}", named.display(), entries.context));
    Ok(Exit::Done)
}

/// The kubeconfig to merge into: `--into`, the one that `KUBECONFIG` names, or `~/.kube/config`.
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
                Err(Stop::bad("KUBECONFIG names several files")
                    .help("say which one with --into FILE"))
            }
        };
    }
    let home = set("HOME")
        .ok_or_else(|| Stop::bad("there is no HOME").help("say which file with --into FILE"))?;
    Ok(PathBuf::from(home).join(".kube/config"))
}
