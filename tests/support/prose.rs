//! The prose in Rust sources: string literals and doc comments, and the search for turns in it.

/// Every line of prose with its number: string literals (escapes as written) and `///` and `//!`
/// comments.
pub fn of(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = source;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let (taken, prose) = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            let doc = rest[..end].strip_prefix("///").or_else(|| rest[..end].strip_prefix("//!"));
            (end, doc)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), None)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !is_word(before)) {
            let begin = rest.find('"').map_or(rest.len(), |at| at + 1);
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[begin..].find(&close).map_or(rest.len(), |end| begin + end);
            ((end + close.len()).min(rest.len()), Some(&rest[begin..end]))
        } else if c == '"' {
            let end = end_of_string(&rest[1..]);
            ((end + 2).min(rest.len()), Some(&rest[1..=end]))
        } else if c == '\'' {
            (length_of_char(rest), None)
        } else {
            (c.len_utf8(), None)
        };
        for (index, text) in prose.unwrap_or_default().lines().enumerate() {
            found.push((line + index, text.to_owned()));
        }
        line += rest[..taken].matches('\n').count();
        before = rest[..taken].chars().next_back().unwrap_or(' ');
        rest = &rest[taken..];
    }
    found
}

/// Whether `text` has `turn` as whole words, in any case; `*` in it is one word.
pub fn has_turn(text: &str, turn: &str) -> bool {
    let words: Vec<String> =
        text.split(|c: char| !is_word(c) && c != '-').map(str::to_lowercase).collect();
    let words: Vec<&String> = words.iter().filter(|word| !word.is_empty()).collect();
    let turn: Vec<&str> = turn.split(' ').collect();
    words
        .windows(turn.len())
        .any(|some| some.iter().zip(&turn).all(|(word, wanted)| *wanted == "*" || *word == wanted))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The number of hashes of a raw string that begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Where a string ends that began before `rest`: the place of its closing quote.
fn end_of_string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    rest.len()
}

/// How long the character literal is that begins here; one for a lifetime.
fn length_of_char(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(1, |end| end + 4),
        Some((at, c)) if rest[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{has_turn, of};

    #[test]
    fn prose_is_strings_and_docs() {
        let source = "//! a\nfn f<'x>(c: char) { c == '\"'; c == '\\''; // no\n \"b \\\" c\"; \
            r#\"d \"e\"#; }\n/// f\n";
        let lines: Vec<(usize, String)> = of(source);
        let lines: Vec<(usize, &str)> =
            lines.iter().map(|(line, text)| (*line, text.trim())).collect();
        assert_eq!(lines, [(1, "a"), (3, "b \\\" c"), (3, "d \"e"), (4, "f")]);
    }

    #[test]
    fn a_turn_is_found_as_words() {
        assert!(has_turn("`x` is no node of this lab", "is no * of"));
        assert!(has_turn("is told of once", "told of"));
        assert!(!has_turn("renewed anewly", "anew") && !has_turn("this is now known", "is no"));
    }
}
