//! What a playbook desires of a lab, with the certificates that it needs: issued in memory, and
//! saved once the nodes have been asked whose they are.

use std::time::Instant;

use super::exit::Stop;
use super::inputs::{Inputs, ensured, report_issued};
use super::options::Options;
use super::runbook::Runbook;
use super::session::lab_of;
use crate::bundle::Bundle;
use crate::cluster::{Cluster, Node, Role};
use crate::event::{Event, Events};
use crate::pki::identity::Holding;
use crate::pki::store;
use crate::playbook::Playbook;
use crate::secret::Secret;

/// What a playbook desires, with the certificates that it needs.
pub struct Prepared<'a> {
    /// The plays.
    pub runbook: Runbook<'a>,
    /// The certificates.
    pub unsaved: Unsaved,
}

/// Certificates of a run; those that were issued for it are in memory only, until
/// [`Unsaved::save`].
pub struct Unsaved {
    ensured: store::Ensured,
    admin_conf: Option<Secret>,
}

/// What the playbook desires of the lab, from certificates that are issued for it or as the lab
/// directory has them. A playbook or template with a mistake is refused before anything is saved.
///
/// # Errors
/// If certificates cannot be used or issued, or the playbook cannot be expanded.
pub fn desired<'a>(
    issued: Option<store::Ensured>,
    cluster: &'a Cluster,
    playbook: &Playbook,
    bundle: Bundle,
    options: &Options,
) -> Result<Prepared<'a>, Stop> {
    let ensured = issued.map_or_else(|| ensured(cluster, &lab_of(cluster)), Ok)?;
    let inputs = Inputs::new(cluster, options)?.with(ensured.pki.clone(), bundle)?;
    let admin_conf = inputs.admin_conf().cloned();
    let runbook = Runbook::new(inputs, playbook, cluster)?;
    Ok(Prepared { runbook, unsaved: Unsaved { ensured, admin_conf } })
}

impl Unsaved {
    /// Keeps the certificates in the lab directory, as a step of a run. `reached` are the nodes
    /// that can be worked on, of `nodes` that should be; `holding` is what the lab directory held
    /// until now. Returns what it holds from now on.
    ///
    /// # Errors
    /// If the lab directory cannot be written, or if new keys would be created although a
    /// controller that may have the lab's keys cannot be reached.
    pub fn save(
        self,
        cluster: &Cluster,
        nodes: &[&Node],
        reached: &[&Node],
        mut holding: Holding,
        events: &Events,
    ) -> Result<Holding, Stop> {
        let (step, started) = ("certificates".to_owned(), Instant::now());
        let lab = lab_of(cluster);
        if holding.is_empty() {
            let unseen = |node: &&&Node| !reached.iter().any(|it| it.name == node.name);
            let silent = nodes.iter().filter(|node| node.has(Role::Controller)).find(unseen);
            if let Some(node) = silent {
                let what = format!(
                    "the lab directory has no keys yet, but {} may have them and cannot be reached",
                    node.name
                );
                return Err(Stop::failed(what).help(
                    "nothing was changed; mend what is said of it above, or take it out of the \
                    inventory",
                ));
            }
        }
        events.emit(Event::StepStarted { step: step.clone() });
        holding = keep(&self.ensured, cluster, holding)?;
        report_issued(&self.ensured.issued, events);
        if let Some(admin) = &self.admin_conf {
            lab.write_private(&lab.admin_conf(), admin.expose()).map_err(Stop::failed)?;
        }
        let issued = self.ensured.issued.len();
        let detail = if issued == 0 { "all valid".to_owned() } else { format!("{issued} issued") };
        events.emit(Event::StepEnded {
            step,
            detail,
            changed: issued > 0,
            took: started.elapsed(),
        });
        Ok(holding)
    }
}

/// Writes what was issued to the lab directory, and which keys it has before and after. `holding`
/// is what it held until now; returns what it holds from now on.
///
/// # Errors
/// If the lab directory cannot be written.
pub fn keep(issued: &store::Ensured, cluster: &Cluster, holding: Holding) -> Result<Holding, Stop> {
    let lab = lab_of(cluster);
    store::remember(&holding, &lab).map_err(Stop::failed)?;
    if !issued.is_unsaved() {
        return Ok(holding);
    }
    issued.save(&lab).map_err(Stop::failed)?;
    let holding = store::holding(cluster, &lab).map_err(Stop::failed)?;
    store::remember(&holding, &lab).map_err(Stop::failed)?;
    Ok(holding)
}
