//! Runs one command to its end: finds a channel for it, begins it as root, and says how it ended.

use std::sync::atomic::Ordering;
use std::time::Duration;

use russh::ChannelMsg;
use russh::client::Msg;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::collect::{Collector, shown, timed_out};
use super::super::{Exec, Output, TransportError};
use super::client::describe;
use super::line::line;
use super::privilege::Way;
use super::refusal::not_begun;
use super::run::{Abandon, BEGINNING, CommandStart, RunningCommand};
use super::session::Session;

/// How long the server may refuse the only session, because it still clears up after the one
/// before.
const CLEARING: Duration = Duration::from_secs(10);

/// How long it may take to find out whether there is room for another session.
const ROOM: Duration = Duration::from_secs(5);

/// The longest command line that is sent, in bytes. Linux gives one argument of a process 128 KiB
/// (`MAX_ARG_STRLEN`), and the login shell gets the whole line as one.
const LONGEST: usize = 120 * 1024;

impl Session {
    /// Runs a command as root, to its end. Any number may run at the same time; each has a channel
    /// of its own, and as many as sshd allows are open at once.
    ///
    /// The login shell of the user may be any, and may print what it likes before the command
    /// begins.
    ///
    /// # Errors
    /// When the connection is lost, the command does not begin (a forced command, sudo), the stream
    /// to send cannot be read, what it prints cannot be written or is too much, or the time is
    /// over; the time counts from when a channel is free.
    pub async fn exec(&self, exec: Exec) -> Result<Output, TransportError> {
        let Exec { command, stdin, lines, sink, most, timeout: limit } = exec;
        let inner = &*self.inner;
        let what = format!("run `{}` on {}", shown(&command), inner.node);
        let marker = format!("labctl-{:032x}", rand::random::<u128>());
        let mut run = RunningCommand::new(Collector::new(lines, sink, most).after(&marker), stdin);
        let mut way = inner.privilege.way().await.map_err(|(why, help)| TransportError {
            what: what.clone(),
            why,
            help: Some(help),
        })?;
        loop {
            let line = line(&way.before(), &marker, &command);
            if line.len() > LONGEST {
                let bytes = line.len();
                let why = format!("the command has {bytes} bytes, more than one argument can have");
                let help = Some("send what is long as standard input".into());
                return Err(TransportError { what, why, help });
            }
            self.attempt(&what, line, limit, &way, &mut run).await?;
            if run.collector.has_begun() {
                inner.privilege.proven(way);
                return match run.code {
                    Some(code) => Ok(run.collector.finish(code).await),
                    None => Err(lost(&what, "the command ended without an exit status".into())),
                };
            }
            let tool = inner.privilege.tool();
            let refusal = not_begun(
                &inner.user,
                tool,
                run.code,
                limit.min(BEGINNING),
                &run.collector.noise(),
            );
            way = match inner.privilege.another_way(&way, refusal, run.wrong).await {
                Ok(way) => way,
                Err((why, help)) => return Err(TransportError { what, why, help: Some(help) }),
            };
            run = run.again();
        }
    }

    /// Runs a command in one way, until its channel ends or it cannot go on.
    async fn attempt(
        &self,
        what: &str,
        line: String,
        limit: Duration,
        way: &Way,
        run: &mut RunningCommand,
    ) -> Result<(), TransportError> {
        let opened = match self.open(limit).await {
            Ok(opened) => opened,
            Err(not_opened) => return Err(self.not_opened(what, limit, not_opened).await),
        };
        let OpenedChannel { channel, deadline, place: _place } = opened;
        let (reader, writer) = channel.split();
        let mut abandon = Abandon(Some(writer));
        let start = CommandStart { line, careful: way.is_careful(), password: way.password() };
        let driven = match &abandon.0 {
            Some(writer) => {
                timeout_at(deadline, run.drive(reader, writer, start, &self.inner.traffic)).await
            }
            None => Ok(Ok(())),
        };
        match driven {
            Err(_) if run.collector.has_begun() => {
                return Err(timed_out(what.to_owned(), limit, run.code.is_some()));
            }
            Err(_) => run.stuck = true,
            Ok(Err(error)) => {
                let (what, why) = (what.to_owned(), error.to_string());
                return Err(TransportError { what, why, help: None });
            }
            Ok(Ok(())) => {}
        }
        if !run.closed && !run.stuck {
            return Err(lost(what, self.ending("the connection was lost").await));
        }
        if run.closed {
            abandon.0 = None;
        }
        if run.refused {
            let help = "look for ForceCommand or a restricted shell for this user in sshd's \
                configuration";
            return Err(TransportError {
                what: what.to_owned(),
                why: "the server refuses to run commands".into(),
                help: Some(help.into()),
            });
        }
        Ok(())
    }

    /// What it means that there is no channel.
    async fn not_opened(
        &self,
        what: &str,
        limit: Duration,
        not_opened: NotOpened,
    ) -> TransportError {
        match not_opened {
            NotOpened::InTime => timed_out(what.to_owned(), limit, false),
            NotOpened::Refused => {
                let help = "MaxSessions must be 1 or more in sshd's configuration there; its \
                    default is 10";
                TransportError {
                    what: what.to_owned(),
                    why: "the server refuses to open a session, even one alone".into(),
                    help: Some(help.into()),
                }
            }
            NotOpened::Lost(error) => lost(what, self.ending(&describe(&error)).await),
        }
    }

    /// Opens a channel for a command that may take `limit`, when there is a place for it. Where the
    /// server allows fewer sessions than there are places, this finds out, and waits for one of the
    /// others to end.
    async fn open(&self, limit: Duration) -> Result<OpenedChannel<'_>, NotOpened> {
        let inner = &*self.inner;
        let mut alone = None;
        loop {
            // The semaphore is never closed, so there is nothing to handle.
            let place = inner.places.acquire().await.ok();
            let deadline = Instant::now() + limit;
            match timeout_at(deadline, inner.connected.handle.channel_open_session()).await {
                Err(_) => return Err(NotOpened::InTime),
                Ok(Ok(channel)) => return Ok(OpenedChannel { channel, deadline, place }),
                Ok(Err(russh::Error::ChannelOpenFailure(_))) => {}
                Ok(Err(error)) => return Err(NotOpened::Lost(error)),
            }
            let fewer = |allowed: usize| allowed.checked_sub(1).filter(|allowed| *allowed > 0);
            if inner.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
                if let Some(place) = place {
                    place.forget();
                }
            } else if alone.get_or_insert_with(Instant::now).elapsed() > CLEARING {
                return Err(NotOpened::Refused);
            } else {
                // The last place, so nothing of ours is open: the server has not cleared up yet
                // after the one before.
                drop(place);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Whether another command can run beside those that run now.
    pub async fn has_room(&self) -> bool {
        let Ok(Ok(opened)) = timeout(ROOM, self.open(ROOM)).await else { return false };
        // Its place is free only when the server has closed it too.
        let (mut reader, writer) = opened.channel.split();
        let closed = async {
            let _ = writer.close().await;
            while !matches!(reader.wait().await, None | Some(ChannelMsg::Close)) {}
        };
        let _ = timeout(ROOM, closed).await;
        true
    }

    /// Why the connection ended, or `otherwise` when that never came to light.
    async fn ending(&self, otherwise: &str) -> String {
        let mut ended = self.inner.connected.ended.clone();
        // The session says so as it ends, which is before its channels are seen to end.
        match timeout(Duration::from_secs(1), ended.wait_for(Option::is_some)).await {
            Ok(Ok(reason)) => reason.clone().unwrap_or_else(|| otherwise.to_owned()),
            _ => otherwise.to_owned(),
        }
    }
}

/// The error for a command whose connection went away.
fn lost(what: &str, why: String) -> TransportError {
    let help = "look at the machine and the network, then run the same again";
    TransportError { what: what.to_owned(), why, help: Some(help.into()) }
}

/// A channel for a command, its place among those of the connection, and when the command must be
/// done.
struct OpenedChannel<'a> {
    channel: russh::Channel<Msg>,
    deadline: Instant,
    place: Option<SemaphorePermit<'a>>,
}

/// Why there is no channel.
enum NotOpened {
    InTime,
    Refused,
    Lost(russh::Error),
}
