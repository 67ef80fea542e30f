//! Mounts of local nodes: mounting the overlay that is a node's root, and unmounting everything
//! below a directory.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use super::error::LocalError;

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The part of the file system that is mounted.
    pub root: PathBuf,
    /// The mount point.
    pub target: PathBuf,
    /// The type of the file system.
    pub kind: String,
    /// The file system's own options.
    pub options: String,
}

/// Returns all mounts, in the order in which they were mounted.
pub(super) fn mounted() -> Result<Vec<Mount>, LocalError> {
    let path = Path::new("/proc/self/mountinfo");
    let table = std::fs::read(path).map_err(LocalError::io("read", path))?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// Whether something is mounted at exactly `target`.
pub(super) fn is_mounted(target: &Path) -> Result<bool, LocalError> {
    Ok(mounted()?.iter().any(|mount| mount.target == target))
}

/// Mounts `upper` over `lower` at `target`.
pub(super) fn overlay(
    lower: &Path,
    upper: &Path,
    work: &Path,
    target: &Path,
) -> Result<(), LocalError> {
    let mut options = Vec::new();
    for (key, path) in [("lowerdir=", lower), (",upperdir=", upper), (",workdir=", work)] {
        options.extend_from_slice(key.as_bytes());
        options.extend_from_slice(&escape(path));
    }
    // A path never holds a zero byte.
    let options = CString::new(options).unwrap_or_default();
    rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())
        .map_err(|error| LocalError::Io {
            doing: "mount an overlay at",
            path: target.to_owned(),
            source: error.into(),
            help: Some(
                "the lab directory must be on a disk file system (ext4, xfs, btrfs), not on an \
                overlay or network mount",
            ),
        })
}

/// Unmounts everything at or below `folder`, deepest first. A busy mount is detached and disappears
/// with its last user.
pub(super) fn unmount_below(folder: &Path) -> Result<(), LocalError> {
    let below = |mount: &Mount| mount.target.starts_with(folder);
    for mount in mounted()?.iter().rev().filter(|mount| below(mount)) {
        let target = &mount.target;
        let result = match rustix::mount::unmount(target.as_path(), UnmountFlags::empty()) {
            Err(rustix::io::Errno::BUSY) => {
                rustix::mount::unmount(target.as_path(), UnmountFlags::DETACH)
            }
            other => other,
        };
        match result {
            // Already unmounted.
            Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(LocalError::io("unmount", target)(error)),
        }
    }
    match mounted()?.into_iter().find(below) {
        None => Ok(()),
        Some(left) => {
            Err(LocalError::io("unmount", &left.target)(io::Error::other("it is still mounted")))
        }
    }
}

/// Unmounts everything below `folder`, then removes the directory with its contents. Never descends
/// into a mount.
pub(super) fn remove_folder(folder: &Path) -> Result<(), LocalError> {
    unmount_below(folder)?;
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Escapes a path for overlay, which separates options by commas and lower directories by colons.
fn escape(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b',' | b':' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

/// `36 35 98:0 /root /target rw,noatime master:1 - ext4 /dev/root rw,errors=continue`
fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let text =
        |index: usize| fields.get(index).map(|field| String::from_utf8_lossy(field).into_owned());
    Some(Mount {
        root: unescape(fields.get(3)?),
        target: unescape(fields.get(4)?),
        kind: text(separator + 1)?,
        options: text(separator + 3).unwrap_or_default(),
    })
}

/// Decodes the kernel's three-digit octal escapes for blank, tab, newline and backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::new();
    let mut rest = field;
    while let Some((first, others)) = rest.split_first() {
        let octal = (*first == b'\\')
            .then(|| others.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                path.push(byte);
                rest = &others[3..];
            }
            None => {
                path.push(*first);
                rest = others;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_line_is_parsed() {
        let mount = parse(
            b"45 27 254:0 / /labs/my\\040lab/root rw shared:1 - overlay overlay rw,lowerdir=/base",
        );
        let expected = Mount {
            root: "/".into(),
            target: "/labs/my lab/root".into(),
            kind: "overlay".into(),
            options: "rw,lowerdir=/base".into(),
        };
        assert_eq!(mount, Some(expected));
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_longer_name_is_not_below_a_directory() {
        // `starts_with` on paths compares whole parts: /labs/a does not own /labs/ab.
        assert!(!Path::new("/labs/ab/root").starts_with("/labs/a"));
    }

    #[test]
    fn odd_paths_survive_in_overlay_options() {
        assert_eq!(escape(Path::new("/a,b:c")), b"/a\\,b\\:c");
    }
}
