//! `addons`: the manifests of the lab's own that the inventory names, as one set.
//!
//! Every controller keeps them, so that another can take over from one that is lost; one of them
//! applies them. An object that has left a manifest, or whose manifest has left the inventory, is
//! deleted, unless another manifest still has it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::kubectl_apply::{KUBECTL, contains_a_secret};
use super::{
    Actions, Arguments, AtHand, Desired, Difference, Facts, Question, Site, State, attributes,
    content::Content, probe::PathFact, quote,
};
use crate::node::ADDONS;
use crate::node::record::{self, Kind};

/// Where controllers keep the manifests.
const FOLDER: &str = "/etc/kubernetes/addons/lab";
/// How long one of them may take until what it starts is running.
const PATIENCE: Duration = Duration::from_secs(180);

/// `addons`: the manifests that the inventory names.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddonsArgs {}

impl Arguments for AddonsArgs {
    fn expand(&self, site: &dyn Site) -> Result<Desired, String> {
        let all = site.addons().into_iter();
        let all = all.map(|(name, manifest)| Addon::new(name, manifest)).collect();
        Ok(Desired::Addons(Addons { all, applies: site.is_first() }))
    }
}

/// One add-on.
#[derive(Debug, Clone, PartialEq)]
pub struct Addon {
    /// Its name: its file's, without extension.
    pub name: String,
    /// Its objects, as one YAML text.
    pub manifest: Content,
    /// Whether one of them is a Secret, so that the text is never shown.
    pub sensitive: bool,
}

impl Addon {
    /// Returns an add-on of these objects.
    pub fn new(name: String, manifest: Content) -> Self {
        let sensitive = manifest.text().is_none_or(contains_a_secret);
        Self { name, manifest, sensitive }
    }

    fn file(&self) -> String {
        format!("{}.yaml", self.name)
    }

    /// Its name beside the commands of somebody who types them.
    fn beside(&self) -> String {
        format!("addons/{}", self.file())
    }

    fn path(&self) -> String {
        format!("{FOLDER}/{}", self.file())
    }

    fn mode(&self) -> &'static str {
        if self.sensitive { "600" } else { "644" }
    }

    /// A check that passes if every object exists.
    fn check(&self) -> String {
        format!("{KUBECTL} get -f {} -o name", quote(&self.path()))
    }

    /// What keeps it from being as desired, in words to follow its name.
    fn differs(&self, facts: &Facts, applies: bool) -> Option<String> {
        let Some(found) = facts.paths.get(&self.path()) else {
            return Some("is not there yet".to_owned());
        };
        if found.sha256.as_deref() != Some(self.manifest.sha256()) {
            return Some("has changed".to_owned());
        }
        if let Some(differs) = attributes::attributes_differ(found, self.mode(), "root:root") {
            return Some(differs.why);
        }
        let there = !applies || facts.checks.get(&self.check()) == Some(&true);
        (!there).then(|| "misses objects in the cluster".to_owned())
    }
}

/// All add-ons of the lab's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Addons {
    /// The add-ons, in the order in which they are applied.
    pub all: Vec<Addon>,
    /// Whether this controller applies them; others only keep their manifests.
    pub applies: bool,
}

impl Addons {
    /// The files on a controller that are of no add-on any more.
    fn left<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = &'a str> {
        let names = facts.names.get(FOLDER).into_iter().flatten().map(String::as_str);
        names.filter(|name| !name.starts_with('.') && self.all.iter().all(|it| it.file() != *name))
    }

    fn kubectl(&self) -> &'static str {
        if self.applies { KUBECTL } else { "" }
    }
}

impl State for Addons {
    fn probe(&self) -> Vec<Question> {
        let files = self.all.iter().map(|addon| Question::File {
            path: addon.path(),
            sha256: addon.manifest.sha256().to_owned(),
            text: !addon.sensitive,
        });
        let checks = self.all.iter().filter(|_| self.applies).map(|it| Question::Check(it.check()));
        files.chain(checks).chain([Question::Names(FOLDER.to_owned())]).collect()
    }

    fn diff(&self, facts: &Facts) -> Option<Difference> {
        let differ = |it: &Addon| Some(format!("{} {}", it.name, it.differs(facts, self.applies)?));
        let left = self.left(facts).map(|name| format!("{name} is left over"));
        let all: Vec<String> = self.all.iter().filter_map(differ).chain(left).collect();
        (!all.is_empty()).then(|| Difference::run(all.join("; ")))
    }

    fn actions(&self, facts: &Facts) -> Actions {
        let mut script = format!("{ADDONS}begin_addons\n");
        let mut payloads = Vec::new();
        let mut patience = Duration::ZERO;
        for addon in self.all.iter().filter(|it| it.differs(facts, self.applies).is_some()) {
            let (sha256, mode, path) = (addon.manifest.sha256(), addon.mode(), addon.path());
            let seconds = PATIENCE.as_secs();
            script += &format!(
                "set_addon {sha256} {mode} {} {seconds} {}\n",
                quote(&path),
                self.kubectl()
            );
            if let Content::Inline { bytes, .. } = &addon.manifest {
                payloads.push((sha256.to_owned(), Arc::clone(bytes)));
            }
            patience += PATIENCE;
        }
        let stay: String = self.all.iter().map(|it| format!(" {} ", it.file())).collect();
        script += &format!("prune_addons {FOLDER} {} {}\n", quote(&stay), self.kubectl());
        Actions { script, payloads, patience, ..Actions::default() }
    }

    fn shell(&self) -> String {
        let apply = |addon: &Addon| {
            let (mode, path) = (addon.mode(), addon.path());
            let (beside, path) = (addon.beside(), quote(&path));
            let place = format!("install -D -m {mode} {} {path}\n", quote(&beside));
            if !self.applies {
                return place;
            }
            format!("{place}{KUBECTL} apply --server-side --force-conflicts -f {path}\n")
        };
        let apply: String = self.all.iter().map(apply).collect();
        format!("{apply}# Of {FOLDER}, delete what is not above: {KUBECTL} delete -f FILE; rm FILE")
    }

    fn beside(&self) -> Vec<AtHand> {
        let beside = |addon: &Addon| AtHand {
            name: addon.beside(),
            content: addon.manifest.clone(),
            secret: addon.sensitive,
        };
        self.all.iter().map(beside).collect()
    }

    fn title(&self) -> String {
        let names: Vec<&str> = self.all.iter().map(|addon| addon.name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("the lab's own add-ons: {names}")
    }

    fn records(&self) -> &'static [Kind] {
        record::FILES
    }

    fn subject(&self) -> Option<(String, String)> {
        let state = self.all.iter().map(|it| format!("{} {} ", it.name, it.manifest.sha256()));
        Some((FOLDER.to_owned(), state.collect()))
    }

    fn is_judged_at_run_time(&self) -> bool {
        !self.all.is_empty()
    }

    fn settle(&self, facts: &mut Facts) {
        for addon in &self.all {
            let fact = PathFact {
                kind: "regular file".to_owned(),
                mode: addon.mode().to_owned(),
                owner: "root:root".to_owned(),
                size: 0,
                sha256: Some(addon.manifest.sha256().to_owned()),
            };
            facts.paths.insert(addon.path(), fact);
            facts.other_texts.remove(&addon.path());
            facts.checks.insert(addon.check(), true);
        }
        let names = self.all.iter().map(Addon::file).collect();
        facts.names.insert(FOLDER.to_owned(), names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addon(name: &str, text: &str) -> Addon {
        Addon::new(name.to_owned(), Content::inline(text.as_bytes()))
    }

    fn settled(of: &Addons) -> Facts {
        let mut facts = Facts::default();
        of.settle(&mut facts);
        facts
    }

    fn why(of: &Addons, facts: &Facts) -> Option<String> {
        of.diff(facts).map(|difference| difference.why)
    }

    #[test]
    fn a_lab_without_add_ons_of_its_own_has_nothing_to_do() {
        let none = Addons { all: Vec::new(), applies: true };
        assert_eq!(why(&none, &Facts::default()), None);
        assert!(!none.is_judged_at_run_time(), "no run asks twice");
    }

    #[test]
    fn what_is_new_has_changed_is_missing_or_is_left_over_is_said_of_each() {
        let (web, db) = (addon("web", "kind: Pod\n"), addon("db", "kind: Secret\n"));
        let both = Addons { all: vec![web.clone(), db.clone()], applies: true };
        assert_eq!(
            why(&both, &Facts::default()).as_deref(),
            Some("web is not there yet; db is not there yet")
        );
        let mut facts = settled(&both);
        assert_eq!(why(&both, &facts), None);

        let other = Addons { all: vec![addon("web", "kind: Node\n"), db.clone()], ..both };
        assert_eq!(why(&other, &facts).as_deref(), Some("web has changed"));
        let one = Addons { all: vec![db.clone()], applies: true };
        assert_eq!(why(&one, &facts).as_deref(), Some("web.yaml is left over"));

        facts.checks.insert(web.check(), false);
        assert_eq!(why(&both, &facts).as_deref(), Some("web misses objects in the cluster"));
        let copies = Addons { applies: false, ..both.clone() };
        assert_eq!(why(&copies, &facts), None, "whoever does not apply them does not look");
        facts.paths.get_mut(&db.path()).expect("it is there").mode = "644".to_owned();
        assert_eq!(why(&copies, &facts).as_deref(), Some("db mode 644 should be 600"));
    }

    #[test]
    fn only_what_differs_is_applied_and_only_by_one_controller() {
        let all = vec![addon("web", "kind: Pod\n"), addon("db", "kind: Secret\n")];
        let applies = Addons { all, applies: true };
        let mut facts = settled(&applies);
        facts.paths.remove(&applies.all[1].path());
        let actions = applies.actions(&facts);
        assert!(actions.script.contains(" 600 /etc/kubernetes/addons/lab/db.yaml 180 kubectl "));
        assert!(!actions.script.contains("lab/web.yaml"), "{}", actions.script);
        assert!(actions.script.contains("' web.yaml  db.yaml ' kubectl "), "{}", actions.script);
        assert_eq!(actions.payloads.len(), 1);

        let copies = Addons { applies: false, ..applies };
        let script = copies.actions(&facts).script;
        let own = script.strip_prefix(ADDONS).expect("the functions");
        assert!(!own.contains("kubectl"), "{own}");
    }
}
