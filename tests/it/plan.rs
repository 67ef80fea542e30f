//! From playbooks to what is desired on each node, with every way in which a playbook can be wrong.

mod known;
mod preflight;
mod registries;

use crate::support::labs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use crate::support::workshop::Workshop;
use labctl::module::file::Content;
use labctl::module::{Desired, Facts, Question, State};
use labctl::plan::{self, DesiredPlay, Plan, Tasks};
use labctl::playbook::standard;
use proptest::collection::vec;
use proptest::prelude::*;

use known::{all_otherwise, secrets};

impl Workshop {
    /// The titles of one play's tasks, `node: title` each.
    fn titles(&self, text: &str) -> Vec<String> {
        let plays = self.plays(text).expect("a plan");
        let on = plays[0].nodes.iter();
        on.flat_map(|on| on.tasks.iter().map(|task| format!("{}: {}", on.node, task.title)))
            .collect()
    }

    /// Why a play for the load balancer with these tasks is refused.
    fn refused(&self, tasks: &str) -> String {
        self.plays(&format!("- {{ name: p, hosts: loadbalancer, tasks: [{tasks}] }}"))
            .expect_err("refused")
    }
}

#[test]
fn tasks_are_repeated_for_peers_and_left_out_where_a_condition_is_false() {
    let workshop = Workshop::new(labs::sandbox());
    let peers = "- name: p\n  hosts: worker\n  tasks:\n  - { directory: { path: '/{{ \
        peer.pod_cidr }}' }, each: peer-workers }\n";
    assert_eq!(workshop.titles(peers), ["worker-0: /10.200.1.0/24/", "worker-1: /10.200.0.0/24/"]);
    let once = "- name: p\n  hosts: controller\n  tasks:\n  - { directory: { path: /once }, once: \
        true }\n  - { directory: { path: /both } }\n";
    assert_eq!(
        workshop.titles(once),
        ["controller-0: /once/", "controller-0: /both/", "controller-1: /both/"]
    );
    let when = "- name: p\n  hosts: all\n  tasks:\n  - { directory: { path: '/{{ node.name }}' }, \
        when: \"'client' in node.roles\" }\n";
    assert_eq!(workshop.titles(when), ["client-0: /client-0/"]);
    let never = "- name: p\n  hosts: all\n  when: \"not network.bridge\"\n  tasks: [{ directory: \
        { path: /x } }]\n";
    assert_eq!(workshop.titles(never), [""; 0]);
    let each = "- name: p\n  hosts: client\n  tasks:\n  - { directory: { path: '/{{ peer.name }}' \
        }, each: controllers, name: 'for {{ peer.name }}' }\n";
    assert_eq!(workshop.titles(each), ["client-0: for controller-0", "client-0: for controller-1"]);
}

#[test]
fn what_is_done_once_is_done_on_a_node_that_the_run_is_for() {
    let mut workshop = Workshop::new(labs::sandbox());
    let once =
        "- { name: p, hosts: controller, tasks: [{ directory: { path: /x }, once: true }] }\n";
    assert_eq!(workshop.titles(once), ["controller-0: /x/"]);
    let mut limited = |nodes: &[&str]| {
        workshop.artefacts.limit = nodes.iter().map(|&name| name.to_owned()).collect();
        workshop.titles(once)
    };
    assert_eq!(limited(&["controller-1"]), ["controller-1: /x/"]);
    assert_eq!(limited(&["controller-1", "controller-0", "worker-0"]), ["controller-0: /x/"]);
    assert_eq!(limited(&["worker-0"]), [""; 0], "no node of the play is in the run");
}

#[test]
fn a_run_waits_for_and_labels_only_the_workers_that_limit_names() {
    let ready = |limit: &[&str]| {
        let mut workshop = Workshop::new(labs::sandbox());
        workshop.artefacts.limit = limit.iter().map(|&name| name.to_owned()).collect();
        let playbook = standard::find("up", None).expect("a playbook");
        let plays = workshop.expand(&playbook).expect("a plan");
        let play = plays.into_iter().find(|play| play.name == "ready").expect("a play that waits");
        play.nodes.into_iter().flat_map(|on| on.tasks).collect::<Vec<_>>()
    };
    let titles =
        |limit: &[&str]| ready(limit).into_iter().map(|task| task.title).collect::<Vec<_>>();
    let (wait, dns) =
        ("wait for every worker to be Ready", "wait for the cluster's DNS to be available");
    let labels = "labels and taints of the nodes";
    assert_eq!(titles(&[]), [wait, labels, dns]);
    assert_eq!(titles(&["controller-0", "worker-1"]), [wait, labels, dns]);
    let Desired::Command(keep) = &*ready(&["controller-0", "worker-1"])[1].desired else {
        panic!("a command")
    };
    assert!(keep.run.contains("keep_node worker-1 ") && !keep.run.contains("worker-0"));
    assert!(!keep.unless.contains("worker-0"), "worker-0 has labels and is left out");
    assert_eq!(
        titles(&["controller-0"]),
        [""; 0],
        "without a worker nothing becomes Ready, and DNS has no node"
    );
    let Desired::Wait(waiting) = &*ready(&["controller-0", "worker-1"])[0].desired else {
        panic!("a wait")
    };
    assert!(
        waiting.until.contains("node/worker-1") && waiting.until.contains("= 1 ||"),
        "{}",
        waiting.until
    );
    assert!(!waiting.until.contains("worker-0"), "{}", waiting.until);
}

#[test]
fn a_set_is_one_task_without_what_is_the_nodes_own() {
    let workshop = Workshop::new(labs::sandbox());
    let tasks = "- name: p
  hosts: worker
  tasks:
  - routes: { within: '{{ cluster.network.pods }}', each: peer-workers, to: '{{ peer.pod_cidr \
        }}', via: '{{ peer.address }}' }
  - hosts: { mark: labctl, each: controllers, address: '{{ peer.address }}', name: '{{ peer.name \
        }}.{{ cluster.name }}' }\n";
    let plays = workshop.plays(tasks).expect("a plan");
    let mut wanted = Vec::new();
    for on in &plays[0].nodes {
        for task in &on.tasks {
            wanted.push(match &*task.desired {
                Desired::Routes(it) => {
                    it.routes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                }
                Desired::Hosts(it) => {
                    it.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                }
                other => other.title(),
            });
        }
    }
    let names = "10.240.0.10 controller-0.sandbox, 10.240.0.11 controller-1.sandbox";
    assert_eq!(
        wanted,
        ["10.200.1.0/24 via 10.240.0.21", names, "10.200.0.0/24 via 10.240.0.20", names]
    );
}

#[test]
fn what_cannot_be_worked_out_names_play_task_and_node() {
    let workshop = Workshop::new(labs::sandbox());
    for (tasks, why) in [
        ("{ directory: { path: '/{{ nothing }}' } }", "nothing"),
        ("{ directory: { path: '/{{ peer.name }}' } }", "peer"),
        ("{ directory: { path: relative } }", "`relative` is not an absolute path"),
        ("{ directory: { path: \"/a\\tb\" } }", "\"/a\\tb\" contains a character"),
        ("{ directory: { path: '/a|b' } }", "\"/a|b\" contains a character"),
        ("{ directory: { path: /a, mode: '0788' } }", "mode `0788` is not octal"),
        ("{ directory: { path: /a, mode: '00000' } }", "mode `00000` is not octal"),
        ("{ directory: { path: /a, owner: root } }", "owner `root` is not like \"root:root\""),
        ("{ directory: { path: /a, owner: '0:0' } }", "owner `0:0` is not like \"root:root\""),
        ("{ directory: { path: /a, owner: 'root:$(id)' } }", "is not like \"root:root\""),
        ("{ file: { content: x, to: /a/ } }", "`/a/` is a directory; expected a file"),
        ("{ file: { to: /a } }", "either `from` or `content`"),
        ("{ file: { from: pki/ca.crt, content: x, to: /a } }", "either `from` or `content`"),
        ("{ file: { from: pki/nobody.crt, to: /a } }", "there is no `pki/nobody.crt` in this lab"),
        (
            "{ file: { from: kubeconfig/nobody, to: /a } }",
            "there is no `kubeconfig/nobody` in this lab",
        ),
        ("{ file: { from: other/x, to: /a } }", "neither pki/NAME nor kubeconfig/NAME"),
        ("{ template: { from: etcd/etcd.servise, to: /a } }", "did you mean `etcd/etcd.service`?"),
        ("{ binary: { from: nothing, to: /a } }", "nothing"),
        ("{ image: { from: etcd } }", "the bundle has no image `etcd`"),
        ("{ routes: { within: here, to: 10.0.0.0/8, via: 10.0.0.1 } }", "`here` is not a CIDR"),
        ("{ routes: { within: 10.0.0.0/8, to: here, via: 10.0.0.1 } }", "`here` is not a CIDR"),
        (
            "{ routes: { within: 10.0.0.0/8, to: 10.0.0.0/8, via: there } }",
            "`there` is not an address",
        ),
        (
            "{ routes: { within: 0.0.0.0/0, to: 10.0.0.0/8, via: 10.0.0.1 } }",
            "too wide to own all routes in it",
        ),
        (
            "{ routes: { within: 10.0.0.0/8, to: 11.0.0.0/8, via: 10.0.0.1 } }",
            "11.0.0.0/8 is not within 10.0.0.0/8",
        ),
        ("{ hosts: { mark: labctl, name: a, address: there } }", "`there` is not an address"),
        ("{ hosts: { mark: labctl, name: 'a b', address: 10.0.0.1 } }", "`a b` is not a host name"),
        ("{ hosts: { mark: printers, name: a, address: 10.0.0.1 } }", "mark `printers` is neither"),
        (
            "{ hosts: { mark: labctl, each: nodes, name: a, address: 10.0.0.1 } }",
            "a is in this set twice",
        ),
        (
            "{ hosts: { mark: labctl, each: nodes, name: '{{ node.name }}', address: 10.0.0.1 } }",
            "node",
        ),
        ("{ directory: { path: /a }, when: node.name }", "is not a condition"),
    ] {
        let error = workshop.refused(tasks);
        assert!(
            error.starts_with("play p, task ") && error.contains(" on lb-0: "),
            "{tasks}: {error}"
        );
        assert!(error.contains(why), "{tasks}: {error}");
    }
}

#[test]
fn modes_and_owners_become_what_stat_prints() {
    let workshop = Workshop::new(labs::sandbox());
    let plays = workshop
        .plays(
            "- name: p\n  hosts: client\n  tasks:\n  - { directory: { path: /a, mode: '02755', \
            owner: 'www-data:_ssh' } }\n  - { directory: { path: /b } }\n",
        )
        .expect("a plan");
    let found: Vec<_> = plays[0].nodes[0]
        .tasks
        .iter()
        .map(|task| match &*task.desired {
            Desired::Directory(it) => (it.mode.as_str(), it.owner.as_str()),
            other => panic!("a folder: {other:?}"),
        })
        .collect();
    assert_eq!(found, [("2755", "www-data:_ssh"), ("755", "root:root")]);
}

#[test]
fn two_tasks_that_want_the_same_thing_otherwise_are_refused() {
    let workshop = Workshop::new(labs::sandbox());
    for (one, other, thing) in [
        ("{ file: { content: a, to: /f } }", "{ file: { content: b, to: /f } }", "/f"),
        ("{ file: { content: a, to: /f } }", "{ file: { content: a, to: /f, mode: '600' } }", "/f"),
        (
            "{ file: { content: a, to: /f } }",
            "{ file: { content: a, to: /f, owner: 'a:a' } }",
            "/f",
        ),
        ("{ file: { content: a, to: /f } }", "{ directory: { path: /f/ } }", "/f"),
        ("{ directory: { path: /f } }", "{ directory: { path: /f, mode: '700' } }", "/f"),
        (
            "{ unit: { name: a.service, state: started } }",
            "{ unit: { name: a.service, state: stopped } }",
            "a.service",
        ),
        ("{ sysctl: { key: a.b, value: '1' } }", "{ sysctl: { key: a.b, value: '2' } }", "a.b"),
        (
            "{ routes: { within: 10.1.0.0/16, to: 10.1.0.0/16, via: 10.0.0.1 } }",
            "{ routes: { within: 10.1.2.3/16, to: 10.1.0.0/16, via: 10.0.0.2 } }",
            "the set of routes to 10.1.0.0/16",
        ),
        (
            "{ hosts: { mark: labctl, name: n, address: 10.0.0.1 } }",
            "{ hosts: { mark: labctl, name: m, address: 10.0.0.1 } }",
            "the set of names marked labctl",
        ),
    ] {
        let error = workshop.refused(&format!("{one}, {other}"));
        assert!(
            error
                .contains(&format!("on lb-0: {thing} is defined differently earlier in this play")),
            "{one} and {other}: {error}"
        );
        let twice = format!("- {{ name: p, hosts: loadbalancer, tasks: [{one}, {one}] }}");
        assert!(workshop.plays(&twice).is_ok(), "the same twice is no contradiction: {one}");
    }
}

#[test]
fn a_unit_uses_its_files_drop_ins_and_folders_and_all_that_any_task_names() {
    let workshop = Workshop::new(labs::sandbox());
    let plays = workshop
        .plays(
            "- name: files\n  hosts: client\n  tasks:\n\
             \x20 - { file: { content: a, to: /etc/systemd/system/a.service } }\n\
             \x20 - { file: { content: b, to: /etc/systemd/system/a.service.d/b.conf } }\n\
             \x20 - { file: { content: c, to: /etc/a/c } }\n  - { file: { content: d, to: \
            /etc/a/d } }\n\
             \x20 - { file: { content: e, to: /etc/ab } }\n  - { unit: { name: a.service, state: \
            started, uses: [/etc/a/] } }\n\
             - name: more\n  hosts: client\n  tasks:\n\
             \x20 - { unit: { name: a.service, state: started, uses: [/etc/ab, /etc/a/c] } }\n",
        )
        .expect("a plan");
    let expected = [
        "/etc/a/c",
        "/etc/a/d",
        "/etc/ab",
        "/etc/systemd/system/a.service",
        "/etc/systemd/system/a.service.d/b.conf",
    ];
    let mut units = 0;
    for desired in Tasks::of(&plays).desired("client-0") {
        let Desired::Unit(unit) = desired else { continue };
        units += 1;
        assert_eq!(unit.uses.iter().map(|used| used.path.as_str()).collect::<Vec<_>>(), expected);
        assert!(unit.uses.iter().all(|used| used.sha256.len() == 64), "{unit:?}");
    }
    assert_eq!(units, 2);
    let missing =
        workshop.refused("{ unit: { name: a.service, state: started, uses: [/etc/nothing] } }");
    assert!(missing.contains("a.service uses /etc/nothing, but no task creates it"), "{missing}");
}

#[test]
fn the_standard_playbooks_expand_for_every_lab_settle_and_show_no_secret() {
    let mut labs = vec![labs::sandbox(), labs::single(), labs::ha()];
    for inventory in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories"))
        .expect("inventories")
    {
        let path = inventory.expect("an entry").path();
        // A directory has what a lab has of its own.
        if path.is_dir() {
            continue;
        }
        labs.push(
            labctl::cluster::open(&path)
                .unwrap_or_else(|problems| panic!("{}: {problems:?}", path.display()))
                .0,
        );
    }
    assert!(labs.len() >= 7, "three of the tests' own, four that are shipped");
    for cluster in labs {
        let workshop = Workshop::new(cluster);
        let secrets = secrets(&workshop);
        for name in standard::names() {
            let playbook = standard::find(name, None).expect("a playbook");
            let desired = workshop
                .expand(&playbook)
                .unwrap_or_else(|e| panic!("{}: {e}", workshop.cluster.name));
            let plan = plan::diff::plan(&desired, &BTreeMap::new());
            assert!(!plan.is_empty(), "{name} does something to a new {}", workshop.cluster.name);
            // Also when all of it is on the node already, with another content.
            let altered = plan::diff::plan(&desired, &all_otherwise(&desired));
            let all = [&plan, &altered].map(Plan::changes_with_new_texts);
            let diffs = all.iter().flatten().filter(|change| change.preview.diff.is_some()).count();
            assert!(diffs > 0 || name != "up", "{name} shows what differs");
            let shown = format!(
                "{plan:?} {desired:?} {all:?} {}",
                serde_json::to_string(&all).expect("data")
            );
            for secret in &secrets {
                assert!(
                    !shown.contains(secret),
                    "{name} for {} shows {secret}",
                    workshop.cluster.name
                );
            }
            let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
            for on in desired.iter().flat_map(|play| &play.nodes) {
                on.tasks.iter().for_each(|task| {
                    task.desired.settle(facts.entry(on.node.clone()).or_default())
                });
            }
            let left = plan::diff::plan(&desired, &facts);
            assert!(
                left.is_empty(),
                "{name} for {} finds itself done: {:?}",
                workshop.cluster.name,
                left.changes()
            );
        }
    }
}

/// A script that a playbook or a template comes to, as the node runs it. A task's commands may call
/// what begins every script of labctl's.
fn scripts(desired: &Desired) -> Vec<String> {
    match desired {
        Desired::Command(it) => vec![it.run.clone(), it.unless.clone()],
        Desired::Wait(it) => vec![it.until.clone()],
        Desired::File(it) => it
            .content
            .text()
            .filter(|text| text.starts_with("#!/bin/sh"))
            .map(str::to_owned)
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// In a lab with one controller a loop over its peers runs once, and where a condition of the
/// template comes to `exit`, what is behind it is not reached. Programs of awk and sh are quoted.
/// What labctl's own scripts give to a task is not set in it.
const NO_MISTAKES: &str = "SC2016,SC2043,SC2154,SC2317";

#[test]
fn the_shell_of_playbooks_and_templates_has_no_mistakes() {
    let mut all = BTreeSet::new();
    for cluster in [labs::sandbox(), labs::single(), labs::ha()] {
        let workshop = Workshop::new(cluster);
        for name in standard::names() {
            let playbook = standard::find(name, None).expect("a playbook");
            for on in workshop
                .expand(&playbook)
                .expect("it expands")
                .into_iter()
                .flat_map(|play| play.nodes)
            {
                all.extend(on.tasks.iter().flat_map(|task| scripts(&task.desired)));
            }
        }
    }
    assert!(all.len() > 40, "{} scripts", all.len());
    let folder = tempfile::tempdir().expect("a folder");
    let file = |(number, text): (usize, &String)| {
        let path = folder.path().join(format!("{number}.sh"));
        std::fs::write(&path, format!("{text}\n")).expect("a file");
        path
    };
    let files: Vec<_> = all.iter().enumerate().map(file).collect();
    let checked = std::process::Command::new("shellcheck")
        .args(["-s", "sh", "-e", NO_MISTAKES])
        .args(&files)
        .output()
        .expect("shellcheck runs: make prerequisites installs it");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
