//! The JSON Schema against the loader, over thousands of inventories that are made from the schema
//! itself: what it accepts has a structure that the loader accepts, and what it refuses is refused.
//!
//! A library that validates would bring forty packages for the dozen keywords that the schema has;
//! here they are written out, and a keyword that is new is red.

use labctl::inventory::load::parse_with;
use labctl::inventory::schema::schema;
use serde_json::{Map, Value, json};

use super::*;

/// What the schema says with, beside words for people.
const KEYWORDS: &[&str] = &[
    "type",
    "enum",
    "minimum",
    "maximum",
    "pattern",
    "properties",
    "patternProperties",
    "additionalProperties",
    "required",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "anyOf",
];

/// Whether `value` is as `schema` says.
fn accepts(schema: &Value, value: &Value) -> bool {
    let Value::Object(rules) = schema else { return schema.as_bool().expect("true or false") };
    rules.iter().all(|(keyword, rule)| match keyword.as_str() {
        "type" => match rule {
            Value::Array(types) => types.iter().any(|name| is_a(value, name)),
            name => is_a(value, name),
        },
        "enum" => rule.as_array().expect("a list").contains(value),
        "minimum" => value.as_i64().is_none_or(|number| number >= rule.as_i64().expect("one")),
        "maximum" => value.as_i64().is_none_or(|number| number <= rule.as_i64().expect("one")),
        "pattern" => value.as_str().is_none_or(|text| {
            assert_eq!(rule, r"\$\{", "the only pattern of a value");
            text.contains("${")
        }),
        "properties" => {
            each(rule).all(|(key, rule)| value.get(key).is_none_or(|it| accepts(rule, it)))
        }
        "patternProperties" => {
            assert!(each(rule).all(|(pattern, _)| pattern == "^x-"), "the only pattern of a key");
            true
        }
        "additionalProperties" => {
            let known = |key: &str| {
                let patterned = rules.contains_key("patternProperties") && key.starts_with("x-");
                rules.get("properties").is_some_and(|it| it.get(key).is_some()) || patterned
            };
            let entries = value.as_object().into_iter().flatten();
            entries.filter(|(key, _)| !known(key)).all(|(_, value)| accepts(rule, value))
        }
        "required" => {
            let keys = rule.as_array().expect("a list").iter().filter_map(Value::as_str);
            value.as_object().is_none_or(|it| keys.into_iter().all(|key| it.contains_key(key)))
        }
        "items" => value.as_array().is_none_or(|all| all.iter().all(|it| accepts(rule, it))),
        "minItems" => {
            value.as_array().is_none_or(|all| all.len() as u64 >= rule.as_u64().expect("one"))
        }
        "maxItems" => {
            value.as_array().is_none_or(|all| all.len() as u64 <= rule.as_u64().expect("one"))
        }
        "uniqueItems" => value
            .as_array()
            .is_none_or(|all| all.iter().enumerate().all(|(index, it)| !all[..index].contains(it))),
        "anyOf" => rule.as_array().expect("a list").iter().any(|schema| accepts(schema, value)),
        "$schema" | "title" | "description" => true,
        other => panic!("the keyword `{other}` is new: teach it here, or it holds nothing"),
    })
}

fn is_a(value: &Value, name: &Value) -> bool {
    match name.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type `{other}` is new"),
    }
}

fn each(rules: &Value) -> impl Iterator<Item = (&String, &Value)> {
    rules.as_object().expect("a mapping").iter()
}

/// A source of choices, from what proptest has made up.
struct Choices<'a>(std::slice::Iter<'a, u16>);

impl Choices<'_> {
    fn below(&mut self, most: usize) -> usize {
        usize::from(*self.0.next().unwrap_or(&0)) % most.max(1)
    }
}

/// Returns a value that `schema` accepts.
fn made(schema: &Value, choices: &mut Choices<'_>) -> Value {
    let Value::Object(rules) = schema else { return json!("any") };
    if let Some(Value::Array(words)) = rules.get("enum") {
        return words[choices.below(words.len())].clone();
    }
    if rules.contains_key("pattern") {
        return json!("${SET:-1}");
    }
    let properties = rules.get("properties").and_then(Value::as_object);
    if let (Some(Value::Array(any)), None) = (rules.get("anyOf"), properties) {
        // A text that is a variable may be replaced by something that does not fit.
        let sound: Vec<&Value> = any.iter().filter(|it| it.get("pattern").is_none()).collect();
        return made(sound[choices.below(sound.len())], choices);
    }
    let types = match &rules["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    match types[choices.below(types.len())].as_str().expect("a type") {
        "object" => {
            let required: Vec<&str> = rules
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let mut map = Map::new();
            for (key, rule) in properties.into_iter().flatten() {
                // Roles are required by the schema as a whole.
                let needed = required.contains(&key.as_str()) || key == "roles";
                if needed || choices.below(3) == 0 {
                    map.insert(key.clone(), made(rule, choices));
                }
            }
            match rules.get("additionalProperties") {
                Some(Value::Bool(false)) => {}
                rule => {
                    for name in ["a", "b-c"].iter().take(choices.below(3)) {
                        let any = json!({ "type": ["string", "boolean", "integer", "null"] });
                        map.insert((*name).to_owned(), made(rule.unwrap_or(&any), choices));
                    }
                }
            }
            if rules.contains_key("patternProperties") && choices.below(4) == 0 {
                map.insert("x-anything".to_owned(), json!({ "any": ["thing", 1] }));
            }
            Value::Object(map)
        }
        "array" => {
            let least = rules.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
            let most = rules.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX) as usize;
            let count = (least + choices.below(3)).min(most);
            let mut all: Vec<Value> = (0..count).map(|_| made(&rules["items"], choices)).collect();
            if rules.contains_key("uniqueItems") {
                let mut seen = Vec::new();
                all.retain(|it| {
                    !seen.contains(it) && {
                        seen.push(it.clone());
                        true
                    }
                });
            }
            Value::Array(all)
        }
        "integer" | "number" => {
            let bound =
                |key: &str, otherwise| rules.get(key).and_then(Value::as_i64).unwrap_or(otherwise);
            let (least, most) = (bound("minimum", 0), bound("maximum", 9));
            json!(least + choices.below(usize::try_from(most - least + 1).expect("a range")) as i64)
        }
        "boolean" => json!(choices.below(2) == 0),
        "null" => Value::Null,
        _ => json!(["text", "10.0.0.1", "${SET:-text}", ""][choices.below(4)]),
    }
}

/// Returns every path to a value in `value`.
fn places(value: &Value, at: String, found: &mut Vec<String>) {
    found.push(at.clone());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, it)| places(it, format!("{at}/{}", escaped(key)), found));
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(key, it)| places(it, format!("{at}/{key}"), found));
        }
        _ => {}
    }
}

/// Changes one thing in `value`.
fn spoil(value: &mut Value, choices: &mut Choices<'_>) {
    let mut found = Vec::new();
    places(value, String::new(), &mut found);
    let at = found[choices.below(found.len())].clone();
    let Some(place) = value.pointer_mut(&at) else { return };
    *place = match (choices.below(7), &place) {
        (0, Value::Object(map)) => {
            let mut map = map.clone();
            map.insert("unknown".to_owned(), json!("key"));
            Value::Object(map)
        }
        (1, Value::Object(map)) if !map.is_empty() => {
            let mut map = map.clone();
            let key = map.keys().nth(choices.below(map.len())).cloned().unwrap_or_default();
            map.remove(&key);
            Value::Object(map)
        }
        (2, _) => json!(99_999_999),
        (3, _) => json!(true),
        (4, _) => json!("a word"),
        (5, _) => json!([]),
        _ => json!({}),
    };
}

/// What the loader says of the structure of `value`, and what is said of it in all.
fn problems(value: &Value) -> (Vec<Problem>, Vec<Problem>) {
    let text = serde_json::to_string(value).expect("JSON, which is YAML");
    match parse_with(Path::new("lab.yaml"), text.as_bytes(), &|_| None) {
        Err(problem) => (vec![problem.clone()], vec![problem]),
        Ok(inventory) => {
            let all = match resolve(&inventory) {
                Ok((_, warnings)) => warnings,
                Err(problems) => problems,
            };
            (inventory.problems, all)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_the_schema_accepts_has_a_structure_that_the_loader_accepts(
        choices in prop::collection::vec(any::<u16>(), 0..300)
    ) {
        let schema = schema();
        let value = made(&schema, &mut Choices(choices.iter()));
        prop_assert!(accepts(&schema, &value), "{value:#}");
        let (structure, _) = problems(&value);
        prop_assert!(structure.is_empty(), "{value:#}\n{}", said(&structure));
    }

    #[test]
    fn what_is_wrong_by_the_schema_is_wrong_by_the_loader_and_the_other_way_round(
        choices in prop::collection::vec(any::<u16>(), 0..300),
        change in prop::collection::vec(any::<u16>(), 4)
    ) {
        let schema = schema();
        let mut value = made(&schema, &mut Choices(choices.iter()));
        spoil(&mut value, &mut Choices(change.iter()));
        let (structure, all) = problems(&value);
        if accepts(&schema, &value) {
            prop_assert!(structure.is_empty(), "{value:#}\n{}", said(&structure));
        } else {
            let refused = all.iter().any(Problem::is_error);
            prop_assert!(refused, "accepted, but not by the schema: {value:#}");
        }
    }
}

#[test]
fn shipped_inventories_are_as_the_schema_says() {
    let schema = schema();
    let mut seen = 0;
    for file in fs::read_dir("inventories").expect("inventories").flatten() {
        if file.path().is_dir() {
            continue;
        }
        let text = fs::read_to_string(file.path()).expect("an inventory");
        let first = text.lines().next().expect("a line");
        assert_eq!(first, "# yaml-language-server: $schema=../docs/inventory.schema.json");
        let value: Value = serde_yaml::from_str(&text).expect("YAML");
        assert!(accepts(&schema, &value), "{}", file.path().display());
        seen += 1;
    }
    assert!(seen > 8);
}

#[test]
fn the_schema_explains_every_key() {
    let schema = schema();
    let mut keys = Vec::new();
    places(&schema, String::new(), &mut keys);
    let named = keys.iter().filter(|place| place.rsplit('/').nth(1) == Some("properties"));
    for place in named {
        let rule = schema.pointer(place).expect("a place");
        // A program of `components` is explained by that key.
        let about = rule["description"].as_str().unwrap_or_default();
        assert!(about.len() > 5 || place.contains("anyOf"), "{place}: {rule}");
    }
    assert!(KEYWORDS.len() == 14 && schema["properties"]["nodes"]["items"].is_object());
}
