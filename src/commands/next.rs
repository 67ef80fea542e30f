//! What to type next: a command with the options that this run had, because without them it would
//! do something else.

use std::path::Path;

use crate::cli::{Global, Sources, Spread};
use crate::module::quote;

/// `labctl VERB INVENTORY` as it is typed for a run like this one: with the same playbooks and
/// templates, limited to the same nodes.
pub fn again(verb: &str, inventory: &Path, sources: &Sources, global: &Global) -> String {
    let mut line = format!("labctl {verb} {}", quote(&inventory.display().to_string()));
    let mut option =
        |name: &str, value: &str| line.push_str(&format!(" --{name} {}", quote(value)));
    if let Some(folder) = &sources.playbooks {
        option("playbooks", &folder.display().to_string());
    }
    if let Some(folder) = &sources.templates {
        option("templates", &folder.display().to_string());
    }
    if !global.limit.is_empty() {
        option("limit", &global.limit.join(","));
    }
    if !global.take_over.is_empty() {
        option("take-over", &global.take_over.join(","));
    }
    match global.spread {
        Spread::Auto => {}
        Spread::Always => option("spread", "always"),
        Spread::Never => option("spread", "never"),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(limit: &[&str], spread: Spread) -> Global {
        Global {
            output: crate::report::Output::Text,
            limit: limit.iter().map(|&name| name.to_owned()).collect(),
            take_over: Vec::new(),
            forks: std::num::NonZeroUsize::MIN,
            spread,
            yes: false,
            diff: false,
            verbose: false,
        }
    }

    #[test]
    fn the_options_of_a_run_are_repeated() {
        let none = Sources { playbooks: None, templates: None };
        let plain = again("up", Path::new("lab.yaml"), &none, &global(&[], Spread::Auto));
        assert_eq!(plain, "labctl up lab.yaml");
        let mine = Sources {
            playbooks: Some("my books".into()),
            templates: Some("mine/templates".into()),
        };
        assert_eq!(
            again(
                "certs rotate-ca",
                Path::new("it's.yaml"),
                &mine,
                &global(&["a", "b"], Spread::Never)
            ),
            r"labctl certs rotate-ca 'it'\''s.yaml' --playbooks 'my books' --templates mine/templates --limit a,b --spread never"
        );
    }
}
