//! Asks every node everything that a plan needs to know, in one round trip per node.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use super::{Connections, Run};
use crate::event::Event;
use crate::module::probe::{LONGEST_TEXT, parse, script};
use crate::module::{Facts, Question};
use crate::transport::{Exec, Stdin, Transport, TransportError};

/// Time limit: a probe only reads, but may have to hash hundreds of megabytes.
const PROBE_TIMEOUT: Duration = Duration::from_secs(120);

/// Maximum size in bytes of an answer, which usually has a few hundred lines and some small files.
const LONGEST_ANSWER: u64 = 16 << 20;

/// Asks `questions` of every connected node. A node that does not answer is reported and left out
/// of the result.
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
    let (mut facts, mut pool) = (BTreeMap::new(), HashSet::new());
    while let Some(answered) = asking.join_next().await {
        let answered = answered.ok().flatten();
        facts.extend(answered.map(|(node, facts)| (node, facts.sharing(&mut pool))));
    }
    facts
}

/// Asks one node.
///
/// # Errors
/// If the connection fails, or the answer is incomplete.
pub async fn ask(
    transport: &Transport,
    questions: &BTreeSet<Question>,
) -> Result<Facts, TransportError> {
    let sent = SystemTime::now();
    // The script is the input, not an argument, because the length of arguments is limited.
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
    // A node never sends a longer text, and comparing one line by line would take too long.
    facts.other_texts.retain(|_, text| text.len() as u64 <= LONGEST_TEXT);
    // The node reads its clock at the beginning of the round trip.
    let here = sent.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    facts.clock_offset = facts.clock_offset.map(|there| there - here);
    Ok(facts)
}
