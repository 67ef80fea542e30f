//! Families of Linux distributions: what differs between them.
//!
//! Another one is its shell in `src/node/family/`, which says how packages are installed and
//! removed, and an entry in [`FAMILIES`] for everything else.

use serde::Serialize;

/// All that are known. Nodes of any other are treated as those of the first one.
pub const FAMILIES: &[Family] = &[Family {
    name: "debian",
    systems: &["debian", "ubuntu"],
    manager: "apt-get",
    install: "apt-get install -y --no-install-recommends",
    installed: "dpkg-query -W -f='${Status}' {} | grep -q 'ok installed'",
    packages: &[],
    functions: include_str!("../node/family/debian.sh"),
    os: Os { nginx_user: "www-data", nginx_modules: "/etc/nginx/modules-enabled/*.conf" },
}];

/// The shell functions that every family has, each with what it does. They are given names of
/// packages, and their output is names, one per line.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("packages_to_come", "says what installing these would add; fails for one that is not found"),
    ("add_packages", "installs these, waiting for another installation to end"),
    ("refresh_packages", "gets the current lists of packages"),
    ("package_is_there", "exits with 0 while anything of this one is left"),
    ("packages_to_go", "says what removing these would remove, these included"),
    ("drop_packages", "removes these with their settings"),
];

/// One family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name: `node.facts.family`.
    pub name: &'static str,
    /// What its distributions call themselves in os-release, as `ID` or among `ID_LIKE`.
    pub systems: &'static [&'static str],
    /// The program that installs packages.
    pub manager: &'static str,
    /// What a person types to install packages, before their names.
    pub install: &'static str,
    /// Shell text that exits with 0 when the package `{}` is installed.
    pub installed: &'static str,
    /// Packages that differ from Debian's.
    pub packages: &'static [Renamed],
    /// Shell text with all [`FUNCTIONS`].
    pub functions: &'static str,
    /// What templates ask.
    pub os: Os,
}

/// A package that is not as in Debian.
#[derive(Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Its name in Debian, and in playbooks.
    pub debian: &'static str,
    /// Its name in this family.
    pub name: &'static str,
    /// The file that proves that it is installed, if that is another one than in Debian.
    pub proof: Option<&'static str>,
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
        systems
            .into_iter()
            .find_map(|system| FAMILIES.iter().find(|family| family.systems.contains(&system)))
    }

    /// The family of this name; the first one for a system of no known one, whose packages somebody
    /// may have to install by hand.
    pub fn named(name: &str) -> &'static Self {
        FAMILIES.iter().find(|family| family.name == name).unwrap_or(&FAMILIES[0])
    }

    /// What the family calls a package of Debian's, and the file that proves that it is installed
    /// where `proof` does in Debian.
    pub fn package<'a>(
        &self,
        debian: &'a str,
        proof: Option<&'a str>,
    ) -> (&'a str, Option<&'a str>) {
        match self.packages.iter().find(|package| package.debian == debian) {
            Some(own) => (own.name, proof.map(|proof| own.proof.unwrap_or(proof))),
            None => (debian, proof),
        }
    }

    /// The shell text that a script which installs or removes packages begins with.
    pub fn shell(&self) -> String {
        format!("manager={}\n{}", self.manager, self.functions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_all_functions() {
        for family in FAMILIES {
            for (function, _) in FUNCTIONS {
                let has = family.functions.contains(&format!("\n{function}() {{"));
                assert!(has, "{} has no {function}", family.name);
            }
        }
    }

    #[test]
    fn a_package_is_called_as_its_family_has_it() {
        let packages = &[Renamed { debian: "a", name: "b", proof: Some("/usr/lib64/b") }];
        let family = Family { packages, ..FAMILIES[0] };
        assert_eq!(family.package("a", Some("/usr/lib/a")), ("b", Some("/usr/lib64/b")));
        assert_eq!(family.package("a", None), ("b", None), "the package manager is asked");
        assert_eq!(family.package("c", Some("/c")), ("c", Some("/c")));
    }
}
