//! What the nodes' shell writes into the node record, found by reading it.

use std::collections::{BTreeMap, BTreeSet};

use labctl::node;

/// The kinds of lines that each function of the nodes' shell writes, itself or through others.
pub struct Writers(BTreeMap<String, BTreeSet<String>>);

impl Writers {
    /// Of the functions that every apply script begins with.
    pub fn new() -> Self {
        let shell = [node::PRELUDE, node::RECORD, node::SETS].concat();
        let bodies = functions(&shell);
        let mut kinds: BTreeMap<String, BTreeSet<String>> =
            bodies.iter().map(|(name, body)| (name.clone(), written(body))).collect();
        // `made` and `found` write what their caller says, and `run` runs a task.
        loop {
            let mut grown = kinds.clone();
            for (name, body) in &bodies {
                let called = commands(body).into_iter().filter_map(|(name, _)| kinds.get(name));
                let more: BTreeSet<String> = called.flatten().cloned().collect();
                grown.entry(name.clone()).or_default().extend(more);
            }
            if grown == kinds {
                return Self(kinds);
            }
            kinds = grown;
        }
    }

    /// The kinds of lines that any function writes.
    pub fn all(&self) -> impl Iterator<Item = String> + use<'_> {
        self.0.values().flatten().cloned()
    }

    /// The kinds of lines that a script writes.
    pub fn written_by(&self, script: &str) -> BTreeSet<String> {
        let called = commands(script).into_iter().filter_map(|(name, _)| self.0.get(name));
        called.flatten().cloned().chain(written(script)).collect()
    }
}

/// The kinds of lines that a text writes itself: `made KIND ...`, `found "KIND ..." ...`, and lines
/// that awk or printf put into the record.
pub fn written(text: &str) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    for (name, words) in commands(text) {
        if matches!(name, "made" | "found") {
            kinds.extend(word(words));
        }
    }
    for line in lines(text).filter(|line| line.contains("record")) {
        for start in ["print ", "printf "] {
            kinds.extend(line.split(start).skip(1).filter_map(word));
        }
    }
    kinds
}

/// The word that a text begins with, if it is the first of a quoted or a plain argument.
fn word(text: &str) -> Option<String> {
    let text = text.trim_start_matches(['"', '\'']);
    let word = text.split(|c: char| !c.is_ascii_lowercase() && c != '_').next()?;
    (word.len() > 2).then(|| word.to_owned())
}

/// The lines of a shell text that are not comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#'))
}

/// Each command of a shell text with the rest of its line: a word at the beginning of a line, or
/// after something that ends or begins a command. What begins a branch of a `case` is none.
fn commands(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for line in lines(text) {
        let pattern = line.split_once(')').filter(|(pattern, _)| !pattern.contains(['(', '`']));
        let line = pattern.map_or(line, |(_, rest)| rest);
        let mut begins = true;
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
                .max(first.len_utf8());
            let (token, after) = rest.split_at(length);
            if begins && first.is_ascii_lowercase() {
                found.push((token, after.trim_start()));
            }
            let keyword =
                begins && ["if", "then", "else", "elif", "do", "while", "until"].contains(&token);
            begins = keyword || [";", "&", "|", "{", "}", "(", "!"].contains(&token);
            rest = after.trim_start();
        }
    }
    found
}

/// The functions of a shell text with their bodies. Each begins and ends at the start of a line, or
/// is one line.
fn functions(shell: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in shell.lines() {
        let name = line.split_once("() {").filter(|(name, _)| !name.contains([' ', '#']));
        match (name, found.last_mut()) {
            (Some((name, body)), _) if !inside => {
                let body = body.split(" # ").next().unwrap_or_default().trim_end();
                inside = !body.ends_with('}');
                found.push((name.to_owned(), body.to_owned()));
            }
            _ if line == "}" => inside = false,
            (_, Some((_, body))) if inside => {
                body.push('\n');
                body.push_str(line);
            }
            _ => {}
        }
    }
    found
}
