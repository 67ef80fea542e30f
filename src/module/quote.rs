//! Quoting for POSIX shells.

use std::borrow::Cow;

/// Returns `text` as one shell word: unchanged if that is safe, otherwise in single quotes.
///
/// In single quotes a POSIX shell takes everything literally except the quote itself, which is
/// written `'\''`.
pub fn quote(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+=:,@%^".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn safe_words_are_unchanged() {
        assert_eq!(quote("/etc/kubernetes/pki/ca.crt"), "/etc/kubernetes/pki/ca.crt");
    }

    #[test]
    fn everything_else_is_one_word_to_a_real_shell() {
        for text in
            ["", "a b", "it's", "$HOME", "`id`", "a\nb", "\\", "*", "~", "#x", "''", "\"'\""]
        {
            let script = format!("printf %s {}", quote(text));
            let output =
                std::process::Command::new("sh").arg("-c").arg(&script).output().expect("sh runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), text, "{script}");
        }
    }
}
