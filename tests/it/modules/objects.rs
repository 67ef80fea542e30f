//! Objects in the cluster: what is kept of their manifest, and what is said when they are refused.

use labctl::module::file::Content;
use labctl::module::kubectl_apply::KubectlApply;
use labctl::module::{Desired, State};

use super::why;
use crate::support::machine::Machine;

const KEPT: &str = "/etc/kubernetes/addons/word.yaml";

fn objects(manifest: &str, sensitive: bool) -> [Desired; 1] {
    let (name, manifest) = ("mine/word.yaml".into(), Content::inline(manifest.as_bytes()));
    [Desired::KubectlApply(KubectlApply { name, manifest, sensitive })]
}

/// A kubectl that applies what it is given, and one that quotes it when it refuses.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.shim(
        "kubectl",
        "case \"$*\" in *' get '*) exit 0 ;; esac
         for file; do :; done
         if [ -e /refuse ]; then
           { echo 'Error from server (Conflict): error when applying patch:'; cat \"$file\"
             echo \"The Secret \\\"word\\\" is invalid: $(cat \"$file\")\"
             echo \"for: \\\"$file\\\": Secret is invalid: $(cat \"$file\")\"; } >&2
           exit 1
         fi
         echo secret/word created",
    );
    machine
}

#[tokio::test]
async fn only_root_reads_a_manifest_with_a_secret() {
    let machine = machine();
    machine.settles(&objects("word: first", true)).await;
    assert_eq!(machine.sh(&format!("stat -c %a {KEPT}; cat {KEPT}")), "600\nword: first");
    machine.settles(&objects("word: first", false)).await;
    assert_eq!(machine.sh(&format!("stat -c %a {KEPT}")), "644");
    // As an earlier version has left it.
    let converged = machine.settles(&objects("word: first", true)).await;
    assert_eq!(why(&converged.found), "mode 644 should be 600");
    assert_eq!(machine.sh(&format!("stat -c %a {KEPT}")), "600");
}

#[tokio::test]
async fn a_refused_secret_is_not_quoted() {
    let machine = machine();
    machine.sh("touch /refuse");
    let said = |failure: &labctl::event::Failure| failure.stderr.join("\n");
    let open = machine.converge(&objects("word: first", false)).await;
    assert!(said(open.failure()).contains("word: first"), "{:?}", open.failure());
    let secret = machine.converge(&objects("word: first", true)).await;
    let told = format!("{:?}", secret.events);
    assert!(
        told.contains("Error from server (Conflict)") && !told.contains("word: first"),
        "{told}"
    );
    assert_eq!(machine.sh(&format!("ls {KEPT} 2>/dev/null || echo none")), "none");
    assert!(
        objects("word: first", true)[0]
            .probe()
            .iter()
            .all(|question| { !format!("{question:?}").contains("text: true") })
    );
}
