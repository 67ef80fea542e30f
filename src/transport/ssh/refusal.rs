//! Why a command did not begin: what was printed in its place, by a forced command, a login shell,
//! sudo or doas.

use std::time::Duration;

use super::super::collect::{readable, seconds};
use crate::cluster::Tool;

/// What stood in the way of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: String,
    pub(super) help: String,
    /// Whether a password may be the way out.
    pub(super) password: bool,
}

/// Why a command of `user` did not begin, and what to do: `noise` is what was printed in its place,
/// on both streams; `code` is how that ended, if it did, and `within` how long it had to begin.
pub(super) fn not_begun(
    user: &str,
    tool: Option<Tool>,
    code: Option<i32>,
    within: Duration,
    noise: &(String, String),
) -> Refusal {
    let (out, err) = noise;
    let by_tool = match (tool, code) {
        (Some(Tool::Sudo), Some(code)) => by_sudo(user, code, err),
        (Some(Tool::Doas), Some(code)) => by_doas(user, code, err),
        _ => None,
    };
    if let Some(refusal) = by_tool {
        return refusal;
    }
    let said: Vec<String> =
        [out, err].into_iter().flat_map(|text| text.lines()).filter_map(readable).collect();
    let said = said[said.len().saturating_sub(5)..].join(" / ");
    let said = if said.is_empty() {
        "it printed nothing".to_owned()
    } else {
        format!("it printed: {said}")
    };
    let (why, help) = match code {
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
                    "the login shell of {user} did not start it within {}; {said}",
                    seconds(within)
                ),
                help,
            )
        }
    };
    Refusal { why, help, password: false }
}

/// Returns why sudo refused a command and what to do, if it did.
fn by_sudo(user: &str, code: i32, stderr: &str) -> Option<Refusal> {
    let said = stderr.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let refusal = |why: String, help: String| Some(Refusal { why, help, password: false });
    let allow = format!(
        "allow it there as root: echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/labctl"
    );
    if code == 127
        && said.to_lowercase().contains("sudo")
        && (said.contains("not found") || said.contains("Unknown"))
    {
        let help = "install sudo there, log in as root (ssh.user), or set ssh.become to doas";
        return refusal(format!("{user} is not root, and there is no sudo"), help.into());
    }
    if code != 1 {
        return None;
    }
    if said.contains("must have a tty") {
        let help = format!(
            "let it run without one: add `Defaults:{user} !requiretty` to /etc/sudoers.d/labctl \
            there"
        );
        return refusal("sudo requires a terminal (requiretty)".into(), help);
    }
    if stderr.contains("is not in the sudoers file")
        || (stderr.contains("is not allowed to") && said.contains(user))
    {
        return refusal(format!("{user} may not use sudo"), allow);
    }
    let help = format!(
        "run it on a terminal, where labctl asks for the password; or name where it comes from \
        (ssh.become_password_file, ssh.become_password_command); or {allow}"
    );
    if said.starts_with("sudo:") && said.contains("password") {
        let why = format!("sudo asks {user} for a password");
        return Some(Refusal { why, help, password: true });
    }
    // sudo prints messages in the machine's language; its name before the colon stays.
    said.starts_with("sudo: ").then(|| Refusal { why: said.to_owned(), help, password: true })
}

/// When it was doas that ended a command before it began: why, and what to do.
fn by_doas(user: &str, code: i32, stderr: &str) -> Option<Refusal> {
    let said = stderr.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let refusal = |why: String, help: String| Some(Refusal { why, help, password: false });
    if code == 127
        && said.contains("doas")
        && (said.contains("not found") || said.contains("Unknown"))
    {
        let help = "install doas there, or log in as root (ssh.user)";
        return refusal(format!("{user} is not root, and there is no doas"), help.into());
    }
    if !said.starts_with("doas:") {
        return None;
    }
    let help = format!("allow it in /etc/doas.conf there: permit nopass {user} as root");
    // It says so in two ways: "Authentication required", "a tty is required".
    if said.contains("required") {
        let why = format!("doas asks {user} for a password");
        return Some(Refusal { why, help, password: true });
    }
    refusal(format!("{user} may not use doas: {said}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn errors_of_sudo_differ_from_those_of_the_command() {
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
            // A greeting on stdout changes nothing.
            let noise = ("Welcome\n".into(), stderr.into());
            let refusal = not_begun("ops", Some(Tool::Sudo), Some(code), MINUTE, &noise);
            assert!(refusal.why.contains(expected), "{refusal:?}");
        }
        assert!(by_sudo("ops", 1, "tar: no such file\n").is_none());
        assert!(by_sudo("ops", 127, "sh: 1: kubectl: not found\n").is_none());
        let noise = (String::new(), "sudo: a password is required\n".into());
        let refusal = not_begun("root", None, Some(1), MINUTE, &noise);
        assert!(refusal.why.contains("the login of root does not run commands"), "{refusal:?}");
    }

    #[test]
    fn the_output_of_a_forced_command_is_shown_with_help() {
        let said = "Please login as the user \"ubuntu\" rather than the user \"root\".\n\n";
        let Refusal { why, help, .. } =
            not_begun("root", None, Some(142), MINUTE, &(said.into(), String::new()));
        assert!(why.contains("Please login as the user \"ubuntu\""), "{why}");
        assert!(help.contains("ssh.user") && help.contains("ubuntu"), "{help}");

        let nologin = "This account is currently not available.\n";
        let Refusal { why, help, .. } =
            not_begun("root", None, Some(1), MINUTE, &(nologin.into(), String::new()));
        assert!(
            why.contains("currently not available") && help.contains("ssh.user"),
            "{why} {help}"
        );

        let Refusal { why, help, .. } =
            not_begun("root", None, None, MINUTE, &("\x1b[1mChoose: ".into(), String::new()));
        assert!(
            why.contains("within 60 s; it printed: [1mChoose:") && help.contains(".bashrc"),
            "{why} {help}"
        );
    }
}
