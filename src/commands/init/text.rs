//! The text of a new inventory, with comments for somebody who has seen none.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::found::FoundMachine;
use super::place::{InventoryPlace, schema_line};
use super::propose::{Proposal, ProposedNode};
use super::wanted::Wanted;
use crate::cluster::Role;

/// Returns the first lines: what it is, what to type, the lab's name and its version.
pub(super) fn head(place: &InventoryPlace, what: &str) -> String {
    let mut text = format!("{}# {what}\n#\n", schema_line());
    let width = place.width();
    for (verb, about) in [
        ("validate", "is this file right? opens no connection"),
        ("plan", "what would `up` change?"),
        ("up", "make it so, again after every change of this file"),
        ("down", "remove the lab from its nodes"),
    ] {
        let _ = writeln!(text, "#   {:width$}   {about}", place.command(verb));
    }
    let _ = write!(
        text,
        "\n# The lab's name; its certificates and keys are in `.labctl/{0}/` beside this file.\n\
         name: {2}\n\n\
         # The version of Kubernetes. Keep the quotes: without them YAML would read 1.30 as the \
         number 1.3.\n\
         kubernetes: \"{1}\"\n",
        place.name,
        place.kubernetes,
        quoted(&place.name)
    );
    text
}

/// Returns the lines about binaries and images.
pub(super) fn bundle(place: &InventoryPlace) -> String {
    let key = if place.has_bundle { "bundle: bundle" } else { "# bundle: bundle" };
    format!(
        "\n# The directory with binaries and images. Without this line the official releases are\n\
         # downloaded into a cache.\n{key}\n"
    )
}

/// Returns a number and what it counts.
pub(super) fn plural(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns the inventory of machines.
pub(super) fn of_machines(
    proposal: &Proposal,
    found: &[FoundMachine],
    place: &InventoryPlace,
    wanted: &Wanted,
) -> String {
    let mut text = head(place, "A lab on machines that exist already.");
    text += &bundle(place);
    let user = common_user(found);
    text += &login(user, wanted);
    text += &networks(proposal);
    text +=
        "\n# `address` is where the other nodes reach a node. One node may have several roles.\n";
    text += "nodes:\n";
    for (node, machine) in proposal.nodes.iter().zip(found) {
        let _ = writeln!(text, "  # {}", machine.remark());
        text += &entry(node, machine, user);
    }
    text
}

/// Returns the login name of all machines, if it is the same.
fn common_user(found: &[FoundMachine]) -> Option<&str> {
    let first = found.first()?.login.user.as_deref()?;
    found.iter().all(|it| it.login.user.as_deref() == Some(first)).then_some(first)
}

/// Returns the section about logins; what it leaves out is as the SSH configuration says.
fn login(user: Option<&str>, wanted: &Wanted) -> String {
    let mut text = String::from(
        "\n# How to log in. What is left out is as in ~/.ssh/config; commands of other users than \
         root become\n# root's with sudo.\n",
    );
    let identity = wanted.identity.as_ref().map(|file| file.display().to_string());
    if user.is_none() && identity.is_none() {
        return text + "# ssh: { user: root, identity: ~/.ssh/id_ed25519 }\n";
    }
    text += "ssh:\n";
    for (key, value) in [("user", user), ("identity", identity.as_deref())] {
        if let Some(value) = value {
            let _ = writeln!(text, "  {key}: {}", quoted(value));
        }
    }
    text
}

fn networks(proposal: &Proposal) -> String {
    let Proposal { pods, services, one_network, mtu, .. } = proposal;
    let (mode, why) = match one_network {
        true => ("routes", "plain: all workers are in one network; `vxlan` is for several"),
        false => ("vxlan", "tunnels: the workers are in several networks"),
    };
    let mut text = String::from(
        "\n# Networks inside of the cluster. No machine has a route or an address in them.\n\
         network:\n",
    );
    let mut line = |key: &str, value: String, about: &str| {
        let _ = writeln!(text, "  {:24} # {about}", format!("{key}: {value}"));
    };
    line("pods", pods.to_string(), "every worker gets a part of it for its pods");
    line("services", services.to_string(), "ClusterIPs; the tenth is the cluster's DNS");
    line("mode", mode.to_owned(), why);
    if let Some(mtu) = mtu {
        line("mtu", mtu.to_string(), "the smallest of the machines'");
    }
    text
}

fn entry(node: &ProposedNode, machine: &FoundMachine, user: Option<&str>) -> String {
    let roles = node.roles.iter().map(Role::to_string).collect::<Vec<_>>().join(", ");
    let (name, address) = (quoted(&node.name), node.address);
    let mut text = format!("  - name: {name}\n    address: {address}\n    roles: [{roles}]\n");
    let login = &machine.login;
    let mut own = Vec::new();
    if login.host.parse::<Ipv4Addr>() != Ok(node.address) {
        own.push(format!("host: {}", quoted(&login.host)));
    }
    if let (None, Some(user)) = (user, &login.user) {
        own.push(format!("user: {}", quoted(user)));
    }
    own.extend(login.port.map(|port| format!("port: {port}")));
    if !own.is_empty() {
        let _ = writeln!(text, "    ssh: {{ {} }}", own.join(", "));
    }
    text
}

/// Returns text as YAML reads it back, in quotes if necessary; a variable is none here.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    match text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
    {
        true if !["true", "false", "yes", "no", "null"].contains(&text) => text.to_owned(),
        _ => format!("{:?}", text.replace("${", "$${")),
    }
}
