//! Words and options of other tools, with what to type here: a tip in the error, where clap would
//! offer the verb that is spelled most alike.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};

use super::{Cli, help};

/// Words, and what to type instead of any of them.
type Tips = &'static [(&'static [&'static str], &'static str)];

/// Words that other tools have for verbs, and what to type here.
const VERBS: Tips = &[
    (
        &["apply", "create", "deploy", "install", "provision", "run", "setup", "start", "sync"],
        "`labctl up` brings the lab to what the inventory says",
    ),
    (&["destroy", "reset", "teardown"], "`labctl down` removes the lab"),
    (
        &["delete", "remove", "rm"],
        "`labctl down` removes the lab, `labctl node remove NODE` one of its nodes",
    ),
    (
        &["reboot", "restart"],
        "`labctl node stop NODE`, then `labctl node start NODE`, restart a local node",
    ),
    (
        &["halt", "poweroff", "stop"],
        "`labctl down` removes the lab; `labctl node stop` stops a node",
    ),
    (
        &[
            "describe", "doctor", "get", "health", "info", "inspect", "list", "ls", "nodes", "ps",
            "show",
        ],
        "`labctl status` shows how the lab is",
    ),
    (
        &["check", "lint", "verify"],
        "`labctl validate` checks the inventory, `labctl smoke` the lab",
    ),
    (&["conformance", "test"], "`labctl smoke` checks the lab"),
    (&["diff", "dry-run", "preview"], "`labctl plan` shows what `labctl up` would change"),
    (
        &["attach", "console", "connect", "enter", "login", "sh", "shell"],
        "`labctl ssh NODE` opens a shell",
    ),
    (&["command", "pssh"], "`labctl exec -- COMMAND` runs it on all nodes"),
    (&["journal", "journalctl", "log"], "`labctl logs NODE [UNIT]` prints a node's journal"),
    (
        &["config", "context", "credentials"],
        "`labctl kubeconfig` prints it, or merges it into your own",
    ),
    (&["k"], "`labctl kubectl ARGUMENTS` runs kubectl"),
    (&["new", "generate"], "`labctl init` writes an inventory"),
    (&["add", "join", "scale"], "`labctl node add NODE` adds a node"),
    (&["drain", "leave"], "`labctl node remove NODE` takes a node out of the lab"),
    (&["backup", "save", "snapshot"], "`labctl etcd backup` writes one file"),
    (&["restore"], "`labctl etcd restore FILE` restores a backup"),
    (
        &["cert", "certificates", "pki", "renew"],
        "`labctl certs list` shows them, `labctl certs renew` renews them",
    ),
    (&["ansible", "playbooks", "tasks"], "`labctl play FILE` runs a playbook"),
    (&["docs", "runbook", "why"], "`labctl explain` says what is done, and why"),
    (&["download", "fetch", "pull"], "`labctl bundle pull` downloads the releases"),
    (&["completion"], "`labctl completions SHELL` prints them"),
    (&["version"], "`labctl --version` prints the version"),
    (&["update"], "set `kubernetes` in the inventory, and `labctl upgrade` takes the lab there"),
];

/// The same for words after `labctl node`.
const NODE_VERBS: Tips = &[
    (&["get", "list", "ls", "show", "status"], "`labctl status` shows the nodes"),
    (&["create", "join", "new"], "`labctl node add NODE` adds a node"),
    (
        &["delete", "destroy", "drain", "leave", "rm"],
        "`labctl node remove NODE` takes it out of the lab",
    ),
    (&["halt", "kill", "poweroff"], "`labctl node stop NODE` stops it"),
    (&["boot", "up"], "`labctl node start NODE` starts it"),
    (&["reboot", "restart"], "`labctl node stop NODE`, then `labctl node start NODE`"),
    (&["exec", "shell", "ssh"], "`labctl ssh NODE` opens a shell"),
];

/// Options by which other tools name what is an argument here.
const OPTIONS: Tips = &[
    (
        &["-c", "--config", "-f", "--file", "-i", "--inventory"],
        "the inventory is an argument: `labctl VERB inventory.yaml`; or set LABCTL_INVENTORY",
    ),
    (&["-l", "--nodes", "--hosts", "--target"], "`--limit NODE,..` names the nodes to work on"),
    (&["-n", "--dry-run", "--check"], "`labctl plan` shows what `labctl up` would change"),
    (&["-o", "--json", "--format"], "`--output json` is for programs"),
    (&["--force", "--auto-approve", "--no-confirm"], "`--yes` answers every question with yes"),
    (&["-q", "--quiet"], "the output can go to a file: `labctl ... > FILE`"),
    (&["-p", "--parallel", "--jobs", "-j"], "`--forks N` is how many nodes to work on at once"),
    (&["--debug", "--trace"], "`-v` reports every task, and each run has a log"),
];

/// Parses the command line. What cannot be parsed ends the process, with a tip where there is one.
pub fn parse() -> Cli {
    let mut command = help::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        let typed = std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned());
        with_tip(error.format(&mut command), typed).exit()
    })
}

/// Returns an error with a tip for who typed what another tool has.
fn with_tip(mut error: clap::Error, typed: impl Iterator<Item = String>) -> clap::Error {
    let kind = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return error,
    };
    let Some(ContextValue::String(word)) = error.get(kind) else { return error };
    let table = match kind {
        ContextKind::InvalidArg => OPTIONS,
        _ => words_after(group_before(word, typed).as_deref()),
    };
    let Some(tip) = tip(table, word) else { return error };
    for other in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
        error.remove(other);
    }
    let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
    error.insert(ContextKind::Suggested, tips);
    error
}

/// Returns the verb that has verbs of its own, after which `word` was typed.
fn group_before(word: &str, typed: impl Iterator<Item = String>) -> Option<String> {
    let before = typed.take_while(|it| it != word).filter(|it| !it.starts_with('-')).last()?;
    let root = Cli::command();
    root.find_subcommand(&before).filter(|verb| verb.has_subcommands()).map(|_| before)
}

/// The words of other tools after a verb that has verbs of its own, or after none.
fn words_after(group: Option<&str>) -> Tips {
    match group {
        None => VERBS,
        Some("node") => NODE_VERBS,
        Some(_) => &[],
    }
}

fn tip(table: Tips, word: &str) -> Option<&'static str> {
    let word = word.split('=').next().unwrap_or(word);
    table.iter().find(|(words, _)| words.contains(&word)).map(|(_, tip)| *tip)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn said(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let error = Cli::try_parse_from(&words).expect_err(line);
        with_tip(error, words.into_iter().skip(1)).to_string()
    }

    #[test]
    fn words_of_other_tools_get_a_tip() {
        for (line, right) in [
            ("labctl destroy", "`labctl down`"),
            ("labctl create lab.yaml", "`labctl up`"),
            ("labctl list", "`labctl status`"),
            ("labctl shell worker-0", "`labctl ssh NODE`"),
            ("labctl node list", "`labctl status`"),
            ("labctl -v node ls", "`labctl status`"),
            ("labctl node rm worker-0", "`labctl node remove NODE`"),
            ("labctl --limit a destroy", "`labctl down`"),
            ("labctl up -f lab.yaml", "the inventory is an argument"),
            ("labctl up --inventory=lab.yaml", "the inventory is an argument"),
            ("labctl down --auto-approve", "`--yes`"),
        ] {
            let said = said(line);
            assert!(said.contains("tip: ") && said.contains(right), "{line}: {said}");
            assert_eq!(said.matches("tip: ").count(), 1, "{line}: {said}");
        }
    }

    #[test]
    fn a_slip_still_gets_the_verb_that_was_meant() {
        assert!(said("labctl stauts").contains("a similar subcommand exists: 'status'"));
        assert!(said("labctl up --limt a").contains("a similar argument exists: '--limit'"));
        assert!(!said("labctl blubb").contains("tip: "));
        // What a group of verbs removes or lists is not the lab.
        for line in ["labctl workshop destroy", "labctl playbook rm", "labctl certs show"] {
            assert!(!said(line).contains("`labctl"), "{line}: {}", said(line));
        }
    }

    #[test]
    fn no_tip_is_for_a_verb_that_exists_and_every_verb_in_a_tip_does() {
        let command = Cli::command();
        for (table, command) in
            [(VERBS, &command), (NODE_VERBS, command.find_subcommand("node").expect("node"))]
        {
            for (words, _) in table {
                for word in *words {
                    assert!(command.find_subcommand(word).is_none(), "labctl {word} exists");
                }
            }
        }
        let tips = VERBS.iter().chain(NODE_VERBS).chain(OPTIONS).map(|(_, tip)| *tip);
        for tip in tips {
            let lines = tip.split('`').skip(1).step_by(2);
            for line in lines.filter_map(|it| it.strip_prefix("labctl ")) {
                let mut at = &command;
                for word in line.split(' ').take_while(|word| word.starts_with(char::is_lowercase))
                {
                    let below = at.find_subcommand(word);
                    at = match below {
                        Some(below) => below,
                        None if at.has_subcommands() => panic!("{tip}: there is no {word}"),
                        None => break,
                    };
                }
            }
        }
    }

    #[test]
    fn each_word_has_one_tip() {
        for table in [VERBS, NODE_VERBS, OPTIONS] {
            let mut words: Vec<&str> =
                table.iter().flat_map(|(words, _)| *words).copied().collect();
            let all = words.len();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), all);
        }
    }
}
