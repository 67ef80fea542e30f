//! Many nodes in few lines: ranges, `defaults`, keys that are ignored, and variables.

use labctl::inventory::load::parse_with;

use super::*;

const BIG: &str = "name: big
kubernetes: \"1.34.4\"
local: { subnet: 10.240.0.0/24 }
defaults: { roles: [worker], labels: { disk: ssd } }
nodes:
  - { name: lb-0, address: 10.240.0.5, roles: [loadbalancer] }
  - { name: \"controller-[0-2]\", address: 10.240.0.10, roles: [controller] }
  - { name: \"worker-[0-45]\", address: 10.240.0.20 }
";

/// The cluster of `text` with these variables.
fn with(variables: &[(&str, &str)], text: &str) -> Result<Cluster, String> {
    let lookup = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let mut inventory = parse_with(Path::new("lab.yaml"), text.as_bytes(), &lookup)
        .map_err(|problem| problem.to_string())?;
    inventory.folder = PathBuf::from("/labs");
    resolve(&inventory).map(|(cluster, _)| cluster).map_err(|problems| said(&problems))
}

#[test]
fn fifty_nodes_are_ten_lines() {
    assert!(BIG.lines().count() <= 10);
    let mut long = String::from(
        "name: big\nkubernetes: \"1.34.4\"\nlocal: { subnet: 10.240.0.0/24 }\nnodes:\n\
        \x20 - { name: lb-0, address: 10.240.0.5, roles: [loadbalancer] }\n",
    );
    let mut add = |name: &str, index: u8, first: u8, rest: &str| {
        let address = first + index;
        long += &format!(
            "  - {{ name: {name}-{index}, address: 10.240.0.{address}, roles: [{name}]{rest} }}\n"
        );
    };
    (0..3).for_each(|index| add("controller", index, 10, ""));
    (0..46).for_each(|index| add("worker", index, 20, ", labels: { disk: ssd }"));
    let cluster = with(&[], BIG).expect("a lab");
    assert_eq!(cluster.nodes.len(), 50);
    assert_eq!(cluster, with(&[], &long).expect("the same lab, written out"));
}

#[test]
fn what_a_node_says_itself_takes_precedence_over_the_defaults() {
    let cluster = lab("defaults:
  roles: [worker]
  labels: { disk: ssd, zone: a }
  taints: [\"dedicated=lab:NoSchedule\"]
nodes:
  - { name: a, address: 192.0.2.1, roles: [controller, worker], taints: [] }
  - { name: b, address: 192.0.2.2, labels: { disk: hdd } }
  - { name: c, address: 192.0.2.3, roles: [client] }
");
    let node = |name: &str| cluster.node(name).expect("a node");
    let labels = |name: &str| -> Vec<String> {
        node(name).labels.iter().map(|(key, value)| format!("{key}={value}")).collect()
    };
    assert_eq!(
        (labels("a"), node("a").taints.len()),
        (vec!["disk=ssd".into(), "zone=a".into()], 0)
    );
    assert_eq!(
        (labels("b"), node("b").taints.len()),
        (vec!["disk=hdd".into(), "zone=a".into()], 1)
    );
    assert_eq!(node("b").roles, [Role::Worker]);
    assert_eq!((labels("c"), node("c").taints.len()), (vec![], 0), "a client has no Node object");
}

#[test]
fn the_hosts_of_a_range_count_on_as_its_addresses_do() {
    let cluster = lab("nodes:
  - { name: c, address: 192.0.2.1, roles: [controller] }
  - { name: \"w-[8-10]\", address: 10.0.0.255, roles: [worker],
      ssh: { host: \"lab-[08-10].example.org\" } }
  - { name: \"v-[0-1]\", address: 10.0.2.1, roles: [worker], ssh: { host: 192.0.2.7, port: 23 } }
");
    let found: Vec<String> = cluster.nodes[1..]
        .iter()
        .map(|node| format!("{} {} {}", node.name, node.address, node.ssh.host))
        .collect();
    assert_eq!(
        found,
        [
            "w-8 10.0.0.255 lab-08.example.org",
            "w-9 10.0.1.0 lab-09.example.org",
            "w-10 10.0.1.1 lab-10.example.org",
            "v-0 10.0.2.1 192.0.2.7",
            "v-1 10.0.2.2 192.0.2.8",
        ]
    );
}

#[test]
fn nodes_of_both_ip_families_have_an_address_and_a_part_of_each() {
    let networks = |more: &str| {
        format!(
            "network: {{ pods: [10.200.0.0/16, \"fd00:200::/48\"], services: [10.32.0.0/24, \
             \"fd00:32::/112\"]{more} }}
nodes:
  - {{ name: c, address: [192.0.2.1, \"fd00::1\"], roles: [controller] }}
  - {{ name: lb, address: 192.0.2.2, roles: [loadbalancer] }}
  - {{ name: \"w-[9-11]\", address: [192.0.2.254, \"fd00::ffff\"], roles: [worker] }}
  - {{ name: x, address: [192.0.3.9, \"fd00::9\"], roles: [worker],
      pod_cidr: [\"fd00:200:0:7::/64\"] }}
"
        )
    };
    let cluster = lab(&networks(""));
    let shown = |cluster: &Cluster| -> Vec<String> {
        let workers = cluster.with_role(Role::Worker);
        let words = workers.map(|node| {
            let addresses = node.addresses().map(|it| it.to_string());
            let parts = node.pod_cidrs().map(|it| it.to_string());
            addresses.chain(parts).collect::<Vec<String>>().join(" ")
        });
        words.collect()
    };
    assert_eq!(
        shown(&cluster),
        [
            "192.0.2.254 fd00::ffff 10.200.9.0/24 fd00:200:0:9::/64",
            "192.0.2.255 fd00::1:0 10.200.10.0/24 fd00:200:0:a::/64",
            "192.0.3.0 fd00::1:1 10.200.11.0/24 fd00:200:0:b::/64",
            "192.0.3.9 fd00::9 10.200.0.0/24 fd00:200:0:7::/64",
        ]
    );
    let network = &cluster.network;
    assert_eq!(network.kubernetes_service.to_string(), "10.32.0.1");
    let capabilities = network.capabilities();
    assert!(capabilities.ipv4 && capabilities.ipv6 && capabilities.dual_stack);
    assert_eq!(cluster.node("lb").expect("a node").second_address, None);

    // Each family has a prefix length of its own.
    let small = lab(&networks(", node_prefix: [25, 64]"));
    assert_eq!(shown(&small)[0], "192.0.2.254 fd00::ffff 10.200.4.128/25 fd00:200:0:9::/64");
}

#[test]
fn a_lab_may_be_without_ipv4() {
    let cluster = lab("network: { pods: \"fd00:200::/56\", services: \"fd00:32::/112\" }
nodes:
  - { name: c, address: \"fd00::1\", roles: [controller] }
  - { name: w-1, address: \"fd00::2\", roles: [worker] }
");
    assert_eq!(cluster.api_url(), "https://[fd00::1]:6443");
    assert_eq!(cluster.founding().members, "c=https://[fd00::1]:2380");
    assert_eq!(cluster.network.dns_service.to_string(), "fd00:32::a");
    let capabilities = cluster.network.capabilities();
    assert!(!capabilities.ipv4 && capabilities.ipv6 && !capabilities.dual_stack);
    let part = cluster.node("w-1").and_then(|node| node.pod_cidr).expect("a part");
    assert_eq!(part.to_string(), "fd00:200:0:1::/64");
}

#[test]
fn keys_that_begin_with_x_are_for_anchors() {
    let cluster = lab("x-access: &access { user: admin, password: \"${NOBODY_READS_THIS}\" }
x-worker: &worker { roles: [worker], labels: { disk: ssd } }
nodes:
  - { name: c, address: 192.0.2.1, roles: [controller] }
  - { <<: *worker, name: w, address: 192.0.2.2 }
");
    assert_eq!(cluster.node("w").expect("a worker").labels["disk"], "ssd");
}

#[test]
fn variables_are_values_of_any_type() {
    let text = "name: ${LAB:-lab}
kubernetes: \"${VERSION}\"
ssh: { port: \"${PORT:-22}\", user: \"${LOGIN}\" }
components:
  kubelet:
    config: { maxPods: \"${PODS}\" }
  kube-proxy:
    config:
      metricsBindAddress: ${ADDRESS:-127.0.0.1}:10249
      enableProfiling: ${PROFILING:-true}
nodes:
  - name: node-${NUMBER:-0}
    address: 192.0.2.${NUMBER}
    roles: [controller, worker]
";
    let variables = [
        ("VERSION", "1.34.4"),
        ("PORT", "2222"),
        ("LOGIN", "a{b}"),
        ("PODS", "42"),
        ("NUMBER", "7"),
    ];
    let cluster = with(&variables, text).expect("a lab");
    assert_eq!((cluster.name.as_str(), cluster.nodes[0].name.as_str()), ("lab", "node-7"));
    let ssh = &cluster.nodes[0].ssh;
    assert_eq!((ssh.port, ssh.user.as_deref()), (Some(2222), Some("a{b}")), "a value is no YAML");
    let config = |program: &str| {
        serde_json::to_value(&cluster.components).expect("JSON")[program]["config"].clone()
    };
    // In quotes it is text, as it is without a variable.
    assert_eq!(config("kubelet"), serde_json::json!({ "maxPods": "42" }));
    assert_eq!(
        config("kube-proxy"),
        serde_json::json!({ "metricsBindAddress": "127.0.0.1:10249", "enableProfiling": true })
    );
    let refused = with(&variables[..4], text).expect_err("a variable is not set");
    assert_eq!(
        refused,
        "lab.yaml:13:22: the variable `NUMBER` is not set\n  \
         help: `export NUMBER=...`, or give it a default: `${NUMBER:-...}`\n"
    );
}
