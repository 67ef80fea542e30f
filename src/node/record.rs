//! The grammar of the node record: `/var/lib/labctl/record`, one line for each thing that labctl
//! makes or changes on a node, written before it is made.
//!
//! A line is a kind and what it is about, separated by a space. `record.sh` and the modules write
//! lines; `undo.sh` has one function for each kind. A line that a kind cannot have is refused
//! there, because the record may be torn or edited.

/// A kind of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The word that begins the line.
    pub word: &'static str,
    /// What follows it.
    pub grammar: &'static str,
    /// What it says.
    pub says: &'static str,
    /// The function of `undo.sh` that undoes it.
    pub undone_by: &'static str,
}

const fn kind(
    word: &'static str,
    grammar: &'static str,
    says: &'static str,
    undone_by: &'static str,
) -> Kind {
    Kind { word, grammar, says, undone_by }
}

/// Every kind that a record can hold.
pub const KINDS: &[Kind] = &[
    kind("file", "PATH", "a file of ours", "undo_file"),
    kind("replaced", "PATH", "a file that was there; a copy is in originals", "undo_replaced"),
    kind("kept", "PATH", "a file that we change a part of; a copy is in originals", "undo_kept"),
    kind("lines", "PATH", "a file of ours that others may add to", "undo_lines"),
    kind("unended", "PATH LAST-LINE", "a file that did not end in a newline", "undo_unended"),
    kind("directory", "PATH", "a directory of ours; it goes when it is empty", "undo_directory"),
    kind("tree", "PATH", "a directory that a program of ours owns, with all in it", "undo_tree"),
    kind("contents", "PATH", "a directory that was empty before our program", "undo_contents"),
    kind("empty", "PATH", "a directory that was there and empty", "undo_empty"),
    kind("attributes", "PATH MODE OWNER", "how a directory was before", "undo_attributes"),
    kind("hosts", "MARK", "lines of /etc/hosts that end with this mark", "undo_hosts"),
    kind("hosts_entry", "NAME", "a name in /etc/hosts, in older records", "undo_hosts_entry"),
    kind("route", "DESTINATION [via GATEWAY ...]", "a route, and what it was", "undo_route"),
    kind("link", "NAME", "a network interface of ours", "undo_link"),
    kind("sysctl", "KEY VALUE", "a kernel setting, and what it was", "undo_sysctl"),
    kind("setting", "PATH VALUE", "a file in /proc/sys or /sys, and what it was", "undo_setting"),
    kind("module", "NAME", "a kernel module that we loaded", "undo_module"),
    kind("swap", "DEVICE PRIORITY", "a swap device that was on", "undo_swap"),
    kind("unit", "NAME ENABLED ACTIVE", "a unit of ours, and what it was", "undo_units"),
    kind("package", "NAME", "a package that we installed", "undo_packages"),
    kind("surveyed", "", "the firewall was looked at before our first unit", "undo_rules"),
    kind("chains", "PREFIX", "firewall chains that were there before", "undo_chains"),
    kind("rules", "FAMILY TABLE [CHAIN]", "an nftables table that was there before", "undo_tables"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::node;

    /// The kinds that a text writes: `made KIND ...`, `found "KIND ..."`, and lines that shell or
    /// awk print into the record.
    fn written(text: &str) -> BTreeSet<String> {
        let mut kinds = BTreeSet::new();
        for line in
            text.lines().map(str::trim).filter(|it| !it.starts_with('#') && !it.starts_with("//"))
        {
            for (at, start) in ["made ", "found ", "printf ", "print "]
                .iter()
                .flat_map(|start| line.match_indices(start))
            {
                // A command begins here, not the middle of a sentence.
                let before = line[..at].trim_end();
                let begins = ["do", "then", "else"].iter().any(|word| before.ends_with(word))
                    || before.is_empty()
                    || before.ends_with(['|', '&', ';', '{', '}', ')', '(', '"', '\'']);
                if !begins || start.starts_with("print") && !line.contains("record") {
                    continue;
                }
                let rest = line[at + start.len()..].trim_start_matches(['"', '\'']);
                kinds.extend(
                    rest.split(|c: char| !c.is_ascii_lowercase() && c != '_')
                        .next()
                        .map(str::to_owned),
                );
            }
        }
        kinds.retain(|kind| kind.len() > 2);
        kinds
    }

    /// Every text that can write a line.
    fn sources() -> String {
        let folder = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let mut text = [node::PRELUDE, node::RECORD, node::SETS].concat();
        for folder in [folder("src/module"), folder("playbooks"), folder("playbooks/up")] {
            let Ok(files) = std::fs::read_dir(folder) else { continue };
            for file in files.flatten().filter(|file| file.path().is_file()) {
                let file = std::fs::read_to_string(file.path()).expect("a text");
                text.push_str(&file);
            }
        }
        text
    }

    #[test]
    fn whatever_is_recorded_has_a_kind_and_every_kind_is_undone() {
        let known: BTreeSet<String> = KINDS.iter().map(|kind| kind.word.to_owned()).collect();
        assert_eq!(known.len(), KINDS.len(), "each kind is there once");
        let written = written(&sources());
        let unknown: Vec<_> = written.difference(&known).collect();
        assert!(
            unknown.is_empty(),
            "lines of these kinds are written and cannot be undone: {unknown:?}"
        );
        let unwritten: Vec<_> = known.difference(&written).collect();
        assert_eq!(unwritten, ["hosts_entry"], "kinds that only older records have");
        for kind in KINDS {
            let function = format!("\n{}() {{", kind.undone_by);
            assert!(node::UNDO.contains(&function), "{} has no {}", kind.word, kind.undone_by);
            let dispatched = node::UNDO.lines().any(|line| {
                let words = line.trim().split(')').next().unwrap_or_default();
                words.split(" | ").any(|word| word == kind.word)
            });
            assert!(dispatched, "undo.sh does not expect lines of the kind `{}`", kind.word);
        }
    }
}
