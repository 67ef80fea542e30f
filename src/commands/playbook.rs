//! `playbook list`, `show` and `export`.

use std::fs;
use std::path::Path;

use super::exit::{Exit, Stop};
use super::session::print;
use crate::playbook::standard;
use crate::render;
use crate::report::Reporter;

/// Lists the standard playbooks.
pub fn list(reporter: &Reporter) -> Result<Exit, Stop> {
    let mut text = String::new();
    for name in standard::names() {
        let playbook = standard::find(name, None).map_err(Stop::bad)?;
        let (number, summary) = (playbook.plays.len(), playbook.summary());
        let plays = if number == 1 { "play " } else { "plays" };
        text.push_str(&format!("{name:<14} {number:>3} {plays}  {summary}\n"));
    }
    print(reporter, &text)
}

/// Returns the names of the standard playbooks.
pub fn names() -> Vec<String> {
    standard::names().map(str::to_owned).collect()
}

/// Prints one of them.
pub fn show(name: &str, reporter: &Reporter) -> Result<Exit, Stop> {
    print(reporter, standard::text(name).map_err(Stop::bad)?)
}

/// Writes the standard playbooks and templates into a directory. Files that exist are kept, unless
/// `force`.
pub fn export(directory: &Path, force: bool, reporter: &Reporter) -> Result<Exit, Stop> {
    let playbooks =
        standard::FILES.iter().map(|(name, text)| (format!("playbooks/{name}.yaml"), *text));
    let templates = render::standard::TEMPLATES
        .iter()
        .map(|(name, text)| (format!("templates/{name}.tera"), *text));
    let mut said = String::new();
    for (name, text) in playbooks.chain(templates) {
        let path = directory.join(name);
        if path.exists() && !force {
            said.push_str(&format!("kept     {}\n", path.display()));
            continue;
        }
        let error = |e: std::io::Error| {
            let error = Stop::failed(format!("cannot write {}: {e}", path.display()));
            error.help("name a directory that you can write to")
        };
        fs::create_dir_all(path.parent().unwrap_or(directory)).map_err(error)?;
        fs::write(&path, text).map_err(error)?;
        said.push_str(&format!("written  {}\n", path.display()));
    }
    print(reporter, &said)
}
