//! `labctl kubeconfig` before a real API server: printed, issued for a user, merged.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, said};

/// What `labctl kubeconfig` prints, in a file of its own.
fn printed(lab: &Lab, file: &Path, options: &[&str]) {
    let output = lab.labctl(&[&["kubeconfig"], options].concat()).output().expect("labctl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(file, output.stdout).expect("a file");
}

/// kubectl with this kubeconfig; whether it ends well, and what it says.
fn kubectl(file: &Path, arguments: &str) -> (bool, String) {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/bin/kubectl"))
        .args(arguments.split(' '))
        .env("KUBECONFIG", file)
        .output()
        .expect("kubectl starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
}

/// The administrator's, one of a user who is in a group, and both beside what somebody had before.
pub fn of_users(lab: &Lab) {
    let place = tempfile::tempdir().expect("a directory");
    let (admin, jane) = (place.path().join("admin"), place.path().join("jane"));
    printed(lab, &admin, &[]);
    assert_eq!(kubectl(&admin, "auth can-i delete pods"), (true, "yes".to_owned()));

    printed(lab, &jane, &["--user", "jane", "--group", "readers", "--days", "2"]);
    let whoami = "auth whoami -o jsonpath={.status.userInfo.username}:{.status.userInfo.groups}";
    let is_jane = |file: &Path| {
        let expected = r#"jane:["readers","system:authenticated"]"#;
        assert_eq!(kubectl(file, whoami), (true, expected.to_owned()));
    };
    is_jane(&jane);
    let (listed, why) = kubectl(&jane, "get nodes");
    assert!(!listed && why.contains("User \"jane\" cannot list resource"), "{why}");
    let bind = "create clusterrolebinding readers --clusterrole=view --group=readers";
    assert!(kubectl(&admin, bind).0);
    let reads = || kubectl(&jane, "get configmaps -A").0;
    assert!(lab.within_two_minutes(reads), "the group may read");
    assert!(!kubectl(&jane, "delete configmap kube-root-ca.crt").0, "and not write");
    let text = fs::read_to_string(&jane).expect("a kubeconfig");
    let field = "client-certificate-data: ";
    let data = text.lines().find_map(|line| line.trim().strip_prefix(field)).expect("one");
    let script =
        format!("echo {} | base64 -d | openssl x509 -noout -checkend", data.trim_matches('"'));
    let ends_within = |hours: u32| {
        let script = format!("{script} {} || true", hours * 3600);
        said("sh", &["-c", &script]).contains("will expire")
    };
    assert!(!ends_within(47) && ends_within(49), "in two days");
    assert!(!lab.directory().join("pki/jane.key").exists(), "its key is kept nowhere");

    // Into a file that has something of somebody's.
    let (mine, before) = (place.path().join("mine"), place.path().join("mine.before-labctl"));
    let theirs = "set-cluster elsewhere --server=https://192.0.2.1";
    assert!(kubectl(&mine, &format!("config {theirs}")).0);
    let was = fs::read(&mine).expect("a kubeconfig");
    let into = mine.display().to_string();
    let merge = |options: &[&str]| {
        let verb = [&["kubeconfig", "--merge", "--into", &into], options].concat();
        let output = lab.labctl(&verb).output().expect("labctl starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    merge(&[]);
    assert_eq!(fs::read(&before).expect("what was there"), was);
    let clusters = kubectl(&mine, "config get-clusters").1;
    assert!(clusters.contains("elsewhere") && clusters.contains(lab.name), "{clusters}");
    let context = format!("--context admin@{} auth can-i delete pods", lab.name);
    assert_eq!(kubectl(&mine, &context), (true, "yes".to_owned()));
    merge(&["--user", "jane", "--group", "readers"]);
    assert!(kubectl(&mine, &format!("config use-context jane@{}", lab.name)).0);
    is_jane(&mine);
    assert_eq!(fs::read(&before).expect("what was there"), was, "the first one is the original");
}
