//! Units of the lab's names that are somebody else's: masked, running, changed by a drop-in, or
//! with data of theirs.

use std::collections::BTreeSet;

use super::finding::Findings;
use super::judged::Judged;
use crate::module::{Desired, State};

/// Where containerd keeps images and containers: for all its clients in the same files.
pub(super) const DATA: &str = "/var/lib/containerd";
/// The unit that serves sites of others, too.
const NGINX: &str = "nginx.service";
/// Its configuration.
const NGINX_CONFIG: &str = "/etc/nginx/nginx.conf";
/// What every new file system has in it.
const NEW: &str = "lost+found";
/// How many names are shown.
const SHOWN: usize = 5;

/// Checks the units that the plan starts.
pub(super) fn judge(on: &Judged<'_>, found: &mut Findings) {
    let started = |desired: &&Desired| match desired {
        Desired::Unit(unit) => unit.started.then(|| unit.name.clone()),
        _ => None,
    };
    // Two plays may start the same one.
    let names: BTreeSet<String> = on.desired.iter().filter_map(started).collect();
    names.iter().for_each(|name| judge_unit(on, name, found));
    data(on, found);
}

fn judge_unit(on: &Judged<'_>, name: &str, found: &mut Findings) {
    let there = on.facts.units.get(name);
    let file = |path: &str| {
        on.desired.iter().find(|it| matches!(it, Desired::File(file) if file.path == path))
    };
    let own = file(&format!("/etc/systemd/system/{name}"));
    // What is in the place of the lab's own unit file is kept, and comes back.
    if own.is_none() && there.is_some_and(|it| it.file.starts_with("masked")) {
        let what = format!("{name} is masked, so it cannot be started");
        on.refuse(found, what, format!("`systemctl unmask {name}`"));
    }
    let runs = there.is_some_and(|it| ["active", "activating"].contains(&it.active.as_str()));
    let differs = |it: &&&Desired| it.diff(on.facts).is_some();
    if runs && !on.worked_on() {
        if own.filter(differs).is_some() {
            on.refuse(
                found,
                format!("{name} runs already, and labctl did not start it"),
                format!(
                    "choose another machine; or, if nothing needs it, `systemctl disable --now \
                    {name}`"
                ),
            );
        } else if name == NGINX && file(NGINX_CONFIG).filter(differs).is_some() {
            on.warn(
                found,
                format!("{name} runs already, and `up` gives it another configuration"),
                "move its sites to another machine; `down` brings them back".to_owned(),
            );
        }
    }
    let of_unit = format!("/{name}.d/");
    for file in on.around().drop_ins().unwrap_or_default() {
        if file.contains(&of_unit) {
            let what = format!("{file} changes how {name} starts");
            let help = "remove it, or the package that it came with".to_owned();
            if on.worked_on() { on.warn(found, what, help) } else { on.refuse(found, what, help) }
        }
    }
}

/// The data of another containerd cannot be told from the lab's.
fn data(on: &Judged<'_>, found: &mut Findings) {
    let names = on.facts.names.get(DATA).into_iter().flatten();
    let theirs: Vec<&str> = names.map(String::as_str).filter(|name| *name != NEW).collect();
    if theirs.is_empty() || on.worked_on() || !on.starts("containerd.service") {
        return;
    }
    let names = theirs[..theirs.len().min(SHOWN)].join(", ");
    on.refuse(
        found,
        format!("{DATA} has the data of another program: {names}"),
        "move it away, if nothing needs it; or choose another machine".to_owned(),
    );
}
