//! How a lab is, on one screen: what is wrong first, then the nodes, then the lab as a whole.

use super::stream::Paint;
use super::text::{bytes, clean, count, fit, pad, pad_left, widest};
use crate::status::{ApiPath, Deviation, Finding, LabStatus, NodeStatus};

/// The width of lines where nobody limits it.
const WIDEST: usize = 120;
/// The width of the names of facts about the lab.
const LABEL: usize = 8;

/// What is said of each node.
pub(super) const COLUMNS: [&str; 8] =
    ["node", "roles", "ready", "version", "units", "cert", "disk", "up"];

/// What a part of a line means, for whoever colours it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Text.
    Plain,
    /// Success.
    Good,
    /// Failure.
    Bad,
    /// Needs attention.
    Warn,
    /// For the user to do.
    Active,
    /// A name.
    Strong,
    /// Secondary details.
    Faint,
}

/// A line in parts.
pub(super) type Toned = Vec<(Tone, String)>;

/// Everything about the lab, as lines of a terminal.
pub(super) fn screen(status: &LabStatus, width: usize, paint: Paint) -> Vec<String> {
    let part = |(tone, text): (Tone, String)| match tone {
        Tone::Plain => text,
        Tone::Good => paint.good(&text),
        Tone::Bad => paint.bad(&text),
        Tone::Warn => paint.warn(&text),
        Tone::Active => paint.active(&text),
        Tone::Strong => paint.strong(&text),
        Tone::Faint => paint.faint(&text),
    };
    let line = |line: Toned| line.into_iter().map(part).collect::<String>();
    toned(status, width).into_iter().map(line).collect()
}

/// Everything about the lab.
pub(super) fn toned(status: &LabStatus, width: usize) -> Vec<Toned> {
    let width = width.clamp(40, WIDEST);
    let mut lines = vec![head(status, width)];
    for finding in &status.findings {
        lines.push(Toned::new());
        lines.extend(told(finding, width));
    }
    lines.push(Toned::new());
    lines.extend(nodes(&status.nodes, width));
    lines.push(Toned::new());
    lines.extend(facts(status, width));
    lines
}

/// The lab's name, and the verdict.
fn head(status: &LabStatus, width: usize) -> Toned {
    let LabStatus { lab, kubernetes, api_url, .. } = status;
    let (tone, verdict) = match status.findings.len() {
        0 => (Tone::Good, "well".to_owned()),
        number => (Tone::Bad, format!("{} wrong", count(number, "thing"))),
    };
    let used = widest([lab.as_str()]) + widest([verdict.as_str()]) + 4;
    let rest = format!("Kubernetes {kubernetes}, {api_url}");
    vec![
        (Tone::Strong, lab.clone()),
        (Tone::Plain, ": ".to_owned()),
        (tone, verdict),
        (Tone::Faint, format!("  {}", fit(&rest, width.saturating_sub(used)))),
    ]
}

/// What is wrong, wrapped; and the command that mends it, on a line of its own, whole.
fn told(finding: &Finding, width: usize) -> Vec<Toned> {
    let what = match &finding.node {
        Some(node) => format!("{node}: {}", clean(&finding.what)),
        None => clean(&finding.what),
    };
    let mark = |at| if at == 0 { "✗ " } else { "  " };
    let what = wrapped(&what, width.saturating_sub(2)).into_iter().enumerate();
    let mut lines: Vec<Toned> = what
        .map(|(at, line)| vec![(Tone::Bad, mark(at).to_owned()), (Tone::Plain, line)])
        .collect();
    lines.push(vec![(Tone::Active, format!("    {}", clean(&finding.mend)))]);
    let hint = finding.hint.as_deref().map(clean).unwrap_or_default();
    let hints = wrapped(&hint, width.saturating_sub(4)).into_iter();
    lines.extend(hints.map(|line| vec![(Tone::Faint, format!("    {line}"))]));
    lines
}

/// A row for each node.
fn nodes(nodes: &[NodeStatus], width: usize) -> Vec<Toned> {
    let mut rows: Vec<[String; 8]> = vec![COLUMNS.map(str::to_owned)];
    rows.extend(nodes.iter().map(cells));
    let widths: Vec<usize> =
        (0..8).map(|column| widest(rows.iter().map(|row| row[column].as_str()))).collect();
    let line = |row: &[String; 8]| {
        let cell = |(at, text): (usize, &String)| match at {
            0..4 => pad(text, widths[at]),
            _ => pad_left(text, widths[at]),
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ")
    };
    let mut lines = vec![vec![(Tone::Faint, fit(&format!("  {}", line(&rows[0])), width))]];
    for (node, row) in nodes.iter().zip(&rows[1..]) {
        let (tone, mark) = match (node.reached, node.findings) {
            (true, 0) => (Tone::Good, "● "),
            (true, _) => (Tone::Warn, "● "),
            (false, _) => (Tone::Bad, "○ "),
        };
        let row = fit(&line(row), width.saturating_sub(2));
        lines.push(vec![(tone, mark.to_owned()), (Tone::Plain, row)]);
    }
    lines
}

/// A node's row.
pub(super) fn cells(node: &NodeStatus) -> [String; 8] {
    let none = || "-".to_owned();
    let (active, wanted) = node.units;
    [
        node.name.clone(),
        node.roles.join(","),
        node.ready.map_or_else(none, |ready| if ready { "yes" } else { "no" }.to_owned()),
        node.version.clone().unwrap_or_else(none),
        if node.reached { format!("{active}/{wanted}") } else { none() },
        node.certificate_days.map_or_else(none, |days| format!("{days}d")),
        node.disk_percent.map_or_else(none, |percent| format!("{percent}%")),
        node.up_seconds.map_or_else(none, up),
    ]
}

/// How long a node has been up, in two units at most.
fn up(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, ..) => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

/// What is so of the lab as a whole, with its label.
pub(super) fn whole(status: &LabStatus) -> [(&'static str, String); 4] {
    let pods = status.pods.as_ref().map_or_else(
        || "unknown: no API server answered".to_owned(),
        |pods| format!("{} of {} run", pods.running, pods.all),
    );
    let drift = match (&status.drift, status.drift.count()) {
        (Deviation::Unknown(why), _) => format!("unknown: {}", clean(why)),
        (_, Some((tasks, nodes))) if tasks > 0 => {
            format!("{} on {}", count(tasks, "task"), count(nodes, "node"))
        }
        _ => "none: as the inventory says".to_owned(),
    };
    let etcd = etcd(status);
    let api = status.api.iter().map(path).collect::<Vec<_>>().join("; ");
    [("etcd", etcd), ("API", api), ("pods", pods), ("drift", drift)]
}

fn facts(status: &LabStatus, width: usize) -> Vec<Toned> {
    let mut lines = Vec::new();
    for (label, text) in whole(status) {
        for (at, line) in wrapped(&text, width.saturating_sub(LABEL)).into_iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            lines.push(vec![(Tone::Faint, pad(label, LABEL)), (Tone::Plain, line)]);
        }
    }
    lines
}

fn etcd(status: &LabStatus) -> String {
    let etcd = &status.etcd;
    if etcd.members.is_empty() {
        return "none".to_owned();
    }
    let members = etcd.members.iter().map(|member| {
        let leads = if etcd.leader.as_ref() == Some(&member.name) { " (leader)" } else { "" };
        let silent = if member.healthy { "" } else { " (no answer)" };
        format!("{}{leads}{silent}", member.name)
    });
    let members: Vec<String> = members.collect();
    let size = etcd.members.iter().filter_map(|member| member.size).max();
    let size = size.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
    let version = etcd.version.as_deref().unwrap_or("unknown");
    format!("{version}{size}: {}", members.join(", "))
}

fn path(path: &ApiPath) -> String {
    let all = path.reached_by.len() + path.missed_by.len();
    let which = if path.endpoint { " (endpoint)" } else { "" };
    match (all, path.reached_by.len()) {
        (0, _) => format!("{}{which} not asked", path.name),
        (_, reached) => format!("{}{which} from {reached} of {}", path.name, count(all, "node")),
    }
}

/// Breaks a text into lines at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if widest([line.as_str()]) + 1 + widest([word]) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::status::{EtcdStatus, FORMAT, FaultKind, MemberStatus, PodStatus, PodsStatus};

    fn node(name: &str, roles: &str, ready: Option<bool>) -> NodeStatus {
        let runs = roles != "loadbalancer";
        NodeStatus {
            name: name.to_owned(),
            address: "10.242.0.10".to_owned(),
            roles: roles.split(',').map(str::to_owned).collect(),
            reached: true,
            ready,
            version: runs.then(|| "1.34.4".to_owned()),
            units: if runs { (6, 6) } else { (1, 1) },
            certificate_days: runs.then_some(364),
            disk_percent: Some(39),
            up_seconds: Some(7_380),
            findings: 0,
        }
    }

    /// A lab of four nodes that is well.
    pub(in crate::report) fn well() -> LabStatus {
        let controllers = ["controller-0", "controller-1"];
        let path = |name: &str, endpoint, nodes: &[&str]| ApiPath {
            name: name.to_owned(),
            endpoint,
            reached_by: nodes.iter().map(|node| (*node).to_owned()).collect(),
            missed_by: Vec::new(),
        };
        let member = |name: &&str| MemberStatus {
            name: (*name).to_owned(),
            healthy: true,
            size: Some(2_300_000),
        };
        LabStatus {
            format: FORMAT,
            lab: "demo".to_owned(),
            kubernetes: "1.34.4".to_owned(),
            api_url: "https://10.242.0.5:6443".to_owned(),
            well: true,
            findings: Vec::new(),
            nodes: vec![
                node("lb-0", "loadbalancer", None),
                node("controller-0", "controller", None),
                node("controller-1", "controller", None),
                node("worker-0", "worker", Some(true)),
            ],
            etcd: EtcdStatus {
                version: Some("3.6.6".to_owned()),
                leader: Some("controller-1".to_owned()),
                members: controllers.iter().map(member).collect(),
            },
            api: vec![
                path("controller-0", false, &["lb-0", "controller-0", "controller-1"]),
                path("controller-1", false, &["lb-0", "controller-0", "controller-1"]),
                path("lb-0", true, &["lb-0", "controller-0", "controller-1", "worker-0"]),
            ],
            pods: Some(PodsStatus { running: 4, all: 4, others: Vec::new() }),
            drift: Deviation::Changes(Vec::new()),
        }
    }

    fn finding(kind: FaultKind, node: Option<&str>, what: &str, mend: &str) -> Finding {
        let node = node.map(str::to_owned);
        Finding { kind, node, what: what.to_owned(), mend: mend.to_owned(), hint: None }
    }

    /// The same with a worker that is gone, a unit that failed, and a pod that does not run.
    pub(in crate::report) fn ill() -> LabStatus {
        let mut status = well();
        status.well = false;
        let gone = "cannot be reached: connect to 10.242.0.20:22: no answer within 4 s";
        let unit = "etcd.service has failed (exit-code)";
        let pod = "pod default/web-5d9c7b-<x> does not run on worker-0: CrashLoopBackOff";
        let describe = "labctl kubectl demo.yaml -- -n default describe pod web-5d9c7b";
        status.findings = vec![
            finding(
                FaultKind::Unreachable,
                Some("worker-0"),
                gone,
                "labctl ssh demo.yaml worker-0",
            ),
            finding(FaultKind::Unit, Some("controller-0"), unit, "labctl up demo.yaml"),
            finding(FaultKind::Pod, None, pod, describe),
        ];
        status.findings[0].hint = Some(
            "start the machine; if it is gone for good: labctl node remove demo.yaml worker-0"
                .to_owned(),
        );
        status.nodes[1].units = (5, 6);
        status.nodes[1].findings = 1;
        let gone = NodeStatus {
            reached: false,
            ready: Some(false),
            units: (0, 4),
            certificate_days: None,
            disk_percent: None,
            up_seconds: None,
            findings: 1,
            ..node("worker-0", "worker", None)
        };
        status.nodes[3] = gone;
        status.etcd.members[0].healthy = false;
        let missed = status.api[0].reached_by.split_off(0);
        status.api[0].missed_by = missed;
        let pod = PodStatus {
            namespace: "default".to_owned(),
            name: "web-5d9c7b".to_owned(),
            node: Some("worker-0".to_owned()),
            reason: "CrashLoopBackOff".to_owned(),
        };
        status.pods = Some(PodsStatus { running: 3, all: 4, others: vec![pod] });
        status.drift = Deviation::Unknown("there is no bundle in bundle".to_owned());
        status
    }

    fn drawn(status: &LabStatus, width: usize, paint: Paint) -> String {
        screen(status, width, paint).join("\n")
    }

    #[test]
    fn a_lab_that_is_well_fits_one_screen() {
        let plain = Paint::new(false);
        insta::assert_snapshot!("status_well_80", drawn(&well(), 80, plain));
        insta::assert_snapshot!("status_well_120", drawn(&well(), 120, plain));
        assert_eq!(drawn(&well(), usize::MAX, plain), drawn(&well(), 120, plain), "a pipe");
    }

    #[test]
    fn what_is_wrong_comes_first_with_the_command_that_mends_it() {
        for width in [80, 120] {
            let drawn = drawn(&ill(), width, Paint::new(false));
            let widest = widest(drawn.lines());
            assert!(widest <= width, "{widest} columns:\n{drawn}");
            insta::assert_snapshot!(format!("status_ill_{width}"), drawn);
        }
        let coloured = drawn(&ill(), 80, Paint::new(true));
        let plain = console::strip_ansi_codes(&coloured);
        assert_eq!(plain, drawn(&ill(), 80, Paint::new(false)), "colours change no text");
        assert_ne!(plain, coloured);
    }

    #[test]
    fn how_long_a_node_has_been_up_has_two_units_at_most() {
        let said = [9, 61, 3_600, 7_380, 90_000].map(up);
        assert_eq!(said, ["9s", "1m", "1h 00m", "2h 03m", "1d 01h"]);
    }
}
