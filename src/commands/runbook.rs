//! What a playbook desires of a lab, as far as its machines are known.

use super::exit::Stop;
use super::inputs::Inputs;
use super::machines;
use crate::cluster::Cluster;
use crate::machine::Machines;
use crate::plan::{self, DesiredPlay};
use crate::playbook::Playbook;

/// A playbook's plays for a run. They are expanded for the lab as it is known, and again when its
/// machines turn out to be different.
pub struct Runbook<'a> {
    inputs: Inputs<'a>,
    playbook: Playbook,
    /// The lab as it was known when the plays were expanded.
    known: Cluster,
    plays: Vec<DesiredPlay>,
}

impl<'a> Runbook<'a> {
    /// Expands the playbook for the lab as it is known.
    ///
    /// # Errors
    /// When a template or a value of the playbook cannot be worked out.
    pub fn new(inputs: Inputs<'a>, playbook: &Playbook, cluster: &Cluster) -> Result<Self, Stop> {
        let known = machines::known(cluster);
        let plays = inputs.expand_for(playbook, &known)?;
        Ok(Self { inputs, playbook: playbook.clone(), known, plays })
    }

    /// The plays, expanded for every node.
    pub fn plays(&self) -> &[DesiredPlay] {
        &self.plays
    }

    /// The lab, with what is known of its machines.
    pub fn known(&self) -> &Cluster {
        &self.known
    }

    /// The architecture of the files that it installs, if it installs any.
    pub fn architecture(&self) -> Option<&str> {
        self.inputs.architecture()
    }

    /// Learns what was found. Where that is not what the plays were expanded for, they are expanded
    /// again, and the earlier ones are returned.
    ///
    /// # Errors
    /// As in [`Runbook::new`].
    pub fn learn(&mut self, found: &Machines) -> Result<Option<Vec<DesiredPlay>>, Stop> {
        let known = plan::machines::learn(&self.known, found);
        if known == self.known {
            return Ok(None);
        }
        let plays = self.inputs.expand_for(&self.playbook, &known)?;
        self.known = known;
        Ok(Some(std::mem::replace(&mut self.plays, plays)))
    }
}
