//! `status`: how a lab is, on one screen. It changes nothing, and needs no lock.

mod drift;
pub(super) mod look;
mod watch;

use std::fs;
use std::path::Path;

use super::exit::{Exit, Stop};
use super::options::Options;
use super::session::{may_replace, open_to_use, print, refuse_lost_nodes};
use crate::report::Reporter;

/// Where the status of a lab is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusScreen<'a> {
    /// On the terminal, once.
    Once,
    /// On the whole terminal, again and again.
    Watched,
    /// On a page in this file.
    Page(&'a Path),
}

/// Shows how the lab is.
pub async fn status(
    screen: &StatusScreen<'_>,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    refuse_lost_nodes(&cluster)?;
    if *screen == StatusScreen::Watched {
        return watch::watch(&cluster, options, reporter).await;
    }
    let status = look::look(&cluster, options).await?;
    match screen {
        StatusScreen::Once | StatusScreen::Watched => {
            print(reporter, &reporter.status(&status))?;
        }
        StatusScreen::Page(path) => {
            let page = reporter.status_page(&status);
            may_replace(path, page.as_bytes())?;
            fs::write(path, page).map_err(|error| {
                Stop::failed(format!("cannot write {}: {error}", path.display()))
            })?;
            reporter.note(&format!("the status is in {}", path.display()));
        }
    }
    Ok(look::exit_of(&status))
}
