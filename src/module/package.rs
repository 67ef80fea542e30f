//! `package`: packages of the distribution, installed with apt where they are missing.

use crate::event::ChangeKind;

use super::{Actions, Difference, Facts, Question, State, quote};
use std::time::Duration;

/// Packages that a node must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The packages.
    pub names: Vec<Wanted>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the distribution.
    pub name: String,
    /// A file that proves that it is there, however it came; `None` asks the package manager.
    pub proof: Option<String>,
}

impl Wanted {
    fn check(&self) -> String {
        match &self.proof {
            Some(path) => format!("[ -e {} ]", quote(path)),
            None => format!(
                "dpkg-query -W -f='${{Status}}' {} | grep -q 'ok installed'",
                quote(&self.name)
            ),
        }
    }
}

impl Package {
    fn missing<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a str> {
        self.names
            .iter()
            .filter(|w| facts.checks.get(&w.check()) != Some(&true))
            .map(|w| w.name.as_str())
    }
}

impl State for Package {
    fn probe(&self) -> Vec<Question> {
        self.names.iter().map(|wanted| Question::Check(wanted.check())).collect()
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let missing: Vec<&str> = self.missing(facts).collect();
        (!missing.is_empty())
            .then(|| Difference::new(ChangeKind::Make, format!("missing: {}", missing.join(", "))))
    }

    fn actions(&self, facts: &Facts) -> Actions {
        let names: Vec<String> = self.missing(facts).map(|name| quote(name).into_owned()).collect();
        let mut script = String::from(
            "command -v apt-get >/dev/null || { echo 'no apt-get here: install these packages by \
            hand, then run again' >&2; exit 1; }\n",
        );
        script.push_str(&format!("install_packages {}\n", names.join(" ")));
        Actions { script, patience: Duration::from_secs(600), ..Actions::default() }
    }

    fn shell(&self) -> String {
        let names: Vec<String> =
            self.names.iter().map(|wanted| quote(&wanted.name).into_owned()).collect();
        format!("apt-get install -y --no-install-recommends {}", names.join(" "))
    }

    fn title(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(|wanted| wanted.name.as_str()).collect();
        format!("packages {}", names.join(", "))
    }

    fn settle(&self, facts: &mut Facts) {
        for wanted in &self.names {
            facts.checks.insert(wanted.check(), true);
        }
    }
}
