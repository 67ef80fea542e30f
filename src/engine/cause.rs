//! Finds the line in a journal with the reason why a program exited.

/// Number of journal lines that a report shows, from the end.
const SHOWN: usize = 15;

/// How likely a line is the reason why a program exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It mentions an error, or logs one and continues.
    Error,
    /// It is the last message of a program that gives up.
    Fatal,
}

/// Returns the line with the reason, without the log's own prefix: the last one of the most likely.
/// `None` if no line mentions an error.
pub fn line_that_matters(journal: &[String]) -> Option<&str> {
    let weighed = journal.iter().filter_map(|line| weight(line).map(|weight| (weight, line)));
    // The last of equals: earlier ones led to it.
    weighed.max_by_key(|(weight, _)| *weight).map(|(_, line)| without_prefix(line.trim()))
}

/// Returns the end of a journal for a report.
pub fn shown(mut journal: Vec<String>) -> Vec<String> {
    journal.split_off(journal.len().saturating_sub(SHOWN))
}

fn weight(line: &str) -> Option<Weight> {
    let lower = line.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // systemd's own lines about the exit add nothing.
    let by_systemd =
        ["main process exited", "failed with result", "control process exited", "failed to start "];
    if lower.trim().is_empty() || by_systemd.iter().any(|start| line_of_systemd(&lower, start)) {
        return None;
    }
    let gives_up =
        ["panic:", "fatal", "[emerg]", "\"command failed\"", "unknown flag", "failed to run "];
    if klog(line) == Some('F') || lower.starts_with("error:") || has(&gives_up) {
        return Some(Weight::Fatal);
    }
    let complains = [
        "error",
        "failed",
        "cannot ",
        "unable to",
        "permission denied",
        "no such file",
        "not found",
    ];
    (klog(line) == Some('E') || has(&complains)).then_some(Weight::Error)
}

/// Whether this is a line of systemd's manager about a unit: `kubelet.service: Main process exited,
/// ...`.
fn line_of_systemd(lower: &str, start: &str) -> bool {
    lower.starts_with(start)
        || lower.split_once(": ").is_some_and(|(unit, said)| {
            said.starts_with(start) && unit.contains('.') && !unit.contains(' ')
        })
}

/// Returns the severity of a line in klog's format: `E1126 01:02:03.456789    1234 run.go:72] ...`.
fn klog(line: &str) -> Option<char> {
    let severity = line.chars().next().filter(|severity| "IWEF".contains(*severity))?;
    let date = line.get(1..5)?;
    (date.bytes().all(|digit| digit.is_ascii_digit()) && line.as_bytes().get(5) == Some(&b' '))
        .then_some(severity)
}

fn without_prefix(line: &str) -> &str {
    match klog(line).and_then(|_| line.split_once("] ")) {
        Some((_, said)) => said,
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(journal: &str) -> Option<String> {
        let lines: Vec<String> = journal.lines().map(str::to_owned).collect();
        line_that_matters(&lines).map(str::to_owned)
    }

    #[test]
    fn the_last_message_of_a_failing_program_is_picked() {
        let kubelet = "Started kubelet.service - Kubernetes node agent.\n\
            E1126 01:02:03.456789    1234 run.go:72] \"command failed\" err=\"failed to parse \
            kubelet flag: unknown flag: --no-such-flag\"\n\
            kubelet.service: Main process exited, code=exited, status=1/FAILURE\n\
            kubelet.service: Failed with result 'exit-code'.";
        assert_eq!(
            picked(kubelet).as_deref(),
            Some(
                "\"command failed\" err=\"failed to parse kubelet flag: unknown flag: \
                --no-such-flag\""
            )
        );
        let with_usage = "Error: unknown flag: --no-such-flag\nUsage:\n  kube-proxy [flags]\n  \
            --v  how much is said of errors";
        assert_eq!(picked(with_usage).as_deref(), Some("Error: unknown flag: --no-such-flag"));
        let nginx = "nginx: [warn] something is odd\nnginx: [emerg] unknown directive \"lisen\" \
            in /etc/nginx/nginx.conf:3\n\
            nginx: configuration file /etc/nginx/nginx.conf test failed";
        assert_eq!(
            picked(nginx).as_deref(),
            Some("nginx: [emerg] unknown directive \"lisen\" in /etc/nginx/nginx.conf:3")
        );
        let dumped =
            "panic: runtime error: index out of range\n\ngoroutine 1 [running]:\nmain.main()\n";
        assert_eq!(picked(dumped).as_deref(), Some("panic: runtime error: index out of range"));
    }

    #[test]
    fn the_last_of_similar_errors_is_picked() {
        let journal = "E1126 01:02:03.4 1 a.go:1] \"first\"\nI1126 01:02:03.5 1 a.go:2] \"all is \
            well\"\n\
            E1126 01:02:03.6 1 a.go:3] \"second\"\nW1126 01:02:03.7 1 a.go:4] \"bye\"";
        assert_eq!(picked(journal).as_deref(), Some("\"second\""));
    }

    #[test]
    fn a_journal_without_an_error_has_no_reason() {
        assert_eq!(picked("Started it.\nI1126 01:02:03.5 1 a.go:2] \"all is well\"\n"), None);
        assert_eq!(
            picked("a.service: Failed with result 'exit-code'.\n"),
            None,
            "systemd knows no more than we do"
        );
        assert_eq!(picked(""), None);
    }

    #[test]
    fn only_the_end_of_a_long_journal_is_shown() {
        let journal: Vec<String> = (0..200).map(|line| line.to_string()).collect();
        assert_eq!(shown(journal).first().map(String::as_str), Some("185"));
        assert_eq!(shown(vec!["one".to_owned()]), ["one"]);
    }
}
