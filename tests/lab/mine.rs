//! Playbooks and templates of one's own, for any verb: the standard ones, and in each playbook a
//! play that puts a file from a template of one's own on every node.

use std::fs;

use crate::lab::{Lab, Run};

/// What `--playbooks` and `--templates` are given.
pub const FLAGS: [&str; 4] = ["--playbooks", "mine/playbooks", "--templates", "mine/templates"];

/// What is undone by a teardown goes with it, and the copy stays: no record has it.
const PLAY: &str = "
  - name: mine
    hosts: all
    why: A note of one's own.
    tasks:
      - template: { from: mine/note, to: /etc/mine }
      - command: { run: cp /etc/mine /root/note, unless: cmp -s /etc/mine /root/note }
";

/// Runs a verb with playbooks and templates of one's own. It must succeed, and the note on `node`
/// is this verb's.
pub fn must(lab: &Lab, verb: &[&str], node: &str) -> Run {
    let note = verb.join(" ").replace('"', "");
    write(lab, &format!("{note} on {{{{ node.name }}}}\n"));
    let run = lab.must(&[verb, &FLAGS].concat());
    assert_eq!(lab.on(node, "cat /root/note"), format!("{note} on {node}"), "{}", run.story());
    run
}

/// Exports what is standard where that was not done yet, changes it, and writes the note.
fn write(lab: &Lab, note: &str) {
    let mine = lab.folder().join("mine");
    if !mine.exists() {
        export(lab);
        for (playbook, first) in [("up", "  # The ground.\n"), ("down", "  # One play, so that")] {
            let path = mine.join("playbooks").join(playbook).with_extension("yaml");
            let text = fs::read_to_string(&path).expect("a playbook");
            assert!(text.contains(first), "{text}");
            let text = text.replace(first, &format!("{}{first}", PLAY.trim_start_matches('\n')));
            // What a teardown removes it must not place again.
            let teardown = "  - name: teardown\n";
            let text = text.replace(teardown, &format!("{teardown}    after: [mine]\n"));
            fs::write(&path, text).expect("a playbook");
        }
        fs::create_dir(mine.join("templates/mine")).expect("a directory");
    }
    fs::write(mine.join("templates/mine/note.tera"), note).expect("a template");
}

fn export(lab: &Lab) {
    let export = lab.labctl(&["playbook", "export", "mine"]).output().expect("labctl starts");
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
}

/// Templates for an inventory that does not say `local`, on machines that share a kernel all the
/// same: some settings of it are not theirs to make.
pub fn templates_for_a_shared_kernel(lab: &Lab) {
    export(lab);
    for name in ["containerd/config.toml", "kubelet/config.yaml", "kube-proxy/config.yaml"] {
        let file = lab.folder().join(format!("mine/templates/{name}.tera"));
        let text = fs::read_to_string(&file).expect("a template");
        fs::write(&file, format!("{{% set local = true -%}}\n{text}")).expect("a template");
    }
}

/// Takes them away again, for those who look for traces.
pub fn forget(lab: &Lab) {
    fs::remove_dir_all(lab.folder().join("mine")).expect("it was there");
}
