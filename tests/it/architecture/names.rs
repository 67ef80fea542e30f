//! One name has one meaning: no two types of the crate are called the same.

use std::collections::BTreeMap;

use super::scan::{sources, tokens};

#[test]
fn no_two_types_have_the_same_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for name in types(&source.shipped) {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    let twice: BTreeMap<&str, &Vec<String>> = places
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| (name.as_str(), places))
        .collect();
    assert!(twice.is_empty(), "say in the name what tells them apart: {twice:#?}");
}

/// The types that `code` defines. One that belongs to a trait is the trait's.
fn types(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut braces = 0;
    for (at, (_, token)) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => braces += 1,
            "}" => braces -= 1,
            "struct" | "enum" | "trait" => found.extend(tokens.get(at + 1)),
            "type" if braces == 0 => found.extend(tokens.get(at + 1)),
            _ => {}
        }
    }
    found.into_iter().map(|(_, name)| name.clone()).collect()
}
