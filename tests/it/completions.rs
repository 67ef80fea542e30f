//! Completions as a shell asks for them, and the man pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory as _;

use crate::cli::Tools;

const LABCTL: &str = env!("CARGO_BIN_EXE_labctl");

const INVENTORY: &str = "name: lab
kubernetes: \"1.34.4\"
addons: [metrics-server]
nodes:
  - { name: cp, address: 192.0.2.10, roles: [controller] }
  - { name: \"worker-[0-2]\", address: 192.0.2.20, roles: [worker] }
";

fn lab() -> (Tools, tempfile::TempDir) {
    let (tools, folder) = (Tools::new(), tempfile::tempdir().expect("a folder"));
    fs::write(folder.path().join("inventory.yaml"), INVENTORY).expect("an inventory");
    let other = INVENTORY.replace("worker-", "other-").replace("name: cp", "naem: cp");
    fs::write(folder.path().join("other.yaml"), other).expect("an inventory");
    (tools, folder)
}

/// What bash offers for the last word of a line, by the script that labctl prints.
fn offered(tools: &Tools, folder: &Path, line: &str) -> Vec<String> {
    let script = "source <(labctl completions bash)
        COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
        read -ra COMP_WORDS <<< \"$1\"
        case $1 in *' ') COMP_WORDS+=('') ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _clap_complete_labctl labctl \"${COMP_WORDS[COMP_CWORD]}\" \
            \"${COMP_WORDS[COMP_CWORD - 1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash", line])
        .current_dir(folder)
        .envs(tools.environment())
        .output()
        .expect("bash starts");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter(|word| !word.is_empty()).map(|word| word.trim().to_owned()).collect()
}

#[test]
fn a_shell_offers_verbs_nodes_plays_and_inventories() {
    let (tools, folder) = lab();
    let of = |line: &str| offered(&tools, folder.path(), line);
    let verbs = of("labctl ");
    for verb in labctl::cli::Cli::command().get_subcommands() {
        assert!(verbs.contains(&verb.get_name().to_owned()), "{verbs:?}");
    }
    assert_eq!(of("labctl ssh w"), ["worker-0", "worker-1", "worker-2"]);
    assert_eq!(of("labctl ssh i"), ["inventory.yaml"]);
    // Whatever else is wrong with the inventory that the line is about.
    let words = ["other-0", "other-1", "other-2", "other.yaml"];
    assert_eq!(of("labctl ssh other.yaml o"), words);
    assert_eq!(of("labctl node remove worker-2"), ["worker-2"]);
    assert_eq!(of("labctl exec cp worker-1"), ["worker-1"]);
    assert_eq!(of("labctl up --limit cp,worker-0"), ["cp,worker-0"]);
    assert_eq!(of("labctl recover --from c"), ["cp"]);
    assert_eq!(of("labctl up --until et"), ["etcd"]);
    assert_eq!(of("labctl explain --play etcd,metrics"), ["etcd,metrics-server"]);
    assert_eq!(of("labctl explain et"), ["etcd"]);
    assert_eq!(of("labctl explain other.y"), ["other.yaml"]);
    assert_eq!(of("labctl playbook show u"), ["up", "upgrade-drain", "upgrade-return"]);
    // Without a lab there is nothing to say of nodes, and the standard plays.
    let nowhere = tempfile::tempdir().expect("a folder");
    assert_eq!(offered(&tools, nowhere.path(), "labctl ssh w"), [""; 0]);
    assert_eq!(offered(&tools, nowhere.path(), "labctl up --until et"), ["etcd"]);
}

/// The scripts of the other shells, and the answers in the form that they read.
#[test]
fn every_shell_has_a_script_and_is_answered() {
    let (tools, folder) = lab();
    for (shell, asks) in [
        ("bash", "complete -o nospace"),
        ("zsh", "#compdef labctl"),
        ("fish", "complete --keep-order --exclusive --command labctl"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let output = tools.labctl(folder.path(), &format!("completions {shell}"));
        let script = String::from_utf8(output.stdout).expect("text");
        assert!(script.contains(asks) && script.contains("LABCTL_COMPLETE"), "{script}");
        let answer = Command::new(LABCTL)
            .args(["--", "labctl", "ssh", "w"])
            .current_dir(folder.path())
            .envs(tools.environment())
            .envs([("LABCTL_COMPLETE", shell), ("_CLAP_COMPLETE_INDEX", "2")])
            .output()
            .expect("labctl runs");
        let said = String::from_utf8_lossy(&answer.stdout).into_owned();
        assert!(answer.status.success() && said.contains("worker-1"), "{shell}: {said}");
    }
}

#[test]
fn every_verb_has_a_man_page() {
    let (tools, folder) = lab();
    let output = tools.labctl(folder.path(), "man");
    let page = String::from_utf8(output.stdout).expect("text");
    assert!(page.starts_with(".ie") && page.contains(".TH labctl 1"), "{page}");
    let output = tools.labctl(folder.path(), "man --to pages/man1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, says) in [
        ("labctl.1", "declares the nodes"),
        ("labctl-up.1", "Bring the lab to what the inventory says"),
        ("labctl-node-add.1", "The address that the other nodes reach it at"),
        ("labctl-etcd-rotate\\-key.1", ""),
    ] {
        let path = folder.path().join("pages/man1").join(name.replace('\\', ""));
        let page = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(page.contains(says), "{page}");
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let pages = fs::read_dir(folder.path().join("pages/man1")).expect("a directory").count();
    assert_eq!(said, format!("{pages} pages in pages/man1\n"));
}
