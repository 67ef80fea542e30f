//! Asks all nodes how they are, and has the answers judged.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use super::drift::{self, Desire};
use crate::cluster::{Cluster, Node};
use crate::commands::ask;
use crate::commands::exit::{Exit, Stop};
use crate::commands::named::limited;
use crate::commands::options::Options;
use crate::commands::session::{lab_of, stopped};
use crate::engine::Run;
use crate::engine::survey::{Asked, Surveyed, Unanswered, survey};
use crate::event::Events;
use crate::module::quote;
use crate::pki::identity::{Holding, Mark};
use crate::pki::inspect::Certificate;
use crate::pki::rotation::PkiContent;
use crate::pki::{listing, store};
use crate::plan::Tasks;
use crate::status::answer::parse;
use crate::status::ask::{script, units_of};
use crate::status::judge::docket::{Known, Silence};
use crate::status::judge::judge;
use crate::status::{Deviation, LabStatus};

/// How the lab is now.
///
/// # Errors
/// When a node that `--limit` names is not in the lab.
pub async fn look(cluster: &Cluster, options: &Options) -> Result<LabStatus, Stop> {
    let nodes = limited(cluster, &options.limit)?;
    let mut desire = Desire::of(cluster, options).await;
    let stopped = stopped(cluster);
    let running: Vec<&Node> =
        nodes.iter().copied().filter(|node| !stopped.contains(&node.name)).collect();
    let tasks = desire.as_ref().ok().map(Desire::tasks);
    let units: BTreeMap<String, BTreeSet<String>> =
        nodes.iter().map(|node| (node.name.clone(), units(tasks.as_ref(), node))).collect();
    let (_cancel, cancelled) = tokio::sync::watch::channel(false);
    let run = Run::new(Events::channel().0, options.forks.get(), cancelled).asking(ask::keyring());
    let now = OffsetDateTime::now_utc();
    let asked = |node: &Node| Asked {
        script: script(cluster, node, &units[&node.name]),
        questions: tasks.as_ref().map(|it| drift::questions(it, &node.name)).unwrap_or_default(),
    };
    let surveyed = survey(cluster, &running, asked, &run).await;
    let drift = match &mut desire {
        Ok(desire) => desire.drift(&surveyed),
        Err(why) => Deviation::Unknown(why.clone()),
    };
    let (answers, silent) = sorted(surveyed, &stopped);
    let known = Known {
        cluster,
        nodes,
        inventory: quote(&options.inventory.display().to_string()).to_string(),
        units,
        answers,
        silent,
        holding: holding(cluster),
        authorities: authorities(cluster),
        drift,
        now,
    };
    Ok(judge(&known))
}

/// A lab of which no node answers was not looked at.
pub fn exit_of(status: &LabStatus) -> Exit {
    match (status.nodes.iter().any(|node| node.reached), status.well) {
        (false, _) => Exit::Failed,
        (true, false) => Exit::Pending,
        (true, true) => Exit::Done,
    }
}

/// The units that a node should run: what the playbook starts there, or what its roles need.
fn units(tasks: Option<&Tasks<'_>>, node: &Node) -> BTreeSet<String> {
    let planned = tasks.map(|tasks| drift::units(tasks, &node.name)).unwrap_or_default();
    if planned.is_empty() { units_of(node) } else { planned }
}

type Sorted = (BTreeMap<String, crate::status::answer::NodeAnswer>, BTreeMap<String, Silence>);

/// The answers that can be read, and why there are no others.
fn sorted(
    surveyed: BTreeMap<String, Result<Surveyed, Unanswered>>,
    stopped: &BTreeSet<String>,
) -> Sorted {
    let mut answers = BTreeMap::new();
    let mut silent: BTreeMap<String, Silence> =
        stopped.iter().map(|name| (name.clone(), Silence::Stopped)).collect();
    for (node, looked) in surveyed {
        let silence = match looked {
            Ok(surveyed) => match parse(&surveyed.said) {
                Ok(answer) => {
                    answers.insert(node, answer);
                    continue;
                }
                Err(why) => Silence::NoAnswer(why),
            },
            Err(Unanswered::NotConnected(why)) => Silence::NoConnection(why),
            Err(Unanswered::NotRun(why)) => Silence::NoAnswer(why),
        };
        silent.insert(node, silence);
    }
    (answers, silent)
}

/// The keys of the lab directory; none where it cannot be read, and then nodes say what it lacks.
fn holding(cluster: &Cluster) -> Holding {
    let kept = store::holding(cluster, &lab_of(cluster));
    kept.unwrap_or_else(|_| Holding::new(&cluster.name, &PkiContent::default(), &Mark::default()))
}

/// The CAs of the lab directory.
fn authorities(cluster: &Cluster) -> Vec<Certificate> {
    let kept = listing::in_lab_directory(&lab_of(cluster)).unwrap_or_default();
    let read = kept.iter().filter_map(|(file, text)| listing::read(file, text).ok());
    read.flatten().filter(|certificate| certificate.is_ca).collect()
}
