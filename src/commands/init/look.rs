//! Logs in to machines and asks what an inventory needs to know of them.

use std::collections::BTreeSet;

use tokio::sync::watch;

use super::found::{FoundMachine, HOSTNAME};
use super::place::InventoryPlace;
use super::text::quoted;
use super::wanted::Wanted;
use crate::cluster::{self, Cluster, Jump, Node, Version};
use crate::commands::ask;
use crate::commands::exit::{Exit, Stop};
use crate::commands::options::Options;
use crate::commands::ownership::preflight_failure;
use crate::engine::Run;
use crate::engine::connect::connect_trusting;
use crate::engine::probe::probe;
use crate::event::{Event, Events, Failure};
use crate::module::Question;
use crate::pki::store;
use crate::plan::ownership;
use crate::report::Reporter;

/// Returns what was found on each machine, in the order in which they were typed.
///
/// # Errors
/// When one of them cannot be reached, or belongs to a lab or a cluster already: that is reported.
pub(super) async fn look(
    wanted: &Wanted,
    place: &InventoryPlace,
    options: &Options,
    reporter: &Reporter,
) -> Result<Vec<FoundMachine>, Stop> {
    let logins = parsed(&wanted.hosts)?;
    let cluster = provisional(&logins, wanted, place)?;
    if wanted.accept_new_host_keys {
        place.lab().create().map_err(Stop::failed)?;
    }
    let (events, receiver) = Events::channel();
    let reporting = reporter.spawn(receiver, None);
    let (_cancel, cancelled) = watch::channel(false);
    let run = Run::new(events.clone(), options.forks.get(), cancelled).asking(ask::keyring());
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    events.emit(Event::RunStarted {
        verb: "init".to_owned(),
        lab: cluster.name.clone(),
        nodes: nodes.iter().map(|node| node.name.clone()).collect(),
    });
    let connections = connect_trusting(&cluster, &nodes, wanted.accept_new_host_keys, &run).await;
    let facts = probe(&connections, |_| questions(), &run).await;
    let holding = store::holding(&cluster, &place.lab()).map_err(Stop::failed)?;
    let taken_over: BTreeSet<String> = options.take_over.iter().cloned().collect();
    let strangers = ownership::strangers(&holding, &facts, &taken_over);
    let ok = strangers.is_empty() && facts.len() == nodes.len();
    for stranger in strangers {
        events.emit(Event::TaskFailed(preflight_failure(stranger)));
    }
    drop((run, events));
    let mut report = reporting.await.map_err(Stop::failed)?;
    report.failures.iter_mut().for_each(|failure| suit_to_init(failure, &cluster));
    reporter.failures(&report);
    if !ok {
        reporter.note("nothing was written; mend that, or leave those machines out");
        return Err(Stop::silent(Exit::Failed));
    }
    let found = |(typed, login): &(String, Jump)| {
        Some(FoundMachine::read(typed, login, facts.get(typed.as_str())?))
    };
    Ok(logins.iter().filter_map(found).collect())
}

/// What helps with an unknown host key, before there is an inventory or a lab directory.
fn suit_to_init(failure: &mut Failure, cluster: &Cluster) {
    let Some(node) = cluster.node(&failure.node) else { return };
    if !failure.reason.contains("the host is unknown") {
        return;
    }
    let port = node.ssh.port.map(|port| format!("-p {port} ")).unwrap_or_default();
    failure.help = Some(format!(
        "compare the key with the one on the machine's console, then log in once with `ssh \
         {port}{}`; or add --accept-new-host-keys, which trusts machines that nobody knows yet",
        node.ssh.host
    ));
}

fn questions() -> BTreeSet<Question> {
    let mut questions = ownership::questions();
    questions.extend([
        Question::Machine,
        Question::Surroundings,
        Question::Text(HOSTNAME.to_owned()),
    ]);
    questions
}

/// Returns the machines in parts, beside what was typed; each is named once.
fn parsed(hosts: &[String]) -> Result<Vec<(String, Jump)>, Stop> {
    let mut logins: Vec<(String, Jump)> = Vec::new();
    for typed in hosts {
        let login = Jump::parse(typed).map_err(|wrong| {
            Stop::bad(format!("`{typed}` {wrong}"))
                .help("name a machine as `host`, `user@host` or `user@host:port`")
        })?;
        if logins.iter().any(|(_, it)| (&it.host, it.port) == (&login.host, login.port)) {
            return Err(Stop::bad(format!("`{}` is named twice", login.host))
                .help("a machine with several roles is one node with several roles"));
        }
        logins.push((typed.clone(), login));
    }
    Ok(logins)
}

/// Returns a lab of these machines, of which nothing but the login counts. Their names are what was
/// typed, for messages.
fn provisional(
    logins: &[(String, Jump)],
    wanted: &Wanted,
    place: &InventoryPlace,
) -> Result<Cluster, Stop> {
    let mut text = format!("name: {}\nkubernetes: \"{}\"\n", quoted(&place.name), Version::TESTED);
    if let Some(identity) = &wanted.identity {
        text += &format!("ssh: {{ identity: {:?} }}\n", identity.display().to_string());
    }
    let count = u32::try_from(logins.len()).unwrap_or(u32::MAX);
    // A range for benchmarks, which no machine has.
    text += "defaults: { roles: [controller, worker] }\n";
    text += &format!("nodes:\n  - {{ name: \"n-[1-{count}]\", address: 198.18.0.1 }}\n");
    let resolved = cluster::open_with(&place.file, &text);
    let (mut cluster, _) = resolved.map_err(|problems| {
        let said: Vec<String> = problems.iter().map(|it| it.what.clone()).collect();
        Stop::bad(said.join("; "))
    })?;
    for (node, (typed, login)) in cluster.nodes.iter_mut().zip(logins) {
        node.name.clone_from(typed);
        node.ssh.host.clone_from(&login.host);
        node.ssh.port = login.port;
        node.ssh.user.clone_from(&login.user);
    }
    Ok(cluster)
}
