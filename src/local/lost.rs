//! Local nodes whose folders are not where they were made: the lab directory was moved or deleted
//! while they ran.
//!
//! They are found by what the kernel still says of them: the command line of a node's
//! systemd-nspawn and the options of its overlay both name the folder that the node was made in,
//! wherever that is by now. Both are compared with this lab's own path as a whole, so that no other
//! lab's nodes are ever taken for these.

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

/// How long a killed node may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is left of a node of this lab without its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LostNode {
    /// The process of systemd-nspawn, when it runs.
    pub pid: Option<Pid>,
    /// Where its root is mounted by now.
    pub root: Option<PathBuf>,
}

/// The nodes that run or are mounted without a folder at `nodes`, by name.
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

/// Where the lab directory is by now, when it was moved.
pub(super) fn moved_to(lost: &BTreeMap<String, LostNode>, lab: &Path) -> Option<PathBuf> {
    let there = |root: &PathBuf| {
        root.ancestors().nth(3).filter(|moved| moved.is_dir() && *moved != lab).map(Path::to_owned)
    };
    lost.values().filter_map(|node| node.root.as_ref()).find_map(there)
}

/// Ends a node and removes what it has on this machine outside of its folder; the folder itself
/// stays. Blocks.
pub(super) fn remove(names: &Names, name: &str, lost: &LostNode) -> Result<(), LocalError> {
    let machine = names.machine(name);
    let stuck = |what: String| LocalError::Stuck { node: name.to_owned(), what };
    if let Some(pid) = lost.pid {
        let cgroups = cgroup::of_process(pid, &machine)?;
        // It may have ended meanwhile: what was wanted.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        cgroup::end(&cgroups)
            .map_err(|left| stuck(format!("processes stay in {}", left.display())))?;
        let until = Instant::now() + PATIENCE;
        while Path::new(&format!("/proc/{}/ns", pid.as_raw_nonzero())).exists() {
            if Instant::now() > until {
                return Err(stuck(format!("process {} does not end", pid.as_raw_nonzero())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    network::remove_node(&names.link(name), &machine)?;
    // Without a mount that is known there is no lock to be found either; a folder of the machine
    // may still be there.
    let root = lost.root.as_deref();
    forget_nspawn(root.unwrap_or(Path::new("")), &machine)?;
    root.map_or(Ok(()), mounts::unmount_below)
}

/// The node whose root an overlay is, when it was mounted for a node below `nodes`.
fn overlay_of(mount: &Mount, nodes: &Path) -> Option<String> {
    let upper = (mount.kind == "overlay").then(|| option(&mount.options, "upperdir="))??;
    let below = upper.strip_prefix(nodes).ok()?;
    name_then(below, "upper")
}

/// The node whose systemd-nspawn has these arguments, when it was started for a node below `nodes`.
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

/// `NAME` of a path that is `NAME/last` and nothing else.
fn name_then(path: &Path, last: &str) -> Option<String> {
    let mut parts = path.components();
    let (Some(Component::Normal(name)), Some(Component::Normal(end)), None) =
        (parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    (end == last).then(|| name.to_str().map(str::to_owned)).flatten()
}

/// A path among a mount's options, which are parted by commas; one of its own has a backslash
/// before it.
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
    fn an_overlay_is_of_the_lab_that_it_was_mounted_for_wherever_it_is_now() {
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
    fn a_process_is_a_node_of_the_lab_when_it_is_systemd_nspawn_on_its_very_folder() {
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
    fn a_directory_that_was_moved_is_named_by_where_its_nodes_are_mounted() {
        let here = tempfile::tempdir().expect("a folder");
        let root = here.path().join("nodes/w/root");
        let lost = BTreeMap::from([("w".to_owned(), LostNode { pid: None, root: Some(root) })]);
        assert_eq!(moved_to(&lost, Path::new("/labs/a")).as_deref(), Some(here.path()));
        assert_eq!(moved_to(&lost, here.path()), None, "it is where it was");
        assert_eq!(moved_to(&BTreeMap::new(), Path::new("/labs/a")), None);
    }
}
