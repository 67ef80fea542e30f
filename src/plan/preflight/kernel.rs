//! The kernel: its architecture, its control groups, and modules that it cannot load any more.

use super::finding::Findings;
use super::judged::Judged;
use crate::machine::Machine;
use crate::module::file::Content;
use crate::module::{Desired, State};

/// The first minor version of Kubernetes whose kubelet refuses control groups of version 1.
const CGROUP_V2_FROM: u16 = 35;

const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    // A local node has the workstation's kernel, and the kubelet there is configured for it.
    if on.cluster.local.is_some() {
        return;
    }
    let machine = Machine::read(&on.facts.machine);
    let kubernetes = on.cluster.kubernetes;
    let refuses = kubernetes.minor >= CGROUP_V2_FROM && !accepts_v1(on);
    if on.starts("kubelet.service") && machine.cgroup == 1 && refuses {
        on.refuse(
            found,
            format!("it has control groups of version 1, which Kubernetes {kubernetes} refuses"),
            "boot it without systemd.unified_cgroup_hierarchy=0; or set `kubernetes:` to a version \
            before 1.35"
                .to_owned(),
        );
    }
    modules(on, found);
}

/// Whether the owner's own configuration of the kubelet takes them all the same.
fn accepts_v1(on: &Judged<'_>) -> bool {
    let text = |desired: &&Desired| match desired {
        Desired::File(file) if file.path == KUBELET_CONFIG => {
            file.content.text().map(str::to_owned)
        }
        _ => None,
    };
    let config = on.desired.iter().find_map(text).unwrap_or_default();
    config.lines().any(|line| line.trim_end() == "failCgroupV1: false")
}

/// A kernel that was upgraded and not booted yet has no modules any more.
fn modules(on: &Judged<'_>, found: &mut Findings) {
    let Some(release) = on.around().kernel_without_modules() else { return };
    let wanted: Vec<&str> = on
        .desired
        .iter()
        .filter_map(|desired| match desired {
            Desired::KernelModule(module) if module.diff(on.facts).is_some() => {
                Some(module.name.as_str())
            }
            _ => None,
        })
        .collect();
    if !wanted.is_empty() {
        on.refuse(
            found,
            format!(
                "its kernel must load {}, and /lib/modules/{release} is missing",
                wanted.join(", ")
            ),
            "reboot it, if its kernel was upgraded; in a container, load the modules on its host \
            and list them in /etc/modules-load.d there"
                .to_owned(),
        );
    }
}

/// Files of another architecture do not run.
pub(super) fn judge_architecture(
    on: &Judged<'_>,
    architecture: Option<&str>,
    found: &mut Findings,
) {
    let installs = |desired: &&Desired| match desired {
        Desired::File(file) => matches!(file.content, Content::Blob(_)),
        Desired::Image(_) => true,
        _ => false,
    };
    let Some(bundled) = architecture.filter(|_| on.desired.iter().any(installs)) else {
        return;
    };
    let own = Machine::read(&on.facts.machine).architecture;
    if on.facts.machine.contains_key("architecture") && own != bundled {
        on.refuse(
            found,
            format!("it is an {own} machine, and the bundle is for {bundled}"),
            format!("set `bundle:` to one for {own}, or choose an {bundled} machine"),
        );
    }
}
