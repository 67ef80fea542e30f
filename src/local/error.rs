//! Errors of local nodes, each with what to do about it.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

/// Why local nodes could not be created, started or removed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The inventory has no local nodes.
    #[error(
        "lab {lab} has no local nodes; add a `local:` section to its inventory to create them on \
        this machine"
    )]
    NotLocal {
        /// The lab.
        lab: String,
    },
    /// This machine cannot run local nodes.
    #[error("this machine cannot run local nodes: {}", problems.join("; "))]
    Unfit {
        /// Everything that is missing, each with its remedy.
        problems: Vec<String>,
    },
    /// The lab's network is in use on this machine.
    #[error(
        "local subnet {subnet} is already in use on this machine: {with}; choose another \
        `local.subnet` in the \
         inventory"
    )]
    Clash {
        /// The lab's network.
        subnet: IpNet,
        /// What it conflicts with: a route or an address.
        with: String,
    },
    /// A node's address cannot be used for a local node.
    #[error(
        "node {node} cannot have the address {address}: {reason}; choose a free address of \
        {subnet} in the inventory"
    )]
    Address {
        /// The node.
        node: String,
        /// Its address in the inventory.
        address: IpAddr,
        /// The lab's network.
        subnet: IpNet,
        /// What is wrong with it.
        reason: String,
    },
    /// A running node was started with another address or network.
    #[error(
        "node {node} is running with {was}, but the inventory declares {now}; \
         run `labctl down` first, or \
        change it back"
    )]
    Moved {
        /// The node.
        node: String,
        /// What it was started with.
        was: String,
        /// What the inventory declares.
        now: String,
    },
    /// Nodes are running, but their directories are not where they were created.
    #[error(
        "the local nodes {} of this lab are running or mounted, but {} has no directories for \
         them{}",
        nodes.join(", "),
        folder.display(),
        moved.as_ref().map(|moved| format!(": the lab directory is {} \
            now", moved.display())).unwrap_or_default()
    )]
    Lost {
        /// The nodes.
        nodes: Vec<String>,
        /// Where their directories should be.
        folder: PathBuf,
        /// Where the lab directory is now, if it was moved.
        moved: Option<PathBuf>,
    },
    /// The lab has no local node of this name.
    #[error("there is no local node {node} in {}", folder.display())]
    Unknown {
        /// The requested name.
        node: String,
        /// The directory that holds the lab's nodes.
        folder: PathBuf,
    },
    /// An operation on a file, directory or mount failed.
    #[error("failed to {doing} {}: \
        {source}{}", path.display(), help.as_ref().map(|h| format!("; {h}")).unwrap_or_default())]
    Io {
        /// The operation, as in "failed to read".
        doing: &'static str,
        /// The file, directory or mount.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
        /// What to do about it, if labctl knows.
        help: Option<&'static str>,
    },
    /// A program on the host failed.
    #[error("failed to {doing}: {program} {how}{}", quoted(output))]
    Program {
        /// What it was run for.
        doing: String,
        /// The program.
        program: String,
        /// How it failed: `exited with status 1`.
        how: String,
        /// The end of what it printed.
        output: String,
    },
    /// A node did not come up.
    #[error("node {node} did not come up: {reason}; its console is in \
        {}{}", console.display(), quoted(tail))]
    Boot {
        /// The node.
        node: String,
        /// What labctl was waiting for, or what exited.
        reason: String,
        /// The console log.
        console: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// Part of a node could not be removed.
    #[error(
        "failed to remove node {node}: {what}; end whatever uses it and run `labctl down` again"
    )]
    Stuck {
        /// The node.
        node: String,
        /// What is left.
        what: String,
    },
    /// An internal task was cancelled or panicked before it had a result.
    #[error("failed to {doing}: the work was interrupted; run the command again")]
    Interrupted {
        /// What it was doing.
        doing: String,
    },
}

impl LocalError {
    /// Wraps an error of the file system; for `map_err`.
    pub(super) fn io<E: Into<io::Error>>(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source: source.into(), help: None }
    }
}

fn quoted(output: &str) -> String {
    if output.trim().is_empty() { String::new() } else { format!(":\n{}", output.trim_end()) }
}

/// Returns the last `lines` lines of `text`, without terminal colours.
pub(super) fn tail(text: &str, lines: usize) -> String {
    let plain = console::strip_ansi_codes(text).replace('\r', "");
    let kept: Vec<&str> = plain.lines().filter(|line| !line.trim().is_empty()).collect();
    kept[kept.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_short_and_plain() {
        assert_eq!(tail("one\n\n\u{1b}[0;1mtwo\u{1b}[0m\r\nthree\n", 2), "two\nthree");
        assert_eq!(tail("", 5), "");
    }
}
