//! Runs one command in one channel: wraps it so that it runs as root, feeds it, drains it, and says
//! how it ended.
//!
//! A channel is drained to its end whatever happens, since a full one stalls every other on the
//! connection; and the exit status may come before the last of the output (RFC 4254, 6.10 sets no
//! order), so it ends nothing.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::AsyncReadExt;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::bytes::{Bytes, BytesMut};

use super::super::collect::{Collector, seconds, shown, timed_out};
use super::super::{Exec, Output, Stdin, Traffic, TransportError};
use super::{Session, describe};

/// How much is read from a stream and counted at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// How long the server may refuse the only session, because it still clears up after the one
/// before.
const CLEARING: Duration = Duration::from_secs(10);

/// How long it may take to find out whether there is room for another session.
const ROOM: Duration = Duration::from_secs(5);

/// How long a login shell may take until it has begun the command.
const BEGINNING: Duration = Duration::from_secs(60);

/// The text that every command is begun with. It is one line without anything that login shells
/// read differently, be they sh, csh or fish. It says where the command's own output begins, and
/// then runs the command, which comes in base64.
const BEGIN: &str = r#"echo "$1"; echo "$1" >&2; shift; script=$(printf %s "$@" | base64 -d) || exit; set --; eval "$script""#;

/// What a command is called in the node's process list. A teardown looks for it before it ends what
/// is left of a run.
const NAME: &str = "labctl/runs";

/// How long the words are that a command is cut into: some C shells take no longer ones. It is a
/// multiple of four, so that none begins with `=`, which zsh would look up.
const WORD: usize = 800;

/// The longest command line that is sent, in bytes. Linux gives one argument of a process 128 KiB
/// (`MAX_ARG_STRLEN`), and the login shell gets the whole line as one.
const LONGEST: usize = 120 * 1024;

/// Standard error in extended data (RFC 4254, 5.2).
const STDERR: u32 = 1;

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
        let line = as_root(&inner.user, &marker, &command);
        if line.len() > LONGEST {
            return Err(TransportError {
                what,
                why: format!(
                    "the command has {} bytes, more than one argument can have",
                    line.len()
                ),
                help: Some("send what is long as standard input".into()),
            });
        }
        let lost = |why: String| TransportError {
            what: what.clone(),
            why,
            help: Some("look at the machine and the network, then run the same again".into()),
        };

        let Opened { channel, deadline, place: _place } = match self.open(limit).await {
            Ok(opened) => opened,
            Err(NotOpened::InTime) => return Err(timed_out(what, limit, false)),
            Err(NotOpened::Refused) => {
                return Err(TransportError {
                    what,
                    why: "the server refuses to open a session, even one alone".into(),
                    help: Some(
                        "MaxSessions must be 1 or more in sshd's configuration there; its \
                        default is 10"
                            .into(),
                    ),
                });
            }
            Err(NotOpened::Lost(error)) => return Err(lost(self.ending(&describe(&error)).await)),
        };

        let (reader, writer) = channel.split();
        let mut abandon = Abandon(Some(writer));
        let collector = Collector::new(lines, sink, most).after(&marker);
        let mut run = Run { collector, code: None, refused: false, closed: false, stuck: false };
        let driven = match &abandon.0 {
            Some(writer) => {
                timeout_at(deadline, run.drive(reader, writer, line, stdin, &inner.traffic)).await
            }
            None => Ok(Ok(())),
        };
        match driven {
            Err(_) if run.collector.has_begun() => {
                return Err(timed_out(what, limit, run.code.is_some()));
            }
            Err(_) => run.stuck = true,
            Ok(Err(error)) => {
                return Err(TransportError { what, why: error.to_string(), help: None });
            }
            Ok(Ok(())) => {}
        }
        if !run.closed && !run.stuck {
            return Err(lost(self.ending("the connection was lost").await));
        }
        if run.closed {
            abandon.0 = None;
        }
        if run.refused {
            return Err(TransportError {
                what,
                why: "the server refuses to run commands".into(),
                help: Some(
                    "look for ForceCommand or a restricted shell for this user in sshd's \
                    configuration"
                        .into(),
                ),
            });
        }
        if !run.collector.has_begun() {
            let (why, help) = not_begun(&inner.user, run.code, &run.collector.noise());
            return Err(TransportError { what, why, help: Some(help) });
        }
        match run.code {
            Some(code) => Ok(run.collector.finish(code).await),
            None => Err(lost("the command ended without an exit status".into())),
        }
    }

    /// Opens a channel for a command that may take `limit`, when there is a place for it. Where the
    /// server allows fewer sessions than there are places, this finds out, and waits for one of the
    /// others to end.
    async fn open(&self, limit: Duration) -> Result<Opened<'_>, NotOpened> {
        let inner = &*self.inner;
        let mut alone = None;
        loop {
            // The semaphore is never closed, so there is nothing to handle.
            let place = inner.places.acquire().await.ok();
            let deadline = Instant::now() + limit;
            match timeout_at(deadline, inner.handle.channel_open_session()).await {
                Err(_) => return Err(NotOpened::InTime),
                Ok(Ok(channel)) => return Ok(Opened { channel, deadline, place }),
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
        let mut ended = self.inner.ended.clone();
        // The session says so as it ends, which is before its channels are seen to end.
        match timeout(Duration::from_secs(1), ended.wait_for(Option::is_some)).await {
            Ok(Ok(reason)) => reason.clone().unwrap_or_else(|| otherwise.to_owned()),
            _ => otherwise.to_owned(),
        }
    }
}

/// A channel for a command, its place among those of the connection, and when the command must be
/// done.
struct Opened<'a> {
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

/// One command as it runs.
struct Run {
    collector: Collector,
    code: Option<i32>,
    refused: bool,
    /// The server closed the channel; else the connection went away under it.
    closed: bool,
    /// The command did not begin in time.
    stuck: bool,
}

impl Run {
    /// Starts `line`, feeds it and drains it until the channel ends. An error is one of this side's
    /// own files.
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
            if writer.exec(true, line).await.is_ok() {
                feed(writer, stdin, traffic).await
            } else {
                Ok(())
            }
        };
        tokio::pin!(send);
        let begins = tokio::time::sleep(BEGINNING);
        tokio::pin!(begins);
        let mut sending = true;
        loop {
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
                    Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => self.collector.stderr(&data)?,
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

/// The sending side of a command that may be given up. When it is, by time-out or because the
/// caller went away, the command is asked to end and its channel is closed, as far as the server
/// still listens.
struct Abandon(Option<ChannelWriteHalf<Msg>>);

impl Drop for Abandon {
    fn drop(&mut self) {
        let (Some(writer), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            // sshd passes signals on since OpenSSH 7.9, but not in sessions of root; a command that
            // goes on there ends when it next prints something.
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

/// The line that the login shell of `user` gets, so that `command` runs in `sh` as root, after
/// `marker` on both of its streams.
fn as_root(user: &str, marker: &str, command: &str) -> String {
    let sudo = if user == "root" { "" } else { "sudo -n " };
    let mut line = format!("{sudo}sh -c '{BEGIN}' {NAME} {marker}");
    let encoded = STANDARD.encode(command);
    for start in (0..encoded.len()).step_by(WORD) {
        line.push(' ');
        line.push_str(&encoded[start..encoded.len().min(start + WORD)]);
    }
    line
}

/// Why a command of `user` did not begin, and what to do: `noise` is what was printed in its place,
/// on both streams; `code` is how that ended, if it did.
fn not_begun(user: &str, code: Option<i32>, noise: &(String, String)) -> (String, String) {
    let (out, err) = noise;
    if let Some(refusal) = code.and_then(|code| sudo_refusal(user, code, err)) {
        return refusal;
    }
    let said: Vec<String> =
        [out, err].into_iter().flat_map(|text| text.lines()).filter_map(readable).collect();
    let said = said[said.len().saturating_sub(5)..].join(" / ");
    let said =
        if said.is_empty() { "it said nothing".to_owned() } else { format!("it said: {said}") };
    match code {
        Some(code) => {
            let other =
                said.split_once("login as the user \"").and_then(|(_, rest)| rest.split_once('"'));
            let help = match other {
                Some((other, _)) => {
                    format!("log in as that user: set ssh.user to {other} in the inventory")
                }
                None => format!(
                    "log in as a user who may run commands (ssh.user in the inventory): {user} \
                    has a forced command, a \
                     menu, or nologin as login shell there"
                ),
            };
            (format!("the login of {user} does not run commands (exit code {code}); {said}"), help)
        }
        None => {
            let help = format!(
                "does a profile of {user} (~/.profile, ~/.bashrc, ~/.cshrc) wait for something \
                there?"
            );
            (
                format!(
                    "the login shell of {user} did not begin it within {}; {said}",
                    seconds(BEGINNING)
                ),
                help,
            )
        }
    }
}

/// A line as a message can show it; none for one without a word in it.
fn readable(line: &str) -> Option<String> {
    let text: String =
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

/// When it was sudo that ended a command before it began: why, and what to do.
fn sudo_refusal(user: &str, code: i32, stderr: &str) -> Option<(String, String)> {
    if user == "root" || code == 0 {
        return None;
    }
    let said = stderr.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let allow = format!(
        "allow it there as root: echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/labctl"
    );
    if code == 127
        && said.to_lowercase().contains("sudo")
        && (said.contains("not found") || said.contains("Unknown"))
    {
        let help = "install sudo there, or log in as root (ssh.user)";
        return Some((format!("{user} is not root, and there is no sudo"), help.into()));
    }
    if code != 1 {
        return None;
    }
    if said.contains("must have a tty") {
        let help = format!(
            "let it run without one: add `Defaults:{user} !requiretty` to /etc/sudoers.d/labctl \
            there"
        );
        return Some(("sudo wants a terminal (requiretty)".into(), help));
    }
    if said.starts_with("sudo:") && said.contains("password") {
        return Some((format!("sudo asks {user} for a password"), allow));
    }
    if stderr.contains("is not in the sudoers file")
        || (stderr.contains("is not allowed to") && said.contains(user))
    {
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

    /// What `shell` makes of the line for `command`, after what it prints by itself.
    fn through(shell: &str, command: &str) -> std::process::Output {
        let line = as_root("root", "labctl-marker", command);
        std::process::Command::new(shell).args(["-c", &line]).output().expect("the shell starts")
    }

    #[test]
    fn every_login_shell_runs_the_same_script() {
        let long: String =
            (0..2000).map(|number| format!(": {number} it\\'s \"quoted\" !bang\n")).collect();
        let awkward = "printf '%s\\n' \"it's\" 'a  b' '$HOME `id` ~ ! \\' \"$#\"\ncat << 'EOF' \
            >&2\n!x 'y' \"z\"\nEOF\nexit 7";
        let mut shells = 0;
        for shell in ["sh", "bash", "dash", "zsh", "tcsh", "csh", "fish", "ksh", "mksh"] {
            let installed = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .any(|folder| folder.join(shell).is_file());
            if !installed {
                continue;
            }
            shells += 1;
            let output = through(shell, &format!("{long}{awkward}"));
            let (stdout, stderr) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(
                stdout, "labctl-marker\nit's\na  b\n$HOME `id` ~ ! \\\n0\n",
                "{shell}: {stderr}"
            );
            assert_eq!(stderr, "labctl-marker\n!x 'y' \"z\"\n", "{shell}");
            assert_eq!(output.status.code(), Some(7), "{shell}");
        }
        assert!(shells >= 2, "sh and bash are everywhere");
    }

    #[test]
    fn the_line_has_nothing_that_shells_read_differently() {
        let line = as_root("root", "labctl-marker", &"x=1\n".repeat(3000));
        let (text, words) =
            line.strip_prefix("sh -c '").expect("sh").split_once('\'').expect("one quoted word");
        // In single quotes: sh ends them at the next one, csh expands `!` and ends at a newline,
        // fish reads `\\`.
        assert!(!text.contains(['\'', '!', '\n', '\\']), "{text}");
        for word in words.split_ascii_whitespace() {
            assert!(word.len() <= WORD && !word.starts_with(['=', '~', '-']), "{word}");
            assert!(
                word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-".contains(&byte)),
                "{word}"
            );
        }
    }

    #[test]
    fn only_root_goes_without_sudo() {
        assert!(as_root("root", "m", "id").starts_with("sh -c '"));
        assert!(as_root("ops", "m", "id").starts_with("sudo -n sh -c '"));
        assert!(as_root("ops", "m", "id").ends_with(" labctl/runs m aWQ="));
    }

    #[test]
    fn a_node_without_base64_fails_by_its_name() {
        let line = as_root("root", "m", "echo never").replace("base64", "no-such-base64");
        let output =
            std::process::Command::new("sh").args(["-c", &line]).output().expect("a shell");
        assert_eq!(output.status.code(), Some(127));
        assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-base64"));
    }

    #[test]
    fn sudo_is_told_from_the_command() {
        let refused = [
            (1, "sudo: a password is required\n", "asks ops for a password"),
            (127, "sh: 1: sudo: not found\n", "no sudo"),
            (127, "bash: line 1: sudo: command not found\n", "no sudo"),
            (127, "fish: Unknown command: sudo\n", "no sudo"),
            (1, "sudo: sorry, you must have a tty to run sudo\n", "requiretty"),
            (
                1,
                "ops is not in the sudoers file.\nThis incident has been reported.\n",
                "may not use sudo",
            ),
            (1, "sudo: se requiere una contrase\u{f1}a\n", "se requiere"),
        ];
        for (code, stderr, expected) in refused {
            // A greeting on standard output changes nothing.
            let (why, _) = not_begun("ops", Some(code), &("Welcome\n".into(), stderr.into()));
            assert!(why.contains(expected), "{why}");
        }
        assert!(sudo_refusal("ops", 1, "tar: no such file\n").is_none());
        assert!(sudo_refusal("ops", 127, "sh: 1: kubectl: not found\n").is_none());
        assert!(sudo_refusal("root", 1, "sudo: a password is required\n").is_none());
    }

    #[test]
    fn what_a_forced_command_says_is_shown_and_followed() {
        let said = "Please login as the user \"ubuntu\" rather than the user \"root\".\n\n";
        let (why, help) = not_begun("root", Some(142), &(said.into(), String::new()));
        assert!(why.contains("Please login as the user \"ubuntu\""), "{why}");
        assert!(help.contains("ssh.user") && help.contains("ubuntu"), "{help}");

        let nologin = "This account is currently not available.\n";
        let (why, help) = not_begun("root", Some(1), &(nologin.into(), String::new()));
        assert!(
            why.contains("currently not available") && help.contains("ssh.user"),
            "{why} {help}"
        );

        let (why, help) = not_begun("root", None, &("\x1b[1mChoose: ".into(), String::new()));
        assert!(
            why.contains("within 60 s; it said: [1mChoose:") && help.contains(".bashrc"),
            "{why} {help}"
        );
    }
}
