//! What filters packets: said with what the lab needs, because labctl opens nothing.

use super::finding::Findings;
use super::judged::Judged;
use crate::cluster::{PodNetwork, Role};

/// The unit of firewalld.
pub(super) const FIREWALLD: &str = "firewalld.service";
/// How many chains of others are shown.
const SHOWN: usize = 3;
/// The chain in which the lab's own rules for forwarded packets are.
const OURS: &str = "-A FORWARD -j LABCTL-FORWARD";

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    let firewalld = on.facts.units.get(FIREWALLD).is_some_and(|unit| unit.active == "active");
    let others = on.around().firewalls().unwrap_or_default();
    let mut on_duty: Vec<&str> = others
        .into_iter()
        .filter(|it| *it != "selinux")
        .chain(firewalld.then_some("firewalld"))
        .collect();
    if on_duty.is_empty() && on.around().input_rules().iter().any(|rule| refuses_all("INPUT", rule))
    {
        on_duty.push("the chain INPUT refuses what no rule accepts");
    }
    let needs = needs(on);
    if !on_duty.is_empty() && !needs.is_empty() {
        on.warn(
            found,
            format!("a firewall is active: {}", on_duty.join(", ")),
            format!("allow what the lab needs: {}", needs.join(", ")),
        );
    }
    let own_kernel = on.is_for_cluster() && on.cluster.local.is_none();
    if own_kernel && on.around().firewalls().unwrap_or_default().contains(&"selinux") {
        let what = "SELinux enforces its policy, and labctl sets no labels".to_owned();
        on.warn(found, what, "`setenforce 0` if a program may not start".to_owned());
    }
    forward(on, found);
    chains(on, found);
}

/// Chains of another kube-proxy: the lab's would flush those of the same names, and nobody could
/// tell the others apart.
fn chains(on: &Judged<'_>, found: &mut Findings) {
    let there = on.around().kube_chains();
    if there.is_empty() || on.worked_on() || !on.starts("kubelet.service") {
        return;
    }
    let names = there[..there.len().min(SHOWN)].join(", ");
    on.refuse(
        found,
        format!("its firewall has chains of another cluster: {names}"),
        "reboot it, if that cluster is gone; a reset does not remove them".to_owned(),
    );
}

/// What the other nodes and its pods must reach on a node.
fn needs(on: &Judged<'_>) -> Vec<String> {
    let (api, network) = (&on.cluster.api, &on.cluster.network);
    let mut needs = Vec::new();
    if on.starts("nginx.service") && on.node.has(Role::Loadbalancer) {
        needs.push(format!("TCP port {} from all nodes", api.port));
    }
    if on.starts("kube-apiserver.service") {
        needs.push(format!("TCP ports 2379, 2380, {} and 10250 from all nodes", api.server_port));
    } else if on.starts("kubelet.service") {
        needs.push("TCP port 10250 from the controllers".to_owned());
    }
    if on.starts("kubelet.service") {
        let pods = network.families().into_iter().map(|it| it.pods.to_string());
        let pods = pods.collect::<Vec<String>>().join(" and ");
        needs.push(format!("everything from and to pods, {pods}"));
    }
    if network.mode == PodNetwork::Vxlan && on.is_for_cluster() {
        needs.push("UDP port 4789 from all nodes".to_owned());
    }
    needs
}

/// A rule that refuses everything ends the chain for what comes after it. The lab's own rule is put
/// first, and somebody may have put others before it since then.
fn forward(on: &Judged<'_>, found: &mut Findings) {
    let Some(rules) = on.around().forward_rules() else { return };
    if !on.starts("kubelet.service") || !rules.contains(&OURS) {
        return;
    }
    let mut before = rules.iter().take_while(|rule| **rule != OURS);
    // A policy holds for what no rule has taken, and the lab's rule does.
    if let Some(rule) = before.find(|it| it.starts_with("-A") && refuses_all("FORWARD", it)) {
        on.warn(
            found,
            format!(
                "packets between pods of different nodes are refused: `iptables {rule}` comes \
                first"
            ),
            "`systemctl restart labctl-pod-network` puts the lab's rule before it again".to_owned(),
        );
    }
}

/// Whether a rule, as `iptables -S` prints it, refuses every packet that comes to it.
fn refuses_all(chain: &str, rule: &str) -> bool {
    let rest = |option: &str| rule.strip_prefix(option)?.strip_prefix(chain);
    rest("-A ").is_some_and(|it| it.starts_with(" -j REJECT") || it.starts_with(" -j DROP"))
        || rest("-P ") == Some(" DROP")
}
