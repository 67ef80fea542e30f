//! Locates each key and value in a YAML text.
//!
//! The YAML parser that returns the values drops their positions. This module parses the same text
//! again, as a stream of events, and records line and column of every [`Path`]. It also finds what
//! the values do not show: duplicate keys and a second document.

use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// A position in a file. The default means the file as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 for the file as a whole.
    pub column: usize,
}

/// The path from the root of a document to a value: displayed as `nodes[2].address`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Path(Vec<PathStep>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PathStep {
    Key(String),
    Index(usize),
}

/// The positions of a value and of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ValuePosition {
    key: Option<Position>,
    value: Position,
    plain: Option<String>,
}

/// A duplicate key in a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The path of its value.
    pub path: Path,
    /// The key's first position.
    pub first: Position,
    /// Its second position.
    pub again: Position,
}

/// The positions of everything in a YAML text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions {
    places: HashMap<Path, ValuePosition>,
    duplicates: Vec<Duplicate>,
    documents: Vec<Position>,
}

/// An error for text that is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct SyntaxError {
    /// Where parsing stopped.
    pub at: Position,
    /// What was wrong there.
    pub what: String,
}

impl Path {
    /// Returns the path of `key` in this mapping.
    pub fn key(&self, key: &str) -> Self {
        self.with(PathStep::Key(key.to_owned()))
    }

    /// Returns the path of element `index`, from 0, in this list.
    pub fn index(&self, index: usize) -> Self {
        self.with(PathStep::Index(index))
    }

    /// Whether the last step is one of `keys`.
    pub fn ends_in(&self, keys: &[&str]) -> bool {
        matches!(self.0.last(), Some(PathStep::Key(key)) if keys.contains(&key.as_str()))
    }

    fn with(&self, step: PathStep) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        Self(steps)
    }

    fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, rest)| Self(rest.to_vec()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Key(key) if number == 0 => f.write_str(key)?,
                PathStep::Key(key) => write!(f, ".{key}")?,
                PathStep::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Positions {
    /// Records the positions in `text`. With several documents, only in the first one.
    ///
    /// # Errors
    /// If `text` is not YAML.
    pub fn of(text: &str) -> Result<Self, SyntaxError> {
        let mut walk = Walk::default();
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| SyntaxError {
                at: position(error.marker()),
                what: error.info().to_owned(),
            })?;
            if matches!(event, Event::StreamEnd) {
                break;
            }
            walk.event(event, position(&span.start), span.is_empty());
        }
        Ok(walk.found)
    }

    /// Returns where the value at `path` begins. A value from an alias or a merge has the position
    /// of that.
    pub fn value(&self, path: &Path) -> Position {
        self.find(path).map_or_else(|| self.borrowed(path), |place| place.value)
    }

    /// Returns the position of the key of the value at `path`, or of the value if it has no key.
    pub fn key(&self, path: &Path) -> Position {
        self.find(path)
            .map_or_else(|| self.borrowed(path), |place| place.key.unwrap_or(place.value))
    }

    /// Returns the text of the value at `path` if it is a scalar without quotes: `1.30`, which as a
    /// number would be 1.3.
    pub fn plain(&self, path: &Path) -> Option<&str> {
        self.find(path).and_then(|place| place.plain.as_deref())
    }

    /// Returns duplicate keys in the order of the text.
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }

    /// Returns where each document begins.
    pub fn documents(&self) -> &[Position] {
        &self.documents
    }

    fn find(&self, path: &Path) -> Option<&ValuePosition> {
        self.places.get(path)
    }

    /// Returns the position for a value that is not in the text: that of the merge key beside it,
    /// or of the enclosing collection.
    fn borrowed(&self, path: &Path) -> Position {
        let mut above = path.parent();
        while let Some(path) = above {
            if let Some(place) = self.find(&path.key("<<")) {
                return place.key.unwrap_or(place.value);
            }
            if let Some(place) = self.find(&path) {
                return place.value;
            }
            above = path.parent();
        }
        self.documents.first().copied().unwrap_or_default()
    }
}

/// The state while walking over the events: the open collections, innermost last.
#[derive(Default)]
struct Walk {
    found: Positions,
    open: Vec<Open>,
}

struct Open {
    path: Path,
    /// Whether the collection is itself a key of the enclosing mapping.
    is_key: bool,
    at: Position,
    kind: OpenKind,
}

enum OpenKind {
    Map { key: Option<(String, Position)>, seen: HashMap<String, Position> },
    List { next: usize },
}

impl Walk {
    fn event(&mut self, event: Event<'_>, at: Position, is_empty: bool) {
        match event {
            Event::DocumentStart(_) => self.found.documents.push(at),
            // Values of a second document would mix with those of the first one.
            _ if self.found.documents.len() > 1 => {}
            Event::Scalar(text, style, ..) => {
                // A missing scalar arrives as `~`.
                let plain = if is_empty { Some(String::new()) } else { None };
                let plain =
                    plain.or_else(|| (style == ScalarStyle::Plain).then(|| text.to_string()));
                self.node(at, Some(&text), plain);
            }
            Event::Alias(_) => {
                self.node(at, Some("*"), None);
            }
            Event::MappingStart(..) => {
                self.collection(at, OpenKind::Map { key: None, seen: HashMap::new() })
            }
            Event::SequenceStart(..) => self.collection(at, OpenKind::List { next: 0 }),
            Event::MappingEnd | Event::SequenceEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }

    fn collection(&mut self, at: Position, kind: OpenKind) {
        let (path, is_key) = self.node(at, None, None);
        self.open.push(Open { path, is_key, at, kind });
    }

    fn close(&mut self) {
        let Some(closed) = self.open.pop() else { return };
        if closed.is_key
            && let Some(Open { kind: OpenKind::Map { key, .. }, .. }) = self.open.last_mut()
        {
            *key = Some(("?".to_owned(), closed.at));
        }
    }

    /// Records the node that begins at `at`; `word` is its text if it can be a key. Returns its
    /// path, and whether it is a key.
    fn node(&mut self, at: Position, word: Option<&str>, plain: Option<String>) -> (Path, bool) {
        let (path, key_at) = match self.open.last_mut() {
            None => (Path::default(), None),
            Some(Open { path, kind: OpenKind::List { next }, .. }) => {
                let index = *next;
                *next += 1;
                (path.index(index), None)
            }
            Some(Open { path, kind: OpenKind::Map { key, seen }, .. }) => match key.take() {
                Some((key, key_at)) => (path.key(&key), Some(key_at)),
                None => {
                    let Some(word) = word else { return (path.key("?"), true) };
                    let path = path.key(word);
                    if let Some(first) = seen.get(word) {
                        let duplicate = Duplicate { path: path.clone(), first: *first, again: at };
                        self.found.duplicates.push(duplicate);
                    } else {
                        seen.insert(word.to_owned(), at);
                    }
                    *key = Some((word.to_owned(), at));
                    return (path, true);
                }
            },
        };
        // A missing value has the position of its key.
        let value = if plain.as_deref() == Some("") { key_at.unwrap_or(at) } else { at };
        self.found.places.entry(path.clone()).or_insert(ValuePosition {
            key: key_at,
            value,
            plain,
        });
        (path, false)
    }
}

fn position(marker: &Marker) -> Position {
    // The parser counts lines from 1 and columns from 0.
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = "\
# a comment
name: sandbox
nodes:
  - name: a
    address: 10.0.0.1
  - { name: b, address: 10.0.0.2, labels: { a.b/c: x } }
local:
ssh:
  user: root
";

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn every_key_and_value_has_its_line_and_column() {
        let positions = Positions::of(LAB).unwrap();
        let nodes = Path::default().key("nodes");
        assert_eq!(nodes.index(1).key("address").to_string(), "nodes[1].address");
        assert_eq!(positions.value(&Path::default()), at(2, 1));
        assert_eq!(positions.value(&Path::default().key("name")), at(2, 7));
        assert_eq!(positions.key(&Path::default().key("name")), at(2, 1));
        assert_eq!(positions.key(&nodes), at(3, 1));
        assert_eq!(positions.value(&nodes.index(0)), at(4, 5));
        assert_eq!(positions.value(&nodes.index(0).key("address")), at(5, 14));
        assert_eq!(positions.value(&nodes.index(1)), at(6, 5));
        assert_eq!(positions.key(&nodes.index(1).key("address")), at(6, 16));
        assert_eq!(positions.value(&nodes.index(1).key("labels").key("a.b/c")), at(6, 52));
        assert_eq!(
            positions.value(&Path::default().key("local")),
            at(7, 1),
            "a key with no value stands for it"
        );
    }

    #[test]
    fn keys_given_twice_are_found_in_any_depth() {
        let positions = Positions::of("a: { b: 1, b: 2 }\nc: 3\na: 4\n").unwrap();
        let found: Vec<_> =
            positions.duplicates().iter().map(|d| (d.path.to_string(), d.first, d.again)).collect();
        assert_eq!(
            found,
            [("a.b".to_owned(), at(1, 6), at(1, 12)), ("a".to_owned(), at(1, 1), at(3, 1))]
        );
    }

    #[test]
    fn values_from_aliases_and_merges_have_the_positions_of_those() {
        let positions = Positions::of("x: &x { user: 1 }\ny: *x\nz:\n  <<: *x\n  a: 1\n").unwrap();
        assert_eq!(positions.value(&Path::default().key("y").key("user")), at(2, 4));
        assert_eq!(positions.value(&Path::default().key("z").key("user")), at(4, 3));
        assert_eq!(positions.key(&Path::default().key("missing")), at(1, 1));
    }

    #[test]
    fn odd_keys_do_not_shift_what_follows() {
        let positions =
            Positions::of("? [a, { b: c }]\n: 1\n? { d: e }\n: { f: 2 }\ng: 3\n").unwrap();
        assert_eq!(positions.key(&Path::default().key("g")), at(5, 1));
        assert_eq!(positions.value(&Path::default().key("g")), at(5, 4));
    }

    #[test]
    fn documents_are_counted_and_the_first_one_kept() {
        let positions = Positions::of("a: 1\n---\na: 2\nb: 3\n").unwrap();
        assert_eq!(positions.documents(), [at(1, 1), at(2, 1)]);
        assert!(positions.duplicates().is_empty());
        assert!(Positions::of("# nothing\n").unwrap().documents().is_empty());
    }

    #[test]
    fn plain_scalars_keep_their_text() {
        let positions = Positions::of("a: 1.30\nb: \"1.30\"\n").unwrap();
        assert_eq!(positions.plain(&Path::default().key("a")), Some("1.30"));
        assert_eq!(positions.plain(&Path::default().key("b")), None);
    }
}
