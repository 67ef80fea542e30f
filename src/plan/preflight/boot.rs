//! What is fine now, and may not be after the next boot or restart of somebody else's program; and
//! what is small.

use super::finding::Findings;
use super::judged::Judged;
use crate::cluster::PodNetwork;
use crate::machine::surroundings::SettingThere;
use crate::module::Desired;

/// The unit of systemd-networkd.
pub(super) const NETWORKD: &str = "systemd-networkd.service";
/// What a controller should have, in MB: as kubeadm has it.
const CONTROLLER_MEMORY: u64 = 1700;
/// What a worker should have, in MB.
const WORKER_MEMORY: u64 = 900;

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    // The memory, swap, settings and network of a local node are the workstation's.
    if on.cluster.local.is_some() || !on.is_for_cluster() {
        return;
    }
    memory(on, found);
    swap(on, found);
    settings(on, found);
    networkd(on, found);
    mtu(on, found);
    if let Some(file) = on.around().cloud_writes_hosts() {
        on.warn(
            found,
            "cloud-init writes /etc/hosts at every boot, without the lab's nodes".to_owned(),
            format!("set `manage_etc_hosts: false` in {file}; `up` restores the names"),
        );
    }
    let proxies = on.around().proxies().unwrap_or_default();
    if !proxies.is_empty() {
        let families = on.cluster.network.families().into_iter();
        let ranges = families.flat_map(|it| [it.pods.to_string(), it.services.to_string()]);
        on.warn(
            found,
            format!("every login gets a proxy from /etc/environment: {}", proxies.join(", ")),
            format!(
                "labctl does without it within the lab; for your own kubectl there, add the \
                nodes' addresses, {} to NO_PROXY",
                ranges.collect::<Vec<String>>().join(" and ")
            ),
        );
    }
}

fn memory(on: &Judged<'_>, found: &mut Findings) {
    let Some(memory) = on.around().memory() else { return };
    let controller = on.starts("kube-apiserver.service");
    let enough = if controller { CONTROLLER_MEMORY } else { WORKER_MEMORY };
    if memory < enough {
        let role = if controller { "controller" } else { "worker" };
        let what = format!("it has {memory} MB of memory; a {role} should have {enough} MB");
        on.warn(found, what, "programs may be slow, or killed".to_owned());
    }
}

/// The kubelet refuses to start beside swap.
fn swap(on: &Judged<'_>, found: &mut Findings) {
    let makers = on.around().swap_makers().unwrap_or_default();
    if on.starts("kubelet.service") && !makers.is_empty() {
        on.warn(
            found,
            format!("the next boot turns swap on: {}", makers.join(", ")),
            "`systemctl mask swap.target`, or remove what makes it; the kubelet does not start \
            beside swap"
                .to_owned(),
        );
    }
}

/// systemd applies files in the order of their names, whatever directory they are in.
fn settings(on: &Judged<'_>, found: &mut Findings) {
    let there = on.around().sysctls().unwrap_or_default();
    for desired in &on.desired {
        let Desired::Sysctl(ours) = desired else { continue };
        let file = format!("90-labctl-{}.conf", ours.key);
        let later = |it: &&SettingThere<'_>| it.key == ours.key && name(it.file) > file.as_str();
        let last = there.iter().filter(later).max_by_key(|it| name(it.file));
        let same = |value: &str| value.split_whitespace().eq(ours.value.split_whitespace());
        if let Some(last) = last.filter(|it| !same(it.value)) {
            on.warn(
                found,
                format!("the next boot sets {} to {}, not {}", ours.key, last.value, ours.value),
                format!("remove that line from {}", last.file),
            );
        }
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// systemd-networkd removes routes that it has not set, when it is started again.
fn networkd(on: &Judged<'_>, found: &mut Findings) {
    let runs = on.facts.units.get(NETWORKD).is_some_and(|unit| unit.active == "active");
    let sets_routes = on.desired.iter().any(|it| matches!(it, Desired::Routes(_)));
    if runs && sets_routes && on.around().keeps_routes() == Some(false) {
        on.warn(
            found,
            "systemd-networkd removes the routes to other workers' pods when it restarts"
                .to_owned(),
            "write `[Network]` and `ManageForeignRoutes=no` into \
            /etc/systemd/networkd.conf.d/labctl.conf; or set `network: { mode: vxlan }`"
                .to_owned(),
        );
    }
}

fn mtu(on: &Judged<'_>, found: &mut Findings) {
    let own = on.around().addresses().unwrap_or_default();
    let device = own.iter().find(|it| it.network.addr() == on.node.address);
    let mtu = device.and_then(|it| Some((&it.device, on.around().mtu(&it.device)?)));
    let Some((device, mtu)) = mtu else { return };
    let needed = u32::from(on.cluster.network.mtu);
    if on.cluster.network.mode == PodNetwork::Vxlan && mtu < needed {
        on.warn(
            found,
            format!("{device} has an MTU of {mtu}, and the tunnels between nodes need {needed}"),
            format!(
                "raise it, or set `network: {{ mtu: {mtu} }}`; otherwise large packets between \
                pods may be lost"
            ),
        );
    }
}
