//! The usual causes of what programs say when they do not come up, each with what helps.

use super::cause;

/// A message, and what is usually behind it.
struct KnownCause {
    /// Words that the message has, all of them, in lower case.
    words: &'static [&'static str],
    /// The cause and the remedy.
    help: &'static str,
}

const fn known(words: &'static [&'static str], help: &'static str) -> KnownCause {
    KnownCause { words, help }
}

/// What is known, the more particular first.
const ALL: &[KnownCause] = &[
    known(
        &["address already in use"],
        "another program has this port: `ss -ltnp` on the node shows which; stop it, or choose \
        another port",
    ),
    known(
        &["bind", "cannot assign requested address"],
        "the node has no such address: compare `ip address` there with the inventory",
    ),
    known(
        &["x509", "not yet valid"],
        "the clock of the node is behind, or the certificate's time is over: compare `date` there, \
        and see `labctl certs list`",
    ),
    known(
        &["x509", "certificate is valid for", ", not "],
        "this name or address is in no certificate of the server: add it to `api.names`, or mend \
        `address`, and run `labctl up`",
    ),
    known(
        &["x509", "unknown authority"],
        "the two sides have certificates of different CAs: `labctl plan` shows which files differ, \
        `labctl up` puts the lab's own there",
    ),
    known(
        &["no space left on device"],
        "the disk is full: `df -h` and `df -i` on the node show which",
    ),
    known(
        &["read-only file system"],
        "the file system takes no changes: `dmesg` on the node says whether the disk has failed",
    ),
    known(
        &["running with swap on is not supported"],
        "swap is on: `swapoff -a`, and no swap in /etc/fstab; `labctl up` sees to both",
    ),
    known(
        &["cgroup v1"],
        "this version of Kubernetes wants cgroup v2: boot the machine with \
        systemd.unified_cgroup_hierarchy=1, or choose a version before 1.35",
    ),
    known(
        &["cgroup", "driver"],
        "kubelet and containerd manage cgroups in different ways: both need systemd's, as the \
        standard templates have it",
    ),
    known(
        &["out of the range of cluster cidr"],
        "a node's part is outside the pod network: `pod_cidr` and `network.pods` of the inventory \
        have to fit, and a node keeps the part that it was first given",
    ),
    known(
        &["invalid cidr"],
        "a network is not written as one, such as 10.200.0.0/16: see `network` of the inventory",
    ),
    known(
        &["provided range", "full"],
        "there is no free part of this network: make it larger in `network` of the inventory",
    ),
    known(
        &["unknown flag"],
        "this version does not know the flag: see `components` of the inventory, and templates of \
        your own",
    ),
    known(
        &["unrecognized feature gate"],
        "this version does not know the feature gate: see `components` of the inventory",
    ),
    known(
        &["exec format error"],
        "the program is for another kind of processor: the bundle has to be for the node's",
    ),
    known(
        &["mvcc: database space exceeded"],
        "etcd's quota is used up: compact and defragment it with etcdctl, then disarm its alarm",
    ),
    known(
        &["member", "permanently removed from the cluster"],
        "the other members have removed this one: `labctl node remove` it, then `labctl node add`",
    ),
    known(
        &["too many open files"],
        "a limit of the machine is used up, often of inotify: raise fs.inotify.max_user_instances",
    ),
    known(
        &["failed to pull image"],
        "no registry gives the node this image: `labctl image load` brings it from a file, \
        `registries` of the inventory has mirrors",
    ),
    known(
        &["failed to get sandbox image"],
        "the pause image is missing: `labctl up` imports it again",
    ),
    known(
        &["unable to locate package"],
        "the node's package sources do not have it: `apt-get update` there, or add a source",
    ),
    known(
        &["temporary failure resolving"],
        "the node resolves no names: see /etc/resolv.conf there, or install the packages by hand",
    ),
];

/// Returns what helps against the first known cause that a journal or an output names: in the line
/// that matters, or else in the last line that has one.
pub fn remedy(journal: &[String], output: &[String]) -> Option<&'static str> {
    let matters = cause::line_that_matters(journal).into_iter();
    let lines = journal.iter().rev().chain(output.iter().rev()).map(String::as_str);
    matters.chain(lines).find_map(remedy_of)
}

fn remedy_of(line: &str) -> Option<&'static str> {
    let line = line.to_lowercase();
    let has = |known: &&KnownCause| known.words.iter().all(|word| line.contains(word));
    ALL.iter().find(has).map(|known| known.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What programs have really said, with a word of the remedy.
    const SAID: &[(&str, &str)] = &[
        ("listen tcp 127.0.0.1:6443: bind: address already in use", "ss -ltnp"),
        ("nginx: [emerg] bind() to 0.0.0.0:8443 failed (98: Address already in use)", "ss -ltnp"),
        ("listen tcp 10.0.0.9:2380: bind: cannot assign requested address", "`ip address`"),
        (
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: \
            current time 2026-11-26T08:00:00Z is before 2026-11-26T20:00:00Z",
            "clock",
        ),
        ("x509: certificate is valid for 10.240.0.10, 10.32.0.1, not 10.240.0.99", "`api.names`"),
        ("x509: certificate signed by unknown authority", "different CAs"),
        ("write /var/lib/etcd/member/wal/0.tmp: no space left on device", "disk is full"),
        ("mkdir /var/lib/kubelet: read-only file system", "takes no changes"),
        (
            "\"command failed\" err=\"failed to run Kubelet: running with swap on is not \
            supported, please disable swap or set --fail-swap-on flag to false\"",
            "swapoff",
        ),
        (
            "kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is \
            unsupported",
            "cgroup v2",
        ),
        (
            "misconfiguration: kubelet cgroup driver: \"systemd\" is different from docker cgroup \
            driver: \"cgroupfs\"",
            "different ways",
        ),
        (
            "node worker-0 has cidr 10.9.0.0/24 out of the range of cluster cidr 10.200.0.0/16",
            "`pod_cidr`",
        ),
        ("error: invalid CIDR address: 10.200.0.0", "10.200.0.0/16"),
        ("Error: unknown flag: --pod-eviction-timeout", "`components`"),
        ("unrecognized feature gate: SidecarContainers", "feature gate"),
        ("exec /usr/local/bin/etcd: exec format error", "processor"),
        ("etcdserver: mvcc: database space exceeded", "quota"),
        ("the member has been permanently removed from the cluster", "`labctl node remove`"),
        ("inotify_init: too many open files", "inotify"),
        ("Failed to pull image \"example.test/app:1\": not found", "`labctl image load`"),
        ("failed to get sandbox image \"registry.k8s.io/pause:3.10\"", "`labctl up` imports"),
        ("E: Unable to locate package libnginx-mod-stream", "package sources"),
        ("Temporary failure resolving 'deb.debian.org'", "resolv.conf"),
        ("failed to allocate IP: provided range is full", "larger"),
    ];

    #[test]
    fn every_known_cause_has_its_remedy() {
        for (line, word) in SAID {
            let help = remedy_of(line).unwrap_or_else(|| panic!("nothing is known of: {line}"));
            assert!(help.contains(word), "{line}: {help}");
        }
        for known in ALL {
            let has = |(line, _): &&(&str, &str)| remedy_of(line) == Some(known.help);
            assert!(SAID.iter().any(|it| has(&it)), "no line for: {}", known.help);
        }
    }

    #[test]
    fn what_nobody_knows_has_no_remedy() {
        for line in ["", "all is well", "error: it broke", "the driver has left"] {
            assert_eq!(remedy_of(line), None, "{line}");
        }
    }

    #[test]
    fn the_line_that_matters_comes_before_others() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let journal = lines(
            "E1126 01:02:03.4 1 a.go:1] \"x509: certificate signed by unknown authority\"\n\
             F1126 01:02:03.5 1 a.go:2] listen tcp :6443: bind: address already in use\n\
             E1126 01:02:03.6 1 a.go:3] \"write: no space left on device\"",
        );
        assert!(remedy(&journal, &[]).expect("a remedy").contains("ss -ltnp"));
        let output = lines("E: Unable to locate package nginx\nsomething else");
        assert!(remedy(&[], &output).expect("a remedy").contains("package sources"));
        assert_eq!(remedy(&[], &lines("nothing")), None);
    }
}
