//! An inventory with everything said that can be said about machines of one's own: another port, a
//! bastion, another address to log in at, own networks, an endpoint of one's own, a pod network of
//! one's own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, busybox, said};
use crate::teardown::bare_nodes;
use crate::{goes_without_a_trace, mine};

/// What a lab leaves of its directories, and what was in one of them before.
const LEFT: &str = "ls -A /etc/cni/net.d /var/lib/labctl /etc/kubernetes 2>/dev/null || true";
const THEIRS: &str = "/etc/cni/net.d:\n10-theirs.conflist";

/// `lb-0` of the local lab is the bastion here, and no node of this lab.
const INVENTORY: &str = "\
name: own
kubernetes: \"1.36.3\"
domain: lab.test
bundle: BUNDLE
ssh:
  user: root
  port: 2022
  identity: IDENTITY
  jump: root@10.230.0.5
  connect_timeout: 60
  host_keys: accept-new
  become: sudo
  become_password_command: cat PASSWORD
network: { pods: 10.64.0.0/20, node_prefix: 26, services: 10.65.0.0/22, mode: none }
api: { endpoint: 10.230.0.99, port: 7443, names: [api.lab.test] }
pki: { ca_days: 400, leaf_days: 100 }
nodes:
  - { name: controller-0, address: 10.230.0.10, roles: [controller], ssh: { port: 2222 } }
  - name: worker-0
    address: 10.230.0.20
    roles: [worker]
    labels: { disk: ssd, example.org/tier: \"\" }
    ssh: { user: dev }
  - name: worker-1
    address: 10.230.0.21
    roles: [worker]
    ssh:
      user: dev
      identity: THEIRS
      port: 22
      host: 10.230.0.121
      jump: none
      connect_timeout: 50
      host_keys: strict
      become: sudo
      become_password_file: OTHER
";

/// What the owner of the machines has set up: a second sshd, a second address, an address in front
/// of the API server, and a pod network.
fn machines(lab: &Lab) {
    let link = "link=$(ip -o route get 10.230.0.1 | sed 's/.* dev \\([^ ]*\\) .*/\\1/')";
    lab.on(
        "controller-0",
        &format!(
            "{link}; ip addr add 10.230.0.99/24 dev $link; for chain in PREROUTING OUTPUT; do \
             iptables -t nat -A $chain -d 10.230.0.99 -p tcp --dport 7443 -j REDIRECT --to-ports \
             6443; done; systemd-run --quiet --unit=other-sshd /usr/sbin/sshd -D -e -p 2222"
        ),
    );
    lab.on("worker-0", "systemd-run --quiet --unit=other-sshd /usr/sbin/sshd -D -e -p 2022");
    let theirs = lab.folder().join("theirs").display().to_string();
    said("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &theirs]);
    let ours = lab.directory().join("ssh/id_ed25519").display().to_string();
    lab.on("worker-1", &format!("{link}; ip addr add 10.230.0.121/24 dev $link"));
    for (node, key, file, password) in [
        ("worker-0", &ours, "password", "of worker-0"),
        ("worker-1", &theirs, "other", "it's \"1\""),
    ] {
        let public = said("ssh-keygen", &["-y", "-f", key]);
        lab.on(
            node,
            &format!(
                "useradd --create-home --shell /bin/sh dev && echo {} | chpasswd && echo 'dev \
                 ALL=(ALL) ALL' > /etc/sudoers.d/dev && install -d -m 700 -o dev /home/dev/.ssh && \
                 echo '{}' > /home/dev/.ssh/authorized_keys",
                labctl::module::quote(&format!("dev:{password}")),
                public.trim()
            ),
        );
        let file = lab.folder().join(file);
        fs::write(&file, format!("{password}\n")).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
    for (node, own, others, via) in [
        ("worker-0", "10.64.3.0/26", "10.64.0.64/26", "10.230.0.21"),
        ("worker-1", "10.64.0.64/26", "10.64.3.0/26", "10.230.0.20"),
    ] {
        let network = format!(
            r#"{{"cniVersion":"0.4.0","name":"theirs","plugins":[{{
            "type":"bridge","bridge":"br-theirs",
            "isGateway":true,"hairpinMode":true,"ipam":{{"type":"host-local",
            "ranges":[[{{"subnet":"{own}"}}]],"routes":[{{"dst":"0.0.0.0/0"}}]}}}}]}}"#
        );
        lab.on(
            node,
            &format!(
                "mkdir -p /etc/cni/net.d && \
                 echo '{network}' > /etc/cni/net.d/10-theirs.conflist && \
                 ip route add {others} via {via}"
            ),
        );
        // What the API server answers to pods goes back to where they are.
        lab.on("controller-0", &format!("ip route add {others} via {via}"));
    }
}

/// Writes the inventory, and a lab directory that knows the machines' host keys under their
/// addresses, but for controller-0's. Returns worker-1's key, which is not there either.
fn write(lab: &Lab) -> String {
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle");
    let bundle = bundle.canonicalize().expect("a bundle").display().to_string();
    let identity = lab.directory().join("ssh/id_ed25519").display().to_string();
    let theirs = lab.folder().join("theirs").display().to_string();
    let text = INVENTORY.replace("BUNDLE", &bundle).replace("IDENTITY", &identity);
    let beside = |name: &str| lab.folder().join(name).display().to_string();
    let text = text.replace("THEIRS", &theirs).replace("PASSWORD", &beside("password"));
    let text = text.replace("OTHER", &beside("other"));
    fs::write(lab.folder().join("own.yaml"), text).expect("an inventory");
    let known = fs::read_to_string(lab.directory().join("known_hosts")).expect("known hosts");
    let mut other = known.clone();
    for (was, is) in [("10.230.0.20 ", "[10.230.0.20]:2022 "), ("10.230.0.21 ", "10.230.0.121 ")] {
        assert!(other.contains(was), "{known}");
        other = other.replace(was, is);
    }
    let (strangers, friends): (Vec<&str>, Vec<&str>) = other
        .lines()
        .filter(|line| !line.starts_with("10.230.0.10 "))
        .partition(|line| line.starts_with("10.230.0.121 "));
    let directory = lab.folder().join(".labctl/own");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("known_hosts"), friends.join("\n") + "\n").expect("known hosts");
    strangers.join("\n") + "\n"
}

/// kubectl with the lab's own kubeconfig, which has its endpoint.
fn kubectl(lab: &Lab, arguments: &str) -> String {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/bin/kubectl"))
        .args(arguments.split(' '))
        .env("KUBECONFIG", lab.folder().join(".labctl/own/admin.conf"))
        .output()
        .expect("kubectl starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// How often `user` has logged in to a node from an address: at any of its ports, or at the other
/// one alone.
fn logins(lab: &Lab, node: &str, unit: &str, user: &str, from: &str) -> usize {
    let accepted = format!("Accepted publickey for {user} from {from} ");
    let count = format!("journalctl --no-pager{unit} | grep -c '{accepted}' || true");
    lab.on(node, &count).parse().expect("a number")
}

#[test]
fn every_choice_of_an_inventory_for_machines_of_ones_own_is_heeded() {
    let lab = Lab::changed(
        "sandbox",
        &[
            ("  - { name: controller-1,", "  # - { name: controller-1,"),
            ("  - { name: client-0,", "  # - { name: client-0,"),
        ],
    );
    bare_nodes(&lab);
    machines(&lab);
    mine::templates_for_a_shared_kernel(&lab);
    let stranger = write(&lab);
    let up = ["up", "own.yaml", "--templates", "mine/templates"];

    // `host_keys`: a new machine's key is accepted for the lab, but not for worker-1.
    let known = lab.folder().join(".labctl/own/known_hosts");
    let refused = lab.run(&up);
    assert_eq!(refused.code, Some(1), "{}", refused.story());
    assert!(refused.story().contains("10.230.0.121"), "{}", refused.story());
    let recorded = fs::read_to_string(&known).expect("known hosts");
    assert!(recorded.contains("[10.230.0.10]:2222 ") && !recorded.contains("10.230.0.121"));
    fs::write(&known, recorded + &stranger).expect("known hosts");
    lab.must(&up);
    let again = lab.must(&up);
    assert_eq!(again.changed(), 0, "{}", again.story());

    // `ssh`: through the bastion and at other ports, but for the node that needs no bastion, where
    // another user logs in with a key of their own, at another address.
    for (node, user) in [("controller-0", "root"), ("worker-0", "dev")] {
        assert!(logins(&lab, node, " -u other-sshd", user, "10.230.0.5") > 0, "{node}");
    }
    // `become`: each node's own password made them root, and is nowhere in what a node keeps.
    for (node, password) in [("worker-0", "of worker-0"), ("worker-1", "it's \"1\"")] {
        assert_eq!(lab.on(node, "stat -c %U /var/lib/labctl"), "root");
        let password = labctl::module::quote(password);
        let found = format!(
            "{{ journalctl --no-pager; cat /proc/*/cmdline; }} | grep -acF -- {password} || true"
        );
        // The search itself is a command line that has it.
        let lines: u32 = lab.on(node, &found).parse().expect("a number");
        assert!(lines <= 1, "{node}: {lines}");
    }
    assert_eq!(logins(&lab, "worker-1", "", "root", "10.230.0.5"), 0);
    assert!(logins(&lab, "worker-1", "", "dev", "10.230.0.1") > 0);
    let seen = lab.labctl(&["ssh", "own.yaml", "worker-1", "--", "echo $SSH_CONNECTION"]).output();
    let seen = String::from_utf8_lossy(&seen.expect("ssh starts").stdout).into_owned();
    assert!(seen.starts_with("10.230.0.1 ") && seen.contains(" 10.230.0.121 22"), "{seen}");

    // `api`: kubeconfigs have the owner's address, and the certificate has both names.
    assert_eq!(
        kubectl(&lab, "config view -o jsonpath={.clusters[0].cluster.server}"),
        "https://10.230.0.99:7443"
    );
    assert_eq!(kubectl(&lab, "get --raw=/readyz"), "ok");
    let pki = lab.folder().join(".labctl/own/pki");
    let openssl = |arguments: &[&str], name: &str| {
        let file = pki.join(name).display().to_string();
        said("openssl", &[&["x509", "-noout", "-in", &file], arguments].concat())
    };
    let names = openssl(&["-ext", "subjectAltName"], "apiserver.crt");
    for name in
        ["10.230.0.99", "DNS:api.lab.test", "DNS:kubernetes.default.svc.lab.test", "10.65.0.1"]
    {
        assert!(names.contains(name), "{name} in {names}");
    }

    // `pki`: how long certificates live.
    for (name, days) in [("ca.crt", 400), ("apiserver.crt", 100)] {
        let ends_within = |days: u32| {
            let file = pki.join(name).display().to_string();
            let seconds = (days * 86_400).to_string();
            let check = format!("openssl x509 -noout -checkend {seconds} -in {file} || true");
            said("sh", &["-c", &check]).contains("will expire")
        };
        assert!(!ends_within(days - 1) && ends_within(days + 1), "{name}: {days} days");
    }

    // `nodes`: labels, with and without a value. What the owner's network does with the parts of
    // the pod network is the owner's business, so the controller manager gives them out, in any
    // order.
    assert_eq!(kubectl(&lab, "get nodes -l disk=ssd,example.org/tier= -o name"), "node/worker-0");
    let parts = "get nodes -o jsonpath={range.items[*]}{.metadata.name}={.spec.podCIDR};{end}";
    let parts = kubectl(&lab, parts);
    assert!(
        ["10.64.0.0/26;", "10.64.0.64/26;"].iter().all(|part| parts.matches(part).count() == 1),
        "{parts}"
    );

    // `network` and `domain`: pods are where the owner's network puts them, Services where the
    // inventory says, and DNS knows the domain.
    assert_eq!(lab.on("worker-0", "ls /etc/cni/net.d"), "10-theirs.conflist");
    assert_eq!(kubectl(&lab, "get service kubernetes -o jsonpath={.spec.clusterIP}"), "10.65.0.1");
    let asks = format!(
        "run asks --image={} --restart=Never --command -- nslookup kubernetes.default.svc.lab.test",
        busybox()
    );
    kubectl(&lab, &asks);
    let ended = lab.within_two_minutes(|| {
        let phase = kubectl(&lab, "get pod asks -o jsonpath={.status.phase}");
        ["Succeeded", "Failed"].contains(&phase.as_str())
    });
    assert!(ended, "{}", kubectl(&lab, "describe pod asks"));
    let answer = kubectl(&lab, "logs asks");
    assert!(answer.contains("10.65.0.1"), "{answer}\n{}", kubectl(&lab, "get pods -A -o wide"));
    let address = kubectl(&lab, "get pod asks -o jsonpath={.status.podIP}");
    assert!(address.starts_with("10.64.3.") || address.starts_with("10.64.0."), "{address}");
    let smoke = lab.must(&["smoke", "own.yaml"]);
    assert_eq!(smoke.all("check").count(), 12, "{}", smoke.story());

    // A node that leaves is emptied: the machine stays, with what is its owner's.
    let remove = ["node", "remove", "own.yaml", "worker-1", "--yes", "--templates", up[3]];
    lab.must(&remove);
    assert_eq!(kubectl(&lab, "get nodes -o name"), "node/worker-0");
    let inventory = fs::read_to_string(lab.folder().join("own.yaml")).expect("an inventory");
    assert!(!inventory.contains("worker-1") && inventory.contains("worker-0"), "{inventory}");
    assert_eq!(lab.on("worker-1", LEFT), THEIRS);

    lab.must(&["down", "own.yaml", "--yes"]);
    assert_eq!(lab.on("worker-0", LEFT), THEIRS, "but what is theirs");
    for file in ["own.yaml", "theirs", "theirs.pub", "password", "other"] {
        fs::remove_file(lab.folder().join(file)).expect("it was there");
    }
    for directory in [".labctl/own", "mine"] {
        fs::remove_dir_all(lab.folder().join(directory)).expect("it was there");
    }
    goes_without_a_trace(&lab);
}
