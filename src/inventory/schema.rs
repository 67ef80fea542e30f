//! The JSON Schema of inventories, for editors, made from the [table of keys](super::keys).
//!
//! It accepts what the loader accepts, as far as a schema can say it: known keys, types, ranges of
//! numbers, words to choose from. What a value means is checked by [`cluster`](crate::cluster).

use serde_json::{Map, Value, json};

use super::keys::{INVENTORY, KeySection, KnownKey, ValueKind};
use super::variables::IGNORED;

/// The file name that inventories refer to.
pub const FILE_NAME: &str = "inventory.schema.json";

/// Returns the schema as it is printed, with a line end.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

/// Returns the schema, in draft 7, which editors know.
pub fn schema() -> Value {
    let mut schema = section(&INVENTORY);
    let unknown = format!("^{IGNORED}");
    let more = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "labctl inventory",
        "patternProperties": { unknown: { "description": "ignored: a place for YAML anchors" } },
        // A node has roles of its own, or those of `defaults`.
        "anyOf": [
            { "required": ["defaults"], "properties": { "defaults": { "required": ["roles"] } } },
            { "properties": { "nodes": { "items": { "required": ["roles"] } } } },
        ],
    });
    if let (Value::Object(schema), Value::Object(more)) = (&mut schema, more) {
        schema.extend(more);
    }
    schema
}

fn section(section: &KeySection) -> Value {
    let mut properties = Map::new();
    for key in section.keys {
        let mut value = value(key.kind);
        value["description"] = describe(key).into();
        properties.insert(key.name.to_owned(), value);
    }
    let required = section.keys.iter().filter(|key| key.is_required());
    let required: Vec<&str> = required.map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": section.about,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// Returns what a key means and what holds without it, without the links of the reference.
fn describe(key: &KnownKey) -> String {
    let mut text = key.about.to_owned();
    while let Some((before, after)) = text.split_once("](") {
        let (_, after) = after.split_once(')').unwrap_or(("", after));
        text = format!("{}{after}", before.replacen('[', "", 1));
    }
    match key.default {
        "none" | "see below" => text,
        _ if key.is_required() => format!("{text} (required)"),
        default => format!("{text} (default: {default})"),
    }
}

fn value(kind: ValueKind) -> Value {
    match kind {
        ValueKind::Text | ValueKind::File | ValueKind::Cidr | ValueKind::Address => {
            json!({ "type": "string" })
        }
        ValueKind::Number(least, most) => {
            or_variable(json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        ValueKind::PerFamily(one) => {
            let one = value(*one);
            let both = json!({ "type": "array", "items": one, "minItems": 1, "maxItems": 2 });
            json!({ "anyOf": [one, both] })
        }
        ValueKind::Choice(words) => or_variable(json!({ "enum": words })),
        ValueKind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        ValueKind::Choices(words) => json!({
            "type": "array",
            "items": or_variable(json!({ "enum": words })),
            "minItems": 1,
            "uniqueItems": true,
        }),
        ValueKind::Labels => {
            json!({ "type": "object", "additionalProperties": { "type": ["string", "null"] } })
        }
        ValueKind::Files => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        ValueKind::Flags => {
            let single = json!({ "type": ["string", "number", "boolean"] });
            json!({ "type": "object", "additionalProperties": { "anyOf": [
                single,
                { "type": "null" },
                { "type": "array", "items": single },
                { "type": "object", "additionalProperties": single },
            ] } })
        }
        ValueKind::Any => json!({ "type": "object" }),
        ValueKind::Jumps => {
            let one = [json!({ "type": "string" }), section(&super::keys::JUMP)];
            let many = json!({ "type": "array", "items": { "anyOf": one } });
            json!({ "anyOf": [one[0], one[1], many] })
        }
        ValueKind::Section(below) => section(below),
        ValueKind::Named(names, below) => named(names, below),
        ValueKind::List(below) => {
            json!({ "type": "array", "items": section(below), "minItems": 1 })
        }
    }
}

fn named(names: &[&str], below: &KeySection) -> Value {
    if names.is_empty() {
        return json!({ "type": "object", "additionalProperties": section(below) });
    }
    let each = names.iter().map(|name| ((*name).to_owned(), section(below)));
    let each: Map<String, Value> = each.collect();
    json!({ "type": "object", "properties": each, "additionalProperties": false })
}

/// A value, or a text with a variable, which is such a value once it is replaced.
fn or_variable(value: Value) -> Value {
    json!({ "anyOf": [value, { "type": "string", "pattern": r"\$\{" }] })
}
