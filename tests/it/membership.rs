//! How a controller joins the etcd that is there, how one leaves, and how what leads hands over:
//! the shell that nodes run, with an etcdctl and a kubectl that answer what a test wants.

use crate::support::labs;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use labctl::bundle::Bundle;
use labctl::cluster::Cluster;
use labctl::module::Desired;
use labctl::pki::store::Pki;
use labctl::plan::DesiredPlay;
use labctl::plan::expand::{Materials, expand};
use labctl::playbook::standard;
use labctl::render::context::Leaving;
use labctl::render::{Artefacts, Context, Renderer};

/// Lists the members in the file `members`, adds to them, and notes every other wish. Asked at
/// 10.240.0.10, which is dead, it says so.
const ETCDCTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
# As the real one, which takes no flag beside its variable.
case "$ETCDCTL_ENDPOINTS $*" in
  https*--endpoints*) echo 'conflicting environment variable' >&2; exit 1 ;;
  *10.240.0.10:2379*) echo 'context deadline exceeded' >&2; exit 1 ;;
esac
case "$*" in
  *'member list') cat "$here/members" ;;
  'member add '*)
    if grep -q 'true$' "$here/members"; then echo 'too many learner members in cluster'; exit 1; fi
    echo "9f, unstarted, , $6, , true" >> "$here/members" ;;
  *'endpoint status -w fields')
    printf '"ClusterID" : 17\n"MemberID" : 10376293541461622799\n'
    printf '"Leader" : %s\n' "$(cat "$here/leader")" ;;
  *'endpoint status') ;;
  *'endpoint health') case $ETCDCTL_ENDPOINTS in *10.240.0.12*) exit 1 ;; esac ;;
  *) echo "$ETCDCTL_ENDPOINTS $*" >> "$here/wishes" ;;
esac
"#;

/// A directory of programs that a script finds before the machine's own, with the files that these
/// read and write.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn add(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a program");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// A file's text; `None` when nothing has written it.
    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    /// Runs a script with these arguments.
    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let own = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{own}", self.0.path().display());
        let words = ["-c", script, "script"];
        let output = Command::new("sh").args(words).args(arguments).env("PATH", path).output();
        output.expect("sh starts")
    }
}

/// What came of a script on controller-1: whether it ended well, what it said, and what it left.
struct Ran {
    well: bool,
    said: String,
    bootstrap: String,
    members: String,
    wishes: String,
}

/// Runs `script` where etcd has these members.
fn run(script: &str, arguments: &[&str], members: &str) -> Ran {
    run_led(script, arguments, members, "26")
}

/// Runs `script` where etcd has these members, and one of them leads.
fn run_led(script: &str, arguments: &[&str], members: &str, leader: &str) -> Ran {
    let programs = Programs::new();
    programs.add("etcdctl", ETCDCTL);
    programs.write("members", members);
    programs.write("leader", leader);
    // No test waits for what does not come.
    let script = script
        .replace("/etc/etcd/bootstrap.env", &programs.path("bootstrap.env").display().to_string())
        .replace("+ 90", "+ 1")
        .replace("+ 30", "+ 1");
    let output = programs.run(&script, arguments);
    let said = [output.stdout, output.stderr].concat();
    let left = |name: &str| programs.read(name).unwrap_or_default();
    Ran {
        well: output.status.success(),
        said: String::from_utf8_lossy(&said).into_owned(),
        bootstrap: left("bootstrap.env"),
        members: left("members"),
        wishes: left("wishes"),
    }
}

fn member_script() -> String {
    of_controller_1("etcd/member.sh")
}

/// A script that is a template, as controller-1 has it.
fn of_controller_1(template: &str) -> String {
    let lab = labs::ha();
    let context =
        Context::new(&lab, lab.node("controller-1").expect("a node"), None, &labs::artefacts());
    Renderer::new(None).expect("templates").render(template, &context).expect("renders")
}

const TWO: &str = "\
1a, started, controller-0, https://10.240.0.10:2380, https://10.240.0.10:2379, false
2b, started, controller-2, https://10.240.0.12:2380, https://10.240.0.12:2379, false
";

#[test]
fn a_controller_is_added_as_a_learner_by_whoever_answers() {
    let joined = run(&member_script(), &["join", "10.240.0.10", "10.240.0.12"], TWO);
    assert!(joined.well, "{}", joined.said);
    assert!(
        joined.members.ends_with("9f, unstarted, , https://10.240.0.11:2380, , true\n"),
        "{}",
        joined.members
    );
    let wanted = "ETCD_INITIAL_CLUSTER_STATE=existing\n\
                  ETCD_INITIAL_CLUSTER=controller-0=https://10.240.0.10:2380,\
                  controller-2=https://10.240.0.12:2380,controller-1=https://10.240.0.11:2380\n";
    assert!(joined.bootstrap.ends_with(wanted), "{}", joined.bootstrap);
}

/// What etcd's unit does before a start, as root.
#[test]
fn etcd_gets_its_own_data_and_nothing_else_on_its_disk() {
    let programs = Programs::new();
    let data = programs.path("etcd");
    for directory in ["member/wal", "lost+found", ".restoring-1/member"] {
        fs::create_dir_all(data.join(directory)).expect("a directory");
    }
    let unit = of_controller_1("etcd/etcd.service").replace("\\\n", "");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStartPre=+"));
    // The paths that would be given to the user, and whom.
    let script = line
        .expect("the line")
        .replace("/var/lib/etcd", &data.display().to_string())
        .replace("! -user etcd", "-user 0")
        .replace("-exec chown -h etcd:etcd", "-exec printf '%s\\n'");
    let output = programs.run(&script, &[]);
    let given = String::from_utf8_lossy(&output.stdout).replace(&data.display().to_string(), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(given, "/\n/member\n/member/wal\n");
}

#[test]
fn a_join_that_was_cut_off_goes_on_with_its_entry() {
    for entry in [
        "9f, unstarted, , https://10.240.0.11:2380, , true\n",
        // A founder that never ran has a name from the founding.
        "9f, started, controller-1, https://10.240.0.11:2380, , false\n",
    ] {
        let members = format!("{TWO}{entry}");
        let joined = run(&member_script(), &["join", "10.240.0.12"], &members);
        assert!(joined.well, "{}", joined.said);
        assert_eq!(joined.members, members, "nothing was added");
        assert!(
            joined.bootstrap.ends_with(",controller-1=https://10.240.0.11:2380\n"),
            "{}",
            joined.bootstrap
        );
    }
}

#[test]
fn a_machine_without_the_data_of_its_member_is_refused_with_the_way() {
    let members = format!(
        "{TWO}9f, started, controller-1, https://10.240.0.11:2380, https://10.240.0.11:2379, \
        false\n"
    );
    let refused = run(&member_script(), &["join", "10.240.0.12"], &members);
    assert!(!refused.well);
    assert!(refused.said.contains("labctl node remove controller-1 --gone"), "{}", refused.said);
    assert_eq!((refused.bootstrap.as_str(), refused.members), ("", members));
}

#[test]
fn where_nobody_answers_or_another_is_learning_nothing_is_founded() {
    let alone = run(&member_script(), &["join", "10.240.0.10"], TWO);
    assert!(!alone.well, "{}", alone.said);
    assert!(
        alone.said.contains("controller-1 cannot join: context deadline exceeded\n"),
        "{}",
        alone.said
    );
    let learning = format!(
        "{TWO}8e, started, controller-9, https://10.240.0.19:2380, https://10.240.0.19:2379, true\n"
    );
    let refused = run(&member_script(), &["join", "10.240.0.12"], &learning);
    assert!(!refused.well && refused.said.contains("too many learner members"), "{}", refused.said);
    assert_eq!((alone.bootstrap, refused.bootstrap), (String::new(), String::new()));
}

#[test]
fn a_learner_is_promoted_by_its_entry() {
    let members = format!(
        "{TWO}9f, started, controller-1, https://10.240.0.11:2380, https://10.240.0.11:2379, true\n"
    );
    let promoted = run(&member_script(), &["promote", "10.240.0.10", "10.240.0.12"], &members);
    assert!(promoted.well, "{}", promoted.said);
    assert_eq!(promoted.wishes, "https://10.240.0.12:2379 member promote 9f\n");
}

#[test]
fn a_leader_that_stops_hands_over_to_a_voter_that_answers_and_nobody_else_does() {
    let members = format!(
        "7e, started, controller-9, https://10.240.0.19:2380, https://10.240.0.19:2379, true\n\
        {TWO}90, started, controller-1, https://10.240.0.11:2380, https://10.240.0.11:2379, false\n"
    );
    let own = "10376293541461622799";
    let leads = run_led(&member_script(), &["hand-over"], &members, own);
    assert!(leads.well, "{}", leads.said);
    assert_eq!(
        leads.wishes, "https://127.0.0.1:2379 move-leader 2b\n",
        "neither to a learner nor to a dead member, and asked of the leader"
    );
    let follows = run(&member_script(), &["hand-over"], &members);
    assert!(follows.well && follows.wishes.is_empty(), "{} {}", follows.said, follows.wishes);
    // Alone there is nobody to hand over to, and the stop goes on.
    let alone = members.lines().last().expect("a member");
    let alone = run_led(&member_script(), &["hand-over"], alone, own);
    assert!(alone.well && alone.wishes.is_empty(), "{} {}", alone.said, alone.wishes);
}

/// Has the lease in the file `lease`, and takes what it is to become.
const KUBECTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$*" in
  *'get --raw '*/leases/kube-controller-manager) cat "$here/lease" ;;
  *'replace --raw '*'/leases/kube-controller-manager -f -') cat > "$here/replaced" ;;
  *) exit 99 ;;
esac
"#;

/// The lease of kube-controller-manager, held by this one for so many seconds.
fn lease(holder: &str, seconds: u32) -> String {
    let metadata = r#"{"resourceVersion":"7","managedFields":[{"f:holderIdentity":{}}]}"#;
    let spec = format!(r#"{{"holderIdentity":"{holder}","leaseDurationSeconds":{seconds}}}"#);
    format!(r#"{{"kind":"Lease","metadata":{metadata},"spec":{spec}}}"#)
}

#[test]
fn a_controller_manager_that_ends_gives_up_its_own_lead_and_no_other() {
    let script = of_controller_1("kube-controller-manager/hand-over.sh");
    let programs = Programs::new();
    programs.add("kubectl", KUBECTL);
    programs.add("uname", "#!/bin/sh\necho controller-1\n");
    let ended = |lease: Option<&str>| {
        let _ = fs::remove_file(programs.path("replaced"));
        let _ = fs::remove_file(programs.path("lease"));
        lease.inspect(|lease| programs.write("lease", lease));
        assert!(programs.run(&script, &[]).status.success());
        programs.read("replaced").map(|text| text.trim_end().to_owned())
    };
    assert_eq!(ended(Some(&lease("controller-1_4f1c", 15))), Some(lease("", 1)));
    assert_eq!(ended(Some(&lease("controller-10_4f1c", 15))), None, "another machine's");
    assert_eq!(ended(Some(&lease("", 1))), None, "nobody's");
    assert_eq!(ended(None), None, "the API does not answer");
    programs.add("uname", "#!/bin/sh\necho debian\n");
    assert_eq!(ended(Some(&lease("debian_4f1c", 15))), None, "a host name that others may have");
}

/// The removal of a node, as it is desired.
fn removal(cluster: &Cluster, name: &str, gone: bool, forced: bool) -> Vec<DesiredPlay> {
    let node = cluster.node(name).expect("a node").clone();
    let artefacts =
        Artefacts { leaving: Some(Leaving { node, gone, forced }), ..labs::artefacts() };
    let materials = Materials {
        cluster,
        pki: &Pki::default(),
        kubeconfigs: &std::collections::BTreeMap::new(),
        bundle: &Bundle::empty(cluster.kubernetes),
        renderer: &Renderer::new(None).expect("templates"),
        artefacts: &artefacts,
        handed: &std::collections::BTreeMap::new(),
    };
    expand(&standard::find("remove-node", None).expect("a playbook"), &materials).expect("a plan")
}

/// The scripts of a removal, by the titles of their tasks: what is run or waited for.
fn scripts(plays: &[DesiredPlay]) -> Vec<(String, String, String)> {
    let tasks = plays.iter().flat_map(|play| &play.nodes).flat_map(|on| &on.tasks);
    tasks
        .map(|task| match &*task.desired {
            Desired::Command(command) => {
                (task.title.clone(), command.run.clone(), command.unless.clone())
            }
            Desired::Wait(wait) => (task.title.clone(), wait.until.clone(), String::new()),
            other => panic!("a removal places nothing: {other:?}"),
        })
        .collect()
}

#[test]
fn a_removal_asks_what_the_roles_and_the_machine_need() {
    let lab = labs::ha();
    let titles = |name: &str, gone, forced| -> Vec<String> {
        scripts(&removal(&lab, name, gone, forced)).into_iter().map(|(title, ..)| title).collect()
    };
    let (cordon, drain) = ("no new pods on worker-1", "pods of worker-1 go elsewhere");
    let (object, pods) = ("no Node object of worker-1", "no pods of worker-1");
    assert_eq!(titles("worker-1", false, false), [cordon, drain, object, pods]);
    assert_eq!(titles("worker-1", true, false), [cordon, object, pods]);
    let healthy = "wait for etcd to be healthy without controller-1";
    assert_eq!(titles("controller-1", false, false), [healthy, "controller-1 leaves etcd"]);
    assert_eq!(titles("controller-1", true, true), ["controller-1 leaves etcd"]);
    assert_eq!(titles("lb-0", false, false), [""; 0]);
}

#[test]
fn every_script_of_a_removal_is_one() {
    for cluster in [labs::ha(), labs::sandbox()] {
        for node in &cluster.nodes {
            for (gone, forced) in [(false, false), (true, false), (false, true), (true, true)] {
                for (title, run, unless) in scripts(&removal(&cluster, &node.name, gone, forced)) {
                    for script in [run, unless] {
                        let read = Command::new("sh")
                            .args(["-n", "-c", &script])
                            .output()
                            .expect("sh starts");
                        assert!(
                            read.status.success() && read.stderr.is_empty(),
                            "{title}: {read:?}\n{script}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_member_leaves_only_when_most_of_the_others_are_healthy() {
    let third =
        "9f, started, controller-1, https://10.240.0.11:2380, https://10.240.0.11:2379, false\n";
    let majority = |name: &str| scripts(&removal(&labs::ha(), name, false, false)).remove(0).1;
    // controller-0 is dead, and controller-2 is not healthy.
    let refused = run(&majority("controller-1"), &[], &format!("{TWO}{third}"));
    assert!(!refused.well);
    assert!(
        refused.said.contains("Of the 2 members that would stay 0 are healthy, and 2 have to be."),
        "{}",
        refused.said
    );
    // With two more that are healthy, the dead one may go.
    let more = |last: u8| {
        let address = format!("https://10.240.0.{last}");
        format!("7{last}, started, controller-{last}, {address}:2380, {address}:2379, false\n")
    };
    let fine = run(&majority("controller-0"), &[], &format!("{TWO}{third}{}", more(13)));
    assert!(fine.well, "{}", fine.said);
    // Who is no voting member is not missed.
    assert!(run(&majority("controller-1"), &[], TWO).well);
}

#[test]
fn a_member_hands_over_its_lead_and_is_removed_by_another() {
    let third =
        "9f, started, controller-1, https://10.240.0.11:2380, https://10.240.0.11:2379, false\n";
    let (_, run_it, unless) =
        scripts(&removal(&labs::ha(), "controller-1", false, false)).remove(1);
    let members = format!("{TWO}{third}");
    let removed = run(&run_it, &[], &members);
    assert!(removed.well, "{}", removed.said);
    assert_eq!(
        removed.wishes,
        "https://10.240.0.11:2379 move-leader 2b\nhttps://10.240.0.12:2379 member remove 9f\n",
        "asked of the first that answers"
    );
    assert!(!run(&unless, &[], &members).well);
    assert!(run(&unless, &[], TWO).well, "then there is nothing to do any more");
    // Nothing is asked of a machine that is gone.
    let (_, run_it, _) = scripts(&removal(&labs::ha(), "controller-1", true, false)).remove(1);
    assert_eq!(run(&run_it, &[], &members).wishes, "https://10.240.0.12:2379 member remove 9f\n");
}
