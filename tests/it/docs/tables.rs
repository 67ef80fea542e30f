//! What the generated tables say, from the program, the playbooks and the tests themselves.

use super::*;
use labctl::inventory::keys::ValueKind;

/// Every verb with its subcommands, and what it does.
pub(super) fn verbs() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for verb in Cli::command().get_subcommands() {
        let about =
            |command: &Command| command.get_about().map(ToString::to_string).unwrap_or_default();
        let shown = |below: &&Command| !below.is_hide_set();
        let below: Vec<&Command> = verb.get_subcommands().filter(shown).collect();
        if below.is_empty() {
            all.push((format!("labctl {}", verb.get_name()), about(verb)));
        }
        for second in below {
            all.push((format!("labctl {} {}", verb.get_name(), second.get_name()), about(second)));
        }
    }
    all
}

pub(super) fn every_command(command: &Command, all: &mut Vec<Command>) {
    all.push(command.clone());
    for below in command.get_subcommands() {
        every_command(below, all);
    }
}

/// The options of `commands` that have a variable in the environment, each once.
pub(super) fn options(which: impl Fn(&clap::Arg) -> bool, commands: &[Command]) -> String {
    let mut rows = BTreeSet::new();
    for argument in
        commands.iter().flat_map(Command::get_arguments).filter(|argument| which(argument))
    {
        let Some(variable) = argument.get_env() else { continue };
        let option = match (argument.get_long(), argument.get_short()) {
            (Some(long), Some(short)) => format!("--{long}, -{short}"),
            (Some(long), None) => format!("--{long}"),
            _ => argument.get_id().to_string().to_uppercase(),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        rows.insert([code(&option), code(&variable.to_string_lossy()), help]);
    }
    table(["option", "variable", "meaning"], rows)
}

/// The exit codes as the help has them.
pub(super) fn exit_codes() -> Vec<[String; 2]> {
    let help =
        Cli::command().get_after_help().expect("the help has a list of exit codes").to_string();
    let after = help.split_once("Exit codes:\n").expect("the exit codes").1;
    let lines = after.lines().take_while(|line| !line.is_empty());
    lines
        .map(|line| {
            let (number, meaning) = line.trim().split_once(' ').expect("a code and its meaning");
            [number.to_owned(), meaning.trim().to_owned()]
        })
        .collect()
}

/// Every module with the first sentence of its file's documentation: "`file`, `template` and
/// `binary`: a file ...".
pub(super) fn modules() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for path in files_below(&root().join("src/module")) {
        let text = fs::read_to_string(&path).expect("a source file");
        let paragraph: Vec<&str> =
            text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
        let paragraph = paragraph.join(" ");
        let Some((names, what)) =
            paragraph.split_once("`: ").filter(|_| paragraph.starts_with('`'))
        else {
            continue;
        };
        let what = what.split(". ").next().unwrap_or(what);
        let names = names
            .split(|c: char| !c.is_ascii_lowercase() && c != '_')
            .filter(|name| !matches!(*name, "" | "and"));
        all.extend(names.map(|name| (name.to_owned(), what.trim_end_matches('.').to_owned())));
    }
    all.sort();
    all
}

pub(super) fn plays() -> Vec<[String; 3]> {
    let playbook = standard::find("up", None).expect("the standard playbook");
    playbook
        .plays
        .iter()
        .map(|play| [code(&play.name), play.on.to_string(), labctl::playbook::one_line(&play.why)])
        .collect()
}

/// The kinds of event, as serde names them, with the first line of their documentation.
pub(super) fn events() -> Vec<[String; 2]> {
    let text = fs::read_to_string(root().join("src/event.rs")).expect("a source file");
    let body = text.split_once("pub enum Event {\n").expect("the events").1;
    let body = body.split("\n}\n").next().expect("their end");
    let (mut rows, mut doc) = (Vec::new(), String::new());
    for line in body.lines() {
        // Variants are indented once, their fields twice.
        let Some(line) = line.strip_prefix("    ").filter(|line| !line.starts_with(' ')) else {
            continue;
        };
        if let Some(more) = line.strip_prefix("/// ") {
            let _ = write!(doc, "{}{more}", if doc.is_empty() { "" } else { " " });
        } else if line.starts_with(|c: char| c.is_ascii_uppercase()) {
            let name: String = line.chars().take_while(char::is_ascii_alphanumeric).collect();
            let mut snake = String::new();
            for c in name.chars() {
                if c.is_ascii_uppercase() && !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            rows.push([code(&snake), std::mem::take(&mut doc)]);
        }
    }
    assert!(rows.len() > 10, "{rows:?}");
    rows
}

/// Every test file with the first paragraph of its documentation.
pub(super) fn test_files() -> Vec<[String; 2]> {
    let mut rows = Vec::new();
    for path in files_below(&root().join("tests")) {
        let place = path.strip_prefix(root()).expect("below the root").display().to_string();
        let depth = place.matches('/').count();
        let story = place.ends_with(".rs") && (depth == 1 || place.starts_with("tests/it/"));
        if !story && !place.ends_with("/main.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        let lines = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .take_while(|line| !line.trim().is_empty());
        let said: Vec<&str> = lines.map(str::trim).collect();
        rows.push([code(&place), said.join(" ")]);
    }
    rows.sort();
    rows
}

pub(super) fn make_targets() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("Makefile")).expect("a Makefile");
    text.lines()
        .filter_map(|line| {
            let (rule, about) = line.split_once("## ")?;
            let (target, _) = rule.split_once(':')?;
            target
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-')
                .then(|| (target.to_owned(), about.to_owned()))
        })
        .collect()
}

/// The keys of the section that `keys NAME` names; without a name, those at the top.
pub(super) fn keys_of(name: &str) -> Option<String> {
    let name = name.strip_prefix("keys")?.trim_start();
    let section = keys::SECTIONS.iter().find(|section| section.name == name)?;
    let rows = section.keys.iter().map(|key| {
        [code(key.name), type_of(key.kind), key.default.to_owned(), key.about.to_owned()]
    });
    Some(table(["key", "type", "default", "meaning"], rows))
}

fn type_of(kind: ValueKind) -> String {
    match kind {
        ValueKind::Choice(words) => {
            words.iter().map(|word| code(word)).collect::<Vec<_>>().join(", ")
        }
        ValueKind::Text => "text".to_owned(),
        ValueKind::File => "path".to_owned(),
        ValueKind::Cidr => "CIDR".to_owned(),
        ValueKind::Address => "address".to_owned(),
        ValueKind::PerFamily(one) => format!("{}, or a list of two", type_of(*one)),
        ValueKind::Number(..) => "number".to_owned(),
        ValueKind::Texts => "list of texts".to_owned(),
        ValueKind::Choices(_) | ValueKind::List(_) => "list".to_owned(),
        ValueKind::Labels | ValueKind::Files | ValueKind::Flags | ValueKind::Any => {
            "mapping".to_owned()
        }
        ValueKind::Jumps => "text or list".to_owned(),
        ValueKind::Section(_) | ValueKind::Named(..) => "section".to_owned(),
    }
}
