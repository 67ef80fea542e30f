//! Families of Linux distributions: what differs between them, one small file each.
//!
//! Another one is its file beside `debian.rs` and a word in [`FAMILIES`]. What installs and removes
//! packages on nodes, `src/node/record.sh` and `src/node/undo.sh`, knows apt alone so far.

mod debian;

use serde::Serialize;

pub use debian::DEBIAN;

/// All that are known.
pub const FAMILIES: &[&Family] = &[&DEBIAN];

/// One family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name: `node.facts.family`.
    pub name: &'static str,
    /// What its distributions call themselves in os-release, as `ID` or among `ID_LIKE`.
    pub systems: &'static [&'static str],
    /// What a person types to install packages, before their names.
    pub install: &'static str,
    /// Shell text that exits with 0 when the package `{}` is installed.
    pub installed: &'static str,
    /// Packages that are not called as in Debian, by the name there.
    pub packages: &'static [(&'static str, &'static str)],
    /// What templates ask.
    pub os: Os,
}

/// What files need to know of a family: `os` in templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Os {
    /// The user that nginx's workers run as.
    pub nginx_user: &'static str,
    /// The files that load nginx's modules, for `include`.
    pub nginx_modules: &'static str,
}

impl Family {
    /// The first family that one of these systems belongs to.
    pub fn of<'a>(systems: impl Iterator<Item = &'a str>) -> Option<&'static Self> {
        systems.into_iter().find_map(|system| {
            FAMILIES.iter().find(|family| family.systems.contains(&system)).copied()
        })
    }

    /// The family of this name; Debian's for a system of no known one, whose packages somebody has
    /// to install by hand.
    pub fn named(name: &str) -> &'static Self {
        FAMILIES.iter().find(|family| family.name == name).copied().unwrap_or(&DEBIAN)
    }

    /// What the family calls a package of Debian's.
    pub fn package<'a>(&self, name: &'a str) -> &'a str
    where
        'static: 'a,
    {
        self.packages.iter().find(|(debian, _)| *debian == name).map_or(name, |(_, own)| own)
    }
}
