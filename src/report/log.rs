//! The run log: every event of a run as JSON lines in the lab directory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;

use super::json;
use super::thin::{self, Thin};
use crate::event::Stamped;

/// An open run log.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: BufWriter<File>,
    thin: Thin,
}

impl RunLog {
    /// Creates the log of a run that starts at `now`: `<directory>/<UTC time>.jsonl`, readable only
    /// by its owner.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn create(folder: &Path, now: SystemTime) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let moment = OffsetDateTime::from(now)
            .format(format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]Z"))
            .map_err(io::Error::other)?;
        // Two runs within one second (the second one waits for the first one's lock) need separate
        // logs.
        for attempt in 1.. {
            let name = if attempt == 1 {
                format!("{moment}.jsonl")
            } else {
                format!("{moment}-{attempt}.jsonl")
            };
            let path = folder.join(name);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    return Ok(Self {
                        path,
                        file: BufWriter::new(file),
                        thin: Thin::new(Duration::from_secs(1)),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop returns at its hundredth attempt at the latest")
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one event. Flushes unless it is progress, so that after a crash the last event is in
    /// the file.
    pub(super) fn event(&mut self, stamped: &Stamped) -> io::Result<()> {
        if !self.thin.passes(stamped) {
            return Ok(());
        }
        self.file.write_all(json::line(stamped)?.as_bytes())?;
        if thin::is_progress(&stamped.event) { Ok(()) } else { self.file.flush() }
    }
}
