//! The tokens of OpenSSH's files (ssh_config(5), "TOKENS"): `%h`, `%r`, `~/`, `${HOME}`.

use std::env;
use std::path::PathBuf;

/// What tokens stand for, of one host.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Tokens<'a> {
    /// `%n`: the host as it was asked for.
    pub(in super::super) asked: &'a str,
    /// `%h`: the host to connect to.
    pub(in super::super) host: &'a str,
    /// `%p`: the port.
    pub(in super::super) port: u16,
    /// `%r`: the user there.
    pub(in super::super) user: &'a str,
    /// `%k`: the name that its host key has.
    pub(in super::super) alias: &'a str,
}

impl Tokens<'_> {
    /// `text` with what its tokens stand for. What is none stays as it is.
    pub(in super::super) fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                expanded.push(letter);
                continue;
            }
            match letters.next() {
                Some('%') => expanded.push('%'),
                Some('n') => expanded.push_str(self.asked),
                Some('h') => expanded.push_str(self.host),
                Some('p') => expanded.push_str(&self.port.to_string()),
                Some('r') => expanded.push_str(self.user),
                Some('k') => expanded.push_str(self.alias),
                Some('u') => expanded.push_str(&local_user()),
                Some('i') => expanded.push_str(&rustix::process::getuid().as_raw().to_string()),
                Some('d') => {
                    let home = env::home_dir().unwrap_or_default();
                    expanded.push_str(&home.to_string_lossy());
                }
                other => {
                    expanded.push('%');
                    expanded.extend(other);
                }
            }
        }
        expanded
    }

    /// The path that `text` means: `~/` is the home directory, `${NAME}` is of the environment.
    pub(in super::super) fn path(&self, text: &str) -> PathBuf {
        let text = variables(&self.expand(text));
        match (text.strip_prefix("~/"), env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        }
    }
}

/// The name of who runs labctl, as the environment has it.
pub(in super::super) fn local_user() -> String {
    let named = |name| env::var(name).ok().filter(|user| !user.is_empty());
    named("USER").or_else(|| named("LOGNAME")).unwrap_or_else(|| "root".to_owned())
}

/// `text` with the values of `${NAME}`; of a name that is not set, nothing.
fn variables(text: &str) -> String {
    let mut parts = text.split("${");
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((name, rest)) => {
                expanded.push_str(&env::var(name).unwrap_or_default());
                expanded.push_str(rest);
            }
            None => {
                expanded.push_str("${");
                expanded.push_str(part);
            }
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_for_what_they_do_in_openssh() {
        let tokens = Tokens { asked: "n", host: "h.example", port: 23, user: "ops", alias: "k" };
        assert_eq!(
            tokens.expand("nc %h %p %r@%n %k 100%% %x %"),
            "nc h.example 23 ops@n k 100% %x %"
        );
        let home = env::home_dir().expect("a home");
        assert_eq!(tokens.path("~/.ssh/%h.pem"), home.join(".ssh/h.example.pem"));
        assert_eq!(tokens.path("%d/key"), home.join("key"));
        assert_eq!(tokens.path("/a/${LABCTL_NO_SUCH_NAME}b${"), PathBuf::from("/a/b${"));
    }
}
