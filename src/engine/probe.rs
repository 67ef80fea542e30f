//! Asks every node about everything that a plan wants to know: one round trip a node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use super::{Connections, Run};
use crate::event::Event;
use crate::module::probe::{LONGEST_TEXT, parse, script};
use crate::module::{Facts, Question};
use crate::transport::{Exec, Stdin, Transport, TransportError};

/// A probe reads only; on a node where hundreds of megabytes have to be hashed again it may still
/// take a while.
const PROBE_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest answer that is read, in bytes. A node answers with a few hundred lines and some
/// small files.
const LONGEST_ANSWER: u64 = 16 << 20;

/// Asks `questions` of every connected node. A node that does not answer is told of and is not in
/// the result.
pub async fn probe(
    connections: &Connections,
    questions: impl Fn(&str) -> BTreeSet<Question>,
    run: &Run,
) -> BTreeMap<String, Facts> {
    let mut asking = JoinSet::new();
    for (node, transport) in connections {
        let (node, transport, run) = (node.clone(), transport.clone(), run.clone());
        let questions = questions(&node);
        asking.spawn(async move {
            let Ok(_permit) = run.forks.clone().acquire_owned().await else { return None };
            let started = Instant::now();
            match ask(&transport, &questions).await {
                Ok(facts) => {
                    run.events
                        .emit(Event::NodeProbed { node: node.clone(), took: started.elapsed() });
                    Some((node, facts))
                }
                Err(error) => {
                    run.node_failed(&node, "probe", &error);
                    None
                }
            }
        });
    }
    let mut facts = BTreeMap::new();
    while let Some(answered) = asking.join_next().await {
        facts.extend(answered.ok().flatten());
    }
    facts
}

/// Asks one node.
///
/// # Errors
/// When the connection fails, or the answer is not whole.
pub async fn ask(
    transport: &Transport,
    questions: &BTreeSet<Question>,
) -> Result<Facts, TransportError> {
    let sent = SystemTime::now();
    // The script goes in as input, not as an argument: it may be longer than the system allows
    // arguments to be.
    let exec = Exec::new("sh -s", PROBE_TIMEOUT)
        .at_most(LONGEST_ANSWER)
        .stdin(Stdin::Bytes(script(questions).into_bytes()));
    let output = transport.exec(exec).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut facts = parse(questions, &text).map_err(|error| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let why = match stderr.trim() {
            "" => error.to_string(),
            said => format!("{error}; it said: {}", said.lines().last().unwrap_or_default()),
        };
        TransportError { what: "probe the node".to_owned(), why, help: None }
    })?;
    // A node sends no longer one by itself; it would be held against another, line by line.
    facts.other_texts.retain(|_, text| text.len() as u64 <= LONGEST_TEXT);
    // The node read its clock right at the beginning of the round trip.
    let here = sent.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    facts.clock_offset = facts.clock_offset.map(|there| there - here);
    Ok(facts)
}
