//! The clusters of a workshop, as the one inventory describes them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::cluster::{self, Cluster};
use crate::commands::exit::{Exit, Stop};
use crate::commands::options::Options;
use crate::inventory::{Problem, STDIN, called, load};
use crate::report::Reporter;

/// The variable that is a cluster's number.
pub const NUMBER: &str = "CLUSTER";

/// One cluster of a workshop.
pub struct Seat {
    /// Its number, from 1.
    pub number: u16,
    /// What its inventory describes.
    pub cluster: Cluster,
}

/// Reads the inventory once for each cluster, and reports everything that is wrong with any of
/// them.
pub fn seats(options: &Options, reporter: &Reporter) -> Result<Vec<Seat>, Stop> {
    seats_with(options, reporter).map(|(seats, _)| seats)
}

/// Like [`seats`], with the variables that the inventory takes from the environment.
pub fn seats_with(
    options: &Options,
    reporter: &Reporter,
) -> Result<(Vec<Seat>, BTreeMap<String, String>), Stop> {
    options.refuse_limit(
        "`workshop` concerns whole clusters, so it cannot be combined with --limit",
        &format!("for nodes of one cluster: {NUMBER}=1 labctl up {}", called(&options.inventory)),
    )?;
    let file = &options.inventory;
    if file.as_os_str() == STDIN {
        let what = "every cluster reads the inventory again, so it cannot be standard input";
        return Err(Stop::bad(what).help("save it as a file"));
    }
    let mut seats = Vec::new();
    let variables = RefCell::new(BTreeMap::new());
    for number in 1..=clusters(options, reporter)? {
        let lookup = |name: &str| {
            let value = variable(name, number)?;
            if name != NUMBER {
                variables.borrow_mut().insert(name.to_owned(), value.clone());
            }
            Some(value)
        };
        let cluster = match cluster::open_as(file, &lookup) {
            Ok((cluster, _)) => cluster,
            Err(problems) => return Err(bad(options, number, &problems, reporter)),
        };
        seats.push(Seat { number, cluster });
    }
    refuse_shared(&seats)?;
    Ok((seats, variables.into_inner()))
}

/// Returns the value of a variable for one cluster.
fn variable(name: &str, number: u16) -> Option<String> {
    if name == NUMBER { Some(number.to_string()) } else { std::env::var(name).ok() }
}

/// Returns how many clusters the inventory asks for.
fn clusters(options: &Options, reporter: &Reporter) -> Result<u16, Stop> {
    let inventory = load::load_as(&options.inventory, &|name| variable(name, 1))
        .map_err(|problem| bad(options, 1, &[problem], reporter))?;
    inventory.clusters.map(|clusters| clusters.value).ok_or_else(|| {
        let file = called(&options.inventory);
        Stop::bad(format!("{file} does not say how many clusters there are"))
            .help("add a line such as `clusters: 6`, and use ${CLUSTER} in names and addresses")
    })
}

fn bad(options: &Options, number: u16, problems: &[Problem], reporter: &Reporter) -> Stop {
    let errors: Vec<&Problem> = problems.iter().filter(|problem| problem.is_error()).collect();
    reporter.problems(&format!("{}, cluster {number}", called(&options.inventory)), &errors);
    Stop::silent(Exit::Bad)
}

/// Refuses clusters that would be in each other's way.
fn refuse_shared(seats: &[Seat]) -> Result<(), Stop> {
    let mut owners: BTreeMap<String, u16> = BTreeMap::new();
    for Seat { number, cluster } in seats {
        let subnets = cluster.local.iter().map(|local| format!("the subnet {}", local.subnet));
        let hosts = cluster
            .nodes
            .iter()
            .map(|node| format!("the machine {}:{}", node.ssh.host, node.ssh.port.unwrap_or(22)));
        let name = format!("the name {}", cluster.name);
        for what in [name].into_iter().chain(subnets).chain(hosts) {
            let owner = *owners.entry(what.clone()).or_insert(*number);
            if owner != *number {
                let what = format!("clusters {owner} and {number} both have {what}");
                return Err(Stop::bad(what).help(format!("put ${{{NUMBER}}} into it")));
            }
        }
    }
    Ok(())
}
