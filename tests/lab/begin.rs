//! The first hour: from `init` to a running lab on machines that somebody has just installed, with
//! no file written by hand. And machines that are a lab already are not proposed for another.

use std::fs;
use std::path::Path;

use crate::lab::Lab;
use crate::mine;
use crate::teardown::bare_nodes;

/// What is replaced in the sandbox for one controller and two workers, without a load balancer.
pub const ONE_CONTROLLER: &[(&str, &str)] = &[
    ("  - { name: lb-0,", "  # - { name: lb-0,"),
    ("  endpoint: lb-0", "  endpoint: controller-0"),
    ("  - { name: controller-1,", "  # - { name: controller-1,"),
    ("  - { name: client-0,", "  # - { name: client-0,"),
];

#[test]
fn from_init_to_a_running_lab() {
    let lab = Lab::changed("sandbox", ONE_CONTROLLER);
    bare_nodes(&lab);
    mine::templates_for_a_shared_kernel(&lab);
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle");
    let bundle = bundle.canonicalize().expect("a bundle");
    std::os::unix::fs::symlink(bundle, lab.folder().join("bundle")).expect("a link");
    // Somebody's network, which the usual range for pods would hide on this machine.
    lab.on("worker-0", "ip route add 10.200.7.0/24 via 10.230.0.1");
    let identity = lab.directory().join("ssh/id_ed25519").display().to_string();
    let machines = ["root@10.230.0.10", "root@10.230.0.20", "root@10.230.0.21"];
    let init = |options: &[&str]| {
        let words = [&["init", "--identity", &identity][..], options, &machines].concat();
        let output = lab.labctl(&words).output().expect("labctl runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };

    let (code, said, errors) =
        init(&["--name", "begun", "--to", "own.yaml", "--accept-new-host-keys"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    for line in [
        "own.yaml: lab begun",
        "controller-0  10.230.0.10      controller",
        "worker-1      10.230.0.21      worker",
        "labctl up own.yaml",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let written = fs::read_to_string(lab.folder().join("own.yaml")).expect("an inventory");
    for line in ["pods: 10.201.0.0/16", "services: 10.32.0.0/24", "mode: routes", "bundle: bundle"]
    {
        assert!(written.contains(line), "{written}");
    }

    // The commands that it has printed, and what only nodes on one kernel need.
    let with = |verb| [verb, "own.yaml", "--templates", "mine/templates"];
    let plan = lab.run(&with("plan"));
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    lab.must(&with("up"));
    assert_eq!(lab.run(&with("plan")).code, Some(0));
    lab.must(&["smoke", "own.yaml"]);

    // Those machines are taken.
    let (code, _, errors) =
        init(&["--name", "other", "--to", "other.yaml", "--accept-new-host-keys"]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("it belongs to another lab: `begun`"), "{errors}");
    assert!(!lab.folder().join("other.yaml").exists());

    lab.must(&["down", "own.yaml", "--yes"]);
    mine::forget(&lab);
}
