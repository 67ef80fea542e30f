//! Faults, planted into what nodes answer.

use labctl::status::ask::{peer_url, server_url};
use labctl::status::judge::docket::Silence;
use labctl::status::{Deviation, DriftedTask, FaultKind};

use super::world::World;

pub const STOPPED: &str = "unit\tActiveState=inactive\nunit\tSubState=dead\n";
pub const FAILED: &str =
    "unit\tActiveState=failed\nunit\tSubState=failed\nunit\tResult=exit-code\n";

/// Plants a fault.
pub type Plant = fn(&mut World);

/// What is planted, the kind and the node of the first finding, a word of it, and how its remedy
/// begins.
pub type Planted =
    (&'static str, Plant, FaultKind, Option<&'static str>, &'static str, &'static str);

/// Faults of the machine and of its programs.
pub const ON_NODES: &[Planted] = &[
    (
        "containerd dead",
        |world| {
            world.unit("worker-1", "containerd", FAILED);
            world.unit("worker-1", "kubelet", FAILED);
        },
        FaultKind::Unit,
        Some("worker-1"),
        "containerd.service has failed (exit-code)",
        "labctl up ha.yaml",
    ),
    (
        "kube-proxy stopped",
        |world| {
            world.unit("worker-0", "kube-proxy", STOPPED);
            world.change(
                "worker-0",
                "health\t200\thttp://127.0.0.1:10256",
                "health\t000\thttp://127.0.0.1:10256",
            );
        },
        FaultKind::Unit,
        Some("worker-0"),
        "kube-proxy.service is stopped",
        "labctl up ha.yaml",
    ),
    (
        "a kubelet that crashes again and again",
        |world| {
            let state = "unit\tActiveState=activating\nunit\tSubState=auto-restart\n\
                         unit\tNRestarts=59\n";
            world.unit("worker-2", "kubelet", state);
        },
        FaultKind::Unit,
        Some("worker-2"),
        "kubelet.service ends again and again",
        "labctl up ha.yaml",
    ),
    (
        "the load balancer down",
        |world| {
            world.unit("lb-0", "nginx", STOPPED);
            world.everywhere("path\t200\thttps://10.240.0.5", "path\t000\thttps://10.240.0.5");
        },
        FaultKind::Unit,
        Some("lb-0"),
        "nginx.service is stopped",
        "labctl up ha.yaml",
    ),
    (
        "a disk full",
        |world| {
            world.add("controller-1", "room\tspace\t99%\t12\t/var/lib/etcd");
            world.unit("controller-1", "etcd", FAILED);
        },
        FaultKind::Full,
        Some("controller-1"),
        "/var/lib/etcd is 99 % full",
        "labctl exec ha.yaml controller-1 -- 'du -xh /var/lib/etcd",
    ),
    (
        "no inodes left",
        |world| world.add("worker-1", "room\tinodes\t100%\t0\t/var"),
        FaultKind::Full,
        Some("worker-1"),
        "inodes of /var is 100 % full",
        "labctl exec ha.yaml worker-1 -- 'du --inodes",
    ),
    (
        "the API's data read-only",
        |world| world.add("controller-2", "readonly\t/var/lib/etcd"),
        FaultKind::ReadOnly,
        Some("controller-2"),
        "/var/lib/etcd is read-only",
        "labctl exec ha.yaml controller-2 -- 'mount -o remount,rw",
    ),
    (
        "swap on",
        |world| world.add("worker-0", "swap\t/dev/sda2"),
        FaultKind::Swap,
        Some("worker-0"),
        "swap is on: /dev/sda2",
        "labctl up ha.yaml",
    ),
    (
        "a clock an hour off",
        |world| {
            let now = world.now.unix_timestamp();
            let (right, wrong) = (format!("clock\t{now}"), format!("clock\t{}", now + 3600));
            world.change("worker-2", &right, &wrong);
        },
        FaultKind::Clock,
        Some("worker-2"),
        "its clock is 3600 s ahead of the others'",
        "labctl exec ha.yaml worker-2 -- timedatectl set-ntp true",
    ),
    (
        "a node unreachable",
        |world| {
            let why = Silence::NoConnection("connect: no route to host".to_owned());
            world.silent.insert("worker-1".to_owned(), why);
            world.api("/api/v1/nodes?limit=500", "{\"items\":[]}", 200);
        },
        FaultKind::Unreachable,
        Some("worker-1"),
        "cannot be reached: connect: no route to host",
        "labctl ssh ha.yaml worker-1",
    ),
    (
        "another lab's node",
        |world| {
            world.change("worker-0", "mark\tlab ha", "mark\tlab theirs");
            world.change("worker-0", "mark\tkey ca.key ", "mark\tkey ca.key 00");
            world.unit("worker-0", "kubelet", STOPPED);
        },
        FaultKind::Stranger,
        Some("worker-0"),
        "belongs to another lab: theirs",
        "labctl up ha.yaml --take-over worker-0",
    ),
    (
        "a program that hangs",
        |world| {
            let url = "\thttps://127.0.0.1:10259/healthz";
            world.change("controller-0", &format!("200{url}"), &format!("500{url}"));
        },
        FaultKind::Health,
        Some("controller-0"),
        "kube-scheduler.service runs and answers with HTTP 500",
        "labctl exec ha.yaml controller-0 -- systemctl restart kube-scheduler.service",
    ),
];

/// Faults between nodes.
pub const BETWEEN_NODES: &[Planted] = &[
    (
        "an entry of /etc/hosts lost",
        |world| world.without("worker-0", |line| line.contains(" worker-1 # labctl")),
        FaultKind::Network,
        Some("worker-0"),
        "/etc/hosts has no line for worker-1",
        "labctl up ha.yaml",
    ),
    (
        "a route missing",
        |world| {
            let pods = world.cluster.node("worker-2").and_then(|it| it.pod_cidr).expect("pods");
            world.without("worker-1", |line| line.starts_with(&format!("route\t{pods}")));
            let url = peer_url(pods);
            world.change("worker-1", &format!("400\t{url}"), &format!("000\t{url}"));
        },
        FaultKind::Network,
        Some("worker-1"),
        "has no route to the pods of worker-2",
        "labctl up ha.yaml",
    ),
    (
        "a route that leads elsewhere",
        |world| world.change("controller-0", "via 10.240.0.21 ", "via 10.240.0.99 "),
        FaultKind::Network,
        Some("controller-0"),
        "its route to the pods of worker-1 leads elsewhere",
        "labctl up ha.yaml",
    ),
    (
        "the pod network broken by a firewall",
        |world| {
            let pods = world.cluster.node("worker-2").and_then(|it| it.pod_cidr).expect("pods");
            let url = peer_url(pods);
            world.change("worker-1", &format!("400\t{url}"), &format!("000\t{url}"));
        },
        FaultKind::Network,
        Some("worker-1"),
        "its pods do not reach those of worker-2",
        "labctl exec ha.yaml worker-2 -- iptables-save",
    ),
    (
        "the API of one controller not ready",
        |world| {
            let ready = "ok\n@200 https://127.0.0.1:6443/readyz\n";
            let not = "[+]ping ok\n[-]etcd failed: reason withheld\n\
                       @500 https://127.0.0.1:6443/readyz\n";
            world.change("controller-1", ready, not);
        },
        FaultKind::Api,
        Some("controller-1"),
        "its API server is not ready: etcd failed",
        "labctl exec ha.yaml controller-1 -- systemctl restart kube-apiserver",
    ),
    (
        "an API server that others do not reach",
        |world| {
            let url = server_url(&world.cluster, world.cluster.node("controller-2").expect("one"));
            world.everywhere(&format!("path\t200\t{url}"), &format!("path\t000\t{url}"));
        },
        FaultKind::Api,
        Some("controller-2"),
        "its API server is ready, but not for lb-0, controller-0, controller-1",
        "labctl exec ha.yaml controller-2 -- iptables-save",
    ),
    (
        "an endpoint that nobody answers at",
        |world| {
            world.everywhere("path\t200\thttps://10.240.0.5", "path\t000\thttps://10.240.0.5");
        },
        FaultKind::Api,
        Some("lb-0"),
        "the API does not answer at https://10.240.0.5:6443 for any node",
        "labctl exec ha.yaml lb-0 -- systemctl restart nginx",
    ),
];

/// Faults of etcd and of what the API tells.
pub const IN_THE_CLUSTER: &[Planted] = &[
    (
        "a member of etcd lost",
        |world| {
            world.everywhere(
                "{\"ID\":\"3\",\"name\":\"controller-2\"}",
                "{\"ID\":\"3\",\"name\":\"\"}",
            )
        },
        FaultKind::Etcd,
        Some("controller-2"),
        "etcd has no member of its name",
        "labctl up ha.yaml",
    ),
    (
        "no leader",
        |world| world.everywhere("\"leader\":\"1\"", "\"leader\":\"0\""),
        FaultKind::Etcd,
        Some("controller-0"),
        "its etcd has no leader",
        "labctl up ha.yaml",
    ),
    (
        "an etcd that takes no writes",
        |world| {
            let state = "\"leader\":\"1\"}";
            let alarm = "\"leader\":\"1\",\"errors\":[\"memberID:1 alarm:NOSPACE \"]}";
            world.change("controller-0", state, alarm);
        },
        FaultKind::Etcd,
        Some("controller-0"),
        "its etcd takes no writes",
        "labctl exec ha.yaml controller-0 -- etcdctl --cacert",
    ),
    (
        "a node NotReady",
        |world| {
            let ready = "\"name\":\"worker-1\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\
                         \"status\":\"True\",\"message\":\"fine\"}";
            let not = ready.replace("True", "False").replace("fine", "cni plugin not initialized");
            world.everywhere(ready, &not);
        },
        FaultKind::NotReady,
        Some("worker-1"),
        "is not Ready: cni plugin not initialized",
        "labctl up ha.yaml",
    ),
    (
        "CoreDNS gone",
        |world| {
            let path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns";
            world.api(path, "{\"kind\":\"Status\"}", 404);
        },
        FaultKind::Dns,
        None,
        "the deployment coredns is missing",
        "labctl up ha.yaml",
    ),
    (
        "CoreDNS scaled to nothing",
        |world| world.everywhere("{\"replicas\":2}", "{\"replicas\":0}"),
        FaultKind::Dns,
        None,
        "coredns is scaled to 0",
        "labctl kubectl ha.yaml -- -n kube-system scale deployment coredns --replicas=2",
    ),
    (
        "a pod that crashes",
        |world| {
            let waits = "\"ready\":false,\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}";
            world.everywhere("\"ready\":true,\"state\":{\"running\":{}}", waits);
        },
        FaultKind::Pod,
        None,
        "pod default/web does not run on worker-0: CrashLoopBackOff",
        "labctl kubectl ha.yaml -- -n default describe pod web",
    ),
    (
        "an older kubelet",
        |world| {
            let (now, old) = (format!("v{}", world.cluster.kubernetes), "v1.33.0");
            let of = |version: &str| format!("\"kubeletVersion\":\"{version}\"");
            world.change("controller-0", &of(&now), &of(old));
        },
        FaultKind::Version,
        Some("worker-0"),
        "its kubelet is v1.33.0",
        "labctl upgrade ha.yaml",
    ),
    (
        "a file that differs",
        |world| {
            world.drift = Deviation::Changes(vec![DriftedTask {
                node: "worker-0".to_owned(),
                task: "kubelet: file config.yaml".to_owned(),
                why: "content differs".to_owned(),
            }]);
        },
        FaultKind::Drift,
        Some("worker-0"),
        "differs from the inventory: kubelet: file config.yaml (content differs)",
        "labctl up ha.yaml",
    ),
];
