//! Directories that belong to a test as long as it runs. What a killed test has left is known by
//! its owner's death.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The file that the owner keeps locked: the kernel lets go of it however the owner ends.
pub const OWNER: &str = "owner";

/// A directory of this test's own in `parent`, and the lock that says so.
pub fn directory(parent: &Path, prefix: &str) -> (tempfile::TempDir, File) {
    let directory =
        tempfile::Builder::new().prefix(prefix).tempdir_in(parent).expect("a directory");
    let owner = File::create(directory.path().join(OWNER)).expect("a file");
    owner.lock().expect("a lock");
    (directory, owner)
}

/// The directories in `parent` that a test has made and no test owns any more.
pub fn abandoned(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path());
    ours.filter(|path| File::open(path.join(OWNER)).is_ok_and(|owner| owner.try_lock().is_ok()))
        .collect()
}

#[test]
fn a_directory_is_abandoned_when_its_owner_is_gone() {
    let parent = tempfile::tempdir().expect("a directory");
    let (mine, lock) = directory(parent.path(), "it-");
    fs::create_dir(parent.path().join("it-is-nobodys")).expect("a directory");
    assert_eq!(abandoned(parent.path(), "it-"), Vec::<PathBuf>::new(), "its owner lives");
    // Not by dropping it: a test beside this one may be starting a program, and until that is
    // executed the fork holds the open file, and the lock with it.
    lock.unlock().expect("the owner is gone");
    assert_eq!(abandoned(parent.path(), "it-"), [mine.path()]);
    assert_eq!(abandoned(parent.path(), "other-"), Vec::<PathBuf>::new());
}
