//! Runs one command in one channel: wraps it so that it runs as root, feeds it, drains it, and says how it ended.
//!
//! A channel is drained to its end whatever happens, since a full one stalls every other on the connection; and the
//! exit status may come before the last of the output (RFC 4254, 6.10 sets no order), so it ends nothing.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::bytes::{Bytes, BytesMut};

use super::super::collect::{Collector, shown, timed_out};
use super::super::{Exec, Output, Stdin, Traffic, TransportError};
use super::{Session, describe};

/// How much is read from a stream and counted at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// The longest command line that is sent, in bytes. Linux gives one argument of a process 128 KiB
/// (`MAX_ARG_STRLEN`), and the login shell gets the whole line as one.
const LONGEST: usize = 120 * 1024;

/// Standard error in extended data (RFC 4254, 5.2).
const STDERR: u32 = 1;

impl Session {
    /// Runs a command as root, to its end. Any number may run at the same time; each has a channel of its own, and
    /// as many as sshd allows are open at once.
    ///
    /// The login shell of the user must read single quotes as POSIX does.
    ///
    /// # Errors
    /// When the connection is lost, the command cannot be started, sudo refuses, the stream to send cannot be read,
    /// what it prints cannot be written, or the time is over; the time counts from when a channel is free.
    pub async fn exec(&self, exec: Exec) -> Result<Output, TransportError> {
        let Exec { command, stdin, lines, sink, timeout: limit } = exec;
        let inner = &*self.inner;
        let what = format!("run `{}` on {}", shown(&command), inner.node);
        let line = as_root(&inner.user, &command);
        if line.len() > LONGEST {
            return Err(TransportError {
                what,
                why: format!("the command has {} bytes, more than one argument can have", line.len()),
                help: Some("send what is long as standard input".into()),
            });
        }
        let lost = |why: String| TransportError {
            what: what.clone(),
            why,
            help: Some("look at the machine and the network, then run the same again".into()),
        };

        // The semaphore is never closed, so there is nothing to handle.
        let _place = inner.places.acquire().await.ok();
        let deadline = Instant::now() + limit;
        let channel = match timeout_at(deadline, inner.handle.channel_open_session()).await {
            Err(_) => return Err(timed_out(what, limit, false)),
            Ok(Ok(channel)) => channel,
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => {
                return Err(TransportError {
                    what,
                    why: "the server refuses to open another channel".into(),
                    help: Some("sshd's MaxSessions must be 10 (its default) or more".into()),
                });
            }
            Ok(Err(error)) => return Err(lost(self.ending(&describe(&error)).await)),
        };

        let (reader, writer) = channel.split();
        let mut abandon = Abandon(Some(writer));
        let mut run = Run { collector: Collector::new(lines, sink), code: None, refused: false, closed: false };
        let driven = match &abandon.0 {
            Some(writer) => timeout_at(deadline, run.drive(reader, writer, line, stdin, &inner.traffic)).await,
            None => Ok(Ok(())),
        };
        match driven {
            Err(_) => return Err(timed_out(what, limit, run.code.is_some())),
            Ok(Err(error)) => {
                return Err(TransportError { what, why: error.to_string(), help: None });
            }
            Ok(Ok(())) => {}
        }
        if !run.closed {
            return Err(lost(self.ending("the connection was lost").await));
        }
        abandon.0 = None;
        if run.refused {
            return Err(TransportError {
                what,
                why: "the server refuses to run commands".into(),
                help: Some("look for ForceCommand or a restricted shell for this user in sshd's configuration".into()),
            });
        }
        let Some(code) = run.code else {
            return Err(lost("the command ended without an exit status".into()));
        };
        let output = run.collector.finish(code);
        match sudo_refusal(&inner.user, &output) {
            Some((why, help)) => Err(TransportError { what, why, help: Some(help) }),
            None => Ok(output),
        }
    }

    /// Why the connection ended, or `otherwise` when that never came to light.
    async fn ending(&self, otherwise: &str) -> String {
        let mut ended = self.inner.ended.clone();
        // The session says so as it ends, which is before its channels are seen to end.
        match timeout(Duration::from_secs(1), ended.wait_for(Option::is_some)).await {
            Ok(Ok(reason)) => reason.clone().unwrap_or_else(|| otherwise.to_owned()),
            _ => otherwise.to_owned(),
        }
    }
}

/// One command as it runs.
struct Run {
    collector: Collector,
    code: Option<i32>,
    refused: bool,
    /// The server closed the channel; else the connection went away under it.
    closed: bool,
}

impl Run {
    /// Starts `line`, feeds it and drains it until the channel ends. An error is one of this side's own files.
    async fn drive(
        &mut self,
        mut reader: ChannelReadHalf,
        writer: &ChannelWriteHalf<Msg>,
        line: String,
        stdin: Stdin,
        traffic: &Traffic,
    ) -> io::Result<()> {
        let send = async {
            // Errors mean that the session has ended, which the reading side finds out and reports.
            if writer.exec(true, line).await.is_ok() { feed(writer, stdin, traffic).await } else { Ok(()) }
        };
        tokio::pin!(send);
        let mut sending = true;
        loop {
            tokio::select! {
                sent = &mut send, if sending => {
                    sending = false;
                    sent?;
                }
                message = reader.wait() => match message {
                    Some(ChannelMsg::Data { data }) => self.collector.stdout(&data)?,
                    Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => self.collector.stderr(&data),
                    Some(ChannelMsg::ExitStatus { exit_status }) => {
                        self.code = Some(i32::try_from(exit_status).unwrap_or(i32::MAX));
                    }
                    Some(ChannelMsg::ExitSignal { signal_name, .. }) => self.code = Some(128 + number(&signal_name)),
                    // No command runs, so none will close the channel: that is left to this side.
                    Some(ChannelMsg::Failure) => {
                        self.refused = true;
                        self.closed = true;
                        let _ = writer.close().await;
                        return Ok(());
                    }
                    Some(ChannelMsg::Close) => {
                        self.closed = true;
                        return Ok(());
                    }
                    None => return Ok(()),
                    Some(_) => {}
                },
            }
        }
    }
}

/// The sending side of a command that may be given up. When it is, by time-out or because the caller went away, the
/// command is asked to end and its channel is closed, as far as the server still listens.
struct Abandon(Option<ChannelWriteHalf<Msg>>);

impl Drop for Abandon {
    fn drop(&mut self) {
        let (Some(writer), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            // sshd passes signals on since OpenSSH 7.9, but not in sessions of root; a command that goes on there ends
            // when it next prints something.
            let _ = writer.signal(Sig::TERM).await;
            let _ = writer.close().await;
        });
    }
}

/// Sends all of `stdin` and then end of file. Only what cannot be read is an error here.
async fn feed(writer: &ChannelWriteHalf<Msg>, stdin: Stdin, traffic: &Traffic) -> io::Result<()> {
    let send = async |bytes: Bytes, counter: Option<&AtomicU64>| {
        let count = bytes.len() as u64;
        let sent = writer.data_bytes(bytes).await.is_ok();
        if sent {
            traffic.bytes_sent.fetch_add(count, Ordering::Relaxed);
            if let Some(counter) = counter {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
        sent
    };
    match stdin {
        Stdin::Empty => {}
        Stdin::Bytes(bytes) => {
            send(bytes.into(), None).await;
        }
        Stdin::Stream(mut stream, counter) => loop {
            let mut buffer = BytesMut::with_capacity(CHUNK);
            let read = stream.read_buf(&mut buffer).await.map_err(unreadable)?;
            if read == 0 || !send(buffer.freeze(), Some(&counter)).await {
                break;
            }
        },
    }
    let _ = writer.eof().await;
    Ok(())
}

fn unreadable(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read what to send: {error}"))
}

/// The line that the login shell of `user` gets, so that `command` runs in `sh` as root.
fn as_root(user: &str, command: &str) -> String {
    let sudo = if user == "root" { "" } else { "sudo -n " };
    // A shell that reads its script needs no other around it.
    if command == "sh -s" { format!("{sudo}{command}") } else { format!("{sudo}sh -c {}", quote(command)) }
}

/// `text` as one word of a POSIX shell, whatever is in it.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// When it was sudo that ended a command: why, and what to do. It is told from a command that failed by itself by
/// what sudo prints, alone, before it would have run anything.
fn sudo_refusal(user: &str, output: &Output) -> Option<(String, String)> {
    if user == "root" || output.code == 0 || !output.stdout.is_empty() {
        return None;
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = stderr.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let allow = format!("allow it there as root: echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/labctl");
    if output.code == 127 && said.contains("sudo") && said.contains("not found") {
        let help = "install sudo there, or log in as root (ssh.user)";
        return Some((format!("{user} is not root, and there is no sudo"), help.into()));
    }
    if output.code != 1 {
        return None;
    }
    if said.contains("must have a tty") {
        let help = format!("let it run without one: add `Defaults:{user} !requiretty` to /etc/sudoers.d/labctl there");
        return Some(("sudo wants a terminal (requiretty)".into(), help));
    }
    if said.starts_with("sudo:") && said.contains("password") {
        return Some((format!("sudo asks {user} for a password"), allow));
    }
    if stderr.contains("is not in the sudoers file") || (stderr.contains("is not allowed to") && said.contains(user)) {
        return Some((format!("{user} may not use sudo"), allow));
    }
    // sudo speaks the machine's language; its name before the colon stays.
    said.starts_with("sudo: ").then(|| (said.to_owned(), allow))
}

/// The number of a signal on Linux (signal(7)).
fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(name) => match name.as_str() {
            "TRAP" => 5,
            "BUS" => 7,
            "USR2" => 12,
            "XCPU" => 24,
            "XFSZ" => 25,
            "SYS" => 31,
            // A code that no signal has: 255.
            _ => 127,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_survives_a_real_shell() {
        for text in ["", "plain", "it's", "''", "a\nb", "$HOME `id` \\ \" * ~ !", "'; echo no; '", "ünï\t"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(text))])
                .output()
                .expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        }
    }

    #[test]
    fn only_root_goes_without_sudo() {
        assert_eq!(as_root("root", "id"), "sh -c 'id'");
        assert_eq!(as_root("root", "sh -s"), "sh -s");
        assert_eq!(as_root("ops", "sh -s"), "sudo -n sh -s");
        assert_eq!(as_root("ops", "echo it's"), r"sudo -n sh -c 'echo it'\''s'");
    }

    #[test]
    fn sudo_is_told_from_the_command() {
        let ended = |code, stdout: &str, stderr: &str| Output { code, stdout: stdout.into(), stderr: stderr.into() };
        let refused = [
            (1, "sudo: a password is required\n", "asks ops for a password"),
            (127, "sh: 1: sudo: not found\n", "no sudo"),
            (127, "bash: line 1: sudo: command not found\n", "no sudo"),
            (1, "sudo: sorry, you must have a tty to run sudo\n", "requiretty"),
            (1, "ops is not in the sudoers file.\nThis incident has been reported.\n", "may not use sudo"),
            (1, "sudo: se requiere una contrase\u{f1}a\n", "se requiere"),
        ];
        for (code, stderr, expected) in refused {
            let (why, _) = sudo_refusal("ops", &ended(code, "", stderr)).expect(stderr);
            assert!(why.contains(expected), "{why}");
        }
        assert!(sudo_refusal("ops", &ended(1, "", "tar: no such file\n")).is_none());
        assert!(sudo_refusal("ops", &ended(1, "ran", "sudo: a password is required\n")).is_none());
        assert!(sudo_refusal("ops", &ended(127, "", "sh: 1: kubectl: not found\n")).is_none());
        assert!(sudo_refusal("root", &ended(1, "", "sudo: a password is required\n")).is_none());
    }
}
