//! What the shell of nodes promises in moments that no other test comes to: each test here kills a
//! mutation that the others survived. `docs/development.md` lists them.

use std::fs;
use std::process::Command;

use labctl::machine::family::FAMILIES;
use labctl::module::Desired;
use labctl::module::file::{Content, File};
use labctl::module::package::{Package, WantedPackage};
use sha2::{Digest, Sha256};

use crate::support::machine::Machine;
use crate::teardown::{down, machine as with_record};
use crate::units::{DOWN, RUNS, unit, with_systemd};

/// Whoever holds the key of a run may ask for blobs, by their checksums, and for nothing else.
#[test]
fn a_gate_gives_blobs_and_no_other_file() {
    let state = tempfile::tempdir().expect("a directory");
    let run = state.path().join("runs/1.run");
    fs::create_dir_all(&run).expect("a directory");
    fs::create_dir(state.path().join("blobs")).expect("a directory");
    let (begin, end) = ("cat > \"$here/give\" << 'EOF'", "\nEOF\n");
    let after = labctl::node::GATE.split_once(begin).expect("the script of a gate").1;
    let (_, script) = after
        .split_once(end)
        .map(|(script, _)| script)
        .expect("its end")
        .split_once('\n')
        .expect("lines");
    fs::write(run.join("give"), script).expect("a script");
    let blob = "what was asked for";
    let sha = hex::encode(Sha256::digest(blob));
    fs::write(state.path().join("blobs").join(&sha), blob).expect("a blob");
    fs::write(state.path().join("secret"), "nobody's business").expect("a file");
    let give = |what: &str| {
        let output = Command::new("sh").arg(run.join("give")).arg(what).output().expect("sh");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let header = format!("{sha} raw {:>18}\n", blob.len());
    assert_eq!(give(&format!("raw {sha}")), (Some(0), format!("{header}{blob}")));
    // As long as a checksum, and a way out of the store.
    let out = format!("..{}secret", "/".repeat(64 - 2 - 6));
    assert_eq!(out.len(), 64);
    assert!(state.path().join("blobs").join(&out).exists(), "it would be found");
    for hostile in [out.as_str(), "../secret", "", &sha[1..], &format!("{sha}0")] {
        for form in ["raw", "zst"] {
            let (code, said) = give(&format!("{form} {hostile}"));
            assert_ne!((code, said.contains("business")), (Some(0), true), "{hostile}");
            assert_eq!(said, "", "{hostile}");
        }
    }
}

fn text(path: &str, text: &str) -> Desired {
    let (mode, owner) = ("644".into(), "root:root".into());
    let content = Content::inline(text.as_bytes());
    let path = path.into();
    Desired::File(File { path, mode, owner, content, sensitive: false, origin: "test".into() })
}

#[tokio::test]
async fn the_temporary_file_of_a_play_that_is_at_it_is_left_alone() {
    let machine = Machine::new();
    // Of a process that lives, and of one that does not: no process has a number as high as that.
    let (alive, dead) =
        (format!("/etc/.it.labctl-{}", machine.process()), "/etc/.it.labctl-4194999");
    machine.sh(&format!("touch {alive} {dead}"));
    machine.settles(&[text("/etc/it", "ours")]).await;
    assert_eq!(machine.sh("ls -A /etc | grep labctl-"), alive.trim_start_matches("/etc/"));
}

#[tokio::test]
async fn what_is_started_at_boot_is_told_to_systemd_before_a_run_ends() {
    let machine = Machine::new();
    with_systemd(&machine);
    machine.sh("mv /usr/local/sbin/systemctl /usr/local/sbin/systemctl.real");
    machine.shim("systemctl", "echo \"$@\" >> /calls; exec /usr/local/sbin/systemctl.real \"$@\"");
    for name in ["a.service", "b.service"] {
        let disabled = DOWN.replace("enabled", "disabled");
        machine.sh(&format!(
            "printf '%s' '{disabled}' > /units/{name}; printf '%s' '{RUNS}' > /units/{name}.then"
        ));
    }
    machine.settles(&[unit("a.service"), unit("b.service")]).await;
    let calls = machine.sh("grep -E '^(enable|daemon-reload)' /calls");
    let enabled = "enable --quiet --no-reload -- ";
    let expected = format!("{enabled}a.service\n{enabled}b.service\ndaemon-reload");
    assert_eq!(calls, expected, "once for all, and last");
}

/// It runs whenever it is looked at, and each time it is another run of it.
#[tokio::test]
async fn a_unit_that_is_started_again_between_two_looks_does_not_stay_up() {
    let machine = Machine::new();
    with_systemd(&machine);
    machine.sh(&format!(
        "printf '%s' '{DOWN}' > /units/a.service; printf '%s' '{RUNS}' > /units/a.service.then"
    ));
    let again = format!(
        "echo >> /looks; n=$(wc -l < /looks); {{ printf '%s' '{}'; echo NRestarts=$n; \
         echo InvocationID=run$n; }} > /units/a.service",
        RUNS.replace("NRestarts=0\n", "")
    );
    machine.shim("sleep", &again);
    let converged = machine.converge(&[unit("a.service")]).await;
    let said = converged.failure().stderr.join("\n");
    assert!(said.starts_with("a.service does not stay up: "), "{said}");
}

/// Somebody's chains with the names of kube-proxy's were there first; a lab's own go.
#[tokio::test]
async fn chains_that_were_there_before_the_lab_stay() {
    let machine = Machine::new();
    with_systemd(&machine);
    machine.sh("iptables -N KUBE-THEIRS && iptables -A KUBE-THEIRS -s 192.0.2.1 -j DROP");
    machine.sh(&format!(
        "printf '%s' '{DOWN}' > /units/a.service; printf '%s' '{RUNS}' > /units/a.service.then"
    ));
    machine.settles(&[unit("a.service")]).await;
    assert!(machine.record().contains(&"chains KUBE-".to_owned()), "{:?}", machine.record());
    machine.sh("iptables -N CNI-OURS && iptables -A FORWARD -j CNI-OURS");
    machine.shim("systemctl", "case $1 in is-active) echo inactive; exit 3 ;; cat) exit 1 ;; esac");
    machine.settles(&down()).await;
    let rules = machine.sh("iptables-save | grep -E 'KUBE-|CNI-'");
    assert_eq!(rules, ":KUBE-THEIRS - [0:0]\n-A KUBE-THEIRS -s 192.0.2.1/32 -j DROP");
}

#[tokio::test]
async fn modules_that_a_lab_has_loaded_are_unloaded() {
    let machine = with_record("module br_test\nmodule other_one");
    machine.shim("modprobe", "echo \"$@\" >> /asked");
    machine.settles(&down()).await;
    assert_eq!(machine.sh("cat /asked"), "-q -r other_one\n-q -r br_test", "the newest first");
}

#[tokio::test]
async fn lists_of_packages_that_are_old_are_brought_up_to_date_once() {
    let machine = Machine::new();
    machine.shim(
        "apt-get",
        "echo \"$@\" >> /asked
         case \" $* \" in
           *' update '*) : > /lists ;;
           *' -s '*) [ -e /lists ] || { echo 'E: Unable to locate package' >&2; exit 100; }
             echo 'Inst some-tool (1.0 somewhere [all])' ;;
           *' install '*) [ -e /lists ] && : > /usr/sbin/some-tool ;;
         esac",
    );
    let proof = Some("/usr/sbin/some-tool".into());
    let names = vec![WantedPackage { name: "some-tool".into(), proof }];
    machine.settles(&[Desired::Package(Package { names, family: &FAMILIES[0] })]).await;
    assert_eq!(machine.sh("grep -c update /asked"), "1");
    assert_eq!(machine.record(), ["package some-tool"]);
}

/// Debian's nginx would not be installed where it cannot start.
#[tokio::test]
async fn packages_start_nothing_on_a_machine_without_ipv6() {
    let package = || {
        let names = vec![WantedPackage { name: "nginx".into(), proof: Some("/installed".into()) }];
        Desired::Package(Package { names, family: &FAMILIES[0] })
    };
    let machine = Machine::new();
    // The machine that the tests run on may have one.
    machine.sh("rm -f /usr/sbin/policy-rc.d");
    machine.shim(
        "apt-get",
        "case \" $* \" in *' -s '*) ;; *' install '*)
           [ ! -e /usr/sbin/policy-rc.d ] || /usr/sbin/policy-rc.d nginx start
           echo $? > /installed ;; esac",
    );
    machine.settles(&[package()]).await;
    assert_eq!(machine.sh("cat /installed; rm /installed"), "0", "there is IPv6 here");
    // Nothing else about the machine is otherwise.
    machine.sh("mkdir /quiet && cp -r /proc/uptime /proc/sys/kernel/osrelease /quiet");
    machine.sh("mkdir -p /quiet/self /quiet/net && mount --bind /quiet /proc");
    machine.settles(&[package()]).await;
    assert_eq!(machine.sh("cat /installed; rm /installed"), "101", "an action is forbidden");
    machine.sh("! [ -e /usr/sbin/policy-rc.d ]");
    // Somebody's own policy stays.
    machine.sh(
        "printf '#!/bin/sh\nexit 104\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d",
    );
    machine.settles(&[package()]).await;
    assert_eq!(machine.sh("cat /installed; tail -n 1 /usr/sbin/policy-rc.d"), "104\nexit 104");
}

/// A lock that somebody holds around `labctl up` is theirs, and free when that ends.
#[test]
fn a_node_keeps_no_file_open_that_its_caller_had_open() {
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("launch.sh"), labctl::node::LAUNCH).expect("a script");
    fs::write(at("cgroups"), "").expect("a file");
    let script = "exec 3< /dev/null 9< /dev/null 12< /dev/null; sh launch.sh enter . legacy sh -c \
                  'readlink /proc/$$/fd/3 /proc/$$/fd/9 /proc/$$/fd/12 > open'; \
                  until [ -e ended ]; do sleep 0.05; done";
    let status = Command::new("timeout")
        .args(["30", "bash", "-c", script])
        .current_dir(folder.path())
        .status()
        .expect("bash starts");
    assert!(status.success(), "it ends");
    assert_eq!(fs::read_to_string(at("open")).expect("what was open"), "");
}
