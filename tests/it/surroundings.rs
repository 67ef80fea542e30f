//! What else is on a machine: the shell that asks, on a machine in namespaces, and what is judged
//! of its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};

use labctl::cluster::Cluster;
use labctl::engine::probe;
use labctl::machine::Surroundings;
use labctl::module::command::Command;
use labctl::module::{Desired, Facts, Question};
use labctl::plan::{Tasks, preflight};
use labctl::playbook::standard;

use crate::support::labs;
use crate::support::machine::Machine;
use crate::support::workshop::Workshop;
use crate::units::unit;

/// What the machine answers.
async fn ask(machine: &Machine) -> Facts {
    let starts = unit("kubelet.service");
    let questions: BTreeSet<_> = preflight::questions([&starts].into_iter()).into_iter().collect();
    probe::ask(&machine.transport(), &questions).await.expect("a whole answer")
}

#[test]
fn what_only_puts_files_in_place_asks_nothing_about_the_machine() {
    let command = Command { run: "true".into(), unless: "false".into() };
    let asked = |desired: &[Desired]| preflight::questions(desired.iter()).len();
    assert_eq!(asked(&[Desired::Command(command.clone())]), 0);
    assert_eq!(asked(&[Desired::Command(command), unit("kubelet.service")]), 5);
    let workshop = Workshop::new(labs::ha());
    for name in ["up", "down"] {
        let playbook = standard::find(name, None).expect("a playbook");
        let desired = workshop.expand(&playbook).expect("a plan");
        for node in &workshop.cluster.nodes {
            let questions = Tasks::of(&desired).questions(&node.name);
            let asks = questions.contains(&Question::Surroundings);
            assert_eq!(asks, name == "up", "{name} of {}", node.name);
        }
    }
}

/// What is said of the machine as this node of the lab of the guides: refusals, then warnings.
async fn judged(machine: &Machine, node: &str) -> (Vec<String>, Vec<String>) {
    let workshop = Workshop::new(Cluster { local: None, ..labs::sandbox() });
    let playbook = standard::find("up", None).expect("a playbook");
    let desired = workshop.expand(&playbook).expect("a plan");
    let facts = BTreeMap::from([(node.to_owned(), ask(machine).await)]);
    let found = preflight::findings(&workshop.cluster, None, &desired, &facts);
    let what = |all: Vec<preflight::Obstacle>| all.into_iter().map(|it| it.what).collect();
    (what(found.obstacles), what(found.warnings))
}

/// A machine at this address.
fn machine_at(address: &str) -> Machine {
    let machine = Machine::new();
    machine.sh(&format!(
        "ip link add eth0 type veth peer name far && ip link set far up && ip link set eth0 up && \
         ip address add {address} dev eth0"
    ));
    machine
}

/// A process that listens on ports of a machine until the test ends.
struct Listening(Child);

impl Listening {
    fn on(machine: &Machine, port: u16) -> Self {
        let (program, words) = machine.prefix().split_first().expect("a program");
        let script = "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => shift, \
                      Listen => 1) or die; <STDIN>";
        let child = std::process::Command::new(program)
            .args(words)
            .args(["perl", "-e", script, &port.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .expect("perl runs");
        machine.sh(&format!(
            "timeout 10 sh -c 'until ss -Hltn | grep -q \":{port} \"; do sleep 0.05; done'"
        ));
        Self(child)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_machine_says_what_is_on_it() {
    let machine = machine_at("10.240.0.20/24");
    machine.sh("ip route add 10.0.0.0/8 via 10.240.0.1 && ip route add blackhole 10.32.0.0/24");
    machine.sh("printf 'nameserver\\t127.0.0.1\\nsearch x\\nnameserver 192.0.2.53\\n' > /resolv");
    machine.sh("mount --bind /resolv /etc/resolv.conf");
    let facts = ask(&machine).await;
    let around = Surroundings(&facts.surroundings);
    assert_eq!(around.unanswered(), [""; 0]);
    let own: Vec<String> = around
        .addresses()
        .into_iter()
        .flatten()
        .map(|own| format!("{} {}", own.device, own.network))
        .collect();
    assert_eq!(own, ["lo 127.0.0.1/8", "lo ::1/128", "eth0 10.240.0.20/24"]);
    let to: Vec<String> =
        around.routes().into_iter().flatten().map(|route| route.to.to_string()).collect();
    assert_eq!(to, ["10.0.0.0/8", "10.32.0.0/24", "10.240.0.0/24"]);
    assert!(around.resolvers().expect("an answer").contains(&[192, 0, 2, 53].into()));
    let places: Vec<String> = around.room().into_iter().flatten().map(|it| it.place).collect();
    let wanted = ["/var/lib/labctl", "/var/lib/containerd", "/usr/local/bin", "/opt/cni/bin"];
    assert_eq!(places, wanted);
}

#[tokio::test]
async fn a_process_on_a_port_of_the_lab_is_named() {
    let machine = machine_at("10.240.0.10/24");
    let _listening = Listening::on(&machine, 2379);
    let (refused, _) = judged(&machine, "controller-0").await;
    let what = "port 2379, which etcd needs, is in use by perl";
    assert!(refused.iter().any(|it| it.starts_with(what)), "{refused:?}");
}

#[tokio::test]
async fn what_earlier_networks_left_is_named() {
    let machine = machine_at("10.240.0.20/24");
    machine.sh("ip link add cni0 type bridge && ip address add 10.42.0.1/24 dev cni0");
    machine.sh("mkdir -p /etc/cni/net.d && echo '{}' > /etc/cni/net.d/10-calico.conflist");
    let (refused, _) = judged(&machine, "worker-0").await;
    assert!(
        refused.iter().any(|it| it.contains("cni0 has the address 10.42.0.1/24")),
        "{refused:?}"
    );
    assert!(
        refused.iter().any(|it| it.contains("/etc/cni/net.d/10-calico.conflist")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_address_that_is_not_the_machine_s_own_is_named() {
    let machine = machine_at("10.0.0.5/24");
    let (refused, _) = judged(&machine, "worker-0").await;
    let what = "its address 10.240.0.20 is on none of its interfaces; its own: 10.0.0.5";
    assert!(refused.iter().any(|it| it == what), "{refused:?}");
}

#[tokio::test]
async fn an_input_chain_that_refuses_is_named_once() {
    let machine = machine_at("10.240.0.20/24");
    machine.sh("iptables -A INPUT -i lo -j ACCEPT && iptables -A INPUT -j REJECT");
    let what = "a firewall is active: the chain INPUT refuses what no rule accepts";
    let (_, warned) = judged(&machine, "worker-0").await;
    assert!(warned.iter().any(|it| it == what), "{warned:?}");
    machine.sh("mkdir -p /var/lib/labctl && echo 'file /etc/x' > /var/lib/labctl/record");
    let (_, warned) = judged(&machine, "worker-0").await;
    assert!(!warned.iter().any(|it| it == what), "{warned:?}");
}

#[tokio::test]
async fn programs_that_fail_or_are_missing_leave_a_question_open() {
    let machine = machine_at("10.240.0.20/24");
    for program in ["ss", "df", "ip"] {
        machine.shim(program, "echo nonsense; exit 1");
    }
    let (refused, warned) = judged(&machine, "worker-0").await;
    let about = |it: &&String| !it.starts_with("its kernel must load");
    assert_eq!(refused.iter().filter(about).count(), 0, "{refused:?}");
    let open = "could not be judged: its addresses, its routes, which ports are in use, free disk \
                space";
    assert!(warned.iter().any(|it| it == open), "{warned:?}");
}

#[tokio::test]
async fn an_answer_is_no_longer_than_is_needed() {
    let machine = machine_at("10.240.0.20/24");
    machine.sh("i=0; while [ $i -lt 2000 ]; do
        echo \"route add 10.$((i / 250)).$((i % 250)).0/24 dev eth0\"; \
        i=$((i + 1)); done | ip -batch -");
    machine.shim("ss", "yes 'LISTEN 0 1 *:1 *:* users:((\"a\",pid=1,fd=3))' | head -n 100000");
    let facts = ask(&machine).await;
    assert_eq!(facts.surroundings["routes"].len(), 500);
    assert_eq!(facts.surroundings["listeners"].len(), 500);
}

#[tokio::test]
async fn what_the_next_boot_would_change_is_named() {
    let machine = machine_at("10.240.0.20/24");
    machine.sh("mkdir -p /etc/systemd/system/swap.target.wants /etc/cloud
        printf '[Swap]\nWhat=/swap.unit\n' > /etc/systemd/system/swap.unit.swap
        ln -s ../swap.unit.swap /etc/systemd/system/swap.target.wants/swap.unit.swap
        echo 'net.ipv4.ip_forward=0' > /etc/sysctl.d/99-hardening.conf
        echo 'vm.panic_on_oom=1' > /usr/lib/sysctl.d/99-masked.conf
        ln -s /dev/null /etc/sysctl.d/99-masked.conf
        echo 'export https_proxy=http://user:secret@192.0.2.250:3128' >> /etc/environment
        echo 'manage_etc_hosts: true' > /etc/cloud/cloud.cfg
        mkdir -p /etc/ufw && echo 'ENABLED=yes' > /etc/ufw/ufw.conf
        iptables -N LABCTL-FORWARD && iptables -A FORWARD -j REJECT
        iptables -A FORWARD -j LABCTL-FORWARD");
    let (_, warned) = judged(&machine, "worker-0").await;
    for what in [
        "the next boot turns swap on: /etc/systemd/system/swap.target.wants/swap.unit.swap",
        "the next boot sets net.ipv4.ip_forward to 0, not 1",
        "every login gets a proxy from /etc/environment: https_proxy",
        "cloud-init writes /etc/hosts at every boot, without the lab's nodes",
        "a firewall is active: ufw",
        "packets between pods of different nodes are refused: `iptables -A FORWARD -j REJECT",
    ] {
        assert!(warned.iter().any(|it| it.starts_with(what)), "{what}: {warned:#?}");
    }
    assert!(!warned.iter().any(|it| it.contains("panic_on_oom")), "it is masked: {warned:#?}");
    let answers = format!("{:?}", ask(&machine).await.surroundings);
    assert!(!answers.contains("secret"), "a proxy's password stays on the machine");
    machine.sh("ln -s /dev/null /etc/systemd/system/swap.target");
    let (_, warned) = judged(&machine, "worker-0").await;
    assert!(!warned.iter().any(|it| it.contains("swap")), "{warned:#?}");
}

#[tokio::test]
async fn what_an_earlier_cluster_left_and_what_cannot_be_written_is_named() {
    let machine = machine_at("10.240.0.20/24");
    machine.sh("iptables -t nat -N KUBE-SERVICES
        mkdir -p /usr/lib/systemd/system/kubelet.service.d /etc/systemd/system/kubelet.service.d
        printf '[Service]\nExecStart=\nExecStart=/usr/bin/kubelet\n' > \
          /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf
        echo 'Nice=1' > /etc/systemd/system/kubelet.service.d/nice.conf
        mount --bind /usr/local/bin /usr/local/bin && mount -o remount,bind,ro /usr/local/bin");
    let (mut refused, _) = judged(&machine, "worker-0").await;
    refused.retain(|it| !it.starts_with("its kernel must load"));
    for what in [
        "its firewall has chains of another cluster: KUBE-SERVICES",
        "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf changes how kubelet.service \
         starts",
        "/usr/local/bin cannot be written, not even by root",
    ] {
        assert!(refused.iter().any(|it| it == what), "{what}: {refused:#?}");
    }
    assert_eq!(refused.len(), 3, "{refused:#?}");
    machine.sh("mkdir -p /var/lib/labctl && echo 'unit x none inactive' > /var/lib/labctl/record");
    let facts = ask(&machine).await;
    assert_eq!(Surroundings(&facts.surroundings).kube_chains(), [""; 0], "they may be the lab's");
}
