//! Between files there is no circle, inside of a room either: each can be read with those below it
//! alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::scan::{Source, named, sources};

/// Modules that name what is below them and are named by it, with the reason. This list may only
/// become shorter.
const KNOWN: &[(&str, &str)] = &[
    ("bundle", "a bundle is opened by its lock, which is made of the bundle's files"),
    ("cluster", "`open` resolves the model, whose types are defined beside it"),
    ("module", "the registry of modules, whose faces are defined beside it"),
    ("plan", "what a plan is, and the judgements that are part of it"),
    ("plan.expand", "one expansion, whose code is in two files"),
    ("transport", "a connection is one of the kinds below, which share its errors"),
];

/// A module, from the crate's root.
type Module = Vec<String>;

/// Which module names something of which other.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn there_are_no_circles_between_files() {
    let graph = graph(&sources().collect::<Vec<_>>());
    let mut found = circles(&graph);
    // Without what ties a known one together, there may be others in it.
    found.extend(circles(&without(&graph, |module| {
        KNOWN.iter().any(|(known, _)| *known == module.join("."))
    })));
    // The first in order is the one above the others, where there is such a one.
    let top = |circle: &[Module]| circle[0].join(".");
    let is_known = |circle: &&Vec<Module>| {
        circle.iter().all(|module| module.starts_with(&circle[0]))
            && KNOWN.iter().any(|(known, _)| *known == top(circle))
    };
    let new: Vec<String> =
        found.iter().filter(|it| !is_known(it)).map(|circle| joined(circle)).collect();
    assert!(new.is_empty(), "move what both need into a file below them: {new:#?}");
    let gone: Vec<&str> = KNOWN
        .iter()
        .map(|(known, _)| *known)
        .filter(|known| !found.iter().any(|circle| top(circle) == *known))
        .collect();
    assert!(gone.is_empty(), "these are circles no more, so take them off the list: {gone:?}");
}

#[test]
fn a_circle_is_seen_through_a_facade() {
    let source = |path: &str, code: &str| Source::new(path, code);
    let facade = source("pki/mod.rs", "mod a; mod b; pub use a::Thing; pub use b::make;");
    let plain = |a: &str, b: &str| {
        let files = [
            source("pki/mod.rs", "mod a; mod b; pub use a::Thing; pub use b::make;"),
            source("pki/a.rs", a),
            source("pki/b.rs", b),
        ];
        circles(&graph(&files)).iter().map(|circle| joined(circle)).collect::<Vec<_>>()
    };
    assert_eq!(plain("pub struct Thing;", "use super::Thing; pub fn make() {}"), [""; 0]);
    assert_eq!(
        plain("use super::make;", "use crate::pki::Thing;"),
        ["pki.a <-> pki.b"],
        "what a facade offers is where it is made"
    );
    assert_eq!(plain("use super::b;", "use super::a::Thing;"), ["pki.a <-> pki.b"]);
    // A parent that uses its child, which uses it.
    let files = [
        source("pki/mod.rs", "mod a; pub struct Both; fn f() { a::go() }"),
        source("pki/a.rs", "use super::Both; pub fn go() {}"),
    ];
    assert_eq!(circles(&graph(&files)).len(), 1);
    assert!(circles(&graph(&[facade])).is_empty());
    // One that hides in a larger one.
    let files = [
        source("pki/mod.rs", "mod a; mod b; pub struct Both; fn f() { a::go() }"),
        source("pki/a.rs", "use super::{Both, b}; pub fn go() { b::go() }"),
        source("pki/b.rs", "use super::a; pub fn go() { a::go() }"),
    ];
    let all = graph(&files);
    assert_eq!(circles(&all).len(), 1);
    let inner = circles(&without(&all, |module| module.join(".") == "pki"));
    assert_eq!(inner.iter().map(|it| joined(it)).collect::<Vec<_>>(), ["pki.a <-> pki.b"]);
    // Unit tests may use whatever they try.
    assert_eq!(
        plain("#[cfg(test)]\nmod tests {\nuse super::super::make;\n}", "use super::Thing;"),
        [""; 0]
    );
}

fn joined(circle: &[Module]) -> String {
    circle.iter().map(|module| module.join(".")).collect::<Vec<_>>().join(" <-> ")
}

/// Who names whom. What a module offers with `pub use` is where it is made; to offer what is below
/// it makes no module depend on it.
fn graph(sources: &[Source]) -> Graph {
    let modules: BTreeSet<Module> = sources.iter().map(|source| source.modules.clone()).collect();
    let mut offered: BTreeMap<(Module, String), Module> = BTreeMap::new();
    for source in sources {
        for it in named(&source.shipped, &source.modules).into_iter().filter(|it| it.reexport) {
            if let Some(name) = it.path.last() {
                offered.insert((source.modules.clone(), name.clone()), it.path.clone());
            }
        }
    }
    let mut graph = Graph::new();
    for source in sources {
        let to = graph.entry(source.modules.clone()).or_default();
        for it in named(&source.shipped, &source.modules) {
            let module = resolve(&it.path, &modules, &offered, 0);
            let below = module.starts_with(&source.modules);
            if module.is_empty() || module == source.modules || it.reexport && below {
                continue;
            }
            to.insert(module);
        }
    }
    graph
}

/// The module that a path ends in.
fn resolve(
    path: &[String],
    modules: &BTreeSet<Module>,
    offered: &BTreeMap<(Module, String), Module>,
    depth: usize,
) -> Module {
    let mut module = Module::new();
    for (index, segment) in path.iter().enumerate() {
        let next = [module.clone(), vec![segment.clone()]].concat();
        if modules.contains(&next) {
            module = next;
        } else if let Some(made) = offered.get(&(module.clone(), segment.clone()))
            && depth < 10
        {
            let path = [made.clone(), path[index + 1..].to_vec()].concat();
            return resolve(&path, modules, offered, depth + 1);
        } else {
            break;
        }
    }
    module
}

/// The same without some modules.
fn without(graph: &Graph, which: impl Fn(&Module) -> bool) -> Graph {
    let left = graph.iter().filter(|(module, _)| !which(module));
    left.map(|(module, to)| {
        (module.clone(), to.iter().filter(|module| !which(module)).cloned().collect())
    })
    .collect()
}

/// The largest sets of modules in which each leads to each.
fn circles(graph: &Graph) -> Vec<Vec<Module>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|module| (module, reached(graph, module))).collect();
    let mut found: BTreeSet<Vec<Module>> = BTreeSet::new();
    for (module, reached) in &reach {
        let with = reached
            .iter()
            .filter(|other| reach.get(*other).is_some_and(|back| back.contains(module)));
        let circle: Vec<Module> = with.map(|other| (*other).clone()).collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// Every module that `from` leads to; itself only when a way leads back.
fn reached<'a>(graph: &'a Graph, from: &Module) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut next: VecDeque<&Module> = graph[from].iter().collect();
    while let Some(module) = next.pop_front() {
        if found.insert(module) {
            next.extend(graph.get(module).into_iter().flatten());
        }
    }
    found
}
