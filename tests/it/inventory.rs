//! Inventories, good and bad: what the shipped ones mean, and what is said about each mistake that
//! can be made.
//!
//! A mistake is a file `tests/inventory/bad/<case>.yaml`, and what is said about it stands beside
//! it in `<case>.stderr`, to the letter. Write a new case, then let the messages be written and
//! read them:
//!
//!     LABCTL_UPDATE_GOLDEN=1 cargo test --test it inventory

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use labctl::cluster::{Cluster, Jump, PasswordSource, Role, Tool, Version, open, resolve::resolve};
use labctl::inventory::{Problem, load::parse};
use proptest::prelude::*;

mod many;
mod schema;

/// There are more cases than this; fewer mean that some got lost.
const FEWEST_CASES: usize = 90;

fn said(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The files in `tests/inventory/bad` that end in `ending`, without it; paths begin at the package,
/// as messages do.
fn cases(ending: &str) -> BTreeSet<PathBuf> {
    let files = fs::read_dir("tests/inventory/bad").expect("the cases are in tests/inventory/bad");
    let paths = files.map(|file| file.expect("a readable folder").path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .map(|path| path.with_extension(""))
        .collect()
}

#[test]
fn every_mistake_is_named_with_its_place_and_its_remedy() {
    let regenerate = std::env::var_os("LABCTL_UPDATE_GOLDEN").is_some();
    let cases = cases("yaml");
    assert!(cases.len() >= FEWEST_CASES, "only {} cases left in tests/inventory/bad", cases.len());

    let mut wrong = String::new();
    for case in cases {
        let problems = match open(&case.with_extension("yaml")) {
            Err(problems) => problems,
            Ok(_) => {
                wrong += &format!("{}: accepted, though it is wrong\n", case.display());
                continue;
            }
        };
        assert!(
            problems.iter().any(Problem::is_error),
            "{}: refused for a warning",
            case.display()
        );
        for problem in &problems {
            assert!(problem.help.is_some(), "no help with: {problem}");
            assert!(
                !problem.what.starts_with(|c: char| c.is_uppercase() && c != 'I'),
                "upper case: {problem}"
            );
        }
        let golden = case.with_extension("stderr");
        let said = said(&problems);
        if regenerate {
            fs::write(&golden, said).expect("the message can be written");
        } else {
            match fs::read_to_string(&golden) {
                Ok(expected) if expected == said => {}
                Ok(expected) => {
                    wrong +=
                        &format!("{}: expected\n{expected}but it says\n{said}\n", case.display())
                }
                Err(error) => wrong += &format!("{}: {error}; it says\n{said}\n", golden.display()),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_message_belongs_to_a_case() {
    let strays: Vec<PathBuf> = cases("stderr").difference(&cases("yaml")).cloned().collect();
    assert!(strays.is_empty(), "messages without an inventory: {strays:?}");
}

/// The cluster of a shipped inventory, and the warnings about it.
fn shipped(name: &str) -> (Cluster, Vec<Problem>) {
    let path = PathBuf::from(format!("inventories/{name}.yaml"));
    open(&path).unwrap_or_else(|problems| panic!("{name} is refused:\n{}", said(&problems)))
}

#[test]
fn the_sandbox_is_worked_out() {
    let (cluster, warnings) = shipped("sandbox");
    assert_eq!(
        said(&warnings),
        "inventories/sandbox.yaml:41:56: warning: two controllers mean two etcd members, which \
        tolerate no loss: the API \
         stops when either is lost\n  help: fine for a lab, but no safer than one controller; \
        three tolerate the loss of one\n"
    );
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    assert_eq!(cluster.name, "sandbox");
    assert_eq!(cluster.kubernetes, Version::TESTED);
    assert_eq!(cluster.domain, "cluster.local");
    assert_eq!(cluster.lab_directory, here.join("inventories/.labctl/sandbox"));
    assert_eq!(cluster.bundle, Some(here.join("bundle")));
    assert_eq!(cluster.api_url(), "https://10.240.0.5:6443");
    assert_eq!(cluster.api.loadbalancer.as_deref(), Some("lb-0"));
    assert_eq!(cluster.network.kubernetes_service.to_string(), "10.32.0.1");
    assert_eq!(cluster.network.dns_service.to_string(), "10.32.0.10");
    let local = cluster.local.as_ref().expect("labctl makes the nodes");
    assert_eq!(local.gateway.to_string(), "10.240.0.1");
    let nodes: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| {
            let part = node.pod_cidr.map_or("-".to_owned(), |part| part.to_string());
            format!("{} {} {:?} {part}", node.name, node.address, node.roles)
        })
        .collect();
    assert_eq!(
        nodes,
        [
            "lb-0 10.240.0.5 [Loadbalancer] -",
            "controller-0 10.240.0.10 [Controller] -",
            "controller-1 10.240.0.11 [Controller] -",
            "worker-0 10.240.0.20 [Worker] 10.200.0.0/24",
            "worker-1 10.240.0.21 [Worker] 10.200.1.0/24",
            "client-0 10.240.0.30 [Client] -",
        ]
    );
    for node in &cluster.nodes {
        assert_eq!((&node.ssh.user, node.ssh.port), (&None, None));
        assert_eq!(node.ssh.host, node.address.to_string());
        assert_eq!(node.ssh.identity, Some(cluster.lab_directory.join("ssh/id_ed25519")));
    }
    assert_eq!(cluster.node("worker-0").unwrap().labels["disk"], "ssd");
}

#[test]
fn the_other_shipped_inventories_raise_no_question() {
    for file in fs::read_dir("inventories").expect("inventories").flatten() {
        let path = file.path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() || ["sandbox", "kthw"].contains(&&*name) {
            continue;
        }
        let name = &*name;
        let (cluster, warnings) = shipped(name);
        assert_eq!(said(&warnings), "", "{name}");
        // A workshop's first cluster has its number.
        assert_eq!(cluster.name.trim_end_matches("-1"), name);
        // Its kubelet must be one that speaks to Docker.
        let version = if name == "docker" { "1.20.2".parse() } else { Ok(Version::TESTED) };
        assert_eq!(Ok(cluster.kubernetes), version, "{name}");
    }
}

#[test]
fn the_same_lab_on_machines_that_exist_already_is_the_sandbox_elsewhere() {
    let ((own, warnings), (sandbox, _)) = (shipped("kthw"), shipped("sandbox"));
    assert!(said(&warnings).contains("two etcd members"), "{}", said(&warnings));
    assert!(own.local.is_none() && own.bundle.is_none());
    let shape = |cluster: &Cluster| -> Vec<_> {
        cluster
            .nodes
            .iter()
            .map(|node| (node.name.clone(), node.roles.clone(), node.pod_cidr))
            .collect()
    };
    assert_eq!(shape(&own), shape(&sandbox));
}

#[test]
fn on_one_node_the_load_balancer_leaves_6443_to_the_api_server() {
    let (cluster, _) = shipped("single");
    assert_eq!(cluster.api_url(), "https://10.241.0.10:8443");
    assert_eq!(cluster.api.server_port, 6443);
    assert_eq!(
        cluster.nodes[0].roles,
        [Role::Controller, Role::Worker, Role::Loadbalancer, Role::Client]
    );
}

/// The cluster of `text`, as if it stood in `/labs/lab.yaml` and home were `/home/me`.
fn worked_out(text: &str) -> Result<(Cluster, Vec<Problem>), String> {
    let mut inventory =
        parse(Path::new("lab.yaml"), text.as_bytes()).map_err(|problem| problem.to_string())?;
    inventory.folder = PathBuf::from("/labs");
    inventory.home = Some(PathBuf::from("/home/me"));
    resolve(&inventory).map_err(|problems| said(&problems))
}

const HEAD: &str = "name: lab\nkubernetes: \"1.34.4\"\n";

fn lab(rest: &str) -> Cluster {
    worked_out(&format!("{HEAD}{rest}")).unwrap_or_else(|problems| panic!("refused:\n{problems}")).0
}

#[test]
fn a_node_can_differ_from_the_others_in_how_to_log_in() {
    let cluster = lab(r"
ssh: { user: admin, identity: ~/keys/lab, jump: bastion.example.org }
nodes:
  - { name: a, address: 192.0.2.1, roles: [controller, worker] }
  - name: b
    address: 192.0.2.2
    roles: [worker]
    ssh: { host: b.example.org, port: 2222, user: root, identity: ../keys/b,
           jump: me@192.0.2.9:2200 }
  - { name: c, address: 192.0.2.3, roles: [worker], ssh: { jump: none } }
");
    let [a, b, c] = &cluster.nodes[..] else { panic!("three nodes") };
    assert_eq!(a.ssh.host, "192.0.2.1");
    assert_eq!(a.ssh.identity.as_deref(), Some(Path::new("/home/me/keys/lab")));
    assert_eq!((a.ssh.user.as_deref(), a.ssh.port), (Some("admin"), None));
    let said = |host: &str, user: Option<&str>, port| Jump {
        host: host.into(),
        port,
        user: user.map(str::to_owned),
        identity: None,
    };
    assert_eq!(a.ssh.jump, Some(vec![said("bastion.example.org", None, None)]));

    assert_eq!(
        (b.ssh.host.as_str(), b.ssh.port, b.ssh.user.as_deref()),
        ("b.example.org", Some(2222), Some("root"))
    );
    assert_eq!(b.ssh.identity.as_deref(), Some(Path::new("/keys/b")));
    assert_eq!(b.ssh.jump, Some(vec![said("192.0.2.9", Some("me"), Some(2200))]));

    assert_eq!(c.ssh.jump, Some(Vec::new()), "none, whatever a configuration says");
}

#[test]
fn jump_hosts_in_a_row_with_keys_of_their_own() {
    let cluster = lab(r"
ssh:
  user: jane@corp.example
  jump: [outer, { host: inner, user: hop, port: 2200, identity: ~/keys/hop }]
  connect_timeout: 30
  host_keys: accept-new
  become_password_command: pass show lab
nodes:
  - { name: a, address: 192.0.2.1, roles: [controller, worker] }
  - name: b
    address: 192.0.2.2
    roles: [worker]
    ssh: { jump: 'outer,hop@inner:23', host_keys: strict, become: doas, become_password_file: pw }
");
    let [a, b] = &cluster.nodes[..] else { panic!("two nodes") };
    let jumps = a.ssh.jump.as_deref().expect("jump hosts");
    assert_eq!(jumps[0], Jump { host: "outer".into(), port: None, user: None, identity: None });
    assert_eq!(jumps[1].identity.as_deref(), Some(Path::new("/home/me/keys/hop")));
    assert_eq!((jumps[1].user.as_deref(), jumps[1].port), (Some("hop"), Some(2200)));
    assert_eq!((a.ssh.connect_timeout, a.ssh.accept_new), (Some(30), true));
    assert_eq!(a.ssh.escalation.tool, Tool::Sudo);
    assert_eq!(a.ssh.escalation.password, PasswordSource::Command("pass show lab".into()));

    let jumps = b.ssh.jump.as_deref().expect("jump hosts");
    assert_eq!((jumps.len(), jumps[1].port), (2, Some(23)));
    assert_eq!((b.ssh.connect_timeout, b.ssh.accept_new), (Some(30), false));
    assert_eq!(b.ssh.escalation.tool, Tool::Doas);
    assert_eq!(b.ssh.escalation.password, PasswordSource::File("/labs/pw".into()));
}

#[test]
fn without_a_load_balancer_the_first_controller_is_the_endpoint() {
    let cluster = lab("nodes: [{ name: a, address: 192.0.2.1, roles: [controller, worker] }]");
    assert_eq!(cluster.api_url(), "https://192.0.2.1:6443");
    assert_eq!(cluster.api.loadbalancer, None);
    assert_eq!(cluster.lab_directory, Path::new("/labs/.labctl/lab"));
    assert_eq!((cluster.bundle, cluster.local), (None, None));
}

#[test]
fn what_works_but_surprises_is_a_warning() {
    let nodes = (0..3).map(|n| {
        format!("  - {{ name: c-{n}, address: 192.0.2.{}, roles: [controller] }}\n", n + 1)
    });
    let (_, warnings) =
        worked_out(&format!("{HEAD}nodes:\n{}", nodes.collect::<String>())).expect("a lab");
    let whats: Vec<&str> = warnings.iter().map(|warning| warning.what.as_str()).collect();
    assert_eq!(
        whats,
        [
            "no node is a worker: pods will have nowhere to run",
            "several controllers and no load balancer: everything reaches the API through `c-0` \
            alone",
        ]
    );
}

#[test]
fn a_chosen_part_of_the_pod_network_is_idle_where_the_controller_manager_chooses() {
    let warnings = |mode: &str| {
        let text = format!(
            "{HEAD}network: {{ mode: {mode}, pods: 10.8.0.0/20 }}\nnodes: [{{ name: a, address: \
             192.0.2.1, roles: [controller, worker], pod_cidr: 10.8.3.0/24 }}]\n"
        );
        let (_, warnings) = worked_out(&text).expect("a lab");
        warnings.into_iter().map(|warning| warning.what).collect::<Vec<String>>()
    };
    assert_eq!(warnings("routes"), [""; 0]);
    let [warning] = &warnings("none")[..] else { panic!("one warning") };
    assert!(warning.starts_with("`pod_cidr` has no effect with `mode: none`"), "{warning}");
}

#[test]
fn the_endpoint_may_be_the_users_own() {
    let nodes = "nodes: [{ name: a, address: 192.0.2.1, roles: [controller, worker] }]";
    let cluster = lab(&format!("api: {{ endpoint: api.example.org, port: 443 }}\n{nodes}"));
    assert_eq!(cluster.api_url(), "https://api.example.org:443");
    let cluster = lab(&format!("api: {{ endpoint: 192.0.2.1 }}\n{nodes}"));
    assert_eq!(cluster.api_url(), "https://192.0.2.1:6443");
}

#[test]
fn a_workers_part_of_the_pod_network_can_be_chosen() {
    let cluster = lab(r"
network: { pods: 10.8.0.0/20, node_prefix: 25, mode: vxlan, proxy: nftables }
nodes:
  - { name: a, address: 192.0.2.1, roles: [controller] }
  - { name: b, address: 192.0.2.2, roles: [worker] }
  - { name: c, address: 192.0.2.3, roles: [worker], pod_cidr: 10.8.0.0/24 }
");
    let parts: Vec<String> = cluster
        .with_role(Role::Worker)
        .filter_map(|node| node.pod_cidr)
        .map(|part| part.to_string())
        .collect();
    assert_eq!(parts, ["10.8.1.0/25", "10.8.0.0/24"]);
}

/// Values that fit somewhere, and values that fit nowhere.
const WORDS: &[&str] = &[
    "a",
    "lab",
    "\"1.34.4\"",
    "1.30",
    "1.34.4",
    "10.0.0.1",
    "10.0.0.0/8",
    "10.200.0.0/16",
    "10.0.0.0/30",
    "fd00::1",
    "0",
    "22",
    "70000",
    "-1",
    "true",
    "~",
    "none",
    "routes",
    "nftables",
    "controller",
    "[controller]",
    "[worker, loadbalancer]",
    "[]",
    "{}",
    "{ a: b }",
    "\"\"",
    "~/x",
    "me@host:1",
    "api.example.org",
    "é",
    "*x",
    "&x b",
    "!t c",
];

const KEYS: &[&str] = &[
    "name",
    "kubernetes",
    "domain",
    "bundle",
    "local",
    "subnet",
    "ssh",
    "user",
    "port",
    "identity",
    "jump",
    "host",
    "network",
    "pods",
    "services",
    "node_prefix",
    "mode",
    "proxy",
    "api",
    "endpoint",
    "names",
    "pki",
    "algorithm",
    "ca_days",
    "leaf_days",
    "nodes",
    "address",
    "roles",
    "labels",
    "pod_cidr",
    "<<",
    "other",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_inventory_makes_labctl_panic(
        lines in prop::collection::vec(
            (
                0usize..4,
                any::<bool>(),
                prop::sample::select(KEYS),
                prop::option::of(prop::sample::select(WORDS)),
            ),
            0..30,
        )
    ) {
        let text: String = lines
            .iter()
            .map(|(depth, item, key, word)| {
                format!("{}{}{key}: \
                    {}\n", "  ".repeat(*depth), if *item { "- " } else { "" }, word.unwrap_or(""))
            })
            .collect();
        let _ = worked_out(&text);
    }

    #[test]
    fn any_values_in_the_right_places_end_in_a_lab_or_in_problems_with_places(
        words in prop::collection::vec(prop::sample::select(WORDS), 20)
    ) {
        let [name, kubernetes, subnet, user, jump, pods, services, prefix, endpoint, port, ..] =
            words[..]
        else { unreachable!("twenty words") };
        let [a, b, c, d, e, f, g, h, i, j] = words[10..] else { unreachable!("ten more") };
        let text = format!(
            "name: {name}\nkubernetes: {kubernetes}\nlocal: {{ subnet: {subnet} }}\nssh: {{ user: \
            {user}, jump: {jump} }}\n\
             network: {{ pods: {pods}, services: {services}, node_prefix: {prefix} }}\n\
             api: {{ endpoint: {endpoint}, port: {port} }}\nnodes:\n  - {{ name: {a}, address: \
            {b}, roles: {c}, labels: {d} }}\n  \
             - {{ name: {e}, address: {f}, roles: {g}, pod_cidr: {h}, ssh: {{ host: {i}, port: \
            {j} }} }}\n"
        );
        let inventory = parse(Path::new("lab.yaml"), text.as_bytes());
        let inventory = inventory.map_err(|problem| vec![problem]);
        let problems = match inventory.and_then(|inventory| resolve(&inventory)) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        for problem in problems {
            prop_assert!(problem.line > 0 && problem.column > 0, "{problem} has no place \
                in\n{text}");
        }
    }
}
