//! Control groups of local nodes: one child of the caller's own cgroup per hierarchy, and their
//! removal.
//!
//! A node's systemd, kubelet and container runtime need cgroups that they may write to and that no
//! other node shares. The caller never moves to another cgroup, so its resource limits also apply
//! to the nodes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::error::LocalError;
use super::mounts::{self, Mount};

/// How long to wait for killed processes to exit; a node full of pods on a busy machine takes a
/// while.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before checking again.
const PAUSE: Duration = Duration::from_millis(5);

/// One cgroup hierarchy of the host, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// The directory of this process's cgroup.
    pub current: PathBuf,
    /// Whether this is version 1's cpuset, which requires CPUs and memory nodes before a process
    /// may enter.
    cpuset: bool,
    /// Whether this is the version 2 hierarchy.
    unified: bool,
}

/// How the host mounts its cgroups; nodes get the same layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Version 1, possibly with an empty version 2 hierarchy beside it.
    Legacy,
    /// Version 2 only.
    Unified,
}

/// Returns the host's hierarchies.
pub(super) fn hierarchies() -> Result<Vec<Hierarchy>, LocalError> {
    let path = Path::new("/proc/self/cgroup");
    let own = std::fs::read_to_string(path).map_err(LocalError::io("read", path))?;
    let found = match_up(&own, &mounts::mounted()?);
    if found.is_empty() {
        let nothing = io::Error::other("no cgroup hierarchy is mounted");
        return Err(LocalError::io("read", Path::new("/sys/fs/cgroup"))(nothing));
    }
    Ok(found)
}

/// Returns the layout of `hierarchies`.
pub(super) fn layout(hierarchies: &[Hierarchy]) -> Layout {
    if hierarchies.iter().all(|hierarchy| hierarchy.unified) {
        Layout::Unified
    } else {
        Layout::Legacy
    }
}

/// Returns the paths that a machine's cgroups will have.
pub(super) fn folders(hierarchies: &[Hierarchy], machine: &str) -> Vec<PathBuf> {
    hierarchies.iter().map(|hierarchy| hierarchy.current.join(machine)).collect()
}

/// Creates a machine's cgroups, ready for processes to enter.
pub(super) fn create(hierarchies: &[Hierarchy], machine: &str) -> Result<(), LocalError> {
    for hierarchy in hierarchies {
        let folder = hierarchy.current.join(machine);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(LocalError::Io {
                    doing: "make the cgroup",
                    path: folder,
                    source: error,
                    help: Some(
                        "labctl needs a writable cgroup file system; in a container, run it \
                        privileged",
                    ),
                });
            }
            _ => {}
        }
        if hierarchy.cpuset {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let from = hierarchy.current.join(file);
                let value = std::fs::read(&from).map_err(LocalError::io("read", &from))?;
                let to = folder.join(file);
                std::fs::write(&to, value).map_err(LocalError::io("write", &to))?;
            }
        }
        if hierarchy.unified && layout(hierarchies) == Layout::Unified {
            delegate(&hierarchy.current);
        }
    }
    Ok(())
}

/// Delegates this cgroup's controllers to its children, one by one. A controller that cannot be
/// delegated is not an error here: kubelet reports a missing one more clearly.
fn delegate(cgroup: &Path) {
    let controllers =
        std::fs::read_to_string(cgroup.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        let _ = std::fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Returns the cgroups below this process's own whose names begin with `prefix`. Finds those of a
/// lab without any record of them.
pub(super) fn find(hierarchies: &[Hierarchy], prefix: &str) -> Vec<PathBuf> {
    let named = |folder: &PathBuf| {
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    hierarchies.iter().flat_map(|hierarchy| children(&hierarchy.current)).filter(named).collect()
}

/// Returns the cgroups of `machine` that a process is in, or below.
pub(super) fn of_process(pid: Pid, machine: &str) -> Result<Vec<PathBuf>, LocalError> {
    // A process that has exited in the meantime has none.
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()))
        .unwrap_or_default();
    let inside = match_up(&own, &mounts::mounted()?);
    let its = |inside: &Hierarchy| {
        inside.current.ancestors().find(|folder| is_of(folder, machine)).map(Path::to_owned)
    };
    Ok(inside.iter().filter_map(its).collect())
}

/// Whether a cgroup has the name of one of `machine`'s (systemd adds `.scope`). Nothing else is
/// ever killed.
pub(super) fn is_of(cgroup: &Path, machine: &str) -> bool {
    cgroup.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.strip_suffix(".scope").unwrap_or(&name) == machine
    })
}

/// Kills every process in `cgroups` and below, waits until all have exited, and removes the
/// cgroups.
///
/// Returns the first cgroup that could not be removed.
pub(super) fn end(cgroups: &[PathBuf]) -> Result<(), PathBuf> {
    let until = Instant::now() + PATIENCE;
    for cgroup in cgroups {
        loop {
            let processes = processes(cgroup);
            for process in &processes {
                // An error means that it has already exited.
                let _ = rustix::process::kill_process(*process, Signal::KILL);
            }
            if processes.is_empty() && remove(cgroup) {
                break;
            }
            if Instant::now() > until {
                return Err(cgroup.clone());
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Returns the processes in a cgroup and all below it.
pub(super) fn processes(cgroup: &Path) -> Vec<Pid> {
    let mut found: Vec<Pid> = std::fs::read_to_string(cgroup.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok().and_then(Pid::from_raw))
        .collect();
    for child in children(cgroup) {
        found.extend(processes(&child));
    }
    found
}

/// Removes a cgroup and all below it, deepest first. Returns whether it is gone.
fn remove(cgroup: &Path) -> bool {
    for child in children(cgroup) {
        remove(&child);
    }
    match std::fs::remove_dir(cgroup) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cgroup) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|e| e.path())
        .collect()
}

/// Matches every hierarchy in `own` (`/proc/self/cgroup`) with its mount and this process's
/// directory in it.
fn match_up(own: &str, mounts: &[Mount]) -> Vec<Hierarchy> {
    own.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let unified = controllers.is_empty();
            let mount = mounts.iter().find(|mount| match unified {
                true => mount.kind == "cgroup2",
                false => {
                    let options: Vec<_> = mount.options.split(',').collect();
                    mount.kind == "cgroup"
                        && controllers.split(',').all(|one| options.contains(&one))
                }
            })?;
            // In a container without a cgroup namespace, both paths start at the host's root.
            let below = Path::new(path).strip_prefix(&mount.root).ok()?;
            Some(Hierarchy {
                current: mount.target.join(below),
                cpuset: controllers.split(',').any(|one| one == "cpuset"),
                unified,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str, target: &str, kind: &str, options: &str) -> Mount {
        Mount {
            root: root.into(),
            target: target.into(),
            kind: kind.into(),
            options: options.into(),
        }
    }

    #[test]
    fn version_1_with_an_empty_version_2_is_legacy() {
        let mounts = [
            mount("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
            mount("/", "/sys/fs/cgroup/cpuset", "cgroup", "rw,cpuset"),
            mount("/", "/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,name=systemd"),
            mount("/", "/sys/fs/cgroup/unified", "cgroup2", "rw"),
        ];
        let found =
            match_up("4:cpu,cpuacct:/jobs/7\n3:cpuset:/\n1:name=systemd:/\n0::/\n", &mounts);
        let current: Vec<_> = found
            .iter()
            .map(|hierarchy| hierarchy.current.to_string_lossy().into_owned())
            .collect();
        assert_eq!(
            current,
            [
                "/sys/fs/cgroup/cpu,cpuacct/jobs/7",
                "/sys/fs/cgroup/cpuset/",
                "/sys/fs/cgroup/systemd/",
                "/sys/fs/cgroup/unified/"
            ]
        );
        assert_eq!(found.iter().filter(|hierarchy| hierarchy.cpuset).count(), 1);
        assert_eq!(layout(&found), Layout::Legacy);
    }

    #[test]
    fn version_2_alone_is_unified_also_in_a_container() {
        let mounts = [mount("/docker/1", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate")];
        let found = match_up("0::/docker/1/init\n", &mounts);
        assert_eq!(folders(&found, "lab12-a"), [PathBuf::from("/sys/fs/cgroup/init/lab12-a")]);
        assert_eq!(layout(&found), Layout::Unified);
    }

    #[test]
    fn only_cgroups_of_the_machine_are_its_own() {
        assert!(is_of(Path::new("/sys/fs/cgroup/cpu/lab12-a"), "lab12-a"));
        assert!(is_of(Path::new("/sys/fs/cgroup/system.slice/lab12-a.scope"), "lab12-a"));
        assert!(!is_of(Path::new("/sys/fs/cgroup/"), "lab12-a"));
        assert!(!is_of(Path::new("/"), "lab12-a"));
        assert!(!is_of(Path::new("/sys/fs/cgroup/cpu/lab12-ab"), "lab12-a"));
    }
}
