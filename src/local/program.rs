//! Runs programs of the host; errors name the purpose and quote the output.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::error::{LocalError, tail};

/// Number of output lines of a failed program that an error quotes.
const QUOTED_LINES: usize = 15;

/// Finds the program `name` in `PATH` or in the directories for administrators, which a plain
/// user's `PATH` lacks.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators =
        ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrators)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Returns a command for `name` without standard input.
pub(super) fn command(name: &str) -> Command {
    let mut command = Command::new(find(name).unwrap_or_else(|| PathBuf::from(name)));
    command.stdin(Stdio::null());
    command
}

/// Runs `command` with `input` on its standard input and returns its output, or an error that
/// quotes it.
pub(super) fn run(doing: &str, command: &mut Command, input: &str) -> Result<String, LocalError> {
    let program = name_of(command);
    let failed = |how: String, output: String| LocalError::Program {
        doing: doing.to_owned(),
        program: program.clone(),
        how,
        output,
    };
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("could not be started: {error}"), String::new()))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that exits before it has read everything explains that in its exit status and
        // output.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(format!("was lost: {error}"), String::new()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(ending(&output), said(&output)))
}

fn name_of(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn ending(output: &Output) -> String {
    match output.status.code() {
        Some(code) => format!("exited with status {code}"),
        None => output.status.to_string(),
    }
}

fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    tail(&text, QUOTED_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_purpose_program_status_and_output() {
        let error = run(
            "count the sheep",
            command("sh").args(["-c", "echo none; echo here >&2; exit 3"]),
            "",
        )
        .expect_err("status 3 is a failure");
        assert_eq!(
            error.to_string(),
            "failed to count the sheep: sh exited with status 3:\nnone\nhere"
        );
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(run("copy", &mut command("cat"), "hello").expect("cat copies"), "hello");
    }
}
