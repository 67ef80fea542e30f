//! `unit`: a systemd unit, enabled and started, that runs with its current files.
//!
//! A unit restarts only if something that it uses has changed. "Changed" must work across
//! interrupted runs: a run may have written a file and been killed before the restart. Therefore
//! each start records the hashes of everything that the unit uses on the node, and the diff
//! compares this record with the desired state, not with what this run did.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::event::ChangeKind;

use super::{
    Actions, Arguments, Desired, Difference, Facts, Question, Site, State, probe::UnitFact,
    probe::unit_record, quote,
};
use crate::node::record::{self, Kind};

/// `unit`: a systemd unit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitArgs {
    /// Its name with suffix, such as `etcd.service`.
    pub name: String,
    /// Whether it should be running.
    pub state: UnitState,
    /// Whether it should start at boot; yes by default.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Files, or directories with a trailing `/`, that the unit uses: when they change, `on_change`
    /// applies. Its own unit file is implied. The default in a component's file is everything that
    /// the component puts on the node and the certificates that it lists.
    #[serde(default)]
    pub uses: Option<Vec<String>>,
    /// What to do when one of them changes.
    #[serde(default)]
    pub on_change: OnChange,
    /// What its program creates or changes, for the teardown: directories, links as
    /// `/sys/class/net/NAME`, kernel settings as paths below `/proc/sys`. The teardown removes only
    /// what did not exist before, and restores only settings that had another value.
    #[serde(default)]
    pub leaves: Vec<String>,
}

/// Whether a unit should be running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// Running.
    Started,
    /// Not running.
    Stopped,
}

impl Arguments for UnitArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let started = self.state == UnitState::Started;
        // Only paths for now; hashes are added once every file of the node is known.
        let used = |path| Used { path, sha256: String::new() };
        Ok(Desired::Unit(Unit {
            name: whole_name(site.text(&self.name)?)?,
            started,
            enabled: self.enabled.unwrap_or(started),
            on_change: self.on_change,
            uses: site
                .paths(self.uses.as_deref().unwrap_or_default())?
                .into_iter()
                .map(used)
                .collect(),
            leaves: site.paths(&self.leaves)?,
        }))
    }
}

/// systemd answers with full names, so a shortened name would never match.
fn whole_name(name: String) -> Result<String, String> {
    const KINDS: [&str; 6] = [".service", ".socket", ".timer", ".mount", ".path", ".target"];
    if KINDS.iter().any(|kind| name.len() > kind.len() && name.ends_with(kind)) {
        return Ok(name);
    }
    Err(format!("unit `{name}` has no suffix; write `{name}.service`"))
}

/// A systemd unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// With its suffix: `etcd.service`.
    pub name: String,
    /// Whether it should be running.
    pub started: bool,
    /// Whether it should start at boot.
    pub enabled: bool,
    /// What to do when something that it uses has changed.
    pub on_change: OnChange,
    /// What it uses: files with their desired hashes, sorted by path.
    pub uses: Vec<Used>,
    /// What its program creates or changes: directories, links below `/sys/class/net`, kernel
    /// settings below `/proc/sys`. Recorded before its first start, for the teardown.
    pub leaves: Vec<String>,
}

/// What to do with a running unit when something that it uses has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// Stop and start it.
    #[default]
    Restart,
    /// Reload its files.
    Reload,
}

/// A file that a unit uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used {
    /// Absolute path on the node.
    pub path: String,
    /// The desired content's SHA-256.
    pub sha256: String,
}

/// The text that is recorded for a unit that was started and did not stay up.
pub const DID_NOT_STAY: &str = "did not stay up";
/// How long to watch a program after its start, in hundredths of a second: the minimum if it is
/// listening by then, the maximum otherwise. Errors in flags and files show up within a second or
/// two.
const WATCHED: (u32, u32) = (100, 400);
/// How long to watch a unit that kept restarting: its next end must come within this time.
const WATCHED_FLAPPING: (u32, u32) = (1200, 1200);
/// A unit is flapping if systemd has restarted it at least this often and it has been active for
/// less than this many seconds. A single restart is normal: a program that loses a lease or a
/// connection may exit to be restarted.
const FLAPS: (u32, u64) = (2, 10);

impl Unit {
    /// Returns what is recorded once the unit runs as desired, in `sha256sum`'s format, so that
    /// `sha256sum -c` can check it.
    fn fingerprint(&self) -> String {
        self.uses.iter().map(|used| format!("{}  {}\n", used.sha256, used.path)).collect()
    }

    /// Returns why the running unit must be restarted or reloaded, if it must.
    fn outdated(&self, facts: &Facts) -> Option<Difference> {
        let (kind, verb) = match self.on_change {
            OnChange::Restart => (ChangeKind::Restart, "restart"),
            OnChange::Reload => (ChangeKind::Reload, "reload"),
        };
        let because = |why: String| Some(Difference::new(kind, format!("{verb}: {why}")));
        let desired = self.fingerprint();
        let Some(noted) = facts.texts.get(&unit_record(&self.name)) else {
            return because("it was not started by labctl".to_owned());
        };
        if *noted == desired {
            return None;
        }
        if noted.trim_end() == DID_NOT_STAY {
            return because(format!("it {DID_NOT_STAY} when it was last started"));
        }
        let changed: Vec<&str> = self
            .uses
            .iter()
            .filter(|used| !noted.contains(&format!("{}  {}\n", used.sha256, used.path)))
            .map(|used| used.path.as_str())
            .collect();
        because(match changed.as_slice() {
            [] => "something that it used is gone".to_owned(),
            [one] => format!("{one} changed"),
            [one, rest @ ..] => format!("{one} and {} more changed", rest.len()),
        })
    }

    /// Returns what the running unit has not loaded yet of the files that it uses, one sentence
    /// each. Empty if it is not running, or nothing was recorded at its start.
    pub fn not_taken_up(&self, facts: &Facts) -> Vec<String> {
        let runs = facts.units.get(&self.name).is_some_and(|found| found.active == "active");
        let Some(noted) =
            facts.texts.get(&unit_record(&self.name)).filter(|_| self.started && runs)
        else {
            return Vec::new();
        };
        if noted.trim_end() == DID_NOT_STAY {
            return Vec::new();
        }
        let noted: BTreeMap<&str, &str> = noted
            .lines()
            .filter_map(|line| line.split_once("  ").map(|(sha256, path)| (path, sha256)))
            .collect();
        let news = self.uses.iter().filter_map(|used| match noted.get(used.path.as_str()) {
            Some(sha256) if *sha256 == used.sha256 => None,
            Some(_) => Some(format!("{} changed", used.path)),
            None => Some(format!("{} is new to it", used.path)),
        });
        let gone = noted.keys().filter(|path| !self.uses.iter().any(|used| used.path == **path));
        news.chain(gone.map(|path| format!("{path} is no longer used"))).collect()
    }
}

/// Whether a unit keeps restarting and has only just been started.
fn flaps(found: &UnitFact) -> bool {
    let (restarts, seconds) = FLAPS;
    found.active == "active"
        && found.restarts >= restarts
        && found.lasted.is_some_and(|lasted| lasted < seconds)
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

impl State for Unit {
    fn probe(&self) -> Vec<Question> {
        vec![Question::Unit(self.name.clone()), Question::Text(unit_record(&self.name))]
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let missing = UnitFact::default();
        let found = facts.units.get(&self.name).unwrap_or(&missing);
        let runs = found.active == "active";
        let start = |why| Some(Difference::new(ChangeKind::Start, why));
        match (self.started, runs) {
            (true, false) if found.active.is_empty() => return start("start".to_owned()),
            (true, false) if found.sub.starts_with("auto-restart") => {
                let ends = times(found.restarts + 1);
                return start(format!("start: it keeps exiting, {ends} so far"));
            }
            (true, false) => return start(format!("start: it is {}", found.active)),
            (false, true) => return Some(Difference::new(ChangeKind::Stop, "stop")),
            _ => {}
        }
        if self.started
            && let Some(why) = self.outdated(facts)
        {
            return Some(why);
        }
        if self.started && flaps(found) {
            let lasted = found.lasted.unwrap_or_default();
            let why = format!("it ended {}, the last time {lasted} s ago", times(found.restarts));
            return Some(Difference::alter(why));
        }
        match (self.enabled, found.file.as_str()) {
            // A unit without an [Install] section is started by others and cannot be enabled.
            (true, "enabled" | "static" | "generated" | "alias" | "indirect") => {}
            (true, _) => return Some(Difference::alter("enable")),
            (false, "enabled") => return Some(Difference::alter("disable")),
            (false, _) => {}
        }
        found.stale.then(|| Difference::alter("systemd has not reloaded its unit file"))
    }

    fn actions(&self, facts: &Facts) -> Actions {
        let name = quote(&self.name);
        let found = facts.units.get(&self.name);
        let running = found.is_some_and(|unit| unit.active == "active");
        let record = unit_record(&self.name);
        // Somebody has started it. systemd does not notice the first drop-in of a unit that it has
        // loaded.
        let foreign = running && !facts.texts.contains_key(&record);
        let stale = if foreign { "stale=yes\n" } else { "" };
        let mut script = format!("see {name}\n{stale}reread {name}\n");
        // systemctl would also switch links of old init scripts, and nothing would restore them.
        script.push_str("export SYSTEMCTL_SKIP_SYSV=1\n");
        if self.enabled || self.started {
            script.push_str(&format!("made_unit {name}\n"));
        }
        if self.started && !self.leaves.is_empty() {
            let leaves: Vec<_> = self.leaves.iter().map(|path| quote(path)).collect();
            script.push_str(&format!("leaves {}\n", leaves.join(" ")));
        }
        if self.enabled {
            script.push_str(&format!("enable_unit {name}\n"));
        } else {
            script.push_str(&format!("disable {name}\n"));
        }
        let mut payloads = Vec::new();
        if self.started {
            let due = !running || self.outdated(facts).is_some();
            if due {
                let verb = match self.on_change {
                    OnChange::Restart => "restart",
                    OnChange::Reload => "reload-or-restart",
                };
                script.push_str(&format!("start {name} {verb}\n"));
            }
            if due || found.is_some_and(flaps) {
                // Once it has stayed up, what is recorded is what it runs with.
                let (least, most) = if due { WATCHED } else { WATCHED_FLAPPING };
                let payload = format!("fingerprint-{}", self.name);
                script.push_str(&format!(
                    "stays {name} {least} {most} {payload} {}\n",
                    quote(&record)
                ));
                payloads.push((payload, self.fingerprint().into_bytes().into()));
            }
        } else {
            script.push_str(&format!("stop {name} {}\n", quote(&record)));
        }
        let watched = !payloads.is_empty();
        let patience = Duration::from_secs(if watched { 30 } else { 0 });
        Actions {
            script,
            payloads,
            unit: Some(self.name.clone()),
            watched,
            patience,
            ..Actions::default()
        }
    }

    fn shell(&self) -> String {
        let name = quote(&self.name);
        match (self.enabled, self.started) {
            (true, true) => format!(
                "systemctl daemon-reload && systemctl enable {name} && systemctl restart {name}"
            ),
            (true, false) => format!("systemctl enable {name} && systemctl stop {name}"),
            (false, true) => format!("systemctl daemon-reload && systemctl restart {name}"),
            (false, false) => format!("systemctl disable --now {name}"),
        }
    }

    fn note(&self) -> Option<String> {
        let record = unit_record(&self.name);
        let folder = record.strip_suffix(&self.name).unwrap_or(&record).trim_end_matches('/');
        let files: Vec<_> = self.uses.iter().map(|used| quote(&used.path)).collect();
        // Without a file, sha256sum would read what is typed next.
        let print = if files.is_empty() { ":" } else { "sha256sum" };
        let print = format!("{print} {}", files.join(" "));
        let note = format!("install -d {folder} && {} > {}", print.trim_end(), quote(&record));
        self.started.then_some(note)
    }

    fn title(&self) -> String {
        format!("unit {}", self.name)
    }

    fn records(&self) -> &'static [Kind] {
        record::UNITS
    }

    fn subject(&self) -> Option<(String, String)> {
        Some((self.name.clone(), format!("{} {}", self.started, self.enabled)))
    }

    fn settle(&self, facts: &mut Facts) {
        let fact = UnitFact {
            active: if self.started { "active" } else { "inactive" }.to_owned(),
            file: if self.enabled { "enabled" } else { "disabled" }.to_owned(),
            ..UnitFact::default()
        };
        facts.units.insert(self.name.clone(), fact);
        if self.started {
            facts.texts.insert(unit_record(&self.name), self.fingerprint());
        } else {
            facts.texts.remove(&unit_record(&self.name));
        }
    }
}
