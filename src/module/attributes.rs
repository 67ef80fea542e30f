//! Mode and owner of files and directories.

use super::{Difference, probe::PathFact};

/// The octal permissions that a task asks for, as stat prints them.
pub(super) fn mode(asked: Option<&String>, default: &str) -> Result<String, String> {
    let text = asked.map_or(default, String::as_str);
    let digits = text.trim_start_matches('0');
    if (1..=4).contains(&digits.len()) && digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return Ok(digits.to_owned());
    }
    Err(format!("mode `{text}` is not octal like \"0644\""))
}

/// The `user:group` that a task asks for.
pub(super) fn owner(asked: Option<&String>) -> Result<String, String> {
    let text = asked.map_or("root:root", String::as_str);
    match text.split_once(':') {
        Some((user, group)) if is_name(user) && is_name(group) => Ok(text.to_owned()),
        _ => Err(format!("owner `{text}` is not like \"root:root\"")),
    }
}

/// Whether `text` is the name of a user or group. A number is not: the probe answers with names, so
/// they would never match.
fn is_name(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(part)
}

/// Returns how mode or owner of something that exists differ from the desired ones.
pub(super) fn attributes_differ(found: &PathFact, mode: &str, owner: &str) -> Option<Difference> {
    if found.mode != mode {
        return Some(Difference::alter(format!("mode {} should be {mode}", found.mode)));
    }
    if found.owner != owner {
        return Some(Difference::alter(format!("owner {} should be {owner}", found.owner)));
    }
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn modes_are_octal_and_owners_are_names() {
        let mode = |text: &str| super::mode(Some(&text.to_owned()), "0644").ok();
        assert_eq!(mode("0644").as_deref(), Some("644"));
        assert_eq!(mode("4755").as_deref(), Some("4755"));
        assert_eq!(super::mode(None, "0644").as_deref(), Ok("644"));
        for bad in ["", "888", "12345", "rw", "6 4"] {
            assert_eq!(mode(bad), None, "{bad}");
        }
        let owner = |text: &str| super::owner(Some(&text.to_owned())).ok();
        assert_eq!(owner("www-data:adm_2").as_deref(), Some("www-data:adm_2"));
        for bad in ["root", "root:", ":root", "root:a b", "root:a/b", "a:b:c"] {
            assert_eq!(owner(bad), None, "{bad}");
        }
    }
}
