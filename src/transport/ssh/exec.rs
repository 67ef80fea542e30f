//! Runs one command to its end: finds a channel for it, begins it as root, and says how it ended.

use std::sync::atomic::Ordering;
use std::time::Duration;

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

/// How long the server may refuse the only session because it is still closing the previous one.
const CLEARING: Duration = Duration::from_secs(10);

/// Time limit for finding out whether another session is possible.
const ROOM: Duration = Duration::from_secs(5);

/// Maximum length of a command line in bytes. Linux limits one argument of a process to 128 KiB
/// (`MAX_ARG_STRLEN`), and the login shell gets the whole line as one.
const LONGEST: usize = 120 * 1024;

impl Session {
    /// Runs a command as root and waits for it. Any number may run in parallel; each has its own
    /// channel, and as many as sshd allows are open at once.
    ///
    /// The user may have any login shell, and it may print anything before the command starts.
    ///
    /// # Errors
    /// If the connection is lost, the command does not start (a forced command, sudo), the input
    /// stream cannot be read, the output cannot be written or exceeds its limit, or the command
    /// times out. Time counts from when a channel is open.
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
                let help = Some("send long data on stdin".into());
                return Err(TransportError { what, why, help });
            }
            self.attempt(&what, line, limit, &way, &mut run).await?;
            if run.collector.has_begun() {
                inner.privilege.proven(way);
                return match run.code {
                    Some(code) => Ok(run.collector.finish(code).await),
                    None => Err(lost(&what, "the command exited without an exit status".into())),
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

    /// Runs a command in one way, until its channel ends or it cannot continue.
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
                    why: "the server refuses to open even one session".into(),
                    help: Some(help.into()),
                }
            }
            NotOpened::Lost(error) => lost(what, self.ending(&describe(&error)).await),
        }
    }

    /// Opens a channel for a command with the time limit `limit`, when there is a free place. If
    /// the server allows fewer sessions than there are places, waits for another one to end.
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
                // This is the last place, so no other channel is open: the server is still closing
                // the previous one.
                drop(place);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Whether another command can run in parallel with the running ones. One is run: sshd never
    /// closes a channel that nothing was asked of, and would count it to the end.
    pub async fn has_room(&self) -> bool {
        matches!(timeout(ROOM, self.exec(Exec::new(":", ROOM))).await, Ok(Ok(_)))
    }

    /// Returns why the connection ended, or `otherwise` if that is unknown.
    async fn ending(&self, otherwise: &str) -> String {
        let mut ended = self.inner.connected.ended.clone();
        // The session reports this as it ends, which is before its channels end.
        match timeout(Duration::from_secs(1), ended.wait_for(Option::is_some)).await {
            Ok(Ok(reason)) => reason.clone().unwrap_or_else(|| otherwise.to_owned()),
            _ => otherwise.to_owned(),
        }
    }
}

/// The error for a command whose connection went away.
fn lost(what: &str, why: String) -> TransportError {
    let help = "check the machine and the network, then run the same command again";
    TransportError { what: what.to_owned(), why, help: Some(help.into()) }
}

/// A channel for a command, its place among those of the connection, and its deadline.
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
