//! Variables of the environment in an inventory: `${NAME}` and `${NAME:-default}` in values.
//!
//! They are replaced after the text is parsed, so that a value is text and never YAML, whatever is
//! in it. Keys have no variables, and neither have the values of `x-` keys, which nobody reads.

use std::collections::HashSet;

use super::positions::{Path, Position, Positions};
use super::problem::Problems;
use super::tree::Tree;

/// Begins a key at the top that means nothing to labctl: a place for anchors.
pub(super) const IGNORED: &str = "x-";

/// Looks up a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces the variables in `tree`, and returns the paths of the values that had one.
pub(super) fn fill(
    tree: &mut Tree,
    positions: &Positions,
    lookup: Lookup<'_>,
    problems: &mut Problems,
) -> HashSet<Path> {
    let mut filling = Filling { positions, lookup, problems, filled: HashSet::new() };
    filling.walk(tree, &Path::default());
    filling.filled
}

struct Filling<'a> {
    positions: &'a Positions,
    lookup: Lookup<'a>,
    problems: &'a mut Problems,
    filled: HashSet<Path>,
}

impl Filling<'_> {
    fn walk(&mut self, tree: &mut Tree, path: &Path) {
        match tree {
            Tree::Text(text) if text.contains("${") => match replace(text, self.lookup) {
                Ok(replaced) => {
                    *text = replaced;
                    self.filled.insert(path.clone());
                }
                Err(wrong) => {
                    let at = self.place(path, &text[..wrong.at]);
                    self.problems.error(at, wrong.what, wrong.help);
                    *tree = Tree::Unset;
                }
            },
            Tree::List(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    self.walk(element, &path.index(index));
                }
            }
            Tree::Map(entries) => {
                let is_top = *path == Path::default();
                for (key, value) in entries {
                    match key {
                        Tree::Text(key) if is_top && key.starts_with(IGNORED) => {}
                        // What is merged belongs to the mapping itself.
                        Tree::Text(key) if key == "<<" => self.walk(value, path),
                        key => self.walk(value, &path.key(&key.as_key())),
                    }
                }
            }
            _ => {}
        }
    }

    /// Returns where in a value, after `before`, something is; where the value begins if its text
    /// in the file is not its content.
    fn place(&self, path: &Path, before: &str) -> Position {
        let mut at = self.positions.value(path);
        if self.positions.plain(path).is_some_and(|plain| !plain.contains('\n')) {
            at.column += before.chars().count();
        }
        at
    }
}

/// Something that is not a variable, or one without a value.
struct Wrong {
    /// The byte that it begins at.
    at: usize,
    what: String,
    help: String,
}

/// Returns `text` with its variables replaced; `$${` becomes `${`.
fn replace(text: &str, lookup: Lookup<'_>) -> Result<String, Wrong> {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(found) = rest.find("${") {
        let (before, after) = rest.split_at(found);
        if let Some(before) = before.strip_suffix('$') {
            replaced.push_str(before);
            replaced.push_str("${");
            rest = &after[2..];
            continue;
        }
        replaced.push_str(before);
        let at = text.len() - after.len();
        let (value, length) =
            variable(after, lookup).map_err(|(what, help)| Wrong { at, what, help })?;
        replaced.push_str(&value);
        rest = &after[length..];
    }
    Ok(replaced + rest)
}

/// Returns the value of the variable that `text` begins with, and its length in bytes.
fn variable(text: &str, lookup: Lookup<'_>) -> Result<(String, usize), (String, String)> {
    const LITERAL: &str = "`$${` is a literal `${`";
    let Some(end) = text.find('}') else {
        return Err(("`${` has no closing brace".to_owned(), LITERAL.to_owned()));
    };
    let inside = &text[2..end];
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if default.is_some_and(|default| default.contains("${")) {
        let what = format!("the default of `${{{name}}}` has a variable in it");
        return Err((what, "write a default without one".to_owned()));
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err((
            format!("`${{{inside}}}` is not a variable"),
            format!("write `${{NAME}}` or `${{NAME:-default}}`; {LITERAL}"),
        ));
    }
    let value = match (lookup(name), default) {
        (Some(value), Some(default)) if value.is_empty() => default.to_owned(),
        (Some(value), _) => value,
        (None, Some(default)) => default.to_owned(),
        (None, None) => {
            return Err((
                format!("the variable `{name}` is not set"),
                format!("`export {name}=...`, or give it a default: `${{{name}:-...}}`"),
            ));
        }
    };
    Ok((value, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "USER" => Some("ada".to_owned()),
            "EMPTY" => Some(String::new()),
            "ODD" => Some("a: ${USER} }".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_and_everything_else_stays() {
        for (text, wanted) in [
            ("${USER}", "ada"),
            ("a-${USER}-${MISSING:-b c}", "a-ada-b c"),
            ("${EMPTY}|${EMPTY:-x}|${MISSING:-}", "|x|"),
            ("$USER $1 $ 5$", "$USER $1 $ 5$"),
            ("$${USER} $$${USER}", "${USER} $${USER}"),
            // A value is not looked at again.
            ("${ODD}", "a: ${USER} }"),
            ("é${USER}é", "éadaé"),
        ] {
            let replaced = replace(text, &lookup).unwrap_or_else(|wrong| panic!("{}", wrong.what));
            assert_eq!(replaced, wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_variable_is_refused_where_it_begins() {
        for (text, at, what) in [
            ("a ${MISSING}", 2, "the variable `MISSING` is not set"),
            ("${USER", 0, "`${` has no closing brace"),
            ("${}", 0, "`${}` is not a variable"),
            ("${a-b}", 0, "`${a-b}` is not a variable"),
            ("${1}", 0, "`${1}` is not a variable"),
            ("${A:-${USER}}", 0, "the default of `${A}` has a variable in it"),
        ] {
            let wrong = replace(text, &lookup).expect_err(text);
            assert_eq!((wrong.at, wrong.what.as_str()), (at, what), "{text}");
        }
    }
}
