//! The machine itself: its address, its kernel, its ports, its disks.

use std::sync::Arc;

use labctl::module::Desired;
use labctl::module::probe::UnitFact;

use super::{Stage, told};

#[test]
fn a_node_whose_address_is_not_its_own_is_refused_with_what_to_write() {
    let natted = ["lo 127.0.0.1/8", "eth0 10.0.0.5/24", "docker0 172.17.0.1/16"];
    let found = Stage::own_machines().said("worker-0", "addresses", &natted);
    let [one] = &found.obstacles[..] else { panic!("{found:?}") };
    let what = "its address 10.240.0.20 is on none of its interfaces; its own: 10.0.0.5";
    assert_eq!(one.what, what);
    assert!(one.help.contains("`address: 10.0.0.5`"), "{}", one.help);
    assert!(one.help.contains("`ssh: { host: 10.240.0.20 }`"), "{}", one.help);
    let two = ["eth0 10.0.0.5/24", "eth1 10.1.0.5/24"];
    let found = Stage::own_machines().said("controller-0", "addresses", &two);
    assert!(found.obstacles[0].help.contains("ITS-OWN-ADDRESS"), "{found:?}");
}

#[test]
fn a_node_at_its_own_address_or_that_nobody_connects_to_is_fine() {
    let stage = Stage::own_machines();
    let secondary = ["eth0 192.0.2.9/24", "eth0 10.240.0.20/24"];
    assert_eq!(stage.refused("worker-0", "addresses", &secondary), [""; 0]);
    // nginx listens at every address, and a client at none.
    for node in ["lb-0", "client-0"] {
        let found = stage.said(node, "addresses", &["eth0 10.0.0.5/24"]);
        assert_eq!(found.obstacles, [], "{node}");
    }
    assert_eq!(stage.said("worker-0", "addresses", &[]).obstacles, []);
}

#[test]
fn control_groups_of_version_1_are_refused_where_the_kubelet_would() {
    let refused = |mut stage: Stage, kubernetes: &str, cgroup: &str| {
        stage.cluster.kubernetes = kubernetes.parse().expect("a version");
        stage.machine("worker-0", "cgroup", cgroup);
        told(&stage.findings().obstacles)
    };
    let why = "worker-0: it has control groups of version 1, which Kubernetes 1.35.0 refuses";
    assert_eq!(refused(Stage::own_machines(), "1.35.0", "1"), [why]);
    assert_eq!(refused(Stage::own_machines(), "1.34.4", "1"), [""; 0]);
    assert_eq!(refused(Stage::own_machines(), "1.35.0", "2"), [""; 0]);
    assert_eq!(refused(Stage::own_machines(), "1.35.0", ""), [""; 0], "it has not said");
    assert_eq!(refused(Stage::local(), "1.35.0", "1"), [""; 0], "its kubelet is told");
}

#[test]
fn a_kernel_without_its_modules_is_refused_when_it_must_load_one() {
    let gone = ["no 6.1.0-18-amd64"];
    let mut stage = Stage::own_machines();
    assert_eq!(stage.said("worker-0", "kernel", &gone).obstacles, [], "all is loaded");
    stage.unsettle("worker-0", is_module);
    let found = stage.said("worker-0", "kernel", &gone);
    assert_eq!(
        told(&found.obstacles),
        ["worker-0: its kernel must load overlay, br_netfilter, and \
            /lib/modules/6.1.0-18-amd64 is missing"]
    );
    assert_eq!(stage.said("worker-0", "kernel", &["yes 6.1.0-18-amd64"]).obstacles, []);
    assert_eq!(stage.said("worker-0", "", &[]).obstacles, []);
    let mut local = Stage::local();
    local.unsettle("worker-0", is_module);
    assert_eq!(local.said("worker-0", "kernel", &gone).obstacles, []);
}

#[test]
fn files_of_another_architecture_are_refused() {
    let mut stage = Stage::own_machines();
    stage.machine("worker-0", "architecture", "aarch64");
    stage.machine("worker-1", "architecture", "x86_64");
    assert_eq!(
        told(&stage.findings().obstacles),
        ["worker-0: it is an arm64 machine, and the bundle is for amd64"]
    );
}

#[test]
fn a_port_in_use_by_somebody_else_is_refused() {
    let stage = Stage::own_machines();
    for (node, listener, what) in [
        (
            "controller-0",
            "6443 haproxy.service haproxy",
            "port 6443, which kube-apiserver needs, is in use by haproxy (haproxy.service)",
        ),
        (
            "controller-0",
            "2379 session-3.scope etcd",
            "port 2379, which etcd needs, is in use by etcd",
        ),
        (
            "controller-0",
            "80 apache2.service apache2",
            "port 80, which nginx needs, is in use by apache2 (apache2.service)",
        ),
        (
            "lb-0",
            "6443 haproxy.service haproxy",
            "port 6443, which nginx needs, is in use by haproxy (haproxy.service)",
        ),
        (
            "worker-0",
            "10250 - k3s agent",
            "port 10250, which kubelet needs, is in use by k3s agent",
        ),
    ] {
        let found = stage.said(node, "listeners", &[listener]);
        assert_eq!(told(&found.obstacles), [format!("{node}: {what}")]);
    }
}

#[test]
fn ports_of_the_lab_s_own_units_and_of_other_roles_are_fine() {
    let stage = Stage::own_machines();
    for (node, listeners) in [
        (
            "controller-0",
            &[
                "2379 etcd.service etcd",
                "6443 kube-apiserver.service kube-apiserver",
                "80 nginx.service nginx",
                "22 ssh.service sshd",
            ][..],
        ),
        ("worker-0", &["6443 haproxy.service haproxy", "80 apache2.service apache2"]),
        ("client-0", &["6443 haproxy.service haproxy", "10250 - k3s"]),
    ] {
        assert_eq!(stage.refused(node, "listeners", listeners), [""; 0]);
    }
}

fn is_module(desired: &Desired) -> bool {
    matches!(desired, Desired::KernelModule(_))
}

#[test]
fn what_is_pushed_must_fit_into_each_file_system() {
    let mut stage = Stage::own_machines();
    let full = ["/var/lib/labctl / 0", "/var/lib/containerd / 0", "/usr/local/bin / 0"];
    assert_eq!(stage.refused("worker-0", "room", &full), [""; 0], "nothing is pushed");
    let mut size = 0;
    for task in
        stage.desired.iter_mut().flat_map(|play| &mut play.nodes).flat_map(|on| &mut on.tasks)
    {
        match Arc::make_mut(&mut task.desired) {
            Desired::Image(image) => image.archive.size = 40_000_000,
            Desired::File(file) => {
                if let labctl::module::file::Content::Blob(blob) = &mut file.content {
                    blob.size = 10_000_000;
                    size += 1;
                }
            }
            _ => {}
        }
    }
    assert!(size > 10, "{size} binaries");
    let is_pushed = |desired: &Desired| match desired {
        Desired::File(file) => file.path == "/usr/local/bin/kubelet",
        _ => false,
    };
    let mut one = stage.clone();
    one.unsettle("worker-0", is_pushed);
    assert_eq!(
        one.refused("worker-0", "room", &full),
        ["worker-0: / has 0 MB free, and 10 MB will be written there"]
    );
    let apart = ["/var/lib/labctl /var 9000", "/usr/local/bin / 9800"];
    assert_eq!(
        one.refused("worker-0", "room", &apart),
        ["worker-0: /var has 10 MB free, and 10 MB will be written there"],
        "a link into another file system is a copy"
    );
    let enough = ["/var/lib/labctl /var 9800", "/usr/local/bin / 9800"];
    assert_eq!(one.refused("worker-0", "room", &enough), [""; 0]);
    // An image is pushed, and then unpacked.
    let images = stage.clone().refused_with_an_image();
    assert_eq!(images, ["worker-0: / has 60 MB free, and 80 MB will be written there"]);
}

impl Stage {
    fn refused_with_an_image(mut self) -> Vec<String> {
        let mut seen = false;
        for on in self.desired.iter_mut().flat_map(|play| &mut play.nodes) {
            on.tasks.retain(|task| {
                let image = on.node == "worker-0" && matches!(*task.desired, Desired::Image(_));
                !image || !std::mem::replace(&mut seen, true)
            });
        }
        self.unsettle("worker-0", |desired| matches!(desired, Desired::Image(_)));
        let room = ["/var/lib/labctl / 58593", "/var/lib/containerd / 58593"];
        self.refused("worker-0", "room", &room)
    }
}

#[test]
fn packages_that_cannot_be_installed_are_a_warning() {
    let warned = |system: &str, is_missing: bool| {
        let mut stage = Stage::own_machines();
        stage.machine("lb-0", "system", system);
        if is_missing {
            stage.unsettle("lb-0", |desired| matches!(desired, Desired::Package(_)));
        }
        told(&stage.findings().warnings)
    };
    let what = "lb-0: labctl has not been tried on its distribution, plan9, and installs packages \
                with apt-get only; missing: nginx, libnginx-mod-stream";
    assert_eq!(warned("plan9", true), [what]);
    assert_eq!(warned("plan9", false), [""; 0]);
    assert_eq!(warned("debian", true), [""; 0]);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_where_something_is_to_be_written() {
    let mut stage = Stage::own_machines();
    let places = ["/usr/local/bin", "/etc/hosts"];
    assert_eq!(stage.refused("worker-0", "unwritable", &places), [""; 0], "nothing differs there");
    stage.unsettle("worker-0", |it| matches!(it, Desired::File(_)));
    stage.worked_on("worker-0");
    let why = "worker-0: /usr/local/bin cannot be written, not even by root";
    assert_eq!(stage.refused("worker-0", "unwritable", &places), [why]);
    stage.on("worker-0").texts.remove("/etc/hosts");
    assert_eq!(stage.refused("worker-0", "unwritable", &places).len(), 2);
    assert_eq!(stage.refused("worker-0", "unwritable", &["/opt/cni/bin"]).len(), 1);
    assert_eq!(stage.refused("client-0", "unwritable", &["/opt/cni/bin"]), [""; 0]);
}

#[test]
fn a_unit_that_is_masked_is_refused_unless_the_lab_brings_its_file() {
    for (node, unit, refused) in
        [("lb-0", "nginx.service", 1), ("worker-0", "kubelet.service", 0), ("lb-0", "x.service", 0)]
    {
        let mut stage = Stage::own_machines();
        let masked = UnitFact { file: "masked".to_owned(), ..UnitFact::default() };
        stage.on(node).units.insert(unit.to_owned(), masked);
        let told = told(&stage.findings().obstacles);
        assert_eq!(told.len(), refused, "{told:?}");
        assert!(
            told.iter().all(|it| it == "lb-0: nginx.service is masked, so it cannot be started")
        );
    }
}

#[test]
fn a_unit_of_somebodys_that_runs_under_one_of_the_lab_s_names_is_refused() {
    let mut stage = Stage::own_machines();
    stage.unsettle("worker-0", |it| matches!(it, Desired::File(_)));
    let told_of = |stage: &Stage| told(&stage.findings().obstacles);
    for unit in ["containerd.service", "kubelet.service", "kube-proxy.service"] {
        let why = format!("worker-0: {unit} runs already, and labctl did not start it");
        assert!(told_of(&stage).contains(&why), "{:?}", told_of(&stage));
    }
    stage.worked_on("worker-0");
    assert_eq!(told_of(&stage), [""; 0], "it is the lab's");
    // nginx keeps its own unit file.
    stage.unsettle("lb-0", |it| matches!(it, Desired::File(_)));
    assert_eq!(told_of(&stage), [""; 0]);
    let why = "lb-0: nginx.service runs already, and `up` gives it another configuration";
    assert_eq!(told(&stage.findings().warnings), [why]);
}

#[test]
fn a_drop_in_that_replaces_a_command_is_refused() {
    let stage = Stage::own_machines();
    let theirs = "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf";
    let why = format!("worker-0: {theirs} changes how kubelet.service starts");
    assert_eq!(stage.refused("worker-0", "dropins", &[theirs]), std::slice::from_ref(&why));
    assert_eq!(stage.refused("lb-0", "dropins", &[theirs]), [""; 0], "it starts no kubelet");
    let mut there = stage;
    there.worked_on("worker-0");
    assert_eq!(there.refused("worker-0", "dropins", &[theirs]), [""; 0]);
    assert_eq!(there.warned("worker-0", "dropins", &[theirs]), [why]);
}

#[test]
fn the_data_of_another_containerd_is_refused() {
    let refused = |node: &str, names: &[&str], worked_on: bool| {
        let mut stage = Stage::own_machines();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        stage.on(node).names.insert("/var/lib/containerd".to_owned(), names);
        if worked_on {
            stage.worked_on(node);
        }
        told(&stage.findings().obstacles)
    };
    let names = ["io.containerd.metadata.v1.bolt", "lost+found"];
    let why = "worker-0: /var/lib/containerd has the data of another program: \
               io.containerd.metadata.v1.bolt";
    assert_eq!(refused("worker-0", &names, false), [why]);
    assert_eq!(refused("worker-0", &names[1..], false), [""; 0], "a disk of its own");
    assert_eq!(refused("worker-0", &names, true), [""; 0]);
    assert_eq!(refused("lb-0", &names, false), [""; 0]);
}
