//! One command on many nodes at once, as somebody types it who wants to look at a lab.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{Connections, Run};
use crate::transport::{Exec, Transport, lines};

/// Time limit of a command: as long as somebody may want to follow a log.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of lines that wait to be read. A node that prints faster waits.
const WAITING: usize = 1024;

/// What comes from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A line of standard output, as it arrives.
    Output {
        /// The node.
        node: String,
        /// The line without its end.
        line: String,
    },
    /// The command ended. It comes once per node.
    Ended {
        /// The node.
        node: String,
        /// Standard error, line by line.
        errors: Vec<String>,
        /// The exit code, or why there is none.
        code: Result<i32, String>,
    },
}

/// Runs `command` as root on every connected node, on as many at once as the run allows, and
/// returns what they say. The channel closes when all have ended, or the user asks to stop.
pub fn everywhere(connections: &Connections, command: &str, run: &Run) -> mpsc::Receiver<Said> {
    let (said, receiver) = mpsc::channel(WAITING);
    for (node, transport) in connections {
        let (node, transport, command) = (node.clone(), transport.clone(), command.to_owned());
        let (said, run) = (said.clone(), run.clone());
        tokio::spawn(async move {
            let Ok(_permit) = run.forks.clone().acquire_owned().await else { return };
            let mut cancelled = run.cancelled.clone();
            tokio::select! {
                () = on_node(&node, &transport, command, &said) => {}
                Ok(_) = cancelled.wait_for(|stop| *stop) => {}
            }
        });
    }
    receiver
}

async fn on_node(node: &str, transport: &Transport, command: String, said: &mpsc::Sender<Said>) {
    let (sender, mut receiver) = lines();
    let passing_on = async {
        while let Some(line) = receiver.recv().await {
            // Nobody listens any more when the run has been stopped.
            let _ = said.send(Said::Output { node: node.to_owned(), line }).await;
        }
    };
    let exec = Exec::new(command, LIMIT).lines(sender).at_most(u64::MAX);
    let (output, ()) = tokio::join!(transport.exec(exec), passing_on);
    let (errors, code) = match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            (text.lines().map(str::to_owned).collect(), Ok(output.code))
        }
        Err(error) => (Vec::new(), Err(error.to_string())),
    };
    let _ = said.send(Said::Ended { node: node.to_owned(), errors, code }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::shell::Shell;

    #[tokio::test]
    async fn every_node_says_its_lines_and_how_it_ended() {
        let connections: Connections = ["one", "two"]
            .map(|name| (name.to_owned(), Transport::Shell(Shell::default())))
            .into_iter()
            .collect();
        let (_cancel, cancelled) = tokio::sync::watch::channel(false);
        let run = Run::new(crate::event::Events::channel().0, 1, cancelled);
        let mut said = everywhere(&connections, "echo a; echo b; echo bad >&2; exit 3", &run);
        let mut all = Vec::new();
        while let Some(one) = said.recv().await {
            all.push(one);
        }
        for node in ["one", "two"] {
            let node = node.to_owned();
            let line = |line: &str| Said::Output { node: node.clone(), line: line.to_owned() };
            let ended =
                Said::Ended { node: node.clone(), errors: vec!["bad".to_owned()], code: Ok(3) };
            let of_node: Vec<&Said> = all
                .iter()
                .filter(|one| match one {
                    Said::Output { node: of, .. } | Said::Ended { node: of, .. } => *of == node,
                })
                .collect();
            assert_eq!(of_node, [&line("a"), &line("b"), &ended]);
        }
    }
}
