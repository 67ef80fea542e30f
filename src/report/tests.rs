//! Replays the recorded runs to every display and compares the output with snapshots. After an
//! intended change, run `INSTA_UPDATE=always cargo test report` and review the diff.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{InMemoryTerm, ProgressDrawTarget};

use super::stories::{self, Story, start};
use super::stream::{Paint, Stream};
use super::terminal::Terminal;
use super::{OutputFormat, Reporter, RunLog, RunReport, gantt, summary};
use crate::event::{Awaited, Event, Events, Stamped};

/// Captures the output of both streams, as on a terminal that shows both.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("screen").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("screen").clone()).expect("utf-8")
    }

    fn stream(&self) -> Stream {
        Stream::to(Box::new(self.clone()), false, Paint::new(false))
    }

    fn reporter(&self, output: OutputFormat, verbose: bool) -> Reporter {
        Reporter { output, verbose, diff: false, out: self.stream(), err: self.stream() }
    }
}

/// Replays a whole story, as a command would.
async fn tell(reporter: &Reporter, story: Story, log: Option<RunLog>) -> RunReport {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let told = reporter.spawn(receiver, log);
    story.0.into_iter().for_each(|stamped| sender.send(stamped).expect("the report listens"));
    drop(sender);
    told.await.expect("the report ends")
}

async fn plain(story: Story, verbose: bool, next: &[String]) -> String {
    let screen = Screen::default();
    let reporter = screen.reporter(OutputFormat::Text, verbose);
    let report = tell(&reporter, story, None).await;
    reporter.close(&report, next);
    screen.text()
}

fn next() -> Vec<String> {
    vec!["labctl smoke".into(), "export KUBECONFIG=.labctl/sandbox/admin.conf".into()]
}

#[tokio::test]
async fn plain_runs_match_their_snapshots() {
    insta::assert_snapshot!("plain_clean", plain(stories::clean(), false, &next()).await);
    insta::assert_snapshot!("plain_clean_verbose", plain(stories::clean(), true, &[]).await);
    insta::assert_snapshot!(
        "plain_failed",
        plain(stories::failed(), false, &["labctl up".into()]).await
    );
    insta::assert_snapshot!("plain_cancelled", plain(stories::cancelled(), false, &[]).await);
    insta::assert_snapshot!("plain_nothing", plain(stories::nothing(), false, &[]).await);
    insta::assert_snapshot!("plain_grown", plain(stories::grown(), false, &[]).await);
    insta::assert_snapshot!("plain_smoke", plain(stories::smoke(), false, &[]).await);
}

#[tokio::test]
async fn a_plan_is_grouped_by_node_and_play() {
    let screen = Screen::default();
    let reporter = screen.reporter(OutputFormat::Text, false);
    let report = tell(&reporter, stories::halfway(), None).await;
    screen.0.lock().expect("screen").clear();
    reporter.plan(&report, &["labctl up".into()]);
    insta::assert_snapshot!("plan", screen.text());
}

#[tokio::test]
async fn nodes_that_fail_in_the_same_way_share_a_block() {
    let mut story = stories::failed();
    let failure = story.0.iter().find_map(|stamped| match &stamped.event {
        Event::TaskFailed(failure) => Some(failure.clone()),
        _ => None,
    });
    let mut failure = failure.expect("a failure");
    failure.node = "worker-0".into();
    story.0.push(Stamped { time: start(), event: Event::TaskFailed(failure) });
    let text = plain(story, false, &[]).await;
    assert!(text.contains("✗ worker-1, worker-0\n"), "{text}");
}

#[tokio::test]
async fn a_run_that_stops_early_has_a_verdict() {
    let mut story = stories::failed();
    story.0.pop();
    let text = plain(story, false, &[]).await;
    assert!(text.ends_with("Failed before the end.\n"), "{text}");
}

#[tokio::test]
async fn json_is_one_event_per_line() {
    let screen = Screen::default();
    let reporter = screen.reporter(OutputFormat::Json, false);
    let report = tell(&reporter, stories::failed(), None).await;
    reporter.close(&report, &next());
    let text = screen.text();
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert!(events.iter().all(|event| event["event"].is_string() && event["time_ms"].is_u64()));
    assert_eq!(events[0]["event"], "run_started");
    assert_eq!(events[0]["time_ms"], 1_767_323_045_000_u64);
    let failure = events.iter().find(|event| event["event"] == "task_failed").expect("the failure");
    assert_eq!((&failure["node"], &failure["code"]), (&"worker-1".into(), &1.into()));
    assert_eq!(events.last().expect("an end")["event"], "run_ended");
    // Of four pushes within one second, only the first and the one that completes are printed.
    assert_eq!(events.iter().filter(|event| event["event"] == "pushing").count(), 3);
}

#[tokio::test]
async fn the_run_log_is_complete_and_readable_only_by_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a directory");
    let runs = folder.path().join("lab/runs");
    let log = RunLog::create(&runs, start()).expect("a log");
    let second = RunLog::create(&runs, start()).expect("a second log in the same second");
    assert!(second.path().ends_with("2026-01-02T03-04-05Z-2.jsonl"));
    let path = log.path().to_path_buf();
    assert!(path.ends_with("lab/runs/2026-01-02T03-04-05Z.jsonl"), "{}", path.display());

    let report =
        tell(&Screen::default().reporter(OutputFormat::Text, false), stories::clean(), Some(log))
            .await;
    assert_eq!(report.log.as_deref(), Some(path.as_path()));
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!((mode(&path), mode(&runs)), (0o600, 0o700));
    let text = std::fs::read_to_string(&path).expect("the log");
    assert!(text.lines().last().expect("lines").contains(r#""event":"run_ended""#), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("task_ended")).count(), 9);
}

#[tokio::test]
async fn the_report_has_the_result_of_the_run() {
    let reporter = Screen::default().reporter(OutputFormat::Text, false);
    let clean = tell(&reporter, stories::clean(), None).await;
    assert!(clean.ok() && !clean.cancelled());
    assert_eq!((clean.changed(), clean.planned.len(), clean.unchanged), (7, 7, 40));
    assert_eq!(
        clean.plays[1].took(),
        Duration::from_millis(2560),
        "kubelet: first start to last end"
    );
    let failed = tell(&reporter, stories::failed(), None).await;
    assert!(!failed.ok() && failed.failures.len() == 1);
    assert_eq!(failed.skipped().collect::<Vec<_>>(), [("kubelet", "worker-0")]);
    let cancelled = tell(&reporter, stories::cancelled(), None).await;
    assert!(!cancelled.ok() && cancelled.cancelled());
    assert!(!tell(&reporter, stories::smoke(), None).await.ok());
}

#[test]
fn problems_and_errors_say_what_to_do() {
    let screen = Screen::default();
    let reporter = screen.reporter(OutputFormat::Text, false);
    reporter.problems(
        "inventory.yaml",
        &[
            "inventory.yaml:12:7: unknown key `adress`\nhelp: did you mean `address`?",
            "inventory.yaml:20:5: no node has the role controller",
        ],
    );
    let cause = io::Error::other("connection refused");
    let error = io::Error::new(io::ErrorKind::ConnectionRefused, Outer(cause));
    reporter.error(&error, Some("is the machine on?"));
    insta::assert_snapshot!("problems", screen.text());
}

#[derive(Debug, thiserror::Error)]
#[error("cannot reach worker-1")]
struct Outer(#[source] io::Error);

/// Returns an in-memory terminal after a story, `millis` into it.
fn drawn(story: Story, millis: u64, rows: u16, columns: u16) -> (InMemoryTerm, Terminal) {
    let memory = InMemoryTerm::new(rows, columns);
    let target = ProgressDrawTarget::term_like(Box::new(memory.clone()));
    let mut terminal =
        Terminal::new(target, Box::new(move || (rows, columns)), Paint::new(false), false);
    for stamped in story.0 {
        terminal.event(&stamped);
        terminal.tick(stamped.time);
    }
    terminal.tick(start() + Duration::from_millis(millis));
    (memory, terminal)
}

#[test]
fn the_live_display_fits_wide_and_narrow_terminals() {
    for columns in [120, 80, 60] {
        let (memory, _terminal) = drawn(stories::halfway(), 6900, 24, columns);
        insta::assert_snapshot!(format!("terminal_{columns}"), memory.contents());
    }
    for columns in [120, 80] {
        let (memory, _terminal) = drawn(stories::failed(), 9700, 24, columns);
        insta::assert_snapshot!(format!("terminal_failed_{columns}"), memory.contents());
    }
}

#[test]
fn the_live_display_leaves_only_its_permanent_lines() {
    for columns in [120, 80] {
        let (memory, mut terminal) = drawn(stories::clean(), 8300, 24, columns);
        terminal.end();
        insta::assert_snapshot!(format!("terminal_clean_end_{columns}"), memory.contents());
    }
}

#[test]
fn a_long_warning_breaks_between_words() {
    let warning = Event::Warning {
        node: Some("worker-0".into()),
        message:
            "its address is in the network of the pods, which hides it from all of them; choose \
                  another range for `network.pods`, then `labctl up inventory.yaml`"
                .into(),
    };
    for columns in [120, 80] {
        let story = Story(vec![Stamped { time: start(), event: warning.clone() }]);
        let (memory, mut terminal) = drawn(story, 100, 12, columns);
        terminal.end();
        insta::assert_snapshot!(format!("terminal_warning_{columns}"), memory.contents());
    }
}

#[tokio::test]
async fn what_a_run_came_to_fits_wide_and_narrow_terminals() {
    let screen = Screen::default();
    let reporter = screen.reporter(OutputFormat::Text, false);
    for (name, story) in [("clean", stories::clean()), ("failed", stories::failed())] {
        let report = tell(&reporter, story, None).await;
        for columns in [120, 80] {
            let text = summary::tables(&report, columns, true, Paint::new(false)).join("\n");
            insta::assert_snapshot!(format!("summary_{name}_{columns}"), text);
        }
    }
}

#[test]
fn a_timeline_fits_wide_and_narrow_terminals() {
    let log = include_str!("../../tests/cli/timeline.in/up.jsonl");
    let timeline = crate::timeline::read(log).expect("the log of a run");
    for columns in [120, 80] {
        let text = gantt::chart(&timeline, columns, false, Paint::new(false)).join("\n");
        insta::assert_snapshot!(format!("timeline_{columns}"), text);
    }
}

#[test]
fn a_crowd_of_nodes_is_counted() {
    let nodes: Vec<String> = (0..60).map(|index| format!("worker-{index}")).collect();
    let mut story = Story(Vec::new());
    let mut at = |millis, event| {
        story.0.push(Stamped { time: start() + Duration::from_millis(millis), event })
    };
    at(0, Event::RunStarted { verb: "up".into(), lab: "crowd".into(), nodes: nodes.clone() });
    for node in nodes {
        at(10, Event::NodeConnecting { node: node.clone() });
        at(20, Event::NodeProbed { node, took: Duration::ZERO });
    }
    at(
        30,
        Event::Planned {
            changes: Vec::new(),
            unchanged: 600,
            judged_again: 0,
            left_out: Vec::new(),
        },
    );
    at(
        40,
        Event::PlayStarted {
            play: "kubelet".into(),
            node: "worker-41".into(),
            tasks: 3,
            awaited: Awaited::Plan,
        },
    );
    let (memory, _terminal) = drawn(story, 100, 12, 80);
    insta::assert_snapshot!("terminal_crowd", memory.contents());
}

#[test]
fn no_line_is_ever_wider_than_the_terminal() {
    for columns in [0_u16, 1, 8, 20, 40, 79, 200] {
        for story in [stories::halfway(), stories::failed(), stories::cancelled()] {
            let mut view = super::view::View::default();
            for stamped in &story.0 {
                view.note(stamped);
                for line in view.frame(stamped.time, columns.into(), 10, Paint::new(true)) {
                    let width = console::measure_text_width(&line);
                    assert!(
                        width < usize::from(columns.max(2)),
                        "{width} columns on {columns}: {line:?}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_lost_sink_is_reported_once() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("no space left on device"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let screen = Screen::default();
    let full = Stream::to(Box::new(Full), false, Paint::new(false));
    let sinks = vec![
        super::Sink::Plain(super::Plain::new(screen.stream(), false, false)),
        super::Sink::Json(super::Json::new(full)),
    ];
    let (events, receiver) = Events::channel();
    events.emit(Event::Cancelling);
    events.emit(Event::Cancelling);
    drop(events);
    super::drain(receiver, sinks).await;
    let text = screen.text();
    assert_eq!(
        text.matches("warning: the output stops here: no space left on device").count(),
        1,
        "{text}"
    );
}
