//! Reads Rust far enough to see what a file imports: no comments, no literals, paths and groups.

#[test]
fn the_scan_sees_what_a_compiler_would() {
    let top = ["engine".to_owned(), "apply".to_owned()];
    let found = |code: &str| {
        imports(&blanked(code), &top).into_iter().map(|(_, to)| to).collect::<Vec<_>>()
    };
    assert_eq!(found("use crate::plan::Plan;"), ["plan"]);
    assert_eq!(
        found("use crate::{plan::{Plan, Change}, report, self as all};"),
        ["plan", "report", "self"]
    );
    assert_eq!(found("let x = crate::report::text();"), ["report"]);
    assert_eq!(found("use super::Run;"), ["engine"]);
    assert_eq!(found("use super::super::report::Reporter;"), ["report"]);
    assert_eq!(
        found("mod tests { use super::super::Run; } use super::super::cli;"),
        ["engine", "cli"]
    );
    assert_eq!(found("pub(crate) fn f() {} pub(in crate::engine) fn g() {}"), ["engine"]);
    assert_eq!(
        found(
            "// crate::report\n/* crate::cli /* x */ */ let s = \"crate::cli\"; let r = \
            r#\"crate::\"cli\"#;"
        ),
        [""; 0]
    );
    assert_eq!(found("fn f<'a>(x: &'a str) -> char { '\"' } use crate::lab;"), ["lab"]);
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

/// Every path of the crate's own in `code`, as its line and its first segment below the crate's
/// root. `modules` is the module that the code is.
pub fn imports(code: &str, modules: &[String]) -> Vec<(usize, String)> {
    let tokens = tokens(code);
    let word = |at: usize| tokens.get(at).map_or("", |(_, token)| token.as_str());
    let mut found = Vec::new();
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        let line = tokens[at].0;
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.retain(|opened| *opened <= depth);
            }
            "mod" if word(at + 2) == "{" => inline.push(depth + 1),
            "crate" if word(at + 1) == "::" => {
                found.extend(first_segments(&tokens, at + 2).into_iter().map(|to| (line, to)));
            }
            "super" if word(at + 1) == "::" => {
                let mut up = 1;
                while word(at + 2) == "super" && word(at + 3) == "::" {
                    (up, at) = (up + 1, at + 2);
                }
                match (modules.len() + inline.len()).saturating_sub(up) {
                    0 => found
                        .extend(first_segments(&tokens, at + 2).into_iter().map(|to| (line, to))),
                    _ => found.push((line, modules[0].clone())),
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first segment of the path at `at`, or those of each path of the group there.
fn first_segments(tokens: &[(usize, String)], at: usize) -> Vec<String> {
    let Some((_, first)) = tokens.get(at) else { return Vec::new() };
    if first != "{" {
        return vec![first.clone()];
    }
    let mut found = Vec::new();
    let mut depth = 0;
    let mut begins = true;
    for (_, token) in &tokens[at..] {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => begins = true,
            name if depth == 1 && begins => {
                found.push(name.to_owned());
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// Words and marks of `code`, each with its line.
fn tokens(code: &str) -> Vec<(usize, String)> {
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
