//! The teardown's own tasks on a machine in namespaces: what a record can hold, and what would not
//! go.

use crate::support::machine::{Converged, Machine};
use labctl::event::Event;
use labctl::machine::family::FAMILIES;
use labctl::module::command::Command;
use labctl::module::undo::Undo;
use labctl::module::{Desired, Module};
use labctl::playbook::standard;

/// The tasks of the standard playbook `down`, in their order.
pub fn down() -> Vec<Desired> {
    let playbook = standard::find("down", None).expect("the standard playbook");
    let tasks = playbook.plays.into_iter().flat_map(|play| play.tasks);
    let command = |module: Module| match module {
        Module::Command(args) => Desired::Command(Command { run: args.run, unless: args.unless }),
        Module::Undo(args) => Desired::Undo(Undo { own: args.own, family: &FAMILIES[0] }),
        other => panic!("a teardown is made of commands and `undo`, not of {}", other.kind()),
    };
    tasks.map(|task| command(task.module)).collect()
}

/// A machine with a record, and with a systemd that has nothing running.
pub fn machine(record: &str) -> Machine {
    let machine = Machine::new();
    machine.shim("systemctl", "case $1 in is-active) echo inactive; exit 3 ;; cat) exit 1 ;; esac");
    machine.sh(&format!(
        "mkdir -p /var/lib/labctl && cat > /var/lib/labctl/record <<'EOF'\n{record}\nEOF"
    ));
    machine
}

#[tokio::test]
async fn what_was_changed_in_place_comes_back() {
    let machine = machine(
        "attributes /srv/theirs 2770 daemon:daemon\ncontents /srv/theirs\nunended /etc/hosts \
        10.0.0.9 printer\n\
         hosts_entry worker-0\nhosts_entry a.b\ndirectory /var/lib/ours\ntree /var/lib/ours\ntree \
        /srv/ours\ndirectory /root/.kube\n\
         file /etc/it's a $(file)\nreplaced /etc/theirs\nsysctl net.ipv4.ip_forward 0\n\
         setting /proc/sys/net/ipv4/ip_local_port_range 32768\t60999\nlink ours\nlink pods\nroute \
        198.51.100.0/24\n\
         kept /etc/hosts\nhosts labctl-mine\nroute 198.51.101.0/24 dev lo scope link",
    );
    machine.sh("mkdir -p /srv/theirs/new/er /var/lib/ours/a /srv/ours/b /root/.kube/cache \
        /var/lib/labctl/originals/etc
         echo mine > /root/.kube/other
         printf '10.240.0.7 xworker-0 # labctl\n10.0.0.9 printer\n10.240.0.2 axb # \
        labctl\n10.240.0.1 a.b # labctl\n10.240.0.20 worker-0 # labctl\n' > /etc/hosts
         sed -i '/axb/d' /etc/hosts
         sed -i '2i10.240.0.5 one # labctl-mine' /etc/hosts; cp /etc/hosts \
        /var/lib/labctl/originals/etc
         : > \"/etc/it's a \\$(file)\"; : > \"/etc/.it's a \\$(file).labctl-12\"
         echo before > /var/lib/labctl/originals/etc/theirs; chmod 4711 \
        /var/lib/labctl/originals/etc/theirs
         echo after > /etc/theirs
         echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1024 60000 > \
        /proc/sys/net/ipv4/ip_local_port_range
         for bridge in pods others; do
           ip link add $bridge type bridge; ip link add $bridge-0 type veth peer name $bridge-1
           ip link set $bridge-0 master $bridge
         done
         ip link add ours type veth peer name other; ip link set lo up; ip route add \
        198.51.100.0/24 dev lo
         ip route add 198.51.101.0/24 dev other 2>/dev/null || :");
    let went = machine.settles(&down()).await;
    assert_eq!(
        warnings(&went),
        ["/root/.kube stays: what is in it was not put there by labctl: other"]
    );
    assert_eq!(machine.sh("stat -c '%a %U:%G' /srv/theirs; ls /srv/theirs"), "2770 daemon:daemon");
    assert_eq!(
        machine.sh("cat /etc/hosts; echo ."),
        "10.240.0.7 xworker-0 # labctl\n10.0.0.9 printer."
    );
    assert_eq!(machine.sh("ls -d /var/lib/ours /srv/ours /etc/it* /etc/.it* 2>/dev/null || :"), "");
    assert_eq!(
        machine.sh("ls -A /root/.kube"),
        "other",
        "what somebody has put into a folder of ours stays"
    );
    assert_eq!(machine.sh("cat /etc/theirs; stat -c %a /etc/theirs"), "before\n4711");
    assert_eq!(
        machine.sh("cd /proc/sys/net/ipv4; cat ip_forward ip_local_port_range"),
        "0\n32768\t60999"
    );
    assert_eq!(
        machine.sh("ip -o link show ours 2>/dev/null || :; ip route show 198.51.100.0/24"),
        ""
    );
    assert_eq!(
        machine.sh("ip -o link show type veth | cut -d' ' -f2 | cut -d@ -f1 | sort"),
        "others-0\nothers-1",
        "with a bridge go the cables at it, and no others"
    );
    assert_eq!(machine.sh("ip route show 198.51.101.0/24"), "198.51.101.0/24 dev lo scope link");
    assert_eq!(
        machine.sh("ls -d /var/lib/labctl 2>/dev/null || :"),
        "",
        "nor is there a record any more"
    );
    assert_eq!(machine.converge(&down()).await.found, [], "and nothing to do a second time");
}

#[tokio::test]
async fn what_would_not_go_is_named_and_stays_in_the_record() {
    let machine = machine(
        "unit etcd.service none inactive\nfile /etc/ours\nreplaced /etc/theirs\ntree /srv/ours",
    );
    machine.shim(
        "systemctl",
        "[ -e /gone ] || [ \"$1\" != is-active ] || echo deactivating; [ -e /gone ]",
    );
    machine.sh("mkdir -p /etc/ours /srv/ours; echo now > /etc/theirs");
    let failed = machine.converge(&down()).await;
    let said = failed.failure().stderr.join("\n");
    let (_, named) = said
        .split_once("This could not be removed or put back:\n")
        .expect("what could not be removed");
    assert_eq!(
        named.lines().collect::<Vec<_>>(),
        [
            "unit etcd.service: it does not end: systemctl status etcd.service",
            "/etc/theirs: what was there before lies in /var/lib/labctl/originals/etc/theirs",
            "/etc/ours",
            "systemd still has the units that are gone: systemctl daemon-reload",
        ]
    );
    assert_eq!(machine.sh("ls -d /srv/ours 2>/dev/null || :"), "", "the rest is done");
    assert_eq!(machine.record().len(), 4, "and the record has it all for the next time");

    machine.sh("touch /gone; rmdir /etc/ours; mkdir -p /var/lib/labctl/originals/etc; echo old > \
        /var/lib/labctl/originals/etc/theirs");
    machine.settles(&down()).await;
    assert_eq!(machine.sh("cat /etc/theirs; ls -d /var/lib/labctl 2>/dev/null || :"), "old");
}

/// What a person should know afterwards.
fn warnings(went: &Converged) -> Vec<&str> {
    let told = went.events.iter();
    told.filter_map(|event| match event {
        Event::Warning { message, .. } => Some(message.as_str()),
        _ => None,
    })
    .collect()
}

#[tokio::test]
async fn a_directory_goes_only_when_nothing_of_somebodys_is_in_it() {
    let machine = machine(
        "directory /etc/kubernetes\ndirectory /etc/kubernetes/pki\nfile \
        /etc/kubernetes/pki/ca.crt\n\
         directory /var/lib/etcd\ndirectory /var/lib/theirs\ndirectory /opt/cni\ndirectory \
        /opt/cni/bin\n\
         empty /srv/full\nempty /srv/empty\nempty /srv/ours\ncontents /srv/ours",
    );
    machine.sh("mkdir -p /srv/full /srv/empty /srv/ours; touch /srv/full/theirs /srv/ours/it");
    machine
        .sh("mkdir -p /etc/kubernetes/pki /var/lib/etcd/member /var/lib/theirs/deep /opt/cni/bin");
    machine.sh(
        "echo ours > /etc/kubernetes/pki/ca.crt; echo it > /var/lib/theirs/deep/file; echo it > \
        /opt/cni/bin/theirs",
    );
    let went = machine.settles(&down()).await;
    assert_eq!(machine.sh("ls /srv/ours; ls /srv/full"), "theirs");
    let named = [
        "/srv/full was empty and is not: what is in it was not put there by labctl: theirs",
        "/opt/cni/bin stays: what is in it was not put there by labctl: theirs",
        "/opt/cni stays: what is in it was not put there by labctl: bin",
        "/var/lib/theirs stays: what is in it was not put there by labctl: deep",
    ];
    assert_eq!(warnings(&went), named);
    assert_eq!(machine.sh("cat /var/lib/theirs/deep/file /opt/cni/bin/theirs"), "it\nit");
    assert_eq!(
        machine.sh("ls -d /etc/kubernetes /var/lib/etcd /var/lib/labctl 2>/dev/null || :"),
        ""
    );
}

/// A record that a power failure tore, or that somebody has edited.
#[tokio::test]
async fn a_line_that_is_torn_or_dangerous_is_refused_and_named() {
    let lines = [
        "directory /etc/",
        "tree /var",
        "tree /var/lib/../../etc",
        "contents /var//lib",
        "directory etc/kubernetes",
        "tree /etc/kubernetes/",
        "tree /",
        "tree",
        "file /",
        "file relative",
        "attributes /etc 755 root:root",
        "replaced /etc/./x",
        "setting /etc/passwd x",
        "setting /proc/sys/../../etc/x 1",
        "what /is/this",
    ];
    let machine = machine(&lines.join("\n"));
    machine.sh("mkdir -p /etc/kubernetes; echo it > /etc/kubernetes/file");
    let before = machine
        .sh("find /etc /var/lib -path /var/lib/labctl -prune -o -print | sort | sha256sum; ls /");
    let went = machine.settles(&down()).await;
    let said = warnings(&went).join("\n");
    for line in lines {
        assert!(said.contains(&format!("`{}", line.trim())), "{line} is named: {said}");
    }
    let after = machine
        .sh("find /etc /var/lib -path /var/lib/labctl -prune -o -print | sort | sha256sum; ls /");
    assert_eq!(after, before, "nothing is gone");
}

#[tokio::test]
async fn hosts_that_were_lost_on_the_way_are_as_they_were() {
    for (loss, left) in [
        (": > /etc/hosts", "10.0.0.9 printer"),
        ("rm /etc/hosts", "10.0.0.9 printer"),
        ("true", "now"),
    ] {
        let machine = machine("kept /etc/hosts\nhosts labctl");
        machine.sh("mkdir -p /var/lib/labctl/originals/etc; echo 10.0.0.9 printer > \
                /var/lib/labctl/originals/etc/hosts");
        machine.sh(&format!("printf 'now\n10.240.0.5 one # labctl\n' > /etc/hosts; {loss}"));
        machine.settles(&down()).await;
        assert_eq!(machine.sh("cat /etc/hosts"), left, "after `{loss}`");
    }
}

#[tokio::test]
async fn nothing_is_deleted_through_a_mount() {
    let machine = machine("tree /srv/ours\ntree /var/lib/ours");
    machine.sh("mkdir -p /precious /srv/ours/volume /var/lib/ours/v/w; echo it > /precious/file");
    machine.sh("mount --bind /precious /srv/ours/volume; mount --bind /precious /var/lib/ours/v/w");
    machine.settles(&down()).await;
    assert_eq!(machine.sh("ls -d /srv/ours /var/lib/ours 2>/dev/null; cat /precious/file"), "it");
    assert_eq!(machine.sh("grep -c -e /srv/ours -e /var/lib/ours /proc/self/mounts || :"), "0");
}

#[tokio::test]
async fn a_run_that_nobody_listens_to_any_more_is_ended_first() {
    let machine = machine("file /etc/ours");
    // As the engine starts them: a shell that names the folder, and is named in it.
    machine.sh("nohup sh -c ': labctl/runs; mkdir -p /var/lib/labctl/runs/$$.abc; echo $$ > /pid
         for i in $(seq 1000); do echo again > /etc/ours; sleep 0.05; done' >/dev/null 2>&1 &
         until [ -s /pid ]; do :; done");
    machine.settles(&down()).await;
    assert_eq!(machine.sh("ls -d /etc/ours /var/lib/labctl 2>/dev/null || :"), "");
    machine.sh("[ ! -e \"/proc/$(cat /pid)/exe\" ]");
}

#[tokio::test]
async fn swap_that_was_on_is_on_again_and_fstab_is_as_it_was() {
    let machine = machine("swap /dev/sdx2 -2\nswap /swap.img 7");
    machine.shim("swapon", "[ \"$1\" = --noheadings ] || echo \"$@\" >> /on");
    machine.shim("swapoff", "echo \"$@\" >> /off");
    machine.sh(
        "printf '/dev/sda1 / ext4 defaults 0 1\n# labctl: /dev/sdx2 none swap sw 0 0' > /etc/fstab",
    );
    machine.settles(&down()).await;
    assert_eq!(machine.sh("cat /on"), "-p 7 /swap.img\n/dev/sdx2");
    assert_eq!(
        machine.sh("cat /etc/fstab; echo ."),
        "/dev/sda1 / ext4 defaults 0 1\n/dev/sdx2 none swap sw 0 0."
    );
}

#[tokio::test]
async fn a_record_that_is_empty_has_nothing_to_undo() {
    let machine = machine("");
    machine.sh("truncate -s 0 /var/lib/labctl/record; mkdir /etc/theirs");
    machine.settles(&down()).await;
    assert_eq!(
        machine.sh("ls -d /etc/theirs; ls -d /var/lib/labctl 2>/dev/null || :"),
        "/etc/theirs"
    );
}

/// The power went while the last line was written. What stands before it is undone, and of a line
/// without its end nothing is taken for more than it says. (Cut to a path that is somebody's, a
/// line does name that path.)
#[tokio::test]
async fn the_torn_last_line_of_a_record_keeps_nothing_from_being_undone() {
    // One of them looks whole: it was to be longer.
    for cut in [
        "hosts_entry",
        "file",
        "file ",
        "file /etc/theirs-and-lo",
        "file /etc/theirs",
        "tree /srv/i",
        "sysctl net.ipv4.ip_forward",
    ] {
        let machine = machine("");
        machine.sh(&format!(
            "printf 'directory /etc/ours\nfile /etc/ours/file\n{cut}' > /var/lib/labctl/record"
        ));
        machine
            .sh("mkdir /etc/ours /srv/it; touch /etc/ours/file /etc/theirs; cp /etc/hosts /hosts");
        machine.settles(&down()).await;
        assert_eq!(
            machine.sh("ls -d /etc/ours /etc/theirs /srv/it 2>/dev/null || :"),
            "/etc/theirs\n/srv/it",
            "{cut}"
        );
        assert_eq!(machine.sh("cmp /etc/hosts /hosts; ls -d /root /usr"), "/root\n/usr", "{cut}");
    }
}

#[tokio::test]
async fn a_directory_that_had_something_in_it_has_that_and_no_more() {
    let machine = machine(
        "others /srv/disk lost+found/\nothers /srv/link a b/[c]*/\nothers /srv\nothers /srv/x y",
    );
    machine
        .sh("mkdir -p /srv/disk/lost+found/kept /srv/disk/member/snap /srv/far/new '/srv/far/[c]*'
         touch '/srv/far/a b' /srv/far/a /srv/far/c; ln -s far /srv/link; mkdir -p /srv/x/z");
    let went = machine.settles(&down()).await;
    assert_eq!(
        machine.sh("find /srv/disk -mindepth 1 | sort"),
        "/srv/disk/lost+found\n\
        /srv/disk/lost+found/kept"
    );
    assert_eq!(machine.sh("ls /srv/far"), "[c]*\na b");
    assert_eq!(machine.sh("readlink /srv/link; ls /srv/x"), "far\nz", "torn lines mean nothing");
    assert_eq!(warnings(&went).len(), 2, "{:?}", warnings(&went));
}

#[tokio::test]
async fn the_cache_of_a_kubectl_that_was_there_before_stays() {
    let machine = machine("directory /etc/kubernetes\nattributes /root/.kube 755 root:root");
    machine
        .sh("mkdir -p /root/.kube/cache/theirs /etc/kubernetes; : > /etc/kubernetes/resolv.conf");
    machine.settles(&down()).await;
    assert_eq!(
        machine.sh("ls -d /root/.kube/cache/theirs /etc/kubernetes 2>/dev/null || :"),
        "/root/.kube/cache/theirs"
    );
}
