//! `playbook list`, `show` and `export`.

use std::fs;

use super::session::print;
use super::{Exit, Stop};
use crate::cli::Playbook as Verb;
use crate::playbook::standard;
use crate::render;
use crate::report::Reporter;

/// Runs one of the verbs.
pub fn playbook(verb: &Verb, reporter: &Reporter) -> Result<Exit, Stop> {
    match verb {
        Verb::List => {
            let mut text = String::new();
            for name in standard::names() {
                let playbook = standard::find(name, None).map_err(Stop::bad)?;
                let (number, summary) = (playbook.plays.len(), playbook.summary());
                let plays = if number == 1 { "play " } else { "plays" };
                text.push_str(&format!("{name:<14} {number:>3} {plays}  {summary}\n"));
            }
            print(reporter, &text)
        }
        Verb::Show { name } => print(reporter, standard::text(name).map_err(Stop::bad)?),
        Verb::Export { folder, force } => {
            let playbooks = standard::FILES
                .iter()
                .map(|(name, text)| (format!("playbooks/{name}.yaml"), *text));
            let templates = render::standard::TEMPLATES
                .iter()
                .map(|(name, text)| (format!("templates/{name}.tera"), *text));
            let mut said = String::new();
            for (name, text) in playbooks.chain(templates) {
                let path = folder.join(name);
                if path.exists() && !force {
                    said.push_str(&format!("kept     {}\n", path.display()));
                    continue;
                }
                let error = |e: std::io::Error| {
                    let error = Stop::failed(format!("cannot write {}: {e}", path.display()));
                    error.help("name a folder that you can write to")
                };
                fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(error)?;
                fs::write(&path, text).map_err(error)?;
                said.push_str(&format!("written  {}\n", path.display()));
            }
            print(reporter, &said)
        }
    }
}
