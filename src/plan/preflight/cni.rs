//! Pod networks of others: containerd takes the first configuration by name, and the bridge `cni0`
//! belongs to whoever made it.

use super::addresses::is_link_local;
use super::finding::Findings;
use super::judged::Judged;
use crate::machine::surroundings::OwnAddress;
use crate::module::Desired;

/// Where pod networks are configured.
pub(super) const DIRECTORY: &str = "/etc/cni/net.d";
/// The configuration of the lab's own pod network.
const OURS: &str = "10-labctl.conflist";
/// The bridge of the lab's own pod network.
pub(super) const BRIDGE: &str = "cni0";

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    let ours = format!("{DIRECTORY}/{OURS}");
    if !on.desired.iter().any(|it| matches!(it, Desired::File(file) if file.path == ours)) {
        return;
    }
    let names = on.facts.names.get(DIRECTORY).into_iter().flatten();
    let before: Vec<&str> = names
        .map(String::as_str)
        .filter(|name| *name < OURS)
        .filter(|name| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end)))
        .collect();
    if !before.is_empty() {
        on.refuse_new(
            found,
            format!(
                "pods would get another pod network: {DIRECTORY}/{} comes before {OURS}",
                before.join(", ")
            ),
            "move it away if an earlier cluster left it; or set `network: { mode: none }` to keep \
            that network"
                .to_owned(),
        );
    }
    bridge(on, found);
}

/// The bridge plugin refuses a bridge that has an address of another network.
fn bridge(on: &Judged<'_>, found: &mut Findings) {
    let own = on.around().addresses().unwrap_or_default();
    let foreign = |it: &&OwnAddress| {
        let address = it.network.addr();
        let pods = on.node.pod_cidrs().find(|pods| pods.addr().is_ipv4() == address.is_ipv4());
        pods.is_some_and(|pods| !pods.contains(&address)) && !is_link_local(address)
    };
    let other = own.iter().filter(|it| it.device == BRIDGE).find(foreign);
    if let (Some(other), Some(pods)) = (other, on.node.pod_cidr) {
        on.refuse(
            found,
            format!(
                "its bridge {BRIDGE} has the address {} of another pod network; this lab's is \
                {pods}",
                other.network
            ),
            format!("remove what an earlier cluster left: `ip link delete {BRIDGE}`, or reboot"),
        );
    }
}
