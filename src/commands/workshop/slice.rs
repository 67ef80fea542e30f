//! `workshop slice`: what runs in a pod that a workshop was submitted to. It unpacks what came
//! along, brings up its clusters as `workshop up` does, and hands over what came of it.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use super::job::{INDEX, file, slices};
use super::outcome::SliceOutcome;
use super::seat::seats;
use super::{parcel, run};
use crate::commands::exit::{Exit, Stop};
use crate::commands::options::Options;
use crate::commands::session::lab_of;
use crate::report::Reporter;

/// Brings up the clusters of this pod's slice, of slices of `size` clusters. What they take along
/// is in `from`.
///
/// A cluster that fails is part of what is handed over; only a slice that cannot hand anything over
/// fails, and begins again.
pub async fn work(
    size: u16,
    from: &Path,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let index = std::env::var(INDEX).ok().and_then(|index| index.parse::<usize>().ok());
    let index = index.ok_or_else(|| {
        Stop::bad(format!("{INDEX} does not say which slice this is"))
            .help("`labctl workshop submit` starts this in a cluster; it is of no use elsewhere")
    })?;
    let parcel = from.join(file(index));
    let refused = |error| Stop::failed(format!("cannot unpack {}: {error}", parcel.display()));
    fs::read(&parcel).and_then(|bytes| parcel::unpack(&bytes, Path::new("/"))).map_err(refused)?;
    let all = seats(options, reporter)?;
    let count = all.len();
    let seats = slices(&all, size)
        .nth(index)
        .ok_or_else(|| Stop::bad(format!("there is no slice {index} of {count} clusters")))?;
    let at_once = NonZeroUsize::new(seats.len()).unwrap_or(NonZeroUsize::MIN);
    let ends = run::all("up", seats, at_once, options, reporter).await?;
    if run::exit(&ends) == Exit::Cancelled {
        // Its machine is being emptied; another goes on.
        return Ok(Exit::Cancelled);
    }
    let labs: Vec<_> = seats.iter().map(|seat| (seat.number, lab_of(&seat.cluster))).collect();
    let outcome = SliceOutcome::new(ends, &labs).map_err(Stop::failed)?;
    let line = outcome.line().map_err(Stop::failed)?;
    reporter.print(&format!("{line}\n")).map_err(Stop::failed)?;
    Ok(Exit::Done)
}
