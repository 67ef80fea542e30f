//! Large files between real nodes: real sshd, real ssh, real zstd, on a network of the tests' own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::support::neighbours::{Neighbours, until};
use labctl::engine::apply::{Applied, apply};
use labctl::engine::spread::Spread;
use labctl::engine::{Connections, Delivery, Run};
use labctl::event::{Event, Events};
use labctl::module::command::Command;
use labctl::module::file::{Blob, Content};
use labctl::module::{Actions, Desired};
use labctl::plan::{Change, Plan, PlannedNode, PlannedPlay};
use labctl::playbook::Strategy;

const MEGABYTE: usize = 1 << 20;

/// A large file on the workstation that shrinks well, as binaries do.
fn blob(folder: &Path, name: &str, megabytes: usize) -> Blob {
    let mut bytes = Vec::with_capacity(megabytes * MEGABYTE);
    let mut state =
        name.bytes().fold(7_u64, |state, byte| state.wrapping_mul(31) + u64::from(byte));
    while bytes.len() < megabytes * MEGABYTE {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(&[0; 24]);
    }
    let source = folder.join(name);
    std::fs::write(&source, &bytes).expect("a file");
    let (size, sha256) = (bytes.len() as u64, Content::inline(bytes).sha256().to_owned());
    Blob { sha256, size, source, name: name.to_owned() }
}

/// A plan that links `blobs` on `lacking`, and finds them on `having`.
fn plan(blobs: &[Blob], lacking: &[&str], having: &[&str]) -> Plan {
    let change = |blob: &Blob| Change {
        title: blob.name.clone(),
        why: "missing".into(),
        found: true,
        actions: Actions {
            script: format!("link 755 root:root {} /opt/{}\n", blob.sha256, blob.name),
            blobs: vec![blob.clone()],
            ..Actions::default()
        },
        desired: Desired::Command(Command { run: String::new(), unless: String::new() }).into(),
        preview: labctl::event::Preview::default(),
    };
    let on = |node: &&str, changes: Vec<Change>| PlannedNode {
        node: (*node).to_owned(),
        changes,
        unchanged: 0,
        fresh: false,
    };
    let mut nodes: Vec<_> =
        lacking.iter().map(|node| on(node, blobs.iter().map(change).collect())).collect();
    nodes.extend(having.iter().map(|node| on(node, Vec::new())));
    Plan {
        plays: vec![PlannedPlay {
            name: "binaries".into(),
            after: vec![],
            strategy: Strategy::Parallel,
            nodes,
        }],
    }
}

fn delivery(all: &Neighbours) -> Delivery {
    let packed = Some(all.folder().join("packed"));
    Delivery { spread: Spread::Always, peers: all.peers(), packed, ..Delivery::default() }
}

/// Applies `plan`; `on_event` may stop the run.
async fn carry_out(
    plan: Plan,
    connections: &Connections,
    delivery: Delivery,
    on_event: impl Fn(&Event) -> bool,
) -> (Applied, Vec<Event>) {
    let (events, mut told) = Events::channel();
    let (stop, cancelled) = tokio::sync::watch::channel(false);
    let run = Run::new(events, 32, cancelled).delivering(delivery);
    let applying = async move {
        let applied = apply(plan, connections, &run).await;
        drop(run);
        applied
    };
    let watching = async {
        let mut all = Vec::new();
        while let Some(stamped) = told.recv().await {
            if on_event(&stamped.event) {
                stop.send_replace(true);
            }
            all.push(stamped.event);
        }
        all
    };
    tokio::join!(applying, watching)
}

/// Whom each blob came from on each node: `blob node` to the giver, or nobody for this machine.
fn origins(events: &[Event]) -> BTreeMap<(String, String), Option<String>> {
    let origin = |event: &Event| match event {
        Event::Delivered { node, blob, from, .. } => {
            Some(((blob.clone(), node.clone()), from.clone()))
        }
        _ => None,
    };
    let all: Vec<_> = events.iter().filter_map(origin).collect();
    let count = all.len();
    let map: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(map.len(), count, "nothing arrives twice");
    map
}

fn warnings(events: &[Event]) -> Vec<(&str, &str)> {
    let mut warnings = Vec::new();
    for event in events {
        if let Event::Warning { node: Some(node), message } = event {
            warnings.push((node.as_str(), message.as_str()));
        }
    }
    warnings
}

fn bytes_sent(connections: &Connections) -> u64 {
    connections
        .values()
        .map(|transport| transport.traffic().bytes_sent.load(Ordering::Relaxed))
        .sum()
}

fn packed_size(all: &Neighbours, blobs: &[Blob]) -> u64 {
    let size =
        |blob: &Blob| std::fs::metadata(all.folder().join(format!("packed/{}.zst", blob.sha256)));
    blobs.iter().map(|blob| size(blob).expect("a packed copy is kept").len()).sum()
}

/// Every blob is in place, and what it took to bring it there is gone.
fn is_whole_and_clean(all: &Neighbours, node: &str, blobs: &[Blob]) {
    let machine = all.machine(node);
    for blob in blobs {
        let sum = machine.sh(&format!("sha256sum < /opt/{}", blob.name));
        assert_eq!(sum, format!("{}  -", blob.sha256), "{} on {node}", blob.name);
    }
    assert_eq!(
        machine.sh("ls -A /var/lib/labctl/blobs | wc -l"),
        blobs.len().to_string(),
        "{node}"
    );
    assert_eq!(machine.sh("ls -A /var/lib/labctl/runs"), "", "{node}");
}

/// Root's keys on a node: content, mode and owner, byte for byte; or that there are none.
fn keys(all: &Neighbours, node: &str) -> String {
    all.machine(node)
        .sh("cd /root; stat -c '%n %a %U' .ssh .ssh/* 2>&1; cat .ssh/authorized_keys 2>&1 | od -c")
}

/// Gives nodes all the ways in which root's keys can be.
fn various_keys(all: &Neighbours) -> BTreeMap<&'static str, String> {
    all.machine("b")
        .sh("mkdir -m 700 /root/.ssh && echo 'ssh-ed25519 AAAAone' > /root/.ssh/authorized_keys");
    all.machine("c").sh(
        "mkdir -m 755 /root/.ssh && printf '# no end' > /root/.ssh/authorized_keys && chmod 640 \
        /root/.ssh/authorized_keys",
    );
    all.machine("d").sh("mkdir -m 700 /root/.ssh");
    ["a", "b", "c", "d"].into_iter().map(|node| (node, keys(all, node))).collect()
}

const ALL: [&str; 4] = ["a", "b", "c", "d"];

#[tokio::test(flavor = "multi_thread")]
async fn each_blob_leaves_this_machine_once_and_the_nodes_do_the_rest() {
    let all = Neighbours::new(&ALL);
    let before = various_keys(&all);
    let blobs = [
        blob(all.folder(), "one", 70),
        blob(all.folder(), "two", 66),
        blob(all.folder(), "small", 1),
    ];
    let connections = all.connect(&ALL).await;
    let (applied, events) =
        carry_out(plan(&blobs, &ALL, &[]), &connections, delivery(&all), |_| false).await;
    assert!(applied.ok, "{applied:?} {events:#?}");
    assert_eq!(warnings(&events), []);
    let origins = origins(&events);
    assert_eq!(origins.len(), 12);
    for blob in &blobs {
        let from_here =
            origins.iter().filter(|((name, _), from)| *name == blob.name && from.is_none()).count();
        assert_eq!(from_here, 1, "{} leaves this machine once: {origins:#?}", blob.name);
    }
    let (sent, packed) = (bytes_sent(&connections), packed_size(&all, &blobs));
    assert!(
        packed < 40 << 20 && sent < packed + (1 << 20),
        "{sent} bytes were sent, {packed} are all of them"
    );
    for node in ALL {
        is_whole_and_clean(&all, node, &blobs);
        assert_eq!(keys(&all, node), before[node], "keys of {node}");
    }

    // A node that is made anew gets everything from the others, and a line that a killed run left
    // goes.
    all.machine("d").sh("rm -rf /var/lib/labctl /opt/one /opt/two /opt/small");
    all.machine("b")
        .sh("echo 'restrict ssh-ed25519 AAAAtwo labctl-spread' >> /root/.ssh/authorized_keys");
    let connections = all.connect(&ALL).await;
    let joining = plan(&blobs, &["d"], &["a", "b", "c"]);
    let (applied, events) = carry_out(joining, &connections, delivery(&all), |_| false).await;
    assert!(applied.ok, "{applied:?} {events:#?}");
    assert!(self::origins(&events).values().all(Option::is_some), "{:#?}", self::origins(&events));
    assert!(bytes_sent(&connections) < 1 << 20);
    is_whole_and_clean(&all, "d", &blobs);
    assert_eq!(keys(&all, "b"), before["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_logs_in_as_root_it_goes_the_same_way() {
    let names = ["ops-0", "ops-1", "ops-2"];
    let all = Neighbours::new(&names);
    let blobs = [blob(all.folder(), "one", 20)];
    let connections = all.connect(&names).await;
    let (applied, events) =
        carry_out(plan(&blobs, &names, &[]), &connections, delivery(&all), |_| false).await;
    assert!(applied.ok, "{applied:?} {events:#?}");
    let from_here = origins(&events).values().filter(|from| from.is_none()).count();
    assert_eq!((from_here, warnings(&events)), (1, vec![]), "{:#?}", origins(&events));
    for node in names {
        is_whole_and_clean(&all, node, &blobs);
        assert_eq!(all.machine(node).sh("ls -A /home/ops | grep ssh || :"), "", "no key is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_cannot_give_or_take_get_everything_from_this_machine() {
    let all = Neighbours::new(&ALL);
    // No way out, no SSH client, no zstd, and a folder that no key can be put into.
    all.machine("a").sh("ip rule add ipproto tcp dport 22 prohibit");
    all.machine("b").sh("rm -f /usr/bin/ssh");
    all.machine("c").sh("rm -f /usr/bin/zstd; ip rule add ipproto tcp dport 22 prohibit");
    all.machine("d").sh("echo nothing > /root/.ssh; ip rule add ipproto tcp dport 22 prohibit");
    let blobs = [blob(all.folder(), "one", 70), blob(all.folder(), "two", 66)];
    let connections = all.connect(&ALL).await;
    let (applied, events) =
        carry_out(plan(&blobs, &ALL, &[]), &connections, delivery(&all), |_| false).await;
    assert!(applied.ok, "{applied:?} {events:#?}");
    assert!(origins(&events).values().all(Option::is_none), "{:#?}", origins(&events));
    for node in ALL {
        is_whole_and_clean(&all, node, &blobs);
        let told = warnings(&events).into_iter().filter(|(about, _)| *about == node).count();
        assert!(told <= 1, "{:#?}", warnings(&events));
    }
    assert_eq!(all.machine("d").sh("cat /root/.ssh"), "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_while_it_gives_is_missed_by_nobody() {
    let all = Neighbours::new(&ALL[..3]);
    // After a megabyte, everything of sshd on this node is gone, as if its power were.
    all.machine("a").sh("cat > /usr/local/bin/cat <<'EOF'
#!/bin/sh
case $1 in *.zst) ;; *) exec /usr/bin/cat \"$@\" ;; esac
/usr/bin/head -c 1000000 \"$1\"
for process in /proc/[0-9]*; do
  [ \"$(readlink $process/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ] || continue
  case $(/usr/bin/cat $process/comm) in sshd*) kill -9 \"${process#/proc/}\" ;; esac
done
EOF
        chmod 755 /usr/local/bin/cat");
    let blobs = [blob(all.folder(), "one", 70)];
    let connections = all.connect(&ALL[..3]).await;
    // It dies when it gives to another; the last thing that it does itself is to get the blob.
    let (applied, events) =
        carry_out(plan(&blobs, &ALL[..3], &[]), &connections, delivery(&all), |_| false).await;
    let origins = origins(&events);
    assert_eq!(origins[&("one".to_owned(), "a".to_owned())], None, "{origins:#?}");
    for node in ["b", "c"] {
        assert!(!applied.failed.contains_key(node), "{applied:?}");
        is_whole_and_clean(&all, node, &blobs);
        assert_ne!(origins[&("one".to_owned(), node.to_owned())].as_deref(), Some("a"));
    }
    let from_here = origins.values().filter(|from| from.is_none()).count();
    assert_eq!(from_here, 2, "one more time than with all alive: {origins:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_or_cut_off_lets_nobody_in_any_more() {
    let all = Neighbours::new(&ALL);
    let before = various_keys(&all);
    let blobs = [blob(all.folder(), "one", 70), blob(all.folder(), "two", 66)];
    let connections = all.connect(&ALL).await;
    let arrived = |event: &Event| matches!(event, Event::Delivered { .. });
    let (applied, _) =
        carry_out(plan(&blobs, &ALL, &[]), &connections, delivery(&all), arrived).await;
    assert!(!applied.ok);
    for node in ALL {
        assert_eq!(keys(&all, node), before[node], "keys of {node}");
        assert_eq!(
            all.machine(node).sh("cat /var/lib/labctl/runs/*/key 2>/dev/null || :"),
            "",
            "{node}"
        );
    }

    // The same command again, cut off without a word while the nodes are at it: nobody is told to
    // clean up.
    let connections = all.connect(&ALL).await;
    let (events, mut told) = Events::channel();
    let (_stop, cancelled) = tokio::sync::watch::channel(false);
    let run = Run::new(events, 32, cancelled).delivering(delivery(&all));
    let cut_off = tokio::spawn({
        let plan = plan(&blobs, &ALL, &[]);
        async move { apply(plan, &connections, &run).await }
    });
    while told.recv().await.is_some_and(|stamped| !arrived(&stamped.event)) {}
    let inside = all.machine("b").sh("cat /root/.ssh/authorized_keys");
    assert!(
        inside.contains("restrict,expiry-time=") && inside.contains(" labctl-spread"),
        "{inside}"
    );
    cut_off.abort();
    let _ = cut_off.await;
    drop(told);
    for node in ALL {
        until("the key is out again", || keys(&all, node) == before[node]);
        until("the run's folder is gone", || {
            all.machine(node).sh("ls -A /var/lib/labctl/runs").is_empty()
        });
    }
}

/// What a node sends in place of the blobs that it was asked for, as a script.
const LIES: [&str; 4] = [
    // A path, in a header of the right length; where it leads to is a file that must stay.
    "printf '%-62s x zst %18s\\n666666' ./../../../../etc/victim 6",
    // A header without an end.
    "yes a | tr -d '\\n'",
    // What was asked for, by its name, and bytes without an end.
    "printf '%s raw %18s\\n' \"$sha\" 73400320; cat /dev/zero",
    // More of it than there can be.
    "printf '%s zst %18s\\n' \"$sha\" 999999999999; cat /dev/zero",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lies_to_others_harms_none_of_them() {
    let blobs = |folder: &Path| [blob(folder, "one", 70)];
    for lie in LIES {
        let all = Neighbours::new(&ALL[..3]);
        let blobs = blobs(all.folder());
        // It has the blob, says so, and gives something else to whoever asks.
        all.machine("a").sh(&format!(
            "cat > /usr/local/bin/sh <<'EOF'\n#!/bin/bash\ncase $1 in */give) ;; *) exec /bin/sh \
            \"$@\" ;; esac\n\
             echo lied >> /var/lied\nsha=${{2##* }}\n{lie}\nEOF\nchmod 755 /usr/local/bin/sh"
        ));
        for node in ["b", "c"] {
            all.machine(node).sh("echo 'as it was' > /etc/victim");
        }
        let connections = all.connect(&ALL[..3]).await;
        let first =
            carry_out(plan(&blobs, &["a"], &[]), &connections, delivery(&all), |_| false).await;
        assert!(first.0.ok, "{lie}: {first:#?}");
        let others = plan(&blobs, &["b", "c"], &["a"]);
        let (applied, events) = carry_out(others, &connections, delivery(&all), |_| false).await;
        assert!(applied.ok, "{lie}: {applied:?} {events:#?}");
        for node in ["b", "c"] {
            is_whole_and_clean(&all, node, &blobs);
            assert_eq!(all.machine(node).sh("cat /etc/victim"), "as it was", "{lie}");
            assert_ne!(
                origins(&events)[&("one".to_owned(), node.to_owned())].as_deref(),
                Some("a"),
                "{lie}"
            );
        }
        all.machine("a").sh("grep -q lied /var/lied");
    }
}

/// A file system of its own for the keys, in which nothing can be written at the moment when `full`
/// says so.
fn keys_on_a_full_disk(all: &Neighbours, node: &str, full: &str) {
    all.machine(node).sh(&format!(
        "mkdir -m 700 /root/.ssh && mount -t tmpfs -o size=16k,mode=700 tmpfs /root/.ssh && cd \
        /root/.ssh
        printf '# %s\\n' one two three > authorized_keys && chmod 600 authorized_keys
        {full}"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_keys_as_they_are() {
    let all = Neighbours::new(&ALL);
    // Full from the beginning; full once there is a copy, of which the last page is full as well;
    // full while the line of a run that was killed is taken out; and room for all, to see that it
    // works in between.
    keys_on_a_full_disk(&all, "a", "dd if=/dev/zero of=full 2>/dev/null || :");
    keys_on_a_full_disk(
        &all,
        "b",
        "yes '# more' | head -c 8172 >> authorized_keys; [ $(stat -c %s authorized_keys) = 8192 ]",
    );
    keys_on_a_full_disk(
        &all,
        "c",
        "echo 'restrict ssh-ed25519 AAAAtwo labctl-spread' >> authorized_keys",
    );
    all.machine("c").sh("cat > /usr/local/sbin/grep <<'EOF'
#!/bin/sh
# The file that is written to is empty by now.
[ \"$1\" != -v ] || dd if=/dev/zero of=/root/.ssh/full 2>/dev/null
exec /bin/grep \"$@\"
EOF
        chmod 755 /usr/local/sbin/grep");
    keys_on_a_full_disk(&all, "d", ":");
    let seen = |node: &str| {
        all.machine(node)
            .sh("cd /root/.ssh; stat -c '%n %s %a %U' authorized_keys; sha256sum authorized_keys; \
                ls -A | grep -v full")
    };
    let before: Vec<String> = ALL.map(seen).into();
    let blobs = [blob(all.folder(), "one", 70)];
    let connections = all.connect(&ALL).await;
    let (applied, events) =
        carry_out(plan(&blobs, &ALL, &[]), &connections, delivery(&all), |_| false).await;
    assert!(applied.ok, "{applied:?} {events:#?}");
    for (node, before) in ALL.iter().zip(before) {
        is_whole_and_clean(&all, node, &blobs);
        assert_eq!(seen(node), before, "keys of {node}");
        let gave = origins(&events).values().any(|from| from.as_deref() == Some(*node));
        assert!(!gave || *node == "d", "{node} lets nobody in: {:#?}", origins(&events));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_takes_out_what_a_power_failure_left() {
    let all = Neighbours::new(&ALL[..2]);
    all.machine("b")
        .sh("mkdir -m 700 /root/.ssh && printf '# no end' > /root/.ssh/authorized_keys");
    let before = keys(&all, "b");
    let blobs = [blob(all.folder(), "one", 70)];
    let connections = all.connect(&ALL[..2]).await;
    // The node's side of the gate is killed as a power failure would: it has no time to clean up.
    let b = all.machine("b");
    let opened = |event: &Event| {
        if matches!(event, Event::Delivered { .. }) {
            b.sh("for folder in /var/lib/labctl/runs/*; do [ ! -e $folder/undo ] || { \
                n=${folder##*/}; kill -9 ${n%.*}; }; done");
        }
        matches!(event, Event::Delivered { .. })
    };
    carry_out(plan(&blobs, &ALL[..2], &[]), &connections, delivery(&all), opened).await;
    assert!(b.sh("cat /root/.ssh/authorized_keys").contains(" labctl-spread"), "the line is left");
    // Any play, also one of a teardown, that has nothing to do with keys or blobs.
    let mut other = plan(&blobs[..1], &["b"], &[]);
    for change in &mut other.plays[0].nodes[0].changes {
        change.actions = Actions { script: ":\n".into(), ..Actions::default() };
    }
    let (applied, events) = carry_out(other, &connections, delivery(&all), |_| false).await;
    assert!(applied.ok, "{applied:?} {events:#?}");
    assert_eq!(keys(&all, "b"), before);
    assert_eq!(b.sh("ls -A /var/lib/labctl/runs"), "");
}
