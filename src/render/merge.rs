//! Configuration files with what an inventory adds to them. What it does not name stays as the
//! template has it, comments included.

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, Item, Table, TableLike};

/// Returns the YAML document `text` with `config` merged into it: mappings are merged, anything
/// else is replaced, and null removes a key.
///
/// # Errors
/// If a part of `text` that is merged is not YAML.
pub(super) fn into_yaml(text: &str, config: &Map<String, Value>) -> Result<String, String> {
    let mut blocks = blocks(text);
    for (key, added) in config {
        let at = blocks.iter().position(|block| block.key.as_deref() == Some(key));
        let before = match at {
            Some(at) => serde_yaml::from_str::<Value>(&blocks[at].body)
                .map_err(|error| format!("`{key}` is not YAML: {error}"))?
                .get(key)
                .cloned(),
            None => None,
        };
        let body = match merged(before, added) {
            None => String::new(),
            Some(value) => {
                let map = Map::from_iter([(key.clone(), value)]);
                serde_yaml::to_string(&map).map_err(|error| error.to_string())?
            }
        };
        match at {
            Some(at) => blocks[at].body = body,
            None => blocks.push(Block { above: String::new(), key: Some(key.clone()), body }),
        }
    }
    Ok(blocks.into_iter().map(|block| block.above + &block.body).collect())
}

/// A top-level key of a YAML document.
struct Block {
    /// Comments and empty lines above it.
    above: String,
    /// The key; none for what is below the last one.
    key: Option<String>,
    /// Its lines.
    body: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut above = String::new();
    for line in text.split_inclusive('\n') {
        let begins = line.starts_with(|letter: char| letter.is_ascii_alphabetic());
        if begins && let Some((key, _)) = line.split_once(':') {
            let above = std::mem::take(&mut above);
            blocks.push(Block { above, key: Some(key.to_owned()), body: line.to_owned() });
        } else if line.trim().is_empty() || line.starts_with('#') {
            above.push_str(line);
        } else if let Some(block) = blocks.last_mut() {
            // A comment in the margin, in the middle of a block.
            block.body.push_str(&std::mem::take(&mut above));
            block.body.push_str(line);
        }
    }
    if !above.is_empty() {
        blocks.push(Block { above, key: None, body: String::new() });
    }
    blocks
}

/// Returns `before` with `added`; `None` if nothing is left of it.
fn merged(before: Option<Value>, added: &Value) -> Option<Value> {
    match (before, added) {
        (_, Value::Null) => None,
        (before, Value::Object(added)) => {
            let mut map = match before {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            };
            for (key, added) in added {
                let before = map.remove(key);
                if let Some(value) = merged(before, added) {
                    map.insert(key.clone(), value);
                }
            }
            Some(Value::Object(map))
        }
        (_, added) => Some(added.clone()),
    }
}

/// Like [`into_yaml`], for TOML.
///
/// # Errors
/// If `text` is not TOML.
pub(super) fn into_toml(text: &str, config: &Map<String, Value>) -> Result<String, String> {
    if config.is_empty() {
        return Ok(text.to_owned());
    }
    let mut document: DocumentMut = text.parse().map_err(|error| format!("not TOML: {error}"))?;
    merge_table(document.as_table_mut(), config);
    Ok(document.to_string())
}

fn merge_table(table: &mut dyn TableLike, config: &Map<String, Value>) {
    for (key, added) in config {
        match added {
            Value::Null => {
                table.remove(key);
            }
            Value::Object(added) => {
                if !table.get(key).is_some_and(Item::is_table_like) {
                    let mut new = Table::new();
                    new.set_implicit(true);
                    table.insert(key, Item::Table(new));
                }
                if let Some(inner) = table.get_mut(key).and_then(Item::as_table_like_mut) {
                    merge_table(inner, added);
                }
            }
            added => {
                if let Some(value) = toml_value(added) {
                    table.insert(key, Item::Value(value));
                }
            }
        }
    }
}

/// Returns a value as TOML has it; null is none.
fn toml_value(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => {
            toml_edit::Value::Array(values.iter().filter_map(toml_value).collect::<Array>())
        }
        Value::Object(map) => {
            let pairs = map.iter().filter_map(|(key, value)| Some((key, toml_value(value)?)));
            toml_edit::Value::InlineTable(pairs.collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("a mapping")
    }

    const YAML: &str = "# What it is.\nkind: X\n\n# Who.\nauth:\n  a: 1\n  # Inside.\n  b: [1]\n\
        # Swap.\nswap: false\n";

    #[test]
    fn what_is_not_named_stays_with_its_comments() {
        assert_eq!(into_yaml(YAML, &Map::new()).as_deref(), Ok(YAML));
        let merged = into_yaml(YAML, &map(json!({ "auth": { "a": 2, "c": null }, "new": [1] })));
        assert_eq!(
            merged.as_deref(),
            Ok("# What it is.\nkind: X\n\n# Who.\nauth:\n  a: 2\n  b:\n  - 1\n# Swap.\n\
                swap: false\nnew:\n- 1\n")
        );
    }

    #[test]
    fn null_removes_a_key_and_a_scalar_replaces_a_mapping() {
        let merged = into_yaml(YAML, &map(json!({ "auth": 1, "swap": null })));
        assert_eq!(merged.as_deref(), Ok("# What it is.\nkind: X\n\n# Who.\nauth: 1\n# Swap.\n"));
    }

    #[test]
    fn toml_is_merged_at_any_depth() {
        let text = "version = 3\n\n[plugins.'io.x']\n  # Why.\n  a = 1\n  b = 2\n";
        let config = json!({
            "plugins": { "io.x": { "a": null, "b": 3 }, "io.y": { "list": ["z"] } },
            "debug": { "level": "debug" },
        });
        let merged = into_toml(text, &map(config)).expect("TOML");
        for part in ["version = 3", "b = 3", "[plugins.\"io.y\"]", "list = [\"z\"]", "[debug]"] {
            assert!(merged.contains(part), "{part} in {merged}");
        }
        assert!(!merged.contains("a = 1"), "{merged}");
        assert_eq!(into_toml(text, &Map::new()).as_deref(), Ok(text));
    }
}
