//! The whole thing, for real: labs of real systemd nodes, real etcd, real Kubernetes, worked on
//! with the real program.
//!
//! These stories need root, the programs that `make prerequisites` installs, and the bundle that
//! `make bundle` makes.

#[path = "../support/lab.rs"]
mod lab;
#[path = "../support/numbers.rs"]
mod numbers;
#[path = "../support/page.rs"]
mod page;

mod addons;
mod backup;
mod begin;
mod bring_up;
mod caller;
mod certificates;
mod components;
mod doas;
mod done;
mod hardening;
mod kills;
mod kubeconfigs;
mod labs;
mod machines;
mod mine;
mod nodes;
mod own_choices;
mod ownership;
mod plan;
mod preflight;
mod recording;
mod registries;
mod smoke;
mod status;
mod teardown;
mod versions;

use std::collections::BTreeSet;

use lab::{Lab, contents};

/// What a node may be sent and may answer when nothing differs: questions and facts, and no byte of
/// any binary, the smallest of which has more than a million.
const A_PROBE: u64 = 60_000;

/// A second `up` on a lab that is as desired: nothing changes, nothing restarts, nothing is pushed,
/// one round trip a node.
#[allow(clippy::print_stdout, reason = "how large a probe is, beside the limit that it has")]
fn is_settled(lab: &Lab) {
    let before = lab.start_times();
    let again = lab.must(&["up"]);
    assert_eq!(again.changed(), 0, "{}", again.story());
    assert_eq!(again.all("task_ended").count(), 0, "no task is even begun:\n{}", again.story());
    assert_eq!(again.all("pushing").count(), 0, "no binary is sent");
    let rows = again.summary()["nodes"].as_array().expect("rows");
    let most = |field: &str| rows.iter().filter_map(|row| row[field].as_u64()).max();
    println!("a probe: {:?} bytes there, {:?} back", most("bytes_sent"), most("bytes_received"));
    for row in rows {
        assert_eq!(row["round_trips"], 1, "{row}");
        let bytes = |field: &str| row[field].as_u64().expect("a number");
        assert!(bytes("bytes_sent") < A_PROBE && bytes("bytes_received") < A_PROBE, "{row}");
    }
    assert_eq!(lab.start_times(), before, "no unit was restarted");
    assert_eq!(lab.run(&["plan"]).code, Some(0), "there is nothing to plan either");
}

fn passes_smoke(lab: &Lab, checks: usize) {
    let smoke = lab.must(&["smoke"]);
    assert_eq!(smoke.all("check").count(), checks, "every check was made:\n{}", smoke.story());
    assert!(smoke.all("check").all(|check| check["failure"].is_null()), "{}", smoke.story());
}

/// Nothing that a lab keeps to itself is in what its runs have written down, nor in what `up` shows
/// of every change.
fn no_run_has_told_a_secret(lab: &Lab, words: &[&str]) {
    let mut secrets = BTreeSet::from(["PRIVATE KEY".to_owned()]);
    for word in words {
        secrets.insert((*word).to_owned());
        secrets.insert(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, word));
    }
    for (name, content) in contents(&lab.directory().join("pki")) {
        let text = String::from_utf8_lossy(&content).into_owned();
        if name.extension().is_some_and(|it| it == "key") {
            // What follows on the first two lines of a key is its public half, which certificates
            // show too.
            let body = text
                .lines()
                .filter(|line| !line.starts_with("-----"))
                .take(2)
                .filter(|line| line.len() > 20);
            secrets.extend(body.map(str::to_owned));
            // In a kubeconfig a key is encoded a second time.
            let again = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &text);
            secrets.insert(again[..60.min(again.len())].to_owned());
        }
    }
    assert!(secrets.len() > 20, "{}", secrets.len());
    let shown =
        lab.labctl(&["up", "--diff", "-v", "--output", "json"]).output().expect("labctl starts");
    assert!(shown.status.success());
    let mut told = contents(&lab.directory().join("runs"));
    assert!(
        told.len() > 1 && told.values().any(|log| log.len() > 30_000),
        "the logs of runs: {:?}",
        told.keys()
    );
    told.insert("up --diff -v".into(), [shown.stdout, shown.stderr].concat());
    for (name, text) in told {
        let text = String::from_utf8_lossy(&text);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{} has a secret: {secret}", name.display());
        }
    }
}

fn goes_without_a_trace(lab: &Lab) {
    let traces = lab.traces();
    for kind in ["/proc/", "mount ", "link ", "namespace ", "cgroup ", "note ", "directory "] {
        assert!(
            traces.iter().any(|trace| trace.starts_with(kind)),
            "a lab that is up has a {kind}:\n{traces:#?}"
        );
    }
    lab.must(&["down", "--yes"]);
    assert_eq!(lab.traces(), Vec::<String>::new(), "a lab that is down cannot");
}
