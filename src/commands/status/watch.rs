//! `status --watch`: looks again and again, until somebody has seen enough.

use std::time::{Duration, Instant};

use super::look::{exit_of, look};
use crate::cluster::Cluster;
use crate::commands::exit::{Exit, Stop};
use crate::commands::options::Options;
use crate::commands::session::print;
use crate::report::{KeyPress, Reporter, Watch};
use crate::status::LabStatus;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a key waits at most while nodes are asked.
const KEYS: Duration = Duration::from_millis(50);

/// Shows the lab until a key ends it; the exit is that of the last look. For a program, one object
/// per look, until nobody reads.
pub async fn watch(
    cluster: &Cluster,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    if reporter.is_json() {
        loop {
            let status = look(cluster, options).await?;
            print(reporter, &reporter.status(&status))?;
            tokio::time::sleep(PAUSE).await;
        }
    }
    let Some(mut screen) = reporter.watch().map_err(Stop::failed)? else {
        return Err(Stop::bad("cannot watch: stdin or stdout is not a terminal")
            .help("leave out --watch, or add --output json for one object per look"));
    };
    let mut last = Exit::Failed;
    loop {
        let began = Instant::now();
        let Some(status) = looked(cluster, options, &mut screen).await? else { return Ok(last) };
        last = exit_of(&status);
        let footer = format!("asked in {:.1} s", began.elapsed().as_secs_f64());
        screen.show(status, footer).map_err(Stop::failed)?;
        let shown = Instant::now();
        while let Some(left) = PAUSE.checked_sub(shown.elapsed()) {
            match screen.wait(left).map_err(Stop::failed)? {
                KeyPress::Stop => return Ok(last),
                KeyPress::Look => break,
                KeyPress::Nothing => {}
            }
        }
    }
}

/// One look, with an ear for keys; nothing when somebody wants to stop.
async fn looked(
    cluster: &Cluster,
    options: &Options,
    screen: &mut Watch,
) -> Result<Option<LabStatus>, Stop> {
    let mut looking = std::pin::pin!(look(cluster, options));
    loop {
        match tokio::time::timeout(KEYS, &mut looking).await {
            Ok(status) => return status.map(Some),
            Err(_) if screen.wait(Duration::ZERO).map_err(Stop::failed)? == KeyPress::Stop => {
                return Ok(None);
            }
            Err(_) => {}
        }
    }
}
