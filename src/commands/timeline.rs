//! `timeline`: draws the timeline of a run from its log.

use std::fs;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Stop};
use super::session::{lab_of, may_replace, open, print};
use crate::report::Reporter;
use crate::timeline::{Timeline, read};

/// What to show of a lab's runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// One run, drawn in the terminal.
    Chart,
    /// One run, drawn on a page in this file.
    Page(PathBuf),
    /// All runs, as a list.
    List,
}

/// Draws one run, the last unless one is named, or lists them.
pub fn timeline(
    run: Option<&str>,
    shown: &Shown,
    inventory: &Path,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    // A log needs no lab; it may come from another machine.
    if let Some(path) = run.map(Path::new).filter(|path| path.is_file()) {
        return draw(shown, &load(path)?, reporter);
    }
    let runs = lab_of(&open(inventory, reporter)?).runs();
    let logs = newest_first(&runs);
    if *shown == Shown::List {
        let all: Vec<(String, Timeline)> =
            logs.iter().filter_map(|log| Some((name(log), load(log).ok()?))).collect();
        return print(reporter, &reporter.runs(&all));
    }
    let chosen = match run {
        None => logs.first(),
        Some(run) => logs.iter().find(|log| name(log) == run),
    };
    let Some(log) = chosen else {
        let error = match run {
            None => format!("there is no run in {} yet", runs.display()),
            Some(run) => format!("there is no run `{run}` in {}", runs.display()),
        };
        return Err(Stop::bad(error).help(
            "`labctl timeline --list` lists the runs of a lab; a run log may also be named \
                by its path",
        ));
    };
    draw(shown, &load(log)?, reporter)
}

fn draw(shown: &Shown, timeline: &Timeline, reporter: &Reporter) -> Result<Exit, Stop> {
    let Shown::Page(path) = shown else { return print(reporter, &reporter.timeline(timeline)) };
    let page = reporter.timeline_page(timeline);
    may_replace(path, page.as_bytes())?;
    fs::write(path, page)
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))?;
    reporter.note(&format!("the timeline is in {}", path.display()));
    Ok(Exit::Done)
}

fn load(path: &Path) -> Result<Timeline, Stop> {
    let text = fs::read_to_string(path)
        .map_err(|error| Stop::bad(format!("cannot read {}: {error}", path.display())))?;
    read(&text).map_err(|error| Stop::bad(format!("{}: {error}", path.display())))
}

/// Returns the run logs in a directory, newest first. Their names are times, so that they sort
/// correctly.
fn newest_first(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).collect();
    logs.sort_by_key(|log| std::cmp::Reverse(name(log)));
    logs
}

fn name(log: &Path) -> String {
    log.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
