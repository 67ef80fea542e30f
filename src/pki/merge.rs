//! Merges one lab's entries into the user's kubeconfig without changing any other byte.
//!
//! Parsing and writing a kubeconfig with a serializer would lose its comments and order. So the
//! text is spliced: the parser locates the lists and their entries, and only those of this lab are
//! written. Then the result is parsed again and compared with the original; if anything else
//! differs, the file is refused.

use serde_yaml::Value;

use super::kubeconfig::{Entries, quoted};
use crate::inventory::positions::{Path, Position, Positions};

/// Why a kubeconfig cannot be merged into; it is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MergeError(String);

/// The lists of a kubeconfig, and the key inside their entries.
const LISTS: [(&str, &str); 3] =
    [("clusters", "cluster"), ("users", "user"), ("contexts", "context")];

/// Returns `text` with the lab's entries: in place of entries with the same names, else at the end
/// of each list. An existing current context is kept.
///
/// # Errors
/// If `text` is not a kubeconfig, or cannot be edited safely.
pub fn merge(text: &str, entries: &Entries) -> Result<String, MergeError> {
    let before = parse(text)?;
    if matches!(before, Value::Null) {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{gap}{}", entries.whole()));
    }
    if Positions::of(text).map_err(|error| MergeError(error.to_string()))?.documents().len() != 1 {
        return Err(MergeError(
            "contains several YAML documents; a kubeconfig has only one".to_owned(),
        ));
    }
    let mut merged = text.to_owned();
    for (list, kind) in LISTS {
        merged = with_entry(&merged, list, &MergedEntry::new(entries, list, kind))?;
    }
    let current = before.get("current-context").and_then(Value::as_str).unwrap_or_default();
    if current.is_empty() {
        merged = with_current_context(&merged, &entries.context)?;
    }
    check(&before, &parse(&merged).map_err(|_| unsafe_to_change())?, entries)?;
    Ok(merged)
}

/// An entry of one list, with its name and fields.
struct MergedEntry<'a> {
    name: &'a str,
    kind: &'a str,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> MergedEntry<'a> {
    fn new(entries: &'a Entries, list: &str, kind: &'a str) -> Self {
        let (name, fields) = entries.list(list);
        Self { name, kind, fields }
    }

    /// Formats it as an element of a block list whose dashes are in column `indent`.
    fn block(&self, indent: usize) -> String {
        let blanks = " ".repeat(indent);
        let mut text = format!("{blanks}- name: {}\n{blanks}  {}:\n", quoted(self.name), self.kind);
        for (key, value) in &self.fields {
            text.push_str(&format!("{blanks}    {key}: {}\n", quoted(value)));
        }
        text
    }

    /// Formats it as an element of a list in brackets; everything is quoted, so that JSON stays
    /// JSON.
    fn flow(&self) -> String {
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|(key, value)| format!("{}: {}", quoted(key), quoted(value)))
            .collect();
        format!(
            "{{\"name\": {}, {}: {{{}}}}}",
            quoted(self.name),
            quoted(self.kind),
            fields.join(", ")
        )
    }

    fn value(&self) -> Value {
        let text = |text: &str| Value::String(text.to_owned());
        let fields = self.fields.iter().map(|(key, value)| (text(key), text(value))).collect();
        let entry = [(text("name"), text(self.name)), (text(self.kind), Value::Mapping(fields))];
        Value::Mapping(entry.into_iter().collect())
    }
}

/// Returns `text` with `entry` in the list called `list`.
fn with_entry(text: &str, list: &str, entry: &MergedEntry<'_>) -> Result<String, MergeError> {
    let value = parse(text)?;
    let positions = Positions::of(text).map_err(|error| MergeError(error.to_string()))?;
    let path = Path::default().key(list);
    let elements = match value.get(list) {
        None => {
            return Ok(with_key(
                text,
                &positions,
                list,
                &entry.block(0),
                &format!("[{}]", entry.flow()),
            ));
        }
        Some(Value::Null) => &[][..],
        Some(Value::Sequence(elements)) => elements,
        Some(_) => return Err(MergeError(format!("`{list}` is not a list"))),
    };
    let at = offset(text, positions.value(&path));
    let same =
        elements.iter().position(|it| it.get("name").and_then(Value::as_str) == Some(entry.name));
    if matches!(value.get(list), Some(Value::Sequence(_))) && text[at..].starts_with('[') {
        let end = flow_end(text, at).ok_or_else(unsafe_to_change)?;
        if elements.is_empty() && !in_brackets(text, &positions) {
            return Ok(in_place_of_nothing(text, at, end, &entry.block(0)));
        }
        let (from, to, after) = match same {
            Some(index) => {
                let from = offset(text, positions.value(&path.index(index)));
                (from, flow_end(text, from).ok_or_else(unsafe_to_change)?, "")
            }
            None if elements.is_empty() => (at + 1, end - 1, ""),
            None => (at + 1, at + 1, ", "),
        };
        return Ok(format!("{}{}{after}{}", &text[..from], entry.flow(), &text[to..]));
    }
    if elements.is_empty() {
        return with_first(text, &positions, &path, entry);
    }
    let (from, to) = match same {
        Some(index) => block_extent(text, &positions, &path.index(index))?,
        None => {
            let (_, end) = block_extent(text, &positions, &path.index(elements.len() - 1))?;
            (end, end)
        }
    };
    let (first, _) = block_extent(text, &positions, &path.index(0))?;
    let indent = text[first..].find('-').unwrap_or(0);
    let gap = if from > 0 && !text[..from].ends_with('\n') { "\n" } else { "" };
    Ok(format!("{}{gap}{}{}", &text[..from], entry.block(indent), &text[to..]))
}

/// `text` with `entry` after a key that has nothing after its colon, or a word for nothing.
fn with_first(
    text: &str,
    positions: &Positions,
    list: &Path,
    entry: &MergedEntry<'_>,
) -> Result<String, MergeError> {
    let key = offset(text, positions.key(list));
    let colon = key + text[key..].find(':').ok_or_else(unsafe_to_change)? + 1;
    let word = text[colon..].trim_start_matches([' ', '\t']);
    let start = text.len() - word.len();
    let nothing = ["null", "Null", "NULL", "~"];
    let length = nothing.iter().find(|it| word.starts_with(**it)).map_or(0, |it| it.len());
    if in_brackets(text, positions) {
        return Ok(format!("{} [{}]{}", &text[..colon], entry.flow(), &text[start + length..]));
    }
    Ok(in_place_of_nothing(text, start, start + length, &entry.block(0)))
}

/// Returns `text` with a new key at its top level: `block` below it, or `flow` after it.
fn with_key(text: &str, positions: &Positions, key: &str, block: &str, flow: &str) -> String {
    if in_brackets(text, positions) {
        let brace = offset(text, positions.value(&Path::default())) + 1;
        let comma = if text[brace..].trim_start().starts_with('}') { "" } else { ", " };
        return format!("{}\"{key}\": {flow}{comma}{}", &text[..brace], &text[brace..]);
    }
    let gap = if text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{gap}{key}:\n{block}")
}

fn with_current_context(text: &str, context: &str) -> Result<String, MergeError> {
    let value = parse(text)?;
    let positions = Positions::of(text).map_err(|error| MergeError(error.to_string()))?;
    let Some(current) = value.get("current-context") else {
        if in_brackets(text, &positions) {
            return Ok(with_key(text, &positions, "current-context", "", &quoted(context)));
        }
        let gap = if text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{gap}current-context: {}\n", quoted(context)));
    };
    let key = offset(text, positions.key(&Path::default().key("current-context")));
    let colon = key + text[key..].find(':').ok_or_else(unsafe_to_change)? + 1;
    let rest = text[colon..].trim_start_matches([' ', '\t']);
    let start = text.len() - rest.len();
    let words: &[&str] = if current.is_null() { &["null", "~"] } else { &["\"\"", "''"] };
    let length = words.iter().find(|it| rest.starts_with(**it)).map_or(0, |it| it.len());
    Ok(format!("{} {}{}", &text[..colon], quoted(context), &text[start + length..]))
}

/// Whether the file is one mapping in brackets, like JSON.
fn in_brackets(text: &str, positions: &Positions) -> bool {
    text[offset(text, positions.value(&Path::default()))..].starts_with('{')
}

/// Returns `text` with `block` below the line in which `from..to` is an empty list.
fn in_place_of_nothing(text: &str, from: usize, to: usize, block: &str) -> String {
    let line_end = text[to..].find('\n').map_or(text.len(), |end| to + end);
    let rest = text[to..line_end].trim();
    let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
    let after = text[line_end..].strip_prefix('\n').unwrap_or_default();
    format!("{}{rest}\n{block}{after}", text[..from].trim_end_matches([' ', '\t']))
}

/// Returns the range from the beginning of the line of an element's dash to the end of its last
/// line.
fn block_extent(
    text: &str,
    positions: &Positions,
    path: &Path,
) -> Result<(usize, usize), MergeError> {
    let value = offset(text, positions.value(path));
    let dash = text[..value].rfind('-').ok_or_else(unsafe_to_change)?;
    // Only blanks may be between the dash and the value, and before the dash.
    let start = text[..dash].rfind('\n').map_or(0, |end| end + 1);
    if !text[dash + 1..value].trim().is_empty() || !text[start..dash].trim().is_empty() {
        return Err(unsafe_to_change());
    }
    let indent = dash - start;
    let mut end = line_end(text, value);
    let mut at = end;
    while at < text.len() {
        let next = line_end(text, at);
        let line = &text[at..next];
        let bare = line.trim_start_matches(' ');
        if !bare.trim().is_empty() && !bare.starts_with('#') {
            if line.len() - bare.len() <= indent {
                break;
            }
            end = next;
        }
        at = next;
    }
    Ok((start, end))
}

/// Returns the position after the line break that ends the line at `at`.
fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

/// Returns the position after the bracket that closes the one at `at`.
fn flow_end(text: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote: Option<char> = None;
    let mut chars = text[at..].char_indices();
    let mut before = ' ';
    while let Some((index, c)) = chars.next() {
        match (quote, c) {
            (Some('"'), '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (None, '#') if before.is_whitespace() => {
                chars.by_ref().find(|(_, c)| *c == '\n')?;
            }
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + index + 1);
                }
            }
            (None, _) => {}
        }
        before = c;
    }
    None
}

/// Returns the byte offset of a line and column.
fn offset(text: &str, at: Position) -> usize {
    let line: usize =
        text.split_inclusive('\n').take(at.line.saturating_sub(1)).map(str::len).sum();
    let column = at.column.saturating_sub(1);
    text[line..].char_indices().nth(column).map_or(text.len(), |(index, _)| line + index)
}

fn parse(text: &str) -> Result<Value, MergeError> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| {
        // Quote only the position of an error, because the text may contain keys.
        let place = error.location().map_or(String::new(), |at| format!(" in line {}", at.line()));
        MergeError(format!("cannot be read as YAML{place}"))
    })?;
    match value {
        Value::Null => Ok(Value::Null),
        Value::Mapping(_)
            if matches!(value.get("kind").and_then(Value::as_str), Some("Config") | None) =>
        {
            Ok(value)
        }
        _ => Err(MergeError("is not a kubeconfig".to_owned())),
    }
}

/// Checks that `after` has the lab's entries and everything else is unchanged.
fn check(before: &Value, after: &Value, entries: &Entries) -> Result<(), MergeError> {
    let list = |value: &Value, list: &str| {
        value.get(list).and_then(Value::as_sequence).cloned().unwrap_or_default()
    };
    let empty = serde_yaml::Mapping::new();
    let others = |value: &Value| {
        let mut others = value.as_mapping().unwrap_or(&empty).clone();
        for key in LISTS.map(|(list, _)| list).into_iter().chain(["current-context"]) {
            others.remove(key);
        }
        others
    };
    let mut same = others(before) == others(after);
    for (name, kind) in LISTS {
        let entry = MergedEntry::new(entries, name, kind);
        let ours = |it: &Value| it.get("name").and_then(Value::as_str) == Some(entry.name);
        let (was, mut is) = (list(before, name), list(after, name));
        same &= is.iter().any(|it| *it == entry.value());
        let strangers =
            |all: Vec<Value>| all.into_iter().filter(|it| !ours(it)).collect::<Vec<_>>();
        let first = is.iter().position(ours);
        same &= first.is_some_and(|at| is.remove(at) == entry.value());
        same &= strangers(is) == strangers(was);
    }
    let current = |value: &Value| {
        value.get("current-context").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let kept = if current(before).is_empty() { entries.context.clone() } else { current(before) };
    if same && current(after) == kept { Ok(()) } else { Err(unsafe_to_change()) }
}

fn unsafe_to_change() -> MergeError {
    MergeError(
        "is written in a way in which nothing can be added without changing other entries"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Entries {
        Entries {
            lab: "sandbox".to_owned(),
            user: "jane@sandbox".to_owned(),
            context: "jane@sandbox".to_owned(),
            server: "https://10.240.0.5:6443".to_owned(),
            ca: "Y2E=".to_owned(),
            certificate: "Y3J0".to_owned(),
            key: "a2V5".into(),
        }
    }

    fn merged(text: &str) -> String {
        merge(text, &entries()).unwrap_or_else(|error| panic!("{error}:\n{text}"))
    }

    const OURS: [&str; 3] = [
        "- name: \"sandbox\"\n  cluster:\n    server: \"https://10.240.0.5:6443\"\n    \
        certificate-authority-data: \"Y2E=\"\n",
        "- name: \"jane@sandbox\"\n  user:\n    client-certificate-data: \"Y3J0\"\n    \
        client-key-data: \"a2V5\"\n",
        "- name: \"jane@sandbox\"\n  context:\n    cluster: \"sandbox\"\n    user: \
        \"jane@sandbox\"\n",
    ];

    const THEIRS: &str = "\
# mine, with care
apiVersion: v1
clusters:
# the big one
- cluster:
    server: https://work.example
  name: work   # do not touch

contexts:
- context: { cluster: work, user: me }
  name: work
current-context: work
kind: Config
preferences: {}
users:
- name: me
  user:
    token: |
      abc
     # not a comment
      def
# the end
";

    #[test]
    fn every_other_byte_stays() {
        let out = merged(&THEIRS.replace("     # not", "      # not"));
        let mut rest = out.clone();
        for ours in OURS {
            assert_eq!(rest.matches(ours).count(), 1, "{out}");
            rest = rest.replace(ours, "");
        }
        assert_eq!(rest, THEIRS.replace("     # not", "      # not"));
        assert!(out.contains("# do not touch\n- name: \"sandbox\""), "below the others:\n{out}");
    }

    #[test]
    fn a_second_merge_replaces_in_place_and_changes_nothing_else() {
        let once = merged(THEIRS.replace("     # not a comment\n", "").as_str());
        assert_eq!(merged(&once), once, "the same again");
        let newer = Entries { certificate: "bmV3".to_owned(), ..entries() };
        assert_eq!(merge(&once, &newer).expect("merged"), once.replace("Y3J0", "bmV3"));
        // Like kubectl would write it: another order and style, between other entries.
        let kubectl = "clusters:\n- cluster:\n    server: https://old\n  name: sandbox\n- \
            cluster:\n    server: https://b\n  name: b\n\
                       contexts: []\nusers: null\ncurrent-context: \"\"\n";
        let out = merged(kubectl);
        assert!(
            out.starts_with(&format!("clusters:\n{}- cluster:\n    server: https://b\n", OURS[0])),
            "{out}"
        );
        assert!(
            out.ends_with(&format!(
                "contexts:\n{}users:\n{}current-context: \"jane@sandbox\"\n",
                OURS[2], OURS[1]
            )),
            "{out}"
        );
    }

    #[test]
    fn an_empty_file_becomes_a_complete_kubeconfig() {
        for empty in ["", "# only a comment\n", "---\n", "\n\n"] {
            let out = merged(empty);
            assert!(
                out.starts_with(empty) && out.contains("apiVersion: v1\nkind: Config\n"),
                "{out}"
            );
            assert_eq!(merged(&out), out);
        }
        assert!(merged("# no end of line").starts_with("# no end of line\napiVersion"));
    }

    #[test]
    fn missing_lists_are_added() {
        let out = merged("apiVersion: v1\nkind: Config\ncurrent-context: x");
        assert!(
            out.starts_with("apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters:\n- name"),
            "{out}"
        );
    }

    #[test]
    fn lists_are_found_however_they_are_written() {
        for text in [
            "{\"kind\": \"Config\", \"clusters\": [{\"name\": \"a, ]\", \"cluster\": {\"server\": \
            \"x\"}}], \"users\": [], \"contexts\": null}",
            "{}",
            "clusters: [ { name: a, cluster: { server: 'it''s ]' } } ] # one\nusers:\ncontexts: ~ \
            # none\n",
            "clusters:\n  - name: a\n    cluster:\n      server: x\nusers:\n    -\n        name: \
            me\n        user: {}\n",
            "clusters: [{ name: sandbox, cluster: { server: old } }, { name: b, cluster: { \
            server: b } }]\n",
            "clusters:\n- {name: sandbox, cluster: {server: old}}\n- {name: b, cluster: {server: \
            b}}\n",
            "clusters:\r\n- name: a\r\n  cluster:\r\n    server: x\r\n",
            "users:\n- { name: \"ünï\", user: {} }\n",
        ] {
            let out = merged(text);
            assert_eq!(merged(&out), out, "{out}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_changed_safely_is_refused() {
        for (text, why) in [
            ("a: [", "cannot be read as YAML"),
            ("just words", "is not a kubeconfig"),
            ("- a\n- b\n", "is not a kubeconfig"),
            ("kind: Pod\n", "is not a kubeconfig"),
            ("clusters: 3\n", "`clusters` is not a list"),
            ("clusters: []\nclusters: []\n", "cannot be read as YAML"),
            ("a: 1\n---\nb: 2\n", "cannot be read as YAML"),
            ("users: &u\n- name: me\n  user: {}\ncontexts: *u\n", "nothing can be added"),
            ("users: &all\n- name: me\n  user: {}\nextra: *all\n", "nothing can be added"),
            (
                "clusters:\n- &x { name: sandbox, cluster: { server: s } }\nextra: *x\n",
                "nothing can be added",
            ),
        ] {
            let error = merge(text, &entries()).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
