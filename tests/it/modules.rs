//! Modules against a real shell: what a probe finds, what a plan changes, and that nothing is left
//! to do afterwards.

mod checks;
mod files;
mod link;
mod objects;
mod system;
mod user;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::machine::Machine;
use labctl::event::Event;
use labctl::machine::family::FAMILIES;
use labctl::module::Desired;
use labctl::module::command::Command;
use labctl::module::directory::Directory;
use labctl::module::file::{Blob, Content, File};
use labctl::module::hosts::{Hosts, Name};
use labctl::module::kernel_module::KernelModule;
use labctl::module::package::{Package, WantedPackage};
use labctl::module::routes::{Route, Routes};
use labctl::module::set::Set;
use labctl::module::sysctl::Sysctl;
use labctl::module::wait::Wait;

fn folder(path: &str, mode: &str) -> Desired {
    Desired::Directory(Directory {
        path: path.into(),
        mode: mode.into(),
        owner: "root:root".into(),
    })
}

fn file(path: &str, mode: &str, content: Content) -> Desired {
    let (path, mode, owner) = (path.into(), mode.into(), "root:root".into());
    Desired::File(File { path, mode, owner, content, sensitive: false, origin: "test".into() })
}

fn text(path: &str, text: &str) -> Desired {
    file(path, "644", Content::inline(text.as_bytes()))
}

/// A large file on the workstation.
fn blob(workstation: &Path, name: &str, bytes: &[u8]) -> Content {
    let source = workstation.join(name);
    std::fs::write(&source, bytes).expect("a file");
    let sha256 = Content::inline(bytes).sha256().to_owned();
    Content::Blob(Blob { sha256, size: bytes.len() as u64, source, name: name.into() })
}

fn command(run: &str, unless: &str) -> Desired {
    Desired::Command(Command { run: run.into(), unless: unless.into() })
}

fn sysctl(key: &str, value: &str) -> Desired {
    Desired::Sysctl(Sysctl { key: key.into(), value: value.into() })
}

/// Names marked `labctl`, with the last number of their addresses.
fn hosts(names: &[(&str, u8)]) -> Desired {
    let name = |(name, last): &(&str, u8)| Name {
        address: [10, 240, 0, *last].into(),
        name: (*name).to_owned(),
    };
    let names = Set::new(names.iter().map(name).collect());
    Desired::Hosts(Hosts { mark: "labctl".into(), names })
}

/// Routes within 10.0.0.0/8, without the one that is the node's own.
fn routes(routes: &[(&str, &str)], own: Option<usize>) -> Desired {
    let route = |(to, via): &(&str, &str)| Route {
        to: to.parse().expect("a network"),
        via: via.parse().expect("an address"),
    };
    let routes = Set::new(routes.iter().map(route).collect()).without(own);
    Desired::Routes(Routes { within: "10.128.0.0/9".parse().expect("a network"), routes })
}

fn wait(until: &str, seconds: u64) -> Desired {
    let (what, timeout) = ("it".into(), Duration::from_secs(seconds));
    Desired::Wait(Wait { what, until: until.into(), timeout, unit: None })
}

/// Why the one change of a plan is one.
fn why(found: &[(String, String)]) -> &str {
    let [(_, why)] = found else { panic!("one change: {found:?}") };
    why
}

#[tokio::test]
async fn a_folder_comes_with_those_above_it_and_gets_its_mode_back() {
    let machine = Machine::new();
    let desired = [folder("/etc/kubernetes/pki/etcd", "700")];
    assert_eq!(why(&machine.settles(&desired).await.found), "missing");
    assert_eq!(machine.sh("stat -c %a /etc/kubernetes /etc/kubernetes/pki/etcd"), "755\n700");
    let made = [
        "directory /etc/kubernetes",
        "directory /etc/kubernetes/pki",
        "directory /etc/kubernetes/pki/etcd",
    ];
    assert_eq!(machine.record(), made, "the record has every folder, the outer ones first");
    machine.sh("chmod 2755 /etc/kubernetes/pki/etcd; chown 1:1 /etc/kubernetes/pki/etcd");
    assert_eq!(why(&machine.settles(&desired).await.found), "mode 2755 should be 700");
}

#[tokio::test]
async fn a_directory_of_somebodys_is_recorded_beside_one_whose_path_holds_its_line() {
    let machine = Machine::new();
    machine.sh(
        "mkdir -p '/srv/attributes /srv/x ' /srv/x; touch '/srv/attributes /srv/x /f' /srv/x/f",
    );
    machine.settles(&[folder("/srv/attributes /srv/x ", "700"), folder("/srv/x", "700")]).await;
    let both =
        ["attributes /srv/attributes /srv/x  755 root:root", "attributes /srv/x 755 root:root"];
    assert_eq!(machine.record(), both);
}

#[tokio::test]
async fn a_folder_that_lies_on_another_disk_behind_a_link_is_a_folder() {
    let machine = Machine::new();
    machine.sh("mkdir -m 700 /srv/etcd && ln -s /srv/etcd /var/lib/etcd");
    machine.settles(&[folder("/var/lib/etcd", "755")]).await;
    assert_eq!(
        machine.sh("stat -c '%F %a' /var/lib/etcd /srv/etcd"),
        "symbolic link 777\ndirectory 755"
    );
}

#[tokio::test]
async fn somebodys_file_where_a_folder_should_be_is_left_alone_and_not_called_ours() {
    let machine = Machine::new();
    machine.sh("echo mine > /etc/kubernetes");
    let converged = machine.converge(&[folder("/etc/kubernetes/pki", "755")]).await;
    assert_eq!(converged.failure().stderr, ["/etc/kubernetes is there and is not a folder"]);
    assert_eq!(
        machine.sh("cat /etc/kubernetes; cat /var/lib/labctl/record 2>&1 || :").lines().next(),
        Some("mine")
    );
    assert!(!machine.sh("cat /var/lib/labctl/record 2>/dev/null || :").contains("/etc/kubernetes"));
}

#[tokio::test]
async fn a_command_runs_only_when_its_check_says_so() {
    let machine = Machine::new();
    let desired = [command("echo once >> /log\ntouch '/it'\\''s done'", "[ -e \"/it's done\" ]")];
    let first = machine.settles(&desired).await;
    assert_eq!(first.applied.changed["node"], 1);
    assert_eq!(machine.converge(&desired).await.found, []);
    assert_eq!(machine.sh("cat /log"), "once");

    let failed = machine.converge(&[command("echo before\nfalse\necho never", "false")]).await;
    assert_eq!(
        (failed.failure().code, &failed.failure().stderr[..]),
        (Some(1), &["before".to_owned()][..])
    );
    let left = machine
        .converge(&[command("echo bye; exit 0", "false"), command("touch /after", "false")])
        .await;
    assert!(left.applied.ok, "a command's own exit ends only itself");
    assert_eq!(machine.sh("ls /after"), "/after");
}

#[tokio::test]
async fn a_wait_ends_when_its_condition_comes_true() {
    let machine = Machine::new();
    // Comes true at its third look.
    let until = "echo x >> /looks; [ $(wc -l < /looks) -ge 3 ]";
    machine.sh(": > /looks");
    let converged = machine.converge(&[wait(until, 60)]).await;
    assert!(converged.applied.ok, "{:?}", converged.failures());
    assert_eq!(converged.applied.changed["node"], 0, "waiting changes nothing");
}

#[tokio::test]
async fn a_wait_that_is_in_vain_says_what_its_check_said_last() {
    let (machine, began) = (Machine::new(), Instant::now());
    let converged = machine.converge(&[wait("echo 'etcd: no leader' >&2; false", 1)]).await;
    assert_eq!(converged.failure().stderr, ["etcd: no leader", "timed out after 1 s"]);
    assert_eq!(
        (converged.failure().reason.as_str(), converged.failure().code),
        ("condition not met yet", Some(1))
    );
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_kernel_that_has_it_built_in_needs_no_module() {
    let machine = Machine::new();
    let built_in = Desired::KernelModule(KernelModule {
        name: "no-such-module".into(),
        provides: "/proc/sys".into(),
    });
    assert_eq!(machine.differences(&[built_in]).await, []);
    machine.shim("modprobe", "echo \"$@\" >> /loaded; : > /provided");
    let desired = [Desired::KernelModule(KernelModule {
        name: "br_test".into(),
        provides: "/provided".into(),
    })];
    machine.settles(&desired).await;
    assert_eq!(
        machine.sh("cat /loaded /etc/modules-load.d/labctl-br_test.conf"),
        "br_test\nbr_test"
    );
}

#[tokio::test]
async fn a_node_sends_the_text_of_what_differs_and_of_nothing_else_and_is_left_as_it_was() {
    let machine = Machine::new();
    let long = "x".repeat(70_000);
    let secret = |path: &str| {
        let Desired::File(plain) = text(path, "new\n") else { unreachable!("a file") };
        Desired::File(File { sensitive: true, mode: "600".into(), ..plain })
    };
    let same =
        [text("/etc/b same", "old\n"), text("/etc/b's same", "old\n"), folder("/etc/c", "755")];
    machine.settles(&same).await;
    let paths = "/etc/c/differs /etc/c/hidden /etc/c/secret /etc/c/binary";
    machine.sh(&format!(
        "for path in {paths}; do echo old > $path; done; chmod 640 /etc/c/hidden; chmod 644 \
        /etc/c/secret"
    ));
    machine.sh(&format!(
        "printf 'a\\0b' > /etc/c/binary; echo {long} > /etc/c/long; ln -s differs /etc/c/link"
    ));
    let files = [
        "/etc/a missing",
        "/etc/c/binary",
        "/etc/c/differs",
        "/etc/c/hidden",
        "/etc/c/link",
        "/etc/c/long",
        "/etc/d",
    ];
    let mut desired: Vec<Desired> = files.iter().map(|path| text(path, "new\n")).collect();
    desired.extend(same);
    desired.push(secret("/etc/c/secret"));

    // The rest of its file system is this machine's, where others are at work.
    let listing = "find /etc /var/lib/labctl -printf '%p %T@ %C@ %s %m %U\\n' | sort";
    let before = machine.sh(listing);
    let facts = machine.facts(&desired).await;
    let again = machine.facts(&desired).await;
    assert!(machine.sh(listing) == before, "a probe writes nothing");
    assert_eq!(again.other_texts, facts.other_texts);
    let sent: Vec<(&str, &str)> =
        facts.other_texts.iter().map(|(path, text)| (&**path, &**text)).collect();
    assert_eq!(sent, [("/etc/c/differs", "old\n")]);
    let size = |path: &str| facts.paths.get(path).map(|fact| (fact.size, fact.sha256.is_some()));
    assert_eq!(
        (size("/etc/a missing"), size("/etc/b same"), size("/etc/c/long")),
        (None, Some((4, true)), Some((70_001, true)))
    );

    // A file that labctl wrote and nobody touched, when something else is wanted.
    machine.settles(&[text("/etc/c/differs", "new\n")]).await;
    let facts = machine.facts(&[text("/etc/c/differs", "newer\n")]).await;
    assert_eq!(facts.other_texts.get("/etc/c/differs").map(String::as_str), Some("new\n"));
}

/// What `explain` says of each task, typed on a machine that labctl has never met. Left out is what
/// a person cannot type: a secret's or a large file's content, and what a unit, an image and a
/// manifest need to be there first.
#[tokio::test]
async fn what_explain_says_to_type_leaves_nothing_for_labctl_to_do() {
    let desired = [
        folder("/etc/made by hand", "750"),
        text("/etc/made by hand/it's $here", "one\n'two' `three`\n"),
        file("/etc/setuid", "4755", Content::inline(&b"#!/bin/sh\n"[..])),
        sysctl("net.ipv4.ip_forward", "1"),
        sysctl("net.ipv4.ip_local_port_range", "20000 60000"),
        hosts(&[("worker-0", 20), ("worker-1", 21)]),
        routes(&[("10.200.1.0/24", "10.240.0.21"), ("10.200.2.0/24", "10.240.0.22")], None),
        command("echo one >> /log", "[ -e /log ]"),
        command("touch /second && echo two >> /log", "[ -e /second ] && [ -e /log ]"),
        command("touch /third; echo three >> /log", "test -e /third"),
        wait("[ -e /third ]", 60),
        Desired::KernelModule(KernelModule {
            name: "br_test".into(),
            provides: "/provided".into(),
        }),
        Desired::Package(Package {
            names: vec![WantedPackage {
                name: "some-tool".into(),
                proof: Some("/usr/sbin/some-tool".into()),
            }],
            family: &FAMILIES[0],
        }),
    ];
    let prepared = || {
        let machine = Machine::new();
        machine.sh(
            "ip link add left type veth peer name right && ip addr add 10.240.0.10/24 dev left",
        );
        machine.sh("ip link set left up && ip link set right up");
        machine.shim("modprobe", ": > /provided");
        machine.shim("apt-get", "case \"$*\" in *' some-tool') : > /usr/sbin/some-tool ;; esac");
        machine
    };
    let (by_hand, by_labctl) = (prepared(), prepared());
    assert_eq!(by_hand.differences(&desired).await.len(), desired.len(), "all of it is to be done");
    for state in &desired {
        by_hand.sh(&labctl::module::State::shell(state));
    }
    assert_eq!(by_hand.differences(&desired).await, []);

    // And what labctl makes of the same machine is the same.
    by_labctl.settles(&desired).await;
    let look =
        "stat -c '%a %U:%G %n' '/etc/made by hand' /etc/setuid; cat '/etc/made by hand/it'\\''s \
        $here' /etc/setuid
        cd /proc/sys/net/ipv4; cat ip_forward ip_local_port_range; ip route; cat /log /etc/hosts
        cd /etc/sysctl.d; cat *ip_forward* *port_range*; cat /etc/modules-load.d/*br_test*; ls \
        /usr/sbin/some-tool";
    assert_eq!(by_hand.sh(look), by_labctl.sh(look));

    // Typed again, a command whose check holds does nothing, whatever it is made of.
    for state in desired.iter().filter(|it| matches!(it, Desired::Command(_))) {
        by_hand.sh(&labctl::module::State::shell(state));
    }
    assert_eq!(by_hand.sh("cat /log"), "one\ntwo\nthree");
}
