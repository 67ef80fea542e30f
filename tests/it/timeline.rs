//! A run's log read back: the bars, the critical path, and logs that are not as they should be.

use labctl::timeline::{Bar, LogError, Timeline, What, read};
use proptest::prelude::*;
use serde_json::{Value, json};

const BEGAN: u64 = 1_790_000_000_000;

/// A log of these events, each with its moment in milliseconds since the run's start.
fn log(events: &[(u64, Value)]) -> String {
    let line = |(at, event): &(u64, Value)| {
        let mut event = event.clone();
        event["time_ms"] = json!(BEGAN + at);
        format!("{event}\n")
    };
    events.iter().map(line).collect()
}

fn started() -> (u64, Value) {
    (0, json!({"event": "run_started", "verb": "up", "lab": "demo", "nodes": ["a", "b"]}))
}

fn begins(at: u64, play: &str, node: &str, awaited: Value) -> (u64, Value) {
    (
        at,
        json!({
            "event": "play_started", "play": play, "node": node, "tasks": 1, "awaited": awaited
        }),
    )
}

fn ends(at: u64, play: &str, node: &str) -> (u64, Value) {
    (at, json!({"event": "play_ended", "play": play, "node": node, "outcome": "done", "ms": 0}))
}

fn critical(timeline: &Timeline) -> Vec<String> {
    let title = |bar: &Bar| format!("{} {}", bar.title(), bar.node.as_deref().unwrap_or("here"));
    timeline.critical.iter().map(|index| title(&timeline.bars[*index])).collect()
}

#[test]
fn the_critical_path_follows_what_was_waited_for_and_not_what_looks_near() {
    let timeline = read(&log(&[
        started(),
        begins(10, "binaries", "a", json!({"for": "plan"})),
        begins(10, "slow", "b", json!({"for": "plan"})),
        ends(100, "binaries", "a"),
        begins(101, "etcd", "a", json!({"for": "play", "name": "binaries"})),
        // It ends right before `api` begins, and `api` does not wait for it.
        ends(299, "slow", "b"),
        ends(298, "etcd", "a"),
        begins(300, "api", "a", json!({"for": "play", "name": "etcd"})),
        begins(301, "api", "b", json!({"for": "node", "name": "a"})),
        ends(400, "api", "a"),
        ends(600, "api", "b"),
        (601, json!({"event": "run_ended", "ok": true})),
    ]))
    .expect("a log");
    assert_eq!(timeline.took, 601);
    // `api b` says that it waited for `a`, which had not ended when it began: then the nearest
    // before it counts.
    assert_eq!(critical(&timeline), ["binaries a", "etcd a", "api b"]);
}

#[test]
fn a_rolling_play_leads_from_node_to_node() {
    let timeline = read(&log(&[
        started(),
        begins(0, "api", "a", json!({"for": "plan"})),
        ends(100, "api", "a"),
        begins(101, "api", "b", json!({"for": "node", "name": "a"})),
        ends(200, "api", "b"),
    ]))
    .expect("a log");
    assert_eq!(critical(&timeline), ["api a", "api b"]);
    assert_eq!(timeline.ok, None, "it has no end: it was cut off");
}

#[test]
fn a_log_of_an_older_version_and_a_torn_last_line_can_be_read() {
    let mut text = log(&[
        started(),
        (5, json!({"event": "something_new", "what": [1, 2]})),
        (10, json!({"event": "play_started", "play": "etcd", "node": "a", "tasks": 1})),
        ends(20, "etcd", "a"),
    ]);
    text.push_str("{\"time_ms\": 17900");
    let timeline = read(&text).expect("a log");
    assert_eq!(timeline.bars.len(), 1);
    assert_eq!(timeline.bars[0].what, What::Play("etcd".into()));
}

#[test]
fn what_is_no_log_is_refused_with_its_line() {
    assert_eq!(read(""), Err(LogError::NoStart));
    assert_eq!(read("hello\n"), Err(LogError::NoStart));
    assert_eq!(read(&log(&[ends(1, "etcd", "a")])), Err(LogError::NoStart));
    let spoilt = log(&[started()]) + "spoilt\n" + &log(&[ends(1, "etcd", "a")]);
    let Err(LogError::Line { line, .. }) = read(&spoilt) else { panic!("line 2 is no event") };
    assert_eq!(line, 2);
}

fn any_event() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["etcd", "api", "kubelet"]);
    let node = prop::sample::select(vec!["a", "b", "c"]);
    let awaited = (name.clone(), node.clone(), 0..5_u8).prop_map(|(play, node, kind)| match kind {
        0 => json!({"for": "plan"}),
        1 => json!({"for": "play", "name": play}),
        2 => json!({"for": "node", "name": node}),
        3 => json!({"for": "push"}),
        _ => json!({"for": "turn"}),
    });
    let event = |(play, node, awaited, kind, ms): (_, _, Value, u8, u64)| match kind {
        0 => json!({"event": "step_ended", "step": play, "detail": "", "changed": true, "ms": ms}),
        1 => json!({"event": "node_connected", "node": node, "ms": ms}),
        2 => json!({"event": "node_probed", "node": node, "ms": ms}),
        3 => json!({"event": "pushing", "node": node, "sent": ms.min(100), "total": 100}),
        4 => begins(0, play, node, awaited).1,
        _ => ends(ms, play, node).1,
    };
    (name, node, awaited, 0..6_u8, 0..500_u64).prop_map(event)
}

proptest! {
    /// Whatever a log says, in whatever order: the path ends with what ended last, and goes back in
    /// time only.
    #[test]
    fn a_critical_path_goes_one_way(
        events in prop::collection::vec((0..2_000_u64, any_event()), 0..40),
    ) {
        let mut all = vec![started()];
        all.extend(events);
        let timeline = read(&log(&all)).expect("a log");
        let bars = &timeline.bars;
        let path: Vec<&Bar> = timeline.critical.iter().map(|index| &bars[*index]).collect();
        prop_assert!(path.windows(2).all(|pair| pair[0].start <= pair[1].start));
        prop_assert_eq!(path.last().map(|bar| bar.end), bars.iter().map(|bar| bar.end).max());
        prop_assert!(bars.iter().all(|bar| bar.start <= bar.end && bar.end <= timeline.took));
    }
}
