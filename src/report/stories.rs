//! Recorded runs with fixed times, which the tests replay to every display.

use std::time::{Duration, SystemTime};

use crate::event::{
    Awaited, ChangeKind, Event, Failure, NewValue, NodeSummary, PlannedChange, PlayOutcome,
    Preview, RunSummary, Stamped,
};

/// 2026-01-02T03:04:05Z.
pub(super) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)
}

/// Returns a sample preview of a change.
fn preview(task: &str, why: &str) -> Preview {
    let size = NewValue { what: "size".into(), from: None, to: "58000000".into() };
    match why.split(':').next() {
        Some("missing") => Preview {
            kind: ChangeKind::Make,
            values: if task.starts_with("binary") { vec![size] } else { Vec::new() },
            ..Preview::default()
        },
        Some("restart") => Preview { kind: ChangeKind::Restart, ..Preview::default() },
        _ => Preview {
            diff: Some("@@ -1 +1,2 @@\n [Service]\n+Restart=always\n".into()),
            ..Preview::default()
        },
    }
}

/// A run that is being recorded.
pub(super) struct Story(pub Vec<Stamped>);

const NODES: [(&str, &str, &str); 3] = [
    ("controller-0", "controller", "10.240.0.10"),
    ("worker-0", "worker", "10.240.0.20"),
    ("worker-1", "worker", "10.240.0.21"),
];

impl Story {
    fn new(verb: &str) -> Self {
        let nodes = NODES.map(|(node, ..)| node.to_string()).to_vec();
        Self(Vec::new())
            .at(0, Event::RunStarted { verb: verb.into(), lab: "sandbox".into(), nodes })
    }

    fn at(mut self, millis: u64, event: Event) -> Self {
        self.0.push(Stamped { time: start() + Duration::from_millis(millis), event });
        self
    }

    fn step(self, from: u64, to: u64, name: &str, detail: &str, changed: bool) -> Self {
        let took = Duration::from_millis(to - from);
        self.at(from, Event::StepStarted { step: name.into() })
            .at(to, Event::StepEnded { step: name.into(), detail: detail.into(), changed, took })
    }

    fn probes(mut self, from: u64) -> Self {
        for (node, ..) in NODES {
            self = self.at(from, Event::NodeConnecting { node: node.into() });
        }
        for (index, (node, ..)) in (1..).zip(NODES) {
            let took = Duration::from_millis(100 * index);
            self = self.at(from + 100 * index, Event::NodeConnected { node: node.into(), took });
        }
        for (index, (node, ..)) in (1..).zip(NODES) {
            let took = Duration::from_millis(200);
            self = self.at(from + 300 + 100 * index, Event::NodeProbed { node: node.into(), took });
        }
        self
    }

    fn planned(self, at: u64) -> Self {
        let change = |node: &str, play: &str, task: &str, why: &str| PlannedChange {
            node: node.into(),
            play: play.into(),
            task: task.into(),
            why: why.into(),
            preview: preview(task, why),
        };
        let mut changes = vec![
            change("controller-0", "etcd", "binary /usr/local/bin/etcd", "missing"),
            change(
                "controller-0",
                "etcd",
                "template /etc/systemd/system/etcd.service",
                "content differs",
            ),
            change(
                "controller-0",
                "etcd",
                "unit etcd",
                "restart: /etc/systemd/system/etcd.service changed",
            ),
        ];
        for worker in ["worker-0", "worker-1"] {
            changes.push(change(worker, "kubelet", "binary /usr/local/bin/kubelet", "missing"));
            changes.push(change(worker, "kubelet", "unit kubelet", "missing"));
        }
        self.at(
            at,
            Event::Planned { changes, unchanged: 40, judged_again: 0, left_out: Vec::new() },
        )
    }

    fn push(self, at: u64, node: &str, sent: u64) -> Self {
        self.at(
            at,
            Event::Pushing { node: node.into(), sent: sent * 1_000_000, total: 310_000_000 },
        )
    }

    fn play(self, at: u64, node: &str, play: &str, tasks: usize) -> Self {
        self.at(
            at,
            Event::PlayStarted {
                play: play.into(),
                node: node.into(),
                tasks,
                awaited: Awaited::Plan,
            },
        )
    }

    fn begin(self, at: u64, node: &str, play: &str, task: &str) -> Self {
        self.at(at, Event::TaskStarted { play: play.into(), node: node.into(), task: task.into() })
    }

    fn task(self, from: u64, to: u64, node: &str, play: &str, task: &str, changed: bool) -> Self {
        let took = Duration::from_millis(to - from);
        let ended = Event::TaskEnded {
            play: play.into(),
            node: node.into(),
            task: task.into(),
            changed,
            took,
        };
        self.begin(from, node, play, task).at(to, ended)
    }

    fn end(self, at: u64, node: &str, play: &str, outcome: PlayOutcome, millis: u64) -> Self {
        let took = Duration::from_millis(millis);
        self.at(at, Event::PlayEnded { play: play.into(), node: node.into(), outcome, took })
    }

    fn over(
        self,
        at: u64,
        ok: bool,
        cancelled: bool,
        changed: [usize; 3],
        failed: [Option<&str>; 3],
    ) -> Self {
        let nodes = NODES
            .iter()
            .zip(changed)
            .zip(failed)
            .map(|(((node, roles, address), changed), failed)| NodeSummary {
                turnover: false,
                node: (*node).into(),
                roles: (*roles).into(),
                address: (*address).into(),
                changed,
                unchanged: 13,
                failed: failed.map(Into::into),
                round_trips: 4,
                bytes_sent: 310_000_000,
                bytes_received: 40_000,
            })
            .collect();
        let log = Some(".labctl/sandbox/runs/2026-01-02T03-04-05Z.jsonl".into());
        self.at(
            at,
            Event::RunEnded(RunSummary {
                ok,
                cancelled,
                nodes,
                took: Duration::from_millis(at),
                log,
            }),
        )
    }
}

/// The first half of a run: everything is in progress.
pub(super) fn halfway() -> Story {
    Story::new("up")
        .step(0, 2100, "local nodes", "3 nodes running", true)
        .step(2100, 2400, "certificates", "20 issued", true)
        .step(2400, 2440, "bundle", "14 files for Kubernetes 1.34.2", false)
        .probes(2500)
        .at(
            3120,
            Event::Warning {
                node: Some("worker-1".into()),
                message: "its clock is 4 s behind the workstation's".into(),
            },
        )
        .planned(3150)
        .push(3200, "worker-0", 10)
        .push(3200, "worker-1", 12)
        .play(3300, "controller-0", "etcd", 3)
        .task(3300, 3900, "controller-0", "etcd", "binary /usr/local/bin/etcd", true)
        .push(3900, "worker-0", 120)
        .push(3900, "worker-1", 310)
        .task(3900, 4000, "controller-0", "etcd", "template /etc/systemd/system/etcd.service", true)
        .begin(4000, "controller-0", "etcd", "unit etcd")
}

/// A first run that succeeds.
pub(super) fn clean() -> Story {
    let etcd = Event::TaskEnded {
        play: "etcd".into(),
        node: "controller-0".into(),
        task: "unit etcd".into(),
        changed: true,
        took: Duration::from_millis(4200),
    };
    let mut story = halfway()
        .push(5000, "worker-0", 310)
        .play(5000, "worker-0", "kubelet", 2)
        .play(5000, "worker-1", "kubelet", 2)
        .at(8200, etcd)
        .end(8200, "controller-0", "etcd", PlayOutcome::Done, 4900);
    for (worker, from) in [("worker-0", 5000), ("worker-1", 5100)] {
        story = story
            .task(from, from + 400, worker, "kubelet", "binary /usr/local/bin/kubelet", true)
            .task(from + 400, from + 2400, worker, "kubelet", "unit kubelet", true)
            .task(from + 2400, from + 2460, worker, "kubelet", "wait kubelet-healthy", false)
            .end(from + 2460, worker, "kubelet", PlayOutcome::Done, 2460);
    }
    let mut story = story.over(8300, true, false, [3, 2, 2], [None; 3]);
    // Recorded node by node, replayed in the order of time.
    story.0.sort_by_key(|stamped| stamped.time);
    story
}

/// A failed task on one worker.
pub(super) fn failed() -> Story {
    let failure = Failure {
        node: "worker-1".into(),
        play: "kubelet".into(),
        task: "unit kubelet".into(),
        command: Some("systemctl restart kubelet.service".into()),
        code: Some(1),
        reason: "the unit did not become active within 30s".into(),
        stderr: vec![
            "Job for kubelet.service failed.".into(),
            "\u{1b}[31mSee the journal.\u{1b}[0m".into(),
        ],
        journal: vec!["kubelet[812]: running with swap on is not supported".into()],
        help: Some("turn swap off on worker-1 (swapoff -a), then run `labctl up` again".into()),
    };
    halfway()
        .play(5000, "worker-1", "kubelet", 2)
        .task(5000, 5400, "worker-1", "kubelet", "binary /usr/local/bin/kubelet", true)
        .begin(5400, "worker-1", "kubelet", "unit kubelet")
        .at(9400, Event::TaskFailed(failure))
        .end(9400, "worker-1", "kubelet", PlayOutcome::Failed, 4400)
        .end(9500, "controller-0", "etcd", PlayOutcome::Done, 6200)
        .end(9500, "worker-0", "kubelet", PlayOutcome::Skipped, 0)
        .over(9600, false, false, [3, 0, 1], [None, None, Some("unit kubelet")])
}

/// A run that the user stops.
pub(super) fn cancelled() -> Story {
    halfway()
        .at(4500, Event::Cancelling)
        .end(8200, "controller-0", "etcd", PlayOutcome::Done, 4900)
        .end(8200, "worker-0", "kubelet", PlayOutcome::Skipped, 0)
        .end(8200, "worker-1", "kubelet", PlayOutcome::Skipped, 0)
        .over(8300, false, true, [3, 0, 0], [None; 3])
}

/// A run that finds nothing to change.
pub(super) fn nothing() -> Story {
    Story::new("up")
        .step(0, 40, "certificates", "20 valid", false)
        .probes(50)
        .at(
            660,
            Event::Planned {
                changes: Vec::new(),
                unchanged: 39,
                judged_again: 0,
                left_out: Vec::new(),
            },
        )
        .over(670, true, false, [0; 3], [None; 3])
}

/// A run in which a worker joins.
pub(super) fn grown() -> Story {
    let mut story = Story::new("node add")
        .probes(100)
        .play(600, "controller-0", "prepare", 1)
        .play(600, "worker-0", "prepare", 1)
        .play(600, "worker-1", "prepare", 2)
        .task(610, 640, "worker-0", "prepare", "name of worker-1", true)
        .task(620, 650, "controller-0", "prepare", "name of worker-1", true)
        .task(620, 660, "controller-0", "prepare", "route 10.200.1.0/24 via 10.240.0.21", true)
        .task(620, 660, "worker-1", "prepare", "name of worker-0", true)
        .end(700, "controller-0", "prepare", PlayOutcome::Done, 100)
        .end(700, "worker-0", "prepare", PlayOutcome::Done, 100)
        .end(700, "worker-1", "prepare", PlayOutcome::Done, 100)
        .over(900, true, false, [2, 1, 1], [None, None, None]);
    if let Some(Event::RunEnded(summary)) = story.0.last_mut().map(|last| &mut last.event) {
        summary.nodes[2].turnover = true;
    }
    story
}

/// A smoke test with a failing check.
pub(super) fn smoke() -> Story {
    let check = |name: &str, failure: Option<&str>, millis: u64| Event::Check {
        name: name.into(),
        failure: failure.map(Into::into),
        took: Duration::from_millis(millis),
    };
    let end = RunSummary {
        ok: false,
        cancelled: false,
        nodes: Vec::new(),
        took: Duration::from_secs(13),
        log: None,
    };
    Story::new("smoke")
        .at(1200, check("every node is ready", None, 1200))
        .at(
            13_000,
            check(
                "a pod resolves names",
                Some("no answer from 10.32.0.10\nis CoreDNS running?"),
                11_800,
            ),
        )
        .at(13_000, Event::RunEnded(end))
}
