//! What a run does before its nodes are asked and after they have answered, without the nodes: the
//! runbook is expanded for every node of an inventory, and all of it is planned, for nodes that
//! have nothing of it yet. Prints the microseconds that took, and the process's peak memory in
//! kilobytes. For the benchmark, because every verb that plans also connects.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use labctl::lab::{LabDirectory, cache_directory};
use labctl::pki::{encryption, issue, store};
use labctl::plan::expand::{Materials, expand};
use labctl::playbook::standard;
use labctl::render::{Artefacts, Renderer};
use labctl::{bundle, cluster, pki, plan};

#[allow(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let inventory = std::env::args().nth(1).ok_or("usage: plan INVENTORY")?;
    let (cluster, _) = cluster::open(Path::new(&inventory)).map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    // Certificates are issued in memory, as for `labctl plan`.
    let lab = LabDirectory::new(&cluster.lab_directory);
    let pki = pki::ensure(&cluster, &lab, time::OffsetDateTime::now_utc())?.pki;
    let (bundle, _) = bundle::outlook(&cluster, &cache_directory())?;
    let files = bundle.files.iter();
    let artefacts = Artefacts {
        images: files
            .clone()
            .filter_map(|(name, file)| Some((name.strip_prefix("image/")?, file.image.as_ref()?)))
            .map(|(name, image)| (name.to_owned(), image.clone()))
            .collect(),
        versions: files.map(|(name, file)| (name.clone(), file.version.clone())).collect(),
        token_key: issue::key_id(std::str::from_utf8(pki.require(store::SERVICE_ACCOUNT_KEY)?)?)?,
        encryption_keys: encryption::named(&pki)?,
        ..Artefacts::default()
    };
    let materials = Materials {
        cluster: &cluster,
        pki: &pki,
        kubeconfigs: &pki::kubeconfigs(&cluster, &pki)?,
        bundle: &bundle,
        renderer: &Renderer::new(None)?,
        artefacts: &artefacts,
        handed: &BTreeMap::new(),
    };
    let playbook = standard::find("up", None)?;
    let began = Instant::now();
    let plays = expand(&playbook, &materials)?;
    let planned = plan::diff::plan(&plays, &BTreeMap::new());
    let took = began.elapsed();
    if planned.is_empty() {
        return Err("the plan is empty".into());
    }
    println!("{} {}", took.as_micros(), peak()?);
    Ok(())
}

/// Peak of the process's resident memory in kilobytes.
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
