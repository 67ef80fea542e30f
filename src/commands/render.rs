//! `render`: the files that would be put on the nodes, without touching any.

use std::fs;

use super::session::{bundle, limited, open, print, workshop_in_memory};
use super::{Exit, Stop};
use crate::cli::{Global, Render};
use crate::event::Events;
use crate::module::Desired;
use crate::module::file::Content;
use crate::plan::tasks_of;
use crate::playbook::standard;
use crate::report::Reporter;

/// Prints the rendered files, or writes them into a folder. What is secret is left out of both.
pub async fn render(args: &Render, global: &Global, reporter: &Reporter) -> Result<Exit, Stop> {
    let cluster = open(&args.lab.inventory, reporter)?;
    let playbook = standard::find("up", args.sources.playbooks.as_deref()).map_err(Stop::bad)?;
    let (events, _silent) = Events::channel();
    let workshop = workshop_in_memory(&cluster, bundle(&cluster, &events).await?, &args.sources)?;
    let desired = workshop.expand(&playbook, &cluster)?;
    let mut text = String::new();
    for node in limited(&cluster, &global.limit)? {
        for task in tasks_of(&desired, &node.name) {
            let Desired::File(file) = &task.desired else { continue };
            let Content::Inline { bytes, .. } = &file.content else { continue };
            let wanted = args
                .file
                .as_ref()
                .is_none_or(|name| file.path == *name || file.origin.ends_with(&format!("/{name}.tera")));
            if !wanted || file.sensitive {
                continue;
            }
            let Some(folder) = &args.to else {
                text.push_str(&format!(
                    "# {}: {}\n{}\n",
                    node.name,
                    file.path,
                    String::from_utf8_lossy(bytes).trim_end()
                ));
                text.push('\n');
                continue;
            };
            let path = folder.join(&node.name).join(file.path.trim_start_matches('/'));
            let error = |e: std::io::Error| Stop::failed(format!("{}: {e}", path.display()));
            fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(error)?;
            fs::write(&path, bytes).map_err(error)?;
            text.push_str(&format!("{}\n", path.display()));
        }
    }
    if text.is_empty() {
        return Err(Stop::bad("no file fits").help("labctl render without --file lists them all"));
    }
    print(reporter, &text)
}
