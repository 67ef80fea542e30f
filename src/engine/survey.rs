//! Looks at nodes as they are, as quickly as they answer: one connection per node, one script, and
//! beside it what a plan asks. A node that does not answer costs a few seconds and nobody else
//! anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Run;
use super::connect::target;
use super::probe::ask;
use crate::cluster::{Cluster, Node};
use crate::module::{Facts, Question};
use crate::transport::ssh::Dialler;
use crate::transport::{Exec, Stdin, Transport, TransportError};

/// How long a node may take to let somebody in.
const CONNECTING: Duration = Duration::from_secs(4);
/// How long it may take to answer; the script's own questions have shorter bounds.
const ANSWERING: Duration = Duration::from_secs(12);
/// Maximum size of an answer in bytes: all pods of a large lab.
const LONGEST: u64 = 32 << 20;

/// What is asked of one node.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// A script; it changes nothing.
    pub script: String,
    /// What a plan asks; may be empty.
    pub questions: BTreeSet<Question>,
}

/// What one node has answered.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// What the script printed.
    pub said: String,
    /// The answers to what a plan asks; none where they did not come in time.
    pub facts: Option<Facts>,
}

/// Why a node has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// There is no connection.
    NotConnected(String),
    /// The script could not be run.
    NotRun(String),
}

/// Asks all `nodes` at once, as many as the run allows. It emits no event.
pub async fn survey(
    cluster: &Cluster,
    nodes: &[&Node],
    asked: impl Fn(&Node) -> Asked,
    run: &Run,
) -> BTreeMap<String, Result<Surveyed, Unanswered>> {
    let dialler = Arc::new(Dialler::with(Arc::clone(&run.keyring)));
    let mut looking = JoinSet::new();
    for node in nodes {
        let (name, target, asked) = (node.name.clone(), target(cluster, node), asked(node));
        let (dialler, forks) = (Arc::clone(&dialler), Arc::clone(&run.forks));
        looking.spawn(async move {
            let _permit = forks.acquire_owned().await.ok();
            let connected = match timeout(CONNECTING, dialler.connect(&target)).await {
                Ok(Ok(session)) => Ok(Transport::Ssh(session)),
                Ok(Err(error)) => Err(Unanswered::NotConnected(reason(&error))),
                Err(_) => {
                    let seconds = CONNECTING.as_secs();
                    Err(Unanswered::NotConnected(format!("no answer within {seconds} s")))
                }
            };
            let answered = match connected {
                Ok(transport) => look_at(&transport, asked).await,
                Err(error) => Err(error),
            };
            (name, answered)
        });
    }
    let mut all = BTreeMap::new();
    while let Some(looked) = looking.join_next().await {
        all.extend(looked.ok());
    }
    all
}

/// Why there is no connection, with what helps.
fn reason(error: &TransportError) -> String {
    let help = error.help.as_ref().map(|help| format!(" ({help})"));
    format!("{error}{}", help.unwrap_or_default())
}

async fn look_at(transport: &Transport, asked: Asked) -> Result<Surveyed, Unanswered> {
    let exec = Exec::new("sh -s", ANSWERING)
        .at_most(LONGEST)
        .stdin(Stdin::Bytes(asked.script.into_bytes()));
    let facts = async {
        match asked.questions.is_empty() {
            true => None,
            false => timeout(ANSWERING, ask(transport, &asked.questions)).await.ok()?.ok(),
        }
    };
    let (said, facts) = tokio::join!(transport.exec(exec), facts);
    let said = said.map_err(|error| Unanswered::NotRun(error.to_string()))?;
    Ok(Surveyed { said: String::from_utf8_lossy(&said.stdout).into_owned(), facts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::shell::Shell;

    #[tokio::test]
    async fn a_node_is_asked_both_at_once() {
        let transport = Transport::Shell(Shell::default());
        let asked = Asked {
            script: "echo well".to_owned(),
            questions: BTreeSet::from([Question::Path("/etc/passwd".to_owned())]),
        };
        let surveyed = look_at(&transport, asked).await.expect("an answer");
        assert_eq!(surveyed.said, "well\n");
        assert!(surveyed.facts.expect("facts").paths.contains_key("/etc/passwd"));
        let asked = Asked { script: "echo well".to_owned(), ..Asked::default() };
        assert_eq!(look_at(&transport, asked).await.expect("an answer").facts, None);
    }
}
