//! Six clusters at once from one file, and a card for each attendee.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use crate::lab::Lab;

const CLUSTERS: u16 = 6;

/// labctl for one of the clusters, as its attendee's teacher types it.
pub(super) fn of(lab: &Lab, cluster: u16, verb: &[&str]) -> Output {
    let output = lab.labctl(verb).env("CLUSTER", cluster.to_string()).output();
    output.expect("labctl starts")
}

/// kubectl with what the attendee has, in the directory of the cards.
fn attendee(cards: &Path, cluster: u16, arguments: &str) -> String {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle/bin/kubectl"))
        .args(["--kubeconfig", &format!("workshop-{cluster}.conf")])
        .args(arguments.split(' '))
        .current_dir(cards)
        .output()
        .expect("kubectl starts");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cluster {cluster}: kubectl {arguments}: {why}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Each card opens its own cluster, with every number where it belongs.
fn the_cards_open_the_clusters(lab: &Lab) {
    lab.must(&["workshop", "cards", "--to", "given"]);
    let cards = lab.folder().join("given");
    let file = |name: &str| fs::read(cards.join(name)).expect(name);
    let (text, page) = (file("cards.txt"), file("cards.html"));
    let (text, page) = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&page));
    assert_eq!(page.matches("<section>").count(), usize::from(CLUSTERS));
    for number in 1..=CLUSTERS {
        let api = format!("https://172.29.{number}.10:6443");
        assert!(text.contains(&api) && page.contains(&api), "{text}\n{page}");
        let node = attendee(&cards, number, "get nodes -o jsonpath={.items[*].status.addresses}");
        assert!(node.contains(&format!("172.29.{number}.10")), "{node}");
        let pods = attendee(
            &cards,
            number,
            "-n kube-system get pods -o jsonpath={.items[*].status.podIP}",
        );
        assert!(pods.starts_with(&format!("10.{number}.")), "{pods}");
        let service =
            attendee(&cards, number, "get service kubernetes -o jsonpath={.spec.clusterIP}");
        assert_eq!(service, format!("172.31.{number}.1"));
        // The login as the card has it.
        let login = format!("ssh -i workshop-{number}.key root@172.29.{number}.10");
        assert!(text.contains(&login), "{text}");
        let words = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
        let typed = login.replace("ssh ", &format!("ssh {words} ")) + " hostname";
        let hostname =
            Command::new("sh").args(["-c", &typed]).current_dir(&cards).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&hostname.stdout).trim(), "node-0", "{hostname:?}");
    }
    // Another implementation reads the PDF.
    let count = crate::lab::said(
        "qpdf",
        &["--show-npages", &cards.join("cards.pdf").display().to_string()],
    );
    assert_eq!(count.trim(), "1");
    fs::remove_dir_all(&cards).expect("the cards");
}

#[test]
#[allow(clippy::print_stdout, reason = "how long six clusters take, beside one")]
fn six_clusters_come_up_at_once_and_each_attendee_has_a_card() {
    let lab = Lab::new("workshop");
    let timed = |verb: &[&str], cluster: Option<u16>| {
        let begin = Instant::now();
        let mut command = lab.labctl(verb);
        cluster.map(|number| command.env("CLUSTER", number.to_string()));
        let output = command.output().expect("labctl starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{verb:?}: {said}");
        (begin.elapsed().as_secs_f64(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (one, _) = timed(&["up"], Some(1));
    timed(&["down", "--yes"], Some(1));
    let (six, said) = timed(&["workshop", "up", "--at-once", "6"], None);
    println!("one cluster: {one:.1} s; six at once: {six:.1} s, {:.2} times that", six / one);
    assert_eq!(said.lines().filter(|line| line.contains(" up in ")).count(), 6, "{said}");
    the_cards_open_the_clusters(&lab);

    // Each is a lab like any other, and what is up stays as it is.
    assert!(of(&lab, 3, &["smoke"]).status.success());
    assert_eq!(of(&lab, 5, &["plan"]).status.code(), Some(0));

    // One that fails stops no other, and is named with its reason and what tries again: somebody
    // works on that cluster already.
    let lock = lab.folder().join(".labctl/workshop-2/lock");
    let lock = fs::File::options().write(true).open(lock).expect("a lock");
    lock.lock().expect("it is ours");
    let stop = ["ssh", "inventory.yaml", "node-0", "--", "systemctl stop kube-scheduler"];
    assert!(of(&lab, 4, &stop).status.success());
    let again = lab.labctl(&["workshop", "up"]).output().expect("labctl starts");
    let (out, error) =
        (String::from_utf8_lossy(&again.stdout), String::from_utf8_lossy(&again.stderr));
    assert_eq!(again.status.code(), Some(1), "{out}{error}");
    assert_eq!(out.lines().filter(|line| line.contains(" up in ")).count(), 5, "{out}{error}");
    assert!(error.contains("cluster 2, workshop-2: up failed"), "{error}");
    assert!(error.contains("CLUSTER=2 labctl up inventory.yaml"), "{error}");
    assert!(error.contains("another labctl is working on this lab"), "it says why: {error}");
    drop(lock);
    let mended = of(&lab, 4, &["status"]);
    assert!(mended.status.success(), "the others are as they should be: {mended:?}");

    lab.must(&["workshop", "down", "--yes", "--at-once", "3"]);
    assert_eq!(lab.traces(), Vec::<String>::new());
}
