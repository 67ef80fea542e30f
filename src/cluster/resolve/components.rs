//! Resolves `components`: which programs there are, and what of them is labctl's own.

use super::Resolver;
use crate::cluster::components::{PROGRAMS, Program, ProgramSettings, SettingsByProgram};
use crate::inventory::{ComponentEntry, Located, did_you_mean};

impl Resolver<'_, '_> {
    pub(super) fn components(&mut self) -> SettingsByProgram {
        let mut components = SettingsByProgram::default();
        for entry in &self.inventory.components {
            let name = &entry.name.value;
            let Some(program) = Program::named(name) else {
                self.unknown_program(&entry.name);
                continue;
            };
            let component = self.component(program, entry);
            components.0.insert(name.clone(), component);
        }
        components
    }

    fn unknown_program(&mut self, name: &Located<String>) {
        let known = PROGRAMS.iter().map(|program| program.name);
        let help = match did_you_mean(&name.value, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the programs are {}", known.collect::<Vec<_>>().join(", ")),
        };
        let what = format!("`components` has no program `{}`", name.value);
        self.problems.error(name.at, what, help);
    }

    fn component(&mut self, program: &Program, entry: &ComponentEntry) -> ProgramSettings {
        let mut component = ProgramSettings::default();
        for (flag, value) in &entry.flags {
            if let Some((what, help)) = wrong_flag(program, &flag.value, value.as_deref()) {
                self.problems.error(flag.at, what, help);
                continue;
            }
            component.flags.insert(flag.value.clone(), value.clone());
            component.flags_at.insert(flag.value.clone(), flag.at);
        }
        for (key, value) in &entry.config {
            let name = program.name;
            if !program.has_config {
                let what = format!("labctl gives {name} no configuration file");
                self.problems.error(key.at, what, "use `flags`");
                break;
            }
            if let Some((path, instead)) = program.instead_of_config(&key.value, value) {
                let path = path.replace('/', ".");
                let what = format!("labctl sets `{path}` of {name} itself");
                self.problems.error(key.at, what, instead);
                continue;
            }
            component.config.insert(key.value.clone(), value.clone());
        }
        self.files(program, entry, &mut component);
        component
    }

    fn files(&mut self, program: &Program, entry: &ComponentEntry, into: &mut ProgramSettings) {
        for (name, path) in &entry.files {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let is_name = !name.value.starts_with('.') && name.value.bytes().all(letter);
            // etcd runs as another user, and what containerd reads is in its own directories.
            let wrong = if !program.name.starts_with("kube") {
                (format!("labctl gives {} no files", program.name), "leave them out")
            } else if name.value.is_empty() || !is_name {
                let help = "letters, digits and `-_.`; the directory is the program's own";
                (format!("`{}` is not the name of a file", name.value), help)
            } else {
                let path = self.path(path, "files");
                into.files.extend(path.map(|path| (name.value.clone(), path)));
                continue;
            };
            self.problems.error(name.at, wrong.0, wrong.1);
        }
    }
}

/// Returns what is wrong with a flag, and what would be right.
fn wrong_flag(program: &Program, flag: &str, value: Option<&str>) -> Option<(String, String)> {
    let name = program.name;
    let bare = flag.trim_start_matches('-');
    if bare != flag {
        return Some((
            format!("the flag `{flag}` of {name} begins with a hyphen"),
            format!("write it without: `{bare}`"),
        ));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if flag.is_empty() || !flag.bytes().all(plain) {
        return Some((
            format!("`{flag}` is not a flag of {name}"),
            "a flag has letters, digits and `-_.` only; its value comes after the `:`".to_owned(),
        ));
    }
    if let Some(instead) = program.instead_of_flag(flag) {
        return Some((format!("labctl sets `--{flag}` of {name} itself"), instead.to_owned()));
    }
    if value.is_some_and(|value| value.contains(|letter: char| letter.is_control())) {
        return Some((
            format!("the value of `--{flag}` of {name} has more than one line"),
            "write it on one line".to_owned(),
        ));
    }
    None
}
