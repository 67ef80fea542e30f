//! Local nodes without their directories: the lab directory was moved or deleted while they were
//! running.
//!
//! The kernel still knows them: the command line of a node's systemd-nspawn and the options of its
//! overlay both contain the path at which the node was created, wherever its directory is now. The
//! whole path must match this lab's, so that nodes of other labs are never mistaken for this lab's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::cgroup;
use super::error::LocalError;
use super::mounts::{self, Mount};
use super::names::Names;
use super::network;
use super::node::forget_nspawn;

/// How long to wait for a killed node to exit.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is left of a node of this lab that has no directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LostNode {
    /// The process of systemd-nspawn, if it is running.
    pub pid: Option<Pid>,
    /// Where its root is mounted now.
    pub root: Option<PathBuf>,
}

/// Returns the nodes that are running or mounted but have no directory in `nodes`, by name.
pub(super) fn find(nodes: &Path) -> Result<BTreeMap<String, LostNode>, LocalError> {
    let mut lost: BTreeMap<String, LostNode> = BTreeMap::new();
    for mount in mounts::mounted()? {
        if let Some(node) = overlay_of(&mount, nodes) {
            lost.entry(node).or_default().root = Some(mount.target);
        }
    }
    for entry in
        fs::read_dir("/proc").map_err(LocalError::io("read", Path::new("/proc")))?.flatten()
    {
        let Some(pid) =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
        else {
            continue;
        };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if let Some(node) = machine_of(&arguments, nodes) {
            lost.entry(node).or_default().pid = Some(pid);
        }
    }
    lost.retain(|node, _| !nodes.join(node).is_dir());
    Ok(lost)
}

/// Returns where the lab directory is now, if it was moved.
pub(super) fn moved_to(lost: &BTreeMap<String, LostNode>, lab: &Path) -> Option<PathBuf> {
    let there = |root: &PathBuf| {
        root.ancestors().nth(3).filter(|moved| moved.is_dir() && *moved != lab).map(Path::to_owned)
    };
    lost.values().filter_map(|node| node.root.as_ref()).find_map(there)
}

/// Kills a node and removes what it has on this machine outside its directory; the directory stays.
/// Blocks.
pub(super) fn remove(names: &Names, name: &str, lost: &LostNode) -> Result<(), LocalError> {
    let machine = names.machine(name);
    let stuck = |what: String| LocalError::Stuck { node: name.to_owned(), what };
    if let Some(pid) = lost.pid {
        let cgroups = cgroup::of_process(pid, &machine)?;
        // An error means that it has already exited.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        cgroup::end(&cgroups)
            .map_err(|left| stuck(format!("processes stay in {}", left.display())))?;
        let until = Instant::now() + PATIENCE;
        while Path::new(&format!("/proc/{}/ns", pid.as_raw_nonzero())).exists() {
            if Instant::now() > until {
                return Err(stuck(format!("process {} does not exit", pid.as_raw_nonzero())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    network::remove_node(&names.link(name), &machine)?;
    // Without a known mount there is no lock to look for, but there may still be a directory of the
    // machine.
    let root = lost.root.as_deref();
    forget_nspawn(root.unwrap_or(Path::new("")), &machine)?;
    root.map_or(Ok(()), mounts::unmount_below)
}

/// Returns the name of the node whose root this overlay is, if it was mounted for a node below
/// `nodes`.
fn overlay_of(mount: &Mount, nodes: &Path) -> Option<String> {
    let upper = (mount.kind == "overlay").then(|| option(&mount.options, "upperdir="))??;
    let below = upper.strip_prefix(nodes).ok()?;
    name_then(below, "upper")
}

/// Returns the name of the node whose systemd-nspawn has these arguments, if it was started for a
/// node below `nodes`.
fn machine_of(arguments: &[u8], nodes: &Path) -> Option<String> {
    let mut arguments = arguments.split(|byte| *byte == 0);
    let program = Path::new(std::str::from_utf8(arguments.next()?).ok()?).file_name()?;
    if program != "systemd-nspawn" {
        return None;
    }
    let directory = arguments.find_map(|argument| argument.strip_prefix(b"--directory="))?;
    let directory = PathBuf::from(OsString::from_vec(directory.to_vec()));
    name_then(directory.strip_prefix(nodes).ok()?, "root")
}

/// Returns `NAME` if the path is exactly `NAME/last`.
fn name_then(path: &Path, last: &str) -> Option<String> {
    let mut parts = path.components();
    let (Some(Component::Normal(name)), Some(Component::Normal(end)), None) =
        (parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    (end == last).then(|| name.to_str().map(str::to_owned)).flatten()
}

/// Returns the path of a mount option. Options are separated by commas; a comma in a path is
/// escaped with a backslash.
fn option(options: &str, key: &str) -> Option<PathBuf> {
    let start = options
        .strip_prefix(key)
        .or_else(|| options.split_once(&format!(",{key}")).map(|(_, rest)| rest))?;
    let mut path = String::new();
    let mut letters = start.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ',' => break,
            '\\' => {
                match letters.as_str().get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok())
                {
                    Some(byte) => {
                        path.push(byte.into());
                        letters.nth(2);
                    }
                    None => path.extend(letters.next()),
                }
            }
            other => path.push(other),
        }
    }
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(target: &str, kind: &str, options: &str) -> Mount {
        Mount {
            root: "/".into(),
            target: target.into(),
            kind: kind.into(),
            options: options.into(),
        }
    }

    #[test]
    fn an_overlay_belongs_to_the_lab_that_mounted_it_even_after_a_move() {
        let nodes = Path::new("/labs/a/nodes");
        let of = |options: &str| {
            overlay_of(&mount("/elsewhere/a/nodes/w/root", "overlay", options), nodes)
        };
        assert_eq!(
            of("rw,lowerdir=/base,upperdir=/labs/a/nodes/w/upper,workdir=/x").as_deref(),
            Some("w")
        );
        for other in [
            "rw,lowerdir=/base,upperdir=/labs/ab/nodes/w/upper",
            "rw,lowerdir=/base,upperdir=/labs/a/nodes/w/containerd/1/upper",
            "rw,lowerdir=/labs/a/nodes/w/upper,upperdir=/elsewhere",
            "rw,lowerdir=/base",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        let tmpfs = mount("/x", "tmpfs", "upperdir=/labs/a/nodes/w/upper");
        assert_eq!(overlay_of(&tmpfs, nodes), None);
        let odd = mount("/x", "overlay", "rw,upperdir=/my\\040labs/a\\,b/nodes/w/upper,workdir=/x");
        assert_eq!(overlay_of(&odd, Path::new("/my labs/a,b/nodes")).as_deref(), Some("w"));
    }

    #[test]
    fn a_process_is_a_node_only_if_it_is_systemd_nspawn_on_exactly_its_directory() {
        let nodes = Path::new("/labs/a/nodes");
        let of = |line: &str| machine_of(line.replace(' ', "\0").as_bytes(), nodes);
        assert_eq!(
            of("systemd-nspawn --quiet --directory=/labs/a/nodes/w/root --boot").as_deref(),
            Some("w")
        );
        assert_eq!(
            of("/usr/bin/systemd-nspawn --directory=/labs/a/nodes/w/root").as_deref(),
            Some("w")
        );
        for other in [
            "sh launch.sh run /labs/a/nodes/w legacy systemd-nspawn \
            --directory=/labs/a/nodes/w/root",
            "systemd-nspawn --directory=/labs/b/nodes/w/root",
            "systemd-nspawn --directory=/labs/a/nodes/w/root/var/lib/machines/root",
            "systemd-nspawn --boot",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_moved_directory_is_found_by_the_mounts_of_its_nodes() {
        let here = tempfile::tempdir().expect("a directory");
        let root = here.path().join("nodes/w/root");
        let lost = BTreeMap::from([("w".to_owned(), LostNode { pid: None, root: Some(root) })]);
        assert_eq!(moved_to(&lost, Path::new("/labs/a")).as_deref(), Some(here.path()));
        assert_eq!(moved_to(&lost, here.path()), None, "it was not moved");
        assert_eq!(moved_to(&BTreeMap::new(), Path::new("/labs/a")), None);
    }
}
