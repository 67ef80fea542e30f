//! The documentation against the program: generated tables are current, and every verb, option,
//! path, target and example that a page names exists.
//!
//! Tables between `<!-- generated: NAME -->` and `<!-- end -->` are written by
//! `LABCTL_UPDATE_GOLDEN=1 cargo test --test it docs`. Console blocks of the pages are run by
//! `tests/it/cli.rs`.

mod tables;
mod text;

use crate::support::prose;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use labctl::cli::Cli;
use labctl::cluster;
use labctl::inventory::keys;
use labctl::machine::FACTS;
use labctl::picture::{Picture, svg};
use labctl::playbook::{load, standard};
use labctl::render::context::VARIABLES;

use tables::{
    events, every_command, exit_codes, keys_of, make_targets, modules, options, plays, test_files,
    verbs,
};
use text::{
    as_playbook, blocks, code, command_lines, files_below, heading, inline_code, links, pages,
    root, table,
};

#[test]
fn generated_tables_are_current() {
    let mut stale = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in pages() {
        let mut current = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("<!-- generated: ") {
            let (name, after) = after.split_once(" -->\n").expect("a marker ends in its line");
            let (_, after) =
                after.split_once("<!-- end -->").unwrap_or_else(|| panic!("{name} has no end"));
            let _ = write!(
                current,
                "{before}<!-- generated: {name} -->\n{}<!-- end -->",
                generated(name)
            );
            seen.insert(name.to_owned());
            rest = after;
        }
        current.push_str(rest);
        if current != text {
            if std::env::var_os("LABCTL_UPDATE_GOLDEN").is_some() {
                fs::write(&path, current).expect("a page can be written");
            } else {
                stale.push(path.display().to_string());
            }
        }
    }
    assert!(
        stale.is_empty(),
        "run `LABCTL_UPDATE_GOLDEN=1 cargo test --test it docs` and read the diff: {stale:?}"
    );
    assert!(seen.len() >= 10, "some generated tables are gone: {seen:?}");
}

/// The schema that the shipped inventories refer to is the one that `labctl schema` prints.
#[test]
fn the_schema_is_current() {
    let path = root().join("docs").join(labctl::inventory::schema::FILE_NAME);
    let current = labctl::inventory::schema::text();
    if std::env::var_os("LABCTL_UPDATE_GOLDEN").is_some() {
        fs::write(&path, &current).expect("the schema can be written");
    }
    let shipped = fs::read_to_string(&path).expect("docs/inventory.schema.json");
    assert!(shipped == current, "run `LABCTL_UPDATE_GOLDEN=1 cargo test --test it docs`");
}

/// The picture in the README is what `labctl graph --lab` draws.
#[test]
fn the_picture_is_current() {
    let (sandbox, _) = cluster::open(&root().join("inventories/sandbox.yaml")).expect("a lab");
    let current = svg::draw(&Picture::of(&sandbox, &BTreeMap::new()));
    let path = root().join("docs/sandbox.svg");
    if std::env::var_os("LABCTL_UPDATE_GOLDEN").is_some() {
        fs::write(&path, &current).expect("the picture can be written");
    }
    let shown = fs::read_to_string(&path).expect("docs/sandbox.svg");
    assert!(shown == current, "run `LABCTL_UPDATE_GOLDEN=1 cargo test --test it docs`");
}

/// The text between a marker and its end.
fn generated(name: &str) -> String {
    match name {
        "verbs" => table(
            ["verb", "what it does"],
            verbs().into_iter().map(|(verb, about)| [code(&verb), about]),
        ),
        "options" => options(|argument| argument.is_global_set(), &[Cli::command()]),
        "environment" => {
            let mut all = Vec::new();
            every_command(&Cli::command(), &mut all);
            options(|argument| !argument.is_global_set() && !argument.is_hide_set(), &all)
        }
        "exit codes" => table(["code", "meaning"], exit_codes()),
        "variables" => table(
            ["variable", "what"],
            VARIABLES.iter().map(|(name, what)| [code(name), (*what).to_owned()]),
        ),
        "facts" => table(
            ["`node.facts.`", "what"],
            FACTS.iter().map(|(name, what)| [code(name), (*what).to_owned()]),
        ),
        "modules" => table(
            ["module", "desired state"],
            modules().into_iter().map(|(name, what)| [code(&name), what]),
        ),
        "playbooks" => table(
            ["playbook", "what it does"],
            standard::names().map(|name| {
                let playbook = standard::find(name, None).expect("a standard playbook");
                [code(name), playbook.summary()]
            }),
        ),
        "plays" => table(["play", "on", "why"], plays()),
        "events" => table(["`event`", "when"], events()),
        "tests" => table(["file", "what it holds"], test_files()),
        "make" => table(
            ["command", "what it does"],
            make_targets().into_iter().map(|(t, a)| [code(&format!("make {t}")), a]),
        ),
        _ => keys_of(name).unwrap_or_else(|| panic!("nothing generates `{name}`")),
    }
}

#[test]
fn every_command_line_in_the_docs_can_be_typed() {
    let mut wrong = Vec::new();
    for (path, text) in pages() {
        for line in command_lines(&text, "labctl") {
            if let Some(why) = cannot_be_typed(&line) {
                wrong.push(format!("{}: `{line}`: {why}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_check_of_command_lines_can_fail() {
    for line in [
        "labctl fly",
        "labctl certs renw",
        "labctl up --limt a",
        "labctl node add w --adress 1.2.3.4",
    ] {
        assert!(cannot_be_typed(line).is_some(), "{line}");
    }
    for line in [
        "labctl certs renew --only x",
        "labctl ssh w -- ls --all",
        "labctl VERB --help",
        "labctl up --yes",
    ] {
        assert_eq!(cannot_be_typed(line), None, "{line}");
    }
}

#[test]
fn every_make_target_in_the_docs_exists() {
    let known: BTreeSet<String> = make_targets().into_iter().map(|(target, _)| target).collect();
    for (path, text) in pages() {
        for line in command_lines(&text, "make") {
            let target = line.split(' ').nth(1).unwrap_or_default();
            assert!(
                known.contains(target),
                "{}: `{line}`: there is no such target",
                path.display()
            );
        }
    }
}

#[test]
fn every_path_and_link_in_the_docs_exists() {
    let mut wrong = Vec::new();
    for (path, text) in pages() {
        let beside = path.parent().expect("a page is in a directory");
        for target in links(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { path.clone() } else { beside.join(file) };
            let headings =
                |text: &str| text.lines().filter_map(heading).any(|heading| heading == anchor);
            if !file.exists()
                || !anchor.is_empty()
                    && !fs::read_to_string(&file).is_ok_and(|text| headings(&text))
            {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
        for quoted in inline_code(&text) {
            let ours =
                ["src/", "tests/", "playbooks/", "templates/", "inventories/", "benches/", "docs/"];
            let begins = ours.iter().any(|begin| quoted.starts_with(begin));
            let whole = !quoted.contains(['<', '*', ' ', '{']);
            if begins && whole && !root().join(&quoted).exists() {
                wrong.push(format!("{}: `{quoted}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these do not exist: {wrong:#?}");
}

#[test]
fn the_inventory_page_has_every_key_and_no_other() {
    let page = fs::read_to_string(root().join("docs/inventory.md")).expect("a page");
    let documented = |heading: &str| -> BTreeSet<String> {
        let after = page
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("no section {heading}"))
            .1;
        let section = after.split("\n## ").next().expect("a section");
        section
            .lines()
            .filter_map(|row| row.strip_prefix("| `")?.split_once('`'))
            .map(|(key, _)| key.to_owned())
            .collect()
    };
    for (section, keys) in [
        ("Top level", keys::INVENTORY),
        ("`defaults`", keys::DEFAULTS),
        ("`local`", keys::LOCAL),
        ("`ssh`", keys::NODE_SSH),
        ("`network`", keys::NETWORK),
        ("`api`", keys::API),
        ("`pki`", keys::PKI),
        ("`components`", keys::COMPONENT),
        ("`registries`", keys::REGISTRY),
        ("`proxy`", keys::PROXY),
        ("`nodes`", keys::NODE),
    ] {
        let keys: BTreeSet<String> = keys.names().map(str::to_owned).collect();
        assert!(!keys.is_empty(), "{section}");
        assert_eq!(documented(section), keys, "{section} of docs/inventory.md");
    }
}

#[test]
fn inventories_and_playbooks_in_the_docs_are_right() {
    let (mut inventories, mut playbooks) = (0, 0);
    let folder = tempfile::tempdir().expect("a directory");
    for (path, text) in pages() {
        for block in blocks(&text, "yaml") {
            if block.contains("kubernetes:") {
                let file = folder.path().join("inventory.yaml");
                fs::write(&file, &block).expect("a file");
                labctl::cluster::open(&file)
                    .unwrap_or_else(|wrong| panic!("{}: {wrong:?}", path.display()));
                inventories += 1;
            } else if block.contains("\nextends: up\n") {
                fs::write(folder.path().join("up.yaml"), &block).expect("a file");
                standard::find("up", Some(folder.path())).unwrap_or_else(|wrong| panic!("{wrong}"));
                playbooks += 1;
            } else if block.starts_with("name:") || block.starts_with("tasks:") {
                load::parse(&path.display().to_string(), &as_playbook(&block))
                    .unwrap_or_else(|wrong| panic!("{wrong}"));
                playbooks += 1;
            }
        }
    }
    assert!(inventories >= 1 && playbooks >= 2, "{inventories} inventories, {playbooks} playbooks");
}

/// What `.ci/matrix` has written is a day and a commit that is in this history, when that can be
/// asked; before its first run it says so.
#[test]
fn the_labs_of_the_matrix_ran_at_a_commit_of_this_history() {
    let text = fs::read_to_string(root().join("tests/matrix.txt")).expect("a record of the matrix");
    let line = text.lines().find(|line| !line.starts_with('#')).expect("a line");
    if line == "never" {
        return;
    }
    let [day, commit, minutes, "min"] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("`{line}` is not a day, a commit and how long it took");
    };
    let numbers: Vec<u32> = day.split('-').filter_map(|part| part.parse().ok()).collect();
    assert!(matches!(numbers[..], [2026..=2999, 1..=12, 1..=31]), "{day}");
    assert!(minutes.parse::<u32>().is_ok_and(|it| it > 0), "{minutes}");
    assert!(commit.len() == 40 && commit.chars().all(|it| it.is_ascii_hexdigit()), "{commit}");
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).current_dir(root()).output();
        output.ok().map(|output| (output.status.success(), output.stdout))
    };
    // A release has no history, and a shallow clone no more than a part of it.
    if git(&["rev-parse", "--is-shallow-repository"]) == Some((true, b"false\n".to_vec())) {
        let (is_there, _) = git(&["merge-base", "--is-ancestor", commit, "HEAD"]).expect("git");
        assert!(is_there, "the matrix ran at {commit}, which is not in this history");
    }
}

/// `tests/lab/machines.rs` writes a line for each machine that it has seen.
#[test]
fn every_machine_of_others_was_seen_as_its_script_says() {
    let text = fs::read_to_string(root().join("tests/machines.txt")).expect("what was seen");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let seen: Vec<(&str, &str)> = lines
        .map(|line| {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            let [day, name, verdict] = words[..] else {
                panic!("`{line}` is no day, name, verdict")
            };
            assert!(day.len() == 10 && day.starts_with("20"), "{line}");
            (name, verdict)
        })
        .collect();
    let mut names = BTreeSet::new();
    for script in files_below(&root().join("tests/machines")) {
        let name = script.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&script).expect("a script");
        let (_, expected) = text.lines().nth(1).and_then(|it| it.split_once(", ")).expect(&name);
        let verdicts: Vec<&str> =
            seen.iter().filter(|(machine, _)| *machine == name).map(|(_, it)| *it).collect();
        let [verdict] = verdicts[..] else { panic!("{name} was not seen: {verdicts:?}") };
        let right = match expected.split_once(": ") {
            Some(("refused", why)) => verdict.starts_with("refused: ") && verdict.contains(why),
            Some(_) => verdict.starts_with("equal but for "),
            None => verdict == expected,
        };
        assert!(right, "{name}: `{expected}` was expected, and `{verdict}` was seen");
        names.insert(name);
    }
    assert!(names.len() >= 25 && names.len() == seen.len(), "{} machines", seen.len());
}

#[test]
fn every_module_has_a_row_and_an_example() {
    let nothing = "name: x\nplays:\n- { name: x, on: all, tasks: [{ name: x }] }\n";
    let refusal = load::parse("x", nothing).expect_err("a task without a module").to_string();
    let known = refusal.split_once("one of ").expect("the modules are listed").1;
    let known: BTreeSet<&str> = known.split(", ").collect();
    let rows = modules();
    let rows: BTreeSet<&str> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(rows, known, "the first sentence of each src/module/*.rs names its modules");
    let page = fs::read_to_string(root().join("docs/playbooks.md")).expect("a page");
    let examples = blocks(&page, "yaml")
        .into_iter()
        .find(|block| block.starts_with("tasks:"))
        .expect("examples");
    for module in known {
        assert!(
            examples.contains(&format!("- {module}: {{")),
            "docs/playbooks.md has no example of `{module}`"
        );
    }
}

#[test]
fn every_package_that_up_installs_is_named_for_labs_without_internet() {
    let page = fs::read_to_string(root().join("docs/bundles.md")).expect("a page");
    let mut seen = 0;
    for path in files_below(&root().join("playbooks")) {
        let text = fs::read_to_string(&path).expect("a playbook");
        for (at, _) in text.match_indices("=/usr/") {
            let name: &str = text[..at]
                .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .next()
                .expect("a name");
            assert!(
                page.contains(&format!("`{name}`")),
                "docs/bundles.md does not name the package `{name}`"
            );
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} packages were found in playbooks/");
}

#[test]
fn the_prose_has_no_banned_turns() {
    let style = fs::read_to_string(root().join("docs/style.md")).expect("a page");
    let turns = blocks(&style, "banned").concat();
    let turns: Vec<&str> = turns.lines().filter(|line| !line.is_empty()).collect();
    assert!(turns.len() >= 10);
    let mut found = String::new();
    let mut look = |place: &str, line: usize, text: &str| {
        for turn in &turns {
            if prose::has_turn(text, turn) {
                let _ = writeln!(found, "{place}:{line}: `{turn}`: {}", text.trim());
            }
        }
    };
    for path in files_below(&root().join("src")) {
        let place = path.strip_prefix(root().join("src")).expect("below src").display().to_string();
        if path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        for (line, text) in prose::of(&fs::read_to_string(&path).expect("a source file")) {
            look(&place, line, &text);
        }
    }
    for (path, text) in pages().into_iter().filter(|(path, _)| !path.ends_with("docs/style.md")) {
        let place = path.strip_prefix(root()).expect("a page of ours").display().to_string();
        for (index, line) in text.lines().enumerate() {
            look(&place, index + 1, line);
        }
    }
    assert!(found.is_empty(), "docs/style.md bans these turns:\n{found}");
}

#[test]
fn a_readme_fits_on_a_few_screens() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a page");
    assert!(readme.lines().count() <= 160, "the README is a front page; details go to docs/");
    for named in ["make demo", "make test"] {
        assert!(readme.contains(named), "the README names `{named}`");
    }
}

/// Why nobody can type this, if nobody can. Words in capitals stand for something.
fn cannot_be_typed(line: &str) -> Option<String> {
    let mut words = line.split(' ').skip(1).filter(|word| !word.is_empty()).peekable();
    let root = Cli::command();
    let mut command = &root;
    while let Some(word) = words.peek() {
        if !command.has_subcommands() || word.starts_with('-') {
            break;
        }
        if word.bytes().all(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let Some(below) = command.find_subcommand(word) else {
            return Some(format!("there is no `{word}`"));
        };
        command = below;
        words.next();
    }
    let options: BTreeSet<&str> = command
        .get_arguments()
        .chain(root.get_arguments())
        .filter_map(clap::Arg::get_long)
        .collect();
    for word in words.take_while(|word| *word != "--") {
        let Some(option) = word.strip_prefix("--") else { continue };
        let option = option.split('=').next().unwrap_or(option);
        if !options.contains(option) && !matches!(option, "help" | "version") {
            return Some(format!("there is no --{option}"));
        }
    }
    None
}
