//! Reads playbooks from YAML, and refuses those that cannot be run: unknown keys, plays that come after each other in
//! a circle, or after a play that does not exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::Playbook;

/// A playbook that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct PlaybookError {
    /// The file's name, or the standard playbook's.
    pub file: String,
    /// What is wrong, with line and column when the YAML itself is.
    pub what: String,
}

/// Reads a playbook's text; `file` is what errors call it.
///
/// # Errors
/// When it is no YAML, not of a playbook's shape, or its plays are not in any order.
pub fn parse(file: &str, text: &str) -> Result<Playbook, PlaybookError> {
    let error = |what: String| PlaybookError { file: file.to_owned(), what };
    let playbook: Playbook = serde_yaml::from_str(text).map_err(|e| error(e.to_string()))?;
    check_order(&playbook).map_err(error)?;
    Ok(playbook)
}

/// Reads a playbook's file.
///
/// # Errors
/// When it cannot be read, and as [`parse`].
pub fn read(path: &Path) -> Result<Playbook, PlaybookError> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|e| PlaybookError { file: file.clone(), what: e.to_string() })?;
    parse(&file, &text)
}

/// Plays are written in an order in which they could run, one after the other: each comes after plays above it. That
/// keeps the file readable from top to bottom and makes circles impossible.
fn check_order(playbook: &Playbook) -> Result<(), String> {
    let all: BTreeSet<&str> = playbook.plays.iter().map(|play| play.name.as_str()).collect();
    let mut above: BTreeSet<&str> = BTreeSet::new();
    for play in &playbook.plays {
        for after in &play.after {
            if !all.contains(after.as_str()) {
                return Err(format!("play `{}` comes after `{after}`, which does not exist", play.name));
            }
            if !above.contains(after.as_str()) {
                return Err(format!("play `{}` comes after `{after}`: move it below that play", play.name));
            }
        }
        if !above.insert(&play.name) {
            return Err(format!("two plays are called `{}`", play.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn plays(text: &str) -> Result<super::Playbook, super::PlaybookError> {
        parse("test.yaml", &format!("name: test\nplays:\n{text}"))
    }

    #[test]
    fn an_unknown_key_names_its_line() {
        let error = plays("- name: a\n  hosts: all\n  tasks:\n  - file: { form: pki/ca.crt, to: /x }\n").unwrap_err();
        assert!(error.to_string().contains("unknown field `form`"), "{error}");
        assert!(error.to_string().contains("line 6"), "{error}");
    }

    #[test]
    fn a_task_has_exactly_one_module() {
        let none = plays("- name: a\n  hosts: all\n  tasks:\n  - name: x\n").unwrap_err();
        assert!(none.to_string().contains("no module"), "{none}");
        let two = plays("- name: a\n  hosts: all\n  tasks:\n  - image: { from: a }\n    directory: { path: /x }\n")
            .unwrap_err();
        assert!(two.to_string().contains("two modules"), "{two}");
    }

    #[test]
    fn plays_in_a_circle_or_out_of_order_are_refused() {
        let below = plays("- { name: a, hosts: all, after: [b], tasks: [] }\n- { name: b, hosts: all, tasks: [] }\n");
        assert_eq!(below.unwrap_err().to_string(), "test.yaml: play `a` comes after `b`: move it below that play");
        let nowhere = plays("- { name: a, hosts: all, after: [z], tasks: [] }\n");
        assert_eq!(nowhere.unwrap_err().to_string(), "test.yaml: play `a` comes after `z`, which does not exist");
        let twice = plays("- { name: a, hosts: all, tasks: [] }\n- { name: a, hosts: all, tasks: [] }\n");
        assert_eq!(twice.unwrap_err().to_string(), "test.yaml: two plays are called `a`");
    }
}
