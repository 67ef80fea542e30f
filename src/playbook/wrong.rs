//! A playbook that cannot be used, in words of the field: serde's own speak of variants and fields.

use crate::inventory::did_you_mean;

/// A playbook that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct PlaybookError {
    /// The name of the file or standard playbook, with `:LINE:COLUMN` if that is known.
    pub file: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// What to write for a key that is missing, where its name does not say it.
const MISSING: &[(&str, &str)] = &[
    (
        "unless",
        "a command is run unless this check passes: `unless: test -e /etc/motd`; with `unless: \
         \"false\"` it is run every time",
    ),
    ("run", "the command, for `sh`"),
    ("plays", "a playbook has a `name` and `plays`"),
];

/// Returns the error for what the YAML reader says, which is moved behind its place.
pub(super) fn wrong(file: &str, at: Option<(usize, usize)>, said: &str) -> PlaybookError {
    let Some((line, column)) = at else {
        return PlaybookError { file: file.to_owned(), what: plain(said) };
    };
    let what = said.replacen(&format!(" at line {line} column {column}"), "", 1);
    PlaybookError { file: format!("{file}:{line}:{column}"), what: plain(&what) }
}

/// Returns the error for a file that is an inventory.
pub(super) fn an_inventory(file: &str) -> PlaybookError {
    let what = format!(
        "this is an inventory, not a playbook; the playbook comes first: `labctl play FILE {file}`"
    );
    PlaybookError { file: file.to_owned(), what }
}

/// Says what serde says of a key or a value: what is wrong, and what was probably meant.
fn plain(said: &str) -> String {
    // `plays[0].tasks[1]: ` stays in front.
    let (place, said) = match said.rsplit_once(": ") {
        Some((place, rest)) if is_serdes(rest) => (format!("{place}: "), rest),
        _ => (String::new(), said),
    };
    let (what, rest) = said.split_once(", expected ").unwrap_or((said, ""));
    let word = quoted(what).next().unwrap_or_default();
    let known: Vec<&str> = quoted(rest).collect();
    let instead = match did_you_mean(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none here".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    let plain = if what.starts_with("unknown field") {
        format!("unknown key `{word}`; {instead}")
    } else if what.starts_with("unknown variant") {
        format!("unknown value `{word}`; {instead}")
    } else if what.starts_with("missing field") {
        let help = MISSING.iter().find(|(key, _)| *key == word).map(|(_, help)| *help);
        let help = help.map(|help| format!(": {help}")).unwrap_or_default();
        format!("`{word}` is missing{help}")
    } else if what.starts_with("duplicate field") {
        format!("`{word}` is there twice; remove one of them")
    } else {
        said.to_owned()
    };
    format!("{place}{plain}")
}

fn is_serdes(said: &str) -> bool {
    let starts = ["unknown field `", "unknown variant `", "missing field `", "duplicate field `"];
    starts.iter().any(|start| said.starts_with(start))
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_speak_of_keys_and_values_and_say_what_was_meant() {
        for (said, right) in [
            (
                "plays[0].hosts: unknown variant `workers`, expected one of `controller`, `worker`",
                "plays[0].hosts: unknown value `workers`; did you mean `worker`?",
            ),
            (
                "unknown variant `nodes`, expected `controller` or `worker`",
                "unknown value `nodes`; known are controller, worker",
            ),
            (
                "a: unknown field `form`, expected one of `from`, `to`",
                "a: unknown key `form`; did you mean `from`?",
            ),
            ("unknown field `x`, there are no fields", "unknown key `x`; there is none here"),
            ("plays[0]: missing field `tasks`", "plays[0]: `tasks` is missing"),
            ("a: duplicate field `to`", "a: `to` is there twice; remove one of them"),
            (
                "invalid type: string \"a\", expected a sequence",
                "invalid type: string \"a\", expected a sequence",
            ),
        ] {
            assert_eq!(plain(said), right);
        }
        let command = plain("plays[0].tasks[0].command: missing field `unless`");
        assert!(command.contains("`unless` is missing: a command is run unless"), "{command}");
    }

    #[test]
    fn the_place_comes_first() {
        let error = wrong("a.yaml", Some((3, 5)), "b: missing field `to` at line 3 column 5");
        assert_eq!(error.to_string(), "a.yaml:3:5: b: `to` is missing");
        assert_eq!(
            wrong("a.yaml", None, "missing field `to`").to_string(),
            "a.yaml: `to` is missing"
        );
    }
}
