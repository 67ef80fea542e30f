//! The live display of a run as text: takes events and returns the lines to draw.
//!
//! It is separate from the drawing so that tests can check it at any width and at any moment.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::stream::Paint;
use super::text::{between, bytes_of, clean, elapsed, fit, pad, widest};
use crate::event::{Event, Failure, PlayOutcome, Stamped};

/// Maximum number of lines for nodes, however tall the terminal is.
const MOST_NODE_LINES: usize = 24;
/// Longer names of nodes and steps are truncated to leave space for what they do.
const WIDEST_NAME: usize = 24;
const BAR: usize = 20;
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The state of the display.
#[derive(Debug, Default)]
pub(super) struct View {
    title: String,
    started: Option<SystemTime>,
    stopping: bool,
    planned: bool,
    steps: Vec<Step>,
    nodes: Vec<NodeView>,
    plays: Vec<PlayView>,
}

#[derive(Debug)]
struct Step {
    name: String,
    progress: Option<(u64, u64)>,
    detail: String,
    since: SystemTime,
}

#[derive(Debug)]
struct NodeView {
    name: String,
    contact: Contact,
    since: SystemTime,
    running: Vec<RunningTask>,
    push: Option<Push>,
    failed: Option<String>,
    /// Whether a play ran here, to tell "done" from "nothing to do".
    worked: bool,
}

/// How far the workstation is with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Contact {
    /// Not contacted yet; has no line.
    None,
    Connecting,
    Probing,
    Probed,
}

#[derive(Debug)]
struct RunningTask {
    play: String,
    task: Option<String>,
    since: SystemTime,
}

#[derive(Debug)]
struct PlayView {
    name: String,
    /// The nodes on which it has not finished yet.
    open: BTreeSet<String>,
    skipped: bool,
}

/// Bytes being sent to a node, with samples of the last seconds to compute the speed.
#[derive(Debug)]
struct Push {
    sent: u64,
    total: u64,
    samples: Vec<(SystemTime, u64)>,
}

impl Push {
    const WINDOW: Duration = Duration::from_secs(3);

    fn sample(&mut self, time: SystemTime, sent: u64, total: u64) {
        (self.sent, self.total) = (sent, total);
        self.samples.retain(|(moment, _)| between(*moment, time) <= Self::WINDOW);
        self.samples.push((time, sent));
    }

    /// Returns bytes per second over the window; `None` until there are enough samples.
    fn speed(&self) -> Option<u64> {
        let (from, before) = self.samples.first()?;
        let (to, after) = self.samples.last()?;
        let span = between(*from, *to).as_millis().try_into().unwrap_or(u64::MAX);
        (span >= 200).then(|| after.saturating_sub(*before).saturating_mul(1000) / span)
    }

    fn line(&self) -> String {
        let amount = bytes_of(self.sent, self.total);
        match self.speed() {
            Some(speed) => format!("pushing {amount} at {}/s", super::text::bytes(speed)),
            None => format!("pushing {amount}"),
        }
    }
}

impl View {
    /// Processes one event.
    pub fn note(&mut self, stamped: &Stamped) {
        let time = stamped.time;
        match &stamped.event {
            Event::RunStarted { verb, lab, nodes } => {
                self.title = format!("{verb} {lab}");
                self.started = Some(time);
                self.nodes = nodes.iter().map(|name| NodeView::new(name, time)).collect();
            }
            Event::StepStarted { step } => {
                self.steps.push(Step {
                    name: step.clone(),
                    progress: None,
                    detail: String::new(),
                    since: time,
                });
            }
            Event::StepProgress { step, done, total, detail } => {
                if let Some(step) = self.steps.iter_mut().find(|running| running.name == *step) {
                    step.progress = (*total > 0).then_some((*done, *total));
                    step.detail = clean(detail);
                }
            }
            Event::StepEnded { step, .. } => self.steps.retain(|running| running.name != *step),
            Event::NodeConnecting { node } => self.contact(node, Contact::Connecting, time),
            Event::NodeConnected { node, .. } => self.contact(node, Contact::Probing, time),
            Event::NodeProbed { node, .. } => self.contact(node, Contact::Probed, time),
            Event::Planned { changes, .. } => {
                self.planned = true;
                for change in changes {
                    self.play(&change.play).open.insert(change.node.clone());
                }
            }
            Event::Pushing { node, sent, total } => {
                let node = self.node(node, time);
                if sent >= total {
                    node.push = None;
                } else {
                    let push = node.push.get_or_insert(Push {
                        sent: 0,
                        total: *total,
                        samples: Vec::new(),
                    });
                    push.sample(time, *sent, *total);
                }
            }
            Event::PlayStarted { play, node, .. } => {
                self.play(play).open.insert(node.clone());
                let node = self.node(node, time);
                node.worked = true;
                node.running.push(RunningTask { play: play.clone(), task: None, since: time });
            }
            Event::TaskStarted { play, node, task } => self.task_started(play, node, task, time),
            Event::TaskFailed(failure) => self.failed(failure, time),
            Event::PlayEnded { play, node, outcome, .. } => {
                let progress = self.play(play);
                progress.open.remove(node);
                progress.skipped |= *outcome != PlayOutcome::Done;
                let node = self.node(node, time);
                node.running.retain(|running| running.play != *play);
            }
            Event::Cancelling => self.stopping = true,
            Event::Preparation(_)
            | Event::Delivered { .. }
            | Event::TaskEnded { .. }
            | Event::Check { .. }
            | Event::Warning { .. }
            | Event::RunEnded(_) => {}
        }
    }

    fn contact(&mut self, node: &str, contact: Contact, time: SystemTime) {
        let node = self.node(node, time);
        node.contact = contact;
        node.since = time;
    }

    fn task_started(&mut self, play: &str, node: &str, task: &str, time: SystemTime) {
        let running = RunningTask { play: play.into(), task: Some(clean(task)), since: time };
        let node = self.node(node, time);
        // Show the play with the latest event: move it to the end.
        node.running.retain(|other| other.play != play);
        node.running.push(running);
    }

    fn failed(&mut self, failure: &Failure, time: SystemTime) {
        let node = self.node(&failure.node, time);
        node.running.clear();
        node.push = None;
        node.failed = Some(clean(&failure.task));
    }

    /// Returns a node by name. A node that the run did not announce gets a line too.
    fn node(&mut self, name: &str, time: SystemTime) -> &mut NodeView {
        let index = match self.nodes.iter().position(|node| node.name == name) {
            Some(index) => index,
            None => {
                self.nodes.push(NodeView::new(name, time));
                self.nodes.len() - 1
            }
        };
        let node = &mut self.nodes[index];
        node.contact = node.contact.max(Contact::Connecting);
        node
    }

    fn play(&mut self, name: &str) -> &mut PlayView {
        let index = match self.plays.iter().position(|play| play.name == name) {
            Some(index) => index,
            None => {
                self.plays.push(PlayView {
                    name: name.into(),
                    open: BTreeSet::new(),
                    skipped: false,
                });
                self.plays.len() - 1
            }
        };
        &mut self.plays[index]
    }

    /// Returns the lines to draw at `now` on a terminal of `width` columns and `height` rows; none
    /// is wider.
    pub fn frame(&self, now: SystemTime, width: usize, height: usize, paint: Paint) -> Vec<String> {
        let shown: Vec<&NodeView> =
            self.nodes.iter().filter(|node| node.contact > Contact::None).collect();
        // Leave space for the blank line, the steps, the line for the whole run and the cursor's
        // line.
        let room = height.saturating_sub(3 + self.steps.len()).clamp(1, MOST_NODE_LINES);
        let names = self
            .steps
            .iter()
            .map(|step| step.name.as_str())
            .chain(shown.iter().map(|node| node.name.as_str()));
        let column = widest(names).min(WIDEST_NAME);

        let mut lines = vec![String::new()];
        lines.extend(self.steps.iter().map(|step| step.line(now, column, paint)));
        if shown.len() <= room {
            lines.extend(shown.iter().map(|node| self.node_line(node, now, column, paint)));
        } else {
            lines.extend(self.crowd(&shown, room, now, column, paint));
        }
        lines.push(self.whole(now, width, paint));
        // Leave one column free, because some terminals wrap after the last one.
        lines.iter().map(|line| fit(line, width.saturating_sub(1))).collect()
    }

    /// Returns lines for more nodes than fit: the active ones in inventory order, and a count of
    /// the rest.
    fn crowd(
        &self,
        shown: &[&NodeView],
        room: usize,
        now: SystemTime,
        column: usize,
        paint: Paint,
    ) -> Vec<String> {
        let rank = |node: &NodeView| match self.state(node) {
            NodeState::Failed(_) => 0,
            NodeState::Running(_) => 1,
            NodeState::Pushing(_) => 2,
            NodeState::Contact(_) => 3,
            NodeState::Waiting => 4,
            NodeState::Stopped | NodeState::Done | NodeState::Unchanged => 5,
        };
        let mut order: Vec<usize> = (0..shown.len()).collect();
        order.sort_by_key(|index| rank(shown[*index]));
        let (mut front, rest) = (order[..room - 1].to_vec(), &order[room - 1..]);
        front.sort_unstable();

        let mut lines: Vec<String> =
            front.iter().map(|index| self.node_line(shown[*index], now, column, paint)).collect();
        let tally = |name: &str, ranks: std::ops::RangeInclusive<u8>| {
            let number = rest.iter().filter(|index| ranks.contains(&rank(shown[**index]))).count();
            (number > 0).then(|| format!("{number} {name}"))
        };
        let parts: Vec<String> = [
            tally("failed", 0..=0),
            tally("busy", 1..=3),
            tally("waiting", 4..=4),
            tally("done", 5..=5),
        ]
        .into_iter()
        .flatten()
        .collect();
        lines.push(paint.faint(&format!("  … {} more nodes: {}", rest.len(), parts.join(", "))));
        lines
    }

    /// Returns the line for the whole run.
    fn whole(&self, now: SystemTime, width: usize, paint: Paint) -> String {
        let run = between(self.started.unwrap_or(now), now);
        let turn = usize::try_from(run.as_millis() / 100).unwrap_or(0) % SPINNER.len();
        let mut line = format!("  {} {}", paint.active(SPINNER[turn]), paint.strong(&self.title));
        if self.stopping {
            line.push_str(&format!("  {}", paint.warn("stopping")));
        }
        if !self.plays.is_empty() {
            let total = self.plays.len();
            let done =
                self.plays.iter().filter(|play| play.open.is_empty() && !play.skipped).count();
            // A narrow terminal has no space for a bar.
            if width >= 72 {
                let filled = done * BAR / total;
                let (full, empty) = ("━".repeat(filled), "─".repeat(BAR - filled));
                line.push_str(&format!("  {}{}", paint.active(&full), paint.faint(&empty)));
            }
            line.push_str(&format!("  {done}/{total} plays"));
        }
        format!("{line}  {}", paint.faint(&elapsed(run)))
    }

    fn node_line(&self, node: &NodeView, now: SystemTime, column: usize, paint: Paint) -> String {
        let state = self.state(node);
        let (mark, text, since) = match &state {
            NodeState::Contact(word) => (paint.active("○"), (*word).to_string(), Some(node.since)),
            NodeState::Running(running) => {
                let mut text = match &running.task {
                    Some(task) => format!("{} {} {task}", running.play, paint.faint("›")),
                    None => running.play.clone(),
                };
                if node.running.len() > 1 {
                    text.push_str(&paint.faint(&format!("  +{} more", node.running.len() - 1)));
                }
                if let Some(push) = &node.push {
                    text.push_str(&paint.faint(&format!("  {}", push.line())));
                }
                (paint.active("●"), text, Some(running.since))
            }
            NodeState::Pushing(push) => (paint.active("↑"), push.line(), None),
            NodeState::Waiting => (paint.faint("·"), paint.faint("waiting"), None),
            NodeState::Stopped => (paint.faint("·"), paint.faint("stopped"), None),
            NodeState::Done => (paint.good("✓"), paint.faint("done"), None),
            NodeState::Unchanged => (paint.good("✓"), paint.faint("nothing to do"), None),
            NodeState::Failed(task) => {
                (paint.bad("✗"), format!("{}  {}", paint.bad("failed"), task), None)
            }
        };
        // Show the age only of what takes long.
        let age = since.map(|since| between(since, now)).filter(|age| age.as_secs() >= 2);
        let age = age.map(|age| format!("  {}", paint.faint(&elapsed(age)))).unwrap_or_default();
        format!("  {mark} {}  {text}{age}", pad(&fit(&node.name, column), column))
    }

    fn state<'a>(&'a self, node: &'a NodeView) -> NodeState<'a> {
        if let Some(task) = &node.failed {
            return NodeState::Failed(task);
        }
        if let Some(running) = node.running.last() {
            return NodeState::Running(running);
        }
        if let Some(push) = &node.push {
            return NodeState::Pushing(push);
        }
        if node.contact < Contact::Probed {
            return NodeState::Contact(if node.contact == Contact::Probing {
                "probing"
            } else {
                "connecting"
            });
        }
        if !self.planned {
            return NodeState::Contact("probed");
        }
        if self.plays.iter().any(|play| play.open.contains(&node.name)) {
            return if self.stopping { NodeState::Stopped } else { NodeState::Waiting };
        }
        if node.worked { NodeState::Done } else { NodeState::Unchanged }
    }
}

/// What a node's line shows, in order of urgency.
enum NodeState<'a> {
    Contact(&'static str),
    Running(&'a RunningTask),
    Pushing(&'a Push),
    Waiting,
    Stopped,
    Done,
    Unchanged,
    Failed(&'a str),
}

impl NodeView {
    fn new(name: &str, time: SystemTime) -> Self {
        Self {
            name: name.into(),
            contact: Contact::None,
            since: time,
            running: Vec::new(),
            push: None,
            failed: None,
            worked: false,
        }
    }
}

impl Step {
    /// A total of at least this is bytes: no step counts a million of anything else.
    const BYTES: u64 = 1_000_000;

    fn line(&self, now: SystemTime, column: usize, paint: Paint) -> String {
        let mut line = format!("  {} {}", paint.active("●"), pad(&fit(&self.name, column), column));
        match self.progress {
            Some((done, total)) if total >= Self::BYTES => {
                line.push_str(&format!("  {}", bytes_of(done, total)))
            }
            Some((done, total)) => line.push_str(&format!("  {done}/{total}")),
            None => {}
        }
        if !self.detail.is_empty() {
            line.push_str(&format!("  {}", self.detail));
        }
        let age = between(self.since, now);
        if age.as_secs() >= 2 {
            line.push_str(&format!("  {}", paint.faint(&elapsed(age))));
        }
        line
    }
}
