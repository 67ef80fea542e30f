//! Runs an operation to its end, and turns what came of it into an exit code.

use std::process::ExitCode;

use super::exit::{Exit, Stop};
use crate::report::Reporter;

pub use super::session::print;

/// Runs an operation to its end.
pub fn run(reporter: &Reporter, operation: impl Future<Output = Result<Exit, Stop>>) -> ExitCode {
    crate::engine::connect::raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            reporter.error(&error, None);
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(operation).unwrap_or_else(|stop| {
        if let Some(error) = &stop.error {
            reporter.error(error.as_ref(), stop.help.as_deref());
        }
        stop.exit
    });
    // Interrupted transfers must not keep the process running.
    runtime.shutdown_background();
    exit.into()
}
