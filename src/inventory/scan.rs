//! Finds places in a YAML text, in bytes.

pub(super) fn is_blank_or_comment(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// Returns the byte offset of a column, which counts characters from 1.
pub(super) fn byte_of(line: &str, column: usize) -> usize {
    line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(byte, _)| byte)
}

/// Returns the length of a bracketed text, up to the closing bracket.
pub(super) fn closed(text: &str) -> usize {
    let (mut depth, mut quote, mut comment, mut last) = (0_usize, None, false, ' ');
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('\n', _) if comment => comment = false,
            _ if comment => {}
            (c, Some(open)) if c == open && !(open == '"' && last == '\\') => quote = None,
            (_, Some(_)) => {}
            // In any other position, a quote is an ordinary character.
            ('"' | '\'', None) if matches!(last, ' ' | '[' | '{' | ',' | ':' | '\n') => {
                quote = Some(c)
            }
            ('#', None) if last.is_whitespace() => comment = true,
            ('{' | '[', None) => depth += 1,
            ('}' | ']', None) => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        last = c;
    }
    text.len()
}
