//! What a node's machine is like: its system, its architecture, its control groups, its addresses,
//! and how far etcd has come on it.
//!
//! Files are rendered with this knowledge, as `node.facts`. What is known is what the last run
//! found, or what is [assumed](Machine::default) of a machine that nobody has asked yet; every
//! probe asks again, and a run that finds something else works its files out once more before it
//! plans. So the knowledge may be old, and a plan never is.
//!
//! Pure: the shell that asks is `src/node/machine.sh`, and who keeps the answers is the caller's
//! business.

pub mod etcd;
pub mod family;
pub mod surroundings;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use etcd::Etcd;
pub use family::Family;
pub use surroundings::Surroundings;

/// What is known of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The family of its distribution, by [`Family::name`]; empty when labctl knows none of it.
    pub family: String,
    /// Its distribution, as os-release has it: `debian`, `ubuntu`.
    pub system: String,
    /// The distribution's version, as os-release has it: `12`.
    pub release: String,
    /// Its architecture in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// The version of control groups that it has mounted: 1 or 2.
    pub cgroup: u8,
    /// systemd's version: 252.
    pub systemd: u16,
    /// Its own addresses, sorted; not those of the loopback device.
    pub addresses: Vec<Ipv4Addr>,
    /// How far etcd has come on it.
    pub etcd: Etcd,
}

/// The facts that templates and plays can ask as `node.facts`, with a sentence each.
pub const FACTS: &[(&str, &str)] = &[
    ("family", "the family of its distribution: debian; empty when labctl knows none of it"),
    ("system", "its distribution, as os-release has it: debian, ubuntu"),
    ("release", "the distribution's version: 12"),
    ("architecture", "amd64 or arm64"),
    ("cgroup", "the version of control groups that it has mounted: 1 or 2"),
    ("systemd", "systemd's version as a number: 252"),
    ("addresses", "its own IPv4 addresses, sorted, without those of the loopback device"),
    (
        "etcd",
        "on a controller, how far etcd has come: etcd.data, etcd.member (it was healthy once), \
        etcd.started, etcd.founders, etcd.unseen (this run cannot ask)",
    ),
];

/// What is known of a lab's machines, by the names of their nodes.
pub type Machines = BTreeMap<String, Machine>;

impl Default for Machine {
    /// What is assumed of a machine that nobody has asked yet.
    fn default() -> Self {
        Self {
            family: family::FAMILIES[0].name.to_owned(),
            system: "debian".to_owned(),
            release: "12".to_owned(),
            architecture: "amd64".to_owned(),
            cgroup: 2,
            systemd: 252,
            addresses: Vec::new(),
            etcd: Etcd::default(),
        }
    }
}

impl Machine {
    /// What a machine has answered, as keys and values of `src/node/machine.sh`. What it has not
    /// said is as assumed.
    pub fn read(answers: &BTreeMap<String, String>) -> Self {
        let mut machine = Self::default();
        let said =
            |key: &str| answers.get(key).map(|value| value.trim()).filter(|it| !it.is_empty());
        if let Some(system) = said("system") {
            let like = said("like").unwrap_or_default();
            let family = Family::of(std::iter::once(system).chain(like.split_whitespace()));
            machine.family = family.map(|family| family.name.to_owned()).unwrap_or_default();
            machine.system = system.to_owned();
            machine.release = said("release").unwrap_or_default().to_owned();
        }
        if let Some(architecture) = said("architecture") {
            machine.architecture = in_go_words(architecture).to_owned();
        }
        if let Some(cgroup) = said("cgroup").and_then(|text| text.parse().ok()) {
            machine.cgroup = cgroup;
        }
        if let Some(systemd) = said("systemd").and_then(leading_number) {
            machine.systemd = systemd;
        }
        let addresses = said("addresses").unwrap_or_default().split_whitespace();
        machine.addresses = addresses.filter_map(|address| address.parse().ok()).collect();
        machine.addresses.sort_unstable();
        machine.addresses.dedup();
        machine
    }
}

/// `252 (252.38-1~deb12u1)` and `255-rc1` begin with a version.
fn leading_number(text: &str) -> Option<u16> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

fn in_go_words(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answers: &[(&str, &str)]) -> Machine {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Machine::read(&answers.iter().map(owned).collect())
    }

    #[test]
    fn a_machine_is_what_it_says() {
        let ubuntu = read(&[
            ("system", "ubuntu"),
            ("like", "debian"),
            ("release", "24.04"),
            ("architecture", "aarch64"),
            ("cgroup", "1"),
            ("systemd", "255-rc1"),
            ("addresses", "192.0.2.7 10.0.0.2 192.0.2.7 fe80::1"),
        ]);
        assert_eq!((ubuntu.family.as_str(), ubuntu.release.as_str()), ("debian", "24.04"));
        assert_eq!(
            (ubuntu.architecture.as_str(), ubuntu.cgroup, ubuntu.systemd),
            ("arm64", 1, 255)
        );
        assert_eq!(ubuntu.addresses, [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(192, 0, 2, 7)]);
    }

    #[test]
    fn the_list_has_every_fact() {
        let value = serde_json::to_value(Machine::default()).expect("JSON");
        let mut fields: Vec<&str> =
            value.as_object().expect("fields").keys().map(String::as_str).collect();
        let mut listed: Vec<&str> = FACTS.iter().map(|(name, _)| *name).collect();
        fields.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, fields);
    }

    #[test]
    fn a_system_of_no_known_family_has_none() {
        assert_eq!(read(&[("system", "plan9")]).family, "");
        assert_eq!(read(&[("system", "mint"), ("like", "ubuntu debian")]).family, "debian");
    }

    #[test]
    fn what_a_machine_does_not_say_is_assumed() {
        assert_eq!(read(&[]), Machine::default());
        assert_eq!(read(&[("cgroup", "?"), ("systemd", "")]), Machine::default());
    }

    #[test]
    fn what_is_kept_is_read_back_and_lacks_nothing() {
        let machine = read(&[("addresses", "10.0.0.2"), ("cgroup", "1")]);
        let text = serde_json::to_string(&machine).expect("JSON");
        assert_eq!(serde_json::from_str::<Machine>(&text).expect("a machine"), machine);
        // An older labctl knew less.
        assert_eq!(serde_json::from_str::<Machine>("{}").expect("a machine"), Machine::default());
    }
}
