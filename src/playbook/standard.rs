//! The compiled-in playbooks. Playbooks and components of the same name in the directory of
//! `--playbooks` replace them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::load::{PlaybookFile, assemble, read};
use super::{Playbook, PlaybookError};
use crate::inventory::did_you_mean;

/// Name and text of every file in `playbooks/`, sorted; a component of `up` is `up/etcd`.
pub const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/playbooks.rs"));

/// Returns the names of the standard playbooks, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name).filter(|name| !name.contains('/'))
}

/// Returns the playbook `name`: from `directory` if that contains `NAME.yaml`, else the standard
/// one. The same applies to each of its components.
///
/// # Errors
/// If there is no such playbook or directory, or the playbook is invalid.
pub fn find(name: &str, directory: Option<&Path>) -> Result<Playbook, PlaybookError> {
    // With a mistyped directory, fail instead of using the standard playbooks.
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        let what = "no such directory; `labctl playbook export` creates one".to_owned();
        return Err(PlaybookError { file: directory.display().to_string(), what });
    }
    let changed = directory
        .map(|directory| directory.join(format!("{name}.yaml")))
        .filter(|path| path.exists());
    if let Some(directory) = directory.filter(|directory| changed.is_none() && !has_ours(directory))
    {
        let near = [directory.join("playbooks"), directory.with_file_name("playbooks")];
        let meant = near.iter().find(|near| has_ours(near));
        let meant =
            meant.map(|meant| format!("; did you mean {}?", meant.display())).unwrap_or_default();
        let what = format!("no file in this directory replaces a standard playbook{meant}");
        return Err(PlaybookError { file: directory.display().to_string(), what });
    }
    let file = match changed {
        Some(path) => read(&path)?,
        None => base(name)?,
    };
    let used = RefCell::new(BTreeSet::new());
    let component = |component: &str| {
        used.borrow_mut().insert(component.to_owned());
        of_component(name, component, directory)
    };
    let playbook = assemble(&file, &component, &base)?;
    if let Some(directory) = directory {
        refuse_unused(&directory.join(name), &used.into_inner(), &file.name)?;
    }
    Ok(playbook)
}

/// The file of a standard playbook, for one that extends it.
fn base(name: &str) -> Result<PlaybookFile, PlaybookError> {
    Ok(PlaybookFile { name: format!("playbooks/{name}.yaml"), text: text(name)?.to_owned() })
}

/// Refuses files of components that no play names: what somebody wrote must not mean nothing.
fn refuse_unused(
    components: &Path,
    used: &BTreeSet<String>,
    playbook: &str,
) -> Result<(), PlaybookError> {
    let entries = fs::read_dir(components).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"));
    files.sort();
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|end| end == "yaml") && used.contains(&*name) {
            continue;
        }
        let what = if used.contains(&*name) {
            format!("this file is not read; rename it to {name}.yaml")
        } else {
            let near = did_you_mean(&name, used.iter().map(String::as_str));
            let near = near.map(|near| format!("did you mean {near}.yaml? ")).unwrap_or_default();
            format!(
                "this file is not read, because no play of {playbook} takes its tasks from it; \
                {near}add `- {{ name: {name}, on: ..., after: [...] }}` to that playbook (`labctl \
                playbook export` writes the standard ones), or remove the file"
            )
        };
        return Err(PlaybookError { file: path.display().to_string(), what });
    }
    Ok(())
}

/// Whether a directory has a file that replaces a standard one.
fn has_ours(directory: &Path) -> bool {
    FILES.iter().any(|(name, _)| directory.join(format!("{name}.yaml")).is_file())
}

/// Returns the file of one of a playbook's components, if there is one.
fn of_component(
    playbook: &str,
    component: &str,
    directory: Option<&Path>,
) -> Result<Option<PlaybookFile>, PlaybookError> {
    let name = format!("{playbook}/{component}");
    match directory
        .map(|directory| directory.join(format!("{name}.yaml")))
        .filter(|path| path.exists())
    {
        Some(path) => read(&path).map(Some),
        None => Ok(standard(&name).map(|text| PlaybookFile {
            name: format!("playbooks/{name}.yaml"),
            text: text.to_owned(),
        })),
    }
}

fn standard(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns the text of the standard playbook `name`, or of a component such as `up/etcd`.
///
/// # Errors
/// If there is none.
pub fn text(name: &str) -> Result<&'static str, PlaybookError> {
    standard(name).ok_or_else(|| {
        let known = names().collect::<Vec<_>>().join(", ");
        PlaybookError {
            file: name.to_owned(),
            what: format!("no such standard playbook; known are {known}"),
        }
    })
}

/// Returns the playbook that the user names: a standard one, one in `directory`, or any file. The
/// components of a file are in a directory of the same name beside it.
///
/// # Errors
/// If there is no such playbook, or it is invalid.
pub fn named(name: &str, directory: Option<&Path>) -> Result<Playbook, PlaybookError> {
    let path = Path::new(name);
    if path.extension().is_none() && path.components().count() == 1 {
        return find(name, directory);
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let beside = path.parent().unwrap_or(Path::new(""));
    let component = |component: &str| of_component(&stem, component, Some(beside));
    assemble(&read(path)?, &component, &base)
}

#[cfg(test)]
mod tests {
    use super::super::UP;
    use super::*;

    #[test]
    fn a_directory_without_any_used_file_is_refused_with_a_suggestion() {
        let mine = tempfile::tempdir().expect("a directory");
        let right = mine.path().join("playbooks");
        std::fs::create_dir_all(right.join("up")).expect("a directory");
        std::fs::write(right.join("up/etcd.yaml"), text("up/etcd").expect("a component"))
            .expect("a file");
        find("up", Some(&right)).expect("one component is enough");
        let error = find("up", Some(mine.path())).expect_err("nothing of it is used").to_string();
        assert!(error.contains(&format!("did you mean {}?", right.display())), "{error}");
    }

    #[test]
    fn an_add_on_is_a_play_that_says_so() {
        let up = find(UP, None).expect("a playbook");
        let unknown = |addon: &str| up.unknown_addon(&["metrics-server".into(), addon.into()]);
        assert_eq!(unknown("metrics-server"), None);
        let said = unknown("coredns").expect("every lab has it");
        assert_eq!(
            said,
            "`addons`: the playbook `up` has no add-on `coredns`; there are metrics-server"
        );
        let down = find("down", None).expect("a playbook");
        assert_eq!(down.unknown_addon(&["nosuch".into()]), None, "it brings nothing up");
    }

    #[test]
    fn a_component_that_no_play_names_is_refused_with_the_way_out() {
        let mine = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(mine.path().join("up")).expect("a directory");
        let refused = |file: &str| {
            let path = mine.path().join("up").join(file);
            std::fs::write(&path, "why: To greet.\ntasks: []\n").expect("a file");
            std::fs::write(mine.path().join("up/README.md"), "mine").expect("a file");
            let error = find("up", Some(mine.path())).expect_err("nothing reads it").to_string();
            std::fs::remove_file(&path).expect("it was there");
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            error
        };
        std::fs::write(mine.path().join("up.yaml"), text("up").expect("it")).expect("a file");
        let error = refused("coreDNS.yaml");
        assert!(error.contains("did you mean coredns.yaml?"), "{error}");
        let error = refused("motd.yaml");
        assert!(error.contains("add `- { name: motd, on: ..., after: [...] }`"), "{error}");
        let error = refused("etcd.yml");
        assert!(error.contains("rename it to etcd.yaml"), "{error}");
        find("up", Some(mine.path())).expect("nothing else is in the way");
    }

    #[test]
    fn every_standard_component_has_a_play() {
        for (name, _) in FILES {
            let Some((playbook, component)) = name.split_once('/') else { continue };
            let plays = find(playbook, None).expect("a playbook").plays;
            assert!(
                plays.iter().any(|play| play.name == component),
                "{playbook}.yaml has no play `{component}`"
            );
        }
    }

    #[test]
    fn a_playbook_that_extends_the_standard_one_has_its_own_plays_among_those() {
        let mine = tempfile::tempdir().expect("a directory");
        let up = |plays: &str| {
            let text = format!("name: up\nextends: up\nplays:\n{plays}");
            std::fs::write(mine.path().join("up.yaml"), text).expect("a file");
            find("up", Some(mine.path()))
        };
        let own = "- { name: motd, on: worker, after: [containerd], before: [kubelet, ready], \
                   tasks: [] }\n- { name: coredns, on: controller, after: [kubelet], tasks: [] }\n";
        let (ours, theirs) = (up(own).expect("a playbook"), find("up", None).expect("a playbook"));
        assert_eq!((&ours.why, ours.plays.len()), (&theirs.why, theirs.plays.len() + 1));
        let at = |name: &str| ours.plays.iter().position(|play| play.name == name).expect(name);
        assert_eq!(at("motd"), at("containerd") + 1);
        let after = |name: &str| &ours.plays[at(name)].after;
        assert!(after("kubelet").ends_with(&["motd".to_owned()]), "{:?}", after("kubelet"));
        assert!(after("ready").ends_with(&["motd".to_owned()]), "{:?}", after("ready"));
        assert_eq!(after("coredns"), &["kubelet"], "ours replaces the standard one");

        let wrong = |plays: &str| up(plays).expect_err("it cannot be played").to_string();
        let error = wrong("- { name: motd, on: all, before: [kubelets], tasks: [] }\n");
        assert!(
            error.contains("play `motd` comes before `kubelets`, and there is no such"),
            "{error}"
        );
        let error = wrong("- { name: motd, on: all, after: [ready], before: [etcd], tasks: [] }\n");
        assert!(error.contains("play `etcd` comes after `motd`: move it below"), "{error}");
    }

    #[test]
    fn a_custom_component_is_one_file_and_one_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        };
        let order = format!(
            "{}  - {{ name: motd, on: all, after: [ready] }}\n",
            text("up").expect("the order")
        );
        write("up.yaml", &order);
        write(
            "up/motd.yaml",
            "why: To greet.\ntasks:\n- file: { content: hello, to: /etc/motd }\n",
        );
        write("up/coredns.yaml", "why: None here.\ntasks: []\n");
        let playbook = find("up", Some(directory.path())).expect("a playbook");
        let play =
            |name: &str| playbook.plays.iter().find(|play| play.name == name).expect("a play");
        assert_eq!((play("motd").why.as_str(), play("motd").tasks.len()), ("To greet.", 1));
        assert_eq!(play("coredns").tasks, [], "the changed one replaces the standard one");
        assert_eq!(
            play("etcd"),
            find("up", None)
                .expect("a playbook")
                .plays
                .iter()
                .find(|it| it.name == "etcd")
                .expect("etcd")
        );
        // The playbook's file is enough as well, also when given by path.
        let path = directory.path().join("up.yaml");
        assert_eq!(named(&path.display().to_string(), None).expect("a playbook"), playbook);
    }
}
