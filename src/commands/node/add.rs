//! `node add`: a node that comes into the lab.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::text::{add_by_hand, imagine, refuse_stdin, save, text_of};
use crate::cluster::{Cluster, Node, Role};
use crate::commands::bring_up::{bring_up, fit_for_local_nodes};
use crate::commands::exit::{Exit, Stop};
use crate::commands::options::{Options, WHOLE_LAB};
use crate::commands::ownership::must_be_ours;
use crate::commands::session::{exit_of, lab_of, open, under_lock};
use crate::commands::{next, roster};
use crate::inventory::edit::{self, NewNode};
use crate::module::quote;
use crate::report::Reporter;

/// Adds a node.
pub async fn add(new: &NewNode, options: &Options, reporter: &Reporter) -> Result<Exit, Stop> {
    options.refuse_limit(WHOLE_LAB, "leave --limit out")?;
    let (path, name) = (&options.inventory, &new.name);
    refuse_stdin(path, "node add")?;
    let before = open(path, reporter)?;
    let new = &addressed(new, &before, options)?;
    let text = match before.node(name) {
        // An earlier run was interrupted after it had written the inventory.
        Some(node) if is_as_wanted(node, new) => None,
        Some(node) => {
            let remove = next::command_with("node remove", options, &[name]);
            let help = format!("choose another name; or `{remove}` first");
            return Err(Stop::bad(format!(
                "`{name}` is in the inventory already, at {}",
                node.address
            ))
            .help(help));
        }
        None => Some(
            edit::add(&text_of(path)?, new).map_err(|error| add_by_hand(error, new, options))?,
        ),
    };
    let after = match &text {
        Some(text) => imagine(path, text, &format!("with {name}"), reporter)?,
        None => before,
    };
    roster::refuse_drift(&after, path, reporter)?;
    let playbook = options.playbook("up", &after)?;
    fit_for_local_nodes(&after)?;
    let report = under_lock("node add", &after, options, reporter, |working| async {
        // A local node that does not exist yet belongs to nobody.
        let asked = |node: &&Node| node.has(Role::Controller) || node.name == *name;
        let made = |node: &&Node| node.name != *name || after.local.is_none();
        let nodes: Vec<&Node> = after.nodes.iter().filter(asked).filter(made).collect();
        must_be_ours(&after, &nodes, &working.run).await?;
        if text.is_some() {
            // Read it again, because it may have been edited in the meantime.
            let text = edit::add(&text_of(path)?, new)
                .map_err(|error| add_by_hand(error, new, options))?;
            save(path, &text)?;
        }
        bring_up(&after, &playbook, options, working).await
    })
    .await?;
    let then = if report.ok() {
        next::command("smoke", options)
    } else {
        let up = next::command("up", options);
        reporter.note(&format!("`{name}` is in {} now; `{up}` resumes", path.display()));
        up
    };
    reporter.close(&report, &[then]);
    Ok(exit_of(&report))
}

/// The same with addresses: a local node has the next ones that are free if none are given.
fn addressed(new: &NewNode, cluster: &Cluster, options: &Options) -> Result<NewNode, Stop> {
    if !new.addresses.is_empty() || cluster.node(&new.name).is_some() {
        return Ok(new.clone());
    }
    let Some(local) = &cluster.local else {
        let line = next::command_with("node add", options, &[&new.name]);
        let labels = new
            .labels
            .iter()
            .map(|(key, value)| format!(" --label {}", quote(&format!("{key}={value}"))));
        let (roles, labels) = (new.roles.join(","), labels.collect::<String>());
        return Err(Stop::bad("no address is named for the machine").help(format!(
            "name the address that the other nodes use: `{line} --role {roles}{labels} --address \
            ADDRESS`"
        )));
    };
    let is_peer = |node: &&Node| node.roles.iter().any(|it| new.roles.contains(&it.to_string()));
    let peers: Vec<IpAddr> =
        cluster.nodes.iter().filter(is_peer).flat_map(Node::addresses).collect();
    // Nodes that have left the inventory may still be there.
    let known = roster::read(&lab_of(cluster));
    let mut taken: Vec<IpAddr> = cluster.nodes.iter().flat_map(Node::addresses).collect();
    taken.extend(known.nodes.iter().flat_map(|it| [Some(it.address), it.second_address]).flatten());
    taken.extend(cluster.api.host.parse::<IpAddr>());
    let free = local.next_addresses(&peers, &taken).into_iter();
    let addresses = free.map(|(subnet, address)| {
        address.map(|it| it.to_string()).ok_or_else(|| {
            Stop::bad(format!("every address of {subnet} is taken"))
                .help("make `local.subnet` of a new lab larger")
        })
    });
    Ok(NewNode { addresses: addresses.collect::<Result<_, _>>()?, ..new.clone() })
}

/// Whether a node in the inventory is identical to the one to add.
fn is_as_wanted(node: &Node, new: &NewNode) -> bool {
    let roles: Vec<String> = node.roles.iter().map(Role::to_string).collect();
    let labels: BTreeMap<String, String> = new.labels.iter().cloned().collect();
    let same_roles =
        roles.len() == new.roles.len() && roles.iter().all(|role| new.roles.contains(role));
    let addresses: Vec<String> = node.addresses().map(|it| it.to_string()).collect();
    let same_addresses = new.addresses.is_empty() || addresses == new.addresses;
    same_addresses && same_roles && node.labels == labels
}
