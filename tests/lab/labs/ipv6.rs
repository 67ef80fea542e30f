//! IPv6: a lab whose pods and Services have addresses of both IP families, and one without IPv4.

use super::{answered, in_time, is_well, web};
use crate::lab::Lab;
use crate::{goes_without_a_trace, passes_smoke};

/// Pods' names, nodes and addresses of one family, each pod on a line.
fn pods(lab: &Lab, family: usize) -> Vec<[String; 3]> {
    let fields = format!("{{.metadata.name}},{{.spec.nodeName}},{{.status.podIPs[{family}].ip}}");
    let list = lab.kubectl_says(&format!(
        "get pods -l app=web -o jsonpath={{range.items[*]}}{fields};{{end}}"
    ));
    let pod = |text: &str| -> [String; 3] {
        let fields: Vec<String> = text.split(',').map(str::to_owned).collect();
        fields.try_into().expect("a name, a node and an address")
    };
    list.split_terminator(';').map(pod).collect()
}

/// An address as a URL has it.
fn in_url(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// Every pod reaches every pod, also when nothing else may be forwarded.
fn pods_reach_each_other(lab: &Lab, pods: &[[String; 3]]) {
    let policy = |which: &str| {
        for [_, node, _] in pods {
            lab.on(
                node,
                &format!("iptables -w -P FORWARD {which}; ip6tables -w -P FORWARD {which}"),
            );
        }
    };
    policy("DROP");
    for [from, on, _] in pods {
        for [to, at, address] in pods {
            let url = format!("http://{}/", in_url(address));
            let answer = lab.kubectl_says(&format!("exec {from} -- wget -q -T 5 -O - {url}"));
            assert_eq!(answer, *to, "from {on} to {at} at {url}");
        }
    }
    policy("ACCEPT");
}

/// A certificate on a node holds each of these addresses.
fn holds(lab: &Lab, node: &str, file: &str, addresses: &[&str]) {
    for address in addresses {
        let check = format!("openssl x509 -noout -in {file} -checkip {address}");
        let answer = lab.on(node, &check);
        assert!(answer.contains("does match"), "{node}: {file}: {answer}");
    }
}

#[test]
fn pods_and_services_have_both_families() {
    let lab = Lab::new("dual-stack");
    lab.must(&["up"]);
    passes_smoke(&lab, 15);
    let workers = "get nodes -o jsonpath={range.items[*]}{.metadata.name}:\
        {range.status.addresses[?(@.type=='InternalIP')]}{.address},{end};{end}";
    let nodes = lab.kubectl_says(workers);
    assert!(nodes.contains("worker-0:10.235.0.20,fd00:235::20,"), "{nodes}");

    // A pod has an address of each, in its node's part of each.
    web(&lab, "controller-0", 2);
    for (family, part) in [(0, "10.200."), (1, "fd00:200:")] {
        let pods = pods(&lab, family);
        assert!(pods.iter().all(|[_, _, address]| address.starts_with(part)), "{pods:?}");
        pods_reach_each_other(&lab, &pods);
    }

    // A Service has one address, unless it asks for two.
    let addresses = |name: &str| {
        let list =
            lab.kubectl_says(&format!("get service {name} -o jsonpath={{.spec.clusterIPs}}"));
        serde_json::from_str::<Vec<String>>(&list).expect("a list")
    };
    assert_eq!(addresses("web").len(), 1);
    let both = "{apiVersion: v1, kind: Service, metadata: {name: both}, spec: {ipFamilyPolicy: \
        RequireDualStack, type: NodePort, selector: {app: web}, ports: [{port: 80}]}}";
    let kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf";
    lab.on("controller-0", &format!("{kubectl} apply -f - <<'END'\n{both}\nEND"));
    let [old, new] = &addresses("both")[..] else { panic!("two addresses") };
    assert!(old.starts_with("10.32.0.") && new.starts_with("fd00:32::"), "{old} {new}");
    let port = lab.kubectl_says("get service both -o jsonpath={.spec.ports[0].nodePort}");
    let node_ports = ["10.235.0.21", "[fd00:235::21]"].map(|node| format!("{node}:{port}"));
    for address in [old.clone(), in_url(new)].iter().chain(&node_ports) {
        // The rules follow the Service after a moment.
        assert!(
            lab.within_two_minutes(|| answered(&lab, "worker-0", address, 1) == 1),
            "{address}"
        );
        assert_eq!(answered(&lab, "worker-0", address, 100), 100, "{address}");
    }

    let api = "/etc/kubernetes/pki/apiserver.crt";
    let own = ["10.32.0.1", "10.235.0.5", "fd00:235::5", "10.235.0.10", "fd00:235::10"];
    holds(&lab, "controller-0", api, &own);
    holds(&lab, "worker-1", "/etc/kubernetes/pki/kubelet.crt", &["10.235.0.21", "fd00:235::21"]);

    // The load balancer answers at its IPv6 address too.
    let ready = "curl -qsf --noproxy '*' --cacert /etc/kubernetes/pki/ca.crt \
        https://[fd00:235::5]:6443/readyz";
    assert_eq!(lab.on("controller-0", ready), "ok");
    a_lost_route_comes_back(&lab);
    is_well(&lab);
    a_worker_comes_and_goes(&lab);
    goes_without_a_trace(&lab);
}

/// A route of the second family that is lost is seen, and comes back.
fn a_lost_route_comes_back(lab: &Lab) {
    lab.on("worker-0", "ip -6 route flush root fd00:200::/56 proto boot");
    let plan = lab.run(&["plan"]);
    assert_eq!(plan.code, Some(3), "{}", plan.story());
    let task = "routes to the other workers' pods in the second IP family";
    assert!(plan.story().contains(task), "{}", plan.story());
    let status = lab.run(&["status"]);
    assert_ne!(status.code, Some(0), "a route is missing");
    lab.must(&["up"]);
    let route = lab.on("worker-0", "ip -6 route show fd00:200:0:1::/64");
    assert!(route.contains("via fd00:235::21"), "{route}");
}

/// A worker that comes is reached by both families, and the ways to it go with it.
fn a_worker_comes_and_goes(lab: &Lab) {
    let address = "10.235.0.22,fd00:235::22";
    lab.must(&["node", "add", "worker-2", "--address", address, "--role", "worker"]);
    in_time(lab, "get daemonset web -o jsonpath={.status.numberReady}", |it| it == "3");
    for family in [0, 1] {
        let pods = pods(lab, family);
        assert_eq!(pods.len(), 3);
        pods_reach_each_other(lab, &pods);
    }
    let ways = "ip route; ip -6 route";
    assert!(lab.on("worker-0", ways).contains("fd00:200:0:2::/64 via fd00:235::22"));
    lab.must(&["node", "remove", "worker-2", "--yes"]);
    let left = lab.on("worker-0", ways);
    assert!(!left.contains("fd00:200:0:2::") && !left.contains("10.200.2."), "{left}");
}

#[test]
fn a_lab_without_ipv4_is_a_lab() {
    let lab = Lab::new("ipv6");
    lab.must(&["up"]);
    passes_smoke(&lab, 13);
    let server = lab.kubectl_says("config view --minify -o jsonpath={.clusters[0].cluster.server}");
    assert_eq!(server, "https://[fd00:236::5]:6443");
    for node in lab.nodes() {
        assert_eq!(lab.on(&node, "ip -o -4 address show scope global"), "", "{node}");
    }

    let (_, service) = web(&lab, "controller-0", 2);
    let all = pods(&lab, 0);
    assert!(all.iter().all(|[_, _, address]| address.starts_with("fd00:200:")), "{all:?}");
    pods_reach_each_other(&lab, &all);
    assert!(service.starts_with("fd00:32::"), "{service}");
    assert_eq!(answered(&lab, "worker-1", &in_url(&service), 100), 100);

    let pki = "/etc/kubernetes/pki";
    let own = ["fd00:32::1", "fd00:236::5", "fd00:236::10"];
    holds(&lab, "controller-0", &format!("{pki}/apiserver.crt"), &own);
    holds(&lab, "controller-0", &format!("{pki}/etcd/peer.crt"), &["fd00:236::10"]);
    holds(&lab, "worker-0", &format!("{pki}/kubelet.crt"), &["fd00:236::20"]);

    // An etcd member leaves, and joins the others again.
    lab.must(&["node", "remove", "controller-2", "--yes"]);
    let add = ["node", "add", "controller-2", "--address", "fd00:236::12", "--role", "controller"];
    lab.must(&add);
    let members = "etcdctl --endpoints https://127.0.0.1:2379 --cacert \
        /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/healthcheck-client.crt \
        --key /etc/kubernetes/pki/etcd/healthcheck-client.key member list";
    let members = lab.on("controller-0", members);
    assert!(members.contains("https://[fd00:236::12]:2380"), "{members}");
    is_well(&lab);
    goes_without_a_trace(&lab);
}
