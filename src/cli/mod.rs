//! The command line: what can be typed, and which operation of `commands` that calls. What an
//! operation does is in `commands`, what it prints in `report`.

mod bundle;
mod certs;
mod complete;
mod etcd;
mod global;
mod habit;
mod help;
mod image;
mod init;
mod lab;
mod man;
mod node;
mod run;
mod shell;
mod target;
mod timeline;
mod upgrade;
mod workshop;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use self::bundle::{BundleVerb, PlaybookVerb};
use self::certs::{CertsVerb, KubeconfigArgs};
use self::etcd::{EtcdVerb, RecoverArgs};
use self::global::GlobalArgs;
use self::image::ImageVerb;
use self::init::InitArgs;
use self::lab::{
    ConvergeArgs, DownArgs, ExecArgs, ExplainArgs, GraphArgs, KubectlArgs, LabArgs, LogsArgs,
    PlayArgs, RenderArgs, SshArgs, StatusArgs, SupportArgs, UpArgs,
};
use self::node::NodeVerb;
use self::timeline::TimelineArgs;
use self::upgrade::UpgradeArgs;
use self::workshop::WorkshopVerb;

pub use self::habit::parse;
pub use self::run::run;
pub use self::shell::answer as answer_a_shell;

const ABOUT: &str =
    "Real Kubernetes labs over SSH: the cluster you would have built by hand, in about a minute";

const LONG_ABOUT: &str = "\
labctl turns machines into a Kubernetes lab: plain upstream binaries and systemd units, nothing \
    hidden.

An inventory declares the nodes and what each of them is for. `labctl up` compares them with it \
    and changes what \
differs: the first time that is everything, after that it is what you changed. If you have no \
    machines, an inventory \
with `local:` makes the nodes on the workstation.

Every step is data: `labctl plan` shows what would change, `labctl explain` shows why, with the \
    shell commands that \
each step stands for.";

const AFTER_HELP: &str = "\
Examples:
  labctl init                    write an inventory: local nodes, or machines that you name
  labctl up                      bring up the lab of ./inventory.yaml
  labctl plan prod.yaml          show what `up` would change, and change nothing
  labctl explain etcd            what the play does, why, and how to do it by hand
  labctl ssh worker-0            a shell on a node
  labctl down                    remove the lab and leave nothing behind

Exit codes:
  0    done; for `plan`: nothing to do
  1    failed
  2    bad usage, or a bad inventory or playbook: nothing was done
  3    pending: `plan` found changes, `certs list` a certificate that expires soon, `status` a fault
  130  stopped by answering no, or by Ctrl-C, TERM or HUP: running tasks finish, a second stops them

Global options but --take-over can also be set in the environment: LABCTL_OUTPUT=json.";

/// Everything that can be typed after `labctl`.
#[derive(Debug, Parser)]
#[command(name = "labctl", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    /// Options that every verb has.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write an inventory: for local nodes, or for machines that it logs in to and looks at
    #[command(
        long_about = "\
Write an inventory: for local nodes, or for machines that it logs in to and looks at.

Without machines it is a lab of local nodes, which labctl makes on the workstation. With machines, \
            labctl logs in to each, changes nothing there, and proposes names, roles, addresses \
            and networks. It overwrites no file.",
        after_help = "\
Examples:
  labctl init                                     one controller and two workers, as local nodes
  labctl init --controllers 3 --workers 2         the same with a load balancer
  labctl init --like sandbox                      a lab that is shipped
  labctl init root@192.0.2.10 root@192.0.2.11     your own machines, the first as the controller
  labctl init --to prod.yaml --controllers 3 admin@node-{1,2,3,4,5}.example.org"
    )]
    Init(InitArgs),
    /// Bring the lab to what the inventory says
    #[command(long_about = "\
Bring the lab to what the inventory says.

The first run, a run after a failure, after a change of the inventory or with a new node: it is \
        always the same \
command. It can be interrupted at any time and run again. Nodes that are as declared cost one \
        round trip and are left \
alone.")]
    Up(UpArgs),
    /// Show what `up` would change, and change nothing
    #[command(long_about = "\
Show what `up` would do, and do nothing: what is made (+), altered or restarted (~), stopped (-) \
        and run (>), with \
the differing lines of every text file. For a secret it shows only that it differs.

Exits with 0 when there is nothing to do, with 3 when there are changes, and with 1 when nodes \
        could not be probed; \
the plan then leaves them out.")]
    Plan(ConvergeArgs),
    /// Remove the lab from its nodes and leave nothing behind
    #[command(long_about = "\
Remove the lab from its nodes and leave nothing behind.

It removes what the record on each node lists, and restores what that replaced; it touches \
        nothing else. The cluster \
does not have to work for that. Nodes that cannot be reached are named while the others are done: \
        run it again when \
they can be reached. What cannot be removed is named too, and stays in the record.

Local nodes are removed whole, and the lab directory with them. Where the nodes stay, the lab \
        directory stays too: with \
its certificates the next `up` makes a lab that accepts the same kubeconfigs. `down` also works \
        without it, once the \
nodes' host keys are known again. Delete it when the lab is not to come back.")]
    Down(DownArgs),
    /// Take the lab to another version of Kubernetes while it serves
    #[command(
        long_about = "\
Take the lab to another version of Kubernetes while it serves.

One minor release after another, each step whole before the next: the controllers one at a time, \
            then the workers, emptied of pods first, then what runs on them. Nothing is touched \
            before the bundle of every step is at hand and a backup is written. A step that fails \
            stops with a lab that serves, and the same command resumes. There is no way back but \
            the backup.",
        after_help = "\
Examples:
  labctl upgrade                         to the version that the inventory has now
  labctl upgrade prod.yaml --to 1.37.2   sets the version in the inventory, too
  labctl upgrade --at-once 3             three workers at a time"
    )]
    Upgrade(UpgradeArgs),
    /// Add a node to the lab, or take one out of it
    #[command(subcommand)]
    Node(NodeVerb),
    /// Check that the lab works, from the outside
    Smoke(LabArgs),
    /// Show how the lab is: what is wrong first, with the command that mends it
    #[command(
        long_about = "\
Show how the lab is, on one screen: what is wrong first, each with the command that mends it; \
            nodes, units, certificates, etcd, the ways to the API, pods, and what `up` would \
            change.

It changes nothing. All nodes are asked at once over SSH, and one that does not answer costs a few \
            seconds. The exit code is 0 when all is well, 3 when something is wrong, and 1 when no \
            node could be asked.",
        after_help = "\
Examples:
  labctl status
  labctl status prod.yaml --limit worker-0,worker-1
  labctl status --watch                      look again every two seconds; q ends it
  labctl status --html status.html           the same as a page to keep or to send
  labctl status --output json | jq .findings"
    )]
    Status(StatusArgs),
    /// Gather what a bug report needs into one file, without any secret
    #[command(long_about = "\
Gather what a bug report needs into one file: versions, the inventory, the status, the log of the \
        last run, and of every node its units, their journals, disks, addresses and routes.

Keys, tokens, passwords and kubeconfigs are not read, and what looks like one in a journal or in \
        the inventory is masked. Names and addresses of machines are in it: look before you send \
        it.")]
    Support(SupportArgs),
    /// Check the inventory and report every mistake in it; opens no connection
    Validate(LabArgs),
    /// Print the files that `up` would put on the nodes
    #[command(after_help = "\
Examples:
  labctl render --limit controller-0
  labctl render --limit worker-0 --file kubelet.service
  labctl render --to out/        one directory per node, laid out as on the node")]
    Render(RenderArgs),
    /// Explain each step: what, why, and the commands to do it by hand
    #[command(after_help = "\
Examples:
  labctl explain                                 the whole runbook
  labctl explain etcd                            one play
  labctl explain --limit worker-0 > worker-0.md  everything one node goes through
  labctl explain --format shell > by-hand.sh     a script that does it without labctl")]
    Explain(ExplainArgs),
    /// Draw the plays and their order
    Graph(GraphArgs),
    /// Run a playbook
    Play(PlayArgs),
    /// Load images from a file
    #[command(subcommand)]
    Image(ImageVerb),
    /// Run a command on many nodes at once
    #[command(
        long_about = "\
Run a command on many nodes at once, as root: on all of them, or on those that are named: \
            `worker-0`, `workers`, `'worker-*'`. Each \
            line of its output begins with the name of the node. The exit code is 0 if the command \
            succeeded on every node.",
        after_help = "\
Examples:
  labctl exec -- uptime
  labctl exec worker-0 worker-1 -- 'systemctl is-active kubelet containerd'
  labctl exec workers -- crictl ps
  labctl exec prod.yaml controller-0 -- journalctl -u etcd -f"
    )]
    Exec(ExecArgs),
    /// Print the journal of a node's units
    #[command(
        long_about = "\
Print the journal of a node: of the units that the lab runs there, or of one unit, by its name or \
            its program's.",
        after_help = "\
Examples:
  labctl logs controller-0                     all of the lab's units there
  labctl logs worker-0 kubelet -f
  labctl logs prod.yaml worker-0 containerd --since -10min"
    )]
    Logs(LogsArgs),
    /// Run kubectl as the administrator of the lab
    #[command(
        long_about = "\
Run kubectl as the administrator of the lab: the bundle's kubectl, which has the lab's version, or \
            the one that is installed here.",
        after_help = "\
Examples:
  labctl kubectl get nodes
  labctl kubectl prod.yaml -n kube-system logs deployment/coredns"
    )]
    Kubectl(KubectlArgs),
    /// Open a shell on a node, or run a command there
    #[command(after_help = "\
Examples:
  labctl ssh controller-0
  labctl ssh prod.yaml worker-1 journalctl -u kubelet -n 50")]
    Ssh(SshArgs),
    /// Show where the time of a run went
    #[command(
        long_about = "\
Show where the time of a run went: a chart of what every node did when, from the run's log.

Bars on the critical path are marked: the run could not end without them, each waiting for the \
            one before it. Making \
anything else faster does not make the run shorter.",
        after_help = "\
Examples:
  labctl timeline                                 the last run of ./inventory.yaml's lab
  labctl timeline prod.yaml 2026-11-21T10-12-03Z  one of those that --list shows
  labctl timeline --html run.html                 the same as a page to keep or to send"
    )]
    Timeline(TimelineArgs),
    /// List the lab's certificates, renew them, or replace the CAs
    #[command(subcommand)]
    Certs(CertsVerb),
    /// Print a kubeconfig, the administrator's or a new user's, or merge it into your own
    #[command(long_about = "\
Print the administrator's kubeconfig, or one for a new user, or merge either into your own.

A new user has no rights until you bind the user or the group to a role.")]
    #[command(after_help = "\
Examples:
  labctl kubeconfig > lab.conf
  labctl kubeconfig --merge                              into $KUBECONFIG or ~/.kube/config
  labctl kubeconfig --user jane --group dev > jane.conf
  kubectl create clusterrolebinding dev --clusterrole=view --group=dev")]
    Kubeconfig(KubeconfigArgs),
    /// Back up etcd, restore a backup, or replace the key of Secrets
    #[command(subcommand)]
    Etcd(EtcdVerb),
    /// Rebuild a lost lab directory from a controller
    #[command(
        long_about = "\
Rebuild a lost lab directory from a controller.

A controller has the lab's certificate authorities, the service account key and the key that \
            encrypts Secrets; every \
node has its own certificates. labctl reads them back, checks them, and writes them to the lab \
            directory as they were. \
It changes nothing on any node, and overwrites nothing in the lab directory that differs.",
        after_help = "\
Examples:
  labctl recover
  labctl recover prod.yaml --from controller-1
  labctl recover prod.yaml --accept-new-host-keys   on a workstation that has never met the nodes"
    )]
    Recover(RecoverArgs),
    /// Bring up many clusters from one inventory, with a card for each attendee, or remove them
    #[command(subcommand)]
    Workshop(WorkshopVerb),
    /// Download, list or check the releases that a lab is built from
    #[command(subcommand)]
    Bundle(BundleVerb),
    /// List or print the standard playbooks, or write them out to change them
    #[command(subcommand)]
    Playbook(PlaybookVerb),
    /// Print the JSON Schema of inventories, for editors
    #[command(long_about = "\
Print the JSON Schema of inventories, for editors.

`labctl init` writes it beside an inventory, whose first line names it for editors with the YAML \
            language server: they complete keys, explain them, and mark mistakes.")]
    #[command(after_help = "\
Example:
  labctl schema > inventory.schema.json")]
    Schema,
    /// Print completions for a shell
    #[command(
        long_about = "\
Print completions for a shell: verbs, options, names of nodes and plays.

Put the line below into the shell's own startup file. The script asks labctl, so one that was \
            saved belongs to the version that printed it.",
        after_help = "\
Examples:
  source <(labctl completions bash)      in ~/.bashrc
  source <(labctl completions zsh)       in ~/.zshrc, after compinit
  labctl completions fish | source       in ~/.config/fish/config.fish"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, or write one for each verb
    #[command(after_help = "\
Examples:
  labctl man | man -l -
  labctl man --to ~/.local/share/man/man1      then: man labctl, man labctl-up")]
    Man {
        /// Write the pages of all verbs into this directory
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;
    use crate::report::OutputFormat;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_inventory_may_be_left_out() {
        let Verb::Up(up) = parse("labctl up").verb else { panic!("not up") };
        assert_eq!(up.converge.lab.inventory, Path::new("inventory.yaml"));
        let Verb::Play(play) = parse("labctl play mine.yaml prod.yaml").verb else {
            panic!("not play")
        };
        assert_eq!(
            (play.playbook.as_str(), play.lab.inventory.as_path()),
            ("mine.yaml", Path::new("prod.yaml"))
        );
    }

    #[test]
    fn global_options_may_be_anywhere() {
        for line in ["labctl --limit a,b --forks 4 -v up", "labctl up --limit a,b --forks 4 -v"] {
            let global = parse(line).global;
            assert_eq!(
                (global.limit, global.forks.get(), global.verbose),
                (vec!["a".into(), "b".into()], 4, true)
            );
        }
        assert_eq!(parse("labctl plan --output json").global.output, OutputFormat::Json);
    }

    #[test]
    fn ssh_takes_an_inventory_before_the_node_and_a_command_after_it() {
        for (line, right) in [
            ("labctl ssh worker-0", ("inventory.yaml", "worker-0", "")),
            ("labctl ssh prod.yaml worker-0 -- uname -r", ("prod.yaml", "worker-0", "uname -r")),
            ("labctl ssh prod.yaml worker-0 uname -r", ("prod.yaml", "worker-0", "uname -r")),
            ("labctl ssh worker-0 uname -v", ("inventory.yaml", "worker-0", "uname -v")),
            ("labctl ssh worker-0 -- ls -- -l", ("inventory.yaml", "worker-0", "ls -- -l")),
        ] {
            let Verb::Ssh(ssh) = parse(line).verb else { panic!("not ssh") };
            let (inventory, node, command) = ssh.target.get("ssh").expect("a node");
            assert_eq!(
                (inventory.to_str(), node, &*command.join(" ")),
                (Some(right.0), right.1, right.2),
                "{line}"
            );
        }
    }

    #[test]
    fn kubectl_gets_everything_after_the_inventory() {
        for (line, right) in [
            ("labctl kubectl get nodes -o wide", ("inventory.yaml", "get nodes -o wide")),
            ("labctl kubectl -- get nodes", ("inventory.yaml", "get nodes")),
            ("labctl kubectl prod.yaml -n a get pods", ("prod.yaml", "-n a get pods")),
            ("labctl kubectl prod.yaml -- -n a get pods", ("prod.yaml", "-n a get pods")),
            ("labctl kubectl -n a get pods", ("inventory.yaml", "-n a get pods")),
            ("labctl kubectl --server=a.b/c get", ("inventory.yaml", "--server=a.b/c get")),
            ("labctl kubectl exec p -- ls", ("inventory.yaml", "exec p -- ls")),
        ] {
            let Verb::Kubectl(kubectl) = parse(line).verb else { panic!("not kubectl") };
            let (inventory, arguments) = kubectl.target.get();
            assert_eq!(
                (inventory.to_str(), &*arguments.join(" ")),
                (Some(right.0), right.1),
                "{line}"
            );
        }
    }

    #[test]
    fn an_inventory_alone_is_not_taken_for_what_is_missing() {
        for line in ["ssh lab.yaml", "ssh lab.yaml -- uname", "ssh a/lab uname", "logs lab.yaml"] {
            let line = format!("labctl {line}");
            let refused = match parse(&line).verb {
                Verb::Ssh(ssh) => ssh.target.get("ssh").map(|(_, node, _)| node.to_owned()),
                Verb::Logs(logs) => logs.target.get("logs").map(|(_, node, _)| node.to_owned()),
                _ => panic!("{line}"),
            };
            match line.as_str() {
                "labctl ssh a/lab uname" => assert_eq!(refused.expect("a node"), "uname"),
                _ => assert!(refused.is_err(), "{line}"),
            }
        }
    }

    #[test]
    fn bad_usage_exits_with_two() {
        for line in ["labctl up --forks 0", "labctl fly", "labctl ssh"] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        let help = Cli::try_parse_from(["labctl", "--help"]).expect_err("help");
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
    }

    #[test]
    fn every_global_option_has_a_twin_in_the_environment() {
        let command = Cli::command();
        for option in command.get_arguments().filter(|option| option.is_global_set()) {
            if option.get_id() == "take_over" {
                // Taking over a node must be an explicit decision each time; an environment
                // variable would last too long.
                assert_eq!(option.get_env(), None);
                continue;
            }
            let twin = format!("LABCTL_{}", option.get_id().as_str().to_uppercase());
            assert_eq!(option.get_env().and_then(|name| name.to_str()), Some(twin.as_str()));
        }
    }
}
