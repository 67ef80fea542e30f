//! The line that a login shell gets for a command.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The beginning of every command: one line without anything that login shells interpret
/// differently, be it sh, csh or fish. It marks where the command's own output begins, and then
/// runs the command, which is encoded in base64.
const BEGIN: &str = concat!(
    r#"echo "$1"; echo "$1" >&2; shift; script=$(printf %s "$@" | base64 -d) || exit; set --; "#,
    // What a login may export, and would change how programs read their options, or which cluster
    // they ask. Proxies stay: packages may come through one.
    "unset POSIXLY_CORRECT TAR_OPTIONS GREP_OPTIONS BLOCK_SIZE BLOCKSIZE DF_BLOCK_SIZE ",
    "QUOTING_STYLE TMPDIR CDPATH ZSTD_CLEVEL KUBECONFIG KUBERNETES_MASTER ETCDCTL_API ",
    "ETCDCTL_ENDPOINTS ETCDCTL_CACERT ETCDCTL_CERT ETCDCTL_KEY ETCDCTL_USER ETCDCTL_PASSWORD ",
    r#"CONTAINERD_ADDRESS CONTAINERD_NAMESPACE SYSTEMD_COLORS; eval "$script""#,
);

/// The name of commands in the node's process list. A teardown looks for it before it kills what is
/// left of a run.
const NAME: &str = "labctl/runs";

/// Length of the words that a command is split into, because some C shells do not accept longer
/// ones. It is a multiple of four, so that no word begins with `=`, which zsh would expand.
const WORD: usize = 800;

/// The line that the login shell gets, so that `command` runs in `sh` after `marker` on both of its
/// streams, behind the words of `before` (`sudo -n`, or none).
pub(super) fn line(before: &str, marker: &str, command: &str) -> String {
    let blank = if before.is_empty() { "" } else { " " };
    let mut line = format!("{before}{blank}sh -c '{BEGIN}' {NAME} {marker}");
    let encoded = STANDARD.encode(command);
    for start in (0..encoded.len()).step_by(WORD) {
        line.push(' ');
        line.push_str(&encoded[start..encoded.len().min(start + WORD)]);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the line for `command` in `shell`.
    fn through(shell: &str, command: &str) -> std::process::Output {
        let text = line("", "labctl-marker", command);
        std::process::Command::new(shell).args(["-c", &text]).output().expect("the shell starts")
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
    fn what_a_login_exports_does_not_change_programs() {
        let text = line("", "labctl-marker", "env | grep -c -e POSIXLY -e ETCDCTL_ENDPOINTS");
        let mut shell = std::process::Command::new("sh");
        shell.env("POSIXLY_CORRECT", "1").env("ETCDCTL_ENDPOINTS", "https://192.0.2.1:2379");
        let output = shell.args(["-c", &text]).output().expect("the shell starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "labctl-marker\n0\n");
    }

    #[test]
    fn the_line_has_nothing_that_shells_interpret_differently() {
        let text = line("", "labctl-marker", &"x=1\n".repeat(3000));
        let (text, words) =
            text.strip_prefix("sh -c '").expect("sh").split_once('\'').expect("one quoted word");
        // In single quotes: sh ends them at the next quote, csh expands `!` and ends at a newline,
        // fish interprets `\\`.
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
    fn a_node_without_base64_fails_by_its_name() {
        let text = line("", "m", "echo never").replace("base64", "no-such-base64");
        let output =
            std::process::Command::new("sh").args(["-c", &text]).output().expect("a shell");
        assert_eq!(output.status.code(), Some(127));
        assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-base64"));
    }
}
