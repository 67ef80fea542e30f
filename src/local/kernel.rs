//! Kernel settings that local nodes share with this machine and with each other, because the kernel
//! has only one copy of them.
//!
//! The first node on this machine records the current values, and removing the last one restores
//! them. The record is in `/run`, because a reboot resets the settings too. Nodes of all labs on
//! this machine count.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::LocalError;
use super::{names, network};

const NOTED: &str = "/run/labctl/kernel-settings";

/// How many inotify instances root may have, of all nodes together: the kernel takes theirs for
/// root's. Its own limit of 128 is used up by five nodes that are controllers and workers.
const INSTANCES: &str = "fs/inotify/max_user_instances";

/// Settings that kubelet changes and that network namespaces do not isolate, and the one that is
/// changed here.
const SHARED: &[&str] = &[
    INSTANCES,
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Records the settings that no other node's start has recorded. A record of an older labctl may
/// lack some.
pub(super) fn note() -> Result<(), LocalError> {
    let _lock = lock()?;
    let (path, noted) = (Path::new(NOTED), noted()?);
    let whole = completed(&noted, |key| fs::read_to_string(file(key)).ok());
    if whole == noted {
        return Ok(());
    }
    fs::write(path, whole).map_err(LocalError::io("write", path))
}

/// Returns the record; an empty one if there is none.
fn noted() -> Result<String, LocalError> {
    let path = Path::new(NOTED);
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(LocalError::io("read", path)),
    }
}

/// Returns a record with the current values of the settings that it lacks.
fn completed(noted: &str, current: impl Fn(&str) -> Option<String>) -> String {
    let has = |key: &str| settings(noted).any(|(noted, _)| noted == key);
    let lacking = SHARED.iter().filter(|key| !has(key)).filter_map(|key| {
        let value = current(key)?;
        Some(format!("{key} {}\n", value.trim()))
    });
    noted.to_owned() + &lacking.collect::<String>()
}

/// Returns the settings of a record, with their values.
fn settings(noted: &str) -> impl Iterator<Item = (&str, &str)> {
    noted.lines().filter_map(|line| line.split_once(' '))
}

/// Raises the limit of inotify instances to what a machine full of nodes needs, if it is lower.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn let_nodes_watch() -> io::Result<()> {
    const ENOUGH: u64 = 8192;
    let file = file(INSTANCES);
    let limit: u64 = fs::read_to_string(&file)?.trim().parse().unwrap_or(u64::MAX);
    if limit < ENOUGH { fs::write(&file, ENOUGH.to_string()) } else { Ok(()) }
}

/// Restores the settings when there are no local nodes of any lab left.
pub(super) fn restore() -> Result<(), LocalError> {
    let _lock = lock()?;
    if others() {
        return Ok(());
    }
    let (path, noted) = (Path::new(NOTED), noted()?);
    for (key, value) in settings(&noted) {
        let file = file(key);
        // A setting that this kernel does not have needs no restoring.
        let found = fs::read_to_string(&file).unwrap_or_else(|_| value.to_owned());
        if found.trim() != value {
            fs::write(&file, value).map_err(LocalError::io("restore", &file))?;
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.map_err(LocalError::io("remove", path))?,
    }
    // Removes the directory too; a process that waits for its lock creates a new one.
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

/// Takes a lock, because labs on one machine may come and go at the same time.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_records_every_setting_that_the_kernel_has() {
        let record =
            completed("", |key| (key != "vm/panic_on_oom").then(|| format!("{}\n", key.len())));
        assert_eq!(settings(&record).count(), SHARED.len() - 1);
        assert!(settings(&record).all(|(key, value)| value == key.len().to_string()), "{record}");
    }

    #[test]
    fn a_record_keeps_its_values_and_gets_the_settings_that_it_lacks() {
        let record = completed("kernel/panic 0\n", |_| Some("10\n".to_owned()));
        assert_eq!(record.lines().next(), Some("kernel/panic 0"));
        assert_eq!(settings(&record).filter(|(key, _)| *key == "kernel/panic").count(), 1);
        assert!(settings(&record).any(|it| it == (INSTANCES, "10")), "{record}");
        assert_eq!(completed(&record, |_| Some("11".to_owned())), record);
    }
}
