//! The guide that labctl prints: a person who follows it builds the lab that `labctl up` builds.

use std::fs;
use std::process::Command;

use super::in_time;
use crate::goes_without_a_trace;
use crate::lab::{Lab, contents};

/// Fresh nodes and the lab's certificates: `up` with a playbook of one's own that does nothing.
fn nodes_alone(lab: &Lab) {
    let nothing = "name: up\nplays:\n  - name: nothing\n    on: all\n    tasks:\n      - wait: { \
                   for: the node, until: 'true', timeout: 5s }\n";
    let (folder, bare) = (lab.folder().join("nothing"), lab.folder().join("bare.yaml"));
    fs::create_dir(&folder).expect("a directory");
    fs::write(folder.join("up.yaml"), nothing).expect("a playbook");
    let inventory = fs::read_to_string(lab.folder().join("inventory.yaml")).expect("an inventory");
    let its_own = |line: &&str| !line.starts_with("playbooks:") && !line.starts_with("templates:");
    let inventory: Vec<&str> = inventory.lines().filter(its_own).collect();
    fs::write(&bare, inventory.join("\n")).expect("an inventory");
    lab.must(&["up", "bare.yaml", "--playbooks", "nothing"]);
    fs::remove_dir_all(folder).expect("it was there");
    fs::remove_file(bare).expect("it was there");
    let plan = lab.run(&["plan"]);
    assert_eq!(plan.code, Some(3), "all is still to be done: {}", plan.story());
}

/// What `labctl explain` prints, which has no secret of the lab.
fn explained(lab: &Lab, format: &str) -> String {
    let output = lab.labctl(&["explain", "--format", format]).output().expect("labctl starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let keys = contents(&lab.directory().join("pki")).into_iter();
    let keys: Vec<_> =
        keys.filter(|(name, _)| name.extension().is_some_and(|it| it == "key")).collect();
    assert!(keys.len() > 5, "{keys:?}");
    for (name, key) in keys {
        let key = String::from_utf8_lossy(&key).into_owned();
        let again = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &key);
        let mut lines = key.lines().filter(|line| !line.starts_with("-----")).take(2);
        assert!(!text.contains(&again), "{format}: {}", name.display());
        assert!(lines.all(|line| !text.contains(line)), "{format}: {}", name.display());
    }
    text
}

/// Runs the script as a person would who has never heard of labctl.
#[allow(clippy::print_stdout, reason = "how long a person who types this fast would take")]
fn builds_the_lab(lab: &Lab) {
    nodes_alone(lab);
    let script = lab.folder().join("by-hand.sh");
    fs::write(&script, explained(lab, "shell")).expect("a script");
    // Each of its commands is in the guide to read as well.
    let guide = explained(lab, "markdown");
    assert!(guide.contains("by hand") && guide.contains("pki/apiserver.key"), "{guide}");
    let begun = std::time::Instant::now();
    let output = Command::new("timeout")
        .args(["--kill-after=10", "300", "sh"])
        .arg(&script)
        .output()
        .expect("sh starts");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    println!("{} by hand: {:.0?}", lab.name, begun.elapsed());
    fs::remove_file(script).expect("it was there");

    let plan = lab.run(&["plan"]);
    assert_eq!(plan.code, Some(0), "labctl finds nothing to change:\n{}", plan.story());
    let up = lab.must(&["up"]);
    assert_eq!(up.changed(), 0, "{}", up.story());
}

#[test]
fn the_script_builds_the_smallest_lab() {
    let lab = Lab::new("dmuc");
    builds_the_lab(&lab);
    let ready = "get nodes -o jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    in_time(&lab, ready, |ready| ready == "True");
    assert!(lab.try_on("dmuc", "test -e /var/lib/labctl/by-hand").is_none(), "it cleans up");
    goes_without_a_trace(&lab);
}

#[test]
fn the_script_builds_the_sandbox() {
    let lab = Lab::new("sandbox");
    builds_the_lab(&lab);
    lab.must(&["smoke"]);
    goes_without_a_trace(&lab);
}
