//! Ports: what the lab's programs listen on must not be in use by somebody else's.

use super::finding::Findings;
use super::judged::Judged;
use crate::cluster::Role;

/// The ports of each unit, beside those that the inventory may set.
const PORTS: &[(&str, &[u16])] = &[
    ("etcd.service", &[2379, 2380, 2381]),
    ("kube-apiserver.service", &[]),
    ("kube-controller-manager.service", &[10257]),
    ("kube-scheduler.service", &[10259]),
    ("kubelet.service", &[10248, 10250]),
    ("kube-proxy.service", &[10249, 10256]),
    ("nginx.service", &[]),
];

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    let Some(listeners) = on.around().listeners() else { return };
    for (unit, ports) in PORTS.iter().filter(|(unit, _)| on.starts(unit)) {
        let mut ports = ports.to_vec();
        match *unit {
            "kube-apiserver.service" => ports.push(on.cluster.api.server_port),
            "nginx.service" => {
                ports.extend(on.node.has(Role::Loadbalancer).then_some(on.cluster.api.port));
                ports.extend(on.node.has(Role::Controller).then_some(80));
            }
            _ => {}
        }
        let ours = |unit: &Option<String>| {
            unit.as_deref().is_some_and(|unit| PORTS.iter().any(|(ours, _)| *ours == unit))
        };
        for port in ports {
            let others = listeners.iter().filter(|it| it.port == port && !ours(&it.unit));
            let Some(other) = others.into_iter().next() else { continue };
            let (who, stop) = match &other.unit {
                Some(unit) if unit.ends_with(".service") => (
                    format!("{} ({unit})", other.name),
                    format!("`systemctl disable --now {unit}`"),
                ),
                _ => (other.name.clone(), format!("stop {}", other.name)),
            };
            let program = unit.trim_end_matches(".service");
            let what = format!("port {port}, which {program} needs, is in use by {who}");
            let help = format!("{stop}, or move it to another port or machine");
            // A lab that runs has come to live with it: it may be at another address.
            if on.worked_on() {
                on.warn(found, what, help);
            } else {
                on.refuse(found, what, help);
            }
        }
    }
}
