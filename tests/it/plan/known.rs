//! What nodes may answer: a whole playbook plans what differs and nothing else.

use std::sync::Arc;

use super::*;

/// A node that has every file, each with something else in it that everyone may read.
pub(super) fn all_otherwise(desired: &[DesiredPlay]) -> BTreeMap<String, Facts> {
    let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
    for on in desired.iter().flat_map(|play| &play.nodes) {
        let facts = facts.entry(on.node.clone()).or_default();
        for task in &on.tasks {
            task.desired.settle(facts);
        }
        for (path, fact) in &mut facts.paths {
            (fact.sha256, fact.mode) = (Some(String::new()), "644".to_owned());
            facts.other_texts.insert(path.clone(), "something else\n".to_owned());
        }
    }
    facts
}

/// Lines out of private keys, tokens and kubeconfigs, in every form in which they could be shown.
pub(super) fn secrets(workshop: &Workshop) -> Vec<String> {
    let keys = workshop.pki.names().filter(|name| name.ends_with(".key"));
    let mut all: Vec<Vec<u8>> =
        keys.filter_map(|name| workshop.pki.get(name)).map(<[u8]>::to_vec).collect();
    all.extend(workshop.kubeconfigs.values().map(|file| file.expose().to_vec()));
    let key = workshop.artefacts.encryption_keys[0].1.expose_text().expect("text");
    let mut shown = vec![key.to_owned()];
    for bytes in all {
        let text = String::from_utf8(bytes).expect("text");
        let line = text
            .lines()
            .rev()
            .find(|line| line.len() > 20 && !line.starts_with("---"))
            .expect("a line");
        // As text, and as Rust prints a list of bytes.
        shown.push(line.trim().to_owned());
        shown.push(
            format!("{:?}", &line.trim().as_bytes()[..20]).trim_matches(['[', ']']).to_owned(),
        );
    }
    shown
}

/// The lab of the guides as its playbook wants it, and the facts of three moments: as desired, as
/// an earlier bundle and other certificates have left it, and new.
struct Known {
    desired: Vec<DesiredPlay>,
    settled: BTreeMap<String, Facts>,
    older: BTreeMap<String, Facts>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let playbook = standard::find("up", None).expect("a playbook");
    let settled = |desired: &[DesiredPlay]| {
        let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
        for on in desired.iter().flat_map(|play| &play.nodes) {
            on.tasks
                .iter()
                .for_each(|task| task.desired.settle(facts.entry(on.node.clone()).or_default()));
        }
        facts
    };
    let mut old = Workshop::new(labs::sandbox());
    for (name, file) in &mut old.bundle.files {
        file.sha256 = Content::inline(format!("old {name}").as_bytes()).sha256().to_owned();
    }
    let older = settled(&old.expand(&playbook).expect("a plan"));
    let desired = Workshop::new(labs::sandbox()).expand(&playbook).expect("a plan");
    Known { settled: settled(&desired), older, desired }
});

/// Does something to one thing on a node; its name, as questions have it.
fn damage(facts: &mut Facts, pick: usize, how: u8) -> Option<String> {
    fn one<V>(map: &BTreeMap<String, V>, pick: usize) -> Option<String> {
        map.keys().nth(pick.checked_rem(map.len())?).cloned()
    }
    let (path, text, unit) =
        (one(&facts.paths, pick), one(&facts.texts, pick), one(&facts.units, pick));
    match how {
        0 => facts.paths.remove(path.as_ref()?).and(path),
        1..=4 => {
            let fact = facts.paths.get_mut(path.as_ref()?)?;
            match how {
                1 => fact.mode = "640".to_owned(),
                2 => fact.owner = "daemon:daemon".to_owned(),
                3 => fact.kind = "symbolic link".to_owned(),
                _ => {
                    fact.sha256 = Some("0".repeat(64));
                    facts.other_texts.insert(path.clone()?, "what somebody wrote\n".to_owned());
                }
            }
            path
        }
        5 => facts.texts.remove(text.as_ref()?).and(text),
        6 => {
            facts.texts.get_mut(text.as_ref()?)?.push_str("0000  /etc/more\n");
            text
        }
        7 => facts.units.remove(unit.as_ref()?).and(unit),
        8..=10 => {
            let fact = facts.units.get_mut(unit.as_ref()?)?;
            match how {
                8 => fact.active = "failed".to_owned(),
                9 => fact.file = "disabled".to_owned(),
                _ => fact.stale = true,
            }
            unit
        }
        11 => {
            let check = one(&facts.checks, pick)?;
            facts.checks.insert(check.clone(), false);
            Some(check)
        }
        12 => {
            facts.images.pop_first()?;
            Some("images".to_owned())
        }
        _ => {
            let route = facts.routes.keys().nth(pick.checked_rem(facts.routes.len())?)?.clone();
            facts.routes.insert(route, "nowhere".into());
            Some("routes".to_owned())
        }
    }
}

/// What a question is about.
fn about(question: Question) -> String {
    match question {
        Question::Path(it)
        | Question::Text(it)
        | Question::Names(it)
        | Question::Unit(it)
        | Question::Check(it)
        | Question::Test(it) => it,
        Question::File { path, .. } => path,
        Question::Machine => "machine".to_owned(),
        Question::Surroundings => "surroundings".to_owned(),
        Question::Routes => "routes".to_owned(),
        Question::Images => "images".to_owned(),
    }
}

/// Does to the facts what the plan does to the nodes, and tells of every change that was found with
/// its task.
fn carry_out<'a>(
    desired: &'a [DesiredPlay],
    plan: &Plan,
    facts: &mut BTreeMap<String, Facts>,
) -> Vec<(&'a str, &'a Desired)> {
    let mut found = Vec::new();
    for (play, planned) in desired.iter().zip(&plan.plays) {
        for (on, planned) in play.nodes.iter().zip(&planned.nodes) {
            let facts = facts.entry(on.node.clone()).or_default();
            let mut tasks = on.tasks.iter();
            for change in &planned.changes {
                let same =
                    |task: &&labctl::plan::DesiredTask| Arc::ptr_eq(&task.desired, &change.desired);
                let task = tasks
                    .by_ref()
                    .find(same)
                    .expect("changes are some of the tasks, in their order");
                task.desired.settle(facts);
                if change.found {
                    found.push((on.node.as_str(), &*task.desired));
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_whole_playbook_plans_what_differs_and_nothing_else_and_settles_to_an_empty_plan(
        moments in vec(0..6_u8, 6),
        damages in vec((0..6_usize, any::<usize>(), 0..14_u8), 0..8),
    ) {
        let Known { desired, settled, older } = &*KNOWN;
        let mut facts = settled.clone();
        let names: Vec<String> = settled.keys().cloned().collect();
        let mut touched: BTreeSet<(String, String)> = BTreeSet::new();
        let mut otherwise: BTreeSet<&str> = BTreeSet::new();
        for (name, moment) in names.iter().zip(moments) {
            match moment {
                0 => facts.remove(name).map(drop),
                1 => facts.insert(name.clone(), older[name].clone()).map(drop),
                _ => continue,
            };
            otherwise.insert(name);
        }
        for (node, pick, how) in damages {
            let name = &names[node % names.len()];
            let thing = facts.get_mut(name).and_then(|facts| damage(facts, pick, how));
            touched.extend(thing.map(|thing| (name.clone(), thing)));
        }
        let plan = plan::diff::plan(desired, &facts);
        for (node, task) in carry_out(desired, &plan, &mut facts) {
            let mut asked = task.probe().into_iter().map(|it| (node.to_owned(), about(it)));
            let because = asked.any(|it| touched.contains(&it));
            prop_assert!(because || otherwise.contains(node), "{node}: nobody touched \
                {}", task.title());
        }
        let left = plan::diff::plan(desired, &facts);
        prop_assert!(left.is_empty(), "{:?}", left.changes());
    }
}
