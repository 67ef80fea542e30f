//! Laws of the pure middle, held to thousands of made-up cases: what `diff`, `plan` and `settle`
//! say of the same facts agrees, quoting survives, probes never panic.
//!
//! `settle` is a model of what a task's actions do. That the actions themselves leave nothing to
//! do, on a machine with a real shell, is in `tests/it/modules.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use labctl::machine::family::FAMILIES;
use labctl::module::file::{Blob, Content, File};
use labctl::module::probe::{PathFact, UnitFact, parse, unit_record};
use labctl::module::unit::{OnChange, Unit, Used};
use labctl::module::{Desired, Facts, Module, Question, State, quote};
use labctl::module::{
    addons, command, directory, hosts, image, kernel_module, kubectl_apply, link, package, routes,
    set::Set, sysctl, undo, user, wait,
};
use labctl::node::{self, record};
use labctl::plan::{DesiredNode, DesiredPlay, DesiredTask, diff::plan};
use labctl::playbook::{Strategy as PlayStrategy, standard};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::support::record::{Writers, written};

/// Few names, so that tasks and facts meet.
fn path() -> impl Strategy<Value = String> + Clone {
    "/[ab]{1,2}"
}

fn content() -> impl Strategy<Value = Content> {
    let blob = "[ab]".prop_map(|name| {
        let sha256 = Content::inline(name.as_bytes()).sha256().to_owned();
        Content::Blob(Blob { sha256, size: 1, source: "/x".into(), name })
    });
    prop_oneof![vec(any::<u8>(), 0..4).prop_map(Content::inline), blob]
}

/// A network of this length within 10.0.0.0/8.
/// A route of either IP family.
fn route(ipv6: bool, length: u8, via: std::net::Ipv4Addr) -> routes::Route {
    let (to, length) = if ipv6 { ("fd00::", 3 * length) } else { ("10.0.0.0", length) };
    let to = ipnet::IpNet::new(to.parse().expect("an address"), length).expect("a network");
    let via = if ipv6 { via.to_ipv6_mapped().into() } else { via.into() };
    routes::Route { to, via }
}

fn desired() -> impl Strategy<Value = Desired> {
    let (mode, owner, check) = ("[67]00", "(root|daemon):root", "[a-c ']{1,3}");
    let attributes = (path(), mode, owner);
    let used = ("/[ab]", "[01]{2}").prop_map(|(path, sha256)| Used { path, sha256 });
    let unit = (
        "[ab]\\.service",
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        vec(used, 0..3),
        vec(path(), 0..2),
    );
    let wanted = ("[ab]", proptest::option::of(path()))
        .prop_map(|(name, proof)| package::WantedPackage { name, proof });
    let address = any::<u32>().prop_map(std::net::Ipv4Addr::from);
    prop_oneof![
        attributes.clone().prop_map(|(path, mode, owner)| Desired::Directory(
            directory::Directory { path, mode, owner }
        )),
        (attributes, content(), any::<bool>()).prop_map(
            |((path, mode, owner), content, sensitive)| {
                Desired::File(File { path, mode, owner, content, sensitive, origin: "x".into() })
            }
        ),
        ("[ab]/[ab]:1", "[ab]").prop_map(|(reference, name)| {
            let sha256 = name.repeat(64);
            Desired::Image(image::Image {
                reference,
                archive: Blob { sha256, size: 1, source: "/x".into(), name },
            })
        }),
        unit.prop_map(|(name, started, enabled, reload, uses, leaves)| {
            let on_change = if reload { OnChange::Reload } else { OnChange::Restart };
            Desired::Unit(Unit { name, started, enabled, on_change, uses, leaves })
        }),
        (check, check).prop_map(|(run, unless)| Desired::Command(command::Command { run, unless })),
        ("[ab]\\.[ab]", "[0-9]( [0-9])?")
            .prop_map(|(key, value)| Desired::Sysctl(sysctl::Sysctl { key, value })),
        ("[ab-]{2}", path()).prop_map(|(name, provides)| Desired::KernelModule(
            kernel_module::KernelModule { name, provides }
        )),
        vec(wanted, 1..3)
            .prop_map(|names| Desired::Package(package::Package { names, family: &FAMILIES[0] })),
        (
            btree_map(8..=32_u8, address.clone(), 1..4),
            proptest::option::of(0..2_usize),
            any::<bool>()
        )
            .prop_map(|(routes, own, ipv6)| {
                let within = if ipv6 { "fd00::/8" } else { "10.0.0.0/8" };
                let within = within.parse().expect("a network");
                let routes: Vec<_> =
                    routes.into_iter().map(|(length, via)| route(ipv6, length, via)).collect();
                let own = own.filter(|_| routes.len() > 2);
                Desired::Routes(routes::Routes { within, routes: Set::new(routes).without(own) })
            }),
        (btree_map("[ab]{1,2}(\\.[ab])?", address, 1..4), "labctl(-a)?").prop_map(
            |(names, mark)| {
                let names = names
                    .into_iter()
                    .map(|(name, address)| hosts::Name { address: address.into(), name })
                    .collect();
                Desired::Hosts(hosts::Hosts { mark, names: Set::new(names) })
            }
        ),
        ("[ab]", vec(any::<u8>(), 0..4), any::<bool>()).prop_map(|(name, manifest, sensitive)| {
            Desired::KubectlApply(kubectl_apply::KubectlApply {
                name,
                manifest: Content::inline(manifest),
                sensitive,
            })
        }),
        (btree_map("[ab]", vec(any::<u8>(), 0..4), 1..3), any::<bool>()).prop_map(
            |(all, applies)| {
                let addon =
                    |(name, text): (_, Vec<u8>)| addons::Addon::new(name, Content::inline(text));
                let all = all.into_iter().map(addon).collect();
                Desired::Addons(addons::Addons { all, applies })
            }
        ),
        vec(path(), 0..2).prop_map(|own| Desired::Undo(undo::Undo { own, family: &FAMILIES[0] })),
        (path(), path(), any::<bool>()).prop_map(|(path, target, replace)| Desired::Link(
            link::Link { path, target, replace }
        )),
        ("[ab]", path()).prop_map(|(name, home)| Desired::User(user::User { name, home })),
        (check, 0..100_u64).prop_map(|(until, seconds)| {
            let (what, timeout) = ("it".into(), Duration::from_secs(seconds));
            Desired::Wait(wait::Wait { what, until, timeout, unit: None })
        }),
    ]
}

/// Facts that know something about the very names that tasks use.
fn facts() -> impl Strategy<Value = Facts> {
    let kind = prop_oneof![
        Just("regular file"),
        Just("regular empty file"),
        Just("directory"),
        Just("symbolic link")
    ];
    let fact = (kind, "[67]00", "(root|daemon):root", proptest::option::of("[0-9a-f]{2}"))
        .prop_map(|(kind, mode, owner, sha256)| PathFact {
            kind: kind.to_owned(),
            mode,
            owner,
            size: 0,
            sha256,
        });
    let unit = (
        "(|active|failed|inactive)",
        "(|enabled|disabled|static)",
        any::<bool>(),
        0..4_u32,
        0..20_u64,
    );
    let unit = unit.prop_map(|(active, file, stale, restarts, lasted)| UnitFact {
        active,
        file,
        stale,
        restarts,
        lasted: Some(lasted),
        ..UnitFact::default()
    });
    let text_path = prop_oneof![
        Just("/etc/hosts".to_owned()),
        "/proc/sys/[ab]/[ab]",
        "[ab]\\.service".prop_map(|unit| unit_record(&unit)),
    ];
    (
        btree_map("/[ab]{1,2}(/\\.)?", fact, 0..6),
        btree_map(text_path, "([0-9.]{1,3} [ab] # labctl\n|[ab\t ]{0,4}\n){0,3}", 0..4),
        btree_map("[ab]\\.service", unit, 0..3),
        btree_map(
            "(default|1?[0-9]\\.0\\.0\\.0/(8|9|16))",
            "([a-z0-9. ]{0,20}|10.0.0.0/9 via 1.2.3.4( proto kernel)?)",
            0..3,
        ),
        btree_map("[a-c ']{1,3}", any::<bool>(), 0..4),
    )
        .prop_map(|(paths, texts, units, routes, checks)| Facts {
            paths,
            texts,
            units,
            routes: routes.into_iter().map(|(to, route)| (to.into(), route.into())).collect(),
            checks,
            ..Facts::default()
        })
}

fn questions() -> BTreeSet<Question> {
    let check = Question::Check("true".into());
    BTreeSet::from([
        check,
        Question::Path("/a".into()),
        Question::Routes,
        Question::Unit("a.service".into()),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_diff_finds_nothing_in_the_facts_that_a_task_settles_to(
        desired in desired(),
        mut facts in facts(),
    ) {
        desired.settle(&mut facts);
        prop_assert_eq!(desired.diff(&facts), None);
        let once = facts.clone();
        desired.settle(&mut facts);
        prop_assert_eq!(facts, once, "settling twice is settling once");
    }

    #[test]
    fn a_plan_holds_exactly_the_tasks_that_differ_and_none_after_their_facts_are_settled(
        desired in vec(desired(), 0..5),
        mut facts in facts(),
    ) {
        let task = |it: &Desired| {
            DesiredTask { title: it.title(), why: None, desired: it.clone().into() }
        };
        let tasks = desired.iter().map(task).collect();
        let nodes = vec![DesiredNode { node: "n".into(), tasks }];
        let (name, why, strategy) = ("p".into(), String::new(), PlayStrategy::Parallel);
        let plays = [DesiredPlay { name, why, after: vec![], strategy, nodes }];
        let first = plan(&plays, &BTreeMap::from([("n".into(), facts.clone())]));
        let differing = desired.iter().filter(|it| it.diff(&facts).is_some()).count();
        prop_assert_eq!(first.changes().len(), differing);
        let differs = |it: &&Desired| it.diff(&facts).is_some();
        let changes: Vec<&Desired> = desired.iter().filter(differs).collect();
        for it in changes {
            it.settle(&mut facts);
        }
        // A later task may have undone an earlier one: such playbooks are refused before they come
        // here.
        if desired.iter().all(|it| it.diff(&facts).is_none()) {
            prop_assert!(plan(&plays, &BTreeMap::from([("n".into(), facts)])).is_empty());
        }
    }

    #[test]
    fn a_node_about_which_nothing_is_known_needs_every_task(desired in desired()) {
        let stays_away = matches!(&desired, Desired::Unit(unit) if !unit.started && !unit.enabled);
        prop_assert_eq!(desired.diff(&Facts::default()).is_none(), stays_away);
    }

    #[test]
    fn a_probe_reads_anything_without_panic(
        output in "(clock|missing|path|hash|known|text|route|image|unit|check|end|\\PC){0,3}\
                   [\t\n |=\\PC]{0,40}",
    ) {
        let _ = parse(&questions(), &output);
    }

    #[test]
    fn what_ends_before_its_end_is_refused(
        lines in vec("(clock\t1|path\t/a|route\tx|unit\tId=a|check\t0\t0|unit\t)", 0..6),
        cut in 0..4_usize,
    ) {
        let mut whole = lines.join("\n") + "\nend\n";
        prop_assert!(parse(&questions(), &whole).is_ok());
        whole.truncate(whole.len() - 2 - cut.min(whole.len() - 2));
        prop_assert!(parse(&questions(), &whole).is_err(), "{whole:?}");
    }
}

proptest! {
    // Each case starts a shell with a hundred words.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn quoted_words_reach_a_real_shell_unchanged(words in vec("[^\\x00]{0,12}", 100)) {
        let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
        let script = format!("for word in {}; do printf '%s\\0' \"$word\"; done", quoted.join(" "));
        let mut sh = std::process::Command::new("sh");
        let output = sh.arg("-c").arg(&script).output().expect("sh runs");
        let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
        prop_assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

/// What the commands of the standard playbooks write into the record themselves.
fn written_by_playbooks() -> BTreeSet<String> {
    let books = standard::names().map(|name| standard::find(name, None).expect("a playbook"));
    let tasks = books.flat_map(|book| book.plays).flat_map(|play| play.tasks);
    let run =
        |module: Module| if let Module::Command(args) = module { args.run } else { "".into() };
    tasks.flat_map(|task| written(&run(task.module))).collect()
}

#[test]
fn whatever_is_recorded_has_a_kind_and_every_kind_is_undone() {
    let known: BTreeSet<String> = record::KINDS.iter().map(|kind| kind.word.to_owned()).collect();
    assert_eq!(known.len(), record::KINDS.len(), "each kind is there once");
    let written = Writers::new().all().chain(written_by_playbooks()).collect();
    let unknown: Vec<_> = BTreeSet::difference(&written, &known).collect();
    assert_eq!(unknown, [""; 0], "lines of these kinds are written and cannot be undone");
    let unwritten: Vec<_> = known.difference(&written).collect();
    assert_eq!(unwritten, ["hosts_entry"], "kinds that only older records have");
    for kind in record::KINDS {
        let function = format!("\n{}() {{", kind.undone_by);
        assert!(node::UNDO.contains(&function), "{} has no {}", kind.word, kind.undone_by);
        let dispatched = node::UNDO.lines().any(|line| {
            let words = line.trim().split(')').next().unwrap_or_default();
            words.split(" | ").any(|word| word == kind.word)
        });
        assert!(dispatched, "undo.sh does not expect lines of the kind `{}`", kind.word);
    }
}

#[test]
fn a_module_records_what_it_says_that_it_records() {
    let (writers, mut runner) = (Writers::new(), TestRunner::deterministic());
    let mut modules: BTreeMap<&str, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for _ in 0..2000 {
        let desired = desired().new_tree(&mut runner).expect("a task").current();
        let (says, writes) = modules.entry(desired.name()).or_default();
        says.extend(desired.records().iter().map(|kind| kind.word.to_owned()));
        writes.extend(writers.written_by(&desired.actions(&Facts::default()).script));
    }
    let tried: Vec<&str> = modules.keys().copied().collect();
    let all = BTreeSet::from_iter(Desired::NAMES.iter().copied());
    assert_eq!(tried, Vec::from_iter(all), "every module that is registered is tried here");
    // A command may record whatever there is a kind for; the law above reads what each does record.
    let (says, _) = modules.remove("command").expect("commands");
    assert_eq!(says.len(), record::KINDS.len());
    for (module, (says, writes)) in modules {
        assert_eq!(says, writes, "what `{module}` says, and what its actions write");
    }
}
