//! Reads playbooks from YAML and refuses those that cannot run: with unknown keys, with plays out
//! of order, in a circle or after a play that does not exist, or without tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::component::{PlayEntry, put_together};
use super::extend::{extended, ordered};
use super::wrong::{PlaybookError, an_inventory, wrong};
use super::{Component, Playbook};

/// Maximum size of a file in bytes: no playbook that a person wrote is as long.
const LONGEST: u64 = 8 << 20;

/// A file with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybookFile {
    /// Its name in errors.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Finds the file of the component of this name, if there is one.
pub type FindComponent<'a> = &'a dyn Fn(&str) -> Result<Option<PlaybookFile>, PlaybookError>;

/// Finds the text of the standard playbook of this name, which another one extends.
pub type FindStandard<'a> = &'a dyn Fn(&str) -> Result<PlaybookFile, PlaybookError>;

/// A playbook as written in its own file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    name: String,
    #[serde(default)]
    why: String,
    extends: Option<String>,
    plays: Vec<PlayEntry>,
}

/// Parses a playbook that needs no component files; `file` is its name in errors.
///
/// # Errors
/// Same as [`assemble`].
pub fn parse(file: &str, text: &str) -> Result<Playbook, PlaybookError> {
    let alone = |base: &str| -> Result<PlaybookFile, PlaybookError> {
        let what =
            format!("nothing is known of the playbook `{base}` here, which this one extends");
        Err(PlaybookError { file: file.to_owned(), what })
    };
    let text = PlaybookFile { name: file.to_owned(), text: text.to_owned() };
    assemble(&text, &|_| Ok(None), &alone)
}

/// Parses a playbook, the components that it uses, and the standard playbook that it extends.
///
/// # Errors
/// If one of the files is not valid YAML or has another structure, if the plays are out of order,
/// or if a play has no tasks.
pub fn assemble(
    file: &PlaybookFile,
    component: FindComponent<'_>,
    standard: FindStandard<'_>,
) -> Result<Playbook, PlaybookError> {
    let refused = |what| PlaybookError { file: file.name.clone(), what };
    let Order { name, mut why, extends, mut plays } = from_yaml(file)?;
    if let Some(base) = extends {
        let base: Order = from_yaml(&standard(&base)?)?;
        plays = extended(base.plays, plays);
        if why.is_empty() {
            why = base.why;
        }
    }
    ordered(&mut plays).map_err(refused)?;
    let mut entries = Vec::with_capacity(plays.len());
    for entry in plays {
        let found = if entry.tasks.is_none() { component(&entry.name)? } else { None };
        let found = found.map(|found| component_of(&found, &name, standard)).transpose()?;
        if found.is_none() && entry.lacks_tasks() {
            let play = &entry.name;
            return Err(refused(format!(
                "play `{play}` has no `tasks`, and there is no {name}/{play}.yaml to take them from"
            )));
        }
        entries.push((entry, found));
    }
    let playbook = Playbook { name, why, plays: put_together(entries).map_err(refused)? };
    check_order(&playbook).map_err(refused)?;
    Ok(playbook)
}

/// Parses a component of the playbook `playbook`, with what it has from the standard one that it
/// extends.
fn component_of(
    file: &PlaybookFile,
    playbook: &str,
    standard: FindStandard<'_>,
) -> Result<Component, PlaybookError> {
    type Sections = BTreeMap<String, serde_json::Value>;
    let own: Component = from_yaml(file)?;
    let Some(base) = &own.extends else { return Ok(own) };
    let mut sections: Sections = from_yaml(&standard(&format!("{playbook}/{base}"))?)?;
    sections.extend(from_yaml::<Sections>(file)?);
    let whole = serde_json::Value::from_iter(sections);
    serde_json::from_value(whole).map_err(|error| wrong(&file.name, None, &error.to_string()))
}

fn from_yaml<T: DeserializeOwned>(file: &PlaybookFile) -> Result<T, PlaybookError> {
    serde_yaml::from_str(&file.text).map_err(|error| {
        let at = error.location().map(|at| (at.line(), at.column()));
        if is_inventory(file) {
            an_inventory(&file.name)
        } else {
            wrong(&file.name, at, &error.to_string())
        }
    })
}

/// Whether a file seems to be a playbook: it has plays.
pub fn is_playbook(file: &PlaybookFile) -> bool {
    has_key(file, "plays")
}

/// Whether a file seems to be an inventory: it has nodes, and no plays.
fn is_inventory(file: &PlaybookFile) -> bool {
    has_key(file, "nodes") && !is_playbook(file)
}

fn has_key(file: &PlaybookFile, key: &str) -> bool {
    let top: Result<BTreeMap<String, serde::de::IgnoredAny>, _> = serde_yaml::from_str(&file.text);
    top.is_ok_and(|keys| keys.contains_key(key))
}

/// Reads the file of a playbook or of a component.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> Result<PlaybookFile, PlaybookError> {
    let name = path.display().to_string();
    let text = text_of(path).map_err(|error| {
        let what = match error.kind() {
            io::ErrorKind::NotFound => {
                "no such file; expected a YAML file, or a name from `labctl playbook list`"
                    .to_owned()
            }
            _ if path.is_dir() => "a directory, not a playbook; name the file in it".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        PlaybookError { file: name.clone(), what }
    })?;
    Ok(PlaybookFile { name, text })
}

/// The text of a file, bounded because that of a device never ends.
fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(io::Error::other("longer than 8 MiB"));
    }
    Ok(text)
}

/// Checks the order. Plays must be listed in an order in which they could run one after the other:
/// each comes after plays above it. That keeps the file readable from top to bottom and makes
/// circles impossible.
fn check_order(playbook: &Playbook) -> Result<(), String> {
    let all: BTreeSet<&str> = playbook.plays.iter().map(|play| play.name.as_str()).collect();
    let mut above: BTreeSet<&str> = BTreeSet::new();
    for play in &playbook.plays {
        for after in &play.after {
            if !all.contains(after.as_str()) {
                let known = above.iter().copied().collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() {
                    "this is the first play".to_owned()
                } else {
                    format!("the plays above it are {known}")
                };
                return Err(format!(
                    "play `{}` comes after `{after}`, which does not exist; {known}",
                    play.name
                ));
            }
            if !above.contains(after.as_str()) {
                let name = &play.name;
                return Err(if after == name {
                    format!("play `{name}` comes after itself; take `{name}` out of its `after`")
                } else {
                    format!("play `{name}` comes after `{after}`: move it below that play")
                });
            }
        }
        if !above.insert(&play.name) {
            return Err(format!("two plays are called `{}`; rename one of them", play.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{PlaybookFile, assemble, parse};

    fn plays(text: &str) -> Result<super::Playbook, super::PlaybookError> {
        parse("test.yaml", &format!("name: test\nplays:\n{text}"))
    }

    #[test]
    fn an_unknown_key_is_reported_with_its_line() {
        let error =
            plays("- name: a\n  hosts: all\n  tasks:\n  - file: { form: pki/ca.crt, to: /x }\n")
                .unwrap_err();
        assert!(error.to_string().contains("unknown key `form`; did you mean `from`?"), "{error}");
        assert!(error.to_string().starts_with("test.yaml:6:13: plays[0]"), "{error}");
    }

    #[test]
    fn a_component_has_what_it_does_not_say_from_the_standard_one() {
        let file = |text: &str| PlaybookFile { name: "x.yaml".into(), text: text.into() };
        let own = "extends: a\ncertificates: []\n";
        let standard = "why: To be.\ncertificates: [ca.crt]\ntasks:\n- directory: { path: /a }\n";
        let playbook = file("name: test\nplays:\n- { name: a, on: all }\n");
        let found = assemble(&playbook, &|_| Ok(Some(file(own))), &|name| {
            assert_eq!(name, "test/a");
            Ok(file(standard))
        });
        let play = found.expect("a playbook").plays.remove(0);
        assert_eq!((play.why.as_str(), play.tasks.len()), ("To be.", 1));
        let component = play.tasks[0].component.as_ref().expect("its own");
        assert_eq!(component.certificates, [""; 0], "an empty list is said too");
        let wrong = assemble(&playbook, &|_| Ok(Some(file("extend: a\n"))), &|_| unreachable!());
        assert!(
            wrong
                .unwrap_err()
                .to_string()
                .contains("unknown key `extend`; did you mean `extends`?")
        );
    }

    #[test]
    fn a_task_has_exactly_one_module() {
        let none = plays("- name: a\n  hosts: all\n  tasks:\n  - name: x\n").unwrap_err();
        assert!(none.to_string().contains("no module"), "{none}");
        let two = plays(
            "- name: a\n  hosts: all\n  tasks:\n  - image: { from: a }\n    \
            directory: { path: /x }\n",
        )
        .unwrap_err();
        assert!(two.to_string().contains("two modules"), "{two}");
    }

    #[test]
    fn plays_in_a_circle_or_out_of_order_are_refused() {
        let below = plays(
            "- { name: a, hosts: all, after: [b], tasks: [] }\n- { name: b, hosts: all, tasks: [] \
            }\n",
        );
        assert_eq!(
            below.unwrap_err().to_string(),
            "test.yaml: play `a` comes after `b`: move it below that play"
        );
        let nowhere = plays("- { name: a, hosts: all, after: [z], tasks: [] }\n");
        assert_eq!(
            nowhere.unwrap_err().to_string(),
            "test.yaml: play `a` comes after `z`, which does not exist; this is the first play"
        );
        let itself = plays("- { name: a, hosts: all, after: [a], tasks: [] }\n");
        assert_eq!(
            itself.unwrap_err().to_string(),
            "test.yaml: play `a` comes after itself; take `a` out of its `after`"
        );
        let twice =
            plays("- { name: a, hosts: all, tasks: [] }\n- { name: a, hosts: all, tasks: [] }\n");
        assert_eq!(
            twice.unwrap_err().to_string(),
            "test.yaml: two plays are called `a`; rename one of them"
        );
    }
}
