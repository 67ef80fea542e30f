//! What `labctl explain` says of certificates, typed: it makes those that labctl would have made.

use std::collections::BTreeSet;

use labctl::pki::list::{ENCRYPTION_KEY, SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY};
use labctl::plan::openssl::{MadeByHand, made_by_hand};

use super::*;

/// Every file of a lab's `pki`.
fn all_files(cluster: &Cluster) -> BTreeSet<String> {
    let specs = pki::specs(cluster);
    let pairs = specs.iter().flat_map(|spec| [spec.certificate_file(), spec.key_file()]);
    let others = [SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY, ENCRYPTION_KEY];
    pairs.chain(others.map(str::to_owned)).collect()
}

fn made(cluster: &Cluster, files: &[&str]) -> Vec<MadeByHand> {
    made_by_hand(&pki::specs(cluster), &files.iter().map(|file| (*file).to_owned()).collect())
}

fn type_all(made: &[MadeByHand], folder: &Path) {
    let commands: String = made.iter().map(|it| it.commands.as_str()).collect();
    let typed = Command::new("sh")
        .args(["-ec", &commands])
        .current_dir(folder)
        .output()
        .expect("sh starts");
    assert!(typed.status.success(), "{commands}\n{}", String::from_utf8_lossy(&typed.stderr));
}

#[test]
fn nothing_is_left_to_issue_after_the_commands() {
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        let mut cluster = cluster();
        cluster.pki.algorithm = algorithm;
        let lab = Lab::empty();
        fs::create_dir_all(lab.directory.root()).expect("a directory");
        type_all(&made_by_hand(&pki::specs(&cluster), &all_files(&cluster)), lab.directory.root());
        let ensured = pki::ensure(&cluster, &lab.directory, OffsetDateTime::now_utc())
            .unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
        assert_eq!(ensured.issued, [], "{algorithm:?}");
    }
}

#[test]
fn a_certificate_that_is_made_by_hand_has_the_same_extensions() {
    let cluster = cluster();
    let ours = Lab::with_certificates_for(&cluster);
    let by_hand = Lab::empty();
    fs::create_dir_all(by_hand.directory.root()).expect("a directory");
    type_all(&made_by_hand(&pki::specs(&cluster), &all_files(&cluster)), by_hand.directory.root());
    for name in ["ca", "apiserver", "nodes/worker-0/kubelet", "admin"] {
        for extension in ["basicConstraints", "keyUsage", "extendedKeyUsage", "subjectAltName"] {
            let (ours, by_hand) =
                (ours.extension(name, extension), by_hand.extension(name, extension));
            assert_eq!(ours, by_hand, "{name}: {extension}");
        }
    }
}

#[test]
fn what_is_read_is_made_after_the_ca_that_signs_it() {
    let names = |files: &[&str]| -> Vec<String> {
        made(&cluster(), files).into_iter().skip(1).map(|it| it.name).collect()
    };
    assert_eq!(names(&["admin.crt", "etcd/ca.crt"]), ["ca", "etcd/ca", "admin"]);
    assert_eq!(
        names(&["apiserver.key", "sa.key", "encryption.key"]),
        ["ca", "apiserver", "sa", "encryption"]
    );
    assert!(made(&cluster(), &[]).is_empty());
}

#[test]
fn the_commands_say_who_a_certificate_is_for_and_by_which_names() {
    let made = made(&cluster(), &["nodes/worker-0/kubelet.crt"]);
    assert_eq!(made[0].commands, "umask 077\nmkdir -p pki pki/nodes/worker-0\n");
    let kubelet = made.last().expect("a certificate");
    assert_eq!(
        kubelet.what,
        "For system:node:worker-0 in the group system:nodes, as a server and a client; signed by \
         ca."
    );
    for part in [
        "-subj /O=system:nodes/CN=system:node:worker-0",
        "-addext subjectAltName=DNS:worker-0,IP:10.240.0.20",
        "-addext extendedKeyUsage=serverAuth,clientAuth",
        "-CA pki/ca.crt -CAkey pki/ca.key -days 365",
    ] {
        assert!(kubelet.commands.contains(part), "{part}: {}", kubelet.commands);
    }
}

/// The commands of the first chapter of a guide.
fn first_chapter(guide: &str) -> String {
    let from = guide.find("# Keys and certificates\n").expect("a chapter on certificates");
    let chapter = &guide[from..];
    let to = chapter[1..].find("\n# ").map_or(chapter.len(), |end| end + 1);
    chapter[..to]
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .fold(String::new(), |commands, line| commands + line + "\n")
}

#[test]
fn the_guide_is_whole_with_what_its_first_chapter_makes() {
    let (tools, folder) = (crate::cli::Tools::new(), tempfile::tempdir().expect("a folder"));
    let inventory = crate::cli::quiet_lab(&tools, folder.path());
    let explain = |line: &str| {
        let output = tools.labctl(folder.path(), line);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let guide = explain("explain");
    assert!(guide.contains("so run it again then"), "{guide}");
    let (cluster, _) = labctl::cluster::open(&inventory).expect("an inventory");
    let lab = LabDirectory::new(&cluster.lab_directory);
    fs::create_dir_all(lab.root()).expect("a directory");
    let typed = Command::new("sh")
        .args(["-ec", &first_chapter(&guide)])
        .current_dir(lab.root())
        .output()
        .expect("sh starts");
    assert!(typed.status.success(), "{}", String::from_utf8_lossy(&typed.stderr));
    let ensured = pki::ensure(&cluster, &lab, OffsetDateTime::now_utc()).expect("certificates");
    assert_eq!(ensured.issued, []);
    // From now on the plays have these, and who tries the chapter is told what it would replace.
    let again = explain("explain");
    assert!(again.contains("which the commands would replace"), "{again}");
    let ca = fs::read_to_string(lab.pki().join("ca.crt")).expect("a certificate");
    let line = ca.lines().nth(3).expect("a line");
    assert!(again.contains(line) && !guide.contains(line));
    // A play that reads no key has no such chapter.
    assert!(!explain("explain coredns").contains("openssl"));
}
