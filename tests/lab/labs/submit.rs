//! Twelve clusters on machines that are reached over SSH, brought up by pods of another lab: in
//! slices of three, with a worker of that lab lost in the middle.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};

use super::{in_time, is_well, power_failure};
use crate::begin::ONE_CONTROLLER;
use crate::goes_without_a_trace;
use crate::lab::{Lab, said};
use crate::mine;
use crate::teardown::bare_nodes;

const CLUSTERS: u16 = 12;

/// The inventory of the clusters.
const CLASS: &str = r#"
name: class-${CLUSTER:-1}
kubernetes: "1.36.3"
clusters: 12
bundle: BUNDLE
templates: mine/templates
ssh:
  user: root
  identity: .labctl/workshop/ssh/id_ed25519
  host_keys: accept-new
network:
  pods: 10.${CLUSTER:-1}.0.0/16
  services: 172.31.${CLUSTER:-1}.0/24
nodes:
  - name: node-0
    address: 172.29.${CLUSTER:-1}.10
    roles: [controller, worker]
"#;

/// Machines with nothing on them, an inventory of twelve clusters on these, and templates for
/// machines that share a kernel.
fn class(machines: &Lab, bundle: &Path) {
    let node = |number| {
        format!("  - {{ name: node-{number}, address: 172.29.{number}.10, roles: [worker] }}\n")
    };
    let nodes: String = (1..=CLUSTERS).map(node).collect();
    fs::write(
        machines.folder().join("inventory.yaml"),
        format!(
            "name: workshop\nkubernetes: \"1.36.3\"\nlocal: {{ subnet: 172.29.0.0/16 }}\n\
             network: {{ pods: 10.200.0.0/16, services: 10.32.0.0/24 }}\nnodes:\n{}{nodes}",
            "  - { name: node-0, address: 172.29.0.10, roles: [controller] }\n"
        ),
    )
    .expect("an inventory");
    bare_nodes(machines);
    mine::templates_for_a_shared_kernel(machines);
    let class = CLASS.replace("BUNDLE", &bundle.display().to_string());
    fs::write(machines.folder().join("class.yaml"), class).expect("an inventory");
}

/// A verb on one of the clusters, from this workstation.
fn of(machines: &Lab, cluster: u16, verb: &str) {
    let output = super::workshop::of(machines, cluster, &[verb, "class.yaml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{verb} of cluster {cluster}: {said}");
}

/// Gathers what a program prints, and shows it to whoever runs the story.
#[allow(clippy::print_stderr, reason = "it takes minutes")]
fn listen(from: impl Read + Send + 'static, told: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let told = Arc::clone(told);
    spawn(move || {
        for line in BufReader::new(from).lines() {
            let line = line.expect("text");
            eprintln!("{line}");
            told.lock().expect("whole").push_str(&(line + "\n"));
        }
    })
}

/// Joins the two networks, as a cable joins two switches.
fn join(driver: &Lab, machines: &Lab) {
    let cable = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories/interconnect/cable");
    said(&cable.display().to_string(), &["10.230.0.1", "172.29.0.1"]);
    for node in driver.nodes() {
        driver.on(&node, "ip route add 172.29.0.0/16 dev eth0");
    }
    for node in machines.nodes() {
        machines.on(&node, "ip route add 10.230.0.0/24 dev eth0");
    }
}

#[test]
fn pods_of_a_lab_bring_up_twelve_clusters_and_one_machine_dies() {
    let driver = Lab::changed("sandbox", ONE_CONTROLLER);
    driver.must(&["up"]);
    let machines = driver.beside("workshop");
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle");
    class(&machines, &bundle.canonicalize().expect("a bundle"));

    join(&driver, &machines);

    let image = machines
        .labctl(&[
            "workshop",
            "image",
            "class.yaml",
            "--to",
            "labctl.tar",
            "--name",
            "labctl:story",
        ])
        .output()
        .expect("labctl starts");
    let error = String::from_utf8_lossy(&image.stderr);
    assert!(image.status.success() && error.contains("labctl image load"), "{error}");
    let archive = machines.folder().join("labctl.tar").display().to_string();
    driver.must(&["image", "load", &archive, "inventory.yaml"]);

    let kubeconfig = driver.directory().join("admin.conf").display().to_string();
    let words = ["workshop", "submit", "class.yaml", "--kubeconfig", &kubeconfig];
    let more = ["--image", "labctl:story", "--slice", "3", "--at-once", "2"];
    let mut submit = machines
        .labctl(&[&words[..], &more].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("labctl starts");
    let told = Arc::new(Mutex::new(String::new()));
    let out = listen(submit.stdout.take().expect("a pipe"), &told);
    let err = listen(submit.stderr.take().expect("a pipe"), &told);
    let said = || told.lock().expect("whole").clone();

    // In the middle: a machine of a slice that worker-0 works on has been changed.
    let first = || {
        let said = said();
        let line = said.lines().find(|line| line.ends_with("runs on worker-0"))?;
        line.split(' ').nth(3).map(str::to_owned)
    };
    assert!(driver.within_two_minutes(|| first().is_some()), "{}", said());
    let first = first().expect("worker-0 works");
    let node = format!("node-{first}");
    let begun = || machines.try_on(&node, "test -s /var/lib/labctl/record").is_some();
    assert!(machines.within_two_minutes(begun), "cluster {first}: {}", said());
    power_failure(&driver, "worker-0");

    let status = submit.wait().expect("it has ended");
    out.join().expect("all was read");
    err.join().expect("all was read");
    let said = said();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("was lost with worker-0"), "{said}");
    let up = |number: u16| said.contains(&format!("cluster {number:>3}  class-{number}  up in "));
    assert!((1..=CLUSTERS).all(up), "{said}");

    // The lab directories are as after `workshop up` from here, and no key was replaced on the way.
    for number in 1..=CLUSTERS {
        of(&machines, number, "plan");
        let runs = machines.folder().join(format!(".labctl/class-{number}/runs"));
        assert!(fs::read_dir(runs).expect("run logs").count() > 0, "cluster {number}");
    }
    of(&machines, 1, "smoke");
    let down = ["workshop", "down", "class.yaml", "--yes"];
    let output = machines.labctl(&down).output().expect("labctl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // Of the submission nothing stays in the lab that worked on it.
    driver.must(&["up"]);
    in_time(&driver, "get namespaces -o name", |names| !names.contains("labctl-"));
    is_well(&driver);
    mine::forget(&machines);
    // The machines stay, and so do the keys of their clusters.
    for number in 1..=CLUSTERS {
        let keys = machines.folder().join(format!(".labctl/class-{number}"));
        assert!(keys.join("pki/ca.key").exists());
        fs::remove_dir_all(keys).expect("it was there");
    }
    for file in ["class.yaml", "labctl.tar"] {
        fs::remove_file(machines.folder().join(file)).expect("it was there");
    }
    machines.must(&["down", "--yes"]);
    goes_without_a_trace(&driver);
    assert_eq!(machines.traces(), Vec::<String>::new());
}
