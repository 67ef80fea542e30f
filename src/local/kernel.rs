//! The kernel settings that local nodes share with this machine and with each other: a kernel has
//! them only once.
//!
//! The first node that starts on this machine finds them as they were; the last one that goes takes
//! the changes with it. What was found is noted in `/run`, which a reboot empties as it forgets the
//! settings. Other labs of this machine count: as long as they have nodes, the settings are theirs
//! too.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::LocalError;
use super::{names, network};

const NOTED: &str = "/run/labctl/kernel-settings";

/// What the kubelet wants otherwise than most machines have it, and a network namespace does not
/// keep apart.
const SHARED: &[&str] = &[
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Notes the settings, unless nodes that are here already have done so.
pub(super) fn note() -> Result<(), LocalError> {
    let _lock = lock()?;
    if Path::new(NOTED).exists() {
        return Ok(());
    }
    let lines = SHARED.iter().filter_map(|key| {
        let value = fs::read_to_string(file(key)).ok()?;
        Some(format!("{key} {}\n", value.trim()))
    });
    fs::write(NOTED, lines.collect::<String>()).map_err(LocalError::io("write", Path::new(NOTED)))
}

/// Puts the settings back, when no local node of any lab is left.
pub(super) fn restore() -> Result<(), LocalError> {
    let _lock = lock()?;
    let Ok(noted) = fs::read_to_string(NOTED) else { return Ok(()) };
    if others() {
        return Ok(());
    }
    for (key, value) in noted.lines().filter_map(|line| line.split_once(' ')) {
        let file = file(key);
        // A setting that this kernel has not got is not there to be wrong.
        let found = fs::read_to_string(&file).unwrap_or_else(|_| value.to_owned());
        if found.trim() != value {
            fs::write(&file, value).map_err(LocalError::io("put back", &file))?;
        }
    }
    fs::remove_file(NOTED).map_err(LocalError::io("remove", Path::new(NOTED)))?;
    // The folder too; whoever waits for its lock makes another one.
    let _ = fs::remove_dir(folder());
    Ok(())
}

fn folder() -> &'static Path {
    Path::new(NOTED).parent().unwrap_or(Path::new("/run"))
}

fn file(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

/// Whether there is a local node of any lab.
fn others() -> bool {
    network::machines("").iter().any(|name| names::is_machine(name))
}

/// Labs of one machine come and go at the same time.
fn lock() -> Result<File, LocalError> {
    loop {
        fs::create_dir_all(folder()).map_err(LocalError::io("make", folder()))?;
        let lock = match File::open(folder()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(LocalError::io("open", folder()))?,
        };
        flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| LocalError::io("lock", folder())(io::Error::from(error)))?;
        let number = |found: io::Result<fs::Metadata>| found.map(|it| it.ino()).ok();
        if number(lock.metadata()) == number(fs::metadata(folder())) {
            return Ok(lock);
        }
    }
}
