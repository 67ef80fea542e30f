//! What a run does before its nodes are asked and after they have answered, without the nodes: the
//! runbook is expanded for every node of an inventory, and all of it is planned, for nodes that
//! have nothing of it yet. Prints the microseconds that took, and the process's peak memory in
//! kilobytes. For the benchmark, because every verb that plans also connects.

#[path = "materials.rs"]
mod materials;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use labctl::plan;
use labctl::plan::expand::expand;
use labctl::playbook::standard;
use materials::{Failure, Lab};

#[allow(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Result<(), Failure> {
    let inventory = std::env::args().nth(1).ok_or("usage: plan INVENTORY")?;
    let cluster = materials::open(Path::new(&inventory))?;
    let lab = Lab::new(&cluster)?;
    let materials = lab.materials(&cluster);
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
fn peak() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
