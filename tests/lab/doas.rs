//! A user who becomes root with the real doas, and what labctl says where that is not allowed.

use std::fs;
use std::path::Path;

use crate::goes_without_a_trace;
use crate::lab::Lab;
use crate::teardown::bare_nodes;

const PLAYBOOK: &str = "\
name: mine
plays:
  - name: greet
    hosts: all
    tasks:
      - file: { content: 'hello from {{ node.name }}', to: /etc/greeting, mode: '0600' }
      - binary: { from: kubectl, to: /usr/local/bin/kubectl }
";

fn rules(lab: &Lab, rules: &str) {
    lab.on("node-0", &format!("echo '{rules}' > /etc/doas.conf && doas -C /etc/doas.conf"));
}

#[test]
fn a_user_with_doas_is_enough() {
    let lab = Lab::changed("single", &[("local:\n", "local:\n  packages: [opendoas]\n")]);
    bare_nodes(&lab);
    lab.on(
        "node-0",
        "useradd --create-home --shell /bin/sh dev && echo dev:secret | chpasswd && \
         install -d -m 700 -o dev /home/dev/.ssh && \
         install -m 600 -o dev /root/.ssh/authorized_keys /home/dev/.ssh/",
    );
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle");
    let bundle = bundle.canonicalize().expect("a bundle");
    let address =
        lab.on("node-0", "ip -o -4 route get 192.0.2.1 | sed 's/.* src \\([^ ]*\\) .*/\\1/'");
    let inventory = format!(
        "name: own\nkubernetes: \"1.36.3\"\nbundle: {}\n\
         ssh: {{ user: dev, identity: {}, become: doas }}\n\
         nodes:\n  - {{ name: node-0, address: {address}, roles: [controller] }}\n",
        bundle.display(),
        lab.directory().join("ssh/id_ed25519").display(),
    );
    fs::write(lab.folder().join("own.yaml"), inventory).expect("an inventory");
    fs::write(lab.folder().join("mine.yaml"), PLAYBOOK).expect("a playbook");
    let own = lab.folder().join(".labctl/own");
    fs::create_dir_all(&own).expect("a directory");
    fs::copy(lab.directory().join("known_hosts"), own.join("known_hosts")).expect("known hosts");

    // Nobody allows anything yet; then only with a password, which nobody is there to type.
    let play = ["play", "mine.yaml", "own.yaml"];
    for (allowed, said) in [("deny dev", "may not use doas"), ("permit dev as root", "password")] {
        rules(&lab, allowed);
        let refused = lab.run(&play);
        assert_eq!(refused.code, Some(1), "{}", refused.story());
        assert!(refused.story().contains(said), "{allowed}: {}", refused.story());
        assert!(refused.story().contains("permit nopass dev as root"), "{}", refused.story());
    }

    rules(&lab, "permit nopass dev as root");
    let first = lab.must(&play);
    assert_eq!(first.changed(), 2, "{}", first.story());
    let wrote = lab.on("node-0", "stat -c '%a %U' /etc/greeting; cat /etc/greeting");
    assert_eq!(wrote, "600 root\nhello from node-0");
    assert_eq!(lab.must(&play).changed(), 0);

    // What is undone is undone by the same way.
    lab.must(&["down", "own.yaml", "--yes"]);
    assert_eq!(lab.on("node-0", "ls /etc/greeting /var/lib/labctl 2>&1 | grep -c 'No such'"), "2");

    fs::remove_dir_all(lab.folder().join(".labctl/own")).expect("the other lab's directory");
    for file in ["own.yaml", "mine.yaml"] {
        fs::remove_file(lab.folder().join(file)).expect("a file");
    }
    goes_without_a_trace(&lab);
}
