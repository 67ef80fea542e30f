//! Decodes `components`: flags as text, whatever they are written as, and configuration as it is.

use serde_json::{Map, Number, Value};

use super::{Decoder, Fields};
use crate::inventory::keys::COMPONENT;
use crate::inventory::load::read_yaml;
use crate::inventory::positions::Path;
use crate::inventory::tree::Tree;
use crate::inventory::{ComponentEntry, Located};

impl Decoder<'_> {
    pub(super) fn components(&mut self, fields: &Fields<'_>) -> Vec<ComponentEntry> {
        let mut components = Vec::new();
        for (name, tree, path) in self.entries_of(fields, "components") {
            let Some(fields) = self.mapping(tree, &path, &COMPONENT) else { continue };
            let (flags, config) = (self.flags(&fields), self.config(&fields));
            let files = self.files(&fields);
            components.push(ComponentEntry { name, flags, config, files });
        }
        components
    }

    fn flags(&mut self, fields: &Fields<'_>) -> Vec<(Located<String>, Option<String>)> {
        let mut flags = Vec::new();
        for (name, tree, path) in self.entries_of(fields, "flags") {
            let value = match tree {
                Tree::Null => Some(None),
                tree => self.flag(tree, &path).map(Some),
            };
            flags.extend(value.map(|value| (name, value)));
        }
        flags
    }

    /// Returns a flag's value as it is typed: lists and mappings with commas between.
    fn flag(&mut self, tree: &Tree, path: &Path) -> Option<String> {
        match tree {
            Tree::List(elements) => {
                let texts = elements
                    .iter()
                    .enumerate()
                    .map(|(index, tree)| self.single(tree, &path.index(index)));
                Some(texts.collect::<Option<Vec<_>>>()?.join(","))
            }
            Tree::Map(_) => {
                let fields = self.any_mapping(tree, path)?;
                let mut pairs = Vec::new();
                for (key, tree) in &fields.entries {
                    pairs.push(format!("{key}={}", self.single(tree, &path.key(key))?));
                }
                Some(pairs.join(","))
            }
            tree => self.single(tree, path),
        }
    }

    /// Returns the text of a single value, with a number as it is in the file.
    fn single(&mut self, tree: &Tree, path: &Path) -> Option<String> {
        match tree {
            Tree::Text(text) => Some(text.clone()),
            Tree::Bool(value) => Some(value.to_string()),
            Tree::Integer(_) | Tree::Float(_) => {
                Some(self.positions.plain(path).map_or_else(|| tree.as_plain_text(), str::to_owned))
            }
            _ => {
                let help = "a flag is text, a number, true or false, a list of them, or a \
                    mapping for `name=value` pairs; null takes it away";
                self.wrong_type(tree, path, "a single value", help);
                None
            }
        }
    }

    fn config(&mut self, fields: &Fields<'_>) -> Vec<(Located<String>, Value)> {
        let entries = self.entries_of(fields, "config");
        let value = |(name, tree, path): (_, &Tree, Path)| Some((name, self.value(tree, &path)?));
        entries.into_iter().filter_map(value).collect()
    }

    fn files(&mut self, fields: &Fields<'_>) -> Vec<(Located<String>, Located<String>)> {
        let entries = self.entries_of(fields, "files");
        let path = |(name, tree, path): (_, &Tree, Path)| Some((name, self.text_at(tree, &path)?));
        entries.into_iter().filter_map(path).collect()
    }

    /// Returns YAML of any structure as JSON.
    fn value(&mut self, tree: &Tree, path: &Path) -> Option<Value> {
        Some(match tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Integer(number) => Value::Number(Number::from_i128(*number)?),
            Tree::Float(number) => Value::Number(Number::from_f64(*number)?),
            // What comes from a variable is typed as if it were written there.
            Tree::Text(text) if self.filled.contains(path) => {
                match (self.positions.plain(path), read_yaml(text)) {
                    (Some(_), Ok(tree @ (Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_)))) => {
                        self.value(&tree, path)?
                    }
                    _ => Value::String(text.clone()),
                }
            }
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(elements) => {
                let values = elements.iter().enumerate();
                let mut value = |(index, tree)| self.value(tree, &path.index(index));
                Value::Array(values.map(&mut value).collect::<Option<_>>()?)
            }
            Tree::Map(_) => {
                let fields = self.any_mapping(tree, path)?;
                let mut map = Map::new();
                for (key, tree) in &fields.entries {
                    map.insert((*key).to_owned(), self.value(tree, &path.key(key))?);
                }
                Value::Object(map)
            }
            Tree::Tagged | Tree::Unset => {
                self.wrong_type(tree, path, "a value", "");
                return None;
            }
        })
    }
}
