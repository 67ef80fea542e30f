//! The command of a unit with what an inventory says of its flags. This is the only place that adds
//! flags to those in a template.

use std::collections::BTreeMap;

/// Returns `text`, a command with one flag on each further line, with `flags`: one that the command
/// has is replaced, or removed without a value; the others come after its own.
pub(super) fn with_flags(text: &str, flags: &BTreeMap<String, Option<String>>) -> String {
    if flags.is_empty() {
        return text.to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    let mut given: BTreeMap<&str, &Option<String>> =
        flags.iter().map(|(name, value)| (name.as_str(), value)).collect();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let bare = line.trim_end().trim_end_matches('\\').trim_end();
        match flag_of(bare).and_then(|name| given.remove(name).map(|value| (name, value))) {
            None => lines.push(bare.to_owned()),
            Some((name, Some(value))) => lines.push(argument(name, value)),
            Some((_, None)) => {}
        }
    }
    for (name, value) in given {
        lines.extend(value.as_ref().map(|value| argument(name, value)));
    }
    joined(&lines)
}

/// Joins the lines of a command; comments may be between them.
fn joined(lines: &[String]) -> String {
    let is_comment = |line: &String| line.starts_with('#');
    let last = lines.iter().rposition(|line| !is_comment(line));
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        // Comments below the last flag are about one that was removed, and would end the command.
        if last.is_none_or(|last| index > last) {
            break;
        }
        text.push_str(line);
        text.push_str(if is_comment(line) || Some(index) == last { "\n" } else { " \\\n" });
    }
    text
}

/// Returns the name of the flag that a line begins with.
fn flag_of(line: &str) -> Option<&str> {
    let flag = line.trim_start().strip_prefix("--")?;
    flag.split(|letter: char| letter == '=' || letter.is_whitespace()).next()
}

/// Returns the line of a flag, quoted as systemd reads it: systemd.service(5), "Command lines".
fn argument(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    let escaped = escaped.replace('%', "%%").replace('$', "$$");
    let plain = |letter: char| letter.is_alphanumeric() || "-_.,:/=+@%$".contains(letter);
    if value.chars().all(plain) {
        format!("  --{name}={escaped}")
    } else {
        format!("  \"--{name}={escaped}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: &str = "ExecStart=/bin/x \\\n  --a=1 \\\n# Why b.\n  --b=2 \\\n  --c=3\n";

    fn with(flags: &[(&str, Option<&str>)]) -> String {
        let flag =
            |(name, value): &(&str, Option<&str>)| ((*name).to_owned(), value.map(str::to_owned));
        with_flags(COMMAND, &flags.iter().map(flag).collect())
    }

    #[test]
    fn without_flags_a_command_stays_as_it_is() {
        assert_eq!(with(&[]), COMMAND);
    }

    #[test]
    fn a_flag_is_replaced_in_its_place_and_others_come_last() {
        assert_eq!(
            with(&[("b", Some("x")), ("v", Some("2")), ("zzz", None)]),
            "ExecStart=/bin/x \\\n  --a=1 \\\n# Why b.\n  --b=x \\\n  --c=3 \\\n  --v=2\n"
        );
    }

    #[test]
    fn a_flag_without_a_value_is_removed_and_the_command_still_ends() {
        assert_eq!(with(&[("c", None)]), "ExecStart=/bin/x \\\n  --a=1 \\\n# Why b.\n  --b=2\n");
        assert_eq!(
            with(&[("b", None), ("c", None)]),
            "ExecStart=/bin/x \\\n  --a=1\n",
            "a comment after the last flag would be a line of its own"
        );
        assert_eq!(
            with(&[("a", None), ("b", None), ("c", None), ("d", Some(""))]),
            "ExecStart=/bin/x \\\n# Why b.\n  --d=\n"
        );
    }

    #[test]
    fn values_are_quoted_as_systemd_reads_them() {
        assert_eq!(argument("a", "100%"), "  --a=100%%");
        assert_eq!(argument("a", "$HOME"), "  --a=$$HOME");
        assert_eq!(argument("a", "x y;\"\\"), "  \"--a=x y;\\\"\\\\\"");
    }
}
