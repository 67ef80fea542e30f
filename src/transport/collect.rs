//! Collects the output of a command, line by line for listeners and as a whole for callers that
//! wait.
//!
//! All transports end their commands the same way, so what they share is here: the collector, and
//! the errors for a command that took too long. A node may print anything, without end, so the
//! collected output is limited.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Output, TransportError};

/// Maximum length of a command in a message, in characters.
const SHOWN: usize = 80;

/// Length of the end of stderr that is kept, in bytes.
const TAIL: usize = 64 * 1024;

/// Maximum length of a line for listeners, in bytes: a longer one comes in several.
const LINE: usize = 1024 * 1024;

/// Maximum output of a login shell before the command starts, in bytes.
const NOISE: usize = 1024 * 1024;

/// The output of a command so far.
pub(super) struct Collector {
    output: Output,
    lines: Option<mpsc::Sender<String>>,
    sink: Option<Box<dyn io::Write + Send>>,
    /// Maximum output on stdout, and the output so far, in bytes.
    most: u64,
    printed: u64,
    /// Position in stdout of the first line that was not forwarded yet.
    begun: usize,
    before: Preamble,
    before_errors: Preamble,
}

/// What precedes a command's own output on one of its streams: greetings, terminal titles, banners.
struct Preamble {
    /// The marker right before the command's own output; `None` once it was found.
    marker: Option<Vec<u8>>,
    said: Vec<u8>,
    passed_over: usize,
}

impl Collector {
    /// Returns an empty collector that sends complete lines of stdout to `lines`, or all of it to
    /// `sink`, and keeps it where there is neither. More than `most` bytes on stdout end the
    /// command.
    pub(super) fn new(
        lines: Option<mpsc::Sender<String>>,
        sink: Option<Box<dyn io::Write + Send>>,
        most: u64,
    ) -> Self {
        Self {
            output: Output::default(),
            lines,
            sink,
            most,
            printed: 0,
            begun: 0,
            before: Preamble::new(None),
            before_errors: Preamble::new(None),
        }
    }

    /// The same for a command that prints the line `marker` on both streams before its own output.
    pub(super) fn after(mut self, marker: &str) -> Self {
        self.before = Preamble::new(Some(marker));
        self.before_errors = Preamble::new(Some(marker));
        self
    }

    /// Adds `bytes` from stdout.
    ///
    /// # Errors
    /// If they cannot be written to their destination, or exceed the limit. The command is blocked
    /// until they are written.
    pub(super) async fn stdout(&mut self, bytes: &[u8]) -> io::Result<()> {
        let own = self.before.pass(bytes)?;
        self.printed += own.len() as u64;
        if self.printed > self.most {
            let most = size(self.most);
            return Err(io::Error::other(format!(
                "too much output: it printed more than {most}, so it was stopped"
            )));
        }
        if let Some(sink) = &mut self.sink {
            let context = |error: io::Error| {
                io::Error::new(error.kind(), format!("cannot write what it printed: {error}"))
            };
            return sink.write_all(&own).map_err(context);
        }
        let mut looked = self.output.stdout.len();
        self.output.stdout.extend_from_slice(&own);
        while let Some(end) = self.output.stdout[looked..].iter().position(|byte| *byte == b'\n') {
            let end = looked + end;
            self.hand_on(end).await;
            looked = end + 1;
            self.begun = looked;
        }
        if self.lines.is_some() {
            if self.output.stdout.len() - self.begun > LINE {
                self.hand_on(self.output.stdout.len()).await;
                self.begun = self.output.stdout.len();
            }
            // Who listens has them.
            self.output.stdout.drain(..self.begun);
            self.begun = 0;
        }
        Ok(())
    }

    /// Adds `bytes` from stderr. Only the end is kept.
    ///
    /// # Errors
    /// If the output before the command exceeds the limit.
    pub(super) fn stderr(&mut self, bytes: &[u8]) -> io::Result<()> {
        let own = self.before_errors.pass(bytes)?;
        self.output.stderr.extend_from_slice(&own);
        keep_end(&mut self.output.stderr, 2 * TAIL);
        Ok(())
    }

    /// Whether the command has started: its marker was found, or it has none.
    pub(super) fn has_begun(&self) -> bool {
        self.before.marker.is_none()
    }

    /// How often `prompt` was printed on standard error before the command began.
    pub(super) fn asked(&self, prompt: &str) -> usize {
        let said = &self.before_errors.said;
        said.windows(prompt.len()).filter(|window| *window == prompt.as_bytes()).count()
    }

    /// The same, for the same command once more: it has not begun, and nothing was printed.
    pub(super) fn again(mut self) -> Self {
        for before in [&mut self.before, &mut self.before_errors] {
            before.said.clear();
            before.passed_over = 0;
        }
        self
    }

    /// Returns the output before the command, on stdout and on stderr.
    pub(super) fn noise(&self) -> (String, String) {
        let text = |before: &Preamble| String::from_utf8_lossy(&before.said).into_owned();
        (text(&self.before), text(&self.before_errors))
    }

    /// Finishes with exit code `code`; forwards a last line without a newline too.
    pub(super) async fn finish(mut self, code: i32) -> Output {
        if self.begun < self.output.stdout.len() {
            self.hand_on(self.output.stdout.len()).await;
        }
        keep_end(&mut self.output.stderr, TAIL);
        self.output.code = code;
        self.output
    }

    async fn hand_on(&mut self, end: usize) {
        if let Some(lines) = &self.lines {
            // The listener may be gone; the command continues anyway.
            let _ = lines
                .send(String::from_utf8_lossy(&self.output.stdout[self.begun..end]).into_owned())
                .await;
        }
    }
}

impl Preamble {
    fn new(marker: Option<&str>) -> Self {
        let marker = marker.map(|marker| format!("{marker}\n").into_bytes());
        Self { marker, said: Vec::new(), passed_over: 0 }
    }

    /// Returns the part of `bytes` that is the command's own output. The marker may be at the end
    /// of a line.
    fn pass<'a>(&mut self, bytes: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        let Some(marker) = &self.marker else { return Ok(Cow::Borrowed(bytes)) };
        let looked = self.said.len().saturating_sub(marker.len());
        self.said.extend_from_slice(bytes);
        let found = self.said[looked..]
            .windows(marker.len())
            .position(|window| window == marker.as_slice());
        if let Some(at) = found {
            let own = self.said.split_off(looked + at + marker.len());
            self.said.truncate(looked + at);
            self.marker = None;
            return Ok(Cow::Owned(own));
        }
        self.passed_over += bytes.len();
        keep_end(&mut self.said, 2 * TAIL);
        if self.passed_over > NOISE {
            let most = size(NOISE as u64);
            return Err(io::Error::other(format!(
                "too much output of the login shell: {most} before the command started"
            )));
        }
        Ok(Cow::Borrowed(&[]))
    }
}

/// Drops the beginning of what is longer than `most`, and keeps the last 64 KiB.
fn keep_end(bytes: &mut Vec<u8>, most: usize) {
    if bytes.len() > most {
        bytes.drain(..bytes.len() - TAIL);
    }
}

/// Formats a number of bytes for a message.
fn size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// Formats `command` for a message: one line, truncated to 80 characters.
pub(super) fn shown(command: &str) -> String {
    let flat: String =
        command.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if command.chars().nth(SHOWN).is_some() { format!("{flat}...") } else { flat }
}

/// Formats a line for a message; `None` if it has no word.
pub(super) fn readable(line: &str) -> Option<String> {
    let text: String =
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

/// Returns the error for a command that exceeded `limit`. `exited`: it had exited, but its output
/// was still open.
pub(super) fn timed_out(what: String, limit: Duration, exited: bool) -> TransportError {
    let limit = seconds(limit);
    if exited {
        TransportError {
            what,
            why: format!("the command exited, but its output was still open after {limit}"),
            help: Some("a background process keeps it open: redirect its output".into()),
        }
    } else {
        TransportError { what, why: format!("timed out after {limit}"), help: None }
    }
}

/// Formats `duration` for a message: `10 s`, `0.5 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 4 << 20;

    #[tokio::test]
    async fn lines_are_complete_however_the_bytes_are_split() {
        let (sender, mut receiver) = mpsc::channel(10);
        let mut collector = Collector::new(Some(sender), None, MOST);
        for piece in ["one\nt", "w", "o\n\nlast"] {
            collector.stdout(piece.as_bytes()).await.expect("kept");
        }
        collector.stderr(b"aside").expect("kept");
        let output = collector.finish(3).await;
        let mut lines = Vec::new();
        while let Ok(line) = receiver.try_recv() {
            lines.push(line);
        }
        assert_eq!(lines, ["one", "two", "", "last"]);
        assert_eq!(output.stdout, b"last", "what was handed on is not kept");
        assert_eq!((output.stderr.as_slice(), output.code), (b"aside".as_slice(), 3));
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_handed_on_in_parts() {
        let (sender, mut receiver) = mpsc::channel(10);
        let mut collector = Collector::new(Some(sender), None, u64::MAX);
        for _ in 0..5 {
            collector.stdout(&[b'x'; LINE / 2]).await.expect("kept");
            assert!(collector.output.stdout.len() <= LINE);
        }
        collector.finish(0).await;
        let mut length = 0;
        while let Ok(part) = receiver.try_recv() {
            length += part.len();
        }
        assert_eq!(length, LINE / 2 * 5);
    }

    #[tokio::test]
    async fn output_before_the_marker_is_dropped_however_it_is_split() {
        for before in ["", "Welcome\n", "\x1b]0;root\x07", "mark\nmar"] {
            let text = format!("{before}marker\nown\nmarker\n");
            for cut in 0..text.len() {
                let mut collector = Collector::new(None, None, MOST).after("marker");
                assert!(!collector.has_begun());
                for piece in [&text[..cut], &text[cut..]] {
                    collector.stdout(piece.as_bytes()).await.expect("kept");
                    collector.stderr(piece.as_bytes()).expect("kept");
                }
                assert!(collector.has_begun());
                assert_eq!(collector.noise(), (before.to_owned(), before.to_owned()));
                let output = collector.finish(0).await;
                assert_eq!(
                    String::from_utf8_lossy(&output.stdout),
                    "own\nmarker\n",
                    "cut at {cut}"
                );
                assert_eq!(
                    String::from_utf8_lossy(&output.stderr),
                    "own\nmarker\n",
                    "cut at {cut}"
                );
            }
        }
    }

    #[tokio::test]
    async fn collected_output_is_limited() {
        let mut collector = Collector::new(None, None, 1000);
        collector.stdout(&[b'x'; 1000]).await.expect("just enough");
        let error = collector.stdout(b"x").await.expect_err("one too many");
        assert!(error.to_string().contains("too much output"), "{error}");

        let mut sunk = Collector::new(None, Some(Box::new(io::sink())), 1000);
        sunk.stdout(&[b'x'; 1001]).await.expect_err("a sink has a limit too");

        let mut collector = Collector::new(None, None, MOST);
        for _ in 0..10_000 {
            collector.stderr(&[b'x'; 1000]).expect("the end is kept");
            assert!(collector.output.stderr.len() <= 2 * TAIL);
        }
        collector.stderr(b"the end").expect("kept");
        let output = collector.finish(1).await;
        assert!(output.stderr.len() <= TAIL && output.stderr.ends_with(b"the end"));

        let mut loud = Collector::new(None, None, MOST).after("marker");
        let error = loop {
            if let Err(error) = loud.stdout(&[b'y'; 4096]).await {
                break error;
            }
        };
        assert!(error.to_string().contains("too much output of the login shell"), "{error}");
        assert!(loud.noise().0.len() <= 2 * TAIL);
    }

    #[test]
    fn a_long_command_is_truncated_to_one_line() {
        assert_eq!(shown("echo one\necho two"), "echo one echo two");
        let long = shown(&"x".repeat(81));
        assert_eq!(long, format!("{}...", "x".repeat(80)));
    }
}
