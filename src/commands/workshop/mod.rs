//! `workshop`: many clusters from one inventory, each an ordinary lab.
//!
//! In the inventory, `${CLUSTER}` is the number of the cluster, and `clusters` says how many there
//! are. A cluster is worked on by a run of labctl of its own, with that variable: it has its own
//! lock, log and end, and whoever works on it later by hand does the same.

mod cards;
mod driver;
mod image;
mod job;
mod outcome;
mod parcel;
mod progress;
mod run;
mod seat;
mod slice;
mod submit;

use std::num::NonZeroUsize;

use super::exit::{Exit, Stop};
use super::options::Options;
use super::session::confirm;
use crate::inventory::called;
use crate::report::Reporter;

pub use cards::cards;
pub use image::image;
use seat::seats;
pub use slice::work;
pub use submit::{Submitted, submit};

/// Brings up all clusters, at most `at_once` at a time.
pub async fn up(
    at_once: NonZeroUsize,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let seats = seats(options, reporter)?;
    run::all("up", &seats, at_once, options, reporter).await.map(|ends| run::exit(&ends))
}

/// Removes all clusters, at most `at_once` at a time.
pub async fn down(
    at_once: NonZeroUsize,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let seats = seats(options, reporter)?;
    let question = format!(
        "Remove all {} clusters of {}? Everything that runs in them and all their data is lost.",
        seats.len(),
        called(&options.inventory)
    );
    confirm(options, &question, "remove them without being asked", reporter)?;
    run::all("down", &seats, at_once, options, reporter).await.map(|ends| run::exit(&ends))
}
