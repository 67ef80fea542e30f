//! The man pages, from the same definitions as the help.

use std::fs;
use std::io;
use std::path::Path;

use clap_mangen::{Man, generate_to};

use super::help;

/// Returns the page about labctl as a whole, in roff.
///
/// # Errors
/// None that can happen in memory.
pub(super) fn page() -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes a page for labctl and for each of its verbs into a directory, and returns how many there
/// are.
///
/// # Errors
/// If the file system refuses.
pub(super) fn write(directory: &Path) -> io::Result<usize> {
    fs::create_dir_all(directory)?;
    generate_to(command(), directory)?;
    let pages = fs::read_dir(directory)?.flatten();
    Ok(pages.filter(|page| page.file_name().to_string_lossy().starts_with("labctl")).count())
}

fn command() -> clap::Command {
    help::command().disable_help_subcommand(true)
}
