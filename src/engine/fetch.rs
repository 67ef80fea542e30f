//! Saves the output of a command on a node to a file on the workstation, however large it is.

use std::fs::File;
use std::time::Duration;

use super::Run;
use crate::transport::{Exec, Output, Transport, TransportError};

/// Time limit of a fetch.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Maximum size in bytes: twice the maximum that etcd recommends for its database.
const LARGEST: u64 = 16 << 30;

/// Runs `script` on a node as root and writes its stdout to `file`. Aborts the command if the user
/// asks to stop.
///
/// # Errors
/// If the connection is lost, the file cannot be written, or the user asks to stop. A non-zero exit
/// code of the command is not an error.
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
