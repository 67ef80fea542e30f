//! Packages: labctl installs those of the families of systems that it has.

use super::finding::Findings;
use super::judged::Judged;
use crate::machine::{Family, Machine};
use crate::module::{Desired, State};

pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    let machine = Machine::read(&on.facts.machine);
    if !machine.family.is_empty() {
        return;
    }
    let missing: Vec<String> = on
        .desired
        .iter()
        .filter(|desired| matches!(desired, Desired::Package(_)))
        .filter_map(|desired| Some(desired.diff(on.facts)?.why))
        .collect();
    if !missing.is_empty() {
        let manager = Family::named(&machine.family).manager;
        on.warn(
            found,
            format!(
                "labctl has not been tried on its distribution, {}, and installs packages with {} \
                only; {}",
                machine.system,
                manager,
                missing.join("; ")
            ),
            format!("install them by hand, if it has no {manager}"),
        );
    }
}
