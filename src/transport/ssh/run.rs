//! One command as it runs in its channel: started, fed and drained, until it ends.
//!
//! A channel is always read to its end, because a full one blocks all others on the connection. The
//! exit status may arrive before the last output (RFC 4254, 6.10 defines no order), so it does not
//! end the reading.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::bytes::{Bytes, BytesMut};

use super::super::collect::Collector;
use super::super::{Stdin, Traffic};
use crate::secret::Secret;

/// Number of bytes of a stream that are read and counted at once.
const CHUNK: usize = 256 * 1024;

/// Time limit for a login shell to start the command.
pub(super) const BEGINNING: Duration = Duration::from_secs(60);

/// Stderr in extended data (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// A command, as its channel gets it.
pub(super) struct CommandStart<'a> {
    /// The line for the login shell.
    pub(super) line: String,
    /// Whether what the command reads is sent only once it has begun, since it may have to be begun
    /// in another way.
    pub(super) careful: bool,
    /// What is sent when this is asked for, on standard error: a prompt and a password.
    pub(super) password: Option<(&'a str, &'a Secret)>,
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, Default)]
struct CommandProgress {
    begun: bool,
    /// How often a password was asked for.
    asked: usize,
}

/// A running command.
pub(super) struct RunningCommand {
    /// What it has printed.
    pub(super) collector: Collector,
    /// What it reads, until that is sent.
    pub(super) stdin: Option<Stdin>,
    pub(super) code: Option<i32>,
    /// The server refuses to run commands.
    pub(super) refused: bool,
    /// Whether the server closed the channel; otherwise the connection was lost.
    pub(super) closed: bool,
    /// Whether the command did not start in time.
    pub(super) stuck: bool,
    /// The password was asked for again, after it was given.
    pub(super) wrong: bool,
}

impl RunningCommand {
    /// A command that has not begun.
    pub(super) fn new(collector: Collector, stdin: Stdin) -> Self {
        Self {
            collector,
            stdin: Some(stdin),
            code: None,
            refused: false,
            closed: false,
            stuck: false,
            wrong: false,
        }
    }

    /// The same command, to be begun in another way.
    pub(super) fn again(self) -> Self {
        let stdin = self.stdin.unwrap_or(Stdin::Empty);
        Self::new(self.collector.again(), stdin)
    }

    /// Starts a command, feeds it and drains it until the channel ends. An error is one of this
    /// side's own files.
    pub(super) async fn drive(
        &mut self,
        mut reader: ChannelReadHalf,
        writer: &ChannelWriteHalf<Msg>,
        start: CommandStart<'_>,
        traffic: &Traffic,
    ) -> io::Result<()> {
        let prompt = start.password.map(|(prompt, _)| prompt);
        let (tell, heard) = watch::channel(CommandProgress::default());
        let send = send(writer, start, &mut self.stdin, heard, traffic);
        tokio::pin!(send);
        let begins = tokio::time::sleep(BEGINNING);
        tokio::pin!(begins);
        let mut sending = true;
        loop {
            let asked = prompt.map_or(0, |prompt| self.collector.asked(prompt));
            self.wrong = asked > 1;
            tell.send_replace(CommandProgress { begun: self.collector.has_begun(), asked });
            tokio::select! {
                sent = &mut send, if sending => {
                    sending = false;
                    sent?;
                }
                () = &mut begins, if !self.collector.has_begun() => {
                    self.stuck = true;
                    return Ok(());
                }
                message = reader.wait() => match message {
                    Some(ChannelMsg::Data { data }) => self.collector.stdout(&data).await?,
                    Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => {
                        self.collector.stderr(&data)?;
                    }
                    Some(ChannelMsg::ExitStatus { exit_status }) => {
                        self.code = Some(i32::try_from(exit_status).unwrap_or(i32::MAX));
                    }
                    Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                        self.code = Some(128 + number(&signal_name));
                    }
                    // No command is running, so nothing else would close the channel.
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

/// Starts a command and sends it what it reads, with a password before that if one is asked for.
async fn send(
    writer: &ChannelWriteHalf<Msg>,
    start: CommandStart<'_>,
    stdin: &mut Option<Stdin>,
    mut heard: watch::Receiver<CommandProgress>,
    traffic: &Traffic,
) -> io::Result<()> {
    // An error means that the session has ended, which the reading side detects and reports.
    if writer.exec(true, start.line).await.is_err() {
        return Ok(());
    }
    if start.careful && !begins(writer, start.password, &mut heard).await {
        return Ok(());
    }
    feed(writer, stdin.take().unwrap_or(Stdin::Empty), traffic).await
}

/// Waits until a command has begun, and gives the password when it is asked for; whether it began.
async fn begins(
    writer: &ChannelWriteHalf<Msg>,
    password: Option<(&str, &Secret)>,
    heard: &mut watch::Receiver<CommandProgress>,
) -> bool {
    let mut given = false;
    loop {
        let CommandProgress { begun, asked } = *heard.borrow_and_update();
        if begun {
            return true;
        }
        if let Some((_, password)) = password {
            if asked > 0 && !given {
                given = true;
                let line = format!("{}\n", password.expose_text().unwrap_or_default());
                let _ = writer.data_bytes(line.into_bytes()).await;
            } else if asked > 1 {
                // It was wrong. An end of file is what ends further questions.
                let _ = writer.eof().await;
                return false;
            }
        }
        if heard.changed().await.is_err() {
            return false;
        }
    }
}

/// The sending side of a command that may be cancelled. On a time-out, or if the caller is dropped,
/// the command gets a signal and its channel is closed, as far as the server still responds.
pub(super) struct Abandon(pub(super) Option<ChannelWriteHalf<Msg>>);

impl Drop for Abandon {
    fn drop(&mut self) {
        let (Some(writer), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            // sshd has forwarded signals since OpenSSH 7.9, but not in root's sessions; such a
            // command exits when it next prints something.
            let _ = writer.signal(Sig::TERM).await;
            let _ = writer.close().await;
        });
    }
}

/// Sends all of `stdin`, then end of file. Only a read error is returned.
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

/// Returns the number of a signal on Linux (signal(7)).
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
            // An exit code of 255, which no signal has.
            _ => 127,
        },
    }
}
