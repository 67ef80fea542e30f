//! The command line with its help: that of a verb shows the global options that the verb uses, and
//! says where the others are.

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;

/// What verbs use that change the whole lab.
const CHANGES: &str = "output take_over forks spread diff verbose";

/// The global options that each verb uses.
const USED: &[(&str, &str)] = &[
    ("init", "output take_over forks"),
    ("up", "limit output take_over forks spread diff verbose"),
    ("plan", "limit output take_over forks diff verbose"),
    ("down", "limit output take_over forks spread yes diff verbose"),
    ("upgrade", CHANGES),
    ("node add", CHANGES),
    ("node remove", "output take_over forks spread yes diff verbose"),
    ("node stop", "output"),
    ("node start", "output"),
    ("smoke", "output take_over forks"),
    ("status", "limit output forks"),
    ("support", "limit forks"),
    ("validate", "output"),
    ("render", "limit"),
    ("explain", "limit"),
    ("graph", "limit forks"),
    ("play", "limit output take_over forks spread diff verbose"),
    ("image load", "limit output take_over forks spread diff verbose"),
    ("exec", "limit output forks"),
    ("logs", "output"),
    ("kubectl", ""),
    ("ssh", ""),
    ("timeline", "output verbose"),
    ("certs list", "limit output forks"),
    ("certs renew", CHANGES),
    ("certs rotate-ca", CHANGES),
    ("kubeconfig", ""),
    ("etcd backup", "limit output take_over forks"),
    ("etcd restore", "limit output take_over forks spread yes diff verbose"),
    ("etcd rotate-key", CHANGES),
    ("recover", "output take_over forks"),
    ("workshop up", "output take_over forks"),
    ("workshop image", ""),
    ("workshop submit", "take_over forks"),
    ("workshop slice", ""),
    ("workshop cards", ""),
    ("workshop down", "output take_over forks yes"),
    ("bundle pull", "output"),
    ("bundle list", ""),
    ("bundle verify", ""),
    ("playbook list", ""),
    ("playbook show", ""),
    ("playbook export", ""),
    ("schema", ""),
    ("completions", ""),
    ("man", ""),
];

/// Where the other global options are.
const OTHERS: &str = "`labctl --help` shows the options that all verbs have.";

/// Returns the command line.
pub(super) fn command() -> Command {
    let root = Cli::command();
    let globals: Vec<Arg> = root.get_arguments().filter(|it| it.is_global_set()).cloned().collect();
    root.mut_subcommands(|verb| with_its_own(verb, "", &globals))
}

/// Returns a verb, and those below it, with a help without the global options that it ignores.
fn with_its_own(verb: Command, above: &str, globals: &[Arg]) -> Command {
    let path = format!("{above} {}", verb.get_name()).trim().to_owned();
    let used = USED.iter().find(|(name, _)| *name == path).map_or("", |(_, used)| *used);
    let ignored = |option: &&Arg| !used.split(' ').any(|name| option.get_id() == name);
    let hidden = globals.iter().filter(ignored).map(|option| option.clone().hide(true));
    let after = match verb.get_after_help() {
        Some(after) => format!("{after}\n\n{OTHERS}"),
        None => OTHERS.to_owned(),
    };
    verb.args(hidden).after_help(after).mut_subcommands(|below| with_its_own(below, &path, globals))
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn leaves(command: &Command, above: &str, found: &mut Vec<String>) {
        for verb in command.get_subcommands() {
            let path = format!("{above} {}", verb.get_name()).trim().to_owned();
            match verb.get_subcommands().next() {
                Some(_) => leaves(verb, &path, found),
                None => found.push(path),
            }
        }
    }

    fn help_of(verb: &str) -> String {
        let words = std::iter::once("labctl").chain(verb.split(' ')).chain(["-h"]);
        let error = command().try_get_matches_from(words).expect_err("help");
        assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{verb}");
        error.to_string()
    }

    #[test]
    fn the_table_has_every_verb_and_no_other_and_only_options_that_exist() {
        let mut verbs = Vec::new();
        leaves(&Cli::command(), "", &mut verbs);
        let named: Vec<&str> = USED.iter().map(|(name, _)| *name).collect();
        assert_eq!(verbs, named);
        let root = Cli::command();
        for option in USED.iter().flat_map(|(_, used)| used.split_whitespace()) {
            let is_it = |known: &Arg| known.is_global_set() && known.get_id() == option;
            assert!(root.get_arguments().any(is_it), "{option}");
        }
    }

    #[test]
    fn the_help_of_a_verb_shows_what_it_uses() {
        command().debug_assert();
        assert!(help_of("up").contains("--limit") && help_of("up").contains("--spread"));
        let kubeconfig = help_of("kubeconfig");
        for option in ["--limit", "--spread", "--take-over", "--forks", "Global options"] {
            assert!(!kubeconfig.contains(option), "{kubeconfig}");
        }
        assert!(kubeconfig.ends_with(&format!("{OTHERS}\n")), "{kubeconfig}");
        assert!(!help_of("upgrade").contains("--limit"));
    }

    #[test]
    fn a_hidden_option_still_works_anywhere() {
        for line in ["labctl kubeconfig --output json", "labctl --output json kubeconfig"] {
            let matches = command().try_get_matches_from(line.split(' ')).expect(line);
            assert_eq!(
                matches.get_one::<crate::report::OutputFormat>("output"),
                Some(&crate::report::OutputFormat::Json)
            );
        }
    }
}
