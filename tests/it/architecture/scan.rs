//! Reads the sources as text: comments and strings blanked out, words and marks, and every path
//! that they name. That is coarser than a compiler and enough: a path that is written in no file is
//! not used either.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file of the crate.
pub struct Source {
    /// Below `src`, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// With comments and strings blanked out, line for line.
    pub code: String,
    /// The same without the unit tests, which may do what the code that they try may not.
    pub shipped: String,
    /// The module that it is, from the crate's root.
    pub modules: Vec<String>,
}

impl Source {
    /// The file at `path` below `src`.
    pub fn new(path: &str, text: &str) -> Self {
        let mut modules: Vec<String> =
            path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if modules.last().is_some_and(|last| last == "mod") || matches!(path, "lib.rs" | "main.rs")
        {
            modules.pop();
        }
        let code = blanked(text);
        // Unit tests are at the end of their file.
        let shipped = code
            .split_once("#[cfg(test)]\nmod tests {")
            .map_or(code.as_str(), |(shipped, _)| shipped)
            .to_owned();
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped, modules }
    }

    pub fn place(&self) -> String {
        format!("src/{}", self.path)
    }

    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| {
            self.path == *place || place.ends_with('/') && self.path.starts_with(place)
        })
    }

    /// The lines in which `word` stands, and not as the end of a longer one.
    pub fn lines_with<'a>(&'a self, word: &str) -> impl Iterator<Item = usize> + use<'a> {
        let word = word.to_owned();
        self.shipped.lines().enumerate().filter_map(move |(number, line)| {
            let whole =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            line.match_indices(&word).any(|(at, _)| whole(at)).then_some(number + 1)
        })
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn sources() -> impl Iterator<Item = Source> {
    let src = root().join("src");
    files_below(&src).into_iter().filter(|path| path.extension().is_some_and(|it| it == "rs")).map(
        move |path| {
            let text = fs::read_to_string(&path).expect("a source file can be read");
            let path = path.strip_prefix(&src).expect("it is below src").to_string_lossy();
            Source::new(&path, &text)
        },
    )
}

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // A lab directory is nobody's source, and may be another user's.
        if path.is_dir() && entry.file_name() != ".labctl" {
            found.extend(files_below(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// `code` with everything in comments, strings and character literals replaced by spaces; lines
/// stay where they are.
pub fn blanked(code: &str) -> String {
    let chars: Vec<char> = code.chars().collect();
    let mut out = String::with_capacity(code.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at).unwrap_or(at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `None` when none begins there.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let next = |n: usize| chars.get(at + n).copied().unwrap_or('\0');
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next(1) == '/' => Some(find(chars, at, |rest| rest[0] == '\n')),
        '/' if next(1) == '*' => {
            let mut depth = 0;
            let mut end = at;
            while end < chars.len() {
                match (chars[end], chars.get(end + 1)) {
                    ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
                    ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
                    _ => end += 1,
                }
                if depth == 0 {
                    break;
                }
            }
            Some(end)
        }
        'r' if !in_word || chars[at - 1] == 'b' => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            let closes = |rest: &[char]| {
                rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#')
            };
            (next(1 + hashes) == '"').then(|| find(chars, at + 2 + hashes, closes) + 1 + hashes)
        }
        '"' => Some(closing(chars, at, '"')),
        // 'a' and '\n' are characters, 'a without an end is a lifetime.
        '\'' if next(1) == '\\' || next(2) == '\'' => Some(closing(chars, at, '\'')),
        _ => None,
    }
}

fn find(chars: &[char], from: usize, here: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| here(&chars[*at..])).unwrap_or(chars.len())
}

/// The place after the `quote` that ends the literal at `at`.
fn closing(chars: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != quote {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

/// A path that a source file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where.
    pub line: usize,
    /// Its segments from the crate's root.
    pub path: Vec<String>,
    /// Whether it is offered to others under the file's own name, with `pub use`.
    pub reexport: bool,
    /// Whether it begins with neither `crate`, `super` nor `self`: then it may be another crate's.
    pub bare: bool,
}

/// Every path in `code`, which is the module `modules`.
pub fn named(code: &str, modules: &[String]) -> Vec<Named> {
    let tokens = tokens(code);
    let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut found = Vec::new();
    let mut inline: Vec<usize> = Vec::new();
    let (mut depth, mut at) = (0, 0);
    let mut reexport = false;
    while at < tokens.len() {
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|opened| *opened <= depth);
            }
            "mod" if word(at + 2) == "{" => inline.push(depth + 1),
            ";" => reexport = false,
            "use" => reexport = is_public(&tokens, at),
            // `pub(in super::super)` says who may name it, and names nothing itself.
            "in" if at > 0 && word(at - 1) == "(" => {
                while !matches!(word(at), ")" | "") {
                    at += 1;
                }
            }
            first if begins_path(&tokens, at) => {
                let line = tokens[at].0;
                let (base, bare, end) = match first {
                    "crate" => (Vec::new(), false, at + 2),
                    "self" => (modules.to_vec(), false, at + 2),
                    "super" => {
                        let mut up: usize = 1;
                        while word(at + 2) == "super" && word(at + 3) == "::" {
                            (up, at) = (up + 1, at + 2);
                        }
                        // A module inside of this file is this file all the same.
                        let left =
                            modules.len() - up.saturating_sub(inline.len()).min(modules.len());
                        (modules[..left].to_vec(), false, at + 2)
                    }
                    _ => (modules.to_vec(), true, at),
                };
                let mut paths = Vec::new();
                at = tree(&tokens, end, base, &mut paths) - 1;
                let named = |path| Named { line, path, reexport, bare };
                found.extend(paths.into_iter().map(named));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether the word at `at` begins a path of at least two segments.
fn begins_path(tokens: &[(usize, String)], at: usize) -> bool {
    let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let is_name = word(at).starts_with(|c: char| c.is_alphabetic() || c == '_');
    let goes_on = at > 0 && word(at - 1) == "::";
    is_name && !goes_on && word(at + 1) == "::"
}

/// Whether the `use` at `at` has a `pub` before it, whatever the extent of that.
fn is_public(tokens: &[(usize, String)], at: usize) -> bool {
    let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut before = at;
    if before > 0 && word(before - 1) == ")" {
        while before > 0 && word(before) != "(" {
            before -= 1;
        }
    }
    before > 0 && word(before - 1) == "pub"
}

/// Reads the path or the group of paths at `at`, each with `base` before it. Gives the place after
/// it.
fn tree(
    tokens: &[(usize, String)],
    mut at: usize,
    mut base: Vec<String>,
    found: &mut Vec<Vec<String>>,
) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    loop {
        match word(at) {
            "{" => {
                at += 1;
                while !matches!(word(at), "}" | "") {
                    at = tree(tokens, at, base.clone(), found);
                    while !matches!(word(at), "," | "}" | "") {
                        at += 1;
                    }
                    at += usize::from(word(at) == ",");
                }
                return at + 1;
            }
            // `self` in a group is the path itself.
            "self" | "*" => {
                found.push(base);
                return at + 1;
            }
            name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                base.push(name.to_owned());
                at += 1;
                if word(at) != "::" {
                    found.push(base);
                    return at;
                }
                at += 1;
            }
            // `::<T>` after a function.
            _ => {
                found.push(base);
                return at;
            }
        }
    }
}

/// Words and marks of `code`, each with its line.
pub fn tokens(code: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(c) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = match word {
                0 if rest.starts_with("::") => 2,
                0 => c.len_utf8(),
                word => word,
            };
            found.push((number + 1, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    found
}
