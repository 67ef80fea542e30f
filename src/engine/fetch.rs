//! Fetches what a command on a node prints into a file on this machine, however large it is.

use std::fs::File;
use std::time::Duration;

use super::Run;
use crate::transport::{Exec, Output, Transport, TransportError};

/// The slowest and largest that is still worth waiting for.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// The largest that is taken, in bytes: twice what etcd recommends for its database at most.
const LARGEST: u64 = 16 << 30;

/// Runs `script` on a node as root and writes its standard output into `file`. Asked to stop, it
/// gives the command up.
///
/// # Errors
/// When the connection is lost, the file cannot be written, or the user asked to stop. A command
/// that exits with another code than 0 is no error here.
pub async fn fetch(
    transport: &Transport,
    script: &str,
    file: File,
    run: &Run,
) -> Result<Output, TransportError> {
    let mut cancelled = run.cancelled.clone();
    tokio::select! {
        output = transport.exec(Exec::new(script, LIMIT).sink(file).at_most(LARGEST)) => output,
        Ok(_) = cancelled.wait_for(|stop| *stop) => {
            Err(TransportError { what: "fetch from the \
                node".to_owned(), why: "stopped".to_owned(), help: None })
        }
    }
}
