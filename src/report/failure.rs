//! A failed task, with what the user needs to continue: the place, the command, its output, the
//! help.

use std::path::Path;

use super::stream::Paint;
use super::text::{clean, count, pad};
use crate::event::Failure;

/// Maximum number of failures to show in full; more would scroll the first ones off the screen.
const IN_FULL: usize = 5;
/// Maximum number of lines of a command: a long script would scroll the error off the screen.
const COMMAND_LINES: usize = 20;
const LABEL: usize = 8;

/// Returns one line, printed when the failure happens.
pub(super) fn line(failure: &Failure) -> String {
    format!("{}: {}", place(failure), cause(failure))
}

/// Returns all failures of a run in full, with nodes that failed in the same way grouped.
pub(super) fn blocks(failures: &[Failure], log: Option<&Path>, paint: Paint) -> Vec<String> {
    let groups = alike(failures);
    let mut lines = Vec::new();
    for group in groups.iter().take(IN_FULL) {
        lines.extend(block(group, paint));
        lines.push(String::new());
    }
    for group in groups.iter().skip(IN_FULL) {
        lines.push(format!("{} {}", paint.bad("✗"), line(group[0])));
    }
    if groups.len() > IN_FULL {
        lines.push(String::new());
    }
    if let Some(log) = log.filter(|_| !failures.is_empty()) {
        lines.push(format!("Full log of the run: {}", log.display()));
    }
    lines
}

/// Groups failures that differ only in the node, in the order of the first of each.
fn alike(failures: &[Failure]) -> Vec<Vec<&Failure>> {
    let mut groups: Vec<Vec<&Failure>> = Vec::new();
    for failure in failures {
        let same = |other: &Failure| {
            let key = |f: &Failure| {
                (f.play.clone(), f.task.clone(), f.command.clone(), f.code, f.reason.clone())
            };
            key(other) == key(failure)
                && other.stderr == failure.stderr
                && other.journal == failure.journal
        };
        match groups.iter_mut().find(|group| same(group[0])) {
            Some(group) => group.push(failure),
            None => groups.push(vec![failure]),
        }
    }
    groups
}

fn block(group: &[&Failure], paint: Paint) -> Vec<String> {
    let failure = group[0];
    let nodes: Vec<&str> = group.iter().map(|failure| failure.node.as_str()).collect();
    let mut lines = vec![format!("{} {}", paint.bad("✗"), paint.strong(&nodes.join(", ")))];
    let mut field = |name: &str, text: &str| {
        lines.push(format!("  {}  {text}", paint.faint(&pad(name, LABEL))))
    };

    if !failure.play.is_empty() {
        field("play", &clean(&failure.play));
    }
    field("task", &clean(&failure.task));
    for (index, reason) in failure.reason.lines().enumerate() {
        field(if index == 0 { "reason" } else { "" }, &clean(reason));
    }
    if let Some(command) = &failure.command {
        for (index, line) in command.lines().take(COMMAND_LINES).enumerate() {
            field(if index == 0 { "command" } else { "" }, &clean(line));
        }
        match command.lines().count().saturating_sub(COMMAND_LINES) {
            0 => {}
            more => {
                field("", &paint.faint(&format!("({} more in the run log)", count(more, "line"))))
            }
        }
    }
    if let Some(code) = failure.code {
        field("exit", &code.to_string());
    }
    for (name, output) in [("stderr", &failure.stderr), ("journal", &failure.journal)] {
        for (index, line) in output.iter().enumerate() {
            field(
                if index == 0 { name } else { "" },
                &format!("{} {}", paint.faint("│"), clean(line)),
            );
        }
    }
    if let Some(help) = &failure.help {
        for (index, line) in help.lines().enumerate() {
            field(if index == 0 { "help" } else { "" }, &paint.active(&clean(line)));
        }
    }
    lines
}

/// Returns `worker-1 kubelet: unit kubelet`, or `worker-1: connecting` before any play.
fn place(failure: &Failure) -> String {
    let task = clean(&failure.task);
    if failure.play.is_empty() {
        format!("{}: {task}", failure.node)
    } else {
        format!("{} {}: {task}", failure.node, failure.play)
    }
}

/// Returns the reason in its shortest form.
fn cause(failure: &Failure) -> String {
    let reason = failure.reason.lines().next().map(clean).unwrap_or_default();
    match failure.code {
        _ if !reason.is_empty() => reason,
        Some(code) => format!("exit code {code}"),
        None => "failed".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_long_script_is_shown() {
        let script: Vec<String> = (1..=30).map(|number| format!("step {number}")).collect();
        let failure = Failure {
            node: "a".into(),
            play: "record".into(),
            task: "undo".into(),
            command: Some(script.join("\n")),
            code: Some(1),
            reason: "its check does not pass".into(),
            stderr: vec!["it stays".into()],
            journal: Vec::new(),
            help: None,
        };
        let text = blocks(&[failure], None, Paint::new(false)).join("\n");
        assert!(text.contains("step 20\n") && !text.contains("step 21"), "{text}");
        assert!(text.contains("(10 lines more in the run log)"), "{text}");
        assert!(text.contains("│ it stays"), "{text}");
    }
}
