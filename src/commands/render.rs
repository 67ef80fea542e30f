//! `render`: the files that would be put on the nodes, without touching any.

use std::fs;
use std::path::Path;

use super::session::{limited, open, print};
use super::workshop::{outlook, workshop_in_memory};
use super::{Exit, Stop};
use crate::cli::{Global, Render};
use crate::plan::files::{PlacedFile, files_of};
use crate::playbook::standard;
use crate::report::Reporter;

/// Prints the rendered files, or writes them into a folder. What is secret is named, and shown in
/// neither.
pub fn render(args: &Render, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let playbook = standard::find("up", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    let nodes = limited(&cluster, &global.limit)?;
    let workshop = workshop_in_memory(&cluster, outlook(&cluster, reporter)?, &args.sources)?;
    let plays = workshop.expand(&playbook, &cluster)?;
    let (mut text, mut secret) = (String::new(), 0);
    for node in nodes {
        let wanted = |file: &PlacedFile| args.file.as_ref().is_none_or(|name| file.is_called(name));
        for file in files_of(&plays, &node.name).into_iter().filter(wanted) {
            let Some(bytes) = file.bytes else {
                secret += 1;
                continue;
            };
            match &args.to {
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
    match (&args.file, text.is_empty(), secret) {
        (Some(name), true, 0) => Err(Stop::bad(format!("no file of these nodes is called {name}"))
            .help(
                "name it by its path on the node, its file name or its template; `labctl \
                render` prints them all",
            )),
        (Some(name), true, _) => {
            Err(Stop::bad(format!("{name} holds a secret and is never shown"))
                .help("look at it on a node: `labctl ssh`"))
        }
        (_, _, 0) => print(reporter, &text),
        _ => {
            reporter.note(&format!("left out, because they hold keys: {secret} files"));
            print(reporter, &text)
        }
    }
}

/// Writes one file as it lies on the node; gives the line to say.
fn write(folder: &Path, path: &str, bytes: &[u8]) -> Result<String, Stop> {
    let path = folder.join(path.trim_start_matches('/'));
    let error = |e: std::io::Error| {
        Stop::failed(format!("cannot write {}: {e}", path.display()))
            .help("name a folder that you can write to")
    };
    fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(error)?;
    fs::write(&path, bytes).map_err(error)?;
    Ok(format!("{}\n", path.display()))
}
