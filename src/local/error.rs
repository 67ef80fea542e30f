//! What can go wrong with local nodes, each with what to do about it.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

/// Why local nodes could not be made, started or removed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The inventory leaves the machines to others.
    #[error(
        "lab {lab} has no local nodes; give its inventory a `local:` section to have them made on \
        this machine"
    )]
    NotLocal {
        /// The lab.
        lab: String,
    },
    /// This machine cannot hold local nodes as it is.
    #[error("this machine cannot run local nodes: {}", problems.join("; "))]
    Unfit {
        /// Everything that is missing, each with its cure.
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
        subnet: Ipv4Net,
        /// What it clashes with: a route or an address.
        with: String,
    },
    /// A node's address lies where no local node can be.
    #[error(
        "node {node} cannot have the address {address}: {reason}; choose a free address of \
        {subnet} in the inventory"
    )]
    Address {
        /// The node.
        node: String,
        /// Its address in the inventory.
        address: Ipv4Addr,
        /// The lab's network.
        subnet: Ipv4Net,
        /// What is wrong with it.
        reason: String,
    },
    /// A node that runs was made for another address or network.
    #[error(
        "node {node} runs with {was}, but the inventory says {now}; run `labctl down` first, or \
        change it back"
    )]
    Moved {
        /// The node.
        node: String,
        /// What it was started with.
        was: String,
        /// What the inventory says.
        now: String,
    },
    /// Nodes run, and their folders are not where they were made.
    #[error(
        "the local nodes {} of this lab run or are mounted, but {} has no folders of theirs{}",
        nodes.join(", "),
        folder.display(),
        moved.as_ref().map(|moved| format!(": the lab directory is {} \
            now", moved.display())).unwrap_or_default()
    )]
    Lost {
        /// The nodes.
        nodes: Vec<String>,
        /// Where their folders should be.
        folder: PathBuf,
        /// Where the lab directory is by now, when it was moved.
        moved: Option<PathBuf>,
    },
    /// The lab has no such local node.
    #[error("there is no local node {node} in {}", folder.display())]
    Unknown {
        /// The name that was asked for.
        node: String,
        /// The folder that holds the lab's nodes.
        folder: PathBuf,
    },
    /// A file, folder or mount.
    #[error("failed to {doing} {}: \
        {source}{}", path.display(), help.as_ref().map(|h| format!("; {h}")).unwrap_or_default())]
    Io {
        /// What was being done, as in "failed to read".
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do about it, when labctl knows.
        help: Option<&'static str>,
    },
    /// A program of the host failed.
    #[error("failed to {doing}: {program} {how}{}", quoted(output))]
    Program {
        /// What it was run for.
        doing: String,
        /// The program.
        program: String,
        /// How it ended: `exited with status 1`.
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
        /// What was waited for, or what ended.
        reason: String,
        /// The console log.
        console: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// Something of a node would not go away.
    #[error(
        "failed to remove node {node}: {what}; end whatever uses it and run `labctl down` again"
    )]
    Stuck {
        /// The node.
        node: String,
        /// What is still there.
        what: String,
    },
    /// A task of ours ended without a result.
    #[error("failed to {doing}: the work was interrupted; run the command again")]
    Interrupted {
        /// What it worked on.
        doing: String,
    },
}

impl LocalError {
    /// An error of the file system, for `map_err`.
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

/// The last `lines` lines of `text`, without terminal colours.
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
