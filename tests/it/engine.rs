//! The engine over machines of the tests' own: order, overlap, failures, lost nodes, cancelling,
//! and large files.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::machine::{Machine, carry_out, failures};
use labctl::engine::Run;
use labctl::engine::apply::{Applied, apply};
use labctl::event::{Awaited, Event, Events, PlayOutcome, Preview};
use labctl::module::command::Command;
use labctl::module::file::{Blob, Content};
use labctl::module::{Actions, Desired};
use labctl::plan::{Change, Plan, PlannedNode, PlannedPlay};
use labctl::playbook::Strategy;

/// A task that is some shell.
fn task(title: &str, script: &str) -> Change {
    Change {
        title: title.into(),
        why: "missing".into(),
        found: true,
        preview: Preview::default(),
        actions: Actions::script(format!("{script}\n")),
        desired: Desired::Command(Command { run: title.into(), unless: "done".into() }).into(),
    }
}

/// A play with the same tasks on each of its nodes.
fn play(name: &str, after: &[usize], nodes: &[&str], tasks: &[Change]) -> PlannedPlay {
    let on = |node: &&str| PlannedNode {
        node: (*node).into(),
        changes: tasks.to_vec(),
        unchanged: 0,
        fresh: false,
    };
    let nodes = nodes.iter().map(on).collect();
    PlannedPlay { name: name.into(), after: after.to_vec(), strategy: Strategy::Parallel, nodes }
}

/// `play node` of every play that began, and of every play that ended with how, in order.
fn story(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| match event {
        Event::PlayStarted { play, node, .. } => Some(format!("{play} {node} begins")),
        Event::PlayEnded { play, node, outcome, .. } => Some(format!("{play} {node} {outcome:?}")),
        _ => None,
    };
    events.iter().filter_map(line).collect()
}

fn place(story: &[String], line: &str) -> usize {
    story.iter().position(|found| found == line).unwrap_or_else(|| panic!("`{line}` in {story:#?}"))
}

fn ended(events: &[Event], which: PlayOutcome) -> Vec<String> {
    let mut all: Vec<String> =
        story(events).into_iter().filter(|line| line.ends_with(&format!("{which:?}"))).collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_play_begins_when_those_before_it_have_ended_on_all_of_their_nodes() {
    let (a, b) = (Machine::new(), Machine::new());
    let plays = vec![
        play("first", &[], &["a", "b"], &[task("t", "true")]),
        play("nobody", &[0], &[], &[]),
        play("last", &[1], &["a"], &[task("t", "true")]),
    ];
    let (applied, events) =
        carry_out(Plan { plays }, &[("a", a.transport()), ("b", b.transport())], 10).await;
    assert!(applied.ok, "{events:#?}");
    let story = story(&events);
    let last = place(&story, "last a begins");
    assert!(
        place(&story, "first a Done") < last && place(&story, "first b Done") < last,
        "{story:#?}"
    );
}

#[tokio::test]
async fn plays_that_do_not_depend_on_each_other_run_at_the_same_time() {
    let shared = tempfile::tempdir().expect("a folder");
    let (a, b) = (Machine::sharing(shared.path()), Machine::sharing(shared.path()));
    a.sh("mkfifo /shared/one /shared/two");
    // A pipe opens only when both of its ends are there: neither play can end without the other.
    let plays = vec![
        play("giver", &[], &["a"], &[task("t", "echo x > /shared/one; read -r _ < /shared/two")]),
        play("taker", &[], &["a"], &[task("t", "read -r _ < /shared/one")]),
        play("other", &[], &["b"], &[task("t", "echo x > /shared/two")]),
    ];
    let nodes = [("a", a.transport()), ("b", b.transport())];
    let work = carry_out(Plan { plays }, &nodes, 10);
    let (applied, _) =
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("they meet");
    assert!(applied.ok);
}

#[tokio::test]
async fn a_rolling_play_takes_one_node_at_a_time_and_stops_at_the_first_that_fails() {
    let machines: Vec<Machine> = (0..3).map(|_| Machine::new()).collect();
    let names = ["a", "b", "c"];
    let nodes: Vec<_> =
        names.iter().zip(&machines).map(|(name, machine)| (*name, machine.transport())).collect();
    let mut rolling = play("roll", &[], &names, &[task("t", "[ ! -e /broken ]")]);
    rolling.strategy = Strategy::Rolling;
    let (applied, events) = carry_out(Plan { plays: vec![rolling.clone()] }, &nodes, 10).await;
    assert!(applied.ok);
    let expected = [
        "roll a begins",
        "roll a Done",
        "roll b begins",
        "roll b Done",
        "roll c begins",
        "roll c Done",
    ];
    assert_eq!(story(&events), expected);
    machines[1].sh("touch /broken");
    let (applied, events) = carry_out(Plan { plays: vec![rolling] }, &nodes, 10).await;
    assert!(!applied.ok);
    assert_eq!(
        story(&events),
        ["roll a begins", "roll a Done", "roll b begins", "roll b Failed", "roll c Skipped"]
    );
}

#[tokio::test]
async fn a_play_says_what_it_waited_for_last() {
    let (a, b) = (Machine::new(), Machine::new());
    let mut roll = play("roll", &[0], &["a", "b"], &[task("t", "true")]);
    roll.strategy = Strategy::Rolling;
    let plays = vec![
        play("first", &[], &["a"], &[task("t", "true")]),
        roll,
        play("last", &[0, 1], &["b"], &[task("t", "true")]),
    ];
    let (applied, events) =
        carry_out(Plan { plays }, &[("a", a.transport()), ("b", b.transport())], 10).await;
    assert!(applied.ok, "{events:#?}");
    let waited = |event: &Event| match event {
        Event::PlayStarted { play, node, awaited, .. } => {
            Some((format!("{play} {node}"), awaited.clone()))
        }
        _ => None,
    };
    let waited: Vec<_> = events.iter().filter_map(waited).collect();
    let expected = [
        ("first a", Awaited::Plan),
        ("roll a", Awaited::Play("first".into())),
        ("roll b", Awaited::Node("a".into())),
        ("last b", Awaited::Play("roll".into())),
    ];
    assert_eq!(waited, expected.map(|(place, awaited)| (place.to_owned(), awaited)));
}

#[tokio::test]
async fn a_failed_task_is_told_whole_and_stops_only_what_depends_on_it() {
    let (a, b) = (Machine::new(), Machine::new());
    a.shim("journalctl", "for last; do :; done; echo \"journal of $last\"");
    let mut broken = task("start etcd", "echo one; echo two >&2; exit 7");
    broken.actions.unit = Some("etcd.service".into());
    let plays = vec![
        play(
            "etcd",
            &[],
            &["a"],
            &[task("before", "touch /before"), broken, task("after", "touch /after")],
        ),
        play("dependent", &[0], &["a", "b"], &[task("t", "touch /dependent")]),
        play("independent", &[], &["b"], &[task("t", "true")]),
        play("later", &[2], &["b"], &[task("t", "true")]),
    ];
    let (applied, events) =
        carry_out(Plan { plays }, &[("a", a.transport()), ("b", b.transport())], 10).await;
    let [failure] = failures(&events)[..] else { panic!("one failure: {events:#?}") };
    assert_eq!((&*failure.node, &*failure.play, &*failure.task), ("a", "etcd", "start etcd"));
    assert_eq!((failure.command.as_deref(), failure.code), (Some("done || start etcd"), Some(7)));
    assert_eq!(failure.stderr, ["one", "two"]);
    assert_eq!(failure.journal, ["journal of etcd.service"]);
    assert_eq!(
        ended(&events, PlayOutcome::Skipped),
        ["dependent a Skipped", "dependent b Skipped"]
    );
    assert_eq!(ended(&events, PlayOutcome::Done), ["independent b Done", "later b Done"]);
    assert!(!applied.ok);
    assert_eq!(applied.failed.get("a").map(String::as_str), Some("start etcd"));
    assert_eq!((applied.changed["a"], applied.changed["b"]), (1, 2));
    assert_eq!(a.sh("ls /before; ls /after /dependent 2>/dev/null || :"), "/before");
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_fails_what_needs_it_and_nothing_else() {
    let a = Machine::new();
    let plays = vec![
        play("both", &[], &["a", "lost"], &[task("t", "true")]),
        play("next", &[0], &["a"], &[task("t", "true")]),
        play("alone", &[], &["a"], &[task("t", "true")]),
    ];
    let (applied, events) = carry_out(Plan { plays }, &[("a", a.transport())], 10).await;
    assert!(!applied.ok);
    assert_eq!(ended(&events, PlayOutcome::Skipped), ["both lost Skipped", "next a Skipped"]);
    assert_eq!(ended(&events, PlayOutcome::Done), ["alone a Done", "both a Done"]);
}

#[tokio::test]
async fn a_connection_that_is_lost_in_the_middle_names_the_task_that_ran() {
    let a = Machine::new();
    let tasks = [task("harmless", "true"), task("deadly", "kill -9 0"), task("never", "true")];
    let plays = vec![play("p", &[], &["a"], &tasks), play("q", &[0], &["a"], &[task("t", "true")])];
    let (applied, events) = carry_out(Plan { plays }, &[("a", a.transport())], 10).await;
    let [failure] = failures(&events)[..] else { panic!("one failure: {events:#?}") };
    assert_eq!((failure.task.as_str(), failure.play.as_str()), ("deadly", "p"));
    assert!(failure.reason.contains("exit code 137"), "{failure:?}");
    assert_eq!(ended(&events, PlayOutcome::Skipped), ["q a Skipped"]);
    assert_eq!((applied.ok, applied.changed["a"]), (false, 1));
}

/// Applies and asks to stop when the first task of the run begins; /stopped says on the machine
/// that it was asked.
async fn stopped_at_the_first_task(
    plan: Plan,
    machine: &Machine,
    forks: usize,
) -> (Applied, Vec<Event>) {
    let (events, mut told) = Events::channel();
    let (stop, cancelled) = tokio::sync::watch::channel(false);
    let run = Run::new(events, forks, cancelled);
    let connections = [("a".to_owned(), machine.transport())].into();
    let applying = async move {
        let applied = apply(plan, &connections, &run).await;
        drop(run);
        applied
    };
    let watching = async {
        let mut all = Vec::new();
        while let Some(stamped) = told.recv().await {
            if matches!(stamped.event, Event::TaskStarted { .. }) && !stop.send_replace(true) {
                machine.sh("touch /stopped");
            }
            all.push(stamped.event);
        }
        all
    };
    tokio::join!(applying, watching)
}

#[tokio::test]
async fn what_runs_may_end_after_a_cancel_and_nothing_new_begins() {
    let machine = Machine::new();
    let tasks = [
        task("begun", "until [ -e /stopped ]; do sleep 0.02; done"),
        task("belongs to it", "touch /ended"),
    ];
    let plays = vec![
        play("begun", &[], &["a"], &tasks),
        play("queued", &[], &["a"], &[task("t", "touch /queued")]),
        play("dependent", &[0], &["a"], &[task("t", "touch /dependent")]),
    ];
    // One fork: the second play waits for its turn when the first is asked to be the last.
    let (applied, events) = stopped_at_the_first_task(Plan { plays }, &machine, 1).await;
    assert!(!applied.ok);
    assert_eq!(ended(&events, PlayOutcome::Done).len(), 1, "{:#?}", story(&events));
    assert_eq!(ended(&events, PlayOutcome::Skipped).len(), 2, "{:#?}", story(&events));
}

#[tokio::test]
async fn never_more_nodes_at_a_time_than_forks() {
    let machines: Vec<Machine> = (0..5).map(|_| Machine::new()).collect();
    let names = ["a", "b", "c", "d", "e"];
    let nodes: Vec<_> =
        names.iter().zip(&machines).map(|(name, machine)| (*name, machine.transport())).collect();
    // Long enough that one play is still there when the next could begin.
    let plays = vec![play("p", &[], &names, &[task("t", "sleep 0.1")])];
    let (applied, events) = carry_out(Plan { plays }, &nodes, 2).await;
    assert!(applied.ok);
    let (mut now, mut most) = (0_usize, 0);
    for line in story(&events) {
        if line.ends_with("begins") {
            now += 1
        } else {
            now -= 1
        }
        most = most.max(now);
    }
    assert_eq!(most, 2, "{:#?}", story(&events));
}

/// A play that puts one large file into place, and that file.
fn large(workstation: &std::path::Path, size: usize) -> (PlannedPlay, Blob) {
    let bytes = vec![3; size];
    let source = workstation.join("large");
    std::fs::write(&source, &bytes).expect("a file");
    let sha256 = Content::inline(bytes).sha256().to_owned();
    let blob = Blob { sha256, size: size as u64, source, name: "large".into() };
    let mut link =
        task("large", &format!("link 755 root:root {} /usr/local/bin/large", blob.sha256));
    link.actions.blobs.push(blob.clone());
    (play("binaries", &[], &["a"], &[link]), blob)
}

#[tokio::test]
async fn pushing_is_told_and_waits_for_no_play() {
    let (machine, workstation) = (Machine::new(), tempfile::tempdir().expect("a folder"));
    let (mut binaries, blob) = large(workstation.path(), 5_000_000);
    binaries.after = vec![0];
    // The play before it ends only when the blob has arrived.
    let there = format!("until [ -e /var/lib/labctl/blobs/{} ]; do sleep 0.05; done", blob.sha256);
    let plays = vec![play("slow", &[], &["a"], &[task("t", &there)]), binaries];
    let transport = machine.transport();
    let nodes = [("a", transport.clone())];
    let work = carry_out(Plan { plays }, &nodes, 10);
    let (applied, events) =
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("an end");
    assert!(applied.ok, "{:#?}", failures(&events));
    let told: Vec<(u64, u64)> = events
        .iter()
        .filter_map(|event| {
            if let Event::Pushing { sent, total, .. } = event {
                Some((*sent, *total))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(told.last(), Some(&(5_000_000, 5_000_000)));
    assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{told:?}");
    assert!(transport.traffic().bytes_sent.load(Ordering::Relaxed) >= 5_000_000);
}

#[tokio::test]
async fn a_full_disk_fails_the_push_says_so_and_leaves_room_again() {
    let (machine, workstation) = (Machine::new(), tempfile::tempdir().expect("a folder"));
    machine.sh("mkdir -p /var/lib/labctl && mount -t tmpfs -o size=1m tmpfs /var/lib/labctl");
    let (binaries, _) = large(workstation.path(), 5_000_000);
    let plays = vec![binaries, play("dependent", &[0], &["a"], &[task("t", "true")])];
    let nodes = [("a", machine.transport())];
    let work = carry_out(Plan { plays }, &nodes, 10);
    let (applied, events) =
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("an end");
    assert!(!applied.ok);
    let [failure] = failures(&events)[..] else { panic!("one failure: {events:#?}") };
    assert_eq!(failure.task, "push binaries");
    assert!(failure.reason.contains("No space left on device"), "{failure:?}");
    assert!(
        failure.help.as_deref().is_some_and(|help| help.contains("/var/lib/labctl on a")),
        "{failure:?}"
    );
    assert_eq!(
        machine.sh("ls -A /var/lib/labctl/blobs"),
        "",
        "half a file does not fill the disk for good"
    );
    assert_eq!(ended(&events, PlayOutcome::Failed), ["binaries a Failed"]);
    assert_eq!(ended(&events, PlayOutcome::Skipped), ["dependent a Skipped"]);
}
