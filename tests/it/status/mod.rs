//! What `status` says of a lab: of one that is well nothing, and of each fault, planted into what
//! nodes answer, that it is the first thing wrong, with the command that mends it.

mod faults;
mod world;

use std::collections::BTreeMap;

use labctl::status::FaultKind;
use labctl::status::ask::server_url;
use labctl::status::judge::docket::Silence;
use time::Duration;

use self::faults::{BETWEEN_NODES, IN_THE_CLUSTER, ON_NODES, STOPPED};
use self::world::World;

#[test]
fn a_lab_that_is_well_has_nothing_wrong() {
    let status = World::well().judged();
    assert_eq!(status.findings, [], "{:#?}", status.findings);
    assert!(status.well);
    assert_eq!(status.etcd.leader.as_deref(), Some("controller-0"));
    assert_eq!(status.etcd.members.len(), 3);
    assert_eq!(status.pods.as_ref().map(|pods| (pods.running, pods.all)), Some((1, 1)));
    let endpoint = status.api.last().expect("the endpoint");
    assert_eq!((endpoint.name.as_str(), endpoint.reached_by.len()), ("lb-0", 7));
    let worker = status.nodes.iter().find(|node| node.name == "worker-0").expect("a worker");
    assert_eq!((worker.ready, worker.units, worker.up_seconds), (Some(true), (3, 3), Some(7380)));
    assert_eq!(worker.certificate_days, Some(364));
}

#[test]
fn each_fault_is_named_first_with_its_remedy() {
    let well = World::well();
    let all = [ON_NODES, BETWEEN_NODES, IN_THE_CLUSTER].concat();
    assert!(all.len() > 25, "{}", all.len());
    for (what, plant, kind, node, says, mend) in all {
        let mut world = World {
            cluster: well.cluster.clone(),
            pki: well.pki.clone(),
            texts: well.texts.clone(),
            silent: BTreeMap::new(),
            drift: well.drift.clone(),
            now: well.now,
        };
        plant(&mut world);
        let status = world.judged();
        let first = status.findings.first().unwrap_or_else(|| panic!("{what}: all is well"));
        let all = &status.findings;
        assert_eq!((first.kind, first.node.as_deref()), (kind, node), "{what}: {all:#?}");
        assert!(first.what.contains(says), "{what}: {first:#?}");
        assert!(first.mend.starts_with(mend), "{what}: {first:#?}");
        assert!(!status.well, "{what}");
    }
}

/// An etcd that was given no name calls itself `default`; its node is known by its number.
#[test]
fn a_member_of_etcd_is_its_nodes_whatever_it_calls_itself() {
    let mut world = World::well();
    world.everywhere(r#""ID":"2","name":"controller-1""#, r#""ID":"2","name":"default""#);
    let status = world.judged();
    assert_eq!(status.findings, [], "{:#?}", status.findings);
    let members: Vec<_> =
        status.etcd.members.iter().map(|it| (it.name.as_str(), it.healthy)).collect();
    let of = |name| (name, true);
    assert_eq!(members, [of("controller-0"), of("controller-1"), of("controller-2")]);
}

/// A consequence is not named beside its cause.
#[test]
fn what_follows_from_a_fault_is_left_out() {
    let mut world = World::well();
    world.unit("controller-1", "kube-apiserver", STOPPED);
    let url = server_url(&world.cluster, world.cluster.node("controller-1").expect("one"));
    world.everywhere(&format!("path\t200\t{url}"), &format!("path\t000\t{url}"));
    let ready = "ok\n@200 https://127.0.0.1:6443/readyz\n";
    world.change("controller-1", ready, "curl: (7)\n@000 https://127.0.0.1:6443/readyz\n");
    let status = world.judged();
    assert_eq!(status.findings.len(), 1, "{:#?}", status.findings);
    let server = status.api.iter().find(|path| path.name == "controller-1").expect("a path");
    assert!(server.reached_by.is_empty(), "{server:?}");
}

#[test]
fn certificates_are_judged_by_date_and_by_the_labs_ca() {
    let mut world = World::well();
    world.now += Duration::days(350);
    world.everywhere("clock\t", "uhr\t");
    let soon = world.judged();
    let first = &soon.findings[0];
    assert_eq!(first.kind, FaultKind::Expiring, "{first:#?}");
    world.now += Duration::days(30);
    let status = world.judged();
    let first = &status.findings[0];
    assert_eq!(first.kind, FaultKind::Certificate, "{first:#?}");
    assert!(first.what.starts_with("certificates have expired: "), "{first:#?}");
    assert_eq!(first.mend, "labctl certs renew ha.yaml controller-0");

    let mut world = World::well();
    let other = World::well();
    let line = |world: &World| {
        let text = &world.texts["worker-1"];
        let path = "certificate\t/etc/kubernetes/pki/kubelet.crt";
        text.lines().find(|line| line.starts_with(path)).expect("a certificate").to_owned()
    };
    let (ours, theirs) = (line(&world), line(&other));
    world.change("worker-1", &ours, &theirs);
    let status = world.judged();
    let first = &status.findings[0];
    assert_eq!((first.kind, first.node.as_deref()), (FaultKind::Certificate, Some("worker-1")));
    assert_eq!(first.what, "certificates are not of this lab's CA: pki/kubelet.crt");
    assert_eq!(first.mend, "labctl up ha.yaml");
}

/// Local nodes that do not run, and nodes that nothing was done to yet.
#[test]
fn a_lab_that_is_not_up_is_brought_up() {
    let mut world = World::well();
    for node in &world.cluster.nodes {
        world.silent.insert(node.name.clone(), Silence::Stopped);
    }
    let status = world.judged();
    assert_eq!(status.findings.len(), 7);
    assert!(status.findings.iter().all(|it| it.what == "does not run"));
    assert!(status.findings.iter().all(|it| it.mend == "labctl up ha.yaml"));
    assert!(status.nodes.iter().all(|node| !node.reached));

    let mut world = World::well();
    world.without("worker-0", |line| !line.starts_with("clock") && line != "end");
    let status = world.judged();
    let of_node: Vec<&str> = status
        .findings
        .iter()
        .filter(|it| it.node.as_deref() == Some("worker-0"))
        .map(|it| it.what.as_str())
        .collect();
    assert_eq!(of_node, ["is not set up yet"]);
}
