//! `package`: packages of the distribution, installed if they are missing.

use std::time::Duration;

use serde::Deserialize;

use crate::event::ChangeKind;

use super::{Actions, Arguments, Desired, Difference, Facts, Question, Site, State, quote};
use crate::machine::Family;
use crate::node::record::{self, Kind};

/// `package`: packages of the distribution.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageArgs {
    /// Each is `name`, or `name=/a/file/that/proves/it`, as in Debian.
    pub names: Vec<String>,
}

impl Arguments for PackageArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let family = site.family();
        let wanted = |text: &String| {
            let text = site.text(text)?;
            let (name, proof) =
                text.split_once('=').map_or((&text[..], None), |(n, p)| (n, Some(p)));
            let (name, proof) = family.package(name, proof);
            Ok(WantedPackage { name: name.to_owned(), proof: proof.map(str::to_owned) })
        };
        let names = self.names.iter().map(wanted).collect::<Result<_, String>>()?;
        Ok(Desired::Package(Package { names, family }))
    }
}

/// Packages that a node must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The packages.
    pub names: Vec<WantedPackage>,
    /// The family of the node's system.
    pub family: &'static Family,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPackage {
    /// Its name in the distribution.
    pub name: String,
    /// A file that proves that it is installed, from whatever source; `None` to ask the package
    /// manager.
    pub proof: Option<String>,
}

impl WantedPackage {
    fn check(&self, family: &Family) -> String {
        match &self.proof {
            Some(path) => format!("[ -e {} ]", quote(path)),
            None => family.installed.replace("{}", &quote(&self.name)),
        }
    }
}

impl Package {
    fn missing<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a str> {
        self.names
            .iter()
            .filter(|w| facts.checks.get(&w.check(self.family)) != Some(&true))
            .map(|w| w.name.as_str())
    }
}

impl State for Package {
    fn probe(&self) -> Vec<Question> {
        let asked = |wanted: &WantedPackage| {
            let check = wanted.check(self.family);
            if wanted.proof.is_some() { Question::Test(check) } else { Question::Check(check) }
        };
        self.names.iter().map(asked).collect()
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let missing: Vec<&str> = self.missing(facts).collect();
        (!missing.is_empty())
            .then(|| Difference::new(ChangeKind::Make, format!("missing: {}", missing.join(", "))))
    }

    fn actions(&self, facts: &Facts) -> Actions {
        let names: Vec<String> = self.missing(facts).map(|name| quote(name).into_owned()).collect();
        let script = format!("{}install_packages {}\n", self.family.shell(), names.join(" "));
        Actions { script, patience: Duration::from_secs(600), ..Actions::default() }
    }

    fn shell(&self) -> String {
        let names: Vec<String> =
            self.names.iter().map(|wanted| quote(&wanted.name).into_owned()).collect();
        format!("{} {}", self.family.install, names.join(" "))
    }

    fn title(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(|wanted| wanted.name.as_str()).collect();
        format!("packages {}", names.join(", "))
    }

    fn records(&self) -> &'static [Kind] {
        &[record::PACKAGE]
    }

    fn settle(&self, facts: &mut Facts) {
        for wanted in &self.names {
            facts.checks.insert(wanted.check(self.family), true);
        }
    }
}
