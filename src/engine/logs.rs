//! What is asked of a node's journal, and of a node for a bug report.

use crate::module::quote;
use crate::node::{LOGS, SUPPORT};

/// A part of a node's journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalPart {
    /// A unit, or the name of its program; none for all of the lab's units.
    pub unit: Option<String>,
    /// How many of the last lines; none for all of them.
    pub lines: Option<u32>,
    /// From when on, as journalctl reads it.
    pub since: Option<String>,
    /// Whether to wait for more.
    pub follow: bool,
}

/// The command that prints a part of the journal.
pub fn journal(part: &JournalPart) -> String {
    let unit = part.unit.as_deref().map(unit_name).unwrap_or_default();
    let lines = part.lines.map(|lines| lines.to_string()).unwrap_or_default();
    let since = part.since.clone().unwrap_or_default();
    let follow = if part.follow { "yes" } else { "" };
    format!(
        "unit={}\nlines={}\nsince={}\nfollow={follow}\n{LOGS}",
        quote(&unit),
        quote(&lines),
        quote(&since)
    )
}

/// The script that prints what a bug report needs of a node.
pub fn support() -> String {
    SUPPORT.to_owned()
}

/// A program is called as its unit is, without the suffix.
fn unit_name(name: &str) -> String {
    let suffixes = [".service", ".timer", ".socket", ".mount", ".target"];
    let has_suffix = suffixes.iter().any(|suffix| name.ends_with(suffix));
    if has_suffix { name.to_owned() } else { format!("{name}.service") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_journal_is_quoted() {
        let part = JournalPart {
            unit: Some("etcd".to_owned()),
            lines: Some(20),
            since: Some("1 hour ago; reboot".to_owned()),
            follow: true,
        };
        let script = journal(&part);
        let begin = "unit=etcd.service\nlines=20\nsince='1 hour ago; reboot'\nfollow=yes\n";
        assert!(script.starts_with(begin), "{script}");
        assert!(journal(&JournalPart::default()).starts_with("unit=''\nlines=''\n"));
        assert_eq!(unit_name("etcd.service"), "etcd.service");
    }
}
