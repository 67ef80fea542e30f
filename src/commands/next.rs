//! What to type next: a command with the options that this run had, as far as the command takes
//! them, because without them it would do something else.

use super::options::Options;
use crate::engine::Spread;
use crate::module::quote;

/// A command that is suggested, and which of a run's options it takes.
struct Suggestion {
    verb: &'static str,
    /// What is named after the inventory, as an example.
    names: &'static [&'static str],
    /// `--playbooks` and `--templates`.
    sources: bool,
    /// `--limit`.
    limit: bool,
    /// `--until`.
    until: bool,
    /// `--take-over` and `--spread`: it changes nodes.
    changes: bool,
}

const fn suggestion(verb: &'static str, [sources, limit, changes]: [bool; 3]) -> Suggestion {
    Suggestion { verb, names: &[], sources, limit, until: false, changes }
}

const fn naming(suggestion: Suggestion) -> Suggestion {
    Suggestion { names: &["name"], ..suggestion }
}

const fn in_part(suggestion: Suggestion) -> Suggestion {
    Suggestion { until: true, ..suggestion }
}

/// Every command that labctl suggests.
const SUGGESTIONS: &[Suggestion] = &[
    in_part(suggestion("up", [true, true, true])),
    in_part(suggestion("plan", [true, true, true])),
    suggestion("play", [true, true, true]),
    suggestion("down", [true, true, true]),
    suggestion("upgrade", [true, false, true]),
    suggestion("smoke", [false, false, false]),
    suggestion("recover", [false, false, true]),
    // What several nodes share has to reach all of them, so these take no --limit.
    naming(suggestion("node remove", [true, false, true])),
    Suggestion {
        names: &["name", "--role", "worker"],
        ..suggestion("node add", [true, false, true])
    },
    naming(suggestion("node start", [false, false, false])),
    suggestion("certs list", [false, true, false]),
    naming(suggestion("certs renew", [true, false, true])),
    suggestion("certs rotate-ca", [true, false, true]),
    naming(suggestion("etcd restore", [true, true, true])),
];

/// `labctl VERB INVENTORY` as it is typed for a run like this one.
pub fn command(verb: &str, options: &Options) -> String {
    command_with(verb, options, &[])
}

/// `labctl play PLAYBOOK INVENTORY` as it is typed for a run like this one.
pub fn playing(playbook: &str, options: &Options) -> String {
    line("play", &[playbook], options, &[])
}

/// As [`command`], with `words` after the inventory.
pub fn command_with(verb: &str, options: &Options, words: &[&str]) -> String {
    line(verb, &[], options, words)
}

/// A command with words before and after the inventory.
fn line(verb: &str, before: &[&str], options: &Options, after: &[&str]) -> String {
    let mut line = format!("labctl {verb}");
    let inventory = options.inventory.display().to_string();
    let words = before.iter().copied().chain([inventory.as_str()]).chain(after.iter().copied());
    words.for_each(|word| line.push_str(&format!(" {}", quote(word))));
    let Some(takes) = SUGGESTIONS.iter().find(|it| it.verb == verb) else { return line };
    let mut option =
        |name: &str, value: &str| line.push_str(&format!(" --{name} {}", quote(value)));
    if takes.sources {
        for (name, directory) in
            [("playbooks", &options.playbooks), ("templates", &options.templates)]
        {
            if let Some(directory) = directory {
                option(name, &directory.display().to_string());
            }
        }
    }
    if takes.limit && !options.limit.is_empty() {
        option("limit", &options.limit.join(","));
    }
    if let Some(play) = options.until.as_ref().filter(|_| takes.until) {
        option("until", play);
    }
    if takes.changes && !options.take_over.is_empty() {
        option("take-over", &options.take_over.join(","));
    }
    match options.spread {
        Spread::Always if takes.changes => option("spread", "always"),
        Spread::Never if takes.changes => option("spread", "never"),
        _ => {}
    }
    line
}

/// Every command that labctl suggests, for a run that had all options: they have to be such as can
/// be typed.
pub fn examples(options: &Options) -> Vec<String> {
    SUGGESTIONS.iter().map(|it| command_with(it.verb, options, it.names)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_run_are_repeated() {
        let plain = Options::of("lab.yaml");
        assert_eq!(command("up", &plain), "labctl up lab.yaml");
        let all = Options {
            playbooks: Some("my books".into()),
            templates: Some("mine/templates".into()),
            limit: vec!["a".to_owned(), "b".to_owned()],
            until: Some("etcd".to_owned()),
            spread: Spread::Never,
            ..Options::of("it's.yaml")
        };
        let shared = r"'it'\''s.yaml' --playbooks 'my books' --templates mine/templates";
        assert_eq!(
            command("up", &all),
            format!("labctl up {shared} --limit a,b --until etcd --spread never")
        );
        assert_eq!(
            command("certs rotate-ca", &all),
            format!("labctl certs rotate-ca {shared} --spread never"),
            "no --limit for a command that refuses it"
        );
        assert_eq!(command("smoke", &all), r"labctl smoke 'it'\''s.yaml'");
        assert_eq!(
            playing("my motd.yaml", &all),
            format!("labctl play 'my motd.yaml' {shared} --limit a,b --spread never")
        );
    }

    #[test]
    fn a_command_that_is_not_suggested_takes_nothing() {
        let limited = Options { limit: vec!["a".to_owned()], ..Options::of("lab.yaml") };
        assert_eq!(command("validate", &limited), "labctl validate lab.yaml");
    }
}
