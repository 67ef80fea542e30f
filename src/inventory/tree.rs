//! YAML values of any structure.
//!
//! Unlike the YAML crate's own value type, this one accepts duplicate keys in a mapping, so that
//! the whole file is parsed and a duplicate key is one problem among others instead of the only
//! one.

use std::fmt;

use serde::de::{
    Deserialize, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// A YAML value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// Nothing: `key:` and no more, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A mapping: keys in file order, possibly with duplicates.
    Map(Vec<(Tree, Tree)>),
    /// A value with a custom tag, `!tag value`.
    Tagged,
    /// A value with a variable that has none, which is reported already.
    Unset,
}

impl Tree {
    /// Describes the value for the middle of a sentence; `plain` is its text in the file, which a
    /// number does not keep.
    pub(super) fn describe(&self, plain: Option<&str>) -> String {
        match self {
            Tree::Null => "nothing".to_owned(),
            Tree::Bool(value) => {
                format!("the boolean {}", plain.unwrap_or(if *value { "true" } else { "false" }))
            }
            Tree::Integer(value) => {
                format!("the number {}", plain.map_or_else(|| value.to_string(), str::to_owned))
            }
            Tree::Float(value) => {
                format!("the number {}", plain.map_or_else(|| value.to_string(), str::to_owned))
            }
            Tree::Text(_) => "text".to_owned(),
            Tree::List(_) => "a list".to_owned(),
            Tree::Map(_) => "a mapping".to_owned(),
            Tree::Tagged => "a tagged value".to_owned(),
            Tree::Unset => "a variable without a value".to_owned(),
        }
    }
}

impl Tree {
    /// Returns a scalar as text.
    pub(super) fn as_plain_text(&self) -> String {
        match self {
            Tree::Float(value) => value.to_string(),
            other => other.as_key(),
        }
    }

    /// Returns the path step for this value as a key, like
    /// [`Positions`](super::positions::Positions) records it.
    pub(super) fn as_key(&self) -> String {
        match self {
            Tree::Null => "~".to_owned(),
            Tree::Bool(value) => value.to_string(),
            Tree::Integer(value) => value.to_string(),
            Tree::Float(value) => value.to_string(),
            Tree::Text(text) => text.clone(),
            Tree::List(_) | Tree::Map(_) | Tree::Tagged | Tree::Unset => "?".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(i128::try_from(value).map_or(Tree::Float(value as f64), Tree::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(Tree::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Tree, A::Error> {
        let (_tag, content): (IgnoredAny, _) = access.variant()?;
        content.newtype_variant::<IgnoredAny>()?;
        Ok(Tree::Tagged)
    }
}
