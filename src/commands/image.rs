//! `image load`: images from a file, for pods on some or all workers.

use std::path::Path;

use super::converge::converge;
use super::exit::{Exit, Stop};
use super::inputs::Inputs;
use super::named::{limited, named_within};
use super::options::Options;
use super::runbook::Runbook;
use super::session::{exit_of, open_to_use, under_lock};
use crate::bundle::saved;
use crate::cluster::Role;
use crate::report::Reporter;

/// Imports the images of `file` on the workers among `named` nodes, on all without any.
pub async fn load(
    file: &Path,
    named: &[String],
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    for word in named.iter().chain(&options.limit) {
        let nodes = limited(&cluster, std::slice::from_ref(word))?;
        if !nodes.iter().any(|node| node.has(Role::Worker)) {
            let what = format!("{word} is not a worker, so no pod there could use an image");
            return Err(Stop::bad(what).help("leave it out"));
        }
    }
    let nodes = named_within(&cluster, named, &options.limit)?;
    let limit = match named {
        [] => options.limit.clone(),
        _ => nodes.iter().map(|node| node.name.clone()).collect(),
    };
    let options = &Options { limit, ..options.clone() };
    let playbook = options.playbook("image-load", &cluster)?;
    let images = saved::images(file).map_err(|why| {
        Stop::bad(format!("{}: {why}", file.display()))
            .help("save images by their names: docker save NAME:TAG > FILE")
    })?;
    let inputs = Inputs::new(&cluster, options)?.importing(images);
    let runbook = Runbook::new(inputs, &playbook, &cluster)?;
    let lab = &cluster;
    let report = under_lock("image load", lab, options, reporter, |working| async move {
        converge(lab, runbook, options, &working.run).await
    })
    .await?;
    reporter.close(&report, &[]);
    Ok(exit_of(&report))
}
