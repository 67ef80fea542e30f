//! What a slice hands over when it has ended: how each cluster's run ended, and what the lab
//! directories have got meanwhile. It is one line of the pod's log, and has no secret in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::parcel;
use crate::commands::tarball::packed;
use crate::lab::LabDirectory;

/// What the line begins with.
const LINE: &str = "labctl-slice-ended: ";
/// How the clusters' runs ended, in the archive.
const ENDS: &str = "ends.json";

/// How a cluster's run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterEnd {
    /// The cluster's number.
    pub number: u16,
    /// The exit code; none if it was killed or could not be started.
    pub exit: Option<i32>,
    /// How long that took.
    pub took: Duration,
    /// What it said of failures.
    pub why: Vec<String>,
}

/// What a slice has handed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SliceOutcome {
    /// How the clusters' runs ended.
    pub ends: Vec<ClusterEnd>,
    /// Files for lab directories: the cluster's number, the path in its lab directory, the content.
    pub files: Vec<(u16, PathBuf, Vec<u8>)>,
}

impl SliceOutcome {
    /// Reads what lab directories have got. Nothing else of them leaves the pod.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn new(ends: Vec<ClusterEnd>, labs: &[(u16, LabDirectory)]) -> io::Result<Self> {
        let mut files = Vec::new();
        for (number, lab) in labs {
            let logs = fs::read_dir(lab.runs()).into_iter().flatten().flatten();
            let logs = logs.map(|log| Path::new("runs").join(log.file_name()));
            let mut paths: Vec<PathBuf> = beside_logs().into_iter().chain(logs).collect();
            paths.retain(|path| belongs(path) && lab.root().join(path).is_file());
            paths.sort();
            for path in paths {
                let content = fs::read(lab.root().join(&path))?;
                files.push((*number, path, content));
            }
        }
        Ok(Self { ends, files })
    }

    /// The line of a log that has it.
    ///
    /// # Errors
    /// If it cannot be packed.
    pub fn line(&self) -> io::Result<String> {
        let ends = serde_json::to_vec(&self.ends)?;
        let of_lab =
            |(number, path, _): &(u16, PathBuf, Vec<u8>)| Path::new(&number.to_string()).join(path);
        let paths: Vec<PathBuf> = self.files.iter().map(of_lab).collect();
        let contents = self.files.iter().map(|(_, _, content)| content.as_slice());
        let files = paths.iter().map(PathBuf::as_path).zip(contents);
        let all = [(Path::new(ENDS), ends.as_slice())].into_iter().chain(files);
        let archive = packed(all.map(|(path, content)| (path, 0o600, content)))?;
        Ok(format!("{LINE}{}", STANDARD.encode(archive)))
    }

    /// Finds it in a pod's log.
    ///
    /// # Errors
    /// What is wrong with it: a pod says what it likes.
    pub fn of_log(log: &str) -> Result<Self, String> {
        let line = log.lines().rev().find_map(|line| line.strip_prefix(LINE));
        let line = line.ok_or("its log does not say how it ended")?;
        let packed = STANDARD.decode(line.trim()).map_err(|error| error.to_string())?;
        let mut outcome = Self::default();
        for (path, _, content) in parcel::read(&packed).map_err(|error| error.to_string())? {
            if path == Path::new(ENDS) {
                outcome.ends =
                    serde_json::from_slice(&content).map_err(|error| error.to_string())?;
                continue;
            }
            let mut parts = path.components();
            let number = parts.next().and_then(|it| it.as_os_str().to_str()?.parse().ok());
            match (number, parts.as_path().to_owned()) {
                (Some(number), rest) if belongs(&rest) => {
                    outcome.files.push((number, rest, content));
                }
                _ => return Err(format!("it hands over {}", path.display())),
            }
        }
        Ok(outcome)
    }
}

/// What a lab directory gets of each run beside its log, by the path in it.
fn beside_logs() -> [PathBuf; 3] {
    let lab = LabDirectory::new("");
    [lab.known_hosts(), lab.roster(), lab.facts()]
}

/// Whether a file of a lab directory is one that slices hand over.
fn belongs(path: &Path) -> bool {
    let names: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let plain = |name: &str| {
        !name.starts_with('.')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    match names.as_slice() {
        [_] => beside_logs().iter().any(|it| it == path),
        ["runs", log] => plain(log) && log.ends_with(".jsonl"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> ClusterEnd {
        ClusterEnd { number: 3, exit: Some(0), took: Duration::from_millis(1234), why: Vec::new() }
    }

    #[test]
    fn what_a_slice_hands_over_arrives_and_no_key_is_in_it() {
        let folder = tempfile::tempdir().expect("a directory");
        let lab = LabDirectory::new(folder.path());
        for (path, content) in [
            ("pki/ca.key", "a key"),
            ("admin.conf", "another"),
            ("known_hosts", "hosts"),
            ("runs/one.jsonl", "{}"),
            ("runs/.hidden.jsonl", "no"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, content).expect("a file");
        }
        let outcome = SliceOutcome::new(vec![ended()], &[(3, lab)]).expect("it is read");
        let names: Vec<&Path> = outcome.files.iter().map(|(_, path, _)| path.as_path()).collect();
        assert_eq!(names, [Path::new("known_hosts"), Path::new("runs/one.jsonl")]);
        let log = format!("cluster 3 up\n{}\n", outcome.line().expect("a line"));
        assert_eq!(SliceOutcome::of_log(&log).expect("it is whole"), outcome);
    }

    #[test]
    fn a_pod_cannot_write_what_it_likes() {
        for path in ["pki/ca.key", "admin.conf", "runs/x.sh", "runs/a/b.jsonl", "runs/.x.jsonl"] {
            let files = vec![(3, PathBuf::from(path), b"x".to_vec())];
            let log = SliceOutcome { ends: vec![ended()], files }.line().expect("a line");
            let refused = SliceOutcome::of_log(&log).expect_err(path);
            assert!(refused.contains(path), "{refused}");
        }
        for log in ["", "labctl-slice-ended: !", "labctl-slice-ended: aGVsbG8="] {
            assert!(SliceOutcome::of_log(log).is_err(), "{log}");
        }
    }
}
