//! The grammar of the node record: `/var/lib/labctl/record`, one line for each thing that labctl
//! makes or changes on a node, written before it is made.
//!
//! A line is a kind and what it is about, separated by a space. `record.sh` and the modules write
//! lines; `undo.sh` has one function for each kind. A line that a kind cannot have is refused
//! there, because the record may be torn or edited. `tests/it/laws.rs` holds that every kind that
//! anything writes is undone.

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

macro_rules! kinds {
    ($($name:ident: $word:literal, $grammar:literal, $says:literal, $undone_by:literal;)+) => {
        $(
            #[doc = concat!("`", $word, "`: ", $says, ".")]
            pub const $name: Kind = Kind {
                word: $word, grammar: $grammar, says: $says, undone_by: $undone_by,
            };
        )+

        /// Every kind that a record can hold.
        pub const KINDS: &[Kind] = &[$($name),+];
    };
}

kinds! {
    FILE: "file", "PATH", "a file of ours", "undo_file";
    REPLACED: "replaced", "PATH", "a file that was there; a copy is in originals", "undo_replaced";
    KEPT: "kept", "PATH", "a file that we change a part of; a copy is in originals", "undo_kept";
    LINES: "lines", "PATH", "a file of ours that others may add to", "undo_lines";
    UNENDED: "unended", "PATH LAST-LINE", "a file that did not end in a newline", "undo_unended";
    DIRECTORY: "directory", "PATH", "a directory of ours; it goes when it is empty",
        "undo_directory";
    TREE: "tree", "PATH", "a directory that a program of ours owns, with all in it", "undo_tree";
    CONTENTS: "contents", "PATH", "a directory that was empty before our program", "undo_contents";
    OTHERS: "others", "PATH NAME/NAME/", "what a directory had in it before our program",
        "undo_others";
    EMPTY: "empty", "PATH", "a directory that was there and empty", "undo_empty";
    ATTRIBUTES: "attributes", "PATH MODE OWNER", "how a directory was before", "undo_attributes";
    HOSTS: "hosts", "MARK", "lines of /etc/hosts that end with this mark", "undo_hosts";
    HOSTS_ENTRY: "hosts_entry", "NAME", "a name in /etc/hosts, in older records",
        "undo_hosts_entry";
    ROUTE: "route", "DESTINATION [via GATEWAY ...]", "a route, and what it was", "undo_route";
    LINK: "link", "NAME", "a network interface of ours", "undo_link";
    SYSCTL: "sysctl", "KEY VALUE", "a kernel setting, and what it was", "undo_sysctl";
    SETTING: "setting", "PATH VALUE", "a file in /proc/sys or /sys, and what it was",
        "undo_setting";
    MODULE: "module", "NAME", "a kernel module that we loaded", "undo_module";
    SWAP: "swap", "DEVICE PRIORITY", "a swap device that was on", "undo_swap";
    UNIT: "unit", "NAME ENABLED ACTIVE", "a unit of ours, and what it was", "undo_units";
    USER: "user", "NAME", "a user that we made", "undo_user";
    GROUP: "group", "NAME", "a group that we made", "undo_group";
    PACKAGE: "package", "NAME", "a package that we installed", "undo_packages";
    SURVEYED: "surveyed", "", "the firewall was looked at before our first unit", "undo_rules";
    CHAINS: "chains", "PREFIX", "firewall chains that were there before", "undo_chains";
    RULES: "rules", "FAMILY TABLE [CHAIN]", "an nftables table that was there before",
        "undo_tables";
}

/// What every function of the prelude that puts a file in place writes.
pub const FILES: &[Kind] = &[FILE, REPLACED, DIRECTORY];

/// What comes with a unit of ours: how it was, how the firewall was, and what its program leaves.
pub const UNITS: &[Kind] = &[
    UNIT, SURVEYED, CHAINS, RULES, LINK, SETTING, TREE, CONTENTS, OTHERS, DIRECTORY, EMPTY,
    ATTRIBUTES,
];
