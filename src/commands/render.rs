//! `render`: prints the files that would be put on the nodes, without connecting to any.

use std::fs;
use std::path::Path;

use super::exit::{Exit, Stop};
use super::inputs::{Inputs, outlook};
use super::machines;
use super::named::limited;
use super::options::Options;
use super::session::{lab_of, open_to_use, print};
use crate::plan::files::{PlacedFile, files_of};
use crate::report::Reporter;

/// Prints the rendered files, or those that are called `file`; or writes them into a directory.
/// What is secret is named, and shown in neither.
pub fn render(
    file: Option<&str>,
    to: Option<&Path>,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let playbook = options.playbook("up", &cluster)?;
    let nodes = limited(&cluster, &options.limit)?;
    let inputs = Inputs::new(&cluster, options)?
        .with_certificates_of(&lab_of(&cluster), outlook(&cluster, reporter)?)?;
    let plays = inputs.expand_for(&playbook, &machines::known_bare(&cluster))?;
    let wanted = |placed: &PlacedFile| file.is_none_or(|name| placed.is_called(name));
    let (mut text, mut secret) = (String::new(), 0);
    for node in nodes {
        for file in files_of(&plays, &node.name).into_iter().filter(|placed| wanted(placed)) {
            let Some(bytes) = file.bytes else {
                secret += 1;
                continue;
            };
            match to {
                Some(folder) => text.push_str(&write(&folder.join(&node.name), &file.path, bytes)?),
                None => {
                    let content = String::from_utf8_lossy(bytes);
                    let gap = if text.is_empty() { "" } else { "\n" };
                    text.push_str(&format!(
                        "{gap}# {}: {}\n{}\n",
                        node.name,
                        file.path,
                        content.trim_end()
                    ));
                }
            }
        }
    }
    match (file, text.is_empty(), secret) {
        (Some(name), true, 0) => Err(Stop::bad(format!("no file of these nodes is called {name}"))
            .help(
                "use its path on the node, its file name or its template; `labctl \
                render` prints them all",
            )),
        (Some(name), true, _) => {
            Err(Stop::bad(format!("{name} contains a secret and is never shown"))
                .help("read it on a node with `labctl ssh`"))
        }
        (_, _, 0) => print(reporter, &text),
        _ => {
            reporter.note(&format!("left out, because they contain keys: {secret} files"));
            print(reporter, &text)
        }
    }
}

/// Writes one file to its path on the node below `folder`; returns the line to print.
fn write(folder: &Path, path: &str, bytes: &[u8]) -> Result<String, Stop> {
    let path = folder.join(path.trim_start_matches('/'));
    let error = |e: std::io::Error| {
        Stop::failed(format!("cannot write {}: {e}", path.display()))
            .help("name a directory that you can write to")
    };
    fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(error)?;
    fs::write(&path, bytes).map_err(error)?;
    Ok(format!("{}\n", path.display()))
}
