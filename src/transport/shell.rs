//! A shell on the workstation with the interface of a node: tests run the same scripts with it.
//!
//! For callers it behaves like an SSH session: stdin is written while output is read, a command may
//! exit without reading its input, and a command that times out is killed with all its children.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::time::timeout;

use super::collect::{Collector, shown, timed_out};
use super::{Exec, Output, Stdin, Traffic, TransportError};

/// Size of a read or write, in bytes.
const CHUNK: usize = 64 * 1024;

/// Runs commands with `sh -c` on the workstation, as the current user.
#[derive(Debug, Clone, Default)]
pub struct Shell {
    inner: Arc<ShellInner>,
}

#[derive(Debug, Default)]
struct ShellInner {
    prefix: Vec<String>,
    traffic: Traffic,
}

impl Shell {
    /// Returns a plain `sh -c`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns `sh -c` with a prefix, such as `unshare --mount` or `env PATH=...`.
    pub fn with_prefix(prefix: Vec<String>) -> Self {
        Self { inner: Arc::new(ShellInner { prefix, traffic: Traffic::default() }) }
    }

    /// Runs a command and waits for it.
    ///
    /// # Errors
    /// If the shell cannot be started, the input stream cannot be read, or the command times out.
    pub async fn exec(&self, exec: Exec) -> Result<Output, TransportError> {
        let Exec { command, stdin, lines, sink, most, timeout: limit } = exec;
        let what = format!("run `{}` on the workstation", shown(&command));
        let failed = |why: String| TransportError { what: what.clone(), why, help: None };

        let mut words = self.inner.prefix.iter().map(String::as_str).chain(["sh", "-c", &command]);
        let program = words.next().unwrap_or("sh");
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A separate process group, so that a time-out kills everything that the command
            // started.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("cannot start {program}: {error}")))?;
        let mut group = Group(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(rustix::process::Pid::from_raw),
        );
        let (Some(input), Some(mut stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("its pipes are missing".into()));
        };

        let mut collector = Collector::new(lines, sink, most);
        let mut status = None;
        let run = async {
            let feed = feed(input, stdin, &self.inner.traffic);
            tokio::pin!(feed);
            let (mut feeding, mut out_open, mut err_open) = (true, true, true);
            let (mut out, mut err) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
            while out_open || err_open || status.is_none() {
                tokio::select! {
                    fed = &mut feed, if feeding => { feeding = false; fed?; }
                    count = read(&mut stdout, &mut out), if out_open => {
                        out_open = count? > 0;
                        collector.stdout(&out).await?;
                    }
                    count = read(&mut stderr, &mut err), if err_open => {
                        err_open = count? > 0;
                        collector.stderr(&err)?;
                    }
                    ended = child.wait(), if status.is_none() => status = Some(ended?),
                }
            }
            Ok::<(), io::Error>(())
        };
        match timeout(limit, run).await {
            Err(_) => Err(timed_out(what, limit, status.is_some())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Ok(Ok(())) => {
                group.0 = None;
                let code = status.and_then(|status| {
                    status.code().or(status.signal().map(|signal| 128 + signal))
                });
                Ok(collector.finish(code.unwrap_or(255)).await)
            }
        }
    }

    /// Returns the traffic of all commands so far.
    pub fn traffic(&self) -> &Traffic {
        &self.inner.traffic
    }
}

/// The process group of a running command, killed when the command is dropped.
struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have exited in the meantime.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.clear();
    from.read_buf(buffer).await
}

/// Writes all of `stdin`, then closes the pipe. A command that stops reading is not an error.
async fn feed(mut input: ChildStdin, stdin: Stdin, traffic: &Traffic) -> io::Result<()> {
    let idle = Arc::new(AtomicU64::new(0));
    let (mut stream, counter): (Box<dyn AsyncRead + Send + Unpin>, _) = match stdin {
        Stdin::Empty => return Ok(()),
        Stdin::Bytes(bytes) => (Box::new(io::Cursor::new(bytes)), idle),
        Stdin::Stream(stream, counter) => (stream, counter),
    };
    let mut buffer = Vec::with_capacity(CHUNK);
    while read(&mut stream, &mut buffer).await? > 0 {
        if input.write_all(&buffer).await.is_err() {
            return Ok(());
        }
        let count = buffer.len() as u64;
        counter.fetch_add(count, Ordering::Relaxed);
        traffic.bytes_sent.fetch_add(count, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_behaves_like_a_session() {
        let shell = Shell::new();
        let output =
            shell.exec(Exec::new("echo out; echo err >&2; exit 7", LONG)).await.expect("an end");
        assert_eq!(output, Output { code: 7, stdout: b"out\n".into(), stderr: b"err\n".into() });
        assert_eq!(shell.exec(Exec::new("kill -9 $$", LONG)).await.expect("an end").code, 128 + 9);

        let endless = Stdin::Stream(Box::new(tokio::io::repeat(7)), Arc::default());
        let output = shell.exec(Exec::new("exit 3", LONG).stdin(endless)).await.expect("an end");
        assert_eq!(output.code, 3, "a command may leave its input unread");

        let echoed = shell
            .exec(Exec::new("cat", LONG).stdin(Stdin::Bytes(vec![1; 3_000_000])))
            .await
            .expect("an end");
        assert_eq!(echoed.stdout.len(), 3_000_000);
        assert!(shell.traffic().bytes_sent.load(Ordering::Relaxed) >= 3_000_000);
    }

    #[tokio::test]
    async fn output_goes_to_a_sink_and_a_full_one_stops_the_command() {
        let mut file = tempfile::tempfile().expect("a file");
        let sink = file.try_clone().expect("the same file");
        let exec = Exec::new("head -c 3000000 /dev/zero; echo aside >&2", LONG).sink(sink);
        let output = Shell::new().exec(exec).await.expect("an end");
        assert_eq!(output, Output { code: 0, stdout: Vec::new(), stderr: b"aside\n".into() });
        assert_eq!(std::io::Seek::stream_position(&mut file).expect("a position"), 3_000_000);

        let full =
            std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
        let error = Shell::new()
            .exec(Exec::new("cat /dev/zero", LONG).sink(full))
            .await
            .expect_err("no room");
        assert!(error.why.starts_with("cannot write what it printed: No space left"), "{error}");
    }

    #[tokio::test]
    async fn a_prefix_comes_first_and_must_exist() {
        let shell = Shell::with_prefix(vec!["env".into(), "GREETING=it's".into()]);
        let output = shell.exec(Exec::new("printf %s \"$GREETING\"", LONG)).await.expect("an end");
        assert_eq!(output.stdout, b"it's");
        let error = Shell::with_prefix(vec!["/no/such".into()])
            .exec(Exec::new("true", LONG))
            .await
            .expect_err("none");
        assert!(error.why.contains("cannot start /no/such"), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_times_out_is_killed_with_its_children() {
        let shell = Shell::new();
        let limit = Duration::from_millis(300);
        let error = shell.exec(Exec::new("sleep 1000 | cat", limit)).await.expect_err("too long");
        assert!(error.why.contains("0.3 s") && error.what.contains("sleep 1000 | cat"), "{error}");
        let error = shell
            .exec(Exec::new("sleep 1000 & exit 0", limit))
            .await
            .expect_err("its output stays open");
        assert!(error.why.contains("output was still open"), "{error}");
    }
}
