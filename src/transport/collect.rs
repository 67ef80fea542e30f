//! Gathers what a command prints, line by line for those who watch and whole for those who wait.
//!
//! Every transport ends its commands the same way, so what they share is here: the collector, and the words for a
//! command that took too long.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::{Output, TransportError};

/// How much of a command a message shows, in characters.
const SHOWN: usize = 80;

/// What a command has printed so far.
pub(super) struct Collector {
    output: Output,
    lines: Option<UnboundedSender<String>>,
    sink: Option<Box<dyn io::Write + Send>>,
    /// Where in standard output the first line begins that was not handed on yet.
    begun: usize,
}

impl Collector {
    /// Nothing printed yet; complete lines of standard output will go to `lines`, or all of it to `sink`.
    pub(super) fn new(lines: Option<UnboundedSender<String>>, sink: Option<Box<dyn io::Write + Send>>) -> Self {
        Self { output: Output::default(), lines, sink, begun: 0 }
    }

    /// The command printed `bytes` on standard output.
    ///
    /// # Errors
    /// When they cannot be written where they should go. Until they are, no more is taken from the command.
    pub(super) fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(sink) = &mut self.sink {
            let context =
                |error: io::Error| io::Error::new(error.kind(), format!("cannot write what it printed: {error}"));
            return sink.write_all(bytes).map_err(context);
        }
        let mut looked = self.output.stdout.len();
        self.output.stdout.extend_from_slice(bytes);
        while let Some(end) = self.output.stdout[looked..].iter().position(|byte| *byte == b'\n') {
            let end = looked + end;
            self.hand_on(end);
            looked = end + 1;
            self.begun = looked;
        }
        Ok(())
    }

    /// The command printed `bytes` on standard error.
    pub(super) fn stderr(&mut self, bytes: &[u8]) {
        self.output.stderr.extend_from_slice(bytes);
    }

    /// The command ended with `code`; a last line without its newline is handed on too.
    pub(super) fn finish(mut self, code: i32) -> Output {
        if self.begun < self.output.stdout.len() {
            self.hand_on(self.output.stdout.len());
        }
        self.output.code = code;
        self.output
    }

    fn hand_on(&self, end: usize) {
        if let Some(lines) = &self.lines {
            // Nobody may be listening any more; the command goes on all the same.
            let _ = lines.send(String::from_utf8_lossy(&self.output.stdout[self.begun..end]).into_owned());
        }
    }
}

/// `command` as a message shows it: one line, cut after its first 80 characters.
pub(super) fn shown(command: &str) -> String {
    let flat: String = command.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if command.chars().nth(SHOWN).is_some() { format!("{flat}...") } else { flat }
}

/// The error for a command that was given up after `limit`. `exited`: it had ended, but its output stayed open.
pub(super) fn timed_out(what: String, limit: Duration, exited: bool) -> TransportError {
    let limit = seconds(limit);
    if exited {
        TransportError {
            what,
            why: format!("the command ended, but its output was still open after {limit}"),
            help: Some("something that it started in the background keeps it open: redirect its output".into()),
        }
    } else {
        TransportError { what, why: format!("not done after {limit}, so it was given up"), help: None }
    }
}

/// `duration` as a message shows it: `10 s`, `0.5 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut collector = Collector::new(Some(sender), None);
        for piece in ["one\nt", "w", "o\n\nlast"] {
            collector.stdout(piece.as_bytes()).expect("kept");
        }
        collector.stderr(b"aside");
        let output = collector.finish(3);
        let mut lines = Vec::new();
        while let Ok(line) = receiver.try_recv() {
            lines.push(line);
        }
        assert_eq!(lines, ["one", "two", "", "last"]);
        assert_eq!(output.stdout, b"one\ntwo\n\nlast");
        assert_eq!((output.stderr.as_slice(), output.code), (b"aside".as_slice(), 3));
    }

    #[test]
    fn a_long_command_is_cut_and_kept_on_one_line() {
        assert_eq!(shown("echo one\necho two"), "echo one echo two");
        let long = shown(&"x".repeat(81));
        assert_eq!(long, format!("{}...", "x".repeat(80)));
    }
}
