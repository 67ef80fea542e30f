//! The inventory's text, as adding and removing a node changes it.

use std::path::Path;

use crate::cluster::{self, Cluster};
use crate::commands::exit::{Exit, Stop};
use crate::commands::next;
use crate::commands::options::Options;
use crate::inventory::edit::{EditError, NewNode};
use crate::inventory::{Problem, STDIN, load};
use crate::report::Reporter;

/// Refuses an inventory that is read from standard input, for a verb that has to change it.
pub fn refuse_stdin(path: &Path, verb: &str) -> Result<(), Stop> {
    if path != Path::new(STDIN) {
        return Ok(());
    }
    Err(Stop::bad(format!("`{verb}` changes the inventory, and `-` is standard input"))
        .help("save the inventory as a file, and name that"))
}

/// The text of an inventory.
pub fn text_of(path: &Path) -> Result<String, Stop> {
    load::text(path).map_err(Stop::bad)
}

/// Writes an inventory, where its text has changed.
pub fn save(path: &Path, text: &str) -> Result<(), Stop> {
    if text_of(path)? == text {
        return Ok(());
    }
    load::save(path, text)
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))
}

/// Returns the lab that the inventory would describe with `text` as its content; reports everything
/// that is wrong with it.
pub fn imagine(path: &Path, text: &str, how: &str, reporter: &Reporter) -> Result<Cluster, Stop> {
    let rename = |mut problem: Problem| {
        problem.file = format!("{} {how}", path.display()).into();
        problem
    };
    match cluster::open_with(path, text) {
        // Its warnings are reported by every later run.
        Ok((cluster, _)) => Ok(cluster),
        Err(problems) => {
            let errors: Vec<Problem> =
                problems.into_iter().filter(Problem::is_error).map(rename).collect();
            reporter.problems(&path.display().to_string(), &errors);
            Err(Stop::silent(Exit::Bad))
        }
    }
}

/// How to add a node to an inventory that labctl cannot edit.
pub fn add_by_hand(error: EditError, new: &NewNode, options: &Options) -> Stop {
    let (entry, path) = (new.entry(), options.inventory.display());
    let up = next::command("up", options);
    Stop::bad(error).help(format!("add `{entry}` to the nodes in {path}, and run `{up}`"))
}

/// How to remove a node from an inventory that labctl cannot edit.
pub fn remove_by_hand(error: EditError, name: &str, options: &Options) -> Stop {
    let remove = next::command_with("node remove", options, &[name]);
    Stop::bad(error).help(format!(
        "take `{name}` out of {} by hand, and run `{remove}` again: it does the rest",
        options.inventory.display()
    ))
}
