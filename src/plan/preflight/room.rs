//! Disk space: what is pushed must fit, in each file system that it goes to.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Findings;
use super::judged::Judged;
use crate::machine::surroundings::Room;
use crate::module::file::Content;
use crate::module::{Desired, STATE_FOLDER, State};

/// Where containerd unpacks images.
const IMAGES: &str = "/var/lib/containerd";
/// The names of nodes.
const HOSTS: &str = "/etc/hosts";

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    unwritable(on, found);
    let Some(rooms) = on.around().room() else { return };
    let of = |path: &str| {
        let within = |room: &&Room| {
            path.strip_prefix(&room.place)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        rooms.iter().find(within)
    };
    let Some(store) = of(STATE_FOLDER) else { return };
    // What each file system needs, by where it is mounted.
    let mut needs: BTreeMap<&str, u64> = BTreeMap::new();
    let mut pushed = BTreeSet::new();
    for desired in on.desired.iter().filter(|it| it.diff(on.facts).is_some()) {
        for blob in desired.actions(on.facts).blobs {
            if pushed.insert(blob.sha256.clone()) {
                *needs.entry(&store.mount).or_default() += blob.size;
            }
        }
        let (place, size) = match desired {
            // A hard link into the store, where one can be made.
            Desired::File(file) => match &file.content {
                Content::Blob(blob) => {
                    (of(&file.path).filter(|it| it.mount != store.mount), blob.size)
                }
                Content::Inline { .. } => continue,
            },
            Desired::Image(image) => (of(IMAGES), image.archive.size),
            _ => continue,
        };
        if let Some(room) = place {
            *needs.entry(&room.mount).or_default() += size;
        }
    }
    let free: BTreeMap<&str, u64> = rooms.iter().map(|it| (it.mount.as_str(), it.free)).collect();
    for (mount, need) in needs {
        let free = free.get(mount).copied().unwrap_or(u64::MAX);
        if need > free {
            on.refuse(
                found,
                format!("{mount} has {} free, and {} will be written there", mb(free), mb(need)),
                format!("free at least {} there, or use a larger disk", mb(need - free)),
            );
        }
    }
}

/// Places that root itself cannot write in, where something is to be written.
fn unwritable(on: &Judged<'_>, found: &mut Findings) {
    for place in on.around().unwritable().unwrap_or_default() {
        let below = |path: &str| {
            path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let written = |desired: &&&Desired| {
            place == STATE_FOLDER
                || match desired {
                    Desired::Hosts(_) => place == HOSTS,
                    Desired::Image(_) => place == IMAGES,
                    Desired::File(file) => below(&file.path),
                    Desired::Link(link) => below(&link.path),
                    Desired::Directory(directory) => below(&directory.path),
                    _ => false,
                }
        };
        if on.desired.iter().filter(written).any(|it| it.diff(on.facts).is_some()) {
            on.refuse(
                found,
                format!("{place} cannot be written, not even by root"),
                "mount it read-write, or `chattr -i` it".to_owned(),
            );
        }
    }
}

/// Bytes in the unit that people think of disks in.
fn mb(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}
