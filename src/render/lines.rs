//! Standalone tags: a line that contains only a tag leaves no empty line in the rendered file.
//!
//! Without this, every `{% if %}` on a line of its own would need `{%- if -%}` with dashes in the
//! right places. The end of the line is moved *into* the tag, where it has no effect, so that line
//! numbers in error messages still match the file.

/// Moves the indentation and the end of each line with a single tag into that tag.
pub(super) fn standalone_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for line in source.split_inclusive('\n') {
        match standalone(line) {
            Some((indent, open, body, close)) => {
                out.push_str(open);
                out.push_str(indent);
                out.push_str(body);
                out.push('\n');
                out.push_str(close);
            }
            None => out.push_str(line),
        }
    }
    out
}

/// Returns indentation, opening, body and closing of a line that contains exactly one `{% .. %}` or
/// `{# .. #}`.
fn standalone(line: &str) -> Option<(&str, &str, &str, &str)> {
    let content = line.strip_suffix('\n')?;
    let trimmed = content.trim_start();
    let indent = &content[..content.len() - trimmed.len()];
    let trimmed = trimmed.trim_end();
    [("{%", "%}"), ("{#", "#}")].into_iter().find_map(|(open, close)| {
        let body = trimmed.strip_prefix(open)?.strip_suffix(close)?;
        // Two tags on a line, or explicit whitespace control: leave the line alone.
        let plain = !body.contains(close) && !body.starts_with('-') && !body.ends_with('-');
        plain.then_some((indent, &trimmed[..2], body, &trimmed[trimmed.len() - 2..]))
    })
}

#[cfg(test)]
mod tests {
    use super::standalone_tags;

    #[test]
    fn a_standalone_tag_removes_its_line_end() {
        assert_eq!(standalone_tags("a\n  {% if x %}\nb\n"), "a\n{%   if x \n%}b\n");
        assert_eq!(standalone_tags("{# why #}\nb"), "{# why \n#}b");
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "a {% if x %}\n",
            "{% if x %}a{% endif %}\n",
            "{%- if x -%}\n",
            "{{ x }}\n",
            "",
            "{% if x %}",
        ] {
            assert_eq!(standalone_tags(text), text);
        }
    }

    #[test]
    fn line_numbers_stay() {
        let text = "a\n{% if x %}\nb\n{% endif %}\nc\n";
        assert_eq!(standalone_tags(text).lines().count(), text.lines().count());
    }
}
